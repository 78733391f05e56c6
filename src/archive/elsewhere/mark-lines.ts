/** Lines of the files of marks, as one station gives them to another. Pure. */

import type { z } from 'zod';
import { HALVES } from '../halves.ts';
import { CONFIRMATIONS, LABELS, PINS } from '../marks/events.ts';
import { type Line, hasUsableTime } from '../marks/merge.ts';
import { RESTORES, restoreSchema } from '../restores.ts';
import { SIGHTINGS, sightingSchema } from '../sightings.ts';
import type { MarkFile } from './types.ts';

/** A longer one is not taken in: the longest that espd writes is a restore of 200 parts. */
const MAX_LINE_CHARACTERS = 128 * 1024;

const SCHEMAS: Record<MarkFile, z.ZodType<Line>> = {
  [LABELS.name]: LABELS.schema,
  [PINS.name]: PINS.schema,
  [CONFIRMATIONS.name]: CONFIRMATIONS.schema,
  [HALVES.name]: HALVES.schema,
  [SIGHTINGS]: sightingSchema,
  [RESTORES]: restoreSchema,
};

/** A line as it is kept, with nothing in it that is not known; undefined for what is none of this file. */
export function readMarkLine(file: MarkFile, json: unknown): Line | undefined {
  const line = SCHEMAS[file].safeParse(json).data;
  if (line === undefined || !hasUsableTime(line) || JSON.stringify(line).length > MAX_LINE_CHARACTERS) return undefined;
  return line;
}

/** The lines of a file, those that are none left out. */
export function parseMarkLines(file: MarkFile, text: string): Line[] {
  return text.split('\n').flatMap((line) => {
    try {
      return readMarkLine(file, JSON.parse(line)) ?? [];
    } catch {
      return [];
    }
  });
}

/** The same for lines in which one station says the same. @param by which one; undefined = this one */
export function identityOf(
  line: Line,
  by: { readonly station: string | undefined } = { station: line.station },
): string {
  return JSON.stringify({ ...line, station: by.station });
}
