/** Names in a bucket that have to do with journals: FORMAT.md, The journal. Pure. */

import { isBackupId } from '../../archive/ids.ts';
import { isStationName } from '../../archive/station.ts';
import { type Mac, macFromFolder, macToFolder } from '../../mac.ts';
import { ENCRYPTED, STATIONS } from '../layout.ts';

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

export interface FolderName {
  readonly mac: Mac;
  readonly id: string;
  /** Station in whose folder it lies; empty = all stations share it. */
  readonly home: string;
}

/** What the key of a backup's folder says, behind the prefix and with a slash at its end; undefined where it is none. */
export function parseFolder(folder: string): FolderName | undefined {
  const own = folder.startsWith(STATIONS) ? folder.slice(STATIONS.length) : folder;
  const home = own === folder ? '' : own.slice(0, Math.max(0, own.indexOf('/')));
  if (own !== folder && !isStationName(home)) return undefined;
  const [board = '', id = '', ...rest] = (home === '' ? own : own.slice(home.length + 1)).split('/');
  const mac = macFromFolder(board);
  return mac === undefined || !isBackupId(id) || rest.join() !== '' || !folder.endsWith('/')
    ? undefined
    : { mac, id, home };
}

/** Of a backup's folder; undefined where it is another than its own. */
export function homeOf({ mac, id, folder }: { mac: Mac; id: string; folder: string }): string | undefined {
  const name = parseFolder(folder);
  return name?.mac === mac && name.id === id ? name.home : undefined;
}

/** Key of a backup's folder behind the prefix, with a slash at its end. */
export function folderOf({ mac, id, home }: FolderName): string {
  return `${home === '' ? '' : `${STATIONS}${home}/`}${macToFolder(mac)}/${id}/`;
}
