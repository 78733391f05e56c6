/** A board's folder: what lies in it by name, and what each backup in it looks like. Modifies nothing. */

import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import type { Disk } from './disk.ts';
import { isOfCompaction } from './elsewhere/compaction-names.ts';
import { ELSEWHERE } from './elsewhere/stored-lines.ts';
import { inspectFolder } from './folder.ts';
import { foreignEntries } from './foreign.ts';
import { HALVES } from './halves.ts';
import { isBackupId } from './ids.ts';
import { LABELS, MARK_FILES } from './marks/events.ts';
import { isUnfinishedName } from './owner.ts';
import { placeOf, toProblem } from './problems.ts';
import { RESTORE_RECORD } from './restore-record.ts';
import { RESTORES } from './restores.ts';
import { SIGHTINGS } from './sightings.ts';
import type { ArchiveProblem, Backup, ForeignEntry } from './types.ts';

/** What a board's folder holds, by names alone. */
export interface BoardFolder {
  readonly path: string;
  /** Before it was listed. */
  readonly stats: Stats;
  /** Everything with a backup id as its name, sound or not, oldest first. */
  readonly ids: readonly string[];
  readonly hasSightings: boolean;
  readonly hasRestores: boolean;
  /** A restore has begun here and not ended. */
  readonly hasRestoreRecord: boolean;
  /** Restores of other stations may be unfinished, or of this one. */
  readonly hasHalves: boolean;
  /** Backups of it may lie in a store. */
  readonly hasElsewhere: boolean;
  /** Labels, pins, removals or confirmations. */
  readonly hasMarks: boolean;
  readonly hasLabels: boolean;
  readonly foreign: readonly ForeignEntry[];
}

/** One backup as far as it can be judged without reading its image. */
export interface Judged {
  /** Present where nothing is wrong with it. */
  readonly backup?: Backup;
  readonly problems: readonly ArchiveProblem[];
  readonly foreign: readonly ForeignEntry[];
  /** Of its folder (by the empty name) and files, each before it was read. */
  readonly stats?: ReadonlyMap<string, Stats>;
}

/** Undefined for a board without a folder; otherwise rejects with the system's error, `ELOOP` for a link. */
export async function listBoard(disk: Disk, root: string, mac: Mac): Promise<BoardFolder | undefined> {
  const path = join(root, macToFolder(mac));
  const stats = await disk.lstat(path);
  if (stats === undefined) return undefined;
  if (stats.isSymbolicLink()) throw Object.assign(new Error('is a link'), { code: 'ELOOP' });
  const names = await disk.fs.readdir(path);
  return {
    path,
    stats,
    ids: names.filter(isBackupId).sort(),
    hasSightings: names.includes(SIGHTINGS),
    hasRestores: names.includes(RESTORES),
    hasRestoreRecord: names.includes(RESTORE_RECORD),
    hasHalves: names.includes(HALVES.name),
    hasElsewhere: names.includes(ELSEWHERE),
    hasMarks: names.some((name) => MARK_FILES.includes(name)),
    hasLabels: names.includes(LABELS.name),
    foreign: foreignEntries(
      names.filter((name) => !isOurs(name)),
      { mac, id: null, folder: macToFolder(mac) },
    ),
  };
}

/** Undefined where nothing has this id. */
export async function judgeBackup(disk: Disk, root: string, mac: Mac, id: string): Promise<Judged | undefined> {
  const path = join(root, macToFolder(mac), id);
  const inspection = await inspectFolder(disk, path, { mac, id });
  if (inspection === undefined) return undefined;
  const { manifest, findings, stats } = inspection;
  const foreign = foreignEntries(inspection.foreign, { mac, id, folder: placeOf(mac, id, '') });
  if (manifest !== undefined && findings.length === 0) {
    return { backup: { mac, id, path, manifest }, problems: [], foreign, stats };
  }
  return { problems: findings.map((finding) => toProblem(mac, id, placeOf(mac, id, finding.file), finding)), foreign };
}

const OUR_FILES = [SIGHTINGS, RESTORE_RECORD, RESTORES, HALVES.name, ELSEWHERE, ...MARK_FILES];

function isOurs(name: string): boolean {
  return isBackupId(name) || OUR_FILES.includes(name) || isUnfinishedName(name) || isOfCompaction(name);
}
