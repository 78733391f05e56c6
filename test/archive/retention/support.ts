/** Made-up archives and policies for the tests of retention. */

import fc from 'fast-check';
import { idFromDate } from '../../../src/archive/ids.ts';
import { planRetention } from '../../../src/archive/retention/plan.ts';
import { type KeepRules, NO_RULES, type RetentionPolicy, keepsNothing } from '../../../src/archive/retention/policy.ts';
import type {
  Decision,
  RetentionBackup,
  RetentionBoard,
  RetentionFacts,
  RetentionPlan,
} from '../../../src/archive/retention/types.ts';
import { type Mac, parseMac } from '../../../src/mac.ts';

export const [A, B, C] = ['50:02:91:c3:37:a5', '50:02:91:c3:37:a6', '50:02:91:c3:37:a7'].map(
  (text) => parseMac(text) as Mac,
) as [Mac, Mac, Mac];
export const MIB = 1024 * 1024;
export const LATER = Date.parse('2040-01-01T00:00:00Z');

/** One backup that looks sound, made at `at` (ISO 8601). */
export function backup(at: string, more: Partial<RetentionBackup> = {}): RetentionBackup {
  const date = new Date(at);
  return {
    id: idFromDate(date),
    createdAt: date.toISOString(),
    state: 'sound',
    firmware: null,
    sizeOnDiskBytes: 4 * MIB,
    pin: null,
    isConfirmed: true,
    isImported: false,
    holdsForeign: false,
    ...more,
  };
}

export function board(
  mac: Mac,
  backups: readonly RetentionBackup[],
  more: Partial<RetentionBoard> = {},
): RetentionBoard {
  return { mac, label: null, group: null, backups, restores: [], halfRestored: null, held: null, ...more };
}

export function factsOf(boards: readonly RetentionBoard[], more: Partial<RetentionFacts> = {}): RetentionFacts {
  return { boards, obstacles: [], nowMs: LATER, ...more };
}

export function policyOf(rules: Partial<KeepRules> | null, more: Partial<RetentionPolicy> = {}): RetentionPolicy {
  return {
    rules: rules === null ? null : { ...NO_RULES, ...rules },
    boards: new Map(),
    groups: new Map(),
    maxBytes: null,
    ...more,
  };
}

export function keysOf(decisions: readonly Decision[], stays: boolean): string[] {
  return decisions.filter((decision) => decision.stays === stays).map(({ mac, id }) => `${mac} ${id}`);
}

/** Ids that go. */
export function gone(facts: RetentionFacts, policy: RetentionPolicy): string[] {
  return planRetention(facts, policy)
    .decisions.filter(({ stays }) => !stays)
    .map(({ id }) => id);
}

/** What is left of an archive after the plan. */
export function applied(facts: RetentionFacts, { decisions }: RetentionPlan): RetentionFacts {
  const going = new Set(keysOf(decisions, false));
  return {
    ...facts,
    boards: facts.boards.map((each) => ({
      ...each,
      backups: each.backups.filter(({ id }) => !going.has(`${each.mac} ${id}`)),
    })),
  };
}

const START = Date.parse('2024-02-26T00:00:00Z');

/** Seconds after {@link START}: minutes, hours, days or years apart, so that all buckets are met. */
const seconds = fc.oneof(
  fc.nat(7200),
  fc.nat(3 * 86_400),
  fc.nat(90 * 86_400),
  fc.nat(6 * 365 * 86_400),
  // Exactly on the borders of days.
  fc.nat(800).map((day) => day * 86_400),
  fc.nat(800).map((day) => day * 86_400 + 86_399),
);

const anyBackup = fc.record({
  second: seconds,
  state: fc.oneof(
    { weight: 12, arbitrary: fc.constant('sound' as const) },
    { weight: 1, arbitrary: fc.constantFrom('damaged' as const, 'unreadable' as const, 'newer' as const) },
  ),
  firmware: fc.constantFrom(
    null,
    { name: 'Tasmota', version: '13.1.0' },
    { name: 'Tasmota', version: '14.0.0' },
    { name: 'WLED', version: null },
  ),
  megabytes: fc.nat(8),
  isPinned: fc.integer({ min: 0, max: 15 }).map((value) => value === 0),
  isConfirmed: fc.integer({ min: 0, max: 15 }).map((value) => value > 0),
  isImported: fc.integer({ min: 0, max: 7 }).map((value) => value === 0),
  /** The clock was wrong when it was made. */
  clockOffMs: fc.oneof(
    { weight: 20, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: -86_400_000 * 40, max: 86_400_000 * 3 }) },
  ),
});

