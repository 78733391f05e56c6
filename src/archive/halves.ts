/**
 * halves.jsonl: where a restore of a board has begun and ended, as other stations learn of it. This station itself goes by
 * restoring.json; a line here tells the others so much of that record that they can keep a half restored board out of the
 * history, see that its flash is whole after all, and finish what was begun.
 */

import { z } from 'zod';
import type { Mac } from '../mac.ts';
import type { EventFile } from './marks/events.ts';
import { type HalfRestored, type RestoreRecord, recordSchema } from './restore-record.ts';
import { stationSchema } from './station.ts';

/** A longer list of parts is told in short: a line is no place for hundreds of KB. */
const MAX_PARTS = 200;
/** Restores that one can be over: more stations than had a board in hand. */
const MAX_OVER = 20;
/** So much the clocks of stations that did not hear of each other may differ. */
const CLOCKS_DIFFER_MS = 60 * 60 * 1000;

/** Beginnings of restores that were known as unfinished when the line was written. */
const over = z.array(z.iso.datetime()).max(MAX_OVER).default([]);

const shape = recordSchema.shape;

const begunSchema = z.object({
  at: z.iso.datetime(),
  state: z.literal('begun'),
  startedAt: shape.startedAt,
  from: shape.from,
  over,
  why: shape.why,
  snapshot: shape.snapshot,
  snapshotIsNew: shape.snapshotIsNew,
  regions: shape.regions.min(1).max(MAX_PARTS),
  /** Null where they are too many. */
  done: shape.done.max(MAX_PARTS).nullable(),
  parts: shape.parts,
  kept: shape.kept,
  toldFlashBytes: z.number().int().nonnegative().nullable(),
  station: stationSchema,
});

const endedSchema = z.object({
  at: z.iso.datetime(),
  state: z.enum(['done', 'nothing-written']),
  startedAt: shape.startedAt,
  from: shape.from,
  over,
  station: stationSchema,
});

const halfSchema = z.discriminatedUnion('state', [begunSchema, endedSchema]);
export type HalfEvent = z.infer<typeof halfSchema>;
export type Begun = z.infer<typeof begunSchema>;

export const HALVES: EventFile<HalfEvent, 'halves.jsonl'> = { name: 'halves.jsonl', schema: halfSchema };

/** The line that says so of a restore that has begun. */
export function begunLine(
  at: string,
  record: Omit<RestoreRecord, 'formatVersion' | 'createdBy' | 'archive'>,
  over: readonly HalfRestored[],
): Begun {
  const { options, regions: differing } = record;
  return {
    ...{ at, state: 'begun', startedAt: record.startedAt, from: record.from, why: record.why },
    ...{ snapshot: record.snapshot, snapshotIsNew: record.snapshotIsNew, parts: record.parts, kept: record.kept },
    regions: differing.length > 0 && differing.length <= MAX_PARTS ? differing : [hullOf(differing, record.done)],
    done: record.done.length <= MAX_PARTS ? record.done : null,
    toldFlashBytes: options.toldFlashBytes,
    over: beginningsOf(over),
  };
}

/** One part that has all in it. */
function hullOf(differing: RestoreRecord['regions'], all: RestoreRecord['done']): RestoreRecord['regions'][number] {
  const within = differing.length > 0 ? differing : all;
  const offset = Math.min(...within.map((part) => part.offset));
  return { offset, sizeBytes: Math.max(...within.map((part) => part.offset + part.sizeBytes)) - offset };
}

/**
 * What another station's line says, as a record. How that station reached the board, and which guards its person has
 * overridden, is nothing to go by here.
 */
export function halfOf(mac: Mac, begun: Begun): HalfRestored {
  const { station, startedAt, from, why, snapshot, snapshotIsNew, regions, done, parts, kept } = begun;
  const record: RestoreRecord = {
    ...{ formatVersion: 1, createdBy: '', mac, archive: null },
    ...{ from, startedAt, why, snapshot, snapshotIsNew, regions, done: done ?? [], parts, kept },
    options: { port: null, ignore: [], yes: false, toldFlashBytes: begun.toldFlashBytes },
  };
  return { record, problem: null, ...(station === undefined ? {} : { station }) };
}

/** The line that says how a restore has ended. */
export function endedLine(
  at: string,
  state: 'done' | 'nothing-written',
  { startedAt, from }: Pick<RestoreRecord, 'startedAt' | 'from'>,
  over: readonly HalfRestored[],
): HalfEvent {
  return { at, state, startedAt, from, over: beginningsOf(over) };
}

function beginningsOf(halves: readonly HalfRestored[]): string[] {
  return halves.flatMap(({ record }) => record?.startedAt ?? []).slice(-MAX_OVER);
}

/** Whether a line is by somebody who knew of a restore, and has ended it or begun another one. */
function isOver({ state, startedAt, over }: HalfEvent, beginning: string): boolean {
  return over.includes(beginning) || (state !== 'begun' && startedAt === beginning);
}

/**
 * The restores of a board that have begun and not ended, the newest last, that of this station at the very end: what it
 * has written itself it knows best, so only who knew of it can have ended it.
 *
 * @param own by restoring.json; null where there is none
 * @param events of the board, oldest first
 */
export function unfinishedRestores(
  mac: Mac,
  own: HalfRestored | null,
  events: readonly HalfEvent[],
): readonly HalfRestored[] {
  const others = new Map<string, Begun>();
  for (const begun of events) {
    if (begun.state !== 'begun' || begun.station === undefined) continue;
    others.delete(begun.station);
    if (!events.some((event) => isEndedBy(begun, event, events))) others.set(begun.station, begun);
  }
  const beginning = own?.record?.startedAt;
  const isOwnOver =
    beginning !== undefined && events.some((event) => event.station !== undefined && isOver(event, beginning));
  return [...[...others.values()].map((begun) => halfOf(mac, begun)), ...(own === null || isOwnOver ? [] : [own])];
}

/**
 * Of two stations that did not know of each other, the clocks tell who was first, as far as they can. Where they cannot, the
 * board counts as half restored: the next look at its flash tells.
 */
function isEndedBy(begun: Begun, event: HalfEvent, events: readonly HalfEvent[]): boolean {
  if (isOver(event, begun.startedAt)) return true;
  if (event.station === begun.station) return events.indexOf(event) > events.indexOf(begun);
  return event.state !== 'begun' && Date.parse(event.at) > Date.parse(begun.at) + CLOCKS_DIFFER_MS;
}
