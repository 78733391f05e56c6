/** The flash of a backup in cells of 64 KiB, by the digests of its manifest: no image is read for it. Pure. */

import { createHash } from 'node:crypto';
import { BLOCK_BYTES } from '../flash.ts';
import type { FlashCell } from './contents-document.ts';

export interface CelledImage {
  readonly sizeBytes: number;
  /** SHA-256 of each block in order, lower-case hex; the last block may be shorter. */
  readonly digests: readonly string[];
  /** Of the backup before this one; null where there is none. */
  readonly before: { readonly digests: readonly string[] } | null;
}

export function flashCells({ sizeBytes, digests, before }: CelledImage): FlashCell[] {
  const blankDigests = new Map<number, string>();
  const blankOf = (length: number): string => {
    const known = blankDigests.get(length) ?? createHash('sha256').update(Buffer.alloc(length, 0xff)).digest('hex');
    blankDigests.set(length, known);
    return known;
  };
  return digests.map((digest, index) => {
    const length = Math.max(0, Math.min(BLOCK_BYTES, sizeBytes - index * BLOCK_BYTES));
    const isBlank = digest === blankOf(length);
    if (before === null || before.digests[index] === digest) return isBlank ? 'blank' : 'data';
    return isBlank ? 'erased' : 'changed';
  });
}
