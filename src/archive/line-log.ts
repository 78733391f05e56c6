/** Files to which lines are appended, one JSON object each, beside the backups, inside which nothing may change. */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { readFully, writeAll } from './disk.ts';
import type { Disk } from './disk.ts';

/** Of a longer file only the end is read: some ten thousand lines. */
const MAX_READ_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/** What there is of the file's end, from the beginning of a line. Rejects with the system's error. */
export async function readLines(
  disk: Disk,
  boardFolder: string,
  name: string,
  maxBytes = MAX_READ_BYTES,
): Promise<string[]> {
  const { handle, sizeBytes } = await disk.openToRead(join(boardFolder, name));
  try {
    const start = Math.max(0, sizeBytes - maxBytes);
    const bytes = Buffer.alloc(sizeBytes - start);
    const text = bytes.subarray(0, await readFully(handle, bytes, start)).toString('utf8');
    return (start === 0 ? text : text.slice(text.indexOf('\n') + 1)).split('\n');
  } finally {
    await handle.close();
  }
}

/** As {@link appendLines}, one line. */
export function appendLine(disk: Disk, boardFolder: string, name: string, content: object): Promise<void> {
  return appendLines(disk, boardFolder, name, [content]);
}

/**
 * Appends lines and puts them on the disk, with all names in the board's folder. Where the file does not end in a line feed, a write was cut off there: a
 * line feed first keeps the new line apart from that rest.
 */
export async function appendLines(
  disk: Disk,
  boardFolder: string,
  name: string,
  contents: readonly object[],
): Promise<void> {
  const text = contents.map((content) => `${JSON.stringify(content)}\n`).join('');
  await appendOnce(disk, join(boardFolder, name), text, () => Promise.resolve(true));
  // Also where the file was there: who made it, or the backup that the line is about, may have died before its fsync.
  await disk.syncFolder(boardFolder);
}

/**
 * The file has been replaced so often while one line was written, which does not happen: each time it has to grow by a
 * megabyte first. So this is a file system whose inode numbers say nothing (some of FUSE), and there nothing is replaced.
 */
const MAX_REPLACED = 3;

/**
 * The same for a file that another process may replace, after which whoever replaced it looks a last time at what the old one
 * holds. What was written to that one later is not seen; but then the name stands for another file, and the lines are appended to that one,
 * too. So lines may be there twice.
 * @param text of whole lines
 */
export async function appendToReplaced(
  disk: Disk,
  boardFolder: string,
  name: string,
  text: string | Buffer,
): Promise<void> {
  const path = join(boardFolder, name);
  for (let left = MAX_REPLACED; left > 0; left--) {
    if (await appendOnce(disk, path, text, (handle) => disk.isNamed(path, handle))) break;
  }
  await disk.syncFolder(boardFolder);
}

/** @param judge asked when the lines are on the disk, while the file is open */
async function appendOnce(
  disk: Disk,
  path: string,
  text: string | Buffer,
  judge: (handle: FileHandle) => Promise<boolean>,
): Promise<boolean> {
  const handle = await disk.openToAppend(path);
  try {
    const { size } = await handle.stat();
    const last = Buffer.alloc(1);
    const torn = size > 0 && (await readFully(handle, last, size - 1)) === 1 && last[0] !== LINE_FEED;
    // One write, so that lines of two processes do not mix (O_APPEND).
    await writeAll(
      handle,
      Buffer.concat([Buffer.from(torn ? '\n' : ''), typeof text === 'string' ? Buffer.from(text) : text]),
      size,
    );
    await handle.sync();
    return await judge(handle);
  } finally {
    await handle.close();
  }
}
