/** A backup pinned or unpinned, by a command or by the API: a pinned one is never removed by a policy. */

import type { Archive } from '../archive/types.ts';
import { type Clock, sleep } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { knownIds, meantId } from './meant-backup.ts';

const MAX_NOTE = 1000;
/** While a backup is being removed it is away for a moment, and comes back if it was pinned in time. */
const LOOKS = 20;
const BETWEEN_LOOKS_MS = 100;

export interface PinParts {
  readonly archive: Archive;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** @throws EspdError `usage` for a note that is too long */
export function checkPinNote(note: string): string {
  if (note.length <= MAX_NOTE) return note;
  throw new EspdError('usage', `The note has ${note.length} characters`, { hint: `At most ${MAX_NOTE} are kept` });
}

/**
 * The backup that is meant, by its id. A damaged one can be pinned by its id: it may be all that is left.
 * @throws EspdError `archive-unknown-backup`, and as {@link meantId}
 */
export async function pinnableId(archive: Archive, mac: Mac, which: string): Promise<string> {
  const id = await meantId(archive, mac, which);
  // What "latest" means is looked at: a damaged one is pinned only by its id.
  const isHere = (await archive.backupIds(mac)).includes(id);
  if (which === 'latest' && isHere) await archive.resolveBackup(mac, id);
  return id;
}

/** @throws EspdError `archive-unknown-backup` where it was removed at this moment */
export async function pinBackup(
  { archive, clock, signal }: PinParts,
  { mac, id, note }: { readonly mac: Mac; readonly id: string; readonly note: string | null },
): Promise<void> {
  await archive.marks.pin(mac, id, { pinned: true, note });
  for (let look = 1; !(await knownIds(archive, mac)).includes(id); look++) {
    if (look === LOOKS) {
      throw new EspdError('archive-unknown-backup', `Backup ${id} of ${mac} was removed at this moment`, {
        hint: `See what is there: espd show ${mac}`,
      });
    }
    await sleep(clock, BETWEEN_LOOKS_MS, signal);
  }
}

/** @returns false = it was not pinned, and nothing was written */
export async function unpinBackup({ archive }: Pick<PinParts, 'archive'>, mac: Mac, id: string): Promise<boolean> {
  const { pins } = await archive.marks.of(mac);
  if (!pins.some((pin) => pin.id === id)) return false;
  await archive.marks.pin(mac, id, { pinned: false, note: null });
  return true;
}
