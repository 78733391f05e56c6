/** Which backup of a board a person means, and which one the board should hold. Both only read the archive. */

import { contendersFor } from '../archive/elsewhere/same-id.ts';
import { ElsewhereError } from '../archive/elsewhere/types.ts';
import { idToDate } from '../archive/ids.ts';
import { latestMeant } from '../archive/meant.ts';
import { selectId } from '../archive/which.ts';
import type { Archive, Backup, Which } from '../archive/types.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { Mac } from '../mac.ts';

/**
 * The backup that `which` means: as {@link Archive.resolveBackup}, but for `latest`, which passes over the snapshots of
 * before a restore (see {@link latestMeant}).
 * @throws EspdError see {@link Archive.resolveBackup}; `archive-unknown-backup` for `latest` of a board that has only
 *   such snapshots
 */
export async function meantBackup(archive: Archive, mac: Mac, which: Which): Promise<Backup> {
  return archive.resolveBackup(mac, which === 'latest' ? ((await latestId(archive, mac)) ?? which) : which);
}

/** The same by its id alone, wherever it lies, sound or not. */
export async function meantId(archive: Archive, mac: Mac, which: Which): Promise<string> {
  const latest = which === 'latest' ? await latestId(archive, mac) : undefined;
  return latest ?? selectId(mac, await knownIds(archive, mac), which);
}

/** Of all backups of a board, here and in the store, oldest first. @throws EspdError as {@link Archive.backupIds} */
export async function knownIds(archive: Archive, mac: Mac): Promise<readonly string[]> {
  const here = await archive.backupIds(mac);
  const stored = await archive.elsewhere.of(mac);
  return stored.length === 0 ? here : [...new Set([...here, ...stored.map(({ id }) => id)])].sort();
}

/** Undefined where the board has no backup at all. */
async function latestId(archive: Archive, mac: Mac): Promise<string | undefined> {
  const { ids, meant } = await latestOf(archive, mac);
  const newest = ids.at(-1);
  if (newest === undefined || meant !== undefined) return meant;
  throw new EspdError('archive-unknown-backup', `All that the archive holds of ${mac} was on it before a restore`, {
    hint: `Such a snapshot is restored only by its id: ${newest}`,
  });
}

async function latestOf(archive: Archive, mac: Mac) {
  const ids = await knownIds(archive, mac);
  const half = (await archive.halfRestored(mac))?.record ?? null;
  return { ids, meant: latestMeant(ids, await archive.restores(mac), half) };
}

/** What a comparison by digests takes of a backup: its manifest, which is known wherever the files lie. */
export interface KnownBackup extends Pick<Backup, 'mac' | 'id' | 'manifest'> {
  /** Else it lies in a store alone, and the manifest is what its station has told of it. */
  readonly isHere: boolean;
}

/**
 * The backup that a board should hold: the one that was restored last, perhaps of another board, or the `latest` that was
 * made after that restore.
 * @throws EspdError see {@link Archive.resolveBackup}
 */
export function expectedBackup(archive: Archive, mac: Mac): Promise<Backup> {
  return expectedBy(archive, mac, (owner, which) => archive.resolveBackup(owner, which));
}

/** The same, also where it lies in a store alone: nothing is fetched. */
export function expectedKnown(archive: Archive, mac: Mac): Promise<KnownBackup> {
  return expectedBy(archive, mac, (owner, which) => knownBackup(archive, owner, which));
}

/** Of two that stations have made in one second, the one that was first in the store: it is the one that is fetched. */
async function knownBackup(archive: Archive, mac: Mac, which: Which): Promise<KnownBackup> {
  try {
    return { ...(await archive.resolveBackup(mac, which)), isHere: true };
  } catch (error) {
    if (!(error instanceof ElsewhereError)) throw error;
    const [stored] = contendersFor(error.id, await archive.elsewhere.of(error.mac));
    if (stored === undefined) throw error;
    return { mac: stored.mac, id: stored.id, manifest: stored.manifest, isHere: false };
  }
}

/** Backups of a board wherever they lie, the newest first. */
export async function allKnown(archive: Archive, mac: Mac): Promise<readonly KnownBackup[]> {
  const here = (await archive.history(mac)).backups.map((backup) => ({ ...backup, isHere: true }));
  const ids = new Set(await archive.backupIds(mac));
  const stored = (await archive.elsewhere.of(mac)).filter(({ id }) => !ids.has(id));
  const others = stored.map(({ id, manifest }) => ({ mac, id, manifest, isHere: false }));
  return [...here, ...others].sort((a, b) => (a.id < b.id ? 1 : a.id > b.id ? -1 : 0));
}

async function expectedBy<T>(archive: Archive, mac: Mac, resolve: (mac: Mac, which: Which) => Promise<T>): Promise<T> {
  const { meant } = await latestOf(archive, mac);
  const restored = (await archive.restores(mac)).at(-1);
  if (restored !== undefined && !restored.partial) {
    const isLast = meant === undefined || restored.at >= (await madeAt(archive, mac, meant));
    const backup = isLast ? await orUndefined(resolve(restored.from.mac, restored.from.id)) : undefined;
    if (backup !== undefined) return backup;
  }
  return resolve(mac, meant ?? 'latest');
}

/** ISO 8601 UTC. Two backups of one second have ids a second apart, so the manifest is asked where it can be read. */
async function madeAt(archive: Archive, mac: Mac, id: string): Promise<string> {
  try {
    return (await archive.resolveBackup(mac, id)).manifest.createdAt;
  } catch (error) {
    if (!(error instanceof EspdError)) throw error;
    return idToDate(id)?.toISOString() ?? '';
  }
}

/** Undefined for a backup that was pruned since, or restored out of another archive. */
export function ifKnown(archive: Archive, { mac, id }: { mac: Mac; id: string }): Promise<KnownBackup | undefined> {
  return orUndefined(knownBackup(archive, mac, id));
}

async function orUndefined<T>(resolving: Promise<T>): Promise<T | undefined> {
  try {
    return await resolving;
  } catch (error) {
    if (hasCode(error, 'archive-unknown-backup', 'archive-unknown-board')) return undefined;
    throw error;
  }
}
