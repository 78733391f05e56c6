/** A board that echoes and remembers, a clock moved by hand, and a TCP client that collects. */

import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { once } from 'node:events';
import type { Clock } from '../../../src/clock.ts';
import type { ControlLines } from '../../../src/serial/link.ts';
import type { BoardPort } from '../../../src/simulator/port.ts';

export class EchoBoard implements BoardPort {
  onTransmit: ((data: Buffer) => void) | undefined;
  onVanish: (() => void) | undefined;
  /** In order: `data:68656c6c6f`, `lines:dtr,rts`, `baud:115200`. Adjacent data is one entry while it is short. */
  readonly events: string[] = [];
  receivedBytes = 0;
  echo = true;
  #waiting: { condition: () => boolean; resolve: () => void }[] = [];

  receive(data: Uint8Array): void {
    this.receivedBytes += data.length;
    const hex = Buffer.from(data).toString('hex');
    const last = this.events.at(-1);
    const joins = last?.startsWith('data:') === true && last.length < 1000;
    if (joins) this.events[this.events.length - 1] = last + hex;
    else this.events.push(`data:${hex}`);
    if (this.echo) this.onTransmit?.(Buffer.from(data));
    this.#check();
  }

  setControlLines(lines: ControlLines): void {
    this.events.push(`lines:${[lines.dtr ? 'dtr' : '', lines.rts ? 'rts' : ''].filter(Boolean).join(',')}`);
    this.#check();
  }

  setBaudRate(baudRate: number): void {
    this.events.push(`baud:${baudRate}`);
    this.#check();
  }

  /** The events since the last call. */
  take(): string[] {
    return this.events.splice(0);
  }

  /** Resolves when something that reached the board made `condition` true. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ condition, resolve }));
  }

  #check(): void {
    this.#waiting = this.#waiting.filter(({ condition, resolve }) => {
      if (!condition()) return true;
      resolve();
      return false;
    });
  }
}

export class HandClock implements Clock {
  #now = 0;
  #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  date(): Date {
    return new Date(this.#now);
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + delayMs, callback };
    this.#timers.push(timer);
    return () => (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  get pending(): number {
    return this.#timers.length;
  }

  advance(ms: number): void {
    this.#now += ms;
    const due = this.#timers.filter((timer) => timer.at <= this.#now);
    this.#timers = this.#timers.filter((timer) => timer.at > this.#now);
    for (const timer of due) timer.callback();
  }
}

/** A TCP client that keeps every segment it gets. */
export class Client {
  readonly socket: Socket;
  readonly segments: Buffer[] = [];
  readonly closed: Promise<void>;
  #length = 0;
  #wake: () => void = () => undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (segment) => {
      this.segments.push(segment);
      this.#length += segment.length;
      this.#wake();
    });
    this.closed = new Promise((resolve) => {
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.#wake();
        resolve();
      });
    });
  }

  static async open(address: string): Promise<Client> {
    const { port, hostname } = new URL(address);
    const socket = connect(Number(port), hostname);
    const client = new Client(socket);
    await once(socket, 'connect');
    return client;
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Takes exactly `length` bytes out of what arrived; throws when the connection ends before. */
  async take(length: number): Promise<Buffer> {
    while (this.#length < length) {
      if (this.socket.destroyed) throw new Error(`closed after ${this.#length} of ${length} bytes`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const all = Buffer.concat(this.segments);
    this.segments.splice(0, this.segments.length, all.subarray(length));
    this.#length = all.length - length;
    return all.subarray(0, length);
  }

  get received(): Buffer {
    return Buffer.concat(this.segments);
  }

  async leave(): Promise<void> {
    this.socket.end();
    await this.closed;
  }
}

/** `length` bytes that contain every value and do not repeat in a short period. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}
