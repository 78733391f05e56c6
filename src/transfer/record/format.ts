/**
 * The format of a recorded conversation: JSON Lines, a header first. docs/record.md tells it to people. The files of
 * test/traces, which other programs recorded, are the same without a header: one reader for both. Pure.
 */

import { parseMac } from '../../mac.ts';
import { EspdError } from '../../errors.ts';

export const RECORDING_VERSION = 1;
const ROLES = ['latest', 'opened', 'verified'] as const;
/** Longer ones are none of ours: a frame has 64 KiB at most, in hex. */
const MAX_LINE = 256 * 1024;
const MAX_LINES = 4_000_000;

export interface RecordingHeader {
  readonly kind: 'espd-recording';
  readonly version: number;
  /** Version of espd. */
  readonly espd: string;
  readonly command: string;
  /** Whether bytes of flash are in it. */
  readonly payload: boolean;
  /** How boards were spoken to; missing in recordings of older versions. */
  readonly settings?: RecordedSettings;
  /** What the command line said of the work, by the names of its options; never a file or a port. */
  readonly options?: Readonly<Record<string, unknown>>;
}

export interface RecordedSettings {
  readonly baudRate: number;
  readonly connectAttempts: number;
  /** `auto`, or a sequence of the person's own. */
  readonly reset: string;
  readonly full: boolean;
}

/** Bytes that were cut out of a frame. */
export interface CutOut {
  /** Where, in the frame; missing = at its end. */
  readonly at?: number;
  readonly bytes: number;
  /** The same for the same bytes in one recording, and nothing more can be learnt of it: a keyed digest, whose key is gone. */
  readonly tag?: string;
  /** All of them are this: erased flash, or zeros. */
  readonly fill?: number;
  /** Of bytes that everybody has: those of the flasher stub. */
  readonly sha256?: string;
}

interface Common {
  /** Seconds since the recording began. */
  readonly t: number;
  /** Number of the link, from 1 on; missing = 1. */
  readonly link?: number;
}

/** A frame without its escapes, or (`raw`) bytes outside of frames as they came. */
export interface FrameLine extends Common {
  readonly dir: 'host' | 'chip';
  /** `cmd` request, `rsp` response, `data` packet or digest of READ_FLASH, `ack` acknowledgement of one. */
  readonly kind: 'cmd' | 'rsp' | 'data' | 'ack' | 'raw';
  readonly hex: string;
  /** For the reader: the command. */
  readonly name?: string;
  readonly data?: CutOut;
}

export type PortLine = Common & { readonly dir: 'host' } & (
    | {
        readonly kind: 'open';
        readonly transport: 'device' | 'rfc2217' | 'socket';
        readonly baudRate: number;
        readonly controlLines: boolean;
        readonly canSetBaudRate: boolean;
        /** Lower-case hex of 4 digits each; null where there is none. */
        readonly usb: { readonly vendorId: string; readonly productId: string } | null;
      }
    | { readonly kind: 'lines'; readonly dtr: boolean; readonly rts: boolean }
    | { readonly kind: 'baud'; readonly baudRate: number }
    | { readonly kind: 'purge' }
    | { readonly kind: 'close' }
    /** A call that failed: its name, and the code of espd or of the system. */
    | { readonly kind: 'fault'; readonly call: string; readonly code: string }
  );

/** An image that espd had: what it compares with follows from it. Its content comes in {@link SectorsLine}s. */
export interface KnownLine extends Common {
  readonly dir: 'host';
  readonly kind: 'known';
  /** From 1 on. */
  readonly image: number;
  /**
   * `latest`: the newest backup of that board; `opened`: it was read, to be written or to be compared with; `verified`:
   * its files were found to be sound, as of one that a restore needs no snapshot beside.
   */
  readonly role: (typeof ROLES)[number];
  readonly mac: string;
  readonly sizeBytes: number;
  /** As in the manifest. */
  readonly chip: object;
  readonly flash: object;
  readonly security: object | null;
  readonly confirmed: boolean;
  /** As in the manifest, but for those of the user's and of keys; missing in recordings of older versions. */
  readonly efuses?: Readonly<Record<string, readonly string[]>>;
  /** Tags of the chip's digest of such a flash, as a stub answers it and as a ROM does; missing with payload. */
  readonly digestTags?: readonly string[];
  readonly partitions: readonly object[];
  /** The partition table itself, where there is one: the content of one sector. */
  readonly table: { readonly at: number; readonly hex: string } | null;
}

/** Its sectors of 4 KiB in order: what all of its bytes are, a tag as in {@link CutOut}, or all of it in hex. */
export interface SectorsLine extends Common {
  readonly dir: 'host';
  readonly kind: 'sectors';
  readonly image: number;
  /** Number of the first one. */
  readonly from: number;
  readonly sectors: readonly (number | string)[];
}

export type RecordingLine = FrameLine | PortLine | KnownLine | SectorsLine;

export interface Recording {
  /** Null for a file of another program. */
  readonly header: RecordingHeader | null;
  readonly lines: readonly RecordingLine[];
}

const KINDS = [
  ...['cmd', 'rsp', 'data', 'ack', 'raw', 'open', 'lines', 'baud', 'purge', 'close', 'fault'],
  ...['known', 'sectors'],
];
const FRAMES = KINDS.slice(0, 5);

