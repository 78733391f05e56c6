/**
 * Raw DEFLATE (RFC 1951) as a small chip makes it: a short window, few candidates, blocks of some thousand symbols, each
 * in the cheapest of its three forms. Written apart from `reader/`, whose program does this on silicon: what inflates the
 * one must inflate the other.
 */

import { type HuffmanCode, huffmanCode, huffmanLengths } from './huffman.ts';

export interface DeflateOptions {
  /** How far back a match may lie, at most 32768. */
  readonly windowBytes: number;
}

export interface Deflated {
  readonly bytes: Buffer;
  /** Where each block ends, in bytes of input and in whole bytes of output. */
  readonly blocks: readonly { readonly inputEnd: number; readonly outputEnd: number }[];
}

const MIN_MATCH = 3;
const MAX_MATCH = 258;
/** A match of three bytes that lies further back costs more than the three. */
const MAX_SHORT_DISTANCE = 4096;
const CANDIDATES = 8;
/** A match of so many bytes is taken without a look at the next place. */
const LONG_ENOUGH = 16;
const BLOCK_SYMBOLS = 4096;
const HASH_BITS = 13;
const END_OF_BLOCK = 256;
const CODE_LENGTH_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** A code of RFC 1951, 3.2.5: the symbol, and how many further bits hold the rest of the value. */
interface Coded {
  readonly symbol: number;
  readonly extraBits: number;
  readonly base: number;
}

/** All values from `first` on in groups that double in size every `perSize` codes. */
function codedValues(first: number, firstSymbol: number, perSize: number, last: number): Coded[] {
  const table: Coded[] = [];
  let symbol = firstSymbol;
  for (let [base, extraBits] = [first, 0]; base <= last; symbol++) {
    for (let value = base; value < base + 2 ** extraBits && value <= last; value++) {
      table[value] = { symbol, extraBits, base };
    }
    base += 2 ** extraBits;
    const done = symbol - firstSymbol + 1;
    if (done >= 2 * perSize && done % perSize === 0) extraBits++;
  }
  return table;
}

/** By length, 3 to 258; the longest has a code of its own. */
const LENGTHS = codedValues(MIN_MATCH, 257, 4, MAX_MATCH - 1);
LENGTHS[MAX_MATCH] = { symbol: 285, extraBits: 0, base: MAX_MATCH };
/** By distance, 1 to 32768. */
const DISTANCES = codedValues(1, 0, 2, 32768);

const FIXED_LITERALS = huffmanCode(
  Uint8Array.from({ length: 288 }, (_, symbol) => (symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8)),
);
const FIXED_DISTANCES = huffmanCode(new Uint8Array(30).fill(5));

/** `input` as one stream that ends with it. */
export function deflateRaw(input: Buffer, options: DeflateOptions): Deflated {
  const out = new BitWriter(input.length + 1024);
  const matches = new Matches(input, options.windowBytes);
  const blocks: { inputEnd: number; outputEnd: number }[] = [];
  let block = new Block(input, 0);
  const close = (at: number, isLast: boolean) => {
    block.write(out, at, isLast);
    blocks.push({ inputEnd: at, outputEnd: out.wholeBytes });
    block = new Block(input, at);
  };
  let at = 0;
  while (at < input.length) {
    matches.look(at);
    const { length, distance } = matches;
    matches.insert(at);
    // A longer one from the next byte on is worth a literal.
    const isBeaten = length > 0 && length < LONG_ENOUGH && matches.look(at + 1) > length;
    if (length > 0 && !isBeaten) {
      block.match(length, distance);
      for (let next = at + 1; next < at + length; next++) matches.insert(next);
      at += length;
    } else {
      block.literal(input[at] ?? 0);
      at++;
    }
    if (block.symbols >= BLOCK_SYMBOLS && at < input.length) close(at, false);
  }
  close(at, true);
  return { bytes: out.finish(), blocks };
}

/** Where the same three bytes stood before. */
class Matches {
  readonly #input: Buffer;
  readonly #windowBytes: number;
  readonly #heads = new Int32Array(1 << HASH_BITS).fill(-1);
  readonly #previous: Int32Array;
  /** Of the longest match where was looked last; 0 where there is none. */
  length = 0;
  distance = 0;
  #lookedAt = -1;

  constructor(input: Buffer, windowBytes: number) {
    this.#input = input;
    this.#windowBytes = windowBytes;
    this.#previous = new Int32Array(input.length).fill(-1);
  }

