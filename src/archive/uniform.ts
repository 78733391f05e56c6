/** Flash that holds one byte all over, and its digests. */

import { createHash } from 'node:crypto';

/** Hashed at a time. */
const PIECE_BYTES = 64 * 1024;

/** Erased flash reads 0xFF. */
export const BLANK = 0xff;
export const ZERO = 0x00;
/** What flash holds where nothing was written, or zeros were. */
export const UNIFORM_BYTES = [BLANK, ZERO] as const;

/** Sizes come out of recordings, too. */
const MAX_REMEMBERED = 1000;
const uniform = new Map<string, string>();

/** MD5 of `sizeBytes` times `byte`, lower-case hex; remembered, since few sizes are ever asked for. */
export function uniformDigest(byte: typeof BLANK | typeof ZERO, sizeBytes: number): string {
  const key = `${byte}/${sizeBytes}`;
  let digest = uniform.get(key);
  if (digest === undefined) {
    const hash = createHash('md5');
    const piece = Buffer.alloc(Math.min(sizeBytes, PIECE_BYTES), byte);
    for (let left = sizeBytes; left > 0; left -= piece.length) hash.update(piece.subarray(0, left));
    digest = hash.digest('hex');
    if (uniform.size < MAX_REMEMBERED) uniform.set(key, digest);
  }
  return digest;
}
