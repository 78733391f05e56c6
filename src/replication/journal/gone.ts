/**
 * What a person has said of a station that is gone for ever, so that nobody will mend what cannot be read of its journal:
 * FORMAT.md, Stations that are gone. The statement is an object beside its segments and names those that it speaks of. What is
 * readable of that station counts as before, and whatever it says later; so one that comes back is not harmed.
 */

import { z } from 'zod';
import type { Bucket } from '../push-backup.ts';
import { getSmall } from '../small-object.ts';
import { MAX_STATEMENT_BYTES, goneName } from './names.ts';
import type { Heard, HeardGone, HeardStation, Unread } from './state.ts';
import type { Numbers } from './unread.ts';

const text = (maxLength: number) => z.string().max(maxLength);

const statementSchema = z.object({
  formatVersion: z.literal(1),
  station: text(128),
  /** Numbers of the segments that are given up, from and to. Empty: the statement was taken back. */
  segments: z.array(z.object({ from: z.int().min(1), to: z.int().min(1) })).max(500),
  /** What lay in the bucket when this was written stays there: the segments may have told of pins. */
  keepsBackups: z.boolean(),
  /** For persons: which station has said so, with which program, and when by its clock. */
  by: text(128),
  createdBy: text(256),
  at: z.iso.datetime().max(40),
});

export type Statement = z.output<typeof statementSchema>;

/** A station that is gone and may have pinned what lay in the bucket until then. */
export interface MayHavePinned {
  readonly station: string;
  /** By the store's clock, ms since 1970; null: the store does not tell, and so everything. */
  readonly untilMs: number | null;
}

/** Undefined where nothing is said, and where it is not understood: then the segments are missed as before. */
export async function readGone(
  { store, layout }: Pick<Bucket, 'store' | 'layout'>,
  station: string,
  signal: AbortSignal,
): Promise<HeardGone | undefined> {
  const key = layout.prefix + goneName(station);
  const object = await getSmall(store, key, MAX_STATEMENT_BYTES, signal);
  if (object === undefined) return undefined;
  const statement = parsed(object.bytes);
  if (statement?.station !== station || statement.segments.length === 0) return undefined;
  const { segments, keepsBackups, by, at } = statement;
  return { segments, keepsBackups, by, at, writtenMs: object.writtenMs ?? null };
}

/** Replaces what was said of it before. @throws EspdError `store-...` */
export async function sayGone(
  { store, layout }: Pick<Bucket, 'store' | 'layout'>,
  statement: Statement,
  signal: AbortSignal,
): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(statementSchema.parse(statement), null, 2)}\n`);
  await store.put(layout.prefix + goneName(statement.station), bytes, { signal });
}

/** Of a station's segments those that may never be read; what is of a newer espd wants a newer one here. */
export function lostSegments({ unread }: HeardStation): Numbers[] {
  return unread.filter(isLost).map(({ from, to }) => ({ from, to }));
}

/** Whether nobody waits for these any more. */
export function isGivenUp({ gone }: HeardStation, entry: Unread): boolean {
  return isLost(entry) && gone?.segments.some(({ from, to }) => from <= entry.from && entry.to <= to) === true;
}

export function mayHavePinned({ stations }: Pick<Heard, 'stations'>): MayHavePinned[] {
  return Object.entries(stations).flatMap(([station, heard]) => {
    const counts = heard.gone?.keepsBackups === true && heard.unread.some((entry) => isGivenUp(heard, entry));
    return counts ? [{ station, untilMs: heard.gone?.writtenMs ?? null }] : [];
  });
}

/** Also what the store does not give out, perhaps never again. */
const isLost = ({ code }: Unread) => code !== 'archive-newer';

function parsed(bytes: Uint8Array): Statement | undefined {
  try {
    return statementSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    return undefined;
  }
}
