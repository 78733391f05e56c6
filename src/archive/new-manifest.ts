/** Id and manifest of a new backup. Pure. */

import { BLOCK_BYTES } from '../flash.ts';
import { EspdError } from '../errors.ts';
import type { ImageDigests } from './digest.ts';
import { nextId, placedId } from './ids.ts';
import { manifestSchema, versionOf } from './manifest.ts';
import type { Manifest, ManifestContent } from './manifest.ts';

export interface StoredImage {
  readonly file: Manifest['image']['file'];
  /** Of the file as stored. */
  readonly sha256: string;
}

/**
 * The id of a backup with this content in a board's folder with entries called `names`: behind all others, or, where it
 * was imported, at its date.
 * @param spent ids of backups that were removed: what is noted of them must not be taken for a note of another one
 */
export function chooseId(
  names: readonly string[],
  { createdAt, reason }: Pick<ManifestContent, 'createdAt' | 'reason'>,
  spent: readonly string[] = [],
): string {
  try {
    const at = new Date(createdAt);
    return reason === 'imported' ? placedId([...names, ...spent], at) : nextId(names, at);
  } catch (error) {
    throw new EspdError('archive-unwritable', `No backup id is left after ${createdAt}`, {
      hint: 'A folder of the board is named by a time at the end of the calendar: move it away',
      cause: error,
    });
  }
}

/** The manifest of a new backup: what its maker knows, and what the archive adds. */
export function completeManifest(parts: {
  content: ManifestContent;
  digests: ImageDigests;
  image: StoredImage;
  createdBy: string;
  id: string;
}): Manifest {
  const { content, digests, image, createdBy, id } = parts;
  const { sizeBytes, sha256, md5, blocks } = digests;
  const stored = { file: image.file, sizeBytes, sha256, md5 };
  const manifest: Manifest = {
    formatVersion: versionOf(content, image.file),
    createdBy,
    id,
    ...content,
    image: stored,
    blocks: { sizeBytes: BLOCK_BYTES, sha256: [...blocks.sha256], md5: [...blocks.md5] },
  };
  const checked = manifestSchema.safeParse(manifest);
  if (checked.success) return checked.data;
  throw new EspdError('internal', `The manifest of a new backup is wrong: ${checked.error.message}`);
}
