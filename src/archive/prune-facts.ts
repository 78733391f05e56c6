/** What retention decides by, read from the archive with distrust: what cannot be read keeps everything that it may name. */

import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { forEachAtOnce } from './at-once.ts';
import { type Judged, judgeBackup, listBoard } from './board-folder.ts';
import { readFault } from './disk-faults.ts';
import type { Disk } from './disk.ts';
import { isUnexplained } from './foreign.ts';
import { bytesOnDisk } from './free-space.ts';
import { isAbandoned } from './abandoned.ts';
import { type BoardMarks, NO_MARKS, isConfirmed, pinOf } from './marks/marks.ts';
import type { MarkStore } from './marks/store.ts';
import { draftOwner } from './owner.ts';
import type { Owner } from './owner.ts';
import { RESTORE_RECORD } from './restore-record.ts';
import type { RestoreStore } from './restore-store.ts';
import { RESTORES } from './restores.ts';
import type { KnownOfBoard, RetentionBackup, RetentionBoard } from './retention/types.ts';

/** Boards looked at in one go. */
const AT_ONCE = 16;

export interface FactParts {
  readonly root: string;
  readonly disk: Disk;
  readonly marks: Pick<MarkStore, 'of'>;
  readonly restores: Pick<RestoreStore, 'unfinished' | 'restores'>;
  readonly clock: Clock;
  readonly self: () => Promise<Owner>;
}

export interface BoardFacts {
  readonly board: RetentionBoard;
  /** What could not be read and may name backups of any board. */
  readonly obstacles: readonly string[];
}

/** Which backups of a board are looked at: all, the newest alone, or none, where only the records of restores matter. */
export type Depth = 'all' | 'newest' | 'records';

/** Facts of many boards, in the order of `macs`. */
export async function factsOfBoards(
  parts: FactParts,
  macs: readonly Mac[],
  depthOf: (mac: Mac) => Depth,
  options: { signal?: AbortSignal | undefined; onProgress?: ((done: number, of: number) => void) | undefined } = {},
): Promise<BoardFacts[]> {
  const facts: BoardFacts[] = [];
  let done = 0;
  await forEachAtOnce(
    macs,
    AT_ONCE,
    async (mac, index) => {
      facts[index] = await factsOfBoard(parts, mac, depthOf(mac), options.signal);
      options.onProgress?.(++done, macs.length);
    },
    options.signal,
  );
  return facts;
}

async function factsOfBoard(
  parts: FactParts,
  mac: Mac,
  depth: Depth,
  signal: AbortSignal | undefined,
): Promise<BoardFacts> {
  const { root, disk } = parts;
  const name = macToFolder(mac);
  const { obstacles, ...records } = await recordsOf(parts, mac);
  const board = { mac, label: null, group: null, backups: [], ...records, held: null };
  if (depth === 'records') return { board, obstacles };
  try {
    const folder = await listBoard(disk, root, mac);
    if (folder === undefined) return { board, obstacles };
    const { marks, problem } = folder.hasMarks ? await marksOf(parts, mac) : { marks: NO_MARKS, problem: null };
    const backups: RetentionBackup[] = [];
    for (const id of depth === 'all' ? folder.ids : folder.ids.slice(-1)) {
      signal?.throwIfAborted();
      const judged = await judgeBackup(disk, root, mac, id);
      if (judged === undefined) continue; // removed since the folder was listed
      backups.push(toFacts(id, judged, marks, await sizeOnDisk(disk, join(folder.path, id))));
    }
    const { label, group } = marks.about;
    const held = problem ?? (await jobAt(parts, folder.path));
    return { board: { ...board, label, group, backups, held }, obstacles };
  } catch (error) {
    if (signal?.aborted === true) throw error;
    return { board, obstacles: [...obstacles, `${name} ${readFault(error).problem}`] };
  }
}

/** In the order of `macs`. A board without a folder is one of which nothing is known. */
export async function knownOfBoards(
  parts: FactParts,
  macs: readonly Mac[],
  signal?: AbortSignal,
): Promise<KnownOfBoard[]> {
  const known: KnownOfBoard[] = [];
  await forEachAtOnce(
    macs,
    AT_ONCE,
    async (mac, index) => {
      const { obstacles, ...records } = await recordsOf(parts, mac);
      const { marks, problem } = await marksOf(parts, mac);
      const { label, group } = marks.about;
      known[index] = { mac, label, group, ...records, held: problem, marks, obstacles };
    },
    signal,
  );
  return known;
}

