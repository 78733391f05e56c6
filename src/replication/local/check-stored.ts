/** Whether a backup that is here lies in the bucket too, byte for byte: by what the store says now, and no note of before. */

import { createHash } from 'node:crypto';
import { formatChecksums } from '../../archive/checksums.ts';
import type { Backup } from '../../archive/types.ts';
import { HEADER_BYTES, keyIdOf } from '../encryption.ts';
import { ENCRYPTED, folderKey } from '../layout.ts';
import { CHECKSUMS, MANIFEST, openLocalBackup } from '../local-backup.ts';
import type { Bucket } from '../push-backup.ts';
import { prepareImage, prepareSmall, sumsOf } from '../push-backup.ts';
import { removalKey } from '../removal/format.ts';

/** What of a bucket it takes. */
export type LookedAt = Pick<Bucket, 'store' | 'layout' | 'keys'>;

/** In which folder it lies, behind the prefix; or why it does not count as safe there, a sentence fragment. */
export type StoredAnswer =
  { readonly isSafe: true; readonly folder: string } | { readonly isSafe: false; readonly why: string };

/**
 * The files here are hashed, and encrypted as they were for the bucket: so they are sound here as well, and SHA256SUMS
 * and the ETag of the image there must be what they give.
 * @throws EspdError `archive-...` where the backup itself is the matter; `store-...`
 */
export async function checkStored(bucket: LookedAt, backup: Backup, signal: AbortSignal): Promise<StoredAnswer> {
  let why = 'it is not in the object store';
  for (const place of ['shared', 'station'] as const) {
    const root = folderKey(bucket.layout, place, backup.mac, backup.id);
    const problem = await problemIn(bucket, backup, root, signal);
    if (problem === undefined) {
      return { isSafe: true, folder: root.slice(bucket.layout.prefix.length) };
    }
    if (problem !== 'missing') why = problem;
  }
  return { isSafe: false, why };
}

/** Undefined: it lies there. */
async function problemIn(
  { store, layout, keys }: LookedAt,
  backup: Backup,
  root: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const sums = await store.get(root + CHECKSUMS, { signal });
  if (sums === undefined) return 'missing';
  if ((await store.head(removalKey(layout.prefix, root.slice(layout.prefix.length)), { signal })) !== undefined) {
    return 'its removal from the object store is announced';
  }
  const text = sums.bytes.toString('utf8');
  const isEncrypted = text.includes(`  ${MANIFEST}${ENCRYPTED}\n`);
  const name = isEncrypted ? MANIFEST + ENCRYPTED : MANIFEST;
  const stored = await store.get(root + name, { signal });
  if (stored === undefined) return 'its manifest is missing in the object store';
  const key = isEncrypted ? keys.find(({ id }) => id === keyIdOf(stored.bytes.subarray(0, HEADER_BYTES))) : null;
  if (key === undefined) return 'it is encrypted there with a key that is not here';
  const local = await openLocalBackup(backup);
  try {
    const image = await prepareImage({ key }, backup, local);
    const manifest = await prepareSmall({ key }, backup, MANIFEST, local.manifest);
    const expected = key === null ? local.checksums.toString('utf8') : formatChecksums(sumsOf([image, manifest]));
    if (text !== expected) return 'what is in the object store under its name is another backup';
    if (createHash('sha256').update(stored.bytes).digest('hex') !== manifest.digests.sha256) {
      return 'its manifest in the object store is damaged';
    }
    const there = await store.head(root + image.name, { signal });
    const { sizeBytes, etag } = image.digests;
    if (there === undefined) return 'its image is missing in the object store';
    return there.sizeBytes === sizeBytes && there.etag === etag
      ? undefined
      : 'its image in the object store has another size or ETag than it should';
  } finally {
    await local.close();
  }
}
