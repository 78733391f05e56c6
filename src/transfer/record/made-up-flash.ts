/**
 * Flash that stands in for what a recording does not hold: made of tags, and its digests are right. It has what was read
 * of it, else what the images had that espd knew, and becomes what the replaying host writes.
 */

import { createHash } from 'node:crypto';
import { constants, inflateSync } from 'node:zlib';
import { UNIFORM_BYTES, uniformDigest } from '../../archive/uniform.ts';
import { OPCODE } from '../../esp/protocol.ts';
import { SECTOR_BYTES } from '../../flash.ts';
import type { FrameLine, RecordingLine } from './format.ts';
import type { MadeUpBytes, MadeUpImage } from './made-up-image.ts';

const HEADER_BYTES = 8;
/** Words in front of the data of a write: length, sequence, two zeros. */
const WRITE_WORDS_BYTES = 16;
const DIGEST_BYTES = 16;
/** More than any flash. */
const MAX_FILL_BYTES = 128 * 1024 * 1024;

interface Request {
  readonly opcode: number;
  readonly words: readonly number[];
}

export class MadeUpFlash {
  readonly #made: MadeUpBytes;
  readonly #images: readonly MadeUpImage[];
  readonly #sectors = new Map<number, Buffer>();
  /** Sectors that were written when this was recorded, or are now: what is read of them later says nothing of before. */
  readonly #written = new Set<number>();
  /** The images say what was never read; without them that is blank. */
  #isAllKnown = false;
  #request: Request | undefined;
  /** False: what the flash holds is settled, and a packet that the line had spoilt stays one. */
  #isLearning = true;
  #reading: { readonly at: number; readonly sizeBytes: number; left: number } | undefined;
  #writing:
    { readonly at: number; readonly blockBytes: number; readonly isPacked: boolean; data: Buffer[] } | undefined;

  /** @param lines of one link @param images that espd had */
  constructor(lines: readonly RecordingLine[], made: MadeUpBytes, images: readonly MadeUpImage[]) {
    this.#made = made;
    this.#images = images;
    for (const line of lines) {
      if (!('hex' in line)) continue;
      const told = Buffer.from(line.hex, 'hex');
      if (line.dir === 'chip') this.fromChip(told, line);
      else if (line.kind === 'cmd') this.#note(told);
    }
    this.#fillFrom(images);
    this.#written.clear();
    this.#request = undefined;
    this.#reading = undefined;
    this.#isLearning = false;
  }

  /** A request of the host that replays, with all of its bytes. */
  fromHost(frame: Buffer): void {
    const request = this.#note(frame);
    if (request === undefined) return;
    const { opcode, words } = request;
    const isPacked = opcode === OPCODE.FLASH_DEFL_BEGIN;
    if (isPacked || opcode === OPCODE.FLASH_BEGIN) {
      const [sizeBytes = 0, , blockBytes = 0, at = 0] = words;
      this.#endWrite();
      if (sizeBytes === 0) return;
      this.#keep(at, Buffer.alloc(Math.min(sizeBytes, MAX_FILL_BYTES), 0xff));
      this.#writing = { at, blockBytes, isPacked, data: [] };
    } else if (opcode === OPCODE.FLASH_DEFL_DATA || opcode === OPCODE.FLASH_DATA) {
      this.#writing?.data.push(frame.subarray(HEADER_BYTES + WRITE_WORDS_BYTES));
    } else this.#endWrite();
  }

  /** The frame that a recorded one stands for. */
  fromChip(told: Buffer, line: FrameLine): Buffer {
    const [at = 0, length = 0] = this.#request?.words ?? [];
    if (this.#reading !== undefined) return this.#packet(told, line);
    const isRead = this.#request?.opcode === OPCODE.READ_FLASH && told[1] === OPCODE.READ_FLASH;
    if (isRead && line.kind === 'rsp' && told[HEADER_BYTES] === 0) {
      this.#reading = { at, sizeBytes: length, left: length };
      return told;
    }
    const isDigest = told[1] === OPCODE.SPI_FLASH_MD5 && this.#request?.opcode === OPCODE.SPI_FLASH_MD5;
    if (line.data === undefined) {
      if (isDigest) this.#learnFill(told, at, length);
      return told;
    }
    if (isDigest) this.#learnImage(line, at, length);
    const digest = isDigest ? this.#digest(at, length, line.data.bytes) : undefined;
    const made = digest ?? this.#made.of(line.data);
    if (told[1] === OPCODE.READ_FLASH_SLOW) this.#learn(at, made);
    return inserted(told, line, made);
  }

  #note(frame: Buffer): Request | undefined {
    if (frame.length < HEADER_BYTES) return undefined;
    const words = Array.from({ length: Math.min(4, Math.floor((frame.length - HEADER_BYTES) / 4)) }, (_, index) =>
      frame.readUInt32LE(HEADER_BYTES + 4 * index),
    );
    this.#request = { opcode: frame.readUInt8(1), words };
    this.#reading = undefined;
    if ([OPCODE.FLASH_BEGIN, OPCODE.FLASH_DEFL_BEGIN].includes(this.#request.opcode as never)) {
      const [sizeBytes = 0, , , at = 0] = words;
      for (let done = 0; done < Math.min(sizeBytes, MAX_FILL_BYTES); done += SECTOR_BYTES) {
        this.#written.add(Math.floor((at + done) / SECTOR_BYTES));
      }
    }
    return this.#request;
  }

  #packet(told: Buffer, line: FrameLine): Buffer {
    const reading = this.#reading;
    if (reading === undefined) return told;
    if (reading.left <= 0) {
      this.#reading = undefined;
      const digest = this.#digest(reading.at, reading.sizeBytes, DIGEST_BYTES);
      return line.data?.bytes === DIGEST_BYTES && digest !== undefined ? digest : inserted(told, line, Buffer.alloc(0));
    }
    const packet = inserted(told, line, this.#made.of(line.data));
    this.#learn(reading.at + reading.sizeBytes - reading.left, packet);
    reading.left -= packet.length;
    return packet;
  }

  #endWrite(): void {
    const writing = this.#writing;
    this.#writing = undefined;
    if (writing === undefined || writing.data.length === 0) return;
    const { at, blockBytes, isPacked, data } = writing;
    if (isPacked) this.#keep(at, inflateSync(Buffer.concat(data), { finishFlush: constants.Z_SYNC_FLUSH }));
    else for (const [index, block] of data.entries()) this.#keep(at + index * blockBytes, block);
  }

