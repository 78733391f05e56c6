/**
 * The archive leaves room in Node's thread pool. All file systems, and the calls that move the lines of a serial port,
 * share its few threads, and a disk that hangs keeps every thread that was given to it: without a limit, the archive of
 * four boards could keep a fifth one from being reset.
 */

import type { Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { Extent } from './shared-bytes.ts';

/** All that the archive asks of the system. */
export interface FileSystem extends Pick<
  typeof import('node:fs/promises'),
  | 'access'
  | 'chmod'
  | 'copyFile'
  | 'link'
  | 'lstat'
  | 'mkdir'
  | 'open'
  | 'readdir'
  | 'rename'
  | 'rm'
  | 'rmdir'
  | 'stat'
  | 'statfs'
  | 'unlink'
> {
  /** `open` for a file that is only read; where it is absent, `open` is called. */
  readonly openToRead?: (path: string, flags: number) => Promise<ReadFile>;
  /** Parts of an open file that lie in blocks of other files too; null, or absent, where the system does not tell. */
  readonly sharedExtents?: (fd: number) => Promise<readonly Extent[] | null>;
}

/** An open file as far as it is needed for reading. */
export interface ReadFile {
  /** For another thread of this process, which must be done with it before `close` is called. */
  readonly fd: number;
  stat(): Promise<Stats>;
  /** Fewer bytes than `length` also before the end of the file; 0 at its end. */
  read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  /** Waits for the calls under way. */
  close(): Promise<void>;
}

/** Node's own default (doc/api/cli.md, UV_THREADPOOL_SIZE). */
const DEFAULT_THREADS = 4;

/** Work that waits for its turn; first come, first served. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param limit how much may be under way at once, 1 or more */
  constructor(limit: number) {
    this.#free = limit;
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

/** The same, one after the other for each key, and those of other keys beside. */
export class TurnsOf<K> {
  readonly #last = new Map<K, Promise<unknown>>();

  async take<T>(key: K, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const turn = before === undefined ? work() : before.then(work);
    const ended = turn.catch(() => undefined);
    this.#last.set(key, ended);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === ended) this.#last.delete(key);
    }
  }
}

export interface DiskTurns {
  /** Of calls of any kind. */
  readonly calls: Turns;
  /** Of fsync, the slowest by far: others are to get on beside it. */
  readonly syncs: Turns;
}

/** @param threads of the pool */
export function diskTurns(threads: number): DiskTurns {
  const calls = Math.max(1, threads - 1);
  return { calls: new Turns(calls), syncs: new Turns(Math.max(1, calls - 1)) };
}

/** The threads are the process's, so all its archives share these. */
export const sharedTurns = diskTurns(Number(process.env['UV_THREADPOOL_SIZE']) || DEFAULT_THREADS);

const OPENING = new Set<string | symbol>(['open', 'openToRead']);

/** `fs`, with each call, also of the files that it opens, in its turn. */
export function takingTurns(fs: FileSystem, turns = sharedTurns): FileSystem {
  return new Proxy(fs, {
    get(target, name) {
      const call = Reflect.get(target, name, target) as ((...args: unknown[]) => Promise<unknown>) | undefined;
      if (call === undefined) return undefined;
      if (!OPENING.has(name)) return (...args: unknown[]) => turns.calls.take(() => call(...args));
      return async (...args: unknown[]) => {
        const handle = await turns.calls.take(() => call(...args));
        return handleTakingTurns(handle as FileHandle, turns);
      };
    },
  });
}

function handleTakingTurns(handle: FileHandle, { calls, syncs }: DiskTurns): FileHandle {
  return new Proxy(handle, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      const call = member as (...args: unknown[]) => Promise<unknown>;
      const inTurn = (args: unknown[]) => calls.take(() => call.apply(target, args));
      if (name === 'sync' || name === 'datasync') return (...args: unknown[]) => syncs.take(() => inTurn(args));
      return (...args: unknown[]) => inTurn(args);
    },
  });
}
