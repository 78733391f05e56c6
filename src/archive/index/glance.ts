/** A board at a glance: what its folder's names say, its newest backup that looks sound, and the one before. */

import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { judgeBackup, listBoard } from '../board-folder.ts';
import type { BoardFolder } from '../board-folder.ts';
import { type ChipChangeSince, chipChanges, tellsOfChip } from '../chip-change.ts';
import { readFault } from '../disk-faults.ts';
import type { Disk } from '../disk.ts';
import { elsewhereGlance, glanceOf } from '../elsewhere/places.ts';
import { ELSEWHERE } from '../elsewhere/stored-lines.ts';
import { readStored } from '../elsewhere/stored-log.ts';
import { CHECKSUMS, MANIFEST } from '../folder.ts';
import { HALVES } from '../halves.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../manifest.ts';
import { LABELS, readEvents } from '../marks/events.ts';
import { type BoardAbout, NOTHING_ABOUT, aboutOf } from '../marks/marks.ts';
import { findNewest } from '../newest.ts';
import { toProblem } from '../problems.ts';
import { type HalfRestored, RESTORE_RECORD } from '../restore-record.ts';
import { SIGHTINGS, readNewestSighting } from '../sightings.ts';
import type { ArchiveProblem, Backup, BackupGlance, BoardOverview, Sighting } from '../types.ts';

/** Of a board whose newest backups are all damaged nothing more is read. */
const MAX_TRIES = 3;

export interface GlanceParts {
  readonly root: string;
  readonly disk: Disk;
  /** Whether a restore of this board has begun and not ended, wherever that is noted. */
  readonly halfRestored: (mac: Mac, isNotedThere: boolean) => Promise<HalfRestored | null>;
}

export interface Glance {
  readonly board: BoardOverview;
  /** All that is known of its newest backup that looks sound. */
  readonly newest: Backup | null;
  /** Null where the board can change unseen by these files: because something is wrong with it, or unusual. */
  readonly basis: Basis | null;
  /** Of the {@link witnessesOf} it those that were opened anyway, each before it was read. */
  readonly stats: ReadonlyMap<string, Stats>;
}

/** Files with appended lines that an overview reads. */
export const LOGS = [SIGHTINGS, LABELS.name, HALVES.name, ELSEWHERE] as const;

/** What an overview rests on, beside the board's folder and the files of its newest backup. */
export interface Basis {
  /** Names of the files with appended lines that were read. */
  readonly logs: readonly (typeof LOGS)[number][];
  /** Ids of backups before the newest, whose manifests tell of no other chip. */
  readonly before: readonly string[];
}

/** Paths, relative to the board's folder, of all that an overview rests on: unless one of them changes, it holds. */
export function witnessesOf({ newest }: Pick<BoardOverview, 'newest'>, { logs, before }: Basis): string[] {
  const files = newest === null ? [] : ['', MANIFEST, CHECKSUMS, newest.manifest.image.file];
  return [
    '',
    ...logs,
    ...files.map((name) => inFolder(newest?.id ?? '', name)),
    ...before.map((id) => inFolder(id, MANIFEST)),
  ];
}

/** How many {@link witnessesOf} has. */
export function witnessCount({ newest }: Pick<BoardOverview, 'newest'>, { logs, before }: Basis): number {
  return 1 + logs.length + (newest === null ? 0 : 4) + before.length;
}

/** As `join`, which takes a quarter of the time of a listing. */
function inFolder(folder: string, name: string): string {
  return name === '' ? folder : `${folder}/${name}`;
}