  /** What is blank or zero is not read either. */
  #learnFill(told: Buffer, at: number, length: number): void {
    if (length === 0 || length > MAX_FILL_BYTES) return;
    const body = told.subarray(HEADER_BYTES);
    const digests = [body.toString('hex', 0, DIGEST_BYTES), body.toString('latin1', 0, 2 * DIGEST_BYTES)];
    const fill = UNIFORM_BYTES.find((byte) => digests.includes(uniformDigest(byte, length)));
    if (fill !== undefined) this.#learn(at, Buffer.alloc(length, fill));
  }

  /** It has all of an image that espd had: their digests had one tag. */
  #learnImage({ data }: FrameLine, at: number, length: number): void {
    const tag = data?.tag;
    if (!this.#isLearning || tag === undefined || at !== 0) return;
    const same = this.#images.find(({ line }) => line.sizeBytes === length && line.digestTags?.includes(tag) === true);
    if (same !== undefined) this.#learn(0, same.bytes);
  }

  /** What the chip has told: of sectors that were written it says what they are now. */
  #learn(at: number, bytes: Buffer): void {
    if (this.#isLearning) this.#each(at, bytes, (number) => !this.#written.has(number));
  }

  #keep(at: number, bytes: Buffer): void {
    this.#each(at, bytes, () => true);
  }

  #each(at: number, bytes: Buffer, isWanted: (sector: number) => boolean): void {
    for (let done = 0; done < bytes.length;) {
      const from = (at + done) % SECTOR_BYTES;
      const number = Math.floor((at + done) / SECTOR_BYTES);
      const end = done + SECTOR_BYTES - from;
      if (isWanted(number)) {
        const sector = this.#sectors.get(number) ?? Buffer.alloc(SECTOR_BYTES, 0xff);
        this.#sectors.set(number, sector);
        bytes.copy(sector, from, done, end);
      }
      done = end;
    }
  }

  /**
   * Sectors that were not read: espd knew them, by a digest. What was to be written there differed; all else was as the
   * image that was written, or as the newest backup.
   */
  #fillFrom(images: readonly MadeUpImage[]): void {
    const latest = images.find(({ line }) => line.role === 'latest')?.bytes;
    // What is opened later is, of a restore, the snapshot of what was there.
    const target = images.find(({ line }) => line.role === 'opened')?.bytes;
    const known = target ?? latest;
    if (known === undefined) return;
    this.#isAllKnown = true;
    const sectorOf = (image: Buffer | undefined, number: number) =>
      image?.subarray(number * SECTOR_BYTES, (number + 1) * SECTOR_BYTES);
    for (let number = 0; number * SECTOR_BYTES < known.length; number++) {
      if (this.#sectors.has(number)) continue;
      const [before, wanted] = [sectorOf(latest, number), sectorOf(target, number)];
      const isOther = this.#written.has(number);
      const content =
        isOther && (before === undefined || wanted?.equals(before) === true)
          ? this.#made.of({ bytes: SECTOR_BYTES, tag: `never read: ${number}` })
          : ((isOther ? before : (wanted ?? before)) ?? Buffer.alloc(SECTOR_BYTES, 0xff));
      this.#sectors.set(number, Buffer.from(content));
    }
  }

  /** Undefined where nothing is known of the region: without images what was not read is taken to be blank. */
  #digest(at: number, length: number, digestBytes: number): Buffer | undefined {
    const first = Math.floor(at / SECTOR_BYTES);
    const last = Math.ceil((at + length) / SECTOR_BYTES);
    const isKnown = this.#isAllKnown || [...this.#sectors.keys()].some((number) => number >= first && number < last);
    if (!isKnown) return undefined;
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

function inserted(told: Buffer, line: FrameLine, bytes: Buffer): Buffer {
  const at = line.data?.at ?? told.length;
  return Buffer.concat([told.subarray(0, at), bytes, told.subarray(at)]);
}
