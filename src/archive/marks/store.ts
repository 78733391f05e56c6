/** Reading and adding marks. Nothing here touches a backup. */

import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { forEachAtOnce } from '../at-once.ts';
import { readFault, toWriteError } from '../disk-faults.ts';
import type { Disk } from '../disk.ts';
import { toProblem } from '../problems.ts';
import type { ArchiveMarks } from '../types.ts';
import { unknownBoard } from '../which.ts';
import { CONFIRMATIONS, LABELS, PINS, REMOVALS, appendEvent, readEvents } from './events.ts';
import type { Confirmation, EventFile, Events, Removal } from './events.ts';
import type { Line } from './merge.ts';
import { type AboutChange, type BoardAbout, type BoardMarks, type Pin, aboutOf, foldMarks, pinsOf } from './marks.ts';

/** Boards whose labels are read in one go. */
const AT_ONCE = 16;

export interface MarkStoreParts {
  readonly root: string;
  readonly disk: Disk;
  readonly clock: Clock;
  /** All boards of the archive. */
  boards(): Promise<{ readonly macs: readonly Mac[] }>;
  /** Rejects where the archive is not the one that this process began with. */
  checkIdentity(): Promise<void>;
}

export class MarkStore implements ArchiveMarks {
  readonly #parts: MarkStoreParts;

  constructor(parts: MarkStoreParts) {
    this.#parts = parts;
  }

  async of(mac: Mac): Promise<BoardMarks> {
    return foldMarks({
      labels: await this.#read(mac, LABELS),
      pins: await this.#read(mac, PINS),
      removals: await this.#read(mac, REMOVALS),
      confirmations: await this.#read(mac, CONFIRMATIONS),
    });
  }

  async about(mac: Mac): Promise<BoardAbout> {
    return aboutOf((await this.#read(mac, LABELS)).events);
  }

  async pins(mac: Mac): Promise<readonly Pin[]> {
    return pinsOf((await this.#read(mac, PINS)).events);
  }

  async labels(): Promise<ReadonlyMap<Mac, string>> {
    const { macs } = await this.#parts.boards();
    const found = new Map<Mac, string>();
    await forEachAtOnce([...macs], AT_ONCE, async (mac) => {
      // A board whose folder cannot be read has no label here; `list` says what is wrong with it.
      const about = await this.about(mac).catch(() => undefined);
      if (about !== undefined && about.label !== null) found.set(mac, about.label);
    });
    return found;
  }

  describe(mac: Mac, change: AboutChange): Promise<void> {
    const { label, note, group } = change;
    return this.#append(mac, LABELS, {
      at: this.#now(),
      ...(label === undefined ? {} : { label }),
      ...(note === undefined ? {} : { note }),
      ...(group === undefined ? {} : { group }),
    });
  }

  pin(mac: Mac, id: string, { pinned, note }: { pinned: boolean; note: string | null }): Promise<void> {
    return this.#append(mac, PINS, { at: this.#now(), id, pinned, note });
  }

  confirm(mac: Mac, confirmation: Confirmation): Promise<void> {
    return this.#append(mac, CONFIRMATIONS, confirmation);
  }

  /** The tombstone: to be written before what it speaks of is removed. */
  noteRemoval(mac: Mac, removal: Omit<Removal, 'at'>): Promise<void> {
    return this.#append(mac, REMOVALS, { at: this.#now(), ...removal });
  }

  async #read<T extends Line>(mac: Mac, file: EventFile<T>): Promise<Events<T>> {
    const { disk } = this.#parts;
    try {
      // What lies behind a link is none of this archive's.
      if ((await disk.lstat(this.#pathOf(mac)))?.isSymbolicLink() === true)
        throw Object.assign(new Error('is a link'), { code: 'ELOOP' });
      return await readEvents(disk, this.#pathOf(mac), file);
    } catch (error) {
      throw toProblem(mac, null, join(macToFolder(mac), file.name), readFault(error)).error;
    }
  }

  async #append<T extends Line>(mac: Mac, file: EventFile<T>, event: T): Promise<void> {
    const { disk, root } = this.#parts;
    try {
      await this.#parts.checkIdentity();
      const stats = await disk.lstat(this.#pathOf(mac));
      if (stats?.isDirectory() !== true) throw unknownBoard(mac, (await this.#parts.boards()).macs);
      await appendEvent(disk, this.#pathOf(mac), file, event);
    } catch (error) {
      throw toWriteError(error, root);
    }
  }

  #now(): string {
    return this.#parts.clock.date().toISOString();
  }

  #pathOf(mac: Mac): string {
    return join(this.#parts.root, macToFolder(mac));
  }
}
