/**
 * The bytes of an open tty, read and written without a thread between: the file descriptor does not block, so a read
 * when the poller says "readable" returns at once. serialport's own read makes two trips through Node's thread pool a
 * chunk, where it waits behind every fsync of the archive; and when the device is unplugged it can spin for ever on
 * reads of 0 bytes (seen with serialport 13 in 2 of 5 unplugs).
 */

import { readSync, writeSync } from 'node:fs';
import { systemCode } from '../errors.ts';

/** The part of serialport's poller (bindings-cpp: lib/poller.ts) that is used here. */
export interface TtyPoller {
  on(event: 'readable' | 'writable', listener: (error: Error | null) => void): unknown;
  off(event: 'readable' | 'writable', listener: (error: Error | null) => void): unknown;
  /** Waits for these events once; replaces what was waited for. */
  poll(events: number): void;
}

const READABLE = 1;
const WRITABLE = 2;

/** Size of the pieces of memory that reads fill; what the reader gets are parts of them, never copies. */
const POOL_BYTES = 64 * 1024;
/** Below this a new piece is begun, so that no read is needlessly small (a full buffer of the kernel is 4 KiB). */
const LEAST_READ_BYTES = 4096;

interface PendingWrite {
  readonly data: Uint8Array;
  offset: number;
  resolve(): void;
  reject(error: Error): void;
}

export interface TtyStreamEvents {
  data(chunk: Buffer): void;
  /** Once: the device is gone, or its driver failed. Not after {@link TtyStream.stop}. */
  ended(cause: Error): void;
}

export class TtyStream {
  readonly #fd: number;
  readonly #poller: TtyPoller;
  readonly #events: TtyStreamEvents;
  readonly #writes: PendingWrite[] = [];
  #pool = Buffer.allocUnsafeSlow(POOL_BYTES);
  #used = 0;
  #stopped = false;

  /** Starts reading. `fd` must be in non-blocking mode and raw, with VMIN 1: a read of 0 bytes is then a hang-up. */
  constructor(fd: number, poller: TtyPoller, events: TtyStreamEvents) {
    this.#fd = fd;
    this.#poller = poller;
    this.#events = events;
    poller.on('readable', this.#onReadable);
    poller.on('writable', this.#onWritable);
    this.#arm();
  }

  /** Bytes handed to {@link write} that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.#writes.reduce((sum, write) => sum + write.data.length - write.offset, 0);
  }

  /** Resolves when the kernel has taken `data`; rejects when the stream ends or is stopped before. */
  write(data: Uint8Array): Promise<void> {
    if (this.#stopped) return Promise.reject(new Error('the port is closed'));
    let offset = 0;
    if (this.#writes.length === 0) {
      offset = this.#writeSome(data, 0);
      if (offset === data.length) return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#writes.push({ data, offset, resolve, reject });
      // A write that failed has ended the stream by now: nothing would settle this one.
      if (this.#isStopped()) this.#rejectWrites(new Error('the port is closed'));
      else this.#arm();
    });
  }

  /** Touches the file descriptor no more; call it before the descriptor is closed. Pending writes reject. */
  stop(cause = new Error('the port is closed')): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#poller.off('readable', this.#onReadable);
    this.#poller.off('writable', this.#onWritable);
    this.#rejectWrites(cause);
  }

  #isStopped(): boolean {
    return this.#stopped;
  }

  readonly #onReadable = (error: Error | null): void => {
    if (this.#stopped) return;
    if (error !== null) {
      // The poller reports a hang-up as an error; what the kernel still holds comes first.
      while (this.#readSome());
      this.#fail(error);
      return;
    }
    this.#readSome();
    this.#arm();
  };

  readonly #onWritable = (error: Error | null): void => {
    if (this.#stopped || error !== null) return;
    const [write] = this.#writes;
    if (write !== undefined) {
      write.offset += this.#writeSome(write.data, write.offset);
      if (write.offset === write.data.length) {
        this.#writes.shift();
        write.resolve();
      }
    }
    this.#arm();
  };

  /** Whether something came. */
  #readSome(): boolean {
    if (this.#stopped) return false;
    if (this.#pool.length - this.#used < LEAST_READ_BYTES) {
      this.#pool = Buffer.allocUnsafeSlow(POOL_BYTES);
      this.#used = 0;
    }
    try {
      const count = readSync(this.#fd, this.#pool, this.#used, this.#pool.length - this.#used, null);
      if (count === 0) {
        this.#fail(new Error('the tty was hung up'));
        return false;
      }
      const chunk = this.#pool.subarray(this.#used, this.#used + count);
      this.#used += count;
      this.#events.data(chunk);
      return true;
    } catch (error) {
      if (!isTransient(error)) this.#fail(error as Error);
      return false;
    }
  }

  /** Number of bytes taken; 0 when the kernel has no room or the stream has just ended. */
  #writeSome(data: Uint8Array, offset: number): number {
    try {
      return offset === data.length ? 0 : writeSync(this.#fd, data, offset);
    } catch (error) {
      if (!isTransient(error)) this.#fail(error as Error);
      return 0;
    }
  }

  #arm(): void {
    if (this.#stopped) return;
    try {
      this.#poller.poll(READABLE | (this.#writes.length > 0 ? WRITABLE : 0));
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #fail(cause: Error): void {
    if (this.#stopped) return;
    this.stop(cause);
    this.#events.ended(cause);
  }

  #rejectWrites(cause: Error): void {
    for (const write of this.#writes.splice(0)) write.reject(cause);
  }
}

function isTransient(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'EAGAIN' || code === 'EINTR';
}
