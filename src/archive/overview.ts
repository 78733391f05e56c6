/** All boards of the archive at a glance: what their folders' names say, and the newest two manifests of each. */

import { join } from 'node:path';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { forEachAtOnce } from './at-once.ts';
import { judgeBackup, listBoard } from './board-folder.ts';
import { type ChipChangeSince, chipChanges } from './chip-change.ts';
import { readFault } from './disk.ts';
import type { Disk } from './disk.ts';
import { LABELS, readEvents } from './marks/events.ts';
import { type BoardAbout, NOTHING_ABOUT, aboutOf } from './marks/marks.ts';
import { toProblem } from './problems.ts';
import { type HalfRestored, RESTORE_RECORD } from './restore-record.ts';
import { SIGHTINGS, readNewestSighting } from './sightings.ts';
import type { ArchiveProblem, Backup, BoardOverview, ForeignEntry, Sighting } from './types.ts';

/** Boards looked at in one go: more than the system's few threads for files, so that none of them waits. */
const AT_ONCE = 16;
/** Of a board whose newest backups are all damaged nothing more is read. */
const MAX_TRIES = 3;

interface Parts {
  readonly root: string;
  readonly disk: Disk;
  /** Whether a restore of this board has begun and not ended, wherever that is noted. */
  readonly halfRestored: (mac: Mac) => Promise<HalfRestored | null>;
}

/** In the order of `macs`. Rejects with the signal's reason, and for nothing in the archive. */
export async function overviewOf(
  parts: Parts,
  macs: readonly Mac[],
  options: { signal?: AbortSignal | undefined; onProgress?: ((done: number, of: number) => void) | undefined },
): Promise<BoardOverview[]> {
  const { signal, onProgress } = options;
  const boards: BoardOverview[] = [];
  let done = 0;
  await forEachAtOnce(
    macs,
    AT_ONCE,
    async (mac, index) => {
      boards[index] = await lookAt(parts, mac);
      onProgress?.(++done, macs.length);
    },
    signal,
  );
  return boards;
}

async function lookAt({ root, disk, halfRestored }: Parts, mac: Mac): Promise<BoardOverview> {
  const problems: ArchiveProblem[] = [];
  const foreign: ForeignEntry[] = [];
  const unlessUnreadable = async <T>(file: string, look: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await look();
    } catch (error) {
      problems.push(toProblem(mac, null, join(macToFolder(mac), file), readFault(error)));
      return undefined;
    }
  };
  const folder = await unlessUnreadable('', () => listBoard(disk, root, mac));
  foreign.push(...(folder?.foreign ?? []));
  const ids = folder?.ids ?? [];
  let newest: Backup | null = null;
  for (const id of ids.slice(-MAX_TRIES).reverse()) {
    const judged = await judgeBackup(disk, root, mac, id);
    problems.push(...(judged?.problems ?? []));
    foreign.push(...(judged?.foreign ?? []));
    newest = judged?.backup ?? null;
    if (newest !== null) break;
  }
  const chipChange = newest === null ? null : await changeBefore(disk, root, newest, ids);
  let seen: Sighting | undefined;
  if (folder?.hasSightings === true) {
    seen = await unlessUnreadable(SIGHTINGS, () => readNewestSighting(disk, folder.path));
  }
  // A board that cannot be read is not asked about once more; one without a folder may have a note elsewhere.
  const isReadable = folder !== undefined || problems.length === 0;
  const half = isReadable ? await unlessUnreadable(RESTORE_RECORD, () => halfRestored(mac)) : undefined;
  const about =
    folder?.hasMarks === true ? await unlessUnreadable(LABELS.name, () => readAbout(disk, folder.path)) : undefined;
  return {
    mac,
    ids,
    newest,
    chipChange,
    seen: seen ?? null,
    problems,
    foreign,
    halfRestored: half ?? null,
    wasRestored: folder?.hasRestores ?? false,
    about: about ?? NOTHING_ABOUT,
  };
}

async function readAbout(disk: Disk, boardFolder: string): Promise<BoardAbout> {
  return aboutOf((await readEvents(disk, boardFolder, LABELS)).events);
}

/** One more manifest, however many there are; of a backup that looks damaged nothing is compared or told. */
async function changeBefore(
  disk: Disk,
  root: string,
  newest: Backup,
  ids: readonly string[],
): Promise<ChipChangeSince | null> {
  const before = ids.filter((id) => id < newest.id).at(-1);
  const judged = before === undefined ? undefined : await judgeBackup(disk, root, newest.mac, before);
  return judged?.backup === undefined ? null : (chipChanges([judged.backup, newest]).get(newest.id) ?? null);
}
