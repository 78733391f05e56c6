/**
 * What this station knows of the journals. What it has said is in the folder of its state that belongs to the store. What
 * it has heard is in the cache of the archive that took it in: an archive that is new, or is that of last month again, has
 * to hear what it lacks, or its retention would not know of a pin. If either is lost, all is said or read again, and
 * nothing more: the same line twice counts once.
 */

import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import type { ArchiveCache } from '../../archive/types.ts';
import { appendLines, parseJson, readJson, replaceFile } from '../state-file.ts';

/** 2,000 boards with six files each have some 300 KB. */
const MAX_CURSOR_BYTES = 64 * 1024 * 1024;
const MAX_OUTBOX_BYTES = 64 * 1024 * 1024;

/** Why a segment is not read. */
const UNREAD_CODES = [
  ...(['store-damaged', 'store-key', 'archive-newer'] as const),
  // It is there, and the store does not give it out.
  ...(['store-archived', 'store-denied', 'store-busy', 'store-failed'] as const),
] as const;
export type UnreadCode = (typeof UNREAD_CODES)[number];

/** Whether a segment may be the matter of such a fault, and not the store or this machine. */
export function isUnreadCode(code: string): code is UnreadCode {
  return UNREAD_CODES.some((each) => each === code);
}

const count = z.int().nonnegative();
const toldSchema = z.object({
  byte: count,
  /** Of the file up to there, as {@link OwnLines} has it. */
  tail: z.string().max(64).exactOptional(),
  /** When the file was changed last, by its file system. */
  changedMs: z.number().exactOptional(),
});
const cursorSchema = z.object({
  /** Of the next segment; null: not known, and looked up by a list. */
  next: count.nullable(),
  /** Of done.jsonl. `last` is the last of them, to tell another file by. */
  done: z.object({ count, last: z.string() }),
  outbox: z.object({ byte: count }),
  /** By board and file: where its own lines go on. An earlier espd has kept the byte alone. */
  marks: z.record(z.string(), z.record(z.string(), z.union([toldSchema, count.transform((byte) => ({ byte }))]))),
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

/** What a person has said of it: see gone.ts. */
const goneSchema = z.object({
  segments: z.array(z.object({ from: count, to: count })),
  keepsBackups: z.boolean(),
  by: z.string(),
  at: z.string(),
  /** By the store's clock, ms since 1970; null where it does not tell. */
  writtenMs: z.number().nullable(),
});

const stationSchema = z.object({
  next: count.min(1),
  isEncrypted: z.boolean(),
  /** When its last segment was written, by this station's clock as far as ages go. */
  heardAt: z.string().nullable(),
  unread: z.array(gapSchema),
  gone: goneSchema.exactOptional(),
  /** This station itself, of which the archive has lost what these segments say. */
  isOwn: z.literal(true).exactOptional(),
});

const heardSchema = z.object({
  /**
   * Up to this segment of its own journal this archive has what this station has said: from here, or out of an archive of
   * before. Null: nobody has looked.
   */
  own: count.nullable().default(null),
  /** When all journals were last asked for, and when they were last listed. */
  lookedAt: z.string().nullable(),
  listedAt: z.string().nullable(),
  stations: z.record(z.string().max(64), stationSchema),
});

const scannedSchema = z.object({ at: z.iso.datetime() });

export type Cursor = z.output<typeof cursorSchema>;
/** How much of a file of marks is said. */
export type Told = z.output<typeof toldSchema>;
export type Heard = z.output<typeof heardSchema>;
export type HeardStation = z.output<typeof stationSchema>;
export type HeardGone = z.output<typeof goneSchema>;
/** Segments that could not be read: asked for again, later and later. */
export type Unread = z.output<typeof gapSchema>;

export const nothingSaid = (): Cursor => ({
  ...{ next: null, done: { count: 0, last: '' }, outbox: { byte: 0 }, marks: {}, putAt: null },
});

const nothingHeard = (): Heard => ({ own: null, lookedAt: null, listedAt: null, stations: {} });

export class JournalState {
  readonly #folder: string;
  readonly #cache: Pick<ArchiveCache, 'read' | 'write'>;
  /** As it was kept last: where nothing can be cached, a look that goes on would begin anew for ever. */
  #kept: Heard | undefined;

  /** @param folder of the state, for this store and archive */
  constructor(folder: string, cache: Pick<ArchiveCache, 'read' | 'write'>) {
    this.#folder = folder;
    this.#cache = cache;
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
    const text = (await this.#cache.read(this.#heardName))?.toString('utf8');
    const known = text === undefined ? undefined : parseJson(text, heardSchema);
    return known ?? structuredClone(this.#kept) ?? nothingHeard();
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
    const own = there.own === null ? reached.own : Math.max(there.own, reached.own ?? 0);
    this.#kept = structuredClone({ ...reached, own, stations });
    await this.#cache.write(this.#heardName, JSON.stringify(this.#kept));
  }

  /** All is to be heard again: the archive has lost some of it. */
  async forgetHeard(): Promise<void> {
    this.#kept = undefined;
    await this.#cache.write(this.#heardName, JSON.stringify(nothingHeard()));
  }

  /** What a segment says is out of this archive: it need not be heard. One behind a gap does not count. */
  async keepOwn(seq: number): Promise<void> {
    const heard = await this.heard();
    if (heard.own === seq - 1 || (heard.own === null && seq === 1)) await this.keepHeard({ ...heard, own: seq });
  }

  /** One for each store. */
  get #heardName(): string {
    return `heard-${basename(this.#folder)}.json`;
  }

  /** Of what the archive held then: see `held-files.ts`. */
  get heldName(): string {
    return `held-${basename(this.#folder)}.lines`;
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
