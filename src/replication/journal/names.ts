/** Names in a bucket that have to do with journals: FORMAT.md, The journal. Pure. */

import { isStationName } from '../../archive/station.ts';
import { ENCRYPTED } from '../layout.ts';

/** Folder of all journals. */
export const JOURNAL = 'journal/';
const DIGITS = 10;
export const MAX_SEQ = 9_999_999_999;

/** Key behind the prefix, with a slash at its end. */
export function journalFolder(station: string): string {
  return `${JOURNAL}${station}/`;
}

/** Key behind the prefix, and what its encryption is bound to. */
export function segmentName(station: string, seq: number): string {
  return `${journalFolder(station)}${String(seq).padStart(DIGITS, '0')}.jsonl`;
}

/** Longer ones are none of ours. */
export const MAX_STATEMENT_BYTES = 64 * 1024;
/** Name of what a person has said of a station that is gone, behind the folder of its journal. */
export const GONE = 'gone.json';

/** Key behind the prefix. */
export function goneName(station: string): string {
  return journalFolder(station) + GONE;
}

/** A key that sorts behind all forms of a segment, and before those of the next one. */
export function behindSegment(station: string, seq: number): string {
  return `${journalFolder(station)}${String(seq).padStart(DIGITS, '0')}~`;
}

export interface SegmentName {
  readonly seq: number;
  readonly isEncrypted: boolean;
}

/** Undefined for what is no segment. @param name behind the folder of the journal */
export function parseSegmentName(name: string): SegmentName | undefined {
  const match = /^(\d{10})\.jsonl(\.enc)?$/.exec(name);
  const seq = Number(match?.[1]);
  return match === null || seq < 1 ? undefined : { seq, isEncrypted: match[2] === ENCRYPTED };
}

/** The station of a folder that a list of {@link JOURNAL} tells; undefined where it is none. */
export function stationOf(folder: string): string | undefined {
  const name = folder.slice(JOURNAL.length, -1);
  return folder.startsWith(JOURNAL) && folder.endsWith('/') && isStationName(name) ? name : undefined;
}
