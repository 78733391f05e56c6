/** Which backup `latest` means, where restores have made snapshots of what was on the board before. Pure. */

import type { RestoreRecord } from './restore-record.ts';
import type { CompletedRestore } from './restores.ts';

/**
 * The newest backup that is no snapshot of before a restore: what was on the board then is what somebody wanted to be
 * rid of. A snapshot that was itself put back later counts like any other backup.
 *
 * @param ids of all backups of the board, sorted, sound or not: a damaged one is never passed over
 * @param restores of this board, oldest first
 * @param half a restore of this board that has begun and not ended
 * @returns undefined where there is none, or nothing but snapshots
 */
export function latestMeant(
  ids: readonly string[],
  restores: readonly CompletedRestore[],
  half: Pick<RestoreRecord, 'from' | 'snapshot' | 'snapshotIsNew'> | null,
): string | undefined {
  const snapshots = new Set<string>();
  for (const { from, snapshot, snapshotIsNew } of [...restores, ...(half === null ? [] : [half])]) {
    snapshots.delete(from.id);
    if (snapshotIsNew && snapshot !== null) snapshots.add(snapshot);
  }
  return ids.findLast((id) => !snapshots.has(id));
}
