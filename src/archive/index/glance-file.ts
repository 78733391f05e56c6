/**
 * The index of boards as a file: what was seen of each at a glance, and the evidence by which it is known whether that
 * still holds. Derived, so its format may change at will; FORMAT.md has only its name. Pure.
 *
 * One line (name, version, CRC-32 of all that follows, length of the JSON), the JSON with a row a board, then the numbers
 * of all rows as 64-bit floats in the order of this machine: written elsewhere, it holds nothing for this one anyway.
 */

import { join, sep } from 'node:path';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { macFromFolder, macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { escapeOf, printable, replaceUnprintable } from '../../printable.ts';
import { isBackupId } from '../ids.ts';
import { manifestSchema } from '../manifest.ts';
import { isStationName } from '../station.ts';
import { sightingSchema } from '../sightings.ts';
import type { BoardOverview } from '../types.ts';
import { EVIDENCE_NUMBERS } from './evidence.ts';
import { type Basis, LOGS, witnessCount } from './glance.ts';

export const BOARDS = 'boards.bin';

const HEAD = /^espd-boards 2 ([0-9a-f]{8}) (\d{1,9})\n/;
const MAX_HEAD_BYTES = 40;

/** A board with nothing wrong. */
export interface Entry {
  readonly board: BoardOverview;
  readonly basis: Basis;
  /** Of the {@link witnessesOf} the board, {@link EVIDENCE_NUMBERS} each. */
  readonly evidence: Float64Array;
}

export interface GlanceIndex {
  /** When the oldest entry was made, ms since 1970 by this machine's clock. */
  readonly sinceMs: number;
  readonly entries: ReadonlyMap<Mac, Entry>;
}

const id = () => z.string().refine(isBackupId);
const text = () =>
  z
    .string()
    .transform((value) => replaceUnprintable(value, escapeOf))
    .nullable();
/** Joined by blanks, and only their form is checked: there may be a hundred thousand. */
const idsSchema = z.string().regex(/^(?:\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z(?: (?=\d)|$))*$/);
const newestSchema = z.object({
  id: id(),
  manifest: manifestSchema
    .pick({
      ...{ createdAt: true, reason: true, chip: true, flash: true, security: true, image: true, confirmed: true },
    })
    .extend({ contents: manifestSchema.shape.contents.pick({ firmware: true }) }),
});
const rowSchema = z.object({
  folder: z.string(),
  ids: idsSchema,
  newest: newestSchema.nullable(),
  elsewhere: z
    .object({
      ids: idsSchema,
      alsoHere: z.number().int().nonnegative(),
      newest: newestSchema.nullable(),
      station: z.string().refine(isStationName).nullable(),
    })
    .nullable(),
  seen: sightingSchema.nullable(),
  foreign: z.array(
    z.object({ id: id().nullable(), file: z.string().transform(printable), problem: z.string().transform(printable) }),
  ),
  wasRestored: z.boolean(),
  about: z.object({ label: text(), note: text(), group: text() }),
  logs: z.array(z.enum(LOGS)).max(LOGS.length),
  before: z.array(id()),
});
const contentSchema = z.object({ sinceMs: z.number(), rows: z.array(rowSchema) });

export function encodeGlances({ sinceMs, entries }: GlanceIndex): Buffer {
  const rows = Array.from(entries.values(), ({ board, basis }): z.input<typeof rowSchema> => ({
    folder: macToFolder(board.mac),
    ids: board.ids.join(' '),
    newest: board.newest === null ? null : { id: board.newest.id, manifest: board.newest.manifest },
    seen: board.seen,
    foreign: board.foreign.map(({ id, file, problem }) => ({ id, file, problem })),
    wasRestored: board.wasRestored,
    about: board.about,
    elsewhere: board.elsewhere && { ...board.elsewhere, ids: board.elsewhere.ids.join(' ') },
    logs: [...basis.logs],
    before: [...basis.before],
  }));
  const json = Buffer.from(JSON.stringify({ sinceMs, rows }));
  const numbers = Array.from(entries.values(), ({ evidence }) =>
    Buffer.from(evidence.buffer, evidence.byteOffset, evidence.byteLength),
  );
  const crc = [json, ...numbers].reduce((value, piece) => crc32(piece, value), 0);
  const head = `espd-boards 2 ${crc.toString(16).padStart(8, '0')} ${json.length}\n`;
  return Buffer.concat([Buffer.from(head), json, ...numbers]);
}

/**
 * Undefined for everything that {@link encodeGlances} did not write just so.
 * @param root of the archive, for the paths of backups
 */
export function decodeGlances(bytes: Buffer, root: string): GlanceIndex | undefined {
  const head = HEAD.exec(bytes.toString('latin1', 0, MAX_HEAD_BYTES));
  if (head === null) return undefined;
  const rest = bytes.subarray(head[0].length);
  if (crc32(rest) !== Number.parseInt(head[1] ?? '', 16)) return undefined;
  const jsonBytes = Number(head[2]);
  let json: unknown;
  try {
    json = JSON.parse(rest.toString('utf8', 0, jsonBytes));
  } catch {
    return undefined;
  }
  const content = contentSchema.safeParse(json);
  if (!content.success) return undefined;
  // In memory of its own, because floats have to lie on multiples of eight.
  const numbers = Uint8Array.from(rest.subarray(jsonBytes)).buffer;
  const entries = new Map<Mac, Entry>();
  // `join` for each would take as long as all the rest.
  const prefix = join(root, sep);
  let at = 0;
  for (const row of content.data.rows) {
    const read = toBoard(row, prefix);
    if (read === undefined) return undefined;
    const { board, basis } = read;
    const count = witnessCount(board, basis) * EVIDENCE_NUMBERS;
    const end = at + count * Float64Array.BYTES_PER_ELEMENT;
    if (end > numbers.byteLength) return undefined;
    entries.set(board.mac, { board, basis, evidence: new Float64Array(numbers, at, count) });
    at = end;
  }
  return at === numbers.byteLength ? { sinceMs: content.data.sinceMs, entries } : undefined;
}

function toBoard(row: z.output<typeof rowSchema>, prefix: string): Pick<Entry, 'board' | 'basis'> | undefined {
  const { folder, newest, seen, foreign, wasRestored, about, logs, before } = row;
  const mac = macFromFolder(folder);
  const split = (ids: string) => (ids === '' ? [] : ids.split(' '));
  if (mac === undefined) return undefined;
  const board: BoardOverview = {
    mac,
    ids: split(row.ids),
    newest: newest && { mac, path: prefix + folder + sep + newest.id, ...newest },
    chipChange: null,
    seen,
    problems: [],
    foreign: foreign.map((entry) => ({ mac, ...entry })),
    halfRestored: null,
    wasRestored,
    about,
    elsewhere: row.elsewhere && { ...row.elsewhere, ids: split(row.elsewhere.ids) },
  };
  return { board, basis: { logs, before } };
}
