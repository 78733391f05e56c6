/** The reader's three commands, by `reader/PROTOCOL.md`: requests are judged as it says, and what follows is sent. */

import { createHash } from 'node:crypto';
import type { FlashArray } from '../flash.ts';
import { SECTOR_BYTES } from '../flash.ts';
import { digestMs, wordAt } from '../loader.ts';
import type { LoaderContext } from '../loader.ts';
import { patternAt } from './checks.ts';
import { deflateRaw } from './deflater.ts';
import type { BuiltReader } from './program.ts';
import { FRAME_BYTES, Sender, type Sending } from './sender.ts';
import { type Level, doneAt, isLevel, workMs } from './speed.ts';

export const READER_OPCODE = { info: 0xe0, table: 0xe1, stream: 0xe2 } as const;
const INFO_VALUE = 0x31445245;
const STATUS = { badLength: 0xc000, outOfRange: 0xc200 } as const;
const FLAG = { pattern: 2, measure: 4 } as const;
const MAX_WINDOW = 64;
const MAX_ADDRESS = 0x1000000;
const MAX_SECTORS = 4096;
const DIGEST_BYTES = 8;

/** A status that refuses, or an answer with what follows it. */
export type ReaderOutcome =
  number | { readonly value: number; readonly body: Buffer; readonly follow: (() => Sender) | undefined };

export class SimulatedReader {
  readonly #context: LoaderContext;
  readonly #flash: FlashArray;
  readonly #built: BuiltReader;
  #framesSent = 0;

  /** @param flash as 24 address bits reach it */
  constructor(context: LoaderContext, flash: FlashArray, built: BuiltReader) {
    this.#context = context;
    this.#flash = flash;
    this.#built = built;
  }

  get built(): BuiltReader {
    return this.#built;
  }

  /** @param done called when the stub is back */
  command(opcode: number, payload: Buffer, done: () => void): ReaderOutcome {
    if (opcode === READER_OPCODE.info) return payload.length === 0 ? this.#info() : STATUS.badLength;
    if (payload.length % 4 !== 0) return STATUS.badLength;
    return opcode === READER_OPCODE.table ? this.#table(payload, done) : this.#stream(payload, done);
  }

