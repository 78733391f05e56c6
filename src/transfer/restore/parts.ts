/** Which part of the flash a restore is about: all of it, some partitions, or a range. */

import { type Region, SECTOR_BYTES } from '../../flash.ts';
import { EspdError } from '../../errors.ts';
import { hexAddress } from '../../esp/flash-read.ts';
import type { FirmwareSummary, PartitionSummary } from '../../firmware/index.ts';

/** What the person asked for. */
export type RestorePart =
  { readonly partitions: readonly string[] } | { readonly offset: number; readonly sizeBytes: number };

export interface NamedRegion extends Region {
  /** Of the partition; null for a range. */
  readonly name: string | null;
}

/**
 * The regions that `part` means, in order, whole sectors: partitions by the table of the image.
 * @throws EspdError `usage` for a name that the image does not have, or a range that is not on whole sectors inside it
 */
export function regionsOf(part: RestorePart, { partitions }: FirmwareSummary, imageBytes: number): NamedRegion[] {
  if ('offset' in part) {
    const { offset, sizeBytes } = part;
    if (offset % SECTOR_BYTES !== 0 || sizeBytes % SECTOR_BYTES !== 0 || sizeBytes === 0) {
      throw new EspdError('usage', 'Flash is written in whole sectors: --offset and --size are multiples of 0x1000');
    }
    if (offset + sizeBytes > imageBytes) {
      throw new EspdError('usage', `The range ends at ${hexAddress(offset + sizeBytes)}, beyond the image`);
    }
    return [{ name: null, offset, sizeBytes }];
  }
  return partitionRegions(part.partitions, partitions, imageBytes);
}

/**
 * The partitions of these names, in order, whole sectors, by the table of the image.
 * @throws EspdError `usage` as {@link regionsOf}
 */
export function partitionRegions(
  names: readonly string[],
  partitions: readonly PartitionSummary[],
  imageBytes: number,
): NamedRegion[] {
  const regions = [...new Set(names)].map((name) => partitionRegion(name, partitions, imageBytes));
  regions.sort((a, b) => a.offset - b.offset);
  for (const [index, region] of regions.entries()) {
    const next = regions[index + 1];
    if (next !== undefined && region.offset + region.sizeBytes > next.offset) {
      throw new EspdError(
        'usage',
        `The partitions ${region.name} and ${next.name} share sectors: name only one of them`,
      );
    }
  }
  return regions;
}

function partitionRegion(name: string, partitions: readonly PartitionSummary[], imageBytes: number): NamedRegion {
  const [found, second] = partitions.filter((partition) => partition.name === name);
  if (found === undefined) {
    const names = partitions.map((partition) => partition.name).join(', ');
    throw new EspdError('usage', `The image has no partition ${name}`, {
      hint: names === '' ? 'It has no partitions at all; use --offset and --size' : `It has: ${names}`,
    });
  }
  if (second !== undefined) {
    throw new EspdError('usage', `The image has two partitions ${name}`, { hint: 'Use --offset and --size' });
  }
  // The images of an ESP8266 end where they end; the rest of their last sector goes with them.
  const end = wholeSectors(found.offset + found.sizeBytes);
  if (found.offset % SECTOR_BYTES !== 0 || end > imageBytes || end === found.offset) {
    throw new EspdError('usage', `The partition ${name} does not lie on whole sectors of the image`, {
      hint: 'Use --offset and --size',
    });
  }
  return { name, offset: found.offset, sizeBytes: end - found.offset };
}

export function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}