/** Rejects for nothing in the archive. */
export async function glanceAt({ root, disk, halfRestored }: GlanceParts, mac: Mac): Promise<Glance> {
  const problems: ArchiveProblem[] = [];
  const unlessUnreadable = async <T>(file: string, look: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await look();
    } catch (error) {
      problems.push(toProblem(mac, null, join(macToFolder(mac), file), readFault(error)));
      return undefined;
    }
  };
  const folder = await unlessUnreadable('', () => listBoard(disk, root, mac));
  const ids = folder?.ids ?? [];
  const found = await findNewest(ids, (id) => judgeBackup(disk, root, mac, id), MAX_TRIES);
  problems.push(...found.problems);
  const newest = found.backup ?? null;
  const before = newest === null ? NOTHING_BEFORE : await compareWithBefore(disk, root, newest, ids);
  let seen: Sighting | undefined;
  if (folder?.hasSightings === true) {
    seen = await unlessUnreadable(SIGHTINGS, () => readNewestSighting(disk, folder.path));
  }
  // A board that cannot be read is not asked about once more; one without a folder may have a note elsewhere.
  const isReadable = folder !== undefined || problems.length === 0;
  const isNoted = folder?.hasRestoreRecord === true || folder?.hasHalves === true;
  const half = isReadable ? await unlessUnreadable(RESTORE_RECORD, () => halfRestored(mac, isNoted)) : undefined;
  const about =
    folder?.hasLabels === true ? await unlessUnreadable(LABELS.name, () => readAbout(disk, folder.path)) : undefined;
  const stored =
    folder?.hasElsewhere === true ? await unlessUnreadable(ELSEWHERE, () => readStored(disk, folder.path, mac)) : [];
  const board: BoardOverview = {
    mac,
    ids,
    newest: newest === null ? null : toGlance(newest),
    chipChange: before.change,
    seen: seen ?? null,
    problems,
    foreign: [...(folder?.foreign ?? []), ...found.foreign],
    halfRestored: half ?? null,
    wasRestored: folder?.hasRestores ?? false,
    about: about ?? NOTHING_ABOUT,
    elsewhere: elsewhereGlance(ids, stored ?? []),
  };
  const stats = new Map(Array.from(found.stats ?? [], ([name, each]) => [inFolder(newest?.id ?? '', name), each]));
  if (folder !== undefined) stats.set('', folder.stats);
  for (const [path, each] of before.stats) stats.set(path, each);
  return { board, newest, basis: basisOf(board, folder, before), stats };
}

function basisOf({ problems, halfRestored }: BoardOverview, folder: BoardFolder | undefined, before: Before) {
  if (folder === undefined || problems.length > 0 || halfRestored !== null || !before.isPlain) return null;
  const has = {
    ...{ [SIGHTINGS]: folder.hasSightings, [LABELS.name]: folder.hasLabels },
    ...{ [HALVES.name]: folder.hasHalves, [ELSEWHERE]: folder.hasElsewhere },
  };
  const logs = LOGS.filter((name) => has[name]);
  return { logs, before: before.ids };
}

async function readAbout(disk: Disk, boardFolder: string): Promise<BoardAbout> {
  return aboutOf((await readEvents(disk, boardFolder, LABELS)).events);
}

interface Before {
  readonly ids: readonly string[];
  readonly change: ChipChangeSince | null;
  /** `change` rests on their manifests alone. */
  readonly isPlain: boolean;
  /** Of their manifests. */
  readonly stats: readonly (readonly [path: string, stats: Stats])[];
}

const NOTHING_BEFORE: Before = { ids: [], change: null, isPlain: true, stats: [] };

/** Manifests before the newest that are read at most, where those of images out of files are passed over. */
const MAX_BEFORE = 8;

/**
 * One more manifest, however many there are; more only behind images out of files. Of a backup that looks damaged nothing
 * is compared or told; but only where it would tell of a change is the rest of it looked at.
 */
async function compareWithBefore(disk: Disk, root: string, newest: Backup, ids: readonly string[]): Promise<Before> {
  const stats: [string, Stats][] = [];
  const read: string[] = [];
  const earlier: Pick<Backup, 'id' | 'manifest'>[] = [];
  try {
    for (const id of ids
      .filter((each) => each < newest.id)
      .slice(-MAX_BEFORE)
      .reverse()) {
      const path = join(root, macToFolder(newest.mac), id, MANIFEST);
      const found = await disk.readSmallWithStats(path, MAX_MANIFEST_BYTES);
      stats.push([inFolder(id, MANIFEST), found.stats]);
      read.push(id);
      const reading = parseManifest(found.bytes.toString('utf8'));
      if (reading.kind !== 'read') break;
      earlier.unshift({ id, manifest: reading.manifest });
      if (tellsOfChip(reading.manifest)) break;
    }
  } catch (error) {
    readFault(error); // throws what is no fault of the archive
    return { ids: read, change: null, isPlain: false, stats: [] };
  }
  const change = chipChanges([...earlier, newest]).get(newest.id);
  if (change === undefined) return { ids: read, change: null, isPlain: true, stats };
  const judged = await judgeBackup(disk, root, newest.mac, change.since);
  return { ids: read, change: judged?.backup === undefined ? null : change, isPlain: false, stats: [] };
}

function toGlance({ mac, id, path, manifest }: Backup): BackupGlance {
  return { mac, id, path, manifest: glanceOf(manifest) };
}
