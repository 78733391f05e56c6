/**
 * The format of a recorded conversation: JSON Lines, a header first. docs/record.md tells it to people. The files of
 * test/traces, which other programs recorded, are the same without a header: one reader for both. Pure.
 */

import { EspdError } from '../../errors.ts';

export const RECORDING_VERSION = 1;
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

export type RecordingLine = FrameLine | PortLine;

export interface Recording {
  /** Null for a file of another program. */
  readonly header: RecordingHeader | null;
  readonly lines: readonly RecordingLine[];
}

const KINDS = ['cmd', 'rsp', 'data', 'ack', 'raw', 'open', 'lines', 'baud', 'purge', 'close', 'fault'];
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
  if (kind === 'open' && !(isBool('controlLines') && isBool('canSetBaudRate'))) return 'says not what the link can do';
  return undefined;
}
