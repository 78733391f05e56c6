/** Which backup and which board a person means. Pure. */

import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { idFromDate, isBackupId } from './ids.ts';
import { printable } from '../printable.ts';

/** `latest`, `first`, a backup id, `ID@STATION` (same-id.ts), or an ISO date (the newest backup not after it). */
export type Which = string;

const MAX_NAMED = 5;

/**
 * The id meant, out of `ids` (sorted, of everything with an id as its name, sound or not).
 *
 * An ISO date or date-time means the newest backup not after it, to the end of what it names: a day (UTC), a minute, a
 * second. A time of day without `Z` or an offset is local time.
 *
 * @throws EspdError `archive-unknown-backup`, naming what is there
 */
export function selectId(mac: Mac, ids: readonly string[], which: Which): string {
  const oldest = ids[0];
  const newest = ids.at(-1);
  if (oldest === undefined || newest === undefined) {
    throw new EspdError('archive-unknown-backup', `The archive holds no backup of ${mac} yet`, {
      hint: 'Plug the board in and run "espd backup"',
    });
  }
  if (which === 'latest') return newest;
  if (which === 'first') return oldest;
  const there = `There ${ids.length === 1 ? 'is' : 'are'} ${nameSome(ids.toReversed())}`;
  if (isBackupId(which)) {
    if (ids.includes(which)) return which;
    throw new EspdError('archive-unknown-backup', `${mac} has no backup ${which}`, { hint: there });
  }
  const end = parseMoment(which);
  if (end === undefined) {
    throw new EspdError('archive-unknown-backup', `"${printable(which)}" names no backup of ${mac}`, {
      hint: `Use latest, first, a backup id or an ISO date such as 2026-11-23 or 2026-11-23T10:00Z. ${there}`,
    });
  }
  const limit = idFromDate(end);
  const chosen = ids.findLast((id) => id <= limit);
  if (chosen !== undefined) return chosen;
  throw new EspdError('archive-unknown-backup', `${mac} has no backup as old as ${printable(which)}`, {
    hint: `The first one is ${oldest}`,
  });
}

const MOMENT = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/i;

/** The last second that an ISO date or date-time names; undefined for other texts and for days that do not exist. */
export function parseMoment(text: string): Date | undefined {
  const match = MOMENT.exec(text);
  if (match === null) return undefined;
  const [, year = '', month = '', day = '', hour, minute = '', second, zone = ''] = match;
  const date = `${year}-${month}-${day}`;
  const midnight = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(date)) return undefined;
  const time = hour === undefined ? '23:59:59Z' : `${hour}:${minute}:${second ?? '59'}${zone.toUpperCase()}`;
  const moment = new Date(`${date}T${time}`);
  // An offset can lead out of the years that ids know.
  return Number.isNaN(moment.getTime()) || !/^\d/.test(moment.toISOString()) ? undefined : moment;
}

/**
 * `text` is no board of the archive: an error that names those it could have meant.
 * @param labels those with a label that is like `text`
 */
export function unknownBoard(text: string, macs: readonly Mac[], labels: readonly string[] = []): EspdError {
  const near = [...labels.map((label) => `"${printable(label)}"`), ...nearBoards(text, macs)];
  const count = macs.length === 1 ? '1 board' : `${macs.length} boards`;
  let hint = `It holds ${count}: ${nameSome(macs)}`;
  if (near.length > 0) hint = `Near it: ${nameSome(near)}`;
  else if (macs.length === 0) hint = 'It is still empty: plug a board in and run "espd backup"';
  return new EspdError(
    'archive-unknown-board',
    `The archive holds no board with the MAC or label "${printable(text)}"`,
    {
      hint,
    },
  );
}

/**
 * Boards that may be meant: at most two digits wrong, missing or too many; or the same last three bytes (those that
 * tell boards of one vendor apart); or a part of the MAC, four digits or longer; or a name that firmware makes of the
 * last three bytes, as it shows in a router (`ESP_C337A5`, `tasmota-c337a5-1957`, `kitchen-c337a5`).
 */
export function nearBoards(text: string, macs: readonly Mac[]): Mac[] {
  const lower = text.slice(0, 64).toLowerCase();
  const digits = lower.replace(/[^0-9a-z]/g, '');
  const ends = endsIn(lower);
  const distance = new Map<Mac, number>();
  for (const mac of macs) {
    const hex = mac.replaceAll(':', '');
    const edits = editDistance(digits, hex);
    const part = digits.length >= 4 && hex.includes(digits);
    const gap = Math.min(...ends.map((end) => gapBetween(hex, end)));
    // What ends as the name does is nearer than what only looks like it; its sisters come behind it.
    if (gap < OWN_MACS) distance.set(mac, gap - OWN_MACS);
    else if (edits <= 2 || part || (digits.length === 12 && digits.slice(6) === hex.slice(6))) distance.set(mac, edits);
  }
  return [...distance.entries()].sort(([, a], [, b]) => a - b).map(([mac]) => mac);
}

/**
 * MACs that a board has at most: its base MAC for the station, and those that follow for access point, Bluetooth and
 * Ethernet, one of which a name can be made of. ESP-IDF programming guide, "MAC Address".
 */
const OWN_MACS = 4;

/** The last six characters of every word of `text` that ends in six hex digits. */
function endsIn(text: string): string[] {
  const words = text.split(/[^0-9a-z]+/).filter((word) => word.length !== 12);
  return words.flatMap((word) => /[0-9a-f]{6}$/.exec(word) ?? []);
}

/** How far the last three bytes `end` are behind those of `hex`; not negative, and around at 2 ** 24. */
function gapBetween(hex: string, end: string): number {
  return (parseInt(end, 16) - parseInt(hex.slice(6), 16) + 0x1000000) % 0x1000000;
}

/** Levenshtein's: how many characters must be changed, added or taken away. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function nameSome(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return names.slice(0, MAX_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
