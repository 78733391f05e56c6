/**
 * What this station knows of the journals, in the folder of its state that belongs to the store. If it is lost, all is
 * said and read again, and nothing more: the same line twice counts once.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { appendLines, readJson, replaceFile } from '../state-file.ts';

/** 2,000 boards with six files each have some 300 KB. */
const MAX_CURSOR_BYTES = 64 * 1024 * 1024;
const MAX_OUTBOX_BYTES = 64 * 1024 * 1024;

/** Why a segment is not read. */
const UNREAD_CODES = ['store-damaged', 'store-key', 'archive-newer'] as const;
export type UnreadCode = (typeof UNREAD_CODES)[number];

const count = z.int().nonnegative();
const cursorSchema = z.object({
  /** Of the next segment; null: not known, and looked up by a list. */
  next: count.nullable(),
  /** Of done.jsonl. `last` is the last of them, to tell another file by. */
  done: z.object({ count, last: z.string() }),
  outbox: z.object({ byte: count }),
  /** By board and file: where its own lines go on. */
  marks: z.record(z.string(), z.record(z.string(), count)),
  /** When the last segment was put, by this station's clock. */
  putAt: z.string().nullable(),
});

const gapSchema = z.object({
  from: count,
  to: count,
  code: z.enum(UNREAD_CODES),
  message: z.string().max(1000),
  since: z.string(),
  /** When it is asked for again. */
  retryAt: z.string(),
  tries: count,
  /** Of espd, which found it to be of a later one. */
  version: z.string().max(64).exactOptional(),
});

const stationSchema = z.object({
  next: count.min(1),
  isEncrypted: z.boolean(),
  /** When its last segment was written, by this station's clock as far as ages go. */
  heardAt: z.string().nullable(),
  unread: z.array(gapSchema),
});

const heardSchema = z.object({
  /** When all journals were last asked for, and when they were last listed. */
  lookedAt: z.string().nullable(),
  listedAt: z.string().nullable(),
  stations: z.record(z.string().max(64), stationSchema),
});

const scannedSchema = z.object({ at: z.iso.datetime() });

export type Cursor = z.output<typeof cursorSchema>;
export type Heard = z.output<typeof heardSchema>;
export type HeardStation = z.output<typeof stationSchema>;
/** Segments that could not be read: asked for again, later and later. */
export type Unread = z.output<typeof gapSchema>;

export const nothingSaid = (): Cursor => ({
  ...{ next: null, done: { count: 0, last: '' }, outbox: { byte: 0 }, marks: {}, putAt: null },
});

export class JournalState {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get lockFile(): string {
    return join(this.#folder, 'journal.lock');
  }

  async cursor(): Promise<Cursor> {
    return (await readJson(join(this.#folder, 'journal.json'), cursorSchema, MAX_CURSOR_BYTES)) ?? nothingSaid();
  }

  async keepCursor(cursor: Cursor): Promise<void> {
    await replaceFile(join(this.#folder, 'journal.json'), JSON.stringify(cursor));
  }

  async heard(): Promise<Heard> {
    const known = await readJson(join(this.#folder, 'heard.json'), heardSchema, MAX_CURSOR_BYTES);
    return known ?? { lookedAt: null, listedAt: null, stations: {} };
  }

  /**
   * Another process of this station may have read on meanwhile: what it has read is kept, and the times of this one count.
   * @param reached all stations that this process knows
   */
  async keepHeard(reached: Heard): Promise<void> {
    const there = await this.heard();
    const stations = { ...there.stations };
    for (const [name, mine] of Object.entries(reached.stations)) {
      const other = stations[name];
      if (other === undefined || other.next <= mine.next) stations[name] = mine;
    }
    await replaceFile(join(this.#folder, 'heard.json'), JSON.stringify({ ...reached, stations }));
  }

  /** When all that lies in the store was compared last; null = never. */
  async scannedAt(): Promise<string | null> {
    return (await readJson(join(this.#folder, 'scanned.json'), scannedSchema))?.at ?? null;
  }

  async keepScanned(at: string): Promise<void> {
    await replaceFile(join(this.#folder, 'scanned.json'), JSON.stringify({ at }));
  }

  /** Lines that go into the journal and stand nowhere else. On the disk when it resolves. */
  async addToOutbox(lines: readonly string[]): Promise<void> {
    await appendLines(join(this.#folder, 'outbox.jsonl'), lines);
  }

  /** Whole lines from a byte on; a file that is shorter than that is another one, and is read from its beginning. */
  async outbox(fromByte: number): Promise<{ readonly lines: readonly string[]; readonly nextByte: number }> {
    const bytes = await readFile(join(this.#folder, 'outbox.jsonl')).catch(() => Buffer.alloc(0));
    const start = fromByte > bytes.length ? 0 : fromByte;
    const end = Math.min(bytes.lastIndexOf(0x0a) + 1, start + MAX_OUTBOX_BYTES);
    const lines = bytes.toString('utf8', start, end).split('\n');
    return { lines: lines.filter((line) => line !== ''), nextByte: Math.max(start, end) };
  }
}
