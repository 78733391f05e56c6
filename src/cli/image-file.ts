/** The file of `backup --output`: an image outside the archive, for other flashers. */

import { access, constants, lstat, open, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Archive, Backup, ImageReader } from '../archive/types.ts';
import { EspdError, systemCode } from '../errors.ts';
import { piecesOf } from '../transfer/pieces.ts';

const COPY_BYTES = 1024 * 1024;

/** To be asked before a board is disturbed. @throws EspdError `usage` when it exists, `output-unwritable` */
export async function checkNewFile(path: string): Promise<void> {
  const exists = await lstat(path).then(
    () => true,
    () => false,
  );
  if (exists) {
    throw new EspdError('usage', `${path} exists, and no file is overwritten`, {
      hint: 'Name a new file with --output',
    });
  }
  const folder = dirname(resolve(path));
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unwritable(path, error, `Is ${folder} a folder that you may write to?`);
  }
}

/**
 * Copies the image of a backup to a new file. A half-written file would look like an image: it is removed on any
 * failure, and never replaces another.
 *
 * @returns what went wrong, not thrown, because the backup itself is kept all the same
 */
export async function copyImage(archive: Archive, backup: Backup, path: string): Promise<EspdError | undefined> {
  try {
    const image = await archive.openImage(backup);
    try {
      await writeNewFile(path, image);
    } finally {
      await image.close();
    }
    return undefined;
  } catch (error) {
    if (error instanceof EspdError) return error;
    return unwritable(path, error, `The backup itself is in the archive: ${backup.path}`);
  }
}

async function writeNewFile(path: string, image: ImageReader): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    const whole = { offset: 0, sizeBytes: image.sizeBytes };
    for await (const { bytes } of piecesOf(image, whole, COPY_BYTES)) await file.writeFile(bytes);
    await file.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'no permission',
  EEXIST: 'it exists',
  EISDIR: 'it is a folder',
  ENOENT: 'its folder does not exist',
  ENOSPC: 'no space left',
  ENOTDIR: 'its folder is none',
  EROFS: 'the file system is read-only',
};

function unwritable(path: string, cause: unknown, hint: string): EspdError {
  const code = systemCode(cause) ?? String(cause);
  return new EspdError('output-unwritable', `${path} cannot be written: ${REASONS[code] ?? code}`, { cause, hint });
}
