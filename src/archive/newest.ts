/** A board's backups from the newest back, each looked at only when it is asked for. */

import type { Mac } from '../mac.ts';
import type { Judged } from './board-folder.ts';
import type { ArchiveProblem, Backup, ForeignEntry, LatestBackup } from './types.ts';

/** What stands under an id: a backup, or what is wrong with it; undefined = removed since the folder was listed. */
export type Judge = (id: string) => Promise<Judged | undefined>;

/**
 * The newest backup that can be understood, and what was told of it and of what is newer.
 * @param ids of the board's folder, oldest first
 * @param maxTries so many are looked at
 */
export async function findNewest(ids: readonly string[], judge: Judge, maxTries = Infinity): Promise<Judged> {
  const problems: ArchiveProblem[] = [];
  const foreign: ForeignEntry[] = [];
  let tries = 0;
  for (const id of ids.toReversed()) {
    if (++tries > maxTries) break;
    const judged = await judge(id);
    problems.push(...(judged?.problems ?? []));
    foreign.push(...(judged?.foreign ?? []));
    if (judged?.backup !== undefined) return { ...judged, problems, foreign };
  }
  return { problems, foreign };
}

/** The newest backup that can be understood, and what is newer and cannot. @param ids as for {@link findNewest} */
export async function findLatest(mac: Mac, ids: readonly string[], judge: Judge): Promise<LatestBackup> {
  const { backup, problems } = await findNewest(ids, judge);
  return { mac, ids, backup, problems };
}

/** Backups that can be understood, the newest first. */
export async function* newestFirst(ids: readonly string[], judge: Judge): AsyncGenerator<Backup, void, undefined> {
  for (const id of ids.toReversed()) {
    const judged = await judge(id);
    if (judged?.backup !== undefined) yield judged.backup;
  }
}

/** The first few of {@link newestFirst}. */
export async function takeNewest(
  backups: AsyncIterable<Backup>,
  count: number,
  signal: AbortSignal | undefined,
): Promise<Backup[]> {
  const taken: Backup[] = [];
  signal?.throwIfAborted();
  for await (const backup of backups) {
    signal?.throwIfAborted();
    if (taken.push(backup) >= count) break;
  }
  return taken;
}
