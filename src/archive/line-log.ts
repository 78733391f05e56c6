/** Files to which lines are appended, one JSON object each, beside the backups, inside which nothing may change. */

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
  const path = join(boardFolder, name);
  const handle = await disk.openToAppend(path);
  try {
    const { size } = await handle.stat();
    const last = Buffer.alloc(1);
    const torn = size > 0 && (await readFully(handle, last, size - 1)) === 1 && last[0] !== LINE_FEED;
    // One write, so that lines of two processes do not mix (O_APPEND).
    await writeAll(handle, Buffer.from(torn ? `\n${text}` : text), size);
    await handle.sync();
  } finally {
    await handle.close();
  }
  // Also where the file was there: who made it, or the backup that the line is about, may have died before its fsync.
  await disk.syncFolder(boardFolder);
}
