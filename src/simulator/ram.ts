/** What was loaded into the chip's RAM, and words that were written there since. */

interface Region {
  readonly address: number;
  readonly bytes: Buffer;
}

export class Ram {
  /** In the order in which they were loaded. */
  #regions: Region[] = [];

  clear(): void {
    this.#regions = [];
  }

  /** Takes the place of what was loaded to the same address. */
  begin(address: number, sizeBytes: number): void {
    this.#regions = this.#regions.filter((region) => region.address !== address);
    this.#regions.push({ address, bytes: Buffer.alloc(sizeBytes) });
  }

  /** Into the region that was begun last. */
  load(at: number, data: Buffer): void {
    this.#regions.at(-1)?.bytes.set(data, at);
  }

  /** Undefined where nothing was loaded. */
  word(address: number): number | undefined {
    const region = this.#at(address);
    return region?.bytes.readUInt32LE(address - region.address);
  }

  /** @returns false where nothing was loaded */
  setWord(address: number, value: number): boolean {
    const region = this.#at(address);
    region?.bytes.writeUInt32LE(value >>> 0, address - region.address);
    return region !== undefined;
  }

  /** A copy; undefined where it is not one loaded region's. */
  bytes(address: number, length: number): Buffer | undefined {
    const region = this.#regions.findLast((each) => isWithin(each, address, length));
    return region && Buffer.from(region.bytes.subarray(address - region.address, address - region.address + length));
  }

  #at(address: number): Region | undefined {
    return this.#regions.findLast((region) => isWithin(region, address, 4));
  }
}

function isWithin({ address, bytes }: Region, from: number, length: number): boolean {
  return from >= address && from + length <= address + bytes.length;
}
