/**
 * A station looks after its own journal. Where segments of it are missing or damaged in the bucket, it says everything again
 * in new ones, and then puts empty ones in their places. So nothing stays unsaid, and nobody waits for ever for what cannot be
 * read. Ended in between, it begins anew at the next look: what is said twice counts once. What this archive does not have
 * it cannot say again: such a segment stays as it is, and is missed by all.
 */

import { hasCode, toEspdError } from '../../errors.ts';
import { ENCRYPTED } from '../layout.ts';
import type { Bucket } from '../push-backup.ts';
import { Refusals, isRefusal } from '../refusals.ts';
import { fetchSegment } from './fetch.ts';
import { journalFolder, parseSegmentName, segmentName } from './names.ts';
import { nothingSaid } from './state.ts';
import { type WriterParts, sealSegment, withJournal, writeLocked } from './writer.ts';

/** Numbers further behind the last one that this station has put are none of its own: it puts one after the other. */
const MAX_AHEAD = 10_000;

/** A segment that others cannot read. */
interface Broken {
  readonly seq: number;
  readonly isThere: boolean;
}

/** @returns how many segments were mended; undefined where another process of this station is at its journal */
export function mendJournal(parts: WriterParts, bucket: Bucket, signal: AbortSignal): Promise<number | undefined> {
  return withJournal(parts, signal, async (touch) => {
    const { state } = parts;
    const cursor = await state.cursor();
    const found = await findBroken(parts, bucket, (cursor.next ?? 1) - 1, signal);
    const isKnown = await knownHere(parts, bucket);
    const { last } = found;
    const broken = found.broken.filter(({ seq }) => isKnown(seq));
    if (broken.length === 0) return 0;
    await state.keepCursor({ ...nothingSaid(), next: last + 1, putAt: cursor.putAt });
    await writeLocked(parts, bucket, signal, touch);
    for (const each of broken) {
      await putEmpty(parts, bucket, each, signal);
      await touch();
    }
    return broken.length;
  });
}

/** Whether this archive has what a segment of this station has said. */
async function knownHere({ state }: WriterParts, { layout }: Bucket): Promise<(seq: number) => boolean> {
  const { own, stations } = await state.heard();
  const unread = stations[layout.station]?.unread ?? [];
  return (seq) => seq <= (own ?? 0) && !unread.some(({ from, to }) => from <= seq && seq <= to);
}

/** @param said number of the last segment that this station has put, as far as it knows */
async function findBroken(
  { clock }: WriterParts,
  bucket: Bucket,
  said: number,
  signal: AbortSignal,
): Promise<{ readonly broken: readonly Broken[]; readonly last: number }> {
  const there = await listOwn(bucket, signal);
  let last = said;
  for (const seq of there.keys()) if (seq <= said + MAX_AHEAD) last = Math.max(last, seq);
  const broken: Broken[] = [];
  const refusals = new Refusals();
  for (let seq = 1; seq <= last; seq++) {
    const forms = there.get(seq) ?? (await headOwn(bucket, seq, signal));
    if (forms.length === 0) broken.push({ seq, isThere: false });
    else if (!(await isReadable(bucket, { seq, forms, now: clock.date() }, refusals, signal)))
      broken.push({ seq, isThere: true });
  }
  return { broken, last };
}

/** In which forms each segment is there: encrypted, or not. */
async function listOwn({ store, layout }: Bucket, signal: AbortSignal): Promise<Map<number, boolean[]>> {
  const prefix = layout.prefix + journalFolder(layout.station);
  const there = new Map<number, boolean[]>();
  for (let from: string | null = null; ;) {
    const page = await store.list({ prefix, from, signal });
    for (const { key } of page.objects) {
      const segment = parseSegmentName(key.slice(prefix.length));
      if (segment !== undefined) there.set(segment.seq, [...(there.get(segment.seq) ?? []), segment.isEncrypted]);
    }
    if (page.next === null) return there;
    from = page.next;
  }
}

/** A list may lag. */
async function headOwn({ store, layout }: Bucket, seq: number, signal: AbortSignal): Promise<boolean[]> {
  const key = layout.prefix + segmentName(layout.station, seq);
  const forms: boolean[] = [];
  for (const isEncrypted of [true, false]) {
    const facts = await store.head(key + (isEncrypted ? ENCRYPTED : ''), { signal });
    if (facts !== undefined) forms.push(isEncrypted);
  }
  return forms;
}

/** Also where the store does not give it out: it would hardly take another in its place, and may change its mind. */
async function isReadable(
  bucket: Bucket,
  { seq, forms, now }: { readonly seq: number; readonly forms: readonly boolean[]; readonly now: Date },
  refusals: Refusals,
  signal: AbortSignal,
): Promise<boolean> {
  for (const isEncrypted of forms) {
    try {
      const found = await fetchSegment(bucket, { name: bucket.layout.station, seq, isEncrypted }, now, signal);
      refusals.served();
      // Of a newer espd, which this station had: it is sound.
      if (found !== undefined && found.reading.kind !== 'damaged') return true;
    } catch (error) {
      // With a key that is not here any more: other stations may have it.
      if (hasCode(error, 'store-key')) return true;
      signal.throwIfAborted();
      if (!refusals.isOfOne(toEspdError(error))) throw error;
      if (isRefusal(error)) return true;
    }
  }
  return false;
}

/** Nobody but this station writes here, and what is replaced has just been found to be of no use. */
async function putEmpty({ clock }: WriterParts, bucket: Bucket, broken: Broken, signal: AbortSignal): Promise<void> {
  const { layout, store, hasConditions } = bucket;
  const head = { station: layout.station, seq: broken.seq, at: clock.date().toISOString() };
  const { key, bytes } = await sealSegment(bucket, head, []);
  const condition = hasConditions && !broken.isThere ? 'if-absent' : undefined;
  await store.put(key, bytes, { condition, signal });
}
