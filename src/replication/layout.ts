/** Where what lies in a bucket: FORMAT.md, In a bucket. Pure. */

import { type Mac, macToFolder } from '../mac.ts';

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

/** Key of the folder of a backup, with a slash at its end. */
export function folderKey({ prefix, station }: Layout, place: Place, mac: Mac, id: string): string {
  return `${prefix}${place === 'shared' ? '' : `${STATIONS}${station}/`}${macToFolder(mac)}/${id}/`;
}

/** What the encryption binds an object to: the same wherever its folder lies. */
export function boundName(mac: Mac, id: string, file: string): string {
  return `${macToFolder(mac)}/${id}/${file}`;
}
