/** What files save by sharing blocks. Pure. */

/** Bytes of the disk, from `offset` on. */
export interface Extent {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** How much less is in use than the extents add up to: each byte of the disk counts once. */
export function savedBytes(extents: readonly Extent[]): number {
  let saved = 0;
  let end = 0;
  for (const extent of [...extents].sort((a, b) => a.offset - b.offset)) {
    const extentEnd = extent.offset + extent.sizeBytes;
    saved += Math.max(0, Math.min(end, extentEnd) - extent.offset);
    end = Math.max(end, extentEnd);
  }
  return saved;
}
