/**
 * One backup into the bucket. Its manifest claims the name, its image follows, and SHA256SUMS comes last: with it the
 * backup exists there. The order, and what it proves, is FORMAT.md's (In a bucket).
 */

import { createHash } from 'node:crypto';
import { formatChecksums } from '../archive/checksums.ts';
import type { Backup } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { ObjectStore } from '../store/types.ts';
import { type FleetKey, HEADER_BYTES, encrypt, keyIdOf } from './encryption.ts';
import { ENCRYPTED, type Layout, type Place, boundName, folderKey } from './layout.ts';
import { CHECKSUMS, type LocalBackup, MANIFEST, openLocalBackup } from './local-backup.ts';
import { removalKey } from './removal/format.ts';
import { type Digests, type Source, digest, gather, putImage } from './put-image.ts';
import { MAX_CHECKSUMS_BYTES, getSmall } from './small-object.ts';
import type { ReplicationState } from './state.ts';
import { liesOtherwise } from './stored-otherwise.ts';

export interface Bucket {
  readonly store: ObjectStore;
  readonly layout: Layout;
  readonly state: ReplicationState;
  /** Whether of two writers of one name only one wins; else each station writes in its own folder. */
  readonly hasConditions: boolean;
  /** Null: nothing is encrypted. */
  readonly key: FleetKey | null;
  /** All that decrypt; empty where nothing is encrypted. */
  readonly keys: readonly FleetKey[];
  /** 16 hex digits that name endpoint, bucket and prefix. */
  readonly id: string;
}

export interface Pushed {
  readonly place: Place;
  /** That went up; 0 where all of it was there. */
  readonly sentBytes: number;
}

/** One object to be: its name in the folder of the backup, and its bytes. */
export interface Prepared {
  readonly name: string;
  readonly source: Source;
  readonly digests: Digests;
}

/** @throws EspdError `archive-...` where the backup itself is the matter; `store-removing`; other `store-...` */
export async function pushBackup(bucket: Bucket, backup: Backup, signal: AbortSignal): Promise<Pushed> {
  const local = await openLocalBackup(backup);
  try {
    const prepare = (key: FleetKey | null) => prepareBackup(key, backup, local);
    const prepared = await prepare(bucket.key);
    const places: readonly Place[] = bucket.hasConditions ? ['shared', 'station'] : ['station'];
    for (const place of places) {
      const folder = folderKey(bucket.layout, place, backup.mac, backup.id);
      await checkNotRemoved(bucket, folder, backup, signal);
      const put = { bucket, folder, ...prepared, prepare, signal };
      const sentBytes = await putInto(put, place);
      if (sentBytes !== undefined) return { place, sentBytes };
    }
    throw new EspdError('internal', `Backup ${backup.id} of ${backup.mac} found no place in the object store`);
  } finally {
    await local.close();
  }
}

/** A folder that is being taken apart would swallow what is put into it: FORMAT.md, Removing from a bucket. */
async function checkNotRemoved(
  { store, layout }: Bucket,
  folder: string,
  { mac, id }: Backup,
  signal: AbortSignal,
): Promise<void> {
  const note = await store.head(removalKey(layout.prefix, folder.slice(layout.prefix.length)), { signal });
  if (note === undefined || (await store.head(folder + CHECKSUMS, { signal })) !== undefined) return;
  throw new EspdError('store-removing', `Backup ${id} of ${mac} is being removed from the object store`, {
    hint: 'A pruner is at it, or was ended in the middle. It is tried again later',
  });
}

interface PutInto {
  readonly bucket: Bucket;
  readonly folder: string;
  readonly manifest: Prepared;
  readonly image: Prepared;
  readonly checksums: Buffer;
  readonly prepare: (key: FleetKey | null) => ReturnType<typeof prepareBackup>;
  readonly signal: AbortSignal;
}

