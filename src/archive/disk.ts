/**
 * The archive's way to the disk: modes, fsync, and renames that replace nothing.
 *
 * {@link FileSystem} is all that the archive asks of the system, so that tests can let every single call fail.
 */

import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCode } from '../errors.ts';
import { hasNoInodes } from './inodes.ts';
import { giveFileToOwner, giveToOwner } from './state-owner.ts';
import type { Logger } from '../log.ts';
import { takingTurns } from './turns.ts';
import type { DiskTurns, FileSystem, ReadFile } from './turns.ts';

export type { FileSystem } from './turns.ts';

/**
 * Bytes read, hashed or written in one go. Small enough that hashing one chunk three times over stays below 50 ms of
 * the event loop on a processor with 20 MB/s of SHA-256, large enough that calls do not count.
 */
export const CHUNK_BYTES = 256 * 1024;

// A FIFO in the place of a file would block an opening without O_NONBLOCK for ever. (Windows knows neither flag.)
const SAFELY = constants.O_NOFOLLOW | constants.O_NONBLOCK;
// Whatever is there already, a link and what it leads to included, is somebody else's and stays as it is.
const NEW = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | SAFELY;

export interface DiskOptions {
  readonly fs: FileSystem;
  readonly log: Logger;
  readonly directoryMode: number;
  readonly fileMode: number;
  /** Default: those that all archives of the process share. */
  readonly turns?: DiskTurns | undefined;
}

export class Disk {
  readonly fs: FileSystem;
  readonly #options: DiskOptions;
  #warnedOfModes = false;

  constructor(options: DiskOptions) {
    this.fs = takingTurns(options.fs, options.turns);
    this.#options = options;
  }

  /** The same way to the disk, with turns of its own. */
  withTurns(turns: DiskTurns): Disk {
    return new Disk({ ...this.#options, turns });
  }

  /** Makes a folder and, where they are missing, those above it, each fsynced into its parent. False: it was there. */
  async makeFolder(path: string): Promise<boolean> {
    const toSync = await this.makeFolderUnsynced(path);
    for (const folder of toSync) await this.syncFolder(folder);
    return toSync.length > 0;
  }

  /** The same, but leaves the fsyncs to the caller: those folders in which one was made, the uppermost first. */
  async makeFolderUnsynced(path: string): Promise<string[]> {
    const parent = dirname(path);
    const outcome = await this.makeOneFolder(path);
    if (outcome === 'made') return [parent];
    if (outcome === 'there') return [];
    const above = await this.makeFolderUnsynced(parent);
    const again = await this.makeOneFolder(path);
    if (again === 'no parent') throw Object.assign(new Error(`${parent} is missing`), { code: 'ENOENT' });
    return again === 'made' ? [...above, parent] : above;
  }

  /**
   * Makes a folder, but none above it, and leaves it to the system when it comes to the disk. What is there may be
   * anything, a link too.
   */
  async makeOneFolder(path: string): Promise<'made' | 'there' | 'no parent'> {
    try {
      await this.#creating(path, () => this.fs.mkdir(path, { mode: this.#options.directoryMode }));
    } catch (error) {
      if (systemCode(error) === 'EEXIST') return 'there';
      if (systemCode(error) === 'ENOENT') return 'no parent';
      throw error;
    }
    await this.#setMode(path, this.#options.directoryMode, {
      stat: () => this.fs.stat(path),
      chmod: (mode) => this.fs.chmod(path, mode),
    });
    await giveToOwner(path);
    return 'made';
  }

