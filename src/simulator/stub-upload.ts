/** Takes a program into RAM, and keeps account: is all of it there when MEM_END jumps into it? */

import type { Ram } from './ram.ts';

interface Region {
  readonly address: number;
  readonly sizeBytes: number;
  arrived: number;
}

/** The RAM of the largest chip; a size beyond is none. */
const MAX_REGION_BYTES = 1024 * 1024;

export class StubUpload {
  readonly #ram: Ram;
  #regions: Region[] = [];

  constructor(ram: Ram) {
    this.#ram = ram;
  }

  begin(sizeBytes: number, address: number): void {
    this.#regions = this.#regions.filter((region) => region.address !== address);
    this.#regions.push({ address, sizeBytes, arrived: 0 });
    this.#ram.begin(address, Math.min(sizeBytes, MAX_REGION_BYTES));
  }

  /** False where nothing was begun or more comes than was announced. */
  data(bytes: Buffer): boolean {
    const region = this.#regions.at(-1);
    if (region === undefined || region.arrived + bytes.length > Math.min(region.sizeBytes, MAX_REGION_BYTES)) {
      return false;
    }
    this.#ram.load(region.arrived, bytes);
    region.arrived += bytes.length;
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
