/** restored.jsonl: the restores of a board that are done, so that what a person gets by `latest` is what they mean. */

import { z } from 'zod';
import { parseMac } from '../mac.ts';
import type { Mac } from '../mac.ts';
import type { Disk } from './disk.ts';
import { isBackupId } from './ids.ts';
import { appendLine, readLines } from './line-log.ts';

export const RESTORES = 'restored.jsonl';

const schema = z.object({
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
});

/** A restore that is done: the chip has confirmed it. */
export type CompletedRestore = z.infer<typeof schema>;

/** Every line that is one, in the order of the file; others are ignored. */
export function parseRestores(lines: readonly string[]): CompletedRestore[] {
  return lines.flatMap((line) => {
    try {
      const result = schema.safeParse(JSON.parse(line));
      return result.success ? [result.data] : [];
    } catch {
      return [];
    }
  });
}

/** Oldest first. Rejects with the system's error, `ENOENT` where there are none yet. */
export async function readRestores(disk: Disk, boardFolder: string): Promise<CompletedRestore[]> {
  return parseRestores(await readLines(disk, boardFolder, RESTORES));
}

export async function appendRestore(disk: Disk, boardFolder: string, restore: CompletedRestore): Promise<void> {
  await appendLine(disk, boardFolder, RESTORES, schema.parse(restore));
}
