/** What has arrived on a link and is not read yet: the pull side of {@link Link.read}, for every kind of link. */

import type { Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';

/** The contract of `read` promises at least this much before `port-flooded`. */
export const DEFAULT_LIMIT_BYTES = 1024 * 1024;

/** Most that one read hands up when small chunks are joined; a whole packet of the flasher (4 KiB, escaped) fits. */
const JOINED_READ_BYTES = 64 * 1024;
/** Chunks below this size are joined once a run of them is long: a chunk object costs more memory than its bytes. */
const SMALL_CHUNK_BYTES = 256;
const SMALL_RUN_LENGTH = 256;
/** Longest delay of a timer (2^31-1 ms). */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

interface Waiter {
  resolve(chunk: Buffer | null): void;
  reject(error: Error): void;
}

/**
 * A timer that is later than this tells that the process was not run for a while, on a crowded machine: what came
 * meanwhile lies unread in the system, and timers come before it in the event loop. Then the wait goes on once, for as
 * long as the process was away.
 */
const LATE_MS = 20;
const LONGEST_GRACE_MS = 1000;

/**
 * A bounded queue of chunks with one reader. Linear in time: a byte is copied at most twice, and not at all where the
 * reader keeps up. Past the limit everything is dropped and reads reject with `port-flooded` until {@link clear}.
 */
export class ReceiveBuffer {
  readonly #address: string;
  readonly #clock: Clock;
  readonly #limitBytes: number;
  #chunks: Buffer[] = [];
  /** Index of the first chunk not yet read; `shift()` would be linear in the length of a long queue. */
  #head = 0;
  #sizeBytes = 0;
  #smallRun = 0;
  #waiter: Waiter | undefined;
  #flooded = false;
  #end: EspdError | undefined;

  constructor(address: string, clock: Clock, limitBytes = DEFAULT_LIMIT_BYTES) {
    this.#address = address;
    this.#clock = clock;
    this.#limitBytes = limitBytes;
  }

  /** Bytes that wait to be read. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Takes over `chunk`: the sender must not write to it any more. A waiting reader gets it at once. */
  push(chunk: Buffer): void {
    if (chunk.length === 0 || this.#flooded || this.#end !== undefined) return;
    if (this.#waiter !== undefined) {
      this.#waiter.resolve(chunk);
      return;
    }
    if (this.#sizeBytes + chunk.length > this.#limitBytes) {
      this.clear();
      this.#flooded = true;
      return;
    }
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    this.#smallRun = chunk.length < SMALL_CHUNK_BYTES ? this.#smallRun + 1 : 0;
    if (this.#smallRun === SMALL_RUN_LENGTH) {
      const run = this.#chunks.splice(Math.max(this.#head, this.#chunks.length - SMALL_RUN_LENGTH));
      this.#chunks.push(Buffer.concat(run));
      this.#smallRun = 0;
    }
  }

  /** As {@link Link.read}. Rejects with `internal` when another read is pending. */
  read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.#waiter !== undefined) {
      return Promise.reject(new EspdError('internal', `two reads at the same time on ${this.#address}`));
    }
    if (this.#sizeBytes > 0) return Promise.resolve(this.#take());
    if (this.#flooded) return Promise.reject(this.#floodError());
    if (this.#end !== undefined) return Promise.reject(this.#end);
    if (timeoutMs <= 0) return Promise.resolve(null);
    return this.#wait(timeoutMs, signal);
  }

  /** Forgets what is queued, and that the device has flooded. */
  clear(): void {
    this.#chunks = [];
    this.#head = 0;
    this.#sizeBytes = 0;
    this.#smallRun = 0;
    this.#flooded = false;
  }

  /** No more bytes will come: what is queued can still be read, then reads reject with `error`. The first end counts. */
  end(error: EspdError): void {
    this.#end ??= error;
    this.#waiter?.reject(this.#end);
  }

  /** Throws what {@link end} was called with, if it was. */
  throwIfEnded(): void {
    if (this.#end !== undefined) throw this.#end;
  }

  #wait(timeoutMs: number, signal: AbortSignal | undefined): Promise<Buffer | null> {
    return new Promise((resolve, reject) => {
      let cancelTimer = () => {};
      const settle = () => {
        cancelTimer();
        signal?.removeEventListener('abort', onAbort);
        this.#waiter = undefined;
      };
      const onAbort = () => {
        settle();
        reject(signal?.reason as Error);
      };
      const giveUp = () => {
        settle();
        resolve(null);
      };
      const giveUpAfter = (delayMs: number, onLate: (lateMs: number) => void) => {
        const dueMs = this.#clock.now() + delayMs;
        cancelTimer = this.#clock.schedule(delayMs, () => {
          const lateMs = this.#clock.now() - dueMs;
          if (lateMs > LATE_MS) onLate(lateMs);
          else giveUp();
        });
      };
      giveUpAfter(Math.min(timeoutMs, LONGEST_DELAY_MS), (lateMs) => {
        giveUpAfter(Math.min(lateMs, timeoutMs, LONGEST_GRACE_MS), giveUp);
      });
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiter = {
        resolve(chunk) {
          settle();
          resolve(chunk);
        },
        reject(error) {
          settle();
          reject(error);
        },
      };
    });
  }

  /** The first chunk, joined with those behind it up to a size that makes the next read worth its while. */
  #take(): Buffer {
    let stop = this.#head;
    let size = 0;
    while (stop < this.#chunks.length) {
      const length = this.#chunks[stop]?.length ?? 0;
      if (stop > this.#head && size + length > JOINED_READ_BYTES) break;
      size += length;
      stop += 1;
    }
    const taken = this.#chunks.slice(this.#head, stop);
    this.#head = stop;
    this.#sizeBytes -= size;
    if (this.#head === this.#chunks.length) {
      this.#chunks = [];
      this.#head = 0;
      this.#smallRun = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#chunks.length) {
      this.#chunks.splice(0, this.#head);
      this.#head = 0;
    }
    const [first] = taken;
    return taken.length === 1 && first !== undefined ? first : Buffer.concat(taken, size);
  }

  #floodError(): EspdError {
    return new EspdError('port-flooded', `${this.#address} sends faster than it is read, without pause`, {
      hint: 'Another device than an ESP board, or an app that prints all the time; exclude the port in the config if so',
    });
  }
}
