/** A file of somebody's disk as one side of `espd diff`: read in pieces, whatever it is. */

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflate } from '../archive/compression.ts';
import type { ImageReader } from '../archive/types.ts';
import { type FileFacts, type OpenFile, type PersonFiles, chunksOf } from '../client/files.ts';
import { fileOf } from '../client/local-files.ts';
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
export async function openImageFile(files: Pick<PersonFiles, 'open'>, path: string): Promise<ImageReader> {
  const shown = printable(path);
  let file: OpenFile;
  try {
    file = await files.open(path, { followLinks: true });
  } catch (error) {
    throw refusal(`${shown} cannot be read: ${reasonOf(error)}`, error);
  }
  try {
    const { kind, sizeBytes } = await file.stat();
    if (kind !== 'file') throw refusal(`${shown} is ${KINDS[kind]}, not a file with a flash image`);
    if (sizeBytes === 0) throw refusal(`${shown} is empty`);
    const head = await file.read(0, 2);
    if (head.length === 2 && head.readUInt16BE(0) === GZIP_MAGIC) {
      const unpacked = await unpack(file, shown);
      await file.close();
      return unpacked;
    }
    if (sizeBytes > MAX_IMAGE_BYTES) throw tooLarge(shown);
    return new FileReader(file, sizeBytes, shown);
  } catch (error) {
    await file.close();
    throw error;
  }
}

class FileReader implements ImageReader {
  readonly sizeBytes: number;
  readonly #file: OpenFile;
  readonly #shown: string;

  constructor(file: OpenFile, sizeBytes: number, shown: string) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.#shown = shown;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = await this.#file.read(offset, length).catch((error: unknown) => {
      throw refusal(`${this.#shown} cannot be read: ${reasonOf(error)}`, error);
    });
    if (bytes.length < length) throw refusal(`${this.#shown} became shorter while it was read`);
    return bytes;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

async function unpack(packed: OpenFile, shown: string): Promise<ImageReader> {
  const path = join(tmpdir(), `espd.${randomBytes(8).toString('hex')}`);
  const target = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await unlink(path);
    let sizeBytes = 0;
    await inflate('gzip', chunksOf(packed), MAX_IMAGE_BYTES, async (chunk) => {
      await target.writeFile(chunk);
      sizeBytes += chunk.length;
    });
    if (sizeBytes === 0) throw refusal(`${shown} is empty once it is unpacked`);
    return new FileReader(fileOf(target), sizeBytes, shown);
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

const KINDS: Readonly<Record<FileFacts['kind'], string>> = {
  file: 'a file',
  folder: 'a folder',
  pipe: 'a named pipe',
  socket: 'a socket',
  device: 'a device',
};

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
