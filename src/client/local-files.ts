/** The person's files, by the system calls of this process and with its rights. */

import { randomBytes } from 'node:crypto';
import { type Stats } from 'node:fs';
import { type FileHandle, access, constants, link, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { EspdError, hasNoLinks, systemCode } from '../errors.ts';
import { printable } from '../printable.ts';
import type { FileFacts, FolderEntry, OpenFile, PersonFiles } from './files.ts';

export const localFiles: PersonFiles = { checkNewFile, writeNewFile, open: openFile, list };

async function checkNewFile(path: string): Promise<void> {
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

async function writeNewFile(path: string, content: AsyncIterable<Uint8Array | string>): Promise<void> {
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
    // Where the folder is none, there is nothing to remove, and that is said already.
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** link(2) replaces nothing. Where a file system has no second names, it is looked for before the rename. */
async function giveName(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw existing(path);
    if (!hasNoLinks(error)) throw error;
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

/** The `output-unwritable` of a failure of the system. */
export function unwritable(path: string, cause: unknown, hint: string): EspdError {
  const code = systemCode(cause) ?? String(cause);
  return new EspdError('output-unwritable', `${printable(path)} cannot be written: ${REASONS[code] ?? code}`, {
    cause,
    hint,
  });
}

async function openFile(path: string, { followLinks }: { readonly followLinks: boolean }): Promise<OpenFile> {
  // A FIFO would wait for its writer without O_NONBLOCK, and a link may lead anywhere.
  const noLink = followLinks ? 0 : constants.O_NOFOLLOW;
  return new LocalFile(await open(path, constants.O_RDONLY | noLink | constants.O_NONBLOCK));
}

/** An open file as {@link PersonFiles.open} gives it. */
export function fileOf(handle: FileHandle): OpenFile {
  return new LocalFile(handle);
}

class LocalFile implements OpenFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async stat(): Promise<FileFacts> {
    const stats = await this.#handle.stat();
    return { kind: kindOf(stats), sizeBytes: stats.size, modifiedAtMs: stats.mtimeMs };
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(bytes, filled, length - filled, offset + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

function kindOf(stats: Stats): FileFacts['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'folder';
  if (stats.isFIFO()) return 'pipe';
  return stats.isSocket() ? 'socket' : 'device';
}

async function list(path: string): Promise<readonly FolderEntry[]> {
  const entries = await readdir(path, { withFileTypes: true });
  return entries.map((entry) => ({ name: entry.name, isFolder: entry.isDirectory() }));
}
