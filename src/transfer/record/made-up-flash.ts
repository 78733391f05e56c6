/** Flash that stands in for what a recording does not hold: made of tags, and its digests are right. */

import { createHash } from 'node:crypto';
import { OPCODE } from '../../esp/protocol.ts';
import type { CutOut, FrameLine } from './format.ts';
import { digestOfFill } from './secrets.ts';

const HEADER_BYTES = 8;
const DIGEST_BYTES = 16;
/** Pieces in which it is kept. */
const SECTOR_BYTES = 4096;
/** More than any flash. */
const MAX_ZERO_BYTES = 128 * 1024 * 1024;

export class MadeUpFlash {
  /** What was read so far, by sector; what was not is not known. */
  readonly #sectors = new Map<number, Buffer>();
  #request: { readonly opcode: number; readonly words: readonly number[] } | undefined;
  #reading: { at: number; left: number; readonly hash: ReturnType<typeof createHash> } | undefined;

  /** A request of the host's. */
  fromHost(frame: Buffer): void {
    if (frame.length < HEADER_BYTES) return;
    const words = Array.from({ length: Math.min(4, Math.floor((frame.length - HEADER_BYTES) / 4)) }, (_, index) =>
      frame.readUInt32LE(HEADER_BYTES + 4 * index),
    );
    this.#request = { opcode: frame.readUInt8(1), words };
    this.#reading = undefined;
  }

  /** The frame that a recorded one stands for. */
  fromChip(told: Buffer, line: FrameLine): Buffer {
    const [at = 0, length = 0] = this.#request?.words ?? [];
    if (this.#reading !== undefined) return this.#packet(told, line);
    const isRead = this.#request?.opcode === OPCODE.READ_FLASH && told[1] === OPCODE.READ_FLASH;
    if (isRead && line.kind === 'rsp' && told[HEADER_BYTES] === 0) {
      this.#reading = { at, left: length, hash: createHash('md5') };
      return told;
    }
    if (line.data === undefined) {
      this.#learnZeros(told, at, length);
      return told;
    }
    const { bytes } = line.data;
    const isDigest = told[1] === OPCODE.SPI_FLASH_MD5 && this.#request?.opcode === OPCODE.SPI_FLASH_MD5;
    const made = (isDigest ? this.#digest(at, length, bytes) : undefined) ?? madeOf(line.data);
    if (told[1] === OPCODE.READ_FLASH_SLOW) this.#keep(at, made);
    return inserted(told, line, made);
  }

  #packet(told: Buffer, line: FrameLine): Buffer {
    const reading = this.#reading;
    if (reading === undefined) return told;
    if (reading.left <= 0) {
      this.#reading = undefined;
      return line.data?.bytes === DIGEST_BYTES ? reading.hash.digest() : inserted(told, line, Buffer.alloc(0));
    }
    const packet = inserted(told, line, madeOf(line.data));
    reading.hash.update(packet);
    this.#keep(reading.at, packet);
    reading.at += packet.length;
    reading.left -= packet.length;
    return packet;
  }

  /** What is zero is not read either. */
  #learnZeros(told: Buffer, at: number, length: number): void {
    const isDigest = told[1] === OPCODE.SPI_FLASH_MD5 && this.#request?.opcode === OPCODE.SPI_FLASH_MD5;
    if (!isDigest || length === 0 || length > MAX_ZERO_BYTES) return;
    const body = told.subarray(HEADER_BYTES);
    const zeros = digestOfFill(0, length);
    if (body.toString('hex', 0, DIGEST_BYTES) !== zeros && body.toString('latin1', 0, 2 * DIGEST_BYTES) !== zeros)
      return;
    this.#keep(at, Buffer.alloc(length));
  }

  #keep(at: number, bytes: Buffer): void {
    for (let done = 0; done < bytes.length;) {
      const from = (at + done) % SECTOR_BYTES;
      const number = Math.floor((at + done) / SECTOR_BYTES);
      const sector = this.#sectors.get(number) ?? Buffer.alloc(SECTOR_BYTES, 0xff);
      this.#sectors.set(number, sector);
      done += bytes.copy(sector, from, done, done + SECTOR_BYTES - from);
    }
  }

  /** What was not read is taken to be blank: espd did not read it because a digest said so. */
  #digest(at: number, length: number, digestBytes: number): Buffer | undefined {
    const first = Math.floor(at / SECTOR_BYTES);
    const last = Math.ceil((at + length) / SECTOR_BYTES);
    if (![...this.#sectors.keys()].some((number) => number >= first && number < last)) return undefined;
    const blank = Buffer.alloc(SECTOR_BYTES, 0xff);
    const hash = createHash('md5');
    for (let offset = at; offset < at + length;) {
      const from = offset % SECTOR_BYTES;
      const sector = this.#sectors.get(Math.floor(offset / SECTOR_BYTES)) ?? blank;
      const piece = sector.subarray(from, Math.min(SECTOR_BYTES, from + at + length - offset));
      hash.update(piece);
      offset += piece.length;
    }
    return digestBytes === 2 * DIGEST_BYTES ? Buffer.from(hash.digest('hex'), 'latin1') : hash.digest();
  }
}

/** Bytes that are the same for the same tag. */
function madeOf({ bytes: length, fill, tag = '' }: CutOut = { bytes: 0 }): Buffer {
  if (fill !== undefined) return Buffer.alloc(length, fill);
  const pieces: Buffer[] = [];
  for (let counter = 0, made = 0; made < length; counter++) {
    const piece = createHash('sha256').update(`${tag}:${counter}`).digest();
    pieces.push(piece);
    made += piece.length;
  }
  return Buffer.concat(pieces).subarray(0, length);
}

function inserted(told: Buffer, line: FrameLine, bytes: Buffer): Buffer {
  const at = line.data?.at ?? told.length;
  return Buffer.concat([told.subarray(0, at), bytes, told.subarray(at)]);
}
