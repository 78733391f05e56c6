/** Where two images differ, to the sector. Reads both in pieces and never holds more than one of each. */

import { BLOCK_BYTES, SECTOR_BYTES } from '../../flash.ts';
import type { ReadFlash } from '../bytes.ts';
import type { FlashRegion } from '../flash-map.ts';

/** How a comparison goes on, for a caller who shows it or ends it. */
export interface Pace {
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface Stretch {
  readonly read: ReadFlash;
  /** Where the comparison begins. */
  readonly offset: number;
}

/**
 * The sectors of the first `sizeBytes` of both stretches that differ, neighbours merged, counted from the beginning of
 * the stretch. The last sector may be shorter.
 *
 * @param isSame whether block `index` of 64 KiB of the stretches is proven to be the same: then it is not read
 * @throws what a reader throws; the signal's reason
 */
export async function differingSectors(
  one: Stretch,
  other: Stretch,
  sizeBytes: number,
  isSame: (index: number) => boolean = () => false,
  { signal, onProgress }: Pace = {},
): Promise<FlashRegion[]> {
  const regions: FlashRegion[] = [];
  for (let at = 0; at < sizeBytes; at += BLOCK_BYTES) {
    signal?.throwIfAborted();
    onProgress?.(at, sizeBytes);
    if (isSame(at / BLOCK_BYTES)) continue;
    const length = Math.min(BLOCK_BYTES, sizeBytes - at);
    const [left, right] = [await one.read(one.offset + at, length), await other.read(other.offset + at, length)];
    if (left.equals(right)) continue;
    for (let start = 0; start < length; start += SECTOR_BYTES) {
      const end = Math.min(start + SECTOR_BYTES, length);
      if (!left.subarray(start, end).equals(right.subarray(start, end))) append(regions, at + start, end - start);
    }
  }
  return regions;
}

function append(regions: FlashRegion[], offset: number, sizeBytes: number): void {
  const last = regions.at(-1);
  if (last !== undefined && last.offset + last.sizeBytes === offset) {
    regions[regions.length - 1] = { offset: last.offset, sizeBytes: last.sizeBytes + sizeBytes };
  } else {
    regions.push({ offset, sizeBytes });
  }
}

/** Sectors that `regions` touch, which begin on whole ones. */
export function sectorCount(regions: readonly FlashRegion[]): number {
  return regions.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / SECTOR_BYTES), 0);
}

/** Whether a region holds nothing but 0xFF; stops reading at the first piece that does not. */
export async function isBlank(read: ReadFlash, { offset, sizeBytes }: FlashRegion, { signal }: Pace = {}) {
  const blank = Buffer.alloc(Math.min(BLOCK_BYTES, sizeBytes), 0xff);
  for (let at = 0; at < sizeBytes; at += BLOCK_BYTES) {
    signal?.throwIfAborted();
    const piece = await read(offset + at, Math.min(BLOCK_BYTES, sizeBytes - at));
    if (!piece.equals(blank.subarray(0, piece.length))) return false;
  }
  return true;
}