  insert(at: number): void {
    if (at + MIN_MATCH > this.#input.length) return;
    const hash = this.#hash(at);
    this.#previous[at] = this.#heads[hash] ?? -1;
    this.#heads[hash] = at;
  }

  /** Finds the longest match at a place; what lies before it is to be inserted already. @returns its length, or 0 */
  look(at: number): number {
    if (at === this.#lookedAt) return this.length;
    this.#lookedAt = at;
    this.length = this.distance = 0;
    const input = this.#input;
    const limit = Math.min(MAX_MATCH, input.length - at);
    if (limit < MIN_MATCH) return 0;
    let [length, distance] = [0, 0];
    let candidate = this.#heads[this.#hash(at)] ?? -1;
    for (let tried = 0; tried < CANDIDATES && candidate >= 0 && at - candidate <= this.#windowBytes; tried++) {
      if (input[candidate + length] === input[at + length]) {
        let same = 0;
        while (same < limit && input[candidate + same] === input[at + same]) same++;
        if (same > length) [length, distance] = [same, at - candidate];
        if (length === limit) break;
      }
      candidate = this.#previous[candidate] ?? -1;
    }
    const isWorth = length > MIN_MATCH || (length === MIN_MATCH && distance <= MAX_SHORT_DISTANCE);
    if (isWorth) [this.length, this.distance] = [length, distance];
    return this.length;
  }

  #hash(at: number): number {
    const input = this.#input;
    const word = (input[at] ?? 0) | ((input[at + 1] ?? 0) << 8) | ((input[at + 2] ?? 0) << 16);
    return Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);
  }
}

/** Symbols of one block, until it is known how they are best written. */
class Block {
  readonly #input: Buffer;
  readonly #from: number;
  /** Literals 0 to 255, or 256 + length. */
  readonly #symbols: number[] = [];
  readonly #distances: number[] = [];
  readonly #literalCounts = new Uint32Array(286);
  readonly #distanceCounts = new Uint32Array(30);

  constructor(input: Buffer, from: number) {
    this.#input = input;
    this.#from = from;
    this.#literalCounts[END_OF_BLOCK] = 1;
  }

  get symbols(): number {
    return this.#symbols.length;
  }

  literal(byte: number): void {
    this.#symbols.push(byte);
    this.#distances.push(0);
    this.#literalCounts[byte] = (this.#literalCounts[byte] ?? 0) + 1;
  }

  match(length: number, distance: number): void {
    this.#symbols.push(256 + length);
    this.#distances.push(distance);
    const [long, far] = [LENGTHS[length]?.symbol ?? 0, DISTANCES[distance]?.symbol ?? 0];
    this.#literalCounts[long] = (this.#literalCounts[long] ?? 0) + 1;
    this.#distanceCounts[far] = (this.#distanceCounts[far] ?? 0) + 1;
  }

  write(out: BitWriter, until: number, isLast: boolean): void {
    const literals = huffmanCode(huffmanLengths(this.#literalCounts, 15));
    const distances = huffmanCode(huffmanLengths(this.#distanceCounts, 15));
    const table = new CodeTable(literals, distances);
    const dynamicBits = table.bits + this.#bits(literals, distances);
    const fixedBits = this.#bits(FIXED_LITERALS, FIXED_DISTANCES);
    const raw = this.#input.subarray(this.#from, until);
    const storedBits = 8 * (raw.length + 5 * Math.max(1, Math.ceil(raw.length / 0xffff)));
    if (storedBits < Math.min(dynamicBits, fixedBits)) {
      writeStored(out, raw, isLast);
    } else if (fixedBits <= dynamicBits) {
      out.bits((isLast ? 1 : 0) | (1 << 1), 3);
      this.#writeSymbols(out, FIXED_LITERALS, FIXED_DISTANCES);
    } else {
      out.bits((isLast ? 1 : 0) | (2 << 1), 3);
      table.write(out);
      this.#writeSymbols(out, literals, distances);
    }
  }

  #bits(literals: HuffmanCode, distances: HuffmanCode): number {
    let bits = literals.lengths[END_OF_BLOCK] ?? 0;
    this.#symbols.forEach((symbol, index) => {
      if (symbol < 256) {
        bits += literals.lengths[symbol] ?? 0;
        return;
      }
      const [long, far] = [LENGTHS[symbol - 256], DISTANCES[this.#distances[index] ?? 0]];
      bits += (literals.lengths[long?.symbol ?? 0] ?? 0) + (long?.extraBits ?? 0);
      bits += (distances.lengths[far?.symbol ?? 0] ?? 0) + (far?.extraBits ?? 0);
    });
    return bits;
  }

  #writeSymbols(out: BitWriter, literals: HuffmanCode, distances: HuffmanCode): void {
    this.#symbols.forEach((symbol, index) => {
      if (symbol < 256) {
        out.code(literals, symbol);
        return;
      }
      const [length, distance] = [symbol - 256, this.#distances[index] ?? 0];
      const [long, far] = [LENGTHS[length], DISTANCES[distance]];
      if (long === undefined || far === undefined) throw new RangeError(`no match of ${length} at ${distance}`);
      out.code(literals, long.symbol);
      out.bits(length - long.base, long.extraBits);
      out.code(distances, far.symbol);
      out.bits(distance - far.base, far.extraBits);
    });
    out.code(literals, END_OF_BLOCK);
  }
}

function writeStored(out: BitWriter, raw: Buffer, isLast: boolean): void {
  for (let at = 0; at === 0 || at < raw.length; at += 0xffff) {
    const part = raw.subarray(at, at + 0xffff);
    const isLastPart = isLast && at + part.length === raw.length;
    out.bits(isLastPart ? 1 : 0, 3);
    out.align();
    out.bits(part.length, 16);
    out.bits(part.length ^ 0xffff, 16);
    out.bytes(part);
  }
}

/** The two codes of a dynamic block as RFC 1951, 3.2.7 puts them in front of it; runs of zeros are shortened, others not. */
class CodeTable {
  readonly bits: number;
  readonly #literalCount: number;
  readonly #distanceCount: number;
  /** Code lengths, 17 and 18 with what repeats. */
  readonly #entries: readonly (readonly [symbol: number, extra: number, extraBits: number])[];
  readonly #code: HuffmanCode;
  readonly #orderCount: number;

