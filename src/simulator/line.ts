/**
 * The wire between host and chip: baud rates on both sides, latency, and delivery in chunks as a USB adapter makes them.
 *
 * Bytes are never handled one by one. Each direction is a queue of segments with the time at which each begins; one
 * timer a chunk delivers whatever has arrived by then. Late timers (a real clock) lose no time: segments keep their
 * computed times, so that the rate is right on average.
 */

import type { Clock } from '../clock.ts';
import { seededRandom } from './random.ts';
import type { Random } from './random.ts';

export interface LineOptions {
  /** Time in which the wire carries a byte: 10 bits at the agreed rate. False: no time at all. Default true. */
  readonly paced?: boolean;
  /** Each way, through USB and drivers. Default 0. */
  readonly latencyMs?: number;
  /** How long the adapter collects bytes before it hands them on. Default 1 ms. */
  readonly chunkMs?: number;
  /** Largest chunk. Default 4096 bytes. */
  readonly chunkBytes?: number;
  /** Native USB has no baud rate; it carries so many bytes a second. Default 900000. */
  readonly usbBytesPerSecond?: number;
}

/** A chip's side of the line: a rate, `auto` while the ROM measures the host's, or `usb` where there is none. */
export type ChipRate = number | 'auto' | 'usb';

export interface LineEnds {
  /** Bytes as they arrive at the chip's UART. */
  readonly toChip: (data: Buffer) => void;
  /** Bytes as they arrive at the host. */
  readonly toHost: (data: Buffer) => void;
  /** A ROM that measures the rate has found this one. */
  readonly rateMeasured: (baudRate: number) => void;
}

/** UARTs agree as long as they differ by less than this. */
const RATE_TOLERANCE = 0.03;

export class Line {
  readonly #options: Required<LineOptions>;
  readonly #ends: LineEnds;
  readonly #noise: Random;
  readonly #toChip: Lane;
  readonly #toHost: Lane;
  hostBaudRate = 115200;
  chipRate: ChipRate = 115200;

  constructor(clock: Clock, options: LineOptions | null, ends: LineEnds, noiseSeed: number) {
    this.#ends = ends;
    this.#noise = seededRandom(noiseSeed);
    this.#options = {
      paced: options !== null,
      latencyMs: 0,
      chunkMs: 1,
      chunkBytes: 4096,
      usbBytesPerSecond: 900_000,
      ...options,
    };
    this.#toChip = new Lane(clock, this.#options, (data, rate) => this.#arriveAtChip(data, rate));
    this.#toHost = new Lane(clock, this.#options, (data, rate) => this.#arriveAtHost(data, rate));
  }

  fromHost(data: Uint8Array): void {
    this.#toChip.send(Buffer.from(data), this.hostBaudRate, this.#msPerByte(this.hostBaudRate));
  }

  /** `sent` is called when the last bit has left the chip. */
  fromChip(data: Buffer, rate: number, sent?: (atMs: number) => void, notBefore?: number): void {
    this.#toHost.send(data, rate, this.#msPerByte(rate), sent, notBefore);
  }

  /** Puts bytes that had arrived at the host in front again, to arrive after `delayMs`. */
  holdBack(data: Buffer, delayMs: number): void {
    this.#toHost.holdBack(data, delayMs, this.hostBaudRate);
  }

  /** The chip was reset: what it had not yet sent is gone; what was sent is on its way. */
  chipReset(): void {
    this.#toHost.cut();
  }

  /** Nothing arrives anywhere any more. */
  unplugged(): void {
    this.#toHost.clear();
    this.#toChip.clear();
  }

  #msPerByte(rate: number): number {
    if (!this.#options.paced) return 0;
    return this.chipRate === 'usb' ? 1000 / this.#options.usbBytesPerSecond : 10_000 / rate;
  }

  #arriveAtChip(data: Buffer, rate: number): void {
    if (this.chipRate === 'auto') {
      this.#ends.rateMeasured(rate);
      this.chipRate = rate;
    }
    this.#ends.toChip(this.#asHeard(data, rate, this.chipRate));
  }

  #arriveAtHost(data: Buffer, rate: number): void {
    this.#ends.toHost(this.#asHeard(data, rate, this.chipRate === 'usb' ? 'usb' : this.hostBaudRate));
  }

  /** At another rate than the sender's a UART hears something, about as long as what was sent. */
  #asHeard(data: Buffer, sentAt: number, heardAt: ChipRate): Buffer {
    if (typeof heardAt !== 'number' || Math.abs(heardAt / sentAt - 1) < RATE_TOLERANCE) return data;
    const length = Math.max(1, Math.min(65536, Math.round((data.length * heardAt) / sentAt)));
    return this.#noise.bytes(length);
  }
}

interface Segment {
  data: Buffer;
  readonly rate: number;
  startAt: number;
  readonly msPerByte: number;
}

