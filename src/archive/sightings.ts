/**
 * seen.jsonl: when a board was seen again with the content of a backup that is there already. One JSON object a line,
 * appended; beside the backup folders, because nothing inside those may change.
 */

import { join } from 'node:path';
import { z } from 'zod';
import { isBackupId } from './ids.ts';
import { readFully, writeAll } from './disk.ts';
import type { Disk } from './disk.ts';
import { printable } from './printable.ts';
import type { Sighting } from './types.ts';

export const SIGHTINGS = 'seen.jsonl';

/** Of a longer file only the end is read: some ten thousand sightings. */
const MAX_READ_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

const sightingSchema = z.object({
  id: z.string().refine(isBackupId),
  at: z.iso.datetime(),
  port: z.string().transform(printable),
});

/** Every line that is a sighting, in the order of the file; others (cut off by a power loss, or hostile) are ignored. */
export function parseSightings(text: string): Sighting[] {
  return text.split('\n').flatMap((line) => {
    try {
      const result = sightingSchema.safeParse(JSON.parse(line));
      return result.success ? [result.data] : [];
    } catch {
      return [];
    }
  });
}

/** The sightings of a board, oldest first. Rejects with the system's error, `ENOENT` where there are none yet. */
export async function readSightings(disk: Disk, boardFolder: string): Promise<Sighting[]> {
  const { handle, sizeBytes } = await disk.openToRead(join(boardFolder, SIGHTINGS));
  try {
    const start = Math.max(0, sizeBytes - MAX_READ_BYTES);
    const bytes = Buffer.alloc(sizeBytes - start);
    const text = bytes.subarray(0, await readFully(handle, bytes, start)).toString('utf8');
    return parseSightings(start === 0 ? text : text.slice(text.indexOf('\n') + 1));
  } finally {
    await handle.close();
  }
}

/**
 * Appends one sighting and puts it on the disk. Where the file does not end in a line feed, a write was cut off there:
 * a line feed first keeps the new line apart from that rest.
 */
export async function appendSighting(disk: Disk, boardFolder: string, sighting: Sighting): Promise<void> {
  const { id, at, port } = sighting;
  const line = JSON.stringify(sightingSchema.parse({ id, at, port })) + '\n';
  const path = join(boardFolder, SIGHTINGS);
  const isNew = !(await disk.exists(path));
  const handle = await disk.openToAppend(path);
  try {
    const { size } = await handle.stat();
    const last = Buffer.alloc(1);
    const torn = size > 0 && (await readFully(handle, last, size - 1)) === 1 && last[0] !== LINE_FEED;
    // One write, so that lines of two processes do not mix (O_APPEND).
    await writeAll(handle, Buffer.from(torn ? `\n${line}` : line), size);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (isNew) await disk.syncFolder(boardFolder);
}
