/** MD5 as chips compute it of their own flash, and what it tells of a flash. */

import { createHash } from 'node:crypto';
import { BLANK, uniformDigest } from '../archive/uniform.ts';
import { BLOCK_BYTES } from '../flash.ts';

/** Hashed at a time, so that no digest of a large region holds up the event loop. */
const PIECE_BYTES = 64 * 1024;

/** Lower-case hex, as {@link Board.digest} gives it. */
export function md5Of(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('hex');
}

/**
 * MD5 of a region, read in pieces.
 * @returns undefined where `read` gives none of a piece
 */
export async function md5OfRegion<Piece extends Buffer | undefined>(
  read: (offset: number, length: number) => Promise<Piece>,
  offset: number,
  sizeBytes: number,
): Promise<string | (Piece & undefined)> {
  const hash = createHash('md5');
  for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
    const piece = await read(offset + at, Math.min(PIECE_BYTES, sizeBytes - at));
    if (piece === undefined) return piece as Piece & undefined;
    hash.update(piece);
  }
  return hash.digest('hex');
}

/** A flash smaller than it claims answers the same again behind its real end: its halves are equal and not blank. */
export function aliasOf(blocksMd5: readonly string[]): number | null {
  const blank = uniformDigest(BLANK, BLOCK_BYTES);
  let alias: number | null = null;
  for (let half = blocksMd5.length / 2; Number.isInteger(half) && half >= 1; half /= 2) {
    const lower = blocksMd5.slice(0, half);
    const repeats = lower.every((digest, index) => digest === blocksMd5[half + index]);
    if (!repeats || lower.every((digest) => digest === blank)) break;
    alias = half * BLOCK_BYTES;
  }
  return alias;
}