/** The same backups, with marks and records as they are now; in the same order. */
export async function refreshed(parts: FactParts, facts: readonly BoardFacts[]): Promise<BoardFacts[]> {
  const fresh: BoardFacts[] = [];
  await forEachAtOnce(facts, AT_ONCE, async (each, index) => {
    fresh[index] = await refreshedBoard(parts, each);
  });
  return fresh;
}

async function refreshedBoard(parts: FactParts, { board }: BoardFacts): Promise<BoardFacts> {
  const { obstacles, ...records } = await recordsOf(parts, board.mac);
  if (board.backups.length === 0) return { board: { ...board, ...records }, obstacles };
  const { marks, problem } = await marksOf(parts, board.mac);
  const backups = board.backups.map((backup) => ({ ...backup, pin: pinOf(backup.id, marks) }));
  return { board: { ...board, backups, ...records, held: problem }, obstacles };
}

/** The records of the restores of a board. What cannot be understood may name anything. */
async function recordsOf({ restores }: FactParts, mac: Mac) {
  const name = macToFolder(mac);
  const obstacles: string[] = [];
  const unlessUnreadable = async <T>(file: string, read: () => Promise<T>, instead: T): Promise<T> => {
    try {
      return await read();
    } catch (error) {
      obstacles.push(`${name}/${file} ${readFault(error).problem}`);
      return instead;
    }
  };
  const done = await unlessUnreadable(RESTORES, () => restores.restores(mac), []);
  // This station's own is the last one.
  const halves = await unlessUnreadable(RESTORE_RECORD, () => restores.unfinished(mac), []);
  const records = halves.flatMap(({ record, problem }) => {
    if (record === null) obstacles.push(`${name}/${RESTORE_RECORD} ${problem}`);
    return record ?? [];
  });
  return {
    ...{ restores: done, obstacles, halfRestored: records.at(-1) ?? null },
    halfRestoredElsewhere: records.slice(0, -1),
  };
}

async function marksOf({ marks }: FactParts, mac: Mac): Promise<{ marks: BoardMarks; problem: string | null }> {
  try {
    const noted = await marks.of(mac);
    const [line] = noted.strangePinLines;
    const problem = line === undefined ? null : `line ${line} of its pins.jsonl may be a pin, and is not understood`;
    return { marks: noted, problem };
  } catch (error) {
    if (!(error instanceof EspdError)) throw error;
    return { marks: NO_MARKS, problem: `what is noted of it cannot be read: ${error.message}` };
  }
}

function toFacts(id: string, judged: Judged, marks: BoardMarks, sizeOnDiskBytes: number): RetentionBackup {
  const { backup, foreign } = judged;
  return {
    id,
    createdAt: backup?.manifest.createdAt ?? null,
    state: stateOf(judged),
    firmware: backup?.manifest.contents.firmware ?? null,
    sizeOnDiskBytes,
    pin: pinOf(id, marks),
    holdsForeign: foreign.some(isUnexplained),
    isConfirmed: backup !== undefined && isConfirmed(backup, marks),
    isImported: backup !== undefined && backup.manifest.confirmed === null,
  };
}

function stateOf({ backup, problems }: Judged): RetentionBackup['state'] {
  if (backup !== undefined) return 'sound';
  const codes = problems.map(({ error }) => error.code);
  if (codes.includes('archive-newer')) return 'newer';
  return codes.includes('archive-damaged') ? 'damaged' : 'unreadable';
}

/** Why the board is held, where somebody who may be alive has a draft of it; null where nobody has. */
async function jobAt({ disk, clock, self }: FactParts, boardFolder: string): Promise<string | null> {
  for (const name of await disk.fs.readdir(boardFolder)) {
    if (draftOwner(name) === undefined) continue;
    const isGone = await isAbandoned(disk, await self(), join(boardFolder, name), clock.date().getTime());
    if (!isGone) return 'a job is at work on the board';
  }
  return null;
}

/** What a backup's folder takes. What cannot be looked at counts nothing. */
async function sizeOnDisk(disk: Disk, path: string): Promise<number> {
  try {
    const names = await disk.fs.readdir(path);
    const stats = await Promise.all([path, ...names.map((name) => join(path, name))].map((each) => disk.lstat(each)));
    return stats.reduce((sum, each) => sum + (each === undefined ? 0 : bytesOnDisk(each)), 0);
  } catch {
    return 0;
  }
}