function madeBackup(from: typeof anyBackup extends fc.Arbitrary<infer T> ? T : never): RetentionBackup {
  const date = new Date(START + from.second * 1000);
  return {
    id: idFromDate(date),
    createdAt: from.state === 'sound' ? new Date(date.getTime() + from.clockOffMs).toISOString() : null,
    state: from.state,
    firmware: from.state === 'sound' ? from.firmware : null,
    sizeOnDiskBytes: from.megabytes * MIB,
    pin: from.isPinned ? { note: null } : null,
    isConfirmed: from.isConfirmed,
    isImported: from.isImported,
    holdsForeign: false,
  };
}

const anyBoard = fc.record({
  backups: fc.uniqueArray(anyBackup, { maxLength: 25, selector: ({ second }) => second }),
  label: fc.constantFrom(null, 'kitchen'),
  group: fc.constantFrom(null, null, 'garden'),
  isHeld: fc.integer({ min: 0, max: 9 }).map((value) => value === 0),
  restores: fc.array(
    fc.record({ from: fc.nat(60), snapshot: fc.option(fc.nat(60)), isNew: fc.boolean(), partial: fc.boolean() }),
    { maxLength: 3 },
  ),
  isHalf: fc.integer({ min: 0, max: 9 }).map((value) => value === 0),
});

/** Up to three boards whose restores name backups of any of them. The clock is right. */
export const anyArchive: fc.Arbitrary<RetentionFacts> = fc
  .array(anyBoard, { minLength: 1, maxLength: 3 })
  .map((boards) => {
    const macs = [A, B, C];
    const made = boards.map(({ backups }) => backups.map(madeBackup));
    const all = made.flatMap((backups, index) => backups.map(({ id }) => ({ mac: macs[index] ?? A, id })));
    return factsOf(
      boards.map((each, index) => {
        const own = made[index] ?? [];
        const restores = each.restores.flatMap(({ from, snapshot, isNew, partial }) => {
          const source = all[from % Math.max(1, all.length)];
          if (source === undefined) return [];
          const taken = snapshot === null ? undefined : own[snapshot % Math.max(1, own.length)]?.id;
          return [{ at: '2030-01-01T00:00:00Z', from: source, snapshot: taken ?? null, snapshotIsNew: isNew, partial }];
        });
        const half = each.isHalf ? restores.pop() : undefined;
        return board(macs[index] ?? A, own, {
          label: each.label,
          group: each.group,
          restores,
          halfRestored: half ?? null,
          held: each.isHeld ? 'a job is at work on it' : null,
        });
      }),
    );
  });

const count = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 6 }) },
  { weight: 1, arbitrary: fc.constant(Number.POSITIVE_INFINITY) },
);

export const anyRules: fc.Arbitrary<KeepRules> = fc
  .record({
    last: count,
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
    within: fc.option(fc.record({ years: fc.nat(2), months: fc.nat(14), days: fc.nat(40), hours: fc.nat(50) }), {
      freq: 2,
    }),
    perFirmware: count,
  })
  .map((rules) => (keepsNothing(rules) ? { ...rules, last: 1 } : rules));

export const anyPolicy: fc.Arbitrary<RetentionPolicy> = fc.record({
  rules: fc.option(anyRules, { freq: 4 }),
  boards: fc
    .dictionary(fc.constantFrom<string>(A, 'kitchen', 'nobody'), anyRules, { maxKeys: 2 })
    .map((entries) => new Map(Object.entries(entries))),
  groups: fc.option(anyRules, { freq: 1 }).map((rules) => new Map(rules === null ? [] : [['garden', rules]])),
  maxBytes: fc.option(fc.integer({ min: 1, max: 150 }).map((megabytes) => megabytes * MIB)),
});
