/** Where a flash differs from an image, by digests of the chip: the one place of a restore that plans by them. */

import { createHash } from 'node:crypto';
import type { ImageReader } from '../archive/types.ts';
import { type Region, blankDigest, digestLevels, planByDigests } from './digest-plan.ts';

export { blankDigest };

/** MD5 of a region of the flash, by the chip. */
export type AskDigest = (region: Region) => Promise<string>;

const SECTOR_BYTES = 4096;
const HASH_BYTES = 1024 * 1024;

/** The sectors within `within` whose digest is not that of the image, neighbours merged. */
export async function differingRegions(within: Region, image: ImageReader, ask: AskDigest): Promise<Region[]> {
  const at = ({ offset, sizeBytes }: Region): Region => ({ offset: within.offset + offset, sizeBytes });
  const { unexplained } = await planByDigests(within.sizeBytes, digestLevels(within.sizeBytes, SECTOR_BYTES), {
    ask: (offset, sizeBytes) => ask(at({ offset, sizeBytes })),
    explain: async (region, digest) => (digest === (await imageDigest(image, at(region))) ? 'same' : null),
  });
  return unexplained.map(at);
}

/** MD5 of a region of an image, lower-case hex. */
export async function imageDigest(image: ImageReader, { offset, sizeBytes }: Region): Promise<string> {
  const hash = createHash('md5');
  const end = offset + sizeBytes;
  for (let at = offset; at < end; at += HASH_BYTES) hash.update(await image.read(at, Math.min(HASH_BYTES, end - at)));
  return hash.digest('hex');
}

/** The part of `region` that lies inside `other`; undefined for none. */
export function overlap(region: Region, other: Region): Region | undefined {
  const offset = Math.max(region.offset, other.offset);
  const sizeBytes = Math.min(region.offset + region.sizeBytes, other.offset + other.sizeBytes) - offset;
  return sizeBytes > 0 ? { offset, sizeBytes } : undefined;
}
