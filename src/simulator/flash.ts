/**
 * A SPI NOR flash chip: erasing sets bits, programming only clears them, and addresses beyond the array wrap round.
 * Stored by sector, and blank sectors not at all, so that 128 MiB cost nothing until they are written.
 */

import { createHash } from 'node:crypto';

export const SECTOR_BYTES = 4096;
const BLANK = 0xff;
const blankSector = Buffer.alloc(SECTOR_BYTES, BLANK);

/** What loaders do to a flash. Lengths in bytes; erasing is in sectors of 4 KiB. */
export interface FlashArray {
  read(address: number, length: number): Buffer;
  md5(address: number, length: number): Buffer;
  program(address: number, data: Uint8Array): void;
  erase(address: number, length: number): void;
  unlock(): void;
}

export interface FlashOptions {
  /** What the chip claims to hold: a power of two from 256 KiB to 128 MiB. */
  readonly sizeBytes: number;
  /** What READ JEDEC ID (0x9f) gives: manufacturer, memory type, capacity. */
  readonly jedec: readonly [number, number, number];
  /** Content from address 0 on; the rest is blank. */
  readonly content?: Uint8Array;
  /** A counterfeit: the array really ends here, and addresses beyond are those from 0 on. */
  readonly aliasedAtBytes?: number;
  /** Sectors (numbers, address / 4096) whose programming does not stick: a bit stays set here and there. */
  readonly wornSectors?: readonly number[];
  /** Addresses at which reading gives the lowest bit inverted, each time. */
  readonly flippedReads?: readonly number[];
  /**
   * Status register at the start (W25Q32 data sheet): bits 2 to 4 protect the upper 1/64 (1) to 1/2 (6) or all (7) of
   * the array; with bit 7 the WP pin, taken to be low, forbids changing them.
   */
  readonly status?: number;
}

export class Flash implements FlashArray {
  readonly sizeBytes: number;
  readonly #arrayBytes: number;
  readonly #sectors = new Map<number, Buffer>();
  readonly #worn: Set<number>;
  readonly #flipped: Set<number>;
  jedec: readonly [number, number, number];
  status: number;

  constructor(options: FlashOptions) {
    const { sizeBytes, content } = options;
    if (!Number.isInteger(Math.log2(sizeBytes)) || sizeBytes < 256 * 1024 || sizeBytes > 128 * 1024 * 1024) {
      throw new RangeError(`no flash chip has ${sizeBytes} bytes`);
    }
    this.sizeBytes = sizeBytes;
    this.#arrayBytes = options.aliasedAtBytes ?? sizeBytes;
    if (this.#arrayBytes % SECTOR_BYTES !== 0 || this.#arrayBytes <= 0 || this.#arrayBytes > sizeBytes) {
      throw new RangeError(`a chip of ${sizeBytes} bytes cannot wrap at ${this.#arrayBytes}`);
    }
    this.jedec = options.jedec;
    this.status = options.status ?? 0;
    this.#worn = new Set(options.wornSectors ?? []);
    this.#flipped = new Set(options.flippedReads ?? []);
    if (content !== undefined) this.load(0, content);
  }

  /** Puts `content` there as if it had always been: no erase, no wear. */
  load(address: number, content: Uint8Array): void {
    if (address + content.length > this.sizeBytes) throw new RangeError('content larger than the flash');
    this.#eachPiece(address, content.length, (sector, from, length, done) => {
      const piece = content.subarray(done, done + length);
      if (piece.every((byte) => byte === BLANK) && !this.#sectors.has(sector)) return;
      this.#sectorForWriting(sector).set(piece, from);
    });
  }

  read(address: number, length: number): Buffer {
    const out = Buffer.allocUnsafe(length);
    this.#eachPiece(address, length, (sector, from, pieceLength, done) => {
      (this.#sectors.get(sector) ?? blankSector).copy(out, done, from, from + pieceLength);
    });
    for (const flipped of this.#flipped) {
      if (flipped >= address && flipped < address + length) out[flipped - address] = (out[flipped - address] ?? 0) ^ 1;
    }
    return out;
  }

  /** Clears the bits that are 0 in `data`; bits that are 0 already stay so. */
  program(address: number, data: Uint8Array): void {
    this.#eachPiece(address, data.length, (sector, from, length, done) => {
      if (this.#isProtected(sector)) return;
      const cells = this.#sectorForWriting(sector);
      const worn = this.#worn.has(sector);
      for (let index = 0; index < length; index++) {
        // In a worn sector the highest bit of every 64th cell cannot be cleared.
        const stuck = worn && (from + index) % 64 === 0 ? 0x80 : 0;
        cells[from + index] = (cells[from + index] ?? BLANK) & ((data[done + index] ?? BLANK) | stuck);
      }
    });
  }

  /** Sets all bits of the sectors that `length` bytes from `address` touch. */
  erase(address: number, length: number): void {
    if (length === 0) return;
    const last = address + length;
    for (let at = address - (address % SECTOR_BYTES); at < last; at += SECTOR_BYTES) {
      const sector = (at % this.#arrayBytes) / SECTOR_BYTES;
      if (!this.#isProtected(sector)) this.#sectors.delete(sector);
    }
  }

  /** What a loader does before it writes: takes the block protection off, unless that is locked. */
  unlock(): void {
    if ((this.status & 0x80) === 0) this.status &= ~0x1c;
  }

  #isProtected(sector: number): boolean {
    const blockProtect = (this.status >> 2) & 7;
    if (blockProtect === 0) return false;
    return sector * SECTOR_BYTES >= this.#arrayBytes - this.#arrayBytes / 2 ** (7 - blockProtect);
  }

  eraseChip(): void {
    this.#sectors.clear();
  }

  md5(address: number, length: number): Buffer {
    const hash = createHash('md5');
    for (let done = 0; done < length; done += 65536)
      hash.update(this.read(address + done, Math.min(65536, length - done)));
    return hash.digest();
  }

  /** The whole content, as long as the chip claims to be. */
  snapshot(): Buffer {
    return this.read(0, this.sizeBytes);
  }

  #sectorForWriting(sector: number): Buffer {
    let cells = this.#sectors.get(sector);
    if (cells === undefined) {
      cells = Buffer.from(blankSector);
      this.#sectors.set(sector, cells);
    }
    return cells;
  }

  #eachPiece(
    address: number,
    length: number,
    visit: (sector: number, from: number, pieceLength: number, done: number) => void,
  ): void {
    for (let done = 0; done < length;) {
      const at = (address + done) % this.#arrayBytes;
      const from = at % SECTOR_BYTES;
      const pieceLength = Math.min(SECTOR_BYTES - from, length - done);
      visit((at - from) / SECTOR_BYTES, from, pieceLength, done);
      done += pieceLength;
    }
  }
}

/** JEDEC id of an ordinary chip of that size (Winbond, type 0x40; the ESP8266's of the how-to is 5e 40 16). */
export function jedecFor(sizeBytes: number, manufacturer = 0xef): readonly [number, number, number] {
  return [manufacturer, 0x40, jedecCapacityOf(sizeBytes)];
}

/** log2 of the size up to 32 MiB; beyond, chips count on from 0x20 (esptool's table of detected flash sizes). */
function jedecCapacityOf(sizeBytes: number): number {
  const power = Math.log2(sizeBytes);
  return power <= 25 ? power : power - 26 + 0x20;
}
