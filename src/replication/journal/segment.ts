/**
 * Segments of a station's journal: FORMAT.md, The journal. What this station writes, and what is read of others, which is
 * hostile until it was looked at here line by line. Pure.
 */

import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { isBackupId } from '../../archive/ids.ts';
import { MAX_MANIFEST_BYTES, type Manifest, contradictions, readManifest } from '../../archive/manifest.ts';
import { type MarkFile, REPLICATED_MARKS } from '../../archive/elsewhere/types.ts';
import { type Mac, parseMac } from '../../mac.ts';
import { homeOf } from '../layout.ts';

/** A segment has no more lines than this, and no more bytes unless a single line has more. */
export const MAX_LINES = 500;
export const MAX_SEGMENT_BYTES = 1024 * 1024;
/** A manifest, and what stands around it. A segment with more than this is none that espd writes. */
export const MAX_READ_BYTES = 2 * MAX_MANIFEST_BYTES;
/** Of a line of marks: a restore of two hundred parts is the longest. */
const MAX_MARK_CHARACTERS = 128 * 1024;
/** Raised when a reader of before could misunderstand a segment. */
const FORMAT = 1;
const LINE_FEED = 0x0a;
/** A time further ahead than this of when its segment was written counts as of then. */
export const MAX_AHEAD_MS = 24 * 3_600_000;

export type JournalLine =
  | {
      readonly kind: 'backup';
      readonly mac: Mac;
      readonly id: string;
      readonly folder: string;
      readonly at: string;
      readonly manifestSha256: string;
      readonly manifest: Manifest;
    }
  | { readonly kind: 'removed'; readonly mac: Mac; readonly id: string; readonly folder: string; readonly at: string }
  | { readonly kind: 'mark'; readonly mac: Mac; readonly file: MarkFile; readonly line: MarkLine };

export type MarkLine = { readonly at: string } & Readonly<Record<string, unknown>>;

export interface SegmentHead {
  readonly station: string;
  readonly seq: number;
  /** The clock of its station. */
  readonly at: string;
}

export type SegmentReading =
  | {
      readonly kind: 'read';
      readonly lines: readonly JournalLine[];
      /** How many are of a later espd. */
      readonly newer: number;
      /** How many say what their station may not say. */
      readonly strange: number;
    }
  | { readonly kind: 'newer' }
  | {
      /** Not as its station has written it: it may have told more, a pin perhaps, and any of it may be wrong. */
      readonly kind: 'damaged';
      readonly problem: string;
    };

export interface SegmentContext {
  readonly station: string;
  readonly seq: number;
  /** When it was written, by the store's clock. */
  readonly writtenMs: number;
}

/** @param lines each as {@link encodeLine} gives it */
export function encodeSegment(head: SegmentHead, lines: readonly string[]): Buffer {
  const body = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  const first = JSON.stringify({ kind: 'segment', format: FORMAT, ...head, sha256: sha256(body) });
  return Buffer.concat([Buffer.from(`${first}\n`), body]);
}

export function encodeLine(line: JournalLine): string {
  return JSON.stringify(line);
}

