/**
 * The reader as it was built: `reader/built/<stub>.json`, described in `reader/PROTOCOL.md`. Read when a board is to be
 * loaded with it, and believed only as far as its own checks go.
 */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { StubImage } from '../stub.ts';

/** The version of `reader/PROTOCOL.md` that this side speaks. */
export const PROTOCOL_VERSION = 1;

export interface ReaderProgram {
  /** Changes with every change of its source: what one build did wrong says nothing of the next. */
  readonly build: number;
  /** SHA-256 of the only stub that it fits, lower-case hex: see {@link stubDigest}. */
  readonly stubSha256: string;
  /** What stands in a slot of the stub's table of handlers that nobody has taken. */
  readonly unusedSlot: number;
  /** The pointers to set, those of INFO, TABLE and STREAM. */
  readonly slots: readonly { readonly address: number; readonly value: number }[];
  /** What is to be loaded; lengths are multiples of 4. */
  readonly segments: readonly { readonly address: number; readonly bytes: Buffer }[];
  readonly crc32: number;
  /** How far back a match may lie, in bytes. */
  readonly historyBytes: number;
}

const BUILT = new URL('../../../reader/built/', import.meta.url);
/** The largest program is some 10 KB, in base64; a chip has no room for more than this. */
const MAX_DOCUMENT_BYTES = 512 * 1024;
const MAX_SEGMENTS = 8;
const SLOTS = 3;

/**
 * The reader for the stub of that name (`esp32c3`); undefined where none was built for it, or what lies there is none of
 * this version.
 */
export async function loadReaderProgram(stubName: string, folder: URL = BUILT): Promise<ReaderProgram | undefined> {
  if (!/^[a-z0-9-]{1,40}$/.test(stubName)) return undefined;
  try {
    const bytes = await readFile(new URL(`${stubName}.json`, folder));
    return bytes.length > MAX_DOCUMENT_BYTES ? undefined : parseReaderProgram(JSON.parse(bytes.toString('utf8')));
  } catch {
    return undefined;
  }
}

/** SHA-256 over the segments of a stub image, text and then data, lower-case hex. */
export function stubDigest({ segments }: StubImage): string {
  const hash = createHash('sha256');
  for (const { bytes } of segments) hash.update(bytes);
  return hash.digest('hex');
}

/** @returns undefined for anything that is no sound reader of {@link PROTOCOL_VERSION} */
export function parseReaderProgram(document: unknown): ReaderProgram | undefined {
  if (!isRecord(document) || document['protocol'] !== PROTOCOL_VERSION) return undefined;
  const { build, crc32: sum, historyBytes, slots, segments, stub, table } = document;
  if (!isWord(build) || !isWord(sum) || !isWord(historyBytes) || !isRecord(stub) || !isRecord(table)) return undefined;
  const { sha256 } = stub;
  const { unused } = table;
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256) || !isWord(unused)) return undefined;
  if (!Array.isArray(slots) || slots.length !== SLOTS || !Array.isArray(segments)) return undefined;
  if (segments.length === 0 || segments.length > MAX_SEGMENTS) return undefined;
  const parsedSlots = slots.map(parseSlot);
  const parsedSegments = segments.map(parseSegment);
  if (!parsedSlots.every(isDefined) || !parsedSegments.every(isDefined)) return undefined;
  const image = Buffer.concat(parsedSegments.map(({ bytes }) => bytes));
  const covered = image.length - 4;
  if (image.readUInt32LE(covered) !== sum || crc32(image.subarray(0, covered)) !== sum) return undefined;
  return {
    ...{ build, crc32: sum, historyBytes, stubSha256: sha256, unusedSlot: unused },
    ...{ slots: parsedSlots, segments: parsedSegments },
  };
}

function parseSlot(value: unknown): ReaderProgram['slots'][number] | undefined {
  if (!isRecord(value) || !isWord(value['address']) || !isWord(value['value'])) return undefined;
  return { address: value['address'], value: value['value'] };
}

function parseSegment(value: unknown): ReaderProgram['segments'][number] | undefined {
  if (!isRecord(value) || !isWord(value['address']) || typeof value['dataBase64'] !== 'string') return undefined;
  const bytes = Buffer.from(value['dataBase64'], 'base64');
  return bytes.length === 0 || bytes.length % 4 !== 0 ? undefined : { address: value['address'], bytes };
}

function isWord(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined;
}
