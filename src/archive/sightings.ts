/**
 * seen.jsonl: when a board was seen again with the content of a backup that is there already. One JSON object a line,
 * appended; beside the backup folders, because nothing inside those may change.
 */

import { z } from 'zod';
import { systemCode } from '../errors.ts';
import { isBackupId } from './ids.ts';
import type { Disk } from './disk.ts';
import { appendLine, readLines } from './line-log.ts';
import { merged, timeBehind } from './marks/merge.ts';
import { stationSchema } from './station.ts';
import { printable } from '../printable.ts';
import type { Sighting } from './backup.ts';

export const SIGHTINGS = 'seen.jsonl';

export const sightingSchema = z.object({
  id: z.string().refine(isBackupId),
  at: z.iso.datetime(),
  port: z.string().transform(printable),
  station: stationSchema,
});

/**
 * Every line that is a sighting, oldest first; where all are of this station, in the order of the file. Others (cut off by a
 * power loss, or hostile) are ignored.
 */
export function parseSightings(text: string): readonly Sighting[] {
  const sightings = text.split('\n').flatMap((line) => {
    try {
      const result = sightingSchema.safeParse(JSON.parse(line));
      return result.success ? [result.data] : [];
    } catch {
      return [];
    }
  });
  return merged(sightings);
}

/** The sightings of a board, oldest first. Rejects with the system's error, `ENOENT` where there are none yet. */
export async function readSightings(disk: Disk, boardFolder: string): Promise<readonly Sighting[]> {
  return parseSightings((await readLines(disk, boardFolder, SIGHTINGS)).join('\n'));
}

/** Some tens of lines. */
const TAIL_BYTES = 4096;

/** The latest of the last few sightings, without reading years of them. Rejects as {@link readSightings}. */
export async function readNewestSighting(disk: Disk, boardFolder: string): Promise<Sighting | undefined> {
  const tail = parseSightings((await readLines(disk, boardFolder, SIGHTINGS, TAIL_BYTES)).join('\n'));
  // Own ones are behind all that were there; those of other stations come in any order.
  const isEnough = tail.length > 0 && tail.every(({ station }) => station === undefined);
  const found = isEnough ? tail : await readSightings(disk, boardFolder);
  return found.reduce<Sighting | undefined>(
    (latest, sighting) => (latest === undefined || sighting.at > latest.at ? sighting : latest),
    undefined,
  );
}

/** Appends one sighting behind all that are there, and puts it on the disk. */
export async function appendSighting(disk: Disk, boardFolder: string, sighting: Sighting): Promise<void> {
  const { id, at, port } = sighting;
  const newest = await unlessMissing(() => readNewestSighting(disk, boardFolder));
  const line = { id, at: timeBehind(at, newest === undefined ? [] : [newest]), port };
  await appendLine(disk, boardFolder, SIGHTINGS, sightingSchema.parse(line));
}

async function unlessMissing<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
