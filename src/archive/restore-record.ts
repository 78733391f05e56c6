/**
 * restoring.json: written into a board's folder before the first sector of its flash is erased, and removed when the
 * chip has confirmed what was written. While it is there the board holds neither its old content nor the new one.
 */

import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { EspdError, systemCode } from '../errors.ts';
import { parseMac } from '../mac.ts';
import type { Mac } from '../mac.ts';
import type { Disk } from './disk.ts';
import { writeAll } from './disk.ts';
import { readFault } from './disk-faults.ts';
import { isBackupId } from './ids.ts';
import { escapeOf, printable, replaceUnprintable } from '../printable.ts';

export const RESTORE_RECORD = 'restoring.json';

/** A larger file is none of ours: the regions of the worst restore of a flash of 128 MiB take 700 KB. */
const MAX_BYTES = 1024 * 1024;
const MAX_REGIONS = 20_000;

const mac = () =>
  z
    .string()
    .refine((text) => parseMac(text) === text)
    .transform((text) => text as Mac);
const count = () => z.number().int().nonnegative();
/** Never cut: it is used, not only shown. */
const path = () =>
  z
    .string()
    .max(4096)
    .transform((text) => replaceUnprintable(text, escapeOf));
const region = z.object({ offset: count(), sizeBytes: count() });

/** Guards that a person can override, by the names of their options behind `--ignore-`. */
export const OVERRIDES = ['revision', 'flash-size', 'security', 'write-protect', 'layout', 'chip-change'] as const;

export const recordSchema = z.object({
  formatVersion: z.literal(1),
  createdBy: z.string().max(200).transform(printable),
  /** The board that is written to: that of the folder. */
  mac: mac(),
  /** What is put on it. */
  from: z.object({ mac: mac(), id: z.string().refine(isBackupId) }),
  startedAt: z.iso.datetime(),
  /** Why this backup: what the person asked for, in words. */
  why: z.string().max(500).transform(printable),
  /** Parts of the flash that differed when it began. */
  regions: z.array(region).max(MAX_REGIONS),
  /** The whole flash in parts, each with the MD5 that it has when the restore is done. */
  done: z
    .array(region.extend({ md5: z.string().regex(/^[0-9a-f]{32}$/) }))
    .min(1)
    .max(MAX_REGIONS),
  /** The parts of the flash that the restore is confined to, by name where they have one; null for the whole flash. */
  parts: z
    .array(region.extend({ name: z.string().max(200).transform(printable).nullable() }))
    .max(200)
    .nullable(),
  /**
   * Partitions of the board that the restore leaves as they are: neither compared nor written. `parts` is then all the
   * rest, so that an espd which does not know this key leaves them alone, too.
   */
  kept: z
    .array(region.extend({ name: z.string().max(200).transform(printable) }))
    .max(100)
    .default([]),
  /** The backup that holds what was on the board before; null where none was made. */
  snapshot: z.string().refine(isBackupId).nullable(),
  /** The snapshot was made for this restore; else the archive held that content before. */
  snapshotIsNew: z.boolean().default(true),
  /** What else the command that finishes it has to say. */
  options: z
    .object({
      /** The port that the person named; null = the board is found by its MAC. */
      port: path().nullable(),
      /** Guards that the person has overridden: `revision` stands for --ignore-revision. */
      ignore: z.array(z.enum(OVERRIDES)),
      /** The person has said --yes. */
      yes: z.boolean(),
      /** Size of the flash, which the person has told by --flash-size; null = its id tells it. */
      toldFlashBytes: count().nullable().default(null),
      /** True: the person has said --unconfirmed. */
      unconfirmed: z.boolean().exactOptional(),
    })
    .default({ port: null, ignore: [], yes: false, toldFlashBytes: null }),
  /** Folder of the archive that `from` is in; null = the one that the record lies in. */
  archive: path().nullable().default(null),
});

/** What is known of a restore that has begun and not ended. Texts are printable. */
export type RestoreRecord = z.infer<typeof recordSchema>;

