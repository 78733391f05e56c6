/** What is in a backup, as `contents` and the API tell it. */

import { checkedImage } from '../archive/checked-image.ts';
import type { Archive, Backup } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import { takeInventory } from '../firmware/inventory.ts';
import { BLOCK_BYTES } from '../flash.ts';
import type { ContentsDocument } from './contents-document.ts';
import { flashCells } from './flash-cells.ts';

export interface ContentsParts {
  readonly archive: Archive;
  readonly signal: AbortSignal;
}

/**
 * The document of `contents --json`. Each block is held against the manifest as it is read.
 * @throws EspdError `archive-damaged`, and as {@link Archive.openImage}; the signal's reason
 */
export async function contentsDocument(
  { archive, signal }: ContentsParts,
  backup: Backup,
  { reveal }: { readonly reveal: boolean },
): Promise<ContentsDocument> {
  const { mac, id, manifest } = backup;
  const { sizeBytes } = manifest.image;
  const before = await backupBefore(archive, backup);
  const cells = flashCells({
    ...{ sizeBytes, digests: manifest.blocks.sha256 },
    before: before === null ? null : { digests: before.manifest.blocks.sha256 },
  });
  const image = checkedImage(backup, (one) => archive.openImage(one));
  try {
    const source = {
      read: (offset: number, length: number) => image.read(offset, length),
      ...{ sizeBytes, family: manifest.chip.family, encrypted: manifest.security?.flashEncryption === true },
    };
    const inventory = await takeInventory(source, { reveal, signal });
    return {
      ...{ mac, id, sizeBytes, before: before && { id: before.id } },
      ...{ map: { blockBytes: BLOCK_BYTES, cells }, ...inventory },
    };
  } finally {
    await image.close();
  }
}

/** The newest sound backup of the board before this one. @throws EspdError as {@link Archive.backupIds} */
export async function backupBefore(archive: Archive, { mac, id }: Pick<Backup, 'mac' | 'id'>): Promise<Backup | null> {
  const earlier = (await archive.backupIds(mac)).filter((other) => other < id);
  for (const other of earlier.toReversed()) {
    try {
      return await archive.resolveBackup(mac, other);
    } catch (error) {
      // One that is damaged, or was removed at this moment, is none to compare with.
      if (!(error instanceof EspdError)) throw error;
    }
  }
  return null;
}
