/** All that the archive knows of one board. Does not hash images. */

import { join } from 'node:path';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { judgeBackup, listBoard } from './board-folder.ts';
import type { BoardFolder } from './board-folder.ts';
import { readFault } from './disk-faults.ts';
import type { Disk } from './disk.ts';
import { NOWHERE_ELSE, placesOf } from './elsewhere/places.ts';
import { ELSEWHERE } from './elsewhere/stored-lines.ts';
import { readStored } from './elsewhere/stored-log.ts';
import { EspdError } from '../errors.ts';
import { type BoardMarks, NO_MARKS } from './marks/marks.ts';
import { toProblem } from './problems.ts';
import { type HalfRestored, RESTORE_RECORD } from './restore-record.ts';
import { SIGHTINGS, readSightings } from './sightings.ts';
import type { ArchiveProblem, Backup, BoardHistory, Sighting } from './types.ts';

interface Parts {
  readonly root: string;
  readonly disk: Disk;
  /** Whether a restore of this board has begun and not ended, wherever that is noted. */
  readonly halfRestored: (mac: Mac) => Promise<HalfRestored | null>;
  readonly marks: (mac: Mac) => Promise<BoardMarks>;
}

/** Rejects for nothing in the archive. */
export async function historyOf({ root, disk, halfRestored, marks }: Parts, mac: Mac): Promise<BoardHistory> {
  const backups: Backup[] = [];
  const problems: ArchiveProblem[] = [];
  let sightings: readonly Sighting[] = [];
  let folder: BoardFolder | undefined;
  let half: HalfRestored | null = null;
  let noted = NO_MARKS;
  const unreadable = (file: string, error: unknown) =>
    problems.push(toProblem(mac, null, join(macToFolder(mac), file), readFault(error)));
  try {
    folder = await listBoard(disk, root, mac);
  } catch (error) {
    unreadable('', error);
  }
  if (folder === undefined) {
    // One whose folder cannot be read is not thought half restored; its record may be elsewhere all the same.
    if (problems.length === 0) half = await halfRestored(mac);
    return { mac, backups, sightings, problems, foreign: [], halfRestored: half, marks: noted, ...NOWHERE_ELSE };
  }
  const foreign = [...folder.foreign];
  for (const id of folder.ids) {
    const judged = await judgeBackup(disk, root, mac, id);
    if (judged?.backup !== undefined) backups.push(judged.backup);
    problems.push(...(judged?.problems ?? []));
    foreign.push(...(judged?.foreign ?? []));
  }
  try {
    if (folder.hasSightings) sightings = await readSightings(disk, folder.path);
  } catch (error) {
    unreadable(SIGHTINGS, error);
  }
  try {
    half = await halfRestored(mac);
  } catch (error) {
    unreadable(RESTORE_RECORD, error);
  }
  try {
    if (folder.hasMarks) noted = await marks(mac);
  } catch (error) {
    if (!(error instanceof EspdError)) throw error;
    problems.push({ mac, id: null, file: macToFolder(mac), problem: error.message, error });
  }
  let places = NOWHERE_ELSE;
  try {
    if (folder.hasElsewhere) places = placesOf(backups, await readStored(disk, folder.path, mac));
  } catch (error) {
    unreadable(ELSEWHERE, error);
  }
  return { mac, backups, sightings, problems, foreign, halfRestored: half, marks: noted, ...places };
}
