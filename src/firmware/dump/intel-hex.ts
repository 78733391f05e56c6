/**
 * Intel HEX, as esptool's `merge-bin --format hex` and linkers write it: text records with addresses, of which the upper
 * half comes in records of its own. Addresses are offsets in the flash.
 * https://archive.org/details/IntelHEXStandard (revision A, 1988)
 */

import { hex } from '../bytes.ts';

const DATA = 0;
const END = 1;
const SEGMENT = 2;
const START_SEGMENT = 3;
const LINEAR = 4;
const START_LINEAR = 5;

/** Length, two bytes of address, type, checksum. */
const FRAME_BYTES = 5;
/** `:` and 255 bytes of data in their frame. */
const MAX_LINE_CHARACTERS = 1 + 2 * (FRAME_BYTES + 255);
/** Runs of bytes that one file may consist of; a merged image has a handful, one that is sorted by nothing some hundred. */
const MAX_RUNS = 65_536;
const BANK_BYTES = 0x10000;
/** Data bytes in a record that is written here: all readers take 255, most writers put 16 or 32. */
const RECORD_BYTES = 32;

/** Bytes that follow one another. */
export interface HexRun {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** Runs sorted by offset, which neither touch nor overlap; or a sentence fragment that says what is wrong. */
export type HexReading =
  { readonly runs: readonly HexRun[]; readonly problem: null } | { readonly runs: null; readonly problem: string };

/**
 * Reads a file piece by piece. Memory is bounded by twice `limitBytes`, time by the length of the text; nothing throws,
 * whatever the text is.
 */
export class IntelHexReader {
  readonly #limitBytes: number;
  readonly #line = Buffer.alloc(MAX_LINE_CHARACTERS);
  #lineLength = 0;
  #lineNumber = 1;
  #base = 0;
  #inSegments = false;
  #ended = false;
  #problem: string | null = null;
  readonly #runs: GrowingRun[] = [];
  #totalBytes = 0;

  /** @param limitBytes no data may lie at or beyond this offset: the size of the largest flash */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Takes the next piece of the text. False: the file is wrong, and {@link finish} will say so; more need not come. */
  push(text: Uint8Array): boolean {
    for (let at = 0; at < text.length && this.#problem === null; at++) {
      const character = text[at] ?? 0;
      if (character === 0x0a || character === 0x0d) {
        this.#endLine();
        if (character === 0x0a) this.#lineNumber++;
      } else if (this.#lineLength === MAX_LINE_CHARACTERS) {
        this.#fail('is longer than a record can be');
      } else {
        this.#line[this.#lineLength++] = character;
      }
    }
    return this.#problem === null;
  }

  /** What the file holds. To be called once, after the last piece. */
  finish(): HexReading {
    if (this.#problem === null) this.#endLine();
    if (this.#problem === null && !this.#ended) this.#problem = 'has no end record: it is cut off';
    if (this.#problem === null && this.#runs.length === 0) this.#problem = 'holds no data';
    return this.#problem === null ? joinRuns(this.#runs) : { runs: null, problem: this.#problem };
  }

  #fail(what: string): void {
    this.#problem = `is no sound Intel HEX file: line ${this.#lineNumber} ${what}`;
  }

  #endLine(): void {
    const text = this.#line.toString('latin1', 0, this.#lineLength).trim();
    this.#lineLength = 0;
    const wrong = text === '' ? null : this.#takeLine(text);
    if (wrong !== null) this.#fail(wrong);
  }

  /** What is wrong with the line, or null. */
  #takeLine(text: string): string | null {
    if (this.#ended) return 'stands behind the end record';
    if (!text.startsWith(':')) return 'does not begin with ":"';
    const digits = text.slice(1);
    if (digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) return 'is not made of pairs of hex digits';
    const record = Buffer.from(digits, 'hex');
    const length = record[0] ?? 0;
    if (record.length !== length + FRAME_BYTES) return 'has another length than it says';
    let sum = 0;
    for (const byte of record) sum += byte;
    if (sum % 256 !== 0) return 'has a wrong checksum';
    return this.#takeRecord(record.readUInt8(3), record.readUInt16BE(1), record.subarray(4, 4 + length));
  }

  #takeRecord(type: number, address: number, data: Buffer): string | null {
    if (type === DATA) return this.#takeData(address, data);
    if (type === END) {
      this.#ended = true;
    } else if ((type === SEGMENT || type === LINEAR) && data.length === 2) {
      this.#inSegments = type === SEGMENT;
      this.#base = data.readUInt16BE(0) * (type === SEGMENT ? 0x10 : BANK_BYTES);
    } else if (type !== START_SEGMENT && type !== START_LINEAR) {
      // Where a program starts is of no meaning for a flash; anything else would be passed over unseen.
      return `has type ${type}, which is none of this format or has a wrong length`;
    }
    return null;
  }

