/**
 * Backups of one board with one id: two stations have made them in the same second. The id means one of them; the others are
 * called `ID@STATION`, and get an id of their own when they are fetched. Pure.
 */

import { EspdError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import type { Backup } from '../backup.ts';
import { idToDate, isBackupId, placedId } from '../ids.ts';
import { stationText } from '../station-text.ts';
import { isStationName } from '../station.ts';
import type { StoredBackup } from './types.ts';

/** Names one of several of an id. */
export interface CopyName {
  readonly id: string;
  /** In full, or as people call it. */
  readonly station: string;
}

/** Of `ID@STATION`; undefined for all that says something else. */
export function parseCopyName(which: string): CopyName | undefined {
  const [id = '', station] = which.split(/@(.*)/s);
  return station !== undefined && isBackupId(id) && isStationName(station) ? { id, station } : undefined;
}

/** What a person calls it: by its id alone where that means it. */
export function nameOf({ id, station }: CopyName, isMeantById: boolean): string {
  return isMeantById ? id : `${id}@${station}`;
}

/** Those of one store, of different content: the one in the folder that all share first, as its id means that one. */
export function contendersFor(id: string, stored: readonly StoredBackup[]): readonly StoredBackup[] {
  const all = stored
    .filter((each) => each.id === id)
    .toSorted((a, b) => a.folder.length - b.folder.length || (a.folder < b.folder ? -1 : 1));
  return all.filter((each, index) => all.findIndex(isSameContentAs(each)) === index);
}

const isSameContentAs = (one: StoredBackup) => (other: StoredBackup) => one.manifestSha256 === other.manifestSha256;

/** The same backup, perhaps under an id of its own: all else that its station knew of it is the same. */
export function isSameBackup({ manifest }: Pick<Backup, 'manifest'>, stored: Pick<StoredBackup, 'manifest'>): boolean {
  const [one, other] = [manifest, stored.manifest];
  if (one.image.sha256 !== other.image.sha256 || one.createdAt !== other.createdAt) return false;
  return JSON.stringify({ ...one, id: '' }) === JSON.stringify({ ...other, id: '' });
}

/** Ids under which a backup may lie here: its own, and what {@link idHere} can have given it. */
export function idsToLookAt(id: string, here: readonly string[]): readonly string[] {
  const first = here.findIndex((each) => each >= id);
  return first === -1 ? [] : here.slice(first, first + MOST_OF_ONE_SECOND);
}

/** Stations that had the same second, and seconds behind it that were taken. */
const MOST_OF_ONE_SECOND = 64;

/**
 * The id that a backup gets when it is fetched: its own, unless that means another one; then the first second behind it
 * that no backup of the board has, as if one station had made both.
 */
export function idHere(
  backup: Pick<StoredBackup, 'id' | 'store' | 'manifestSha256'>,
  here: readonly string[],
  stored: readonly StoredBackup[],
): string {
  const { id } = backup;
  const [meant] = contendersFor(
    id,
    stored.filter(({ store }) => store === backup.store),
  );
  const isMeant = meant === undefined || meant.manifestSha256 === backup.manifestSha256;
  const at = idToDate(id);
  if ((isMeant && !here.includes(id)) || at === undefined) return id;
  return placedId([...here, ...stored.map((each) => each.id)], at);
}

/** The one that a name means. @throws EspdError `archive-unknown-backup` */
export function namedCopy({ id, station }: CopyName, stored: readonly StoredBackup[]): StoredBackup {
  const ofId = stored.filter((each) => each.id === id);
  const named = ofId.filter((each) => each.station === station || stationText(each.station) === station);
  const [found, another] = contendersFor(id, named);
  if (found !== undefined && another === undefined) return found;
  const names = [...new Set(ofId.map((each) => printable(each.station)))].join(', ');
  const hint = names === '' ? 'espd show lists what lies there' : `That id has been put there by: ${names}`;
  const why = found === undefined ? 'no station called' : 'more than one station called';
  throw new EspdError('archive-unknown-backup', `${why} ${printable(station)} has put a backup ${id} into the store`, {
    hint,
  });
}