/** What its maker knows. */
export type RestoreRecordContent = Omit<RestoreRecord, 'formatVersion' | 'createdBy' | 'archive' | 'kept'> &
  Partial<Pick<RestoreRecord, 'kept'>>;

/**
 * A board's unfinished restore: its record; or null with the reason, where the file is known to be there but is not
 * understood. `hint` says what to do where it could only not be read; null where its content is no record.
 */
export type HalfRestored =
  | {
      readonly record: RestoreRecord;
      readonly problem: null;
      /** The station at which it has begun; absent = this one. */
      readonly station?: string;
    }
  | { readonly record: null; readonly problem: string; readonly hint: string | null };

/** The content of restoring.json, from anywhere: never throws, never trusts. */
export function parseRestoreRecord(text: string, boardMac: Mac): HalfRestored {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { record: null, problem: 'is no JSON', hint: null };
  }
  const result = recordSchema.safeParse(json);
  if (!result.success) {
    const issue = result.error.issues[0];
    const where = issue === undefined || issue.path.length === 0 ? 'the document' : issue.path.map(String).join('.');
    return { record: null, problem: `is no record of a restore: ${printable(where)} is wrong`, hint: null };
  }
  if (result.data.mac !== boardMac) {
    return { record: null, problem: `speaks of another board, ${result.data.mac}`, hint: null };
  }
  return { record: result.data, problem: null };
}

/**
 * Undefined where no restore is under way. A record that is there but cannot be read is one all the same. Rejects with
 * the system's error where it cannot even be told whether there is one: that is no half restored board.
 */
export async function readRestoreRecord(
  disk: Disk,
  boardFolder: string,
  boardMac: Mac,
): Promise<HalfRestored | undefined> {
  if ((await look(disk, boardFolder))?.isSymbolicLink() === true) {
    throw Object.assign(new Error(`${boardFolder} is a link`), { code: 'ELOOP' });
  }
  const path = join(boardFolder, RESTORE_RECORD);
  try {
    const bytes = await disk.readSmall(path, MAX_BYTES);
    return parseRestoreRecord(bytes.toString('utf8'), boardMac);
  } catch (error) {
    if (isNothing(error)) return undefined;
    const { code, problem, hint } = readFault(error);
    if (code !== 'archive-unreadable') return { record: null, problem, hint: null };
    // Its name can be seen without opening it.
    return (await look(disk, path)) === undefined ? undefined : { record: null, problem, hint };
  }
}

async function look(disk: Disk, path: string): Promise<Stats | undefined> {
  try {
    return await disk.lstat(path);
  } catch (error) {
    if (isNothing(error)) return undefined;
    throw error;
  }
}

/** There is no such file, for certain. */
function isNothing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '');
}

/**
 * Puts the record on the disk, content and name, in the place of one that is there: with one rename, so that it is never
 * half written. Rejects with the system's error.
 *
 * @param draft a name for the file while it is made: what is left of it under this name is cleared like any draft
 */
export async function writeRestoreRecord(
  disk: Disk,
  boardFolder: string,
  draft: string,
  createdBy: string,
  content: RestoreRecordContent & Pick<RestoreRecord, 'archive'>,
): Promise<void> {
  const checked = recordSchema.safeParse({ formatVersion: 1, createdBy, ...content });
  if (!checked.success) throw new EspdError('internal', `A record of a restore is wrong: ${checked.error.message}`);
  const path = join(boardFolder, draft);
  const handle = await disk.createFile(path);
  try {
    try {
      await writeAll(handle, Buffer.from(`${JSON.stringify(checked.data)}\n`), 0);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await disk.fs.rename(path, join(boardFolder, RESTORE_RECORD));
  } catch (error) {
    await disk.fs.rm(path, { force: true }).catch(() => undefined);
    throw error;
  }
  await disk.syncFolder(boardFolder);
}

/** Removes the record, for good. Nothing where there is none. Rejects with the system's error. */
export async function removeRestoreRecord(disk: Disk, boardFolder: string): Promise<void> {
  try {
    await disk.fs.unlink(join(boardFolder, RESTORE_RECORD));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  await disk.syncFolder(boardFolder);
}