  #takeData(address: number, data: Buffer): string | null {
    if (data.length === 0) return null;
    // Within a segment the address begins again at its start; nobody who makes a flash means that.
    if (this.#inSegments && address + data.length > BANK_BYTES) return 'runs over the end of its segment';
    const offset = this.#base + address;
    if (offset + data.length > this.#limitBytes) {
      return `has the address ${hex(offset)}, beyond the largest flash of ${hex(this.#limitBytes)} bytes`;
    }
    // All lies below the limit: more than that many bytes must overlap, and would take memory without end.
    this.#totalBytes += data.length;
    if (this.#totalBytes > this.#limitBytes) return 'has an address for the second time';
    const last = this.#runs.at(-1);
    if (last?.end === offset) last.append(data);
    else if (this.#runs.length === MAX_RUNS) return `begins the ${MAX_RUNS + 1}th run of addresses`;
    else this.#runs.push(new GrowingRun(offset, data));
    return null;
  }
}

class GrowingRun {
  readonly offset: number;
  lengthBytes = 0;
  #bytes: Buffer;

  constructor(offset: number, data: Buffer) {
    this.offset = offset;
    this.#bytes = Buffer.from(data);
    this.lengthBytes = data.length;
  }

  get end(): number {
    return this.offset + this.lengthBytes;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.lengthBytes);
  }

  append(data: Buffer): void {
    const needed = this.lengthBytes + data.length;
    if (needed > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(needed, 2 * this.#bytes.length));
      this.bytes.copy(larger);
      this.#bytes = larger;
    }
    data.copy(this.#bytes, this.lengthBytes);
    this.lengthBytes = needed;
  }
}

function joinRuns(runs: readonly HexRun[]): HexReading {
  const joined: { offset: number; end: number; parts: Buffer[] }[] = [];
  for (const { offset, bytes } of runs.toSorted((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last !== undefined && offset < last.end) {
      return { runs: null, problem: `is no sound Intel HEX file: it has ${hex(offset)} twice` };
    }
    if (last !== undefined && offset === last.end) {
      last.parts.push(bytes);
      last.end += bytes.length;
    } else {
      joined.push({ offset, end: offset + bytes.length, parts: [bytes] });
    }
  }
  const concat = ([first, ...others]: readonly Buffer[]) =>
    first !== undefined && others.length === 0 ? first : Buffer.concat([...(first ? [first] : []), ...others]);
  return { runs: joined.map(({ offset, parts }) => ({ offset, bytes: concat(parts) })), problem: null };
}

/**
 * The text of a file that holds `pieces`, in order. Blank flash is written like any other: a flasher leaves alone what
 * the file does not name, so what was there before would shine through.
 *
 * @param pieces with offsets below 4 GiB
 */
export async function* intelHexText(
  pieces: AsyncIterable<HexRun> | Iterable<HexRun>,
): AsyncGenerator<string, void, undefined> {
  let bank = -1;
  for await (const { offset, bytes } of pieces) {
    const lines: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const address = offset + at;
      if (Math.floor(address / BANK_BYTES) !== bank) {
        bank = Math.floor(address / BANK_BYTES);
        lines.push(recordText(LINEAR, 0, Buffer.from([bank >> 8, bank & 0xff])));
      }
      const low = address % BANK_BYTES;
      const length = Math.min(RECORD_BYTES, bytes.length - at, BANK_BYTES - low);
      lines.push(recordText(DATA, low, bytes.subarray(at, at + length)));
      at += length;
    }
    yield lines.join('');
  }
  yield recordText(END, 0, Buffer.alloc(0));
}

function recordText(type: number, address: number, data: Buffer): string {
  const record = Buffer.alloc(data.length + FRAME_BYTES);
  record.writeUInt8(data.length, 0);
  record.writeUInt16BE(address, 1);
  record.writeUInt8(type, 3);
  data.copy(record, 4);
  const sum = record.reduce((total, byte) => total + byte, 0);
  record.writeUInt8(-sum & 0xff, record.length - 1);
  return `:${record.toString('hex').toUpperCase()}\n`;
}
