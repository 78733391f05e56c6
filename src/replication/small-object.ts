/**
 * Objects that are short where they are espd's. Anybody may have put a long one in their place, and whatever that is, it must
 * concern one backup alone: so no more of it is asked for than can be ours.
 */

import { MAX_MANIFEST_BYTES } from '../archive/manifest.ts';
import type { ObjectFacts, ObjectStore } from '../store/types.ts';
import { encryptedSize } from './encryption.ts';

/** Of SHA256SUMS: two lines have 180 bytes. */
export const MAX_CHECKSUMS_BYTES = 4096;

/** Of the object, as it is stored. */
export function maxManifestBytes(isEncrypted: boolean): number {
  return isEncrypted ? encryptedSize(MAX_MANIFEST_BYTES) : MAX_MANIFEST_BYTES;
}

/**
 * Undefined where there is none. Of one that is longer no byte is given, for a part of it could pass for a whole; its
 * `sizeBytes` says so. @throws EspdError as the store does
 */
export async function getSmall(
  store: Pick<ObjectStore, 'get'>,
  key: string,
  mostBytes: number,
  signal?: AbortSignal,
): Promise<(ObjectFacts & { readonly bytes: Buffer }) | undefined> {
  // One byte more shows that it is longer.
  const range = { offset: 0, length: mostBytes + 1, checksWhole: true } as const;
  const object = await store.get(key, { range, signal });
  return object !== undefined && object.sizeBytes > mostBytes ? { ...object, bytes: Buffer.alloc(0) } : object;
}
