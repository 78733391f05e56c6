/** When a backup counts as complete in the store, and when as gone. */

import type { ArchiveElsewhere, StoredBackup } from '../../archive/elsewhere/types.ts';

/**
 * The store's own time, so that it is the same however often it is said. But where it was noted as gone and is there, that
 * note is older, whatever the clock of its station said.
 * @param writtenMs of SHA256SUMS, ms since 1970
 * @returns ISO 8601 UTC
 */
export async function whenNoted(
  elsewhere: Pick<ArchiveElsewhere, 'gone'>,
  { mac, store, folder }: Pick<StoredBackup, 'mac' | 'store' | 'folder'>,
  writtenMs: number,
): Promise<string> {
  const gone = (await elsewhere.gone(mac)).find((each) => each.store === store && each.folder === folder);
  return behind(gone, writtenMs);
}

/**
 * The later note of a place counts, and that it was there has the time of the store. So that it is gone must be later than
 * that, whatever a clock says: a slow one would have its removal believed by nobody, this station included.
 * @param nowMs ms since 1970
 * @returns ISO 8601 UTC
 */
export async function whenGone(
  elsewhere: Pick<ArchiveElsewhere, 'of'>,
  { mac, store, folder }: Pick<StoredBackup, 'mac' | 'store' | 'folder'>,
  nowMs: number,
): Promise<string> {
  const noted = (await elsewhere.of(mac)).find((each) => each.store === store && each.folder === folder);
  return behind(noted, nowMs);
}

/** That time, or the next one behind a note that was made before, by whatever clock. */
function behind(note: Pick<StoredBackup, 'at'> | undefined, atMs: number): string {
  return new Date(Math.max(atMs, note === undefined ? 0 : Date.parse(note.at) + 1)).toISOString();
}
