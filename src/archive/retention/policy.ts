/** What a person wants to be kept: the words are restic's. Pure. */

import type { Mac } from '../../mac.ts';
import { labelKey } from '../marks/label-key.ts';

/** As restic's: calendar years and months, days and hours; whole numbers from 0. */
export interface Duration {
  readonly years: number;
  readonly months: number;
  readonly days: number;
  readonly hours: number;
}

/**
 * Which backups of one board stay; a backup stays when any rule keeps it. Counts are whole numbers from 0, `Infinity` for
 * all; 0 keeps nothing.
 */
export interface KeepRules {
  /** The newest so many. */
  readonly last: number;
  /** Of the newest so many hours, days, weeks (from Monday), months and years that have a backup, the newest one each. */
  readonly hourly: number;
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
  readonly yearly: number;
  /** All that are younger than the board's newest minus this; null = none. */
  readonly within: Duration | null;
  /** Of each firmware, by name and version, the newest so many. */
  readonly perFirmware: number;
}

export interface RetentionPolicy {
  /** For boards that no override names; null = all their backups are kept. */
  readonly rules: KeepRules | null;
  /** By MAC, or by label. An override takes the place of all other rules; that of a board is stronger than its group's. */
  readonly boards: ReadonlyMap<string, KeepRules>;
  /** By name of the group. */
  readonly groups: ReadonlyMap<string, KeepRules>;
  /** What all backups together may take on the disk; null = no limit. At least 1. */
  readonly maxBytes: number | null;
}

/** Without rules: what a policy is made from, and what keeps nothing. */
export const NO_RULES: KeepRules = {
  last: 0,
  hourly: 0,
  daily: 0,
  weekly: 0,
  monthly: 0,
  yearly: 0,
  within: null,
  perFirmware: 0,
};

/** Nothing is ever removed. */
export const KEEP_EVERYTHING: RetentionPolicy = { rules: null, boards: new Map(), groups: new Map(), maxBytes: null };

/** The rules that keep anything, in the words of the config: `keepLast 7, keepDaily 14`. */
export function rulesText(rules: KeepRules): string {
  const counts = [
    ['keepLast', rules.last],
    ['keepHourly', rules.hourly],
    ['keepDaily', rules.daily],
    ['keepWeekly', rules.weekly],
    ['keepMonthly', rules.monthly],
    ['keepYearly', rules.yearly],
    ['keepPerFirmware', rules.perFirmware],
  ] as const;
  const { within } = rules;
  const texts = [
    ...counts.flatMap(([word, count]) => (count === 0 ? [] : `${word} ${count === Infinity ? 'unlimited' : count}`)),
    ...(within === null || isZero(within) ? [] : [`keepWithin ${durationText(within)}`]),
  ];
  return texts.length === 0 ? 'there is none' : texts.join(', ');
}

/** Whether these rules keep no backup at all, apart from those that are never removed. */
export function keepsNothing(rules: KeepRules): boolean {
  const { within, ...counts } = rules;
  return !Object.values(counts).some((count) => count > 0) && (within === null || isZero(within));
}

function isZero({ years, months, days, hours }: Duration): boolean {
  return years === 0 && months === 0 && days === 0 && hours === 0;
}

/** Whether the policy can remove anything. */
export function removesNothing({ rules, boards, groups, maxBytes }: RetentionPolicy): boolean {
  return rules === null && boards.size === 0 && groups.size === 0 && maxBytes === null;
}

/** Finds the rules for one board; null = everything of it is kept. Labels and groups are compared as labels are. */
export function ruleFinder(
  policy: RetentionPolicy,
): (board: { readonly mac: Mac; readonly label: string | null; readonly group: string | null }) => KeepRules | null {
  const byKey = (rules: ReadonlyMap<string, KeepRules>) =>
    new Map([...rules].map(([name, value]) => [labelKey(name), value]));
  const [boards, groups] = [byKey(policy.boards), byKey(policy.groups)];
  return ({ mac, label, group }) => {
    const byLabel = label === null ? undefined : boards.get(labelKey(label));
    const byGroup = group === null ? undefined : groups.get(labelKey(group));
    return boards.get(mac) ?? byLabel ?? byGroup ?? policy.rules;
  };
}

/**
 * `timeMs` minus `duration`, in UTC. As in restic (Go's `Time.AddDate`), a day that a month does not have counts on into
 * the next month: 31 March minus one month is 3 March.
 */
export function minus(timeMs: number, { years, months, days, hours }: Duration): number {
  const date = new Date(timeMs);
  date.setUTCFullYear(date.getUTCFullYear() - years, date.getUTCMonth() - months, date.getUTCDate() - days);
  const result = date.getTime() - hours * 3_600_000;
  // Beyond the times that a Date knows everything is younger.
  return Number.isNaN(result) ? Number.NEGATIVE_INFINITY : result;
}

/** `1y5m7d2h`, without the units that are 0. */
export function durationText({ years, months, days, hours }: Duration): string {
  const units = [
    [years, 'y'],
    [months, 'm'],
    [days, 'd'],
    [hours, 'h'],
  ] as const;
  return units.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('') || '0h';
}
