/** gzip streams in pieces, in constant memory, wherever the bytes come from and go to. */

import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

/** Compresses; the SHA-256 of the compressed bytes. */
export async function deflate(
  from: AsyncIterable<Uint8Array>,
  take: (chunk: Buffer) => Promise<void>,
): Promise<string> {
  const sha256 = createHash('sha256');
  await pipeline(from, createGzip(), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      sha256.update(chunk);
      await take(chunk);
    }
  });
  return sha256.digest('hex');
}

/**
 * Hands out what a gzip stream holds. The failure has a code: that of the system or of zlib, `EFBIG` when there is more
 * than `maxBytes`.
 */
export async function inflate(
  from: AsyncIterable<Uint8Array>,
  maxBytes: number,
  take: (chunk: Buffer) => void | Promise<void>,
): Promise<void> {
  let sizeBytes = 0;
  await pipeline(from, createGunzip(), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      if (sizeBytes > maxBytes) throw Object.assign(new Error('is too large'), { code: 'EFBIG' });
      await take(chunk);
    }
  });
}
