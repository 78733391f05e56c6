/** The section `retention`: what is kept of each board, in restic's words; and what it stands for. Pure. */

import { z } from 'zod';
import type { Duration, KeepRules, RetentionPolicy } from '../archive/retention/policy.ts';
import { parseMac } from '../mac.ts';
import { parseSize } from './size.ts';

/** The keys that say what is kept. */
export const KEEP_KEYS = [
  'keepLast',
  'keepHourly',
  'keepDaily',
  'keepWeekly',
  'keepMonthly',
  'keepYearly',
  'keepWithin',
  'keepPerFirmware',
] as const;

/** restic's word for a count without a limit. */
export const UNLIMITED = 'unlimited';
const MAX_COUNT = 1_000_000;
const COUNT_WANTED = `wants a whole number from 0 to ${MAX_COUNT}, or ${UNLIMITED}`;
const SIZE_WANTED = 'wants a size such as 500M, 50G or 2T: at least 1M, in powers of 1024';
const DURATION_WANTED =
  'wants years, months, days and hours in this order, such as 1y5m7d2h (a week is 7d, a month is 1m)';

const count = () =>
  z
    .union([z.int().min(0).max(MAX_COUNT), z.literal(UNLIMITED)], { error: COUNT_WANTED })
    .nullable()
    .default(null);

const keepShape = {
  keepLast: count().describe('The newest so many backups; or unlimited, here and below. null: no such rule.'),
  keepHourly: count().describe('Of the newest so many hours that have a backup, the last one each; hours of UTC.'),
  keepDaily: count().describe('Of the newest so many days that have a backup, the last one each.'),
  keepWeekly: count().describe('Of the newest so many weeks (from Monday), the last one each.'),
  keepMonthly: count().describe('Of the newest so many months, the last one each.'),
  keepYearly: count().describe('Of the newest so many years, the last one each.'),
  keepWithin: z
    .string()
    .max(64)
    .refine((text) => parseDuration(text) !== null, { message: DURATION_WANTED })
    .nullable()
    .default(null)
    .describe("All that are younger than the board's newest backup minus this, such as 1y5m7d2h."),
  keepPerFirmware: count().describe('Of each firmware, by name and version, the newest so many.'),
};

type KeepSection = { readonly [Key in (typeof KEEP_KEYS)[number]]?: string | number | null };

const KEEPS_NOTHING =
  'would keep nothing: give at least one of its keep... keys more than 0, or leave all of them out to keep everything';

function isSet(section: KeepSection): boolean {
  return KEEP_KEYS.some((key) => (section[key] ?? null) !== null);
}

/** Whether one rule at least keeps something. */
function keepsSomething(section: KeepSection): boolean {
  return KEEP_KEYS.some((key) => {
    const value = section[key] ?? null;
    if (key !== 'keepWithin') return value === UNLIMITED || Number(value) !== 0; // what is below 0 has its own complaint
    const duration = typeof value === 'string' ? parseDuration(value) : null;
    return duration !== null && Object.values(duration).some((part) => part > 0);
  });
}

export const overrideSchema = z
  .strictObject(keepShape)
  .refine(keepsSomething, { message: KEEPS_NOTHING })
  .describe('What is kept of these boards, in the place of the keep... keys above.');

const overrides = (what: string) =>
  z
    .record(z.string().min(1).max(128), overrideSchema)
    .refine((entries) => Object.keys(entries).length <= 10_000, { message: 'wants at most 10000 entries' })
    .default({})
    .describe(what);

export const retentionSchema = z
  .strictObject({
    ...keepShape,
    maxBytes: z
      .union([z.int(), z.string().max(32)], { error: SIZE_WANTED })
      .refine((value) => parseBudget(value) !== null, { message: SIZE_WANTED })
      .nullable()
      .default(null)
      .describe(
        'What all backups together may take, such as 50G. What no rule keeps then stays while there is room, and is ' +
          'thinned out evenly. null: no limit, and what no rule keeps goes.',
      ),
    boards: overrides('Other rules for single boards, by MAC or label; stronger than those for groups.').superRefine(
      (entries, context) => {
        const seen = new Map<string, string>();
        for (const name of Object.keys(entries)) {
          const board = boardKey(name).normalize('NFC').trim().toLowerCase();
          const before = seen.get(board);
          if (before !== undefined) {
            const message = `names one board twice, as ${before} and as ${name}`;
            context.addIssue({ code: 'custom', message, path: [name] });
          }
          seen.set(board, name);
        }
      },
    ),
    groups: overrides('Other rules for the boards of a group, by its name.'),
  })
  .refine((section) => !isSet(section) || keepsSomething(section), { message: KEEPS_NOTHING });

export type RetentionSection = z.output<typeof retentionSchema>;

/** What a checked section stands for. */
export function retentionPolicy(section: RetentionSection): RetentionPolicy {
  const { boards, groups, maxBytes } = section;
  const rulesOf = (entries: Readonly<Record<string, KeepSection>>, keyOf: (name: string) => string) =>
    new Map(Object.entries(entries).map(([name, rules]) => [keyOf(name), keepRules(rules)]));
  return {
    rules: isSet(section) ? keepRules(section) : null,
    boards: rulesOf(boards, boardKey),
    groups: rulesOf(groups, (name) => name),
    maxBytes: maxBytes === null ? null : parseBudget(maxBytes),
  };
}

function boardKey(name: string): string {
  return parseMac(name) ?? name;
}

function keepRules(section: KeepSection): KeepRules {
  const countOf = (value: string | number | null | undefined) =>
    value === UNLIMITED ? Number.POSITIVE_INFINITY : Number(value ?? 0);
  const { keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly, keepWithin, keepPerFirmware } = section;
  return {
    last: countOf(keepLast),
    hourly: countOf(keepHourly),
    daily: countOf(keepDaily),
    weekly: countOf(keepWeekly),
    monthly: countOf(keepMonthly),
    yearly: countOf(keepYearly),
    within: typeof keepWithin === 'string' ? parseDuration(keepWithin) : null,
    perFirmware: countOf(keepPerFirmware),
  };
}

/** restic's notation, `1y5m7d2h`: each unit at most once, in this order. Null for every other text. */
export function parseDuration(text: string): Duration | null {
  const match = /^(?:(\d{1,5})y)?(?:(\d{1,5})m)?(?:(\d{1,5})d)?(?:(\d{1,5})h)?$/.exec(text);
  if (match === null || text === '') return null;
  const [years, months, days, hours] = match.slice(1).map((part: string | undefined) => Number(part ?? 0));
  return { years: years ?? 0, months: months ?? 0, days: days ?? 0, hours: hours ?? 0 };
}

/** A slip (`maxBytes: 50`, where 50G was meant) must not empty an archive. */
const SMALLEST_BUDGET_BYTES = 1024 ** 2;

/** As {@link parseSize}, and null below 1M too. */
export function parseBudget(value: string | number): number | null {
  const bytes = parseSize(value);
  return bytes !== null && bytes >= SMALLEST_BUDGET_BYTES ? bytes : null;
}
