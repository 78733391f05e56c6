/** Compressed images in pieces, in constant memory, wherever the bytes come from and go to: gzip, and zstd. */

import { createHash } from 'node:crypto';
import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import * as zlib from 'node:zlib';
import type { Logger } from '../log.ts';
import { inflateZstd } from './zstd.ts';

/** How a stored image is compressed. */
export type Packing = 'gzip' | 'zstd';
/** How new images are to be stored. */
export type Compression = 'none' | Packing;

/** Node has it since 22.15 and 23.8 (doc/api/zlib.md); its types here are those of Node 20. */
type CreateZstdCompress = (options: { params: Record<number, number> }) => Transform;
const { createZstdCompress } = zlib as { createZstdCompress?: CreateZstdCompress };
/** zstd.h: ZSTD_c_compressionLevel, where 3 is zstd's own default; and ZSTD_c_checksumFlag. */
const ZSTD_PARAMS = { 100: 3, 201: 1 };

/** Whether this Node can compress with zstd. Reading it works on each. */
export const CAN_WRITE_ZSTD = createZstdCompress !== undefined;

/**
 * What new images are stored with: gzip in the place of zstd where this Node has none, which is warned of. A service that
 * worked yesterday must not stop because Node was replaced.
 */
export function usableCompression(wanted: Compression, log: Logger, canWriteZstd = CAN_WRITE_ZSTD): Compression {
  if (wanted !== 'zstd' || canWriteZstd) return wanted;
  log.warn('This Node has no zstd (Node 22.15 has): new images are compressed with gzip', { node: process.version });
  return 'gzip';
}

/** By the name of a stored image; null: it is the image itself. */
export function packingOf(file: string): Packing | null {
  if (file.endsWith('.gz')) return 'gzip';
  return file.endsWith('.zst') ? 'zstd' : null;
}

/** Compresses; the SHA-256 of the compressed bytes. `zstd` only where {@link CAN_WRITE_ZSTD}. */
export async function deflate(
  packing: Packing,
  from: AsyncIterable<Uint8Array>,
  take: (chunk: Buffer) => Promise<void>,
): Promise<string> {
  const sha256 = createHash('sha256');
  await pipeline(from, compressor(packing), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      sha256.update(chunk);
      await take(chunk);
    }
  });
  return sha256.digest('hex');
}

function compressor(packing: Packing): Transform {
  if (packing === 'gzip') return zlib.createGzip();
  if (createZstdCompress === undefined) throw new TypeError('this Node has no zstd');
  return createZstdCompress({ params: ZSTD_PARAMS });
}

/**
 * Hands out what a compressed stream holds. The failure has a code: that of the system, of zlib or of
 * {@link inflateZstd}; `EFBIG` when there is more than `maxBytes`.
 */
export async function inflate(
  packing: Packing,
  from: AsyncIterable<Uint8Array>,
  maxBytes: number,
  take: (chunk: Buffer) => void | Promise<void>,
): Promise<void> {
  if (packing === 'zstd') return inflateZstd(from, maxBytes, take);
  let sizeBytes = 0;
  await pipeline(from, zlib.createGunzip(), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBytes) throw Object.assign(new Error('is too large'), { code: 'EFBIG' });
      await take(chunk);
    }
  });
}
