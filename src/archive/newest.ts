/** A board's backups from the newest back, each looked at only when it is asked for. */

import type { ArchiveProblem, Backup, LatestBackup } from './types.ts';
import type { Mac } from '../mac.ts';

/** What stands under an id: a backup, or what is wrong with it; undefined = removed since the folder was listed. */
export type Judge = (id: string) => Promise<{ backup?: Backup; problems: readonly ArchiveProblem[] } | undefined>;

/**
 * The newest backup that can be understood, and what is newer and cannot.
 * @param ids of the board's folder, oldest first
 */
export async function findLatest(mac: Mac, ids: readonly string[], judge: Judge): Promise<LatestBackup> {
  const problems: ArchiveProblem[] = [];
  for (const id of ids.toReversed()) {
    const judged = await judge(id);
    if (judged?.backup !== undefined) return { mac, ids, backup: judged.backup, problems };
    if (judged !== undefined) problems.push(...judged.problems);
  }
  return { mac, ids, backup: undefined, problems };
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