/** One direction. */
class Lane {
  readonly #clock: Clock;
  readonly #options: Required<LineOptions>;
  readonly #deliver: (data: Buffer, rate: number) => void;
  #segments: Segment[] = [];
  #busyUntil = 0;
  #heldUntil = 0;
  #cancelTimer: (() => void) | null = null;
  #sentCallbacks = new Set<() => void>();
  #delivering = false;

  constructor(clock: Clock, options: Required<LineOptions>, deliver: (data: Buffer, rate: number) => void) {
    this.#clock = clock;
    this.#options = options;
    this.#deliver = deliver;
  }

  send(data: Buffer, rate: number, msPerByte: number, sent?: (atMs: number) => void, notBefore?: number): void {
    const now = this.#clock.now();
    const startAt = Math.max(this.#busyUntil, notBefore ?? now);
    this.#busyUntil = startAt + data.length * msPerByte;
    if (data.length > 0) this.#segments.push({ data, rate, startAt, msPerByte });
    if (sent !== undefined) this.#callWhenSent(sent, this.#busyUntil);
    this.#advance();
  }

  holdBack(data: Buffer, delayMs: number, rate: number): void {
    this.#heldUntil = this.#clock.now() + delayMs;
    if (data.length > 0) this.#segments.unshift({ data, rate, startAt: this.#clock.now(), msPerByte: 0 });
    this.#advance();
  }

  cut(): void {
    const now = this.#clock.now();
    this.#busyUntil = now;
    for (const cancel of this.#sentCallbacks) cancel();
    this.#sentCallbacks.clear();
    this.#segments = this.#segments.flatMap((segment) => {
      const bytes =
        segment.msPerByte === 0 ? segment.data.length : Math.floor((now - segment.startAt) / segment.msPerByte);
      return bytes <= 0 ? [] : [{ ...segment, data: segment.data.subarray(0, bytes) }];
    });
  }

  clear(): void {
    this.cut();
    this.#segments = [];
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  #callWhenSent(sent: (atMs: number) => void, atMs: number): void {
    const delayMs = atMs - this.#clock.now();
    if (delayMs <= 0) {
      // After the bytes, never inside the caller's own step.
      this.#advance();
      sent(atMs);
      return;
    }
    const cancel = this.#clock.schedule(delayMs, () => {
      this.#sentCallbacks.delete(cancel);
      sent(atMs);
    });
    this.#sentCallbacks.add(cancel);
  }

  /** Delivers what has arrived by now and sets the timer for the next chunk. */
  #advance(): void {
    if (this.#delivering || this.#cancelTimer !== null) return;
    this.#delivering = true;
    try {
      while (this.#deliverArrived()) {
        // Delivering may have brought new bytes at once (a wire without delay).
      }
    } finally {
      this.#delivering = false;
    }
    const first = this.#segments[0];
    if (first === undefined) return;
    const now = this.#clock.now();
    const wait = Math.max(this.#nextArrival(first) - now, this.#heldUntil - now, 0);
    this.#cancelTimer = this.#clock.schedule(wait, () => {
      this.#cancelTimer = null;
      this.#advance();
    });
  }

  /** When the next chunk is due: its collecting time or its size is up, or the segments end. */
  #nextArrival(first: Segment): number {
    const { latencyMs, chunkMs, chunkBytes } = this.#options;
    const now = this.#clock.now();
    const last = this.#segments.at(-1) ?? first;
    const allThere = last.startAt + last.data.length * last.msPerByte;
    const full = first.startAt + chunkBytes * first.msPerByte;
    const firstByte = first.startAt + first.msPerByte;
    const collected = Math.max(now + chunkMs, firstByte + latencyMs);
    return Math.min(allThere + latencyMs, full + latencyMs, collected);
  }

  #deliverArrived(): boolean {
    const now = this.#clock.now();
    if (now < this.#heldUntil) return false;
    const seenUntil = now - this.#options.latencyMs + 1e-6;
    const pieces: Buffer[] = [];
    let rate = 0;
    let room = this.#options.chunkBytes;
    for (let segment = this.#segments[0]; segment !== undefined && room > 0; segment = this.#segments[0]) {
      if (pieces.length > 0 && segment.rate !== rate) break;
      const arrived =
        segment.msPerByte === 0
          ? segment.startAt <= seenUntil
            ? segment.data.length
            : 0
          : Math.floor((seenUntil - segment.startAt) / segment.msPerByte);
      const take = Math.min(arrived, segment.data.length, room);
      if (take <= 0) break;
      rate = segment.rate;
      room -= take;
      pieces.push(segment.data.subarray(0, take));
      if (take === segment.data.length) {
        this.#segments.shift();
      } else {
        segment.data = segment.data.subarray(take);
        segment.startAt += take * segment.msPerByte;
        break;
      }
    }
    if (pieces.length === 0) return false;
    this.#deliver(pieces.length === 1 ? (pieces[0] ?? Buffer.alloc(0)) : Buffer.concat(pieces), rate);
    return true;
  }
}