  #info(): ReaderOutcome {
    const { build, crc32, historyBytes, maxRuns } = this.#built;
    const body = Buffer.alloc(28);
    [1, build, crc32, historyBytes, maxRuns, MAX_WINDOW, FRAME_BYTES].forEach((word, index) =>
      body.writeUInt32LE(word, 4 * index),
    );
    return { value: INFO_VALUE, body, follow: undefined };
  }

  #table(payload: Buffer, done: () => void): ReaderOutcome {
    if (payload.length !== 12) return STATUS.badLength;
    const [address, sectors, windowFrames] = [wordAt(payload, 0), wordAt(payload, 1), wordAt(payload, 2)];
    const isInRange = sectors >= 1 && sectors <= MAX_SECTORS && address + sectors * SECTOR_BYTES <= MAX_ADDRESS;
    if (address % SECTOR_BYTES !== 0 || !isInRange || !isWindow(windowFrames)) return STATUS.outOfRange;
    const whole = createHash('md5');
    const table = Buffer.alloc(sectors * DIGEST_BYTES);
    for (let sector = 0; sector < sectors; sector++) {
      const digest = this.#flash.md5(address + sector * SECTOR_BYTES, SECTOR_BYTES);
      whole.update(digest);
      digest.copy(table, sector * DIGEST_BYTES, 0, DIGEST_BYTES);
    }
    const sizeBytes = sectors * SECTOR_BYTES;
    const end = endOf(sizeBytes, table.length, whole.digest());
    const readyMs = (bytes: number) => digestMs(this.#context.speeds, Math.min(sizeBytes, (bytes / 8) * SECTOR_BYTES));
    return this.#follow(
      { frames: framesOf(table, readyMs), end, endReadyMs: readyMs(table.length), windowFrames },
      done,
    );
  }

  #stream(payload: Buffer, done: () => void): ReaderOutcome {
    if (payload.length < 16) return STATUS.badLength;
    const [level, windowFrames, flags, runs] = [0, 1, 2, 3].map((word) => wordAt(payload, word)) as [
      number,
      number,
      number,
      number,
    ];
    if (runs < 1 || runs > this.#built.maxRuns || !isLevel(level) || !isWindow(windowFrames)) return STATUS.outOfRange;
    if (payload.length !== 16 + 8 * runs) return STATUS.badLength;
    // A dictionary is asked for by nobody yet, and not simulated.
    if ((flags & ~(FLAG.pattern | FLAG.measure)) !== 0) return STATUS.outOfRange;
    const parts: Buffer[] = [];
    for (let run = 0; run < runs; run++) {
      const [address, length] = [wordAt(payload, 4 + 2 * run), wordAt(payload, 5 + 2 * run)];
      if (address % 4 !== 0 || length % 4 !== 0 || address + length > MAX_ADDRESS) return STATUS.outOfRange;
      parts.push((flags & FLAG.pattern) !== 0 ? patternAt(address, length) : this.#flash.read(address, length));
    }
    return this.#follow(this.#sendingOf(Buffer.concat(parts), level, windowFrames, flags), done);
  }

  #sendingOf(input: Buffer, level: Level, windowFrames: number, flags: number): Sending {
    const work = workMs(input, level, this.#context.speeds.readerCpuMHz);
    const isMeasured = (flags & FLAG.measure) !== 0;
    const { data, readyMs } = level === 0 ? plain(input, work) : compressed(input, this.#built.historyBytes, work);
    const digest = createHash('md5').update(input).digest();
    const spoilt = (flags & FLAG.pattern) !== 0 && this.#context.faults.active('reader')?.effect === 'self-test';
    if (spoilt) data[data.length >> 1] = (data[data.length >> 1] ?? 0) ^ 1;
    return {
      frames: isMeasured ? [] : framesOf(data, readyMs),
      end: endOf(input.length, data.length, digest, this.#context.faults.active('reader')?.effect),
      endReadyMs: doneAt(work, input.length),
      windowFrames,
    };
  }

  #follow(sending: Sending, done: () => void): ReaderOutcome {
    const follow = () => {
      const sender = new Sender(this.#context, sending, this.#framesSent, (framesSent) => {
        this.#framesSent += framesSent;
        done();
      });
      return sender;
    };
    return { value: this.#built.historyBytes, body: Buffer.alloc(0), follow };
  }
}

function isWindow(frames: number): boolean {
  return frames >= 1 && frames <= MAX_WINDOW;
}

function plain(input: Buffer, work: Float64Array) {
  return { data: Buffer.from(input), readyMs: (bytes: number) => doneAt(work, bytes) };
}

/** A block is written when all of it was looked at. */
function compressed(input: Buffer, windowBytes: number, work: Float64Array) {
  const { bytes, blocks } = deflateRaw(input, { windowBytes });
  let next = 0;
  const readyMs = (sent: number) => {
    while (next < blocks.length - 1 && (blocks[next]?.outputEnd ?? 0) < sent) next++;
    return doneAt(work, blocks[next]?.inputEnd ?? input.length);
  };
  return { data: Buffer.from(bytes), readyMs };
}

/** @param readyMs when so many bytes of the data are there; asked in order */
function framesOf(data: Buffer, readyMs: (bytes: number) => number): Sending['frames'] {
  const frames: { payload: Buffer; readyMs: number }[] = [];
  for (let at = 0; at < data.length; at += FRAME_BYTES) {
    const payload = data.subarray(at, at + FRAME_BYTES);
    frames.push({ payload, readyMs: readyMs(at + payload.length) });
  }
  return frames;
}

function endOf(bytesRead: number, bytesSent: number, digest: Buffer, fault?: string): Buffer {
  const end = Buffer.alloc(32);
  end.writeUInt32LE(fault === 'flash-error' ? 3 : 0, 0);
  end.writeUInt32LE(bytesRead, 4);
  end.writeUInt32LE(bytesSent, 8);
  digest.copy(end, 16);
  if (fault === 'wrong-digest') end[31] = (end[31] ?? 0) ^ 1;
  return end;
}
