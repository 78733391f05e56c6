/** Where what lies in a bucket: FORMAT.md, In a bucket. Pure. */

import { isBackupId } from '../archive/ids.ts';
import { isStationName } from '../archive/station.ts';
import { type Mac, macFromFolder, macToFolder } from '../mac.ts';

/** Behind the name of what is encrypted. */
export const ENCRYPTED = '.enc';
/** Folder of what two stations would otherwise call alike, and of all where the store cannot tell who was first. */
export const STATIONS = 'stations/';
/** Folder of what the probe of a store puts there. */
export const PROBES = 'probes/';

/**
 * `shared`: the bucket's own boards, for one writer by conditional writes. `station`: a folder that no other station
 * writes to, an archive of its own.
 */
export type Place = 'shared' | 'station';

export interface Layout {
  /** Empty, or with a slash at its end. */
  readonly prefix: string;
  /** Name of this station. */
  readonly station: string;
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

/** Key of a backup's folder behind the prefix, with a slash at its end: what {@link parseFolder} reads. */
export function folderOf({ mac, id, home }: FolderName): string {
  return `${home === '' ? '' : `${STATIONS}${home}/`}${macToFolder(mac)}/${id}/`;
}

/** The same with the prefix. */
export function folderKey({ prefix, station }: Layout, place: Place, mac: Mac, id: string): string {
  return prefix + folderOf({ mac, id, home: place === 'shared' ? '' : station });
}

/** What the encryption binds an object to: the same wherever its folder lies. */
export function boundName(mac: Mac, id: string, file: string): string {
  return `${macToFolder(mac)}/${id}/${file}`;
}
