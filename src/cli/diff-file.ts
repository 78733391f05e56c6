/** A file of somebody's disk as one side of `espd diff`: read in pieces, whatever it is. */

import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflate } from '../archive/compression.ts';
import { readChunks } from '../archive/disk.ts';
import type { ImageReader } from '../archive/types.ts';
import { EspdError, systemCode } from '../errors.ts';
import { printable } from './text.ts';

/** The largest flash that there is, and the most that is unpacked. */
const MAX_IMAGE_BYTES = 128 * 1024 * 1024;
/** RFC 1952, 2.3.1. */
const GZIP_MAGIC = 0x1f8b;

/**
 * Opens a flash image, plain or packed with gzip, which is unpacked to a file without a name.
 * @throws EspdError `usage` for what is no file or no image of a flash; `disk-full`
 */
export async function openImageFile(path: string): Promise<ImageReader> {
  const shown = printable(path);
  let handle: FileHandle;
  try {
    // A named pipe would wait for somebody who writes to it.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw refusal(`${shown} cannot be read: ${reasonOf(error)}`, error);
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw refusal(`${shown} is ${kindOf(stats)}, not a file with a flash image`);
    if (stats.size === 0) throw refusal(`${shown} is empty`);
    const head = Buffer.alloc(2);
    await handle.read(head, 0, 2, 0);
    if (head.readUInt16BE(0) === GZIP_MAGIC) {
      const unpacked = await unpack(handle, shown);
      await handle.close();
      return unpacked;
    }
    if (stats.size > MAX_IMAGE_BYTES) throw tooLarge(shown);
    return new FileReader(handle, stats.size, shown);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

class FileReader implements ImageReader {
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  readonly #shown: string;

  constructor(handle: FileHandle, sizeBytes: number, shown: string) {
    this.#handle = handle;
    this.sizeBytes = sizeBytes;
    this.#shown = shown;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length;) {
      const { bytesRead } = await this.#handle.read(bytes, at, length - at, offset + at).catch((error: unknown) => {
        throw refusal(`${this.#shown} cannot be read: ${reasonOf(error)}`, error);
      });
      if (bytesRead === 0) throw refusal(`${this.#shown} became shorter while it was read`);
      at += bytesRead;
    }
    return bytes;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

async function unpack(packed: FileHandle, shown: string): Promise<ImageReader> {
  const path = join(tmpdir(), `espd.${randomBytes(8).toString('hex')}`);
  const target = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await unlink(path);
    let sizeBytes = 0;
    await inflate('gzip', readChunks(packed), MAX_IMAGE_BYTES, async (chunk) => {
      await target.writeFile(chunk);
      sizeBytes += chunk.length;
    });
    if (sizeBytes === 0) throw refusal(`${shown} is empty once it is unpacked`);
    return new FileReader(target, sizeBytes, shown);
  } catch (error) {
    await target.close();
    if (error instanceof EspdError) throw error;
    const code = systemCode(error);
    if (code === 'EFBIG') throw tooLarge(shown);
    if (code === 'ENOSPC') {
      throw new EspdError('disk-full', `There is no room in ${tmpdir()} to unpack ${shown}`, {
        hint: 'Free some space, or unpack it yourself and name that file',
        cause: error,
      });
    }
    throw refusal(`${shown} cannot be unpacked: it is no gzip file, or is damaged`, error);
  }
}

function tooLarge(shown: string): EspdError {
  return refusal(`${shown} is no flash image: it has more than 128 MB, and no flash has`);
}

function refusal(message: string, cause?: unknown): EspdError {
  return new EspdError('usage', message, {
    hint: 'Name a .bin or .bin.gz file of a whole flash, as "espd backup --output" or esptool writes it',
    ...(cause === undefined ? {} : { cause }),
  });
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFIFO()) return 'a named pipe';
  return stats.isSocket() ? 'a socket' : 'a device';
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'no permission',
  ENOENT: 'there is no such file',
  ENOTDIR: 'a part of its path is no folder',
  ELOOP: 'too many symbolic links',
  // A socket.
  ENXIO: 'it is a socket or a device without anything behind it',
};

function reasonOf(error: unknown): string {
  const code = systemCode(error) ?? String(error);
  return REASONS[code] ?? code;
}
