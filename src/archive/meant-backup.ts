/** The backup that a person means, or why it cannot be had. */

import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { Backup } from './backup.ts';
import type { Judged } from './board-folder.ts';
import { allIds, elsewhereGlance } from './elsewhere/places.ts';
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
  const id = selectId(mac, allIds(ids, elsewhereGlance(ids, stored)), which);
  const there = stored.find((each) => each.id === id);
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
