/** What a person names of an image (partitions, a range), held against that image before any board is waited for. */

import type { Archive, Backup } from '../../archive/types.ts';
import { describeFirmware } from '../../firmware/index.ts';
import type { KeepWish } from './keep.ts';
import { type RestorePart, partitionRegions, regionsOf } from './parts.ts';

/**
 * The image has every partition that is to be written or kept, and the range lies inside it. The restore itself looks
 * again, at the bytes that it writes.
 * @throws EspdError `usage` as {@link regionsOf}; see {@link Archive.openImage}
 */
export async function guardNamed(
  archive: Archive,
  backup: Backup,
  { part, keep }: { readonly part?: RestorePart | undefined; readonly keep: KeepWish },
): Promise<void> {
  if (part === undefined && keep.names.length === 0) return;
  const image = await archive.openImage(backup);
  try {
    const read = (offset: number, length: number) => image.read(offset, length);
    const contents = await describeFirmware(read, image.sizeBytes, backup.manifest.chip.family);
    if (part !== undefined) regionsOf(part, contents, image.sizeBytes);
    partitionRegions(keep.names, contents.partitions, image.sizeBytes);
  } finally {
    await image.close();
  }
}
