/** Words for flash that every room shares: its units, and a part of it. */

/** Smallest unit that SPI NOR flash erases, in bytes; flash sizes are multiples of it, and partitions lie on this grid. */
export const SECTOR_BYTES = 4096;

/** The larger erase unit of SPI NOR flash, in bytes, and the unit of the block digests in a manifest. */
export const BLOCK_BYTES = 65536;

/** A part of a flash or of an image, in bytes. */
export interface Region {
  readonly offset: number;
  readonly sizeBytes: number;
}
