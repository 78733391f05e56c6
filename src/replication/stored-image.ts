/** The flash image of a backup in a bucket, read piece by piece without fetching the rest. */

import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type Packing, inflate, packingOf } from '../archive/compression.ts';
import { readFully, writeAll } from '../archive/disk.ts';
import { toWriteError } from '../archive/disk-faults.ts';
import { checkRange } from '../archive/image.ts';
import type { Manifest } from '../archive/manifest.ts';
import type { ImageReader } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import { BLOCK_BYTES } from '../flash.ts';
import {
  type ReadableBucket,
  type StoredFolder,
  type StoredPlace,
  damagedBackup,
  openStoredFolder,
} from './stored-folder.ts';
import type { StoredObject } from './stored-object.ts';

/** Of what is known of a backup in a store: which, where, and by which digests its image is judged. */
export interface StoredImage extends StoredPlace {
  readonly manifest: Manifest;
}

/**
 * Every block of 64 KiB is compared with its digest in `stored.manifest` before a byte of it is given, so reads that begin
 * and end with blocks ask for no byte too much. A compressed image is fetched as a whole, once, into a file without a name.
 *
 * `read` throws EspdError `store-damaged` where a block is not what the manifest says, and what the store throws.
 *
 * @param signal ends what is under way, now and in every later read
 */
export async function openStoredImage(
  bucket: ReadableBucket,
  stored: StoredImage,
  signal?: AbortSignal,
): Promise<ImageReader> {
  return openImageIn(await openStoredFolder(bucket, stored, signal), stored, signal);
}

/** The same of a folder that is open already. */
export async function openImageIn(
  folder: StoredFolder,
  stored: StoredImage,
  signal?: AbortSignal,
): Promise<ImageReader> {
  const { file, sizeBytes } = stored.manifest.image;
  if (folder.imageFile !== file) throw damagedBackup(stored, `it holds ${folder.imageFile} in the place of ${file}`);
  const object = await folder.openImage(signal);
  const packing = packingOf(file);
  if (packing !== null) return inflated(stored, object, packing, folder.imageSha256, signal);
  if (object.sizeBytes !== sizeBytes) {
    throw damagedBackup(stored, `${file} has ${object.sizeBytes} bytes where ${sizeBytes} belong`);
  }
  return new BlockReader(stored, (offset, length) => object.read(offset, length, signal));
}

/** Gives bytes only in blocks that are what the manifest says. */
class BlockReader implements ImageReader {
  readonly sizeBytes: number;
  readonly #stored: StoredImage;
  readonly #fetch: (offset: number, length: number) => Promise<Buffer>;
  readonly #close: () => Promise<void>;

  constructor(
    stored: StoredImage,
    fetch: (offset: number, length: number) => Promise<Buffer>,
    close = () => Promise.resolve(),
  ) {
    this.#stored = stored;
    this.#fetch = fetch;
    this.#close = close;
    this.sizeBytes = stored.manifest.image.sizeBytes;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.sizeBytes);
    if (length === 0) return Buffer.alloc(0);
    const first = Math.floor(offset / BLOCK_BYTES);
    const start = first * BLOCK_BYTES;
    const end = Math.min(this.sizeBytes, Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES);
    const bytes = await this.#fetch(start, end - start);
    for (let at = start; at < end; at += BLOCK_BYTES) {
      const block = bytes.subarray(at - start, Math.min(end, at + BLOCK_BYTES) - start);
      if (this.#isSound(block, at)) continue;
      // What came wrong over the network comes right the second time.
      const again = await this.#fetch(at, block.length);
      if (!this.#isSound(again, at)) throw this.#damaged(at);
      again.copy(block);
    }
    return bytes.subarray(offset - start, offset - start + length);
  }

  close(): Promise<void> {
    return this.#close();
  }

  #isSound(block: Buffer, offset: number): boolean {
    const digest = this.#stored.manifest.blocks.sha256[offset / BLOCK_BYTES];
    return createHash('sha256').update(block).digest('hex') === digest;
  }

  #damaged(offset: number): Error {
    const { file } = this.#stored.manifest.image;
    return damagedBackup(this.#stored, `${file} at 0x${offset.toString(16)} is not what the manifest says`);
  }
}

async function inflated(
  stored: StoredImage,
  object: StoredObject,
  packing: Packing,
  sha256: string,
  signal: AbortSignal | undefined,
): Promise<ImageReader> {
  const { file, sizeBytes } = stored.manifest.image;
  const packed = await readPacked(stored, object, sha256, { signal });
  const handle = await openNameless();
  try {
    let position = 0;
    await inflate(packing, Readable.from(packed), sizeBytes, async (chunk) => {
      await writeAll(handle, chunk, position).catch((error: unknown) => {
        throw toWriteError(error, tmpdir());
      });
      position += chunk.length;
    }).catch((error: unknown) => {
      throw error instanceof EspdError ? error : damagedBackup(stored, `${file} cannot be unpacked`, error);
    });
    if (position !== sizeBytes)
      throw damagedBackup(stored, `${file} holds ${position} bytes where ${sizeBytes} belong`);
  } catch (error) {
    await handle.close();
    throw error;
  }
  const fetch = async (offset: number, length: number) => {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, await readFully(handle, bytes, offset));
  };
  return new BlockReader(stored, fetch, () => handle.close());
}

/**
 * A compressed image as it is stored, in pieces: no longer than a flash, so it has room in memory, and nothing of it is
 * unpacked or written before its digest is known to be right.
 */
export async function readPacked(
  stored: StoredImage,
  object: StoredObject,
  sha256: string,
  { signal, onRead }: { readonly signal?: AbortSignal | undefined; readonly onRead?: (bytes: number) => void } = {},
): Promise<readonly Buffer[]> {
  const { file, sizeBytes } = stored.manifest.image;
  // What packing can make longer at most: nobody's memory is filled by an object that lies.
  if (object.sizeBytes === 0 || object.sizeBytes > sizeBytes + sizeBytes / 64 + BLOCK_BYTES) {
    throw damagedBackup(stored, `${file} has ${object.sizeBytes} bytes for an image of ${sizeBytes}`);
  }
  // What came wrong over the network comes right the second time.
  for (let tries = 0; tries < 2; tries++) {
    const pieces: Buffer[] = [];
    const take = (content: Buffer) => {
      pieces.push(content);
      onRead?.(content.length);
    };
    if ((await object.readAll(take, signal)) === sha256) return pieces;
  }
  throw damagedBackup(stored, `${file} differs from its digest`);
}

async function openNameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `espd.${randomBytes(8).toString('hex')}`);
  try {
    const handle = await open(path, 'wx+', 0o600);
    await unlink(path);
    return handle;
  } catch (error) {
    throw toWriteError(error, tmpdir());
  }
}