/** @throws EspdError `input-unreadable` with the number of the line that is none */
export function parseRecording(text: string): Recording {
  let header: RecordingHeader | null = null;
  const lines: RecordingLine[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const wrong = (why: string) =>
      new EspdError('input-unreadable', `Line ${index + 1} of the recording ${why}`, {
        hint: 'A recording is what --record has written; docs/record.md describes it',
      });
    if (line.length > MAX_LINE || lines.length >= MAX_LINES) throw wrong('is too long');
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw wrong('is no JSON');
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('is no object');
    const facts = value as Record<string, unknown>;
    if (facts['kind'] === 'espd-recording') {
      if (header !== null || lines.length > 0) throw wrong('is a header, and not the first one');
      if (facts['version'] !== RECORDING_VERSION) throw wrong(`has a version other than ${RECORDING_VERSION}`);
      header = value as RecordingHeader;
      continue;
    }
    const problem = problemOf(facts);
    if (problem !== undefined) throw wrong(problem);
    lines.push(value as RecordingLine);
  }
  return { header, lines };
}

const isNumber = (value: unknown, min: number, max: number) =>
  typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max;

function problemOf(facts: Readonly<Record<string, unknown>>): string | undefined {
  const { t, dir, kind, link = 1, hex, data } = facts;
  if (!isNumber(t, 0, 1e9)) return 'has no time';
  if (dir !== 'host' && dir !== 'chip') return 'says neither host nor chip';
  if (typeof kind !== 'string' || !KINDS.includes(kind)) return 'has an unknown kind';
  if (!Number.isInteger(link) || !isNumber(link, 1, 1e6)) return 'has a wrong number of a link';
  if (FRAMES.includes(kind)) {
    if (typeof hex !== 'string' || !/^(?:[0-9a-f]{2})*$/.test(hex)) return 'has no hex';
    if (data === undefined) return undefined;
    if (typeof data !== 'object' || data === null) return 'has wrong data';
    const { at = hex.length / 2, bytes, fill = 0 } = data as { at?: unknown; bytes?: unknown; fill?: unknown };
    const isSound = Number.isInteger(bytes) && isNumber(bytes, 0, 65_536) && isNumber(fill, 0, 255);
    return isSound && Number.isInteger(at) && isNumber(at, 0, hex.length / 2) ? undefined : 'has wrong data';
  }
  if (dir !== 'host') return 'has a kind that only the host has';
  const isBool = (key: string) => typeof facts[key] === 'boolean';
  if (kind === 'lines' && !(isBool('dtr') && isBool('rts'))) return 'has no lines';
  if ((kind === 'baud' || kind === 'open') && !isNumber(facts['baudRate'], 1, 1e8)) return 'has no baud rate';
  if (kind === 'known') return problemOfKnown(facts);
  if (kind === 'sectors') return problemOfSectors(facts);
  if (kind === 'open' && !(isBool('controlLines') && isBool('canSetBaudRate'))) return 'says not what the link can do';
  return undefined;
}

const isCount = (value: unknown, max: number) => Number.isInteger(value) && isNumber(value, 0, max);
/** More than any flash that espd reads. */
const MAX_FLASH_BYTES = 256 * 1024 * 1024;
const MAX_IMAGES = 1000;

function problemOfKnown({ image, role, mac, sizeBytes, table, ...facts }: Readonly<Record<string, unknown>>) {
  const isObject = (value: unknown) => typeof value === 'object' && value !== null;
  if (!isCount(image, MAX_IMAGES) || !isCount(sizeBytes, MAX_FLASH_BYTES)) return 'has no image';
  if (!ROLES.some((one) => one === role)) return 'says not what the image was for';
  if (typeof mac !== 'string' || parseMac(mac) !== mac) return 'has no MAC';
  if (!isObject(facts['chip']) || !isObject(facts['flash']) || !Array.isArray(facts['partitions']))
    return 'has no chip';
  const { digestTags = [], efuses = {} } = facts;
  if (!isWordsByBlock(efuses)) return 'has wrong eFuses';
  if (!Array.isArray(digestTags) || !digestTags.every(isTag)) return 'has wrong digests';
  if (table === null) return undefined;
  const { at, hex } = (table ?? {}) as { at?: unknown; hex?: unknown };
  const isHex = typeof hex === 'string' && hex.length <= 8192 && /^(?:[0-9a-f]{2})*$/.test(hex);
  return isHex && isCount(at, Number(sizeBytes)) ? undefined : 'has a wrong partition table';
}

const isTag = (value: unknown) => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);

function isWordsByBlock(efuses: unknown): boolean {
  if (typeof efuses !== 'object' || efuses === null) return false;
  const isWord = (value: unknown) => typeof value === 'string' && /^[0-9a-f]{8}$/.test(value);
  return Object.values(efuses).every((words) => Array.isArray(words) && words.every(isWord));
}

function problemOfSectors({ image, from, sectors }: Readonly<Record<string, unknown>>): string | undefined {
  if (!isCount(image, MAX_IMAGES) || !isCount(from, MAX_FLASH_BYTES / 4096)) return 'has no image';
  const isSector = (one: unknown) =>
    isNumber(one, 0, 255) || (typeof one === 'string' && /^(?:[0-9a-f]{32}|[0-9a-f]{8192})$/.test(one));
  return Array.isArray(sectors) && sectors.every(isSector) ? undefined : 'has no sectors';
}