/** Undefined: another station has this name. */
async function putInto(put: PutInto, place: Place): Promise<number | undefined> {
  const { bucket, folder, manifest, image, checksums, prepare, signal } = put;
  const { store, state, key: keyNow, keys } = bucket;
  const sumsKey = folder + CHECKSUMS;
  const sums = await getSmall(store, sumsKey, MAX_CHECKSUMS_BYTES, signal);
  const isOther = sums !== undefined && !sums.bytes.equals(checksums);
  if (isOther) {
    const there = { store, key: keyNow, keys, folder, sums: sums.bytes.toString('utf8'), prepare, signal };
    if (await liesOtherwise(there)) return 0;
  }
  const text = await gather(manifest.source());
  const manifestKey = folder + manifest.name;
  const known = await getSmall(store, manifestKey, text.length, signal);
  if (known === undefined) {
    if (isOther && place === 'shared' && isOfOtherForm(manifest, sums.bytes.toString('utf8'))) return undefined;
    if (isOther) throw otherContent(sumsKey);
    const condition = place === 'shared' ? 'if-absent' : undefined;
    const claimed = await store.put(manifestKey, text, { condition, signal });
    if (claimed === undefined && !(await isThere(store, manifestKey, text, signal))) return undefined;
  } else if (!known.bytes.equals(text)) {
    if (place === 'shared') return undefined;
    // What this station has begun with the key of before, and was ended in the middle of, is no backup yet.
    if (sums !== undefined || !(await isOfOtherKey(put, known.bytes))) throw otherContent(manifestKey);
    await store.put(manifestKey, text, { signal });
  }
  if (isOther) throw otherContent(sumsKey);
  const key = folder + image.name;
  const sentBytes = await putImage({ store, state, key, signal, ...image });
  if (sums === undefined) {
    await store.put(sumsKey, checksums, { condition: bucket.hasConditions ? 'if-absent' : undefined, signal });
    if (!(await isThere(store, sumsKey, checksums, signal))) throw otherContent(sumsKey);
  }
  return sentBytes;
}

/** A backup that is encrypted, where this one is not, or the other way round. */
function isOfOtherForm({ name }: Prepared, sums: string): boolean {
  const other = name === MANIFEST ? MANIFEST + ENCRYPTED : MANIFEST;
  return sums.includes(`  ${other}\n`);
}

/** Whether this is the manifest of the same backup, encrypted with another key of the fleet. */
async function isOfOtherKey({ bucket, prepare }: PutInto, bytes: Buffer): Promise<boolean> {
  const id = bytes.length < HEADER_BYTES ? undefined : keyIdOf(bytes.subarray(0, HEADER_BYTES));
  const key = bucket.keys.find((each) => each.id === id);
  return key !== undefined && (await gather((await prepare(key)).manifest.source())).equals(bytes);
}

async function isThere(store: ObjectStore, key: string, bytes: Buffer, signal: AbortSignal): Promise<boolean> {
  return (await getSmall(store, key, bytes.length, signal))?.bytes.equals(bytes) === true;
}

/** Of a name that is this backup's alone: somebody has written there who is no espd, or the store has lost bytes. */
function otherContent(key: string): EspdError {
  return new EspdError('store-damaged', `${key} in the object store is another than it should be`, {
    hint: 'Nothing is overwritten: look at it, and remove it there if it is of no use',
  });
}

async function prepareBackup(key: FleetKey | null, backup: Backup, local: LocalBackup) {
  const image = await prepareImage({ key }, backup, local);
  const manifest = await prepareSmall({ key }, backup, MANIFEST, local.manifest);
  const objects = [image, manifest];
  const checksums = key === null ? local.checksums : Buffer.from(formatChecksums(sumsOf(objects)));
  return { image, manifest, objects, checksums };
}

export async function prepareImage(
  { key }: Pick<Bucket, 'key'>,
  { mac, id }: Backup,
  local: LocalBackup,
): Promise<Prepared> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of local.imagePieces()) {
    hash.update(piece);
    sizeBytes += piece.length;
  }
  const sha256 = hash.digest('hex');
  // Before anything of it is encrypted or sent: the archive's own word decides what the backup is.
  if (sha256 !== local.imageSha256) {
    throw new EspdError('archive-damaged', `The image of backup ${id} of ${mac} differs from its digest`, {
      hint: `It is not put into the object store. espd verify --mac ${mac} says what is damaged`,
    });
  }
  const plain = { name: boundName(mac, id, local.imageFile), sizeBytes, sha256 };
  const source: Source = key === null ? () => local.imagePieces() : () => encrypt(key, plain, local.imagePieces());
  return { name: nameOf(key, local.imageFile), source, digests: await digest(source) };
}

export async function prepareSmall(
  { key }: Pick<Bucket, 'key'>,
  { mac, id }: Backup,
  file: string,
  bytes: Buffer,
): Promise<Prepared> {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const plain = { name: boundName(mac, id, file), sizeBytes: bytes.length, sha256 };
  const source: Source = async function* () {
    if (key === null) yield bytes;
    else yield* encrypt(key, plain, [bytes]);
  };
  return { name: nameOf(key, file), source, digests: await digest(source) };
}

const nameOf = (key: FleetKey | null, file: string) => (key === null ? file : file + ENCRYPTED);

export const sumsOf = (objects: readonly Prepared[]) =>
  new Map(objects.map(({ name, digests }) => [name, digests.sha256]));
