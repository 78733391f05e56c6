/** Puts a large object: at once, or in parts that go on after a crash. What is put is what was hashed before. */

import { createHash } from 'node:crypto';
import { EspdError } from '../errors.ts';
import { addTo, md5Of } from '../store/digests.ts';
import { MIN_PART_BYTES, type ObjectStore, type Upload, type UploadedPart } from '../store/types.ts';
import type { ReplicationState } from './state.ts';

const PART_BYTES = MIN_PART_BYTES;

/** Made again from its beginning at each call, with the same bytes. */
export type Source = () => AsyncIterable<Uint8Array>;

/** What an object is, before a byte of it is sent. */
export interface Digests {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Of each part, in hex. */
  readonly parts: readonly string[];
  /** The ETag that a store gives it which uses MD5. */
  readonly etag: string;
}

export async function digest(source: Source): Promise<Digests> {
  const sha256 = createHash('sha256');
  const parts: string[] = [];
  let sizeBytes = 0;
  for await (const part of inParts(source())) {
    await addTo(sha256, part);
    sizeBytes += part.length;
    parts.push(await md5Of(part));
  }
  const [first = await md5Of(Buffer.alloc(0))] = parts;
  const etag = parts.length > 1 ? `${await md5Of(Buffer.from(parts.join(''), 'hex'))}-${parts.length}` : first;
  return { sizeBytes, sha256: sha256.digest('hex'), parts, etag };
}

export interface PutImage {
  readonly store: ObjectStore;
  readonly state: ReplicationState;
  readonly key: string;
  readonly digests: Digests;
  readonly source: Source;
  readonly signal: AbortSignal;
  /** What is there was read, and is damaged, whatever its ETag says. */
  readonly isWrong?: boolean;
}

/**
 * @returns how many bytes went up
 * @throws EspdError `archive-damaged` where the source is not what was hashed; as the store does
 */
export async function putImage(put: PutImage): Promise<number> {
  const { store, state, key, digests, source, signal, isWrong = false } = put;
  const there = isWrong ? undefined : await store.head(key, { signal });
  if (there?.sizeBytes === digests.sizeBytes && there.etag === digests.etag) return 0;
  if (digests.parts.length <= 1) {
    const bytes = await gather(source());
    await check(bytes, digests.parts[0] ?? (await md5Of(bytes)));
    await store.put(key, bytes, { signal });
    return bytes.length;
  }
  const etags = createHash('sha256').update(digests.parts.join()).digest('hex');
  const { upload, parts: known } = await resumed({ store, state, key, etags, signal });
  const parts: UploadedPart[] = [];
  let sentBytes = 0;
  let index = 0;
  for await (const part of inParts(source())) {
    const number = index + 1;
    await check(part, digests.parts[index++]);
    const before = known.find((each) => each.number === number);
    if (before?.etag === digests.parts[index - 1] && before?.sizeBytes === part.length) {
      parts.push(before);
      continue;
    }
    parts.push(await store.putPart(upload, number, part, { signal }));
    sentBytes += part.length;
  }
  await store.completeUpload(upload, parts, { signal });
  await state.forgetUpload(key);
  return sentBytes;
}

async function resumed({
  store,
  state,
  key,
  etags,
  signal,
}: Pick<PutImage, 'store' | 'state' | 'key' | 'signal'> & { readonly etags: string }): Promise<{
  readonly upload: Upload;
  readonly parts: readonly UploadedPart[];
}> {
  const kept = await state.upload(key);
  if (kept !== undefined) {
    const parts = kept.etags === etags ? await store.parts(kept, { signal }) : undefined;
    if (parts !== undefined) return { upload: kept, parts };
    await store.abandonUpload(kept, { signal }).catch(() => undefined);
  }
  const upload = await store.beginUpload(key, { signal });
  await state.keepUpload({ ...upload, etags });
  return { upload, parts: [] };
}

/** All bytes of what is small. */
export async function gather(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function check(part: Uint8Array, expected: string | undefined): Promise<void> {
  if ((await md5Of(part)) === expected) return;
  throw new EspdError('archive-damaged', 'An image changed while it was put into the object store', {
    hint: 'Another program writes into the archive, or memory or disk are faulty',
  });
}

/** Each but the last has {@link PART_BYTES}. The loop is left between the pieces: packets of boards come first. */
async function* inParts(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, undefined> {
  let pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of source) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes < PART_BYTES) continue;
    const whole = Buffer.concat(pieces);
    yield whole.subarray(0, PART_BYTES);
    pieces = [whole.subarray(PART_BYTES)];
    bytes -= PART_BYTES;
    await new Promise(setImmediate);
  }
  const rest = Buffer.concat(pieces);
  if (rest.length > 0) yield rest;
}
