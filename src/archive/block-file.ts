/**
 * The block index as a file: which blocks the newest backup of each board holds, by MD5. Derived from manifests, so its
 * format may change at will; FORMAT.md has only its name. Pure.
 *
 * One line of JSON (version, length and CRC-32 of what follows, a row a board), then the MD5s of all rows as bytes.
 */

import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { BLOCK_BYTES } from '../flash.ts';
import { macFromFolder, macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { isBackupId } from './ids.ts';
import { GZIP_IMAGE, PLAIN_IMAGE, ZSTD_IMAGE } from './image.ts';
import type { ImageFile } from './image.ts';

export const MD5_BYTES = 16;
const VERSION = 2;
/** The file of a row is its place in this list. */
const IMAGE_FILES: readonly ImageFile[] = [PLAIN_IMAGE, GZIP_IMAGE, ZSTD_IMAGE];
const LINE_FEED = 0x0a;
const MAX_IMAGE_BYTES = 1024 ** 3;

export interface NewestBackup {
  readonly id: string;
  readonly sizeBytes: number;
  readonly file: ImageFile;
  /** One after the other, {@link MD5_BYTES} each. */
  readonly md5s: Buffer;
}

export interface BoardBlocks {
  /** When the board's folder had last changed, as it was looked at; 0: look again. */
  readonly folderMs: number;
  /** Undefined: the board has no backup that can be understood. */
  readonly newest: NewestBackup | undefined;
}

const headSchema = z.object({
  version: z.literal(VERSION),
  bodyBytes: z.number().int().nonnegative(),
  crc32: z.number().int(),
  /** Board's folder, its time, backup id or '', size of the image, its file. */
  boards: z.array(
    z.tuple([
      z.string(),
      z.number(),
      z.string(),
      z.number().int().nonnegative().max(MAX_IMAGE_BYTES),
      z.number().int().nonnegative(),
    ]),
  ),
});

export function encodeBlocks(boards: ReadonlyMap<Mac, BoardBlocks>): Buffer {
  // Megabytes for a thousand boards: copied once.
  const pieces = Array.from(boards.values(), ({ newest }) => newest?.md5s ?? Buffer.alloc(0));
  const head: z.infer<typeof headSchema> = {
    version: VERSION,
    bodyBytes: pieces.reduce((sum, { length }) => sum + length, 0),
    crc32: pieces.reduce((value, piece) => crc32(piece, value), 0),
    boards: Array.from(boards, ([mac, { folderMs, newest }]) => [
      macToFolder(mac),
      folderMs,
      newest?.id ?? '',
      newest?.sizeBytes ?? 0,
      newest === undefined ? 0 : IMAGE_FILES.indexOf(newest.file),
    ]),
  };
  return Buffer.concat([Buffer.from(JSON.stringify(head) + '\n'), ...pieces]);
}

/** Undefined for everything that {@link encodeBlocks} did not write just so. */
export function decodeBlocks(bytes: Buffer): Map<Mac, BoardBlocks> | undefined {
  const end = bytes.indexOf(LINE_FEED);
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8', 0, Math.max(0, end)));
  } catch {
    return undefined;
  }
  const head = headSchema.safeParse(json);
  const body = bytes.subarray(end + 1);
  if (!head.success || head.data.bodyBytes !== body.length || head.data.crc32 !== crc32(body)) return undefined;
  const boards = new Map<Mac, BoardBlocks>();
  let at = 0;
  for (const [folder, folderMs, id, sizeBytes, fileIndex] of head.data.boards) {
    const mac = macFromFolder(folder);
    if (mac === undefined || (id !== '' && !isBackupId(id))) return undefined;
    const length = blockCount(sizeBytes) * MD5_BYTES;
    const md5s = body.subarray(at, at + length);
    if (md5s.length !== length) return undefined;
    at += length;
    const file = IMAGE_FILES[fileIndex];
    if (file === undefined) return undefined;
    boards.set(mac, { folderMs, newest: id === '' ? undefined : { id, sizeBytes, file, md5s } });
  }
  return at === body.length ? boards : undefined;
}

export function blockCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES);
}
