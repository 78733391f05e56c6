/** Where a flash differs from an image, to the sector, by digests of the chip. */

import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import type { Costs } from '../esp/costs.ts';
import { inOrder, planByDigests } from './digest-plan.ts';
import { BLANK, uniformDigest } from '../archive/uniform.ts';
import { md5OfRegion } from './digests.ts';
import { type Readable, piecesOf } from './pieces.ts';

const BLANK_SECTOR = Buffer.alloc(SECTOR_BYTES, BLANK);

/** MD5 of a region of the flash, by the chip. */
export type AskDigest = (region: Region) => Promise<string>;

/**
 * The sectors within `within` that the flash holds otherwise than the image, neighbours merged. Where flash is blank,
 * the image itself tells which sectors those are.
 */
export async function differingRegions(
  within: Region,
  image: Readable,
  ask: AskDigest,
  costs: Costs,
): Promise<Region[]> {
  const at = ({ offset, sizeBytes }: Region): Region => ({ offset: within.offset + offset, sizeBytes });
  const { explained, unexplained } = await planByDigests<'same' | 'blank'>(
    within.sizeBytes,
    {
      ask: (region) => ask(at(region)),
      explain: async (region, digest) => {
        if (digest === (await imageDigest(image, at(region)))) return 'same';
        return digest === uniformDigest(BLANK, region.sizeBytes) ? 'blank' : null;
      },
      evidence: () => 'own',
    },
    { costs },
  );
  const differing = unexplained.map(at);
  for (const region of explained) if (region.by === 'blank') differing.push(...(await usedSectors(image, at(region))));
  return inOrder(differing);
}

/** Sectors of an image that are not blank, neighbours merged. */
export async function usedSectors(image: Readable, region: Region): Promise<Region[]> {
  const used: Region[] = [];
  for await (const { offset: at, bytes: block } of piecesOf(image, region, BLOCK_BYTES)) {
    for (let start = 0; start < block.length; start += SECTOR_BYTES) {
      const sector = block.subarray(start, start + SECTOR_BYTES);
      if (!sector.equals(BLANK_SECTOR.subarray(0, sector.length))) {
        used.push({ offset: at + start, sizeBytes: sector.length });
      }
    }
  }
  return inOrder(used);
}

/** MD5 of a region of an image, lower-case hex. */
export async function imageDigest(image: Readable, { offset, sizeBytes }: Region): Promise<string> {
  return md5OfRegion((at, length) => image.read(at, length), offset, sizeBytes);
}

/** The part of `region` that lies inside `other`; undefined for none. */
export function overlap(region: Region, other: Region): Region | undefined {
  const offset = Math.max(region.offset, other.offset);
  const sizeBytes = Math.min(region.offset + region.sizeBytes, other.offset + other.sizeBytes) - offset;
  return sizeBytes > 0 ? { offset, sizeBytes } : undefined;
}

/** What `regions`, in order, leave of a flash. */
export function restOf(regions: readonly Region[], sizeBytes: number): Region[] {
  const rest: Region[] = [];
  let at = 0;
  for (const region of [...regions, { offset: sizeBytes, sizeBytes: 0 }]) {
    if (region.offset > at) rest.push({ offset: at, sizeBytes: region.offset - at });
    at = region.offset + region.sizeBytes;
  }
  return rest;
}
