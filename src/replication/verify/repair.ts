/**
 * A damaged backup of the bucket gets the bytes of the same backup that is sound here. It is the one place where objects
 * of a complete backup are replaced, so it is proved first that it is the same backup, and each object is replaced only if
 * it is still the one that was looked at (If-Match).
 */

import { createHash } from 'node:crypto';
import { formatChecksums } from '../../archive/checksums.ts';
import type { Archive, Backup } from '../../archive/types.ts';
import { hasCode } from '../../errors.ts';
import type { ObjectFacts, ObjectStore } from '../../store/types.ts';
import type { FleetKey } from '../encryption.ts';
import { parseFolder } from '../layout.ts';
import { CHECKSUMS, MANIFEST, openLocalBackup } from '../local-backup.ts';
import { type Bucket, type Prepared, prepareImage, prepareSmall, sumsOf } from '../push-backup.ts';
import { gather, putImage } from '../put-image.ts';
import { removalKey } from '../removal/format.ts';
import { getSmall, maxManifestBytes } from '../small-object.ts';
import type { StoredPlace } from '../stored-folder.ts';
import { checkCopy } from './check-copy.ts';

/** `why`: nothing was done, or it was of no use; a sentence fragment. */
export type Repair = { readonly replaced: readonly string[] } | { readonly why: string };

export interface RepairParts {
  readonly bucket: Bucket;
  readonly archive: Pick<Archive, 'verifyBackup'>;
  readonly signal: AbortSignal;
}

/** How the objects of a backup should be, under one key. */
interface Expected {
  readonly manifest: Prepared;
  readonly image: Prepared;
  readonly checksums: Buffer;
}

/**
 * @param damaged names of the objects that were found to be damaged there
 * @throws EspdError `archive-...` where the copy here is the matter; `store-...`; the signal's reason
 */
export async function repairCopy(
  { bucket, archive, signal }: RepairParts,
  backup: Backup,
  place: StoredPlace,
  damaged: ReadonlySet<string>,
): Promise<Repair> {
  const { store, layout, hasConditions } = bucket;
  const home = parseFolder(place.folder)?.home ?? '';
  // Elsewhere another station might write at the same moment, and the store would not notice.
  if (home !== '' && home !== layout.station) return { why: `it lies in the folder of ${home}: repair it there` };
  if (home === '' && !hasConditions) return { why: 'the store does not honour conditional writes' };
  if ((await store.head(removalKey(layout.prefix, place.folder), { signal })) !== undefined) {
    return { why: 'its removal from the object store is announced' };
  }
  const [problem] = await archive.verifyBackup(backup.mac, backup.id, signal);
  if (problem !== undefined) return { why: `the copy here is damaged as well: ${problem.file} ${problem.problem}` };
  const root = layout.prefix + place.folder;
  const sums = await lookAt(store, root + CHECKSUMS, signal);
  if (sums === undefined) return { why: 'it is not complete there any more' };
  const local = await openLocalBackup(backup);
  try {
    for (const key of [null, ...bucket.keys]) {
      const expected = await prepare(backup, local, key);
      const known = await lookAt(store, root + expected.manifest.name, signal);
      const isManifest = known !== undefined && sha256(known.bytes) === expected.manifest.digests.sha256;
      // An image alone proves nothing: many backups have the same.
      if (!isManifest && !sums.bytes.equals(expected.checksums)) continue;
      const replaced = await replace({ bucket, root, expected, known, sums, isManifest, damaged, signal });
      if (replaced === undefined) return { why: 'somebody else has changed it at the same moment' };
      const left = await checkCopy(bucket, place, undefined, signal);
      return left?.length === 0 ? { replaced } : { why: 'it is still damaged after it was written again' };
    }
  } finally {
    await local.close();
  }
  return { why: `neither its manifest nor its ${CHECKSUMS} there is that of the copy here` };
}

/** Bytes that their own ETag contradicts count for nothing, nor what is too long for either. */
async function lookAt(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<(ObjectFacts & { readonly bytes: Buffer }) | undefined> {
  try {
    return await getSmall(store, key, maxManifestBytes(true), signal);
  } catch (error) {
    if (!hasCode(error, 'store-damaged')) throw error;
    const facts = await store.head(key, { signal });
    return facts && { ...facts, bytes: Buffer.alloc(0) };
  }
}

async function prepare(
  backup: Backup,
  local: Awaited<ReturnType<typeof openLocalBackup>>,
  key: FleetKey | null,
): Promise<Expected> {
  const image = await prepareImage({ key }, backup, local);
  const manifest = await prepareSmall({ key }, backup, MANIFEST, local.manifest);
  return {
    image,
    manifest,
    checksums: key === null ? local.checksums : Buffer.from(formatChecksums(sumsOf([image, manifest]))),
  };
}

/** SHA256SUMS last, as in every upload. Undefined: another writer was faster. */
async function replace({
  bucket,
  root,
  expected,
  known,
  sums,
  isManifest,
  damaged,
  signal,
}: {
  readonly bucket: Bucket;
  readonly root: string;
  readonly expected: Expected;
  readonly known: ObjectFacts | undefined;
  readonly sums: ObjectFacts & { readonly bytes: Buffer };
  readonly isManifest: boolean;
  readonly damaged: ReadonlySet<string>;
  readonly signal: AbortSignal;
}): Promise<string[] | undefined> {
  const { store, state, hasConditions } = bucket;
  const { manifest, image, checksums } = expected;
  const replaced: string[] = [];
  const over = (there: ObjectFacts | undefined) => {
    if (!hasConditions) return undefined;
    return there === undefined ? ('if-absent' as const) : { ifMatch: there.etag };
  };
  const put = async (name: string, bytes: Buffer, there: ObjectFacts | undefined) => {
    const done = await store.put(root + name, bytes, { condition: over(there), signal });
    if (done !== undefined) replaced.push(name);
    return done !== undefined;
  };
  const isHeld = (await store.head(root + CHECKSUMS, { signal }))?.isHeld === true;
  if (!isManifest && !(await put(manifest.name, await gather(manifest.source()), known))) return undefined;
  const key = root + image.name;
  const there = await store.head(key, { signal });
  const { sizeBytes, etag, parts } = image.digests;
  // Rot on the server's disk changes no ETag: what was read decides.
  if (damaged.has(image.name) || there?.sizeBytes !== sizeBytes || there.etag !== etag) {
    if (parts.length > 1) {
      // An upload in parts knows no condition everywhere; whoever else writes an image here writes the same bytes.
      await putImage({ store, state, key, signal, ...image, isWrong: true });
      replaced.push(image.name);
    } else if (!(await put(image.name, await gather(image.source()), there))) return undefined;
  }
  if (!sums.bytes.equals(checksums) && !(await put(CHECKSUMS, checksums, sums))) return undefined;
  // What was written is another version, and only the one before it is held.
  if (isHeld) for (const name of replaced) await store.hold(root + name, true, { signal });
  return replaced;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
