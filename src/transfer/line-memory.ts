/**
 * Where the facts of lines are kept from session to session: one JSON document for all of them. It is a cache: lost,
 * broken or hostile, it costs a few trials of baud rates and nothing else.
 */

import type { Clock } from '../clock.ts';
import type { LineFacts, LineMemory } from '../esp/line-memory.ts';
import type { Logger } from '../log.ts';
import type { UsbFacts } from '../serial/link.ts';
import { type CacheStore, RememberedDocument } from './remembered-document.ts';

/** Where a board may be. */
export interface LinePlace {
  readonly address: string;
  readonly usb: UsbFacts | null;
}

/** The lines of one session: read before it, written after it. */
export interface LineMemories {
  /** What is remembered of the line behind a port. Never rejects. */
  open(place: LinePlace): Promise<RememberedLine>;
}

export interface RememberedLine extends LineMemory {
  /** Writes down what was remembered since; nothing where nothing was. Never rejects. */
  save(): Promise<void>;
}

const DOCUMENT = 'lines.json';
const VERSION = 1;
const MAX_LINES = 500;
const MAX_DOCUMENT_BYTES = 1024 * 1024;
const MAX_KEY_LENGTH = 300;
const HIGHEST_BAUD_RATE = 5_000_000;

interface Entry {
  readonly usedAt: string;
  readonly facts: LineFacts;
}

type Entries = Map<string, Entry>;

export function lineMemories(store: CacheStore, { clock, log }: { clock: Clock; log: Logger }): LineMemories {
  const document = new RememberedDocument<Entry>(store, { name: DOCUMENT, about: 'lines', parse, format }, log);
  return {
    async open(place) {
      const key = lineKey(place);
      const recalled = (await document.read()).get(key)?.facts ?? null;
      let learned: LineFacts | null = null;
      return {
        recall: () => learned ?? recalled,
        remember: (facts) => {
          learned = facts;
        },
        save() {
          if (learned === null) return Promise.resolve();
          return document.add(new Map([[key, { usedAt: clock.date().toISOString(), facts: learned }]]));
        },
      };
    },
  };
}

/**
 * What makes a line: the slot and the bridge in it. Serial numbers that all bridges of a kind share tell nothing more,
 * and do no harm beside the slot. Ports without USB facts are known by their address.
 */
export function lineKey({ address, usb }: LinePlace): string {
  const parts =
    usb === null || usb.location === null
      ? ['address', address]
      : ['usb', usb.location, `${usb.vendorId}:${usb.productId}`, usb.serialNumber ?? ''];
  return parts.join(' ').slice(0, MAX_KEY_LENGTH);
}

function format(entries: ReadonlyMap<string, Entry>): Buffer {
  const newest = [...entries].sort(([, one], [, other]) => other.usedAt.localeCompare(one.usedAt)).slice(0, MAX_LINES);
  return Buffer.from(`${JSON.stringify({ version: VERSION, lines: Object.fromEntries(newest) }, null, 1)}\n`);
}

/** The entries of a document that are sound; none of one that is not. */
function parse(bytes: Buffer | undefined): Entries {
  const entries: Entries = new Map();
  if (bytes === undefined || bytes.length > MAX_DOCUMENT_BYTES) return entries;
  const document: unknown = JSON.parse(bytes.toString('utf8'));
  if (!isRecord(document) || document['version'] !== VERSION || !isRecord(document['lines'])) return entries;
  for (const [key, value] of Object.entries(document['lines'])) {
    const entry = key.length <= MAX_KEY_LENGTH ? parseEntry(value) : undefined;
    if (entry !== undefined) entries.set(key, entry);
  }
  return entries;
}

function parseEntry(value: unknown): Entry | undefined {
  if (!isRecord(value) || !isRecord(value['facts'])) return undefined;
  const { usedAt } = value;
  const { bestBaudRate, failedBaudRate, failedAt, sessionsSince, acknowledgeEarly } = value['facts'];
  if (!isDate(usedAt) || !(failedAt === null || isDate(failedAt))) return undefined;
  if (!isRateOrNull(bestBaudRate) || !isRateOrNull(failedBaudRate)) return undefined;
  if (typeof acknowledgeEarly !== 'boolean' || !isCount(sessionsSince)) return undefined;
  return { usedAt, facts: { bestBaudRate, failedBaudRate, failedAt, sessionsSince, acknowledgeEarly } };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isDate(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 40 && !Number.isNaN(Date.parse(value));
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isRateOrNull(value: unknown): value is number | null {
  return value === null || (isCount(value) && value > 0 && value <= HIGHEST_BAUD_RATE);
}
