/** Backup ids: UTC times to the second that are legal folder names everywhere and sort as they happened. Pure. */

const ID_LENGTH = '2026-11-23T10-00-00Z'.length;
const DAYS_OF_MONTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
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

/** As {@link idToDate}, without making a date: of a large archive it is asked a hundred thousand times. */
export function isBackupId(name: string): boolean {
  if (name.length !== ID_LENGTH || !ID_PATTERN.test(name)) return false;
  const [year, month, day] = [Number(name.slice(0, 4)), Number(name.slice(5, 7)), Number(name.slice(8, 10))];
  const [hour, minute, second] = [Number(name.slice(11, 13)), Number(name.slice(14, 16)), Number(name.slice(17, 19))];
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return false;
  return day <= (month === 2 && isLeapYear(year) ? 29 : (DAYS_OF_MONTHS[month - 1] ?? 0));
}

function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
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
