/** The whole of a flash as parts with names, so that a change can be told by where it is. Pure. */

import { SECTOR_BYTES } from '../flash.ts';
import { bootloaderOffset } from './describe.ts';

export interface FlashRegion {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A partition as a table or a manifest lists it. */
export interface MappedPartition extends FlashRegion {
  readonly name: string;
  readonly type: string;
  readonly subtype: string;
}

export interface FlashPart extends FlashRegion {
  /** Of the partition; `bootloader`, `partition table`, or `outside any partition`. */
  readonly name: string;
  readonly kind: 'partition' | 'bootloader' | 'partition-table' | 'gap';
  /** Empty where it is no partition. */
  readonly type: string;
  readonly subtype: string;
}

/** What a {@link FlashPart} has of a set of regions. */
export interface PartShare extends FlashPart {
  /** First byte of the first of its sectors, and the byte behind the last one: others may lie between. */
  readonly from: number;
  readonly to: number;
  readonly sectors: number;
  readonly bytes: number;
}

const UNNAMED = { name: 'outside any partition', kind: 'gap', type: '', subtype: '' } as const;

/**
 * Parts that cover the flash from its first to its last byte, in order, each byte once. Whatever the table says: what
 * reaches beyond the flash is cut off, and where partitions overlap the first one has the bytes.
 *
 * @param tableOffset of the partition table, or null
 */
export function mapFlash(
  partitions: readonly MappedPartition[],
  tableOffset: number | null,
  flash: { readonly sizeBytes: number; readonly family: string },
): FlashPart[] {
  const { sizeBytes } = flash;
  const known: FlashPart[] = partitions.map((partition) => ({ ...partition, kind: 'partition' }));
  if (tableOffset !== null) {
    const loader = bootloaderOffset(flash.family);
    const table = { offset: tableOffset, sizeBytes: SECTOR_BYTES };
    known.push({ ...UNNAMED, ...table, name: 'partition table', kind: 'partition-table' });
    if (loader < tableOffset) {
      const place = { offset: loader, sizeBytes: tableOffset - loader };
      known.push({ ...UNNAMED, ...place, name: 'bootloader', kind: 'bootloader' });
    }
  }
  known.sort((a, b) => a.offset - b.offset);

  const parts: FlashPart[] = [];
  let at = 0;
  for (const part of known) {
    const [start, end] = [Math.max(part.offset, at), Math.min(part.offset + part.sizeBytes, sizeBytes)];
    if (end <= start) continue;
    if (start > at) parts.push({ ...UNNAMED, offset: at, sizeBytes: start - at });
    const { name, kind, type, subtype } = part;
    parts.push({ name, kind, type, subtype, offset: start, sizeBytes: end - start });
    at = end;
  }
  if (at < sizeBytes) parts.push({ ...UNNAMED, offset: at, sizeBytes: sizeBytes - at });
  return parts;
}

/** The part that holds the byte at `offset`; undefined beyond the flash. */
export function partAt(parts: readonly FlashPart[], offset: number): FlashPart | undefined {
  return parts.find((part) => offset >= part.offset && offset < part.offset + part.sizeBytes);
}

/** How the sectors of `regions` fall on `parts`: a sector belongs to the part that has its first byte. */
export function sharesOf(parts: readonly FlashPart[], regions: readonly FlashRegion[]): PartShare[] {
  const found = new Map<FlashPart, { sectors: number; from: number; to: number }>();
  let index = 0;
  for (const region of regions) {
    for (let at = region.offset; at < region.offset + region.sizeBytes; at += SECTOR_BYTES) {
      // Regions come in order, so the parts are walked through once.
      let part = parts[index];
      while (part !== undefined && at >= part.offset + part.sizeBytes) part = parts[++index];
      if (part === undefined || at < part.offset) continue;
      const share = found.get(part);
      found.set(part, { sectors: (share?.sectors ?? 0) + 1, from: share?.from ?? at, to: at + SECTOR_BYTES });
    }
  }
  return [...found].map(([part, share]) => ({ ...part, ...share, bytes: share.sectors * SECTOR_BYTES }));
}
