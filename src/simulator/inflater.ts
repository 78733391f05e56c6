/**
 * Inflating FLASH_DEFL_DATA blocks one by one as they come (RFC 1950, RFC 1951).
 *
 * The chip must have the bytes of a block at once and keep what it has when it is cut off, and node:zlib can inflate block
 * by block only on another thread, at a time of its own. So a small one stands here. Where a block ends in the middle of
 * a symbol, the decoder goes back to the symbol's start and waits for more.
 */

const WINDOW_BYTES = 32768;
const MAX_BITS = 15;

const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
];
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const distanceExtra = (code: number): number => (code < 4 ? 0 : (code >> 1) - 1);
const distanceBase = (code: number): number => (code < 4 ? code + 1 : ((2 + (code & 1)) << distanceExtra(code)) + 1);

/** Canonical Huffman code: how many codes of each length, and the symbols in order. */
interface Code {
  readonly counts: Uint16Array;
  readonly symbols: Uint16Array;
}

interface Codes {
  readonly literals: Code;
  readonly distances: Code;
}

type Stage = 'header' | 'block' | 'stored' | 'coded' | 'end';

class NeedMoreInput extends Error {}

export class Inflater {
  #input = Buffer.alloc(0);
  #bit = 0; // position in #input, in bits
  #out = Buffer.alloc(4 * WINDOW_BYTES);
  #length = 0;
  #stage: Stage = 'header';
  #lastBlock = false;
  #storedLeft = 0;
  #codes: Codes = fixedCodes;

  /** The bytes that this block adds. Throws RangeError for what is no zlib stream. */
  push(block: Buffer): Buffer {
    this.#input = Buffer.concat([this.#input.subarray(this.#bit >> 3), block]);
    this.#bit &= 7;
    this.#forget();
    const from = this.#length;
    while (this.#stage !== 'end') {
      const start = this.#bit;
      try {
        this.#step();
      } catch (error) {
        if (!(error instanceof NeedMoreInput)) throw error;
        this.#bit = start;
        break;
      }
    }
    return Buffer.from(this.#out.subarray(from, this.#length));
  }

  /** Keeps the window of what was put out, no more. */
  #forget(): void {
    if (this.#length <= WINDOW_BYTES) return;
    this.#out.copyWithin(0, this.#length - WINDOW_BYTES, this.#length);
    this.#length = WINDOW_BYTES;
  }

  /** One symbol, or one header. Nothing of it is kept when the input ends before it does. */
  #step(): void {
    switch (this.#stage) {
      case 'header': {
        const [method, flags] = [this.#bits(8), this.#bits(8)];
        if ((method & 15) !== 8 || ((method << 8) | flags) % 31 !== 0 || (flags & 32) !== 0) {
          throw new RangeError('no zlib header');
        }
        this.#stage = 'block';
        return;
      }
      case 'block': {
        this.#blockHeader();
        return;
      }
      case 'stored':
        if (this.#storedLeft === 0) {
          this.#endBlock();
          return;
        }
        this.#put(this.#bits(8));
        this.#storedLeft--;
        return;
      case 'coded': {
        this.#symbol();
        return;
      }
      case 'end':
        return;
    }
  }

  #blockHeader(): void {
    const last = this.#bits(1) === 1;
    const type = this.#bits(2);
    if (type === 0) {
      this.#bit = (this.#bit + 7) & ~7;
      const [length, inverse] = [this.#bits(16), this.#bits(16)];
      if (length !== (~inverse & 0xffff)) throw new RangeError('stored block with a wrong length');
      this.#storedLeft = length;
    } else if (type === 1) {
      this.#codes = fixedCodes;
    } else if (type === 2) {
      this.#codes = this.#dynamicCodes();
    } else {
      throw new RangeError('no such kind of block');
    }
    this.#lastBlock = last;
    this.#stage = type === 0 ? 'stored' : 'coded';
  }

  #endBlock(): void {
    this.#stage = this.#lastBlock ? 'end' : 'block';
  }

