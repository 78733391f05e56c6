/** Keeps account of a program being loaded into RAM: is all of it there when MEM_END jumps into it? */

interface Region {
  readonly address: number;
  readonly sizeBytes: number;
  arrived: number;
}

export class StubUpload {
  #regions: Region[] = [];

  begin(sizeBytes: number, address: number): void {
    this.#regions = this.#regions.filter((region) => region.address !== address);
    this.#regions.push({ address, sizeBytes, arrived: 0 });
  }

  /** False where nothing was begun or more comes than was announced. */
  data(sizeBytes: number): boolean {
    const region = this.#regions.at(-1);
    if (region === undefined || region.arrived + sizeBytes > region.sizeBytes) return false;
    region.arrived += sizeBytes;
    return true;
  }

  /** Whether every region is complete and `entry` lies in one of them; forgets them. */
  complete(entry: number): boolean {
    const regions = this.#regions;
    this.#regions = [];
    return (
      regions.length > 0 &&
      regions.every(({ arrived, sizeBytes }) => sizeBytes > 0 && arrived === sizeBytes) &&
      regions.some(({ address, sizeBytes }) => entry >= address && entry < address + sizeBytes)
    );
  }
}
