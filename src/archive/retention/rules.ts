/**
 * Which backups of one board the rules keep: restic's way. Pure.
 *
 * From the newest back, a rule for days keeps the first backup that it meets of each day, until it has met as many days
 * as asked; days without a backup do not count. `within` counts from the board's newest backup, not from now. So the
 * result does not depend on when it is asked for.
 * https://github.com/restic/restic/blob/v0.18.1/internal/restic/snapshot_policy.go (`ApplyPolicy`)
 *
 * Where espd differs:
 * - Hours, days and so on are those of UTC, as are backup ids and the dates in commands. restic goes by the zone that a
 *   snapshot was made in, so that snapshots made on the road change the days (restic issue 2233).
 * - The oldest backup needs no rule of its own (restic keeps it while a count is not used up): the first is never removed.
 * - Only backups that look sound count, so a damaged one never takes the place of a good one.
 */

import { idToDate } from '../ids.ts';
import { type KeepRules, durationText, minus } from './policy.ts';
import type { Reason, RetentionBackup, Rule } from './types.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** When a backup was made, in milliseconds; by its id where the manifest does not tell. */
export function timeOf({ id, createdAt }: Pick<RetentionBackup, 'id' | 'createdAt'>): number {
  const told = createdAt === null ? Number.NaN : Date.parse(createdAt);
  return Number.isNaN(told) ? (idToDate(id)?.getTime() ?? 0) : told;
}

interface CalendarRule {
  readonly rule: Rule;
  readonly count: (rules: KeepRules) => number;
  readonly word: string;
  /** A number that is the same for all times of one hour, day, ... and for no other time. */
  readonly bucketOf: (timeMs: number) => number;
}

const CALENDAR: readonly CalendarRule[] = [
  {
    rule: 'keep-hourly',
    count: ({ hourly }) => hourly,
    word: 'hour',
    bucketOf: (timeMs) => Math.floor(timeMs / HOUR_MS),
  },
  { rule: 'keep-daily', count: ({ daily }) => daily, word: 'day', bucketOf: dayOf },
  {
    rule: 'keep-weekly',
    count: ({ weekly }) => weekly,
    word: 'week',
    // 1 January 1970 was a Thursday, and weeks begin on Monday (ISO 8601).
    bucketOf: (timeMs) => Math.floor((dayOf(timeMs) + 3) / 7),
  },
  { rule: 'keep-monthly', count: ({ monthly }) => monthly, word: 'month', bucketOf: monthOf },
  {
    rule: 'keep-yearly',
    count: ({ yearly }) => yearly,
    word: 'year',
    bucketOf: (timeMs) => Math.floor(monthOf(timeMs) / 12),
  },
];

function dayOf(timeMs: number): number {
  return Math.floor(timeMs / DAY_MS);
}

function monthOf(timeMs: number): number {
  const date = new Date(timeMs);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/**
 * Why which backups are kept, by id; what no rule keeps is not in it.
 * @param backups of one board, sorted by id, all of which look sound
 */
export function keptByRules(backups: readonly RetentionBackup[], rules: KeepRules): Map<string, Reason[]> {
  const kept = new Map<string, Reason[]>();
  const keep = ({ id }: RetentionBackup, code: Rule, text: string) => {
    const reasons = kept.get(id);
    if (reasons === undefined) kept.set(id, [{ code, text }]);
    else reasons.push({ code, text });
  };
  const newestFirst = backups.toReversed();

  for (const [index, backup] of newestFirst.entries()) {
    if (index < rules.last) keep(backup, 'keep-last', `one of the last${ofCount(index + 1, rules.last)}`);
  }
  for (const { rule, count, word, bucketOf } of CALENDAR) {
    const limit = count(rules);
    const met = new Set<number>();
    for (const backup of newestFirst) {
      if (met.size >= limit) break;
      const bucket = bucketOf(timeOf(backup));
      if (met.has(bucket)) continue;
      met.add(bucket);
      keep(backup, rule, `the last of its ${word}${ofCount(met.size, limit)}`);
    }
  }
  if (rules.within !== null) {
    const limitMs = minus(Math.max(...backups.map(timeOf), Number.NEGATIVE_INFINITY), rules.within);
    for (const backup of newestFirst) {
      if (timeOf(backup) > limitMs) keep(backup, 'keep-within', `within ${durationText(rules.within)} of the newest`);
    }
  }
  const met = new Map<string, number>();
  for (const backup of newestFirst) {
    const { firmware } = backup;
    const key = JSON.stringify(firmware === null ? null : [firmware.name, firmware.version]);
    const place = (met.get(key) ?? 0) + 1;
    met.set(key, place);
    if (place > rules.perFirmware) continue;
    const name = firmware === null ? 'unknown firmware' : [firmware.name, firmware.version ?? []].flat().join(' ');
    keep(backup, 'keep-per-firmware', `the last of ${name}${ofCount(place, rules.perFirmware)}`);
  }
  return kept;
}

function ofCount(place: number, count: number): string {
  return count === Number.POSITIVE_INFINITY || count === 1 ? '' : ` (${place} of ${count})`;
}
