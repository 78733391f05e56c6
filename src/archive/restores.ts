/** restored.jsonl: the restores of a board that are done, so that what a person gets by `latest` is what they mean. */

import { z } from 'zod';
import { systemCode } from '../errors.ts';
import { parseMac } from '../mac.ts';
import type { Mac } from '../mac.ts';
import type { Disk } from './disk.ts';
import { isBackupId } from './ids.ts';
import { appendLine, readLines } from './line-log.ts';
import { merged, timeBehind } from './marks/merge.ts';
import { stationSchema } from './station.ts';

export const RESTORES = 'restored.jsonl';

export const restoreSchema = z.object({
  at: z.iso.datetime(),
  from: z.object({
    mac: z
      .string()
      .refine((text) => parseMac(text) === text)
      .transform((text) => text as Mac),
    id: z.string().refine(isBackupId),
  }),
  /** The backup of what was on the board before; null where none was made. */
  snapshot: z.string().refine(isBackupId).nullable(),
  /** That backup was made for the restore; else the archive held the content before. */
  snapshotIsNew: z.boolean().default(true),
  /** Only a part of the flash was written. */
  partial: z.boolean(),
  station: stationSchema,
});

/** A restore that is done: the chip has confirmed it. */
export type CompletedRestore = z.infer<typeof restoreSchema>;

/** Every line that is one, oldest first; where all are of this station, in the order of the file. Others are ignored. */
export function parseRestores(lines: readonly string[]): readonly CompletedRestore[] {
  const restores = lines.flatMap((line) => {
    try {
      const result = restoreSchema.safeParse(JSON.parse(line));
      return result.success ? [result.data] : [];
    } catch {
      return [];
    }
  });
  return merged(restores);
}

/** Oldest first. Rejects with the system's error, `ENOENT` where there are none yet. */
export async function readRestores(disk: Disk, boardFolder: string): Promise<readonly CompletedRestore[]> {
  return parseRestores(await readLines(disk, boardFolder, RESTORES));
}

/** Appends it behind all that are there. */
export async function appendRestore(disk: Disk, boardFolder: string, restore: CompletedRestore): Promise<void> {
  const known = await readRestores(disk, boardFolder).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  });
  await appendLine(disk, boardFolder, RESTORES, restoreSchema.parse({ ...restore, at: timeBehind(restore.at, known) }));
}
