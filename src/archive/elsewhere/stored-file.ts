/** The lines of elsewhere.jsonl as they stand in a file. */

import { join } from 'node:path';
import { systemCode } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { readFully } from '../disk.ts';
import type { Disk } from '../disk.ts';
import { LatestLines } from './latest-lines.ts';
import { MAX_LINE_BYTES, readStoredClaim } from './stored-lines.ts';

const CHUNK_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/** What was read of a file. */
export interface StoredFile {
  readonly lines: LatestLines;
  /** Lines that are none of this board, or that this espd does not understand; the empty ones are left out. */
  readonly others: readonly Buffer[];
  /** One was too long to be kept, or to be any. */
  readonly hasTooLong: boolean;
  /** Behind the last line that is ended. */
  readonly nextByte: number;
}

/** Of no file there is nothing. Rejects with the system's error. */
export async function readStoredFile(
  disk: Disk,
  folder: string,
  name: string,
  mac: Mac,
  fromByte = 0,
): Promise<StoredFile> {
  const lines = new LatestLines();
  const others: Buffer[] = [];
  let hasTooLong = false;
  const nextByte = await forEachLine(disk, folder, name, fromByte, (bytes) => {
    if (bytes.length > MAX_LINE_BYTES) {
      hasTooLong = true;
      return;
    }
    const claim = readStoredClaim(mac, bytes);
    if (claim !== undefined) lines.take(claim);
    else if (bytes.length > 0) others.push(Buffer.from(bytes));
  });
  return { lines, others, hasTooLong, nextByte };
}

/** @param take the bytes are read into again. @returns where the last line ends that is ended */
async function forEachLine(
  disk: Disk,
  folder: string,
  name: string,
  fromByte: number,
  take: (bytes: Buffer) => void,
): Promise<number> {
  if ((await disk.lstat(folder))?.isSymbolicLink() === true)
    throw Object.assign(new Error(`${folder} is a link`), { code: 'ELOOP' });
  let opened: Awaited<ReturnType<Disk['openToRead']>>;
  try {
    opened = await disk.openToRead(join(folder, name));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 0;
    throw error;
  }
  const { handle, sizeBytes } = opened;
  try {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, Math.max(1, sizeBytes - fromByte)));
    let rest = Buffer.alloc(0);
    let endedAt = fromByte;
    for (let at = fromByte; at < sizeBytes;) {
      const got = await readFully(handle, chunk, at);
      if (got === 0) break;
      const bytes = Buffer.concat([rest, chunk.subarray(0, got)]);
      let start = 0;
      for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, start)) {
        take(bytes.subarray(start, end));
        start = end + 1;
      }
      at += got;
      if (start > 0) endedAt = at - (bytes.length - start);
      // Of a line that is too long only its being so is kept.
      rest = Buffer.from(bytes.subarray(start, start + MAX_LINE_BYTES + 1));
    }
    return endedAt;
  } finally {
    await handle.close();
  }
}
