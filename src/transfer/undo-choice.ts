/** What `espd undo` puts back, by what the archive says of the board. Only reads. */

import type { Archive, Backup } from '../archive/types.ts';
import { type PastBackup, type UndoChoice, undoChoice } from '../archive/undo.ts';
import type { Mac } from '../mac.ts';
import { knownIds } from './meant-backup.ts';

/**
 * Reads the manifests that it takes, from the newest back.
 * @throws EspdError `archive-unknown-board`, `archive-unreadable`
 */
export async function chooseUndo(archive: Archive, mac: Mac): Promise<UndoChoice> {
  const ids = await knownIds(archive, mac);
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
  for await (const { id, sha256 } of contentsFromNewest(archive, mac)) {
    known.set(id, sha256);
    newest ??= sha256;
    if (sha256 === newest) continue;
    oldestLookedAt = id;
    break;
  }
  return ids.filter((id) => id >= oldestLookedAt).map((id) => ({ id, sha256: known.get(id) ?? null }));
}

/** Of those that can be understood. What is here decides; of the others their notes tell, so none is fetched for it. */
async function* contentsFromNewest(
  archive: Archive,
  mac: Mac,
): AsyncGenerator<{ readonly id: string; readonly sha256: string }, void, undefined> {
  const here = new Set(await archive.backupIds(mac));
  const stored = (await archive.elsewhere.of(mac)).filter(({ id }) => !here.has(id));
  const contentOf = ({ id, manifest }: Pick<Backup, 'id' | 'manifest'>) => ({ id, sha256: manifest.image.sha256 });
  for await (const backup of archive.newestFirst(mac)) {
    for (let last = stored.at(-1); last !== undefined && last.id > backup.id; last = stored.at(-1)) {
      yield contentOf(last);
      stored.pop();
    }
    yield contentOf(backup);
  }
  yield* stored.toReversed().map(contentOf);
}
