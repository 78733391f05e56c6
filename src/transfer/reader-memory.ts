/**
 * Where is kept which chips a build of the reader failed on: one JSON document for all of them, beside what is remembered
 * of lines. It is a cache: lost, broken or hostile, it costs one reset a chip.
 */

import type { ReaderFacts, ReaderMemory } from '../esp/reader/memory.ts';
import type { Logger } from '../log.ts';
import { type CacheStore, RememberedDocument } from './remembered-document.ts';

/** What one session needs: read before it, written after it. */
export interface ReaderMemories {
  /** Never rejects. */
  open(): Promise<RememberedReaders>;
}

export interface RememberedReaders extends ReaderMemory {
  /** Writes down what was remembered since; nothing where nothing was. Never rejects. */
  save(): Promise<void>;
}

const DOCUMENT = 'readers.json';
const VERSION = 1;
const MAX_ENTRIES = 2000;
const MAX_DOCUMENT_BYTES = 1024 * 1024;
const KEY = /^[0-9a-f:]{17} [0-9a-f]{8}$/;
const MAX_FAILURES = 1000;

type Entries = Map<string, ReaderFacts>;

export function readerMemories(store: CacheStore, { log }: { log: Logger }): ReaderMemories {
  const document = new RememberedDocument<ReaderFacts>(store, { name: DOCUMENT, about: 'readers', parse, format }, log);
  return {
    async open() {
      const known = await document.read();
      const learned: Entries = new Map();
      return {
        recall: (mac, build) => known.get(keyOf(mac, build)) ?? null,
        remember(mac, build, facts) {
          known.set(keyOf(mac, build), facts);
          learned.set(keyOf(mac, build), facts);
        },
        save() {
          if (learned.size === 0) return Promise.resolve();
          return document.add(learned);
        },
      };
    },
  };
}

function keyOf(mac: string, build: number): string {
  return `${mac} ${build.toString(16).padStart(8, '0')}`;
}

function format(entries: ReadonlyMap<string, ReaderFacts>): Buffer {
  const newest = [...entries]
    .sort(([, one], [, other]) => other.failedAt.localeCompare(one.failedAt))
    .slice(0, MAX_ENTRIES);
  return Buffer.from(`${JSON.stringify({ version: VERSION, readers: Object.fromEntries(newest) }, null, 1)}\n`);
}

/** The entries of a document that are sound; none of one that is not. */
function parse(bytes: Buffer | undefined): Entries {
  const entries: Entries = new Map();
  if (bytes === undefined || bytes.length > MAX_DOCUMENT_BYTES) return entries;
  const document: unknown = JSON.parse(bytes.toString('utf8'));
  if (!isRecord(document) || document['version'] !== VERSION || !isRecord(document['readers'])) return entries;
  for (const [key, value] of Object.entries(document['readers'])) {
    if (!KEY.test(key) || !isRecord(value)) continue;
    const { failedAt, failures } = value;
    if (typeof failedAt !== 'string' || failedAt.length > 40 || Number.isNaN(Date.parse(failedAt))) continue;
    if (typeof failures !== 'number' || !Number.isInteger(failures) || failures < 1 || failures > MAX_FAILURES)
      continue;
    entries.set(key, { failedAt, failures });
  }
  return entries;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
