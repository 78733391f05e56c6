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

const shape = recordSchema.shape;

const begunSchema = z.object({
  at: z.iso.datetime(),
  state: z.literal('begun'),
  startedAt: shape.startedAt,
  from: shape.from,
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
  station: stationSchema,
});

const halfSchema = z.discriminatedUnion('state', [begunSchema, endedSchema]);
export type HalfEvent = z.infer<typeof halfSchema>;
type Begun = z.infer<typeof begunSchema>;

export const HALVES: EventFile<HalfEvent, 'halves.jsonl'> = { name: 'halves.jsonl', schema: halfSchema };

/** The line that says so of a restore that has begun. */
export function begunLine(at: string, record: Omit<RestoreRecord, 'formatVersion' | 'createdBy' | 'archive'>): Begun {
  const { options, regions: differing } = record;
  return {
    ...{ at, state: 'begun', startedAt: record.startedAt, from: record.from, why: record.why },
    ...{ snapshot: record.snapshot, snapshotIsNew: record.snapshotIsNew, parts: record.parts, kept: record.kept },
    regions: differing.length > 0 && differing.length <= MAX_PARTS ? differing : [hullOf(differing, record.done)],
    done: record.done.length <= MAX_PARTS ? record.done : null,
    toldFlashBytes: options.toldFlashBytes,
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