  constructor(literals: HuffmanCode, distances: HuffmanCode) {
    this.#literalCount = usedCount(literals.lengths, 257);
    this.#distanceCount = usedCount(distances.lengths, 1);
    const lengths = [
      ...literals.lengths.subarray(0, this.#literalCount),
      ...distances.lengths.subarray(0, this.#distanceCount),
    ];
    this.#entries = runLengths(lengths);
    const counts = new Uint32Array(19);
    for (const [symbol] of this.#entries) counts[symbol] = (counts[symbol] ?? 0) + 1;
    this.#code = huffmanCode(huffmanLengths(counts, 7));
    let orderCount = 19;
    while (orderCount > 4 && this.#code.lengths[CODE_LENGTH_ORDER[orderCount - 1] ?? 0] === 0) orderCount--;
    this.#orderCount = orderCount;
    this.bits = this.#entries.reduce(
      (bits, [symbol, , extraBits]) => bits + (this.#code.lengths[symbol] ?? 0) + extraBits,
      14 + 3 * orderCount,
    );
  }

  write(out: BitWriter): void {
    out.bits(this.#literalCount - 257, 5);
    out.bits(this.#distanceCount - 1, 5);
    out.bits(this.#orderCount - 4, 4);
    for (const symbol of CODE_LENGTH_ORDER.slice(0, this.#orderCount)) out.bits(this.#code.lengths[symbol] ?? 0, 3);
    for (const [symbol, extra, extraBits] of this.#entries) {
      out.code(this.#code, symbol);
      out.bits(extra, extraBits);
    }
  }
}

function usedCount(lengths: Uint8Array, least: number): number {
  let count = lengths.length;
  while (count > least && lengths[count - 1] === 0) count--;
  return count;
}

function runLengths(lengths: readonly number[]): [number, number, number][] {
  const entries: [number, number, number][] = [];
  for (let at = 0; at < lengths.length;) {
    let run = 0;
    while (lengths[at + run] === 0 && run < 138) run++;
    if (run >= 11) entries.push([18, run - 11, 7]);
    else if (run >= 3) entries.push([17, run - 3, 3]);
    else {
      run = 1;
      entries.push([lengths[at] ?? 0, 0, 0]);
    }
    at += run;
  }
  return entries;
}

/** Bits, the lowest first. */
class BitWriter {
  #buffer: Buffer;
  #length = 0;
  #pending = 0;
  #pendingBits = 0;

  constructor(expectedBytes: number) {
    this.#buffer = Buffer.allocUnsafe(expectedBytes);
  }

  get wholeBytes(): number {
    return this.#length;
  }

  /** @param count at most 16 */
  bits(value: number, count: number): void {
    this.#pending |= value << this.#pendingBits;
    this.#pendingBits += count;
    while (this.#pendingBits >= 8) {
      this.#byte(this.#pending & 0xff);
      this.#pending >>>= 8;
      this.#pendingBits -= 8;
    }
  }

  code(code: HuffmanCode, symbol: number): void {
    this.bits(code.codes[symbol] ?? 0, code.lengths[symbol] ?? 0);
  }

  align(): void {
    if (this.#pendingBits > 0) this.bits(0, 8 - this.#pendingBits);
  }

  /** On a byte's border only. */
  bytes(data: Buffer): void {
    for (const byte of data) this.#byte(byte);
  }

  finish(): Buffer {
    this.align();
    return this.#buffer.subarray(0, this.#length);
  }

  #byte(value: number): void {
    if (this.#length === this.#buffer.length) this.#buffer = Buffer.concat([this.#buffer, Buffer.alloc(this.#length)]);
    this.#buffer[this.#length++] = value;
  }
}
