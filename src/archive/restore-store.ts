/**
 * Where it is noted that a restore has begun, and that it is done: in the board's folder. While the archive is on a
 * read-only file system (a stick, an export, a disk that was unclean), in a folder of the state instead, because
 * a board that may be half restored must not go without a note.
 */

import { constants } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Clock } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { macFromFolder, macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import type { Disk } from './disk.ts';
import { HALVES, type HalfEvent, begunLine, endedLine, unfinishedRestores } from './halves.ts';
import { appendEvent, readEvents } from './marks/events.ts';
import { draftName } from './owner.ts';
import type { Owner } from './owner.ts';
import { RESTORE_RECORD, readRestoreRecord, removeRestoreRecord, writeRestoreRecord } from './restore-record.ts';
import type { HalfRestored, RestoreRecord, RestoreRecordContent } from './restore-record.ts';
import { giveAllToOwner } from './state-owner.ts';
import { appendRestore, readRestores } from './restores.ts';
import type { CompletedRestore } from './restores.ts';

/** The folder inside the state folder: in it one a board, named as in the archive. */
export const RESTORES_FOLDER = 'restores';

export interface RestoreStoreParts {
  readonly root: string;
  /** Of the state of this installation; undefined = there is no place but the archive. */
  readonly statePath: string | undefined;
  readonly disk: Disk;
  readonly log: Logger;
  readonly clock: Clock;
  readonly createdBy: string;
  readonly self: () => Promise<Owner>;
}

/** Rejects with the system's errors, as files of the archive's rooms do. */
export class RestoreStore {
  readonly #parts: RestoreStoreParts;
  /** Undefined where it would be on the archive's own file system by its very name. */
  readonly statePath: string | undefined;
  #warned = false;

  constructor(parts: RestoreStoreParts) {
    const { root, statePath } = parts;
    this.#parts = parts;
    const place = statePath === undefined ? undefined : resolve(statePath);
    this.statePath = place === resolve(root) ? undefined : place;
  }

  /** The archive's file system takes no writes, whoever asks. Rights are another matter: the owner has them. */
  async isReadOnly(): Promise<boolean> {
    try {
      await this.#parts.disk.fs.access(this.#parts.root, constants.W_OK);
      return false;
    } catch (error) {
      return isReadOnlyFault(error);
    }
  }

  /** The restore of this board that began last and has not ended, at whichever station. */
  async half(mac: Mac): Promise<HalfRestored | null> {
    return (await this.unfinished(mac)).at(-1) ?? null;
  }

  /** All restores of this board that have begun and not ended: at each station one at most, the newest last. */
  async unfinished(mac: Mac): Promise<readonly HalfRestored[]> {
    return unfinishedRestores(mac, await this.#own(mac), await this.#noted(mac));
  }

  async #noted(mac: Mac): Promise<readonly HalfEvent[]> {
    try {
      return (await readEvents(this.#parts.disk, this.#folder(mac), HALVES)).events;
    } catch (error) {
      // A file stands in the place of a folder above: who writes there says so.
      if (systemCode(error) === 'ENOTDIR') return [];
      throw error;
    }
  }

  /** By a record of this station. */
  async #own(mac: Mac): Promise<HalfRestored | null> {
    const { disk } = this.#parts;
    const own = await readRestoreRecord(disk, this.#folder(mac), mac);
    const place = this.#stateFolder(mac);
    if (place === undefined) return own ?? null;
    const elsewhere = await this.#ifReadable(() => readRestoreRecord(disk, place, mac), undefined);
    if (own === undefined || (await this.#wasFinished(mac, own))) return elsewhere ?? null;
    const isNewer = (elsewhere?.record?.startedAt ?? '') > (own.record?.startedAt ?? '');
    return isNewer && elsewhere !== undefined ? elsewhere : own;
  }

  /** @throws EspdError `archive-unknown-backup` where what it names is not there (any more): nothing has begun then */
  async begin(content: RestoreRecordContent): Promise<void> {
    const { mac } = content;
    const all = await this.unfinished(mac);
    const before = all.at(-1) ?? null;
    await this.#refuseMissing(content, before?.record);
    const own = await this.#own(mac);
    await this.#orElsewhere(mac, (folder, archive) => this.#write(folder, { ...content, archive }));
    try {
      await this.#note(mac, begunLine(this.#now(), { ...content, kept: content.kept ?? [] }, all));
      // Whoever removes backups looks for records after it has taken their names: one of the two sees the other.
      await this.#refuseMissing(content, before?.record);
    } catch (error) {
      if (own === null) await this.#note(mac, endedLine(this.#now(), 'nothing-written', content, []));
      if (own === null) await this.#removeRecord(mac, 'nothing-written');
      const record = own?.record;
      if (record) await this.#orElsewhere(mac, (folder, archive) => this.#write(folder, { ...record, archive }));
      throw error;
    }
  }

  /** @param before what it names was safe, and is not asked for: a half restored board is to be made whole */
  async #refuseMissing(content: RestoreRecordContent, before: RestoreRecord | null | undefined): Promise<void> {
    const { root, disk } = this.#parts;
    const namedBy = ({ from, mac, snapshot }: Pick<RestoreRecord, 'from' | 'mac' | 'snapshot'>) =>
      snapshot === null ? [from] : [from, { mac, id: snapshot }];
    const known = before ? namedBy(before) : [];
    for (const backup of namedBy(content)) {
      if (known.some(({ mac, id }) => mac === backup.mac && id === backup.id)) continue;
      if (await disk.exists(join(root, macToFolder(backup.mac), backup.id))) continue;
      throw new EspdError('archive-unknown-backup', `Backup ${backup.id} of ${backup.mac} is being removed`, {
        hint: 'Nothing was written to the board. Choose another backup with --at, or try again',
      });
    }
  }

  async #write(folder: string, content: RestoreRecordContent & Pick<RestoreRecord, 'archive'>): Promise<void> {
    const { disk, createdBy, self } = this.#parts;
    await disk.makeFolder(folder);
    await writeRestoreRecord(disk, folder, draftName(await self()), createdBy, content);
  }

  async end(mac: Mac, outcome: 'done' | 'nothing-written'): Promise<void> {
    const { disk } = this.#parts;
    const half = await this.half(mac);
    const record = half?.record;
    // It says what was restored; removed now, that would be lost.
    if (outcome === 'done' && half?.record === null && half.hint !== null) {
      throw new EspdError('archive-unreadable', `${RESTORE_RECORD} of ${mac} ${half.problem}`, { hint: half.hint });
    }
    if (record && outcome === 'done') {
      const { from, snapshot, snapshotIsNew, parts } = record;
      const line = { at: this.#now(), from, snapshot, snapshotIsNew, partial: parts !== null };
      await this.#orElsewhere(mac, async (folder) => {
        await disk.makeFolder(folder);
        await appendRestore(disk, folder, line);
      });
    }
    const begun = record ?? (await this.#ownBeginning(mac));
    if (begun) await this.#note(mac, endedLine(this.#now(), outcome, begun, await this.unfinished(mac)));
    await this.#removeRecord(mac, outcome);
  }

  /** What others still take for unfinished, where the record of it is lost; undefined for nothing. */
  async #ownBeginning(mac: Mac): Promise<Pick<RestoreRecord, 'startedAt' | 'from'> | undefined> {
    const last = (await this.#noted(mac)).findLast(({ station }) => station === undefined);
    return last?.state === 'begun' ? last : undefined;
  }

  /** For other stations. Not where the record is: one outside the archive is known to this station alone. */
  async #note(mac: Mac, event: HalfEvent): Promise<void> {
    const { disk } = this.#parts;
    try {
      if (await disk.exists(this.#folder(mac))) await appendEvent(disk, this.#folder(mac), HALVES, event);
    } catch (error) {
      if (!isReadOnlyFault(error)) throw error;
    }
  }

  async #removeRecord(mac: Mac, outcome: 'done' | 'nothing-written'): Promise<void> {
    const { disk } = this.#parts;
    const place = this.#stateFolder(mac);
    if (place !== undefined && (await this.#ifReadable(() => disk.exists(place), false))) {
      await removeRestoreRecord(disk, place);
    }
    try {
      await removeRestoreRecord(disk, this.#folder(mac));
    } catch (error) {
      // A record that stays behind on a medium is outdated by the line that says when a later restore was done.
      const isOutdated = outcome === 'done' || !(await disk.exists(join(this.#folder(mac), RESTORE_RECORD)));
      if (!isReadOnlyFault(error) || !isOutdated) throw error;
    }
  }

  /** Oldest first. */
  async restores(mac: Mac): Promise<readonly CompletedRestore[]> {
    const own = await orNone(() => readRestores(this.#parts.disk, this.#folder(mac)));
    const elsewhere = await this.#restoresElsewhere(mac);
    return elsewhere.length === 0 ? own : [...own, ...elsewhere].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  }

  /**
   * For those who ask about many boards, and have seen whether something of it is noted in the board's folder: no file is
   * looked for that the listing of the state folder does not show.
   */
  async halves(): Promise<{
    /** Something of this board may lie in the state folder. */
    mayBeElsewhere: (mac: Mac) => boolean;
    half: (mac: Mac, isNotedThere: boolean) => Promise<HalfRestored | null>;
  }> {
    const names = await this.#namesElsewhere();
    const elsewhere = names && new Set(names.flatMap((name) => macFromFolder(name) ?? []));
    const mayBeElsewhere = (mac: Mac) => elsewhere?.has(mac) ?? true;
    return {
      mayBeElsewhere,
      half: async (mac, isNotedThere) => (isNotedThere || mayBeElsewhere(mac) ? this.half(mac) : null),
    };
  }

  /** Boards with a record outside the archive, which may have no folder in it. */
  async macsElsewhere(): Promise<Mac[]> {
    const { disk } = this.#parts;
    const macs: Mac[] = [];
    for (const name of (await this.#namesElsewhere()) ?? []) {
      const mac = macFromFolder(name);
      const place = mac && this.#stateFolder(mac);
      if (place && (await this.#ifReadable(() => disk.exists(join(place, RESTORE_RECORD)), false))) macs.push(mac);
    }
    return macs;
  }

  /** In the state folder; undefined where it cannot be listed. */
  async #namesElsewhere(): Promise<readonly string[] | undefined> {
    const { statePath } = this;
    if (statePath === undefined) return [];
    const { disk } = this.#parts;
    return this.#ifReadable(() => orNone(() => disk.fs.readdir(join(statePath, RESTORES_FOLDER))), undefined);
  }

  /** Of an archive that was read-only when the restore ended. */
  async #wasFinished(mac: Mac, { record }: HalfRestored): Promise<boolean> {
    if (record === null) return false;
    return (await this.#restoresElsewhere(mac)).some(({ at }) => Date.parse(at) >= Date.parse(record.startedAt));
  }

  async #restoresElsewhere(mac: Mac): Promise<readonly CompletedRestore[]> {
    const place = this.#stateFolder(mac);
    if (place === undefined) return [];
    return this.#ifReadable(() => orNone(() => readRestores(this.#parts.disk, place)), []);
  }

  /** @param work is told where the archive is, when it writes elsewhere */
  async #orElsewhere(mac: Mac, work: (folder: string, archive: string | null) => Promise<void>): Promise<void> {
    try {
      await work(this.#folder(mac), null);
    } catch (error) {
      const place = this.#stateFolder(mac);
      if (!isReadOnlyFault(error) || place === undefined) throw error;
      await work(place, this.#parts.root);
      if (this.statePath !== undefined) await giveAllToOwner(this.statePath, RESTORES_FOLDER, macToFolder(mac));
    }
  }

  /** What lies beside the archive must not keep anybody from using it. */
  async #ifReadable<T>(read: () => Promise<T>, instead: T): Promise<T> {
    try {
      return await read();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (!this.#warned) this.#parts.log.warn('The state folder cannot be read', { path: this.statePath, reason });
      this.#warned = true;
      return instead;
    }
  }

  #now(): string {
    return this.#parts.clock.date().toISOString();
  }

  #folder(mac: Mac): string {
    return join(this.#parts.root, macToFolder(mac));
  }

  #stateFolder(mac: Mac): string | undefined {
    return this.statePath === undefined ? undefined : join(this.statePath, RESTORES_FOLDER, macToFolder(mac));
  }
}

/** Root, too, gets EROFS; EACCES and EPERM are what the owner of the archive would not get. */
export function isReadOnlyFault(error: unknown): boolean {
  return systemCode(error) === 'EROFS';
}

async function orNone<T>(read: () => Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await read();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return [];
    throw error;
  }
}
