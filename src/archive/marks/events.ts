/**
 * The files of marks beside the backups of a board: one JSON object a line, appended. FORMAT.md has their keys.
 *
 * Each is of one kind, and a line that is none of its kind is counted: it may have been a pin.
 */

import { join } from 'node:path';
import { z } from 'zod';
import { systemCode } from '../../errors.ts';
import { replaceUnprintable, escapeOf } from '../../printable.ts';
import type { Disk } from '../disk.ts';
import { isBackupId } from '../ids.ts';
import { appendLine } from '../line-log.ts';
import { stationSchema } from '../station.ts';
import { type Line, merged, timeBehind } from './merge.ts';

/** Characters at most, as they are written; what is read is not longer than this either. */
export const MAX_LABEL = 64;
export const MAX_NOTE = 1000;

/** A longer file is not read: a hundred thousand lines, more than a board is ever marked. */
const MAX_BYTES = 16 * 1024 * 1024;

const text = (max: number) =>
  z
    .string()
    .max(max)
    .transform((value) => replaceUnprintable(value, escapeOf));
const at = () => z.iso.datetime();
const id = () => z.string().refine(isBackupId);
const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));

/** A key that is there sets what it names, null clears it, and one that is not there leaves it. */
const labelSchema = z.object({
  at: at(),
  label: text(MAX_LABEL).nullable().exactOptional(),
  note: text(MAX_NOTE).nullable().exactOptional(),
  group: text(MAX_LABEL).nullable().exactOptional(),
  station: stationSchema,
});

const pinSchema = z.object({
  at: at(),
  id: id(),
  pinned: z.boolean(),
  note: text(MAX_NOTE).nullable().default(null),
  station: stationSchema,
});

const removalSchema = z.object({
  at: at(),
  id: id(),
  /** Of the image that was removed; null where its manifest could not be read. */
  sha256: hex(64).nullable(),
  /** Why, in words. */
  why: text(MAX_NOTE),
  createdBy: text(MAX_NOTE),
});

const confirmationSchema = z.object({
  at: at(),
  id: id(),
  /** Of the whole flash, as the chip calculated it. */
  md5: hex(32),
  by: z.enum(['stub', 'rom']),
  port: text(MAX_NOTE),
  station: stationSchema,
});

export type LabelEvent = z.infer<typeof labelSchema>;
export type PinEvent = z.infer<typeof pinSchema>;
export type Removal = z.infer<typeof removalSchema>;
export type Confirmation = z.infer<typeof confirmationSchema>;

/** One kind of marks: the file's name, and what its lines are. */
export interface EventFile<T, Name extends string = string> {
  readonly name: Name;
  readonly schema: z.ZodType<T>;
}

export const LABELS: EventFile<LabelEvent, 'labels.jsonl'> = { name: 'labels.jsonl', schema: labelSchema };
export const PINS: EventFile<PinEvent, 'pins.jsonl'> = { name: 'pins.jsonl', schema: pinSchema };
export const REMOVALS: EventFile<Removal, 'removed.jsonl'> = { name: 'removed.jsonl', schema: removalSchema };
export const CONFIRMATIONS: EventFile<Confirmation, 'confirmed.jsonl'> = {
  name: 'confirmed.jsonl',
  schema: confirmationSchema,
};

export const MARK_FILES: readonly string[] = [LABELS, PINS, REMOVALS, CONFIRMATIONS].map(({ name }) => name);

export interface Events<T> {
  /** Oldest first; where all are of this station, in the order of the file. */
  readonly events: readonly T[];
  /** Numbers, from 1, of lines that are no events: cut off by a crash, damaged, or of a later espd. */
  readonly strangeLines: readonly number[];
}

/** The content of such a file, from anywhere: never throws. */
export function parseEvents<T extends Line>({ schema }: EventFile<T>, content: string): Events<T> {
  const events: T[] = [];
  const strangeLines: number[] = [];
  for (const [index, line] of content.split('\n').entries()) {
    if (line === '') continue;
    const event = parseLine(schema, line);
    if (event === undefined) strangeLines.push(index + 1);
    else events.push(event);
  }
  return { events: merged(events), strangeLines };
}

function parseLine<T>(schema: z.ZodType<T>, line: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}

/** None where there is no such file; otherwise rejects with the system's error. */
export async function readEvents<T extends Line>(
  disk: Disk,
  boardFolder: string,
  file: EventFile<T>,
): Promise<Events<T>> {
  try {
    const bytes = await disk.readSmall(join(boardFolder, file.name), MAX_BYTES);
    return parseEvents(file, bytes.toString('utf8'));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { events: [], strangeLines: [] };
    throw error;
  }
}

/**
 * On the disk when it resolves, behind all events that are there: `at` may become later. Rejects with the system's error.
 */
export async function appendEvent<T extends Line>(
  disk: Disk,
  boardFolder: string,
  file: EventFile<T>,
  event: T,
): Promise<void> {
  const { events } = await readEvents(disk, boardFolder, file);
  await appendLine(disk, boardFolder, file.name, file.schema.parse({ ...event, at: timeBehind(event.at, events) }));
}
