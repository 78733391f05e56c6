/** Stored images: plain, or through gzip or zstd; all read at random places in constant memory. */

import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { EspdError, systemCode } from '../errors.ts';
import { inflate, packingOf } from './compression.ts';
import { readChunks, readFully, writeAll } from './disk.ts';
import { readFault, toWriteError } from './disk-faults.ts';
import type { Disk } from './disk.ts';
import type { ReadFile } from './turns.ts';
import type { ImageReader } from './types.ts';

export const PLAIN_IMAGE = 'flash.bin';
export const GZIP_IMAGE = 'flash.bin.gz';
export const ZSTD_IMAGE = 'flash.bin.zst';
/** What a stored image may be called. */
export type ImageFile = typeof PLAIN_IMAGE | typeof GZIP_IMAGE | typeof ZSTD_IMAGE;

/**
 * Opens a stored image, plain or compressed by the name of the file. What is inflated goes once into a file beside the backups,
 * or where that may not be written into the system's folder for temporary files; it is removed when the reader is closed.
 * (Removed while open, it would stay under another name on network file systems, as a foreign file.)
 *
 * @param path of the image; neither it nor the folders of its backup and board may be links
 * @param temporaryPath for the inflated image, a name that `begin` clears away should the process die before
 * @throws EspdError `archive-damaged`, `archive-unreadable`; `disk-full` while inflating
 */
export async function openStoredImage(
  disk: Disk,
  path: string,
  sizeBytes: number,
  temporaryPath: string,
): Promise<ImageReader> {
  const stored = await reading(path, async () => {
    for (const folder of [dirname(dirname(path)), dirname(path)]) await refuseLink(disk, folder);
    return disk.openToRead(path);
  });
  const packing = packingOf(path);
  if (packing === null) {
    if (stored.sizeBytes === sizeBytes) return new FileImage(stored.handle, path, sizeBytes);
    await stored.handle.close();
    throw wrongSize(path, sizeBytes, stored.sizeBytes);
  }
  let target: FileImage | undefined;
  try {
    const { handle, remove } = await openTemporary(disk, temporaryPath);
    target = new FileImage(handle, path, sizeBytes, remove);
    let position = 0;
    await reading(path, () =>
      inflate(packing, readChunks(stored.handle), sizeBytes, async (chunk) => {
        await writing(temporaryPath, () => writeAll(handle, chunk, position));
        position += chunk.length;
      }),
    );
    if (position !== sizeBytes) throw wrongSize(path, sizeBytes, position);
    return target;
  } catch (error) {
    await target?.close();
    throw error;
  } finally {
    await stored.handle.close();
  }
}

async function refuseLink(disk: Disk, folder: string): Promise<void> {
  if ((await disk.lstat(folder))?.isSymbolicLink() !== true) return;
  throw Object.assign(new Error(`${folder} is a link`), { code: 'ELOOP' });
}

/** The open file of an uncompressed image. `path` is what errors call it. */
export class FileImage implements ImageReader {
  readonly sizeBytes: number;
  readonly #handle: ReadFile;
  readonly #path: string;
  readonly #afterClose: () => Promise<void>;

  /** @param afterClose runs once the file is closed; never rejects */
  constructor(handle: ReadFile, path: string, sizeBytes: number, afterClose = () => Promise.resolve()) {
    this.#handle = handle;
    this.#path = path;
    this.sizeBytes = sizeBytes;
    this.#afterClose = afterClose;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.sizeBytes);
    const bytes = Buffer.alloc(length);
    const got = await reading(this.#path, () => readFully(this.#handle, bytes, offset));
    if (got < length) throw wrongSize(this.#path, this.sizeBytes, offset + got);
    return bytes;
  }

  async close(): Promise<void> {
    try {
      await this.#handle.close();
    } finally {
      await this.#afterClose();
    }
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

/** A new file for the content of a compressed image, and what removes it when it is closed. */
async function openTemporary(
  disk: Disk,
  path: string,
): Promise<{ handle: FileHandle; remove: (() => Promise<void>) | undefined }> {
  try {
    const handle = await disk.createFile(path);
    // What cannot be removed has the name of a draft, and is cleared by the next backup of the board.
    return { handle, remove: () => disk.fs.unlink(path).catch(() => undefined) };
  } catch (error) {
    if (!['EROFS', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) throw toWriteError(error, path);
  }
  return writing(tmpdir(), async () => {
    const elsewhere = join(tmpdir(), `espd.${randomBytes(8).toString('hex')}`);
    const handle = await disk.createFile(elsewhere);
    // Nobody would clear it there should the process die. The folder is the machine's own, where that may be done.
    await disk.fs.unlink(elsewhere);
    return { handle, remove: undefined };
  });
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
