/**
 * Node's file system as the archive takes it. What a listing of 2,000 boards does forty thousand times goes through the
 * calls with callbacks: those of `node:fs/promises` take two to four times as much of the processor (for every stat an
 * array of its own, for every file an object that counts who awaits it). What writes is Node's own.
 */

import * as callbacks from 'node:fs';
import type { Stats } from 'node:fs';
import * as nodeFs from 'node:fs/promises';
import { promisify } from 'node:util';
import { sharedExtents } from './fiemap.ts';
import { takingTurns } from './turns.ts';
import type { FileSystem, ReadFile } from './turns.ts';

const closeDescriptor = promisify(callbacks.close);
const statDescriptor: (fd: number) => Promise<Stats> = promisify(callbacks.fstat);
const readDescriptor = promisify(callbacks.read) as (
  ...args: [fd: number, bytes: Uint8Array, offset: number, length: number, position: number]
) => Promise<{ bytesRead: number }>;
const openDescriptor: (path: string, flags: number) => Promise<number> = promisify(callbacks.open);

export const nodeFileSystem: FileSystem = {
  ...nodeFs,
  lstat: promisify(callbacks.lstat),
  openToRead: async (path, flags) => new Descriptor(await openDescriptor(path, flags)),
  sharedExtents,
};

/** The same for whoever looks at files of an archive beside it: all of them wait in one row for the threads of the process. */
export const sharedFileSystem = takingTurns(nodeFileSystem);

/**
 * Once it is given back, its number may be that of another file. So no call is made after `close` has been called, and
 * `close` waits for those under way, as Node's `FileHandle` does (lib/internal/fs/promises.js).
 */
class Descriptor implements ReadFile {
  readonly #fd: number;
  #underWay = 0;
  #whenIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get fd(): number {
    return this.#closing === undefined ? this.#fd : -1;
  }

  stat(): Promise<Stats> {
    return this.#use(() => statDescriptor(this.#fd));
  }

  read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return this.#use(() => readDescriptor(this.#fd, bytes, offset, length, position));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve));
    await closeDescriptor(this.#fd);
  }

  async #use<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw Object.assign(new Error('file closed'), { code: 'EBADF' });
    this.#underWay++;
    try {
      return await call();
    } finally {
      if (--this.#underWay === 0) this.#whenIdle?.();
    }
  }
}