  /** Puts the names in a folder on the disk. Nothing where the system has no such call. */
  async syncFolder(path: string): Promise<void> {
    if (process.platform === 'win32') return; // a folder cannot be opened there
    const handle = await this.fs.open(path, constants.O_RDONLY);
    try {
      await handle.sync();
    } catch (error) {
      // fsync(2): EINVAL where the file system (some FUSE and SMB ones) does not support it for folders.
      if (!['EINVAL', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error;
    } finally {
      await handle.close();
    }
  }

  /**
   * Opens a new file for reading and writing, with the archive's mode whatever the umask. Nothing that is there is
   * opened, replaced or followed (`EEXIST`).
   */
  async createFile(path: string): Promise<FileHandle> {
    const handle = await this.#creating(path, () => this.fs.open(path, NEW, this.#options.fileMode));
    await giveFileToOwner(handle, path);
    return this.#withMode(handle);
  }

  /** Opens a file that was just made as a clone, for reading and writing, and gives it the archive's mode. */
  async openClone(path: string): Promise<FileHandle> {
    const handle = await this.fs.open(path, constants.O_RDWR | SAFELY);
    await giveFileToOwner(handle, path);
    return this.#withMode(handle);
  }

  /** Opens a regular file to append to, and to read; makes it where it is missing. A symbolic link is refused. */
  async openToAppend(path: string): Promise<FileHandle> {
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | SAFELY;
    const handle = await this.#creating(path, () => this.fs.open(path, flags, this.#options.fileMode));
    await closedOnFailure(handle, async () => refuseOtherThanFile(await handle.stat()));
    await giveFileToOwner(handle, path);
    return this.#withMode(handle);
  }

  /**
   * Writes a whole file and puts its content on the disk. Whatever had the name before loses it first, and is not
   * written to: a link that somebody planted leads to a file that is none of espd's.
   */
  async writeFile(path: string, content: string | Buffer): Promise<void> {
    await this.fs.rm(path, { force: true });
    const handle = await this.createFile(path);
    try {
      await writeAll(handle, typeof content === 'string' ? Buffer.from(content) : content, 0);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  /** Opens a regular file; follows no symbolic link, waits for no FIFO. The failure has a system code. */
  async openToRead(path: string): Promise<{ handle: ReadFile; sizeBytes: number; stats: Stats }> {
    const flags = constants.O_RDONLY | SAFELY;
    const handle = await (this.fs.openToRead?.(path, flags) ?? this.fs.open(path, flags));
    return closedOnFailure(handle, async () => {
      const stats = await handle.stat();
      refuseOtherThanFile(stats);
      return { handle, sizeBytes: stats.size, stats };
    });
  }

  /** A whole small file; one beyond `maxBytes` is not read (`EFBIG`). */
  async readSmall(path: string, maxBytes: number): Promise<Buffer> {
    return (await this.readSmallWithStats(path, maxBytes)).bytes;
  }

  /** The same, and what the file was before it was read. */
  async readSmallWithStats(path: string, maxBytes: number): Promise<{ bytes: Buffer; stats: Stats }> {
    const { handle, sizeBytes, stats } = await this.openToRead(path);
    try {
      if (sizeBytes > maxBytes) throw Object.assign(new Error('is too large'), { code: 'EFBIG' });
      const bytes = Buffer.alloc(sizeBytes);
      return { bytes: bytes.subarray(0, await readFully(handle, bytes, 0)), stats };
    } finally {
      await handle.close();
    }
  }

  async exists(path: string): Promise<boolean> {
    return (await this.lstat(path)) !== undefined;
  }

  /** What is there, symbolic links not followed; undefined for nothing. */
  async lstat(path: string): Promise<Stats | undefined> {
    try {
      return await this.fs.lstat(path);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Whether a name stands for an open file. All digits of the inode's number count: as long as it is open, no other file has it. */
  async isNamed(path: string, handle: FileHandle): Promise<boolean> {
    const { ino } = await handle.stat({ bigint: true });
    try {
      return (await this.fs.lstat(path, { bigint: true })).ino === ino;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return false;
      throw error;
    }
  }

  /**
   * Renames a folder, unless something has the new name: false then. rename(2) refuses to replace a folder that holds
   * anything and never puts a folder in a file's place; an empty folder it would replace, so one is looked for first.
   */
  async renameToNew(from: string, to: string): Promise<boolean> {
    if (await this.exists(to)) return false;
    try {
      await this.fs.rename(from, to);
      return true;
    } catch (error) {
      if (await this.exists(to)) return false; // another process was faster
      throw error;
    }
  }

  /** Runs what makes a file or folder; a full disk that has bytes left, but no inode for it, is told by its error. */
  async #creating<T>(path: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const isFull = systemCode(error) === 'ENOSPC' && (await this.#lacksInodes(dirname(path)));
      throw isFull ? Object.assign(error as Error, { lacksInodes: true }) : error;
    }
  }

  async #lacksInodes(folder: string): Promise<boolean> {
    try {
      return hasNoInodes(await this.fs.statfs(folder));
    } catch {
      return false; // then the disk is full, whatever of
    }
  }

  #withMode(handle: FileHandle): Promise<FileHandle> {
    return closedOnFailure(handle, async () => {
      await this.#setMode('', this.#options.fileMode, handle);
      return handle;
    });
  }

  /** The umask can only have taken bits away until now. Set-group-id bits, inherited from the parent, are kept. */
  async #setMode(
    path: string,
    wanted: number,
    of: { stat(): Promise<Stats>; chmod(mode: number): Promise<void> },
  ): Promise<void> {
    const { mode } = await of.stat();
    if ((mode & 0o777) === (wanted & 0o777)) return;
    try {
      await of.chmod((mode & 0o7000) | wanted);
    } catch (error) {
      // FAT and some network file systems have one mode for everything, set where they are mounted.
      if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(systemCode(error) ?? '')) throw error;
      if (!this.#warnedOfModes) this.#options.log.warn('the file system of the archive keeps no modes', { path });
      this.#warnedOfModes = true;
    }
  }
}

async function closedOnFailure<T>(handle: ReadFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function refuseOtherThanFile(stats: Stats): void {
  if (!stats.isFile()) throw Object.assign(new Error('is no regular file'), { code: 'EISDIR' });
}

/** Writes all of `bytes` at `position`; the system may take less at a time, most of all when the disk runs full. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** Fills `bytes` from `position` on; the count is smaller where the file ends before. */
export async function readFully(handle: ReadFile, bytes: Uint8Array, position: number): Promise<number> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

/** The content of a file from its beginning, in chunks, each in memory of its own. */
export async function* readChunks(
  handle: ReadFile,
  signal?: AbortSignal,
  chunkBytes = CHUNK_BYTES,
): AsyncGenerator<Buffer> {
  for (let position = 0; ;) {
    signal?.throwIfAborted();
    const chunk = Buffer.allocUnsafe(chunkBytes);
    const length = await readFully(handle, chunk, position);
    if (length > 0) yield chunk.subarray(0, length);
    if (length < chunkBytes) return;
    position += length;
  }
}