const headSchema = z.object({
  kind: z.literal('segment'),
  format: z.int().positive(),
  station: z.string(),
  seq: z.int(),
  at: z.iso.datetime(),
  /** Of all behind this line; segments of before have none. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
const mac = z.string().transform((text, context) => {
  const parsed = parseMac(text);
  // Only as espd writes it: two spellings would be two boards.
  if (parsed === text) return parsed;
  context.addIssue('no MAC');
  return z.NEVER;
});
const id = z.string().refine(isBackupId);
const at = z.iso.datetime().max(40);
const folder = z.string().max(256);
const backupSchema = z.object({
  ...{ mac, id, folder, at },
  manifestSha256: z.string().regex(/^[0-9a-f]{64}$/),
  manifest: z.looseObject({}),
});
const removedSchema = z.object({ mac, id, folder, at });
const markSchema = z.object({ mac, file: z.enum(REPLICATED_MARKS), line: z.looseObject({ at }) });
const kindSchema = z.object({ kind: z.string() });
const KINDS: ReadonlySet<string> = new Set(['backup', 'removed', 'mark']);

/** Never throws. */
export function readSegment(bytes: Uint8Array, context: SegmentContext): SegmentReading {
  const steps = segmentSteps(bytes, context);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The same with a step for each line: 120 manifests take a fast processor 20 ms, and a packet of a board waits no longer than some. */
export function* segmentSteps(bytes: Uint8Array, context: SegmentContext): Generator<void, SegmentReading, undefined> {
  const end = bytes.indexOf(LINE_FEED);
  const head = headSchema.safeParse(parsed(textOf(end === -1 ? bytes : bytes.subarray(0, end)))).data;
  const none = (problem: string): SegmentReading => ({ kind: 'damaged', problem });
  if (head === undefined) return none('it does not begin as a segment');
  if (head.format > FORMAT) return { kind: 'newer' };
  if (head.station !== context.station || head.seq !== context.seq) return none('it belongs elsewhere');
  if (end === -1) return none('its end is missing');
  const body = bytes.subarray(end + 1);
  const texts = textOf(body).split('\n');
  // Behind the last line feed is nothing.
  if (texts.at(-1) === '') texts.pop();
  if (texts.length > MAX_LINES) return none(`it has more than ${MAX_LINES} lines`);
  const lines: JournalLine[] = [];
  const counts = { newer: 0, strange: 0, broken: 0 };
  for (const [index, text] of texts.entries()) {
    const line = readLine(text, context);
    if (typeof line === 'string') counts[line]++;
    else lines.push(clamped(line, context.writtenMs, index));
    yield;
  }
  const { broken, ...others } = counts;
  const problem = problemOf(body, head.sha256, broken);
  return problem === undefined ? { kind: 'read', lines, ...others } : { kind: 'damaged', problem };
}

/**
 * What shows that it is not as its station has written it. A line that is lost may have been a pin, so it is not enough to
 * pass over what cannot be read.
 */
function problemOf(body: Uint8Array, told: string | undefined, broken: number): string | undefined {
  if (body.length > 0 && body.at(-1) !== LINE_FEED) return 'its end is missing';
  if (broken > 0 || !isUtf8(body)) return 'a line of it cannot be read';
  if (told !== undefined && told !== sha256(body)) return 'its lines differ from their digest';
  return undefined;
}

function readLine(text: string, { station }: SegmentContext): JournalLine | 'newer' | 'strange' | 'broken' {
  const json = parsed(text);
  const kind = kindSchema.safeParse(json).data?.kind;
  if (kind === undefined) return 'broken';
  if (!KINDS.has(kind)) return 'newer';
  if (kind === 'mark') return readMark(text, json);
  if (kind === 'removed') {
    const removed = removedSchema.safeParse(json).data;
    return removed === undefined || homeOf(removed) === undefined ? 'strange' : { kind, ...removed };
  }
  const backup = backupSchema.safeParse(json).data;
  if (backup === undefined) return 'strange';
  // In the folder of another station none but that one puts a backup.
  const home = homeOf(backup);
  if (home !== '' && home !== station) return 'strange';
  const reading = readManifest(backup.manifest);
  if (reading.kind !== 'read') return reading.kind === 'newer' ? 'newer' : 'strange';
  const { manifest } = reading;
  const isOfIt = manifest.mac === backup.mac && manifest.id === backup.id && contradictions(manifest).length === 0;
  return isOfIt ? { kind: 'backup', ...backup, manifest } : 'strange';
}

function readMark(text: string, json: unknown): JournalLine | 'newer' | 'strange' {
  const mark = markSchema.safeParse(json).data;
  if (mark === undefined) {
    const { file } = json as { file?: unknown };
    return typeof file === 'string' && !REPLICATED_MARKS.some((name) => name === file) ? 'newer' : 'strange';
  }
  // A line that bears a station is of another one, which says it itself.
  if (text.length > MAX_MARK_CHARACTERS || 'station' in mark.line) return 'strange';
  return { kind: 'mark', ...mark };
}

/**
 * A clock that was years ahead must not have the last word for years. What counts in its place is the store's own time,
 * which every reader is told alike; those of one segment stay in their order.
 */
function clamped(line: JournalLine, writtenMs: number, index: number): JournalLine {
  const said = Date.parse(line.kind === 'mark' ? line.line.at : line.at);
  if (said <= writtenMs + MAX_AHEAD_MS) return line;
  const instead = new Date(writtenMs + index).toISOString();
  return line.kind === 'mark' ? { ...line, line: { ...line.line, at: instead } } : { ...line, at: instead };
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
