/** Backup ids: UTC times to the second that are legal folder names everywhere and sort as they happened. Pure. */

const ID_PATTERN = /^(\d{4}-\d{2}-\d{2}T\d{2})-(\d{2})-(\d{2}Z)$/;

/** The id of a time; fractions of the second are cut off. Throws RangeError outside the years 0000 to 9999. */
export function idFromDate(date: Date): string {
  const iso = date.toISOString();
  if (!/^\d{4}-/.test(iso)) throw new RangeError(`${iso} is beyond the years that a backup id can name`);
  return `${iso.slice(0, 19).replaceAll(':', '-')}Z`;
}

/** The inverse of {@link idFromDate}; undefined for every other text, also for days and hours that do not exist. */
export function idToDate(id: string): Date | undefined {
  const match = ID_PATTERN.exec(id);
  if (match === null) return undefined;
  const date = new Date(`${match[1]}:${match[2]}:${match[3]}`);
  return !Number.isNaN(date.getTime()) && idFromDate(date) === id ? date : undefined;
}

export function isBackupId(name: string): boolean {
  return idToDate(name) !== undefined;
}

/**
 * The id of a backup that is made at `createdAt` beside folders and files called `names`: its second, but always later
 * than every id that is there. So ids sort in the order of commits even where the clock went back, and two backups in
 * one second get two ids. Throws RangeError where the year 9999 is used up.
 */
export function nextId(names: Iterable<string>, createdAt: Date): string {
  let newest = '';
  for (const name of names) {
    if (name > newest && isBackupId(name)) newest = name;
  }
  const wished = idFromDate(createdAt);
  const last = idToDate(newest);
  if (last === undefined || wished > newest) return wished;
  return idFromDate(new Date(last.getTime() + 1000));
}

/**
 * The id of a backup whose content is known to be of `at`: that second, or the first one behind it that none of `names` has.
 * It may be older than others, which `first` and retention go by. Throws RangeError where the year 9999 is used up.
 */
export function placedId(names: Iterable<string>, at: Date): string {
  const taken = new Set(names);
  let ms = at.getTime();
  while (taken.has(idFromDate(new Date(ms)))) ms += 1000;
  return idFromDate(new Date(ms));
}
