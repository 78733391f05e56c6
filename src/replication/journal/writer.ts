/**
 * Puts what this station has to say into its journal, in numbered segments. What is said already is a cursor that is kept
 * after each segment: a kill in between says the same lines twice, which is harmless, and never leaves one out.
 */

import { createHash } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { encrypt } from '../encryption.ts';
import { ENCRYPTED } from '../layout.ts';
import type { Bucket } from '../push-backup.ts';
import { gather } from '../put-image.ts';
import type { HeldFiles } from './held-files.ts';
import { takeLock } from './lock.ts';
import { MAX_SEQ, journalFolder, parseSegmentName, segmentName } from './names.ts';
import { type OwnSteps, ownSteps } from './own-lines.ts';
import { MAX_LINES, MAX_SEGMENT_BYTES, type SegmentHead, encodeSegment } from './segment.ts';
import type { Cursor, JournalState } from './state.ts';

/** A station that has nothing to say says so this often: who is silent for longer is gone, or has no network. */
export const ALIVE_MS = 24 * 3_600_000;
/** After so many numbers that were taken, the list of them is looked at anew. */
const TAKEN_MANY = 3;
const MAX_TAKEN = 1000;

export interface Written {
  readonly segments: number;
  readonly lines: number;
}

export interface WriterParts extends OwnSteps {
  readonly state: JournalState;
  readonly held: HeldFiles;
  readonly clock: Clock;
}

/** Undefined: another process of this station is at it. */
export function writeJournal(
  parts: WriterParts,
  bucket: Bucket,
  signal: AbortSignal,
  onProgress: (lines: number) => void = () => undefined,
): Promise<Written | undefined> {
  return withJournal(parts, signal, (touch) =>
    writeLocked(parts, bucket, signal, async (lines) => {
      await touch();
      onProgress(lines);
    }),
  );
}

/**
 * Does what only one process of this station may do at a time.
 * @param work says by `touch`, now and then, that it is still at it
 * @returns undefined where another process is
 */
export async function withJournal<T>(
  { state, clock }: Pick<WriterParts, 'state' | 'clock'>,
  signal: AbortSignal,
  work: (touch: () => Promise<void>) => Promise<T>,
): Promise<T | undefined> {
  const lock = await takeLock(state.lockFile, clock, signal);
  if (lock === undefined) return undefined;
  try {
    return await work(() => lock.touch());
  } finally {
    await lock.release();
  }
}

/** For whoever has the lock: see {@link withJournal}. @param onSegment is told how many lines are said */
export function writeLocked(
  parts: WriterParts,
  bucket: Bucket,
  signal: AbortSignal,
  onSegment: (lines: number) => Promise<void>,
): Promise<Written> {
  return new Writing(parts, bucket, signal, onSegment).run();
}

/** A segment as it lies in the bucket: its key, with prefix, and its bytes. */
export async function sealSegment(
  { key, layout }: Pick<Bucket, 'key' | 'layout'>,
  head: SegmentHead,
  lines: readonly string[],
): Promise<{ readonly key: string; readonly bytes: Buffer }> {
  const name = segmentName(head.station, head.seq);
  const bytes = encodeSegment(head, lines);
  if (key === null) return { key: layout.prefix + name, bytes };
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const sealed = await gather(encrypt(key, { name, sizeBytes: bytes.length, sha256 }, [bytes]));
  return { key: layout.prefix + name + ENCRYPTED, bytes: sealed };
}

class Writing {
  readonly #parts: WriterParts;
  readonly #bucket: Bucket;
  readonly #signal: AbortSignal;
  readonly #onSegment: (lines: number) => Promise<void>;
  #lines: string[] = [];
  #bytes = 0;
  /** What the cursor becomes when the lines of before are put. */
  #reached: ((cursor: Cursor) => void)[] = [];
  readonly #macs = new Set<Mac>();
  #written = { segments: 0, lines: 0 };

  constructor(parts: WriterParts, bucket: Bucket, signal: AbortSignal, onSegment: (lines: number) => Promise<void>) {
    this.#parts = parts;
    this.#bucket = bucket;
    this.#signal = signal;
    this.#onSegment = onSegment;
  }

  async run(): Promise<Written> {
    const { state, clock, held } = this.#parts;
    const cursor = await state.cursor();
    for await (const step of ownSteps(this.#parts, this.#bucket, structuredClone(cursor), this.#signal)) {
      for (const line of step.lines) {
        const bytes = Buffer.byteLength(line) + 1;
        const isFull = this.#lines.length >= MAX_LINES || this.#bytes + bytes > MAX_SEGMENT_BYTES;
        if (isFull && this.#lines.length > 0) await this.#flush(cursor);
        this.#lines.push(line);
        this.#bytes += bytes;
      }
      this.#reached.push(step.reached);
      if (step.mac !== null) this.#macs.add(step.mac);
    }
    const sincePut = Math.abs(clock.date().getTime() - Date.parse(cursor.putAt ?? ''));
    if (this.#lines.length > 0 || !(sincePut < ALIVE_MS)) await this.#flush(cursor);
    else if (this.#reached.length > 0) await this.#keep(cursor);
    await held.note([...this.#macs]);
    return this.#written;
  }

  async #flush(cursor: Cursor): Promise<void> {
    const lines = this.#lines;
    const { at, seq } = await this.#put(cursor.next, lines);
    cursor.next = seq + 1;
    cursor.putAt = at;
    this.#lines = [];
    this.#bytes = 0;
    await this.#keep(cursor);
    await this.#parts.state.keepOwn(seq);
    this.#written = { segments: this.#written.segments + 1, lines: this.#written.lines + lines.length };
    await this.#onSegment(this.#written.lines);
  }

  async #keep(cursor: Cursor): Promise<void> {
    for (const reached of this.#reached) reached(cursor);
    this.#reached = [];
    await this.#parts.state.keepCursor(cursor);
  }

  async #put(next: number | null, lines: readonly string[]): Promise<{ readonly seq: number; readonly at: string }> {
    const { store, layout, hasConditions } = this.#bucket;
    const signal = this.#signal;
    let seq = next ?? (await this.#firstFree());
    for (let taken = 0; taken < MAX_TAKEN && seq <= MAX_SEQ; seq++) {
      const at = this.#parts.clock.date().toISOString();
      const { key, bytes } = await sealSegment(this.#bucket, { station: layout.station, seq, at }, lines);
      // Without conditions nobody but this process, which has the lock, writes here: but a cursor may have been lost.
      const isFree = hasConditions || (await store.head(key, { signal })) === undefined;
      const condition = hasConditions ? 'if-absent' : undefined;
      if (isFree && (await store.put(key, bytes, { condition, signal })) !== undefined) return { seq, at };
      if (++taken % TAKEN_MANY === 0) seq = Math.max(seq, (await this.#firstFree()) - 1);
    }
    throw new EspdError(
      'store-failed',
      `The journal of this station in the object store (${store.place}) has no free number`,
      {
        hint: `Look at ${layout.prefix}${journalFolder(layout.station)} there: somebody else may write into it`,
      },
    );
  }

  /** Behind all that a list has. It may lag: a number that is taken is then found out by the put. */
  async #firstFree(): Promise<number> {
    const { store, layout } = this.#bucket;
    const prefix = layout.prefix + journalFolder(layout.station);
    let last = 0;
    for (let from: string | null = null; ;) {
      const page = await store.list({ prefix, from, signal: this.#signal });
      for (const { key } of page.objects) last = Math.max(last, parseSegmentName(key.slice(prefix.length))?.seq ?? 0);
      if (page.next === null) return last + 1;
      from = page.next;
    }
  }
}
