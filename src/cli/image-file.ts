/** New files outside the archive: images for other flashers, and what is exported. Nothing is ever overwritten. */

import { randomBytes } from 'node:crypto';
import { access, constants, link, lstat, open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Archive, Backup } from '../archive/types.ts';
import { EspdError, systemCode } from '../errors.ts';
import { printable } from '../printable.ts';
import { piecesOf } from '../transfer/pieces.ts';

/** Bytes of an image that are read and written in one go. */
export const COPY_BYTES = 1024 * 1024;

/** To be asked before anything is done for it. @throws EspdError `output-exists`, `output-unwritable` */
export async function checkNewFile(path: string): Promise<void> {
  if (await exists(path)) throw existing(path);
  const folder = dirname(resolve(path));
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unwritable(path, error, `Is ${printable(folder)} a folder that you may write to?`);
  }
}

function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

function existing(path: string): EspdError {
  return new EspdError('output-exists', `${printable(path)} exists, and no file is overwritten`, {
    hint: 'Name a new file, or move the old one away',
  });
}

/**
 * Copies the image of a backup to a new file.
 *
 * @returns what went wrong, not thrown, because the backup itself is kept all the same
 */
export async function copyImage(archive: Archive, backup: Backup, path: string): Promise<EspdError | undefined> {
  try {
    const image = await archive.openImage(backup);
    try {
      const pieces = piecesOf(image, { offset: 0, sizeBytes: image.sizeBytes }, COPY_BYTES);
      await writeNewFile(path, bytesOf(pieces));
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

/**
 * Writes a file that only its owner may read. It has another name until all of it is on the disk, so that no crash leaves
 * a part of an image that looks like one; what fails leaves nothing.
 *
 * @throws EspdError `output-exists`, `output-unwritable`; what `content` throws
 */
export async function writeNewFile(path: string, content: AsyncIterable<Uint8Array | string>): Promise<void> {
  const folder = dirname(resolve(path));
  const temporary = join(folder, `.espd-${randomBytes(8).toString('hex')}.part`);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      for await (const part of content) await file.writeFile(part);
      await file.sync();
    } finally {
      await file.close();
    }
    await giveName(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    if (error instanceof EspdError || systemCode(error) === undefined || isAbort(error)) throw error;
    throw unwritable(path, error, `Is ${printable(folder)} a folder with room that you may write to?`);
  } finally {
    await rm(temporary, { force: true });
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** link(2) replaces nothing. Where a file system has no second names (FAT), it is looked for before the rename. */
async function giveName(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw existing(path);
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(systemCode(error) ?? '')) throw error;
    if (await exists(path)) throw existing(path);
    await rename(temporary, path);
  }
}

/** Best effort: the content is on the disk already, and not every system lets a folder be opened. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY).catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
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
  return new EspdError('output-unwritable', `${printable(path)} cannot be written: ${REASONS[code] ?? code}`, {
    cause,
    hint,
  });
}
