/**
 * One backup out of the bucket, in an order in which it is there as a whole or not at all at whatever moment this ends:
 * SHA256SUMS first, with which it ceases to exist; the image; and the manifest, which holds its name, last.
 */

import { parseChecksums } from '../../archive/checksums.ts';
import type { ObjectStore } from '../../store/types.ts';
import { CHECKSUMS, MANIFEST } from '../local-backup.ts';
import { MAX_CHECKSUMS_BYTES, getSmall } from '../small-object.ts';

export interface TakeAway {
  readonly store: ObjectStore;
  /** Key of the folder, with prefix, and a slash at its end. */
  readonly folder: string;
  /** SHA256SUMS of the backup that is meant. */
  readonly checksums: string;
  /** Whether the backup may still be there as a whole; else only what an earlier removal has left is cleared. */
  readonly mayBeWhole: boolean;
  /** When it was judged: see {@link ObjectStore.remove}. */
  readonly asOf: number;
  readonly signal: AbortSignal;
}

/**
 * `gone`: nothing of it is left. `another`: under its name is something else than was meant, and nothing was done.
 * `returned`: a station has put it there again meanwhile; it is as if nothing had happened.
 */
export async function takeAway(parts: TakeAway): Promise<'gone' | 'another' | 'returned'> {
  const { store, folder, checksums, mayBeWhole, asOf, signal } = parts;
  const sums = await getSmall(store, folder + CHECKSUMS, MAX_CHECKSUMS_BYTES, signal);
  if (sums !== undefined && !mayBeWhole) return 'returned';
  if (sums !== undefined && sums.bytes.toString('utf8') !== checksums) return 'another';
  if (sums !== undefined) await store.remove(folder + CHECKSUMS, { asOf, signal });
  const names = filesOf(checksums);
  const isManifest = (name: string) => name.startsWith(MANIFEST);
  for (const name of [...names.filter((each) => !isManifest(each)), ...names.filter(isManifest)]) {
    await store.remove(folder + name, { asOf, signal });
  }
  return (await store.head(folder + CHECKSUMS, { signal })) === undefined ? 'gone' : 'returned';
}

/** Names of the objects that it lists, where it lists a manifest and an image; else none. */
export function filesOf(checksums: string): string[] {
  const names = [...(parseChecksums(checksums)?.keys() ?? [])];
  const isOurs =
    names.length === 2 && names.every((name) => /^(?:manifest\.json|flash\.bin(?:\.gz|\.zst)?)(?:\.enc)?$/.test(name));
  const hasBoth = names.some((name) => name.startsWith(MANIFEST)) && names.some((name) => name.startsWith('flash.bin'));
  return isOurs && hasBoth ? names : [];
}