  #symbol(): void {
    const symbol = this.#decode(this.#codes.literals);
    if (symbol < 256) {
      this.#put(symbol);
      return;
    }
    if (symbol === 256) {
      this.#endBlock();
      return;
    }
    const length = (LENGTH_BASE[symbol - 257] ?? NaN) + this.#bits(LENGTH_EXTRA[symbol - 257] ?? 0);
    const code = this.#decode(this.#codes.distances);
    const distance = distanceBase(code) + this.#bits(distanceExtra(code));
    if (Number.isNaN(length) || code > 29 || distance > this.#length)
      throw new RangeError('reference beyond the window');
    for (let copied = 0; copied < length; copied++) this.#put(this.#out[this.#length - distance] ?? 0);
  }

  #dynamicCodes(): Codes {
    const [literalCount, distanceCount, orderCount] = [this.#bits(5) + 257, this.#bits(5) + 1, this.#bits(4) + 4];
    const orderLengths = new Uint8Array(19);
    for (let index = 0; index < orderCount; index++) orderLengths[CODE_LENGTH_ORDER[index] ?? 0] = this.#bits(3);
    const lengthCode = codeOf(orderLengths);
    const lengths = new Uint8Array(literalCount + distanceCount);
    for (let index = 0; index < lengths.length;) {
      const symbol = this.#decode(lengthCode);
      if (symbol < 16) {
        lengths[index++] = symbol;
        continue;
      }
      const value = symbol === 16 ? lengths[index - 1] : 0;
      const times = symbol === 16 ? 3 + this.#bits(2) : symbol === 17 ? 3 + this.#bits(3) : 11 + this.#bits(7);
      if (value === undefined || index + times > lengths.length) throw new RangeError('wrong code lengths');
      lengths.fill(value, index, index + times);
      index += times;
    }
    return { literals: codeOf(lengths.subarray(0, literalCount)), distances: codeOf(lengths.subarray(literalCount)) };
  }

  #decode({ counts, symbols }: Code): number {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let length = 1; length <= MAX_BITS; length++) {
      code |= this.#bits(1);
      const count = counts[length] ?? 0;
      if (code - first < count) return symbols[index + code - first] ?? 0;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw new RangeError('no such code');
  }

  #bits(count: number): number {
    if (this.#bit + count > this.#input.length * 8) throw new NeedMoreInput();
    let value = 0;
    for (let got = 0; got < count;) {
      const byte = this.#input[this.#bit >> 3] ?? 0;
      const take = Math.min(count - got, 8 - (this.#bit & 7));
      value |= ((byte >> (this.#bit & 7)) & ((1 << take) - 1)) << got;
      got += take;
      this.#bit += take;
    }
    return value;
  }

  #put(byte: number): void {
    if (this.#length === this.#out.length) this.#out = Buffer.concat([this.#out], this.#out.length * 2);
    this.#out[this.#length++] = byte;
  }
}

function codeOf(lengths: Uint8Array): Code {
  const counts = new Uint16Array(MAX_BITS + 1);
  for (const length of lengths) if (length > 0) counts[length] = (counts[length] ?? 0) + 1;
  const offsets = new Uint16Array(MAX_BITS + 2);
  for (let length = 1; length <= MAX_BITS; length++) {
    offsets[length + 1] = (offsets[length] ?? 0) + (counts[length] ?? 0);
  }
  const symbols = new Uint16Array(lengths.length);
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue;
    symbols[offsets[length] ?? 0] = symbol;
    offsets[length] = (offsets[length] ?? 0) + 1;
  }
  return { counts, symbols };
}

const fixedCodes: Codes = {
  literals: codeOf(
    Uint8Array.from({ length: 288 }, (_, symbol) => (symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8)),
  ),
  distances: codeOf(new Uint8Array(30).fill(5)),
};
