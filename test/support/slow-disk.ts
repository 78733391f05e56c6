/** A disk for archives that is as slow as a test wants it, on the test's own clock. */

import * as nodeFs from 'node:fs/promises';
import type { FileSystem } from '../../src/archive/disk.ts';
import type { Clock } from '../../src/clock.ts';

/** For one call. */
export const SLOW_MS = 9000;

/** A disk whose calls take their time once it is told so: its fsync only, or every call. */
export class SlowDisk {
  readonly fs: FileSystem;
  clock: Clock | undefined;
  slow: 'nothing' | 'fsync' | 'everything' = 'nothing';
  syncs = 0;

  constructor() {
    this.fs = new Proxy(nodeFs, {
      get: (target, name) => {
        const call: unknown = Reflect.get(target, name, target);
        // What a file system need not have (openToRead) it does not have.
        if (typeof call !== 'function') return call;
        return async (...args: unknown[]) => {
          await this.#wait(false);
          const result = await (call as (...args: unknown[]) => Promise<unknown>)(...args);
          return name === 'open' ? this.#slowHandle(result as nodeFs.FileHandle) : result;
        };
      },
    });
  }

  #slowHandle(handle: nodeFs.FileHandle): nodeFs.FileHandle {
    return new Proxy(handle, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          await this.#wait(name === 'sync');
          // Whether it comes to a real disk is not what this is about.
          return name === 'sync' ? undefined : (member as (...all: unknown[]) => unknown).apply(target, args);
        };
      },
    });
  }

  async #wait(isSync: boolean): Promise<void> {
    if (isSync) this.syncs++;
    if (this.slow === 'everything' || (this.slow === 'fsync' && isSync)) {
      await new Promise<void>((resolve) => this.clock?.schedule(SLOW_MS, resolve));
    }
  }
}
