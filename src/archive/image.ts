/** Stored images: plain, or through gzip; both read at random places in constant memory. */

import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EspdError, systemCode } from '../errors.ts';
import { readChunks, readFault, readFully, toWriteError, writeAll } from './disk.ts';
import type { Disk } from './disk.ts';
import { inflate } from './gzip.ts';
import type { ImageReader } from './types.ts';

export const PLAIN_IMAGE = 'flash.bin';
export const GZIP_IMAGE = 'flash.bin.gz';

/**
 * Opens a stored image, plain or gzip by the name of the file. What is inflated goes once into a file without a name:
 * beside the backup, or where that may not be written into the system's folder for temporary files.
 *
 * @param path of the image
 * @param temporaryPath for the inflated image, a name that `begin` clears away should the process die at once
 * @throws EspdError `archive-damaged`, `archive-unreadable`; `disk-full` while inflating
 */
export async function openStoredImage(
  disk: Disk,
  path: string,
  sizeBytes: number,
  temporaryPath: string,
): Promise<ImageReader> {
  const stored = await reading(path, () => disk.openToRead(path));
  if (!path.endsWith('.gz')) {
    if (stored.sizeBytes === sizeBytes) return new FileImage(stored.handle, path, sizeBytes);
    await stored.handle.close();
    throw wrongSize(path, sizeBytes, stored.sizeBytes);
  }
  let inflated: FileHandle | undefined;
  try {
    inflated = await openNameless(disk, temporaryPath);
    const target = inflated;
    let position = 0;
    await reading(path, () =>
      inflate(readChunks(stored.handle), sizeBytes, async (chunk) => {
        await writing(temporaryPath, () => writeAll(target, chunk, position));
        position += chunk.length;
      }),
    );
    if (position !== sizeBytes) throw wrongSize(path, sizeBytes, position);
    return new FileImage(target, path, sizeBytes);
  } catch (error) {
    await inflated?.close();
    throw error;
  } finally {
    await stored.handle.close();
  }
}

/** The open file of an uncompressed image. `path` is what errors call it. */
export class FileImage implements ImageReader {
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  readonly #path: string;

  constructor(handle: FileHandle, path: string, sizeBytes: number) {
    this.#handle = handle;
    this.#path = path;
    this.sizeBytes = sizeBytes;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.sizeBytes);
    const bytes = Buffer.alloc(length);
    const got = await reading(this.#path, () => readFully(this.#handle, bytes, offset));
    if (got < length) throw wrongSize(this.#path, this.sizeBytes, offset + got);
    return bytes;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** Throws RangeError where a range does not lie within an image. */
export function checkRange(offset: number, length: number, sizeBytes: number): void {
  if (!isWithin(offset, length, sizeBytes)) {
    throw new RangeError(`${length} bytes at ${offset} are not within an image of ${sizeBytes} bytes`);
  }
}

export function isWithin(offset: number, length: number, sizeBytes: number): boolean {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  return whole && offset >= 0 && length >= 0 && offset + length <= sizeBytes;
}

/** A file that goes away with its handle, or with the process: its name is removed as soon as it is open. */
async function openNameless(disk: Disk, path: string): Promise<FileHandle> {
  const create = async (at: string) => {
    const handle = await disk.createFile(at);
    await disk.fs.unlink(at);
    return handle;
  };
  try {
    return await create(path);
  } catch (error) {
    if (!['EROFS', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) throw toWriteError(error, path);
    return writing(tmpdir(), () => create(join(tmpdir(), `espd.${randomBytes(8).toString('hex')}`)));
  }
}

async function reading<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, problem, hint } = readFault(error);
    throw new EspdError(code, `${path} ${problem}`, { hint: hint || VERIFY_HINT, cause: error });
  }
}

async function writing<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toWriteError(error, place);
  }
}

const VERIFY_HINT = 'Run "espd verify" for all that is damaged; the older backups of the board may be sound';

function wrongSize(path: string, expected: number, actual: number): EspdError {
  return new EspdError('archive-damaged', `${path} holds ${actual} bytes of image where ${expected} belong`, {
    hint: VERIFY_HINT,
  });
}
