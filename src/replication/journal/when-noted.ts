/** When a backup counts as complete in the store. */

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
  return new Date(Math.max(writtenMs, gone === undefined ? 0 : Date.parse(gone.at) + 1)).toISOString();
}
