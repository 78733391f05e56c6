/**
 * What tells a file that has only grown from one that went back and has grown again, perhaps to the same length: the digest of
 * what stands before a place in it. Lines bear their times, so none is there twice. Pure.
 */

import { createHash } from 'node:crypto';

/** A line of most files; of a longer one its end. */
export const TAIL_BYTES = 512;

/** @param before what stands before the place, at least {@link TAIL_BYTES} of it where there is so much */
export function tailOf(before: Uint8Array): string {
  if (before.length === 0) return '';
  return createHash('sha256').update(before.subarray(-TAIL_BYTES)).digest('hex').slice(0, 16);
}
