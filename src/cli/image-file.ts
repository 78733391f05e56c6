/** The image of a backup as a new file outside the archive, for other flashers. */

import type { Archive, Backup } from '../archive/types.ts';
import type { PersonFiles } from '../client/files.ts';
import { unwritable } from '../client/local-files.ts';
import { EspdError } from '../errors.ts';
import { piecesOf } from '../transfer/pieces.ts';

/** Bytes of an image that are read and written in one go. */
export const COPY_BYTES = 1024 * 1024;

/**
 * Copies the image of a backup to a new file.
 *
 * @returns what went wrong, not thrown, because the backup itself is kept all the same
 */
export async function copyImage(
  files: PersonFiles,
  archive: Archive,
  backup: Backup,
  path: string,
): Promise<EspdError | undefined> {
  try {
    const image = await archive.openImage(backup);
    try {
      const pieces = piecesOf(image, { offset: 0, sizeBytes: image.sizeBytes }, COPY_BYTES);
      await files.writeNewFile(path, bytesOf(pieces));
    } finally {
      await image.close();
    }
    return undefined;
  } catch (error) {
    if (error instanceof EspdError) return error;
    return unwritable(path, error, `The backup itself is in the archive: ${backup.path}`);
  }
}

/** The bytes of {@link piecesOf}, without their places. */
export async function* bytesOf(pieces: AsyncIterable<{ readonly bytes: Buffer }>): AsyncGenerator<Buffer> {
  for await (const { bytes } of pieces) yield bytes;
}
