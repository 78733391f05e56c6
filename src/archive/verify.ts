/** The whole archive hashed again, or one board's part of it. */

import { join } from 'node:path';
import { hasCode } from '../errors.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { listBoard } from './board-folder.ts';
import { readFault } from './disk.ts';
import type { Disk } from './disk.ts';
import { isUnreadable, toProblem } from './problems.ts';
import { SIGHTINGS, readSightings } from './sightings.ts';
import type { Archive, ArchiveProblem, ForeignEntry, VerifyReport } from './types.ts';

export interface VerifyParts {
  readonly root: string;
  readonly disk: Disk;
  boards(): ReturnType<Archive['boards']>;
  /** Rejects with `archive-unknown-backup` where nothing has this id. */
  verifyBackup(
    mac: Mac,
    id: string,
    signal?: AbortSignal,
  ): Promise<{ readonly problems: readonly ArchiveProblem[]; readonly foreign: readonly ForeignEntry[] }>;
}

export async function verifyArchive(
  parts: VerifyParts,
  options: Parameters<Archive['verify']>[0],
): Promise<VerifyReport> {
  const { signal, onProgress } = options;
  const all = options.mac === undefined ? await parts.boards() : { macs: [options.mac], problems: [], foreign: [] };
  const problems: ArchiveProblem[] = [...all.problems];
  const foreign: ForeignEntry[] = [...all.foreign];
  let checked = 0;
  for (const [index, mac] of all.macs.entries()) {
    signal?.throwIfAborted();
    const board = await lookAtBoard(parts, mac);
    problems.push(...board.problems);
    foreign.push(...board.foreign);
    for (const id of board.ids) {
      signal?.throwIfAborted();
      onProgress?.(mac, id, { board: index + 1, boards: all.macs.length });
      try {
        const found = await parts.verifyBackup(mac, id, signal);
        problems.push(...found.problems);
        foreign.push(...found.foreign);
        if (!found.problems.some(({ error }) => isUnreadable(error))) checked++;
      } catch (error) {
        if (!hasCode(error, 'archive-unknown-backup')) throw error; // else pruned since it was listed
      }
    }
  }
  return {
    checked,
    damaged: problems.filter(({ error }) => !isUnreadable(error)),
    unreadable: problems.filter(({ error }) => isUnreadable(error)),
    foreign,
  };
}

/** All but the backups themselves. */
async function lookAtBoard(
  { root, disk }: VerifyParts,
  mac: Mac,
): Promise<{ ids: readonly string[]; problems: ArchiveProblem[]; foreign: readonly ForeignEntry[] }> {
  const problems: ArchiveProblem[] = [];
  let ids: readonly string[] = [];
  let foreign: readonly ForeignEntry[] = [];
  let file = macToFolder(mac);
  try {
    const folder = await listBoard(disk, root, mac);
    if (folder === undefined) return { ids, problems, foreign };
    ({ ids, foreign } = folder);
    file = join(file, SIGHTINGS);
    if (folder.hasSightings) await readSightings(disk, folder.path);
  } catch (error) {
    problems.push(toProblem(mac, null, file, readFault(error)));
  }
  return { ids, problems, foreign };
}
