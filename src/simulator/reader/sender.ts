/**
 * The frames of one stream on their way: numbered, checked, and no more of them unacknowledged than the window allows.
 * The stub's receive interrupt is masked meanwhile: every byte from the host comes here.
 */

import type { LoaderContext } from '../loader.ts';
import { seededRandom } from '../random.ts';
import { crcOf } from './checks.ts';

export const FRAME_BYTES = 1024;
const LAST = 0x80;
const ABORT = 0xff;
const DELIMITER = 0xc0;
/** Nothing acknowledged and nothing to send: the chip gives up. */
const STALL_MS = 2000;
/** After an abort the line must be quiet for so long before the stub is back. */
const QUIET_MS = 10;

export interface Sending {
  /** What is sent, and when the chip has it, in ms from the start. */
  readonly frames: readonly { readonly payload: Buffer; readonly readyMs: number }[];
  readonly end: Buffer;
  readonly endReadyMs: number;
  readonly windowFrames: number;
}

export class Sender {
  readonly #context: LoaderContext;
  readonly #sending: Sending;
  readonly #startedAt: number;
  /** Frames that this reader has sent before, for faults that wait for one. */
  readonly #before: number;
  readonly #done: (framesSent: number) => void;
  #sent = 0;
  #acknowledged = 0;
  #isBusy = false;
  #isOver = false;
  #isAborted = false;
  #stalls = 0;
  #lastByteAt = 0;

  constructor(context: LoaderContext, sending: Sending, before: number, done: (framesSent: number) => void) {
    this.#context = context;
    this.#sending = sending;
    this.#before = before;
    this.#done = done;
    this.#startedAt = context.clock.now();
  }

  start(): void {
    this.#next(this.#startedAt);
  }

  /** Bytes from the host, as they come. */
  take(data: Buffer): void {
    this.#lastByteAt = this.#context.clock.now();
    for (const byte of data) {
      if (this.#isAborted) continue;
      if (byte === ABORT || byte === DELIMITER) this.#abort();
      else if (byte < 128) this.#acknowledge(byte);
    }
  }

  #acknowledge(frames: number): void {
    const more = (frames - this.#acknowledged) & 127;
    if (more === 0 || more > this.#sent - this.#acknowledged) return;
    this.#acknowledged += more;
    this.#stalls++;
    if (!this.#isBusy) this.#next(this.#context.clock.now());
  }

  /** @param freeAt when the line was free */
  #next(freeAt: number): void {
    if (this.#isOver || this.#isAborted) return;
    const { frames, end, endReadyMs, windowFrames } = this.#sending;
    if (this.#sent - this.#acknowledged >= windowFrames) {
      this.#stall();
      return;
    }
    const frame = frames[this.#sent];
    const isLast = frame === undefined;
    const readyAt = Math.max(freeAt, this.#startedAt + (frame?.readyMs ?? endReadyMs));
    this.#isBusy = true;
    this.#context.after(readyAt - this.#context.clock.now(), () => {
      if (this.#isAborted) return;
      const content = frameContent(this.#sent, frame?.payload ?? end, isLast);
      this.#transmit(content, readyAt, (atMs) => {
        this.#isBusy = false;
        this.#sent++;
        if (isLast) this.#finish();
        else this.#next(atMs);
      });
    });
  }

  /** The frame, or what a fault makes of it. */
  #transmit(content: Buffer, readyAt: number, sent: (atMs: number) => void): void {
    const { faults } = this.#context;
    const fault = faults.active('reader');
    const number = this.#before + this.#sent;
    if (fault?.frame !== number) {
      this.#context.send(content, sent, readyAt);
      return;
    }
    const broken = Buffer.from(content);
    switch (fault.effect) {
      case 'wrong-crc':
        broken[broken.length - 1] = (broken[broken.length - 1] ?? 0) ^ 1;
        this.#context.send(broken, sent, readyAt);
        return;
      case 'wrong-data':
        this.#context.send(withCheck(flipped(content.subarray(0, -4))), sent, readyAt);
        return;
      case 'garbage':
        this.#context.send(seededRandom(number).bytes(content.length), sent, readyAt);
        return;
      case 'lost':
        this.#context.after(0.001, () => sent(this.#context.clock.now()));
        return;
      case 'cut':
        this.#context.send(content.subarray(0, Math.max(1, content.length >> 1)), () => this.#context.hang(), readyAt);
        return;
      case 'hang':
        this.#context.hang();
        return;
      default:
        // The others are of no single frame.
        this.#context.send(content, sent, readyAt);
    }
  }

  #stall(): void {
    const stalls = ++this.#stalls;
    this.#context.after(STALL_MS, () => {
      if (this.#stalls === stalls && !this.#isOver) this.#abort();
    });
  }

  #abort(): void {
    this.#isAborted = true;
    this.#lastByteAt = this.#context.clock.now();
    this.#waitForQuiet();
  }

  #waitForQuiet(): void {
    const quietMs = this.#context.clock.now() - this.#lastByteAt;
    if (quietMs >= QUIET_MS) this.#finish();
    else this.#context.after(QUIET_MS - quietMs + 0.01, () => this.#waitForQuiet());
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#done(this.#sent);
  }
}

function frameContent(number: number, payload: Buffer, isLast: boolean): Buffer {
  return withCheck(Buffer.concat([Buffer.of((number % 128) | (isLast ? LAST : 0)), payload]));
}

function withCheck(content: Buffer): Buffer {
  const check = Buffer.alloc(4);
  check.writeUInt32LE(crcOf(content));
  return Buffer.concat([content, check]);
}

function flipped(content: Buffer): Buffer {
  const copy = Buffer.from(content);
  const middle = 1 + ((copy.length - 1) >> 1);
  copy[middle] = (copy[middle] ?? 0) ^ 0x10;
  return copy;
}
