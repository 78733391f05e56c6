/**
 * Whether the archive is still the one that this process began with. A service runs for months: meanwhile the archive's
 * disk can be unmounted, and what is then at its path is the bare mount point, or another disk.
 */

import { randomUUID } from 'node:crypto';
import { EspdError, systemCode } from '../errors.ts';
import type { Disk } from './disk.ts';
import type { ArchiveCache } from './types.ts';

/** In the archive's cache: random text, another one in each archive. */
export const MARKER = 'identity';

interface Known {
  /** Device and inode number of the archive's folder. */
  readonly place: string;
  /** Null where there is none. */
  readonly marker: string | null;
}

export class ArchiveIdentity {
  readonly #root: string;
  readonly #disk: Disk;
  readonly #cache: ArchiveCache;
  #known: Known | undefined;

  constructor(root: string, { disk, cache }: { disk: Disk; cache: ArchiveCache }) {
    this.#root = root;
    this.#disk = disk;
    this.#cache = cache;
  }

  /**
   * Takes the folder for the archive from now on, and marks it, so that it is known again when its disk is mounted anew.
   * @throws as {@link check}
   */
  async establish(): Promise<void> {
    await this.check();
    if (this.#known === undefined || (await this.#marker()) !== null) return;
    await this.#cache.write(MARKER, `${this.#known.marker ?? randomUUID()}\n`);
    // What is there now, also where another process was faster, or nothing can be written.
    this.#known = { place: this.#known.place, marker: await this.#marker() };
  }

  /**
   * The first call that finds the folder takes it for the archive. One that was mounted anew may have other numbers, but
   * has the same marker; a marker that was deleted does not matter while the numbers are the same.
   *
   * @throws EspdError `archive-missing` where the folder is gone or another one; a fault of the system as it is
   */
  async check(): Promise<void> {
    const place = await this.#place();
    const known = this.#known;
    if (place === undefined) {
      if (known !== undefined) throw this.#missing('is gone');
    } else if (known === undefined) {
      this.#known = { place, marker: await this.#marker() };
    } else if (known.place !== place) {
      const marker = await this.#marker();
      if (marker === null || marker !== known.marker) throw this.#missing('is another folder than at the start');
      this.#known = { place, marker };
    }
  }

  async #place(): Promise<string | undefined> {
    try {
      const { dev, ino } = await this.#disk.fs.stat(this.#root);
      return `${dev}:${ino}`;
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return undefined;
      throw error;
    }
  }

  async #marker(): Promise<string | null> {
    const text = (await this.#cache.read(MARKER))?.toString('latin1').trim() ?? '';
    return /^[0-9a-f-]{36}$/.test(text) ? text : null;
  }

  #missing(what: string): EspdError {
    return new EspdError('archive-missing', `The archive ${this.#root} ${what}`, {
      hint: 'Nothing was kept there. Mount its disk again; if the folder was exchanged on purpose, start espd again',
    });
  }
}
