/** The files of a backup in the archive, as they go into a bucket: only what its SHA256SUMS proves. */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseChecksums } from '../archive/checksums.ts';
import type { Backup } from '../archive/types.ts';
import { EspdError, systemCode } from '../errors.ts';
import { createHash } from 'node:crypto';

export const MANIFEST = 'manifest.json';
export const CHECKSUMS = 'SHA256SUMS';
const MAX_MANIFEST_BYTES = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

export interface LocalBackup {
  readonly manifest: Buffer;
  /** As the file says it. */
  readonly checksums: Buffer;
  /** `flash.bin` or what it is packed as. */
  readonly imageFile: string;
  readonly imageBytes: number;
  /** By SHA256SUMS; {@link imagePieces} must be hashed to know. */
  readonly imageSha256: string;
  imagePieces(): AsyncGenerator<Buffer, void, undefined>;
  close(): Promise<void>;
}

/** @throws EspdError `archive-damaged`, `archive-unreadable`, `archive-unknown-backup` where it is gone meanwhile */
export async function openLocalBackup({ path, mac, id, manifest }: Backup): Promise<LocalBackup> {
  const imageFile = manifest.image.file;
  const damaged = (problem: string) =>
    new EspdError('archive-damaged', `Backup ${id} of ${mac} is not put into the object store: ${problem}`, {
      hint: `espd verify --mac ${mac} says what is damaged`,
    });
  let image: FileHandle | undefined;
  try {
    const manifestBytes = await readSmall(join(path, MANIFEST));
    const checksums = await readSmall(join(path, CHECKSUMS));
    const sums = parseChecksums(checksums.toString('utf8'));
    const imageSha256 = sums?.get(imageFile);
    if (sums?.size !== 2 || imageSha256 === undefined) throw damaged(`${CHECKSUMS} does not list its files`);
    if (sums.get(MANIFEST) !== createHash('sha256').update(manifestBytes).digest('hex')) {
      throw damaged(`${MANIFEST} differs from its digest`);
    }
    image = await open(join(path, imageFile), constants.O_RDONLY | constants.O_NOFOLLOW);
    const facts = await image.stat();
    if (!facts.isFile()) throw damaged(`${imageFile} is no file`);
    const file = image;
    return {
      ...{ manifest: manifestBytes, checksums, imageFile, imageSha256, imageBytes: facts.size },
      imagePieces: () => pieces(file, facts.size, damaged),
      close: () => file.close(),
    };
  } catch (error) {
    await image?.close();
    if (error instanceof EspdError) throw error;
    const reason = systemCode(error);
    if (reason === 'ENOENT') {
      throw new EspdError('archive-unknown-backup', `Backup ${id} of ${mac} is not there any more`, { cause: error });
    }
    throw new EspdError('archive-unreadable', `Backup ${id} of ${mac} cannot be read (${reason})`, {
      hint: 'Run espd as the user that owns the archive',
      cause: error,
    });
  }
}

async function readSmall(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    if (size > MAX_MANIFEST_BYTES) throw Object.assign(new Error(`${path} is too long`), { code: 'EFBIG' });
    const bytes = Buffer.alloc(size);
    const { bytesRead } = await file.read(bytes, 0, size, 0);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function* pieces(file: FileHandle, sizeBytes: number, damaged: (problem: string) => EspdError) {
  for (let at = 0; at < sizeBytes;) {
    const piece = Buffer.alloc(Math.min(PIECE_BYTES, sizeBytes - at));
    const { bytesRead } = await file.read(piece, 0, piece.length, at);
    if (bytesRead === 0) throw damaged('its image became shorter');
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}
