/**
 * seen.jsonl: when a board was seen again with the content of a backup that is there already. One JSON object a line,
 * appended; beside the backup folders, because nothing inside those may change.
 */

import { z } from 'zod';
import { isBackupId } from './ids.ts';
import type { Disk } from './disk.ts';
import { appendLine, readLines } from './line-log.ts';
import { printable } from '../printable.ts';
import type { Sighting } from './types.ts';

export const SIGHTINGS = 'seen.jsonl';

export const sightingSchema = z.object({
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
  return parseSightings((await readLines(disk, boardFolder, SIGHTINGS)).join('\n'));
}

/** Some tens of lines. */
const TAIL_BYTES = 4096;

/** The latest of the last few sightings, without reading years of them. Rejects as {@link readSightings}. */
export async function readNewestSighting(disk: Disk, boardFolder: string): Promise<Sighting | undefined> {
  const tail = parseSightings((await readLines(disk, boardFolder, SIGHTINGS, TAIL_BYTES)).join('\n'));
  const found = tail.length > 0 ? tail : await readSightings(disk, boardFolder);
  return found.reduce<Sighting | undefined>(
    (latest, sighting) => (latest === undefined || sighting.at > latest.at ? sighting : latest),
    undefined,
  );
}

/** Appends one sighting and puts it on the disk. */
export async function appendSighting(disk: Disk, boardFolder: string, sighting: Sighting): Promise<void> {
  const { id, at, port } = sighting;
  await appendLine(disk, boardFolder, SIGHTINGS, sightingSchema.parse({ id, at, port }));
}
