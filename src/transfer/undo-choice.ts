/** What `espd undo` puts back, by what the archive says of the board. Only reads. */

import type { Archive } from '../archive/types.ts';
import { type PastBackup, type UndoChoice, undoChoice } from '../archive/undo.ts';
import type { Mac } from '../mac.ts';

/**
 * Reads the manifests that it takes, from the newest back.
 * @throws EspdError `archive-unknown-board`, `archive-unreadable`
 */
export async function chooseUndo(archive: Archive, mac: Mac): Promise<UndoChoice> {
  const ids = await archive.backupIds(mac);
  const restores = await archive.restores(mac);
  return undoChoice(
    restores.length > 0 ? ids.map(withoutContent) : await newestThatDiffer(archive, mac, ids),
    restores,
  );
}

function withoutContent(id: string): PastBackup {
  return { id, sha256: null };
}

/** From the newest back to the first that differs from it, oldest first; all where none does. */
async function newestThatDiffer(archive: Archive, mac: Mac, ids: readonly string[]): Promise<PastBackup[]> {
  const known = new Map<string, string>();
  let newest: string | undefined;
  let oldestLookedAt = '';
  for await (const { id, manifest } of archive.newestFirst(mac)) {
    const { sha256 } = manifest.image;
    known.set(id, sha256);
    newest ??= sha256;
    if (sha256 === newest) continue;
    oldestLookedAt = id;
    break;
  }
  return ids.filter((id) => id >= oldestLookedAt).map((id) => ({ id, sha256: known.get(id) ?? null }));
}
