/** The backup that a person means, or why it cannot be had. */

import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { Backup } from './backup.ts';
import type { Judged } from './board-folder.ts';
import { allIds, elsewhereGlance } from './elsewhere/places.ts';
import { contendersFor, idsToLookAt, isSameBackup, namedCopy, parseCopyName } from './elsewhere/same-id.ts';
import { ElsewhereError, type StoredBackup } from './elsewhere/types.ts';
import { findLatest } from './newest.ts';
import { type Which, selectId } from './which.ts';

/**
 * Undefined where it was removed since the folder was listed.
 * @param known ids of what is here, and what lies in a store, oldest first
 * @throws EspdError as `resolveBackup` of the archive
 */
export async function meantBackup(
  mac: Mac,
  { ids, stored }: { readonly ids: readonly string[]; readonly stored: readonly StoredBackup[] },
  which: Which,
  judge: (id: string) => Promise<Judged | undefined>,
): Promise<Backup | undefined> {
  const copy = parseCopyName(which);
  if (copy !== undefined) return copyHere(namedCopy(copy, stored), { ids, stored }, judge);
  const id = selectId(mac, allIds(ids, elsewhereGlance(ids, stored)), which);
  const [there] = contendersFor(id, stored);
  if (there !== undefined && !ids.includes(id)) throw new ElsewhereError(there);
  const judged = await judge(id);
  if (judged === undefined || judged.backup !== undefined) return judged?.backup;
  const error = (judged.problems.find((problem) => problem.error.code === 'archive-newer') ?? judged.problems[0])
    ?.error;
  if (error === undefined) throw new EspdError('internal', `${mac} ${id} is neither sound nor damaged`);
  const sound = (await findLatest(mac, ids, judge)).backup?.id;
  const instead =
    sound === undefined ? 'No other backup of this board looks sound' : `The newest that looks sound is ${sound}`;
  throw new EspdError(error.code, `Backup ${id} of ${mac}: ${error.message}`, {
    hint: error.hint === '' ? instead : `${error.hint}. ${instead}`,
    cause: error,
  });
}

/** One of several of an id, under whatever id it is here. @throws ElsewhereError where it is not */
async function copyHere(
  copy: StoredBackup,
  { ids, stored }: { readonly ids: readonly string[]; readonly stored: readonly StoredBackup[] },
  judge: (id: string) => Promise<Judged | undefined>,
): Promise<Backup> {
  for (const id of idsToLookAt(copy.id, ids)) {
    const backup = (await judge(id))?.backup;
    if (backup !== undefined && isSameBackup(backup, copy)) return backup;
  }
  // Somebody has fetched it, and put it there under the id that it got.
  const own = stored.find((each) => each.id !== copy.id && each.store === copy.store && isSameBackup(each, copy));
  throw own === undefined ? new ElsewhereError(copy, copy.folder) : new ElsewhereError(own);
}
