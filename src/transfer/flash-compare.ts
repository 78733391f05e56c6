/** Where a flash differs from an image, to the sector, by digests of the chip. */

import type { Costs } from './asking.ts';
import { type Region, planByDigests } from './digest-plan.ts';
import { md5OfRegion } from './digests.ts';

/** MD5 of a region of the flash, by the chip. */
export type AskDigest = (region: Region) => Promise<string>;

/** What bytes can be had of: an image of the archive, or a draft. */
interface Readable {
  read(offset: number, length: number): Promise<Buffer>;
}

/** The sectors within `within` whose digest is not that of the image, neighbours merged. */
export async function differingRegions(
  within: Region,
  image: Readable,
  ask: AskDigest,
  costs: Costs,
): Promise<Region[]> {
  const at = ({ offset, sizeBytes }: Region): Region => ({ offset: within.offset + offset, sizeBytes });
  const { unexplained } = await planByDigests<'same'>(
    within.sizeBytes,
    {
      ask: (region) => ask(at(region)),
      explain: async (region, digest) => ((await imageDigest(image, at(region))) === digest ? 'same' : null),
      evidence: () => 'own',
    },
    { costs },
  );
  return unexplained.map(at);
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
