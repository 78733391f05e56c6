/** Derived files in the folder `cache` of an archive. Whatever goes wrong with them costs time, and nothing else. */

import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { writeAll } from './disk.ts';
import type { Disk } from './disk.ts';
import { clearLeftovers } from './leftovers.ts';
import { draftName } from './owner.ts';
import type { Owner } from './owner.ts';
import type { ArchiveCache } from './types.ts';

export const CACHE = 'cache';
/** Where the service's state directory is the archive, its webhooks wait in this folder: it is nobody's else. */
export const SPOOL = 'spool';
/** So it is with what is known of an object store. */
export const REPLICATION = 'replication';
/** The index of 100,000 boards has 106 MB; one that is longer than may be read would be made anew by every listing. */
export const MAX_CACHED_BYTES = 256 * 1024 * 1024;

const NAME = /^[a-z0-9][a-z0-9.-]{0,99}$/;

export class FolderCache implements ArchiveCache {
  readonly #folder: string;
  readonly #disk: Disk;
  readonly #log: Logger;
  readonly #self: () => Promise<Owner>;
  #cleared = false;

  constructor(root: string, parts: { disk: Disk; log: Logger; self: () => Promise<Owner> }) {
    this.#folder = join(root, CACHE);
    this.#disk = parts.disk;
    this.#log = parts.log;
    this.#self = parts.self;
  }

  async read(name: string): Promise<Buffer | undefined> {
    try {
      await this.#check(name);
      return await this.#disk.readSmall(join(this.#folder, name), MAX_CACHED_BYTES);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT')
        this.#log.debug('a cached file cannot be read', { name, error: String(error) });
      return undefined;
    }
  }

  async write(name: string, bytes: Uint8Array | string): Promise<void> {
    try {
      if ((await this.#disk.makeOneFolder(this.#folder)) === 'no parent') return;
      await this.#check(name);
      await this.#replace(name, typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
    } catch (error) {
      this.#log.debug('a file cannot be cached', { name, error: String(error) });
    }
  }

  /** The time as the archive's file system stamps it, in ms since 1970; undefined where nothing can be written there. */
  async stampMs(): Promise<number | undefined> {
    try {
      if ((await this.#disk.makeOneFolder(this.#folder)) === 'no parent') return undefined;
      const probe = join(this.#folder, draftName(await this.#self()));
      const handle = await this.#disk.createFile(probe);
      try {
        return (await handle.stat()).mtimeMs;
      } finally {
        await handle.close();
        await this.#disk.fs.rm(probe, { force: true });
      }
    } catch (error) {
      this.#log.debug('nothing can be cached', { error: String(error) });
      return undefined;
    }
  }

  async #check(name: string): Promise<void> {
    // A draft's name too would do for the pattern.
    if (!NAME.test(name) || name.startsWith('draft.')) throw new RangeError(`${name} is no name for a cached file`);
    const stats = await this.#disk.lstat(this.#folder);
    if (stats?.isDirectory() !== true) throw Object.assign(new Error(`no folder ${CACHE}`), { code: 'ENOENT' });
  }

  /** The temporary file has a draft's name, so that others can tell when its writer is gone. */
  async #replace(name: string, bytes: Uint8Array): Promise<void> {
    const owner = await this.#self();
    const temporary = join(this.#folder, draftName(owner));
    const handle = await this.#disk.createFile(temporary);
    try {
      try {
        await writeAll(handle, bytes, 0);
      } finally {
        await handle.close();
      }
      if (!this.#cleared) {
        this.#cleared = true;
        const nowMs = (await this.#disk.fs.lstat(temporary)).mtimeMs;
        await clearLeftovers({ disk: this.#disk, log: this.#log, owner }, this.#folder, nowMs);
      }
      await this.#disk.fs.rename(temporary, join(this.#folder, name));
    } catch (error) {
      await this.#disk.fs.rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }
}
