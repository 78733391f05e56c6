/**
 * A backup that lies complete in a folder, encrypted with an older key of the fleet, or not at all: put there before the key
 * was changed, or encryption turned on. What is put today has other bytes, and yet it is the same backup.
 */

import type { ObjectStore } from '../store/types.ts';
import { type FleetKey, HEADER_BYTES, keyIdOf } from './encryption.ts';
import { ENCRYPTED } from './layout.ts';
import { MANIFEST } from './local-backup.ts';
import type { Digests } from './put-image.ts';
import { getSmall, maxManifestBytes } from './small-object.ts';

interface Otherwise {
  readonly store: ObjectStore;
  /** What encrypts now; null: nothing. */
  readonly key: FleetKey | null;
  /** All that decrypt. */
  readonly keys: readonly FleetKey[];
  readonly folder: string;
  /** What SHA256SUMS of the folder says. */
  readonly sums: string;
  /** The backup as it is put with a key, or with none. */
  readonly prepare: (key: FleetKey | null) => Promise<{
    readonly objects: readonly { readonly name: string; readonly digests: Digests }[];
    readonly checksums: Buffer;
  }>;
  readonly signal: AbortSignal;
}

export async function liesOtherwise({ store, key, keys, folder, sums, prepare, signal }: Otherwise): Promise<boolean> {
  const there = await keyThere(store, keys, { folder, sums, signal });
  if (there === undefined || there?.id === key?.id) return false;
  const { objects, checksums } = await prepare(there);
  if (sums !== checksums.toString('utf8')) return false;
  // What is missing is not put as before: the key may have been changed because somebody else has it.
  for (const { name, digests } of objects) {
    if ((await store.head(folder + name, { signal }))?.sizeBytes !== digests.sizeBytes) return false;
  }
  return true;
}

/** Null: nothing is encrypted there. Undefined: with what is not here. */
async function keyThere(
  store: ObjectStore,
  keys: readonly FleetKey[],
  { folder, sums, signal }: Pick<Otherwise, 'folder' | 'sums' | 'signal'>,
): Promise<FleetKey | null | undefined> {
  const name = MANIFEST + ENCRYPTED;
  if (!sums.includes(`  ${name}\n`)) return null;
  const manifest = await getSmall(store, folder + name, maxManifestBytes(true), signal);
  if (manifest === undefined || manifest.bytes.length < HEADER_BYTES) return undefined;
  const id = keyIdOf(manifest.bytes.subarray(0, HEADER_BYTES));
  return keys.find((each) => each.id === id);
}
