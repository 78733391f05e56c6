import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { planRetention } from '../../../src/archive/retention/plan.ts';
import { KEEP_EVERYTHING, type KeepRules, removesNothing } from '../../../src/archive/retention/policy.ts';
import { isKeptByRules, keptKeys, neverRemoved, thinnedKeys } from './oracle.ts';
import { A, B, C, LATER, MIB, anyArchive, anyPolicy, anyRules, applied, backup, board } from './support.ts';
import { factsOf, gone, keysOf, policyOf } from './support.ts';

const bytesOf = (boards: readonly { backups: readonly { sizeOnDiskBytes: number }[] }[]) =>
  boards.flatMap(({ backups }) => backups).reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);

describe('retention, whatever the archive and the policy', () => {
  test('what must never go stays', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        const never = neverRemoved(facts);
        for (const key of keysOf(planRetention(facts, policy).decisions, false)) assert.ok(!never.has(key), key);
      }),
      { numRuns: 300 },
    );
  });

  test('without a budget exactly that goes which the plain second thought would let go', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, withBudget) => {
        const policy = { ...withBudget, maxBytes: null };
        const stay = new Set([...neverRemoved(facts), ...keptKeys(facts, policy)]);
        const plan = planRetention(facts, policy);
        for (const { mac, id, stays, reasons } of plan.decisions) {
          const isFree = reasons.some(({ code }) =>
            ['latest', 'restored', 'before-restore', 'no-policy'].includes(code),
          );
          if (!isFree) assert.equal(stays, stay.has(`${mac} ${id}`), `${mac} ${id}`);
          else assert.ok(stays);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('with a budget exactly that goes which is found by looking at everything again after each removal', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, fc.integer({ min: 1, max: 200 }), (facts, policy, megabytes) => {
        const maxBytes = megabytes * MIB;
        const fixed = new Set([...neverRemoved(facts), ...keptKeys(facts, policy)]);
        for (const { mac, id, reasons } of planRetention(facts, { ...policy, maxBytes }).decisions) {
          const codes = reasons.map(({ code }) => code);
          if (codes.some((code) => ['latest', 'restored', 'before-restore'].includes(code))) fixed.add(`${mac} ${id}`);
        }
        const plan = planRetention(facts, { ...policy, maxBytes });
        assert.deepEqual(keysOf(plan.decisions, false).sort(), [...thinnedKeys(facts, fixed, maxBytes)].sort());
      }),
      { numRuns: 300 },
    );
  });

  test('the rules keep what the plain second thought keeps', () => {
    fc.assert(
      fc.property(anyArchive, anyRules, (facts, rules) => {
        const [only] = facts.boards;
        assert.ok(only !== undefined);
        const plan = planRetention(factsOf([only]), policyOf(rules));
        const kept = plan.decisions.filter(({ reasons }) => reasons.some(({ code }) => code.startsWith('keep-')));
        assert.deepEqual(
          kept.map(({ id }) => id),
          [...isKeptByRules(only.backups, rules)].sort(),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('keep everything removes nothing', () => {
    fc.assert(
      fc.property(anyArchive, (facts) => {
        const plan = planRetention(facts, KEEP_EVERYTHING);
        assert.deepEqual(keysOf(plan.decisions, false), []);
        assert.equal(plan.freedBytes, 0);
        const unlimited = planRetention(facts, policyOf({ last: Number.POSITIVE_INFINITY }));
        assert.deepEqual(keysOf(unlimited.decisions, false), []);
      }),
    );
    assert.ok(removesNothing(KEEP_EVERYTHING));
  });

  test('applied to what it has left it removes nothing more', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        const left = applied(facts, planRetention(facts, policy));
        assert.deepEqual(keysOf(planRetention(left, policy).decisions, false), []);
      }),
      { numRuns: 300 },
    );
  });

  test('a larger number never removes more, nor does a larger budget', () => {
    const keys = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly', 'perFirmware'] as const;
    fc.assert(
      fc.property(anyArchive, anyRules, fc.constantFrom(...keys), fc.nat(9), (facts, rules, key, more) => {
        const larger: KeepRules = { ...rules, [key]: rules[key] + more };
        const going = new Set(gone(facts, policyOf(rules)));
        for (const id of gone(facts, policyOf(larger))) assert.ok(going.has(id), id);
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(anyArchive, anyRules, fc.nat(400), fc.nat(50), (facts, rules, days, more) => {
        const within = (count: number) => ({ years: 0, months: 0, days: count, hours: 0 });
        const going = new Set(gone(facts, policyOf({ ...rules, within: within(days) })));
        for (const id of gone(facts, policyOf({ ...rules, within: within(days + more) }))) assert.ok(going.has(id), id);
      }),
      { numRuns: 200 },
    );
    fc.assert(
      fc.property(anyArchive, anyPolicy, fc.nat(100), fc.nat(60), (facts, policy, budget, more) => {
        const [small, large] = [budget + 1, budget + 1 + more].map((megabytes) =>
          keysOf(planRetention(facts, { ...policy, maxBytes: megabytes * MIB }).decisions, false),
        );
        for (const key of large ?? []) assert.ok(small?.includes(key), key);
      }),
      { numRuns: 300 },
    );
  });

  test('the order of boards and backups does not matter', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, fc.infiniteStream(fc.nat()), (facts, policy, random) => {
        const shuffled = <T>(items: readonly T[]): T[] =>
          items
            .map((item) => ({ item, key: Number(random.next().value) }))
            .sort((a, b) => a.key - b.key)
            .map(({ item }) => item);
        const other = {
          ...facts,
          boards: shuffled(facts.boards).map((each) => ({ ...each, backups: shuffled(each.backups) })),
        };
        assert.deepEqual(planRetention(other, policy), planRetention(facts, policy));
      }),
      { numRuns: 300 },
    );
  });

  test('every decision has a reason; what stays and goes adds up', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        const plan = planRetention(facts, policy);
        assert.equal(plan.decisions.length, facts.boards.flatMap(({ backups }) => backups).length);
        for (const { stays, reasons } of plan.decisions) {
          assert.ok(reasons.length > 0 && reasons.every(({ text }) => text.length > 0));
          const goes = reasons.some(({ code }) => code === 'no-rule' || code === 'over-budget');
          assert.equal(goes, !stays);
        }
        const total = bytesOf(facts.boards);
        const left = bytesOf(applied(facts, plan).boards);
        assert.deepEqual([plan.totalBytes, plan.freedBytes], [total, total - left]);
        assert.equal(plan.overBudgetBytes, policy.maxBytes === null ? 0 : Math.max(0, left - policy.maxBytes));
      }),
      { numRuns: 300 },
    );
  });

  test('a budget stops as soon as the archive fits: each removal was needed', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, fc.integer({ min: 1, max: 200 }), (facts, policy, megabytes) => {
        const maxBytes = megabytes * MIB;
        const plan = planRetention(facts, { ...policy, maxBytes });
        const going = plan.decisions.filter(({ stays }) => !stays);
        if (plan.totalBytes <= maxBytes) assert.deepEqual(going, []);
        if (plan.overBudgetBytes > 0) return;
        // The last one to go is one of them: without the largest of them it was still too much, or one would be enough.
        const least = Math.max(0, ...going.map(({ sizeOnDiskBytes }) => sizeOnDiskBytes));
        if (going.length > 0) assert.ok(plan.totalBytes - plan.freedBytes + least > maxBytes);
      }),
      { numRuns: 300 },
    );
  });

  test('with a clock behind the newest backup of any board, or with an obstacle, nothing goes', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, fc.nat(1000), (facts, policy, behindMs) => {
        const times = facts.boards.flatMap(({ backups }) =>
          backups.map(({ id, createdAt }) => Date.parse(createdAt ?? id.replace(/T(..)-(..)-/, 'T$1:$2:'))),
        );
        fc.pre(times.length > 0);
        const plan = planRetention({ ...facts, nowMs: Math.max(...times) - 1 - behindMs }, policy);
        assert.deepEqual(keysOf(plan.decisions, false), []);
        assert.ok(plan.decisions.every(({ reasons }) => reasons[0]?.code === 'clock'));
        const obstructed = planRetention({ ...facts, obstacles: ['restoring.json of a board is no JSON'] }, policy);
        assert.deepEqual(keysOf(obstructed.decisions, false), []);
        assert.ok(obstructed.decisions.every(({ reasons }) => reasons[0]?.code === 'obstacle'));
        // Right at the newest it is plausible.
        assert.deepEqual(planRetention({ ...facts, nowMs: Math.max(...times) }, policy).blocked, []);
      }),
      { numRuns: 200 },
    );
    assert.equal(
      planRetention(factsOf([board(A, [backup('2026-01-01T00:00:00Z')])], { nowMs: NaN }), KEEP_EVERYTHING).blocked
        .length,
      1,
    );
  });

  test('boards that were not asked for keep everything, and count for the budget', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        const plan = planRetention({ ...facts, only: new Set([B]) }, policy);
        for (const { mac, stays } of plan.decisions) if (mac !== B) assert.ok(stays);
        assert.equal(plan.totalBytes, bytesOf(facts.boards));
        assert.deepEqual(keysOf(planRetention({ ...facts, only: new Set() }, policy).decisions, false), []);
      }),
      { numRuns: 200 },
    );
  });
});

describe('retention, case by case', () => {
  const day = (date: number, hour = 10) => backup(`2026-03-${String(date).padStart(2, '0')}T${hour}:00:00Z`);
  const days = (...dates: number[]) => dates.map((date) => day(date));

  /** Codes of why a backup stays, by id. */
  const codes = (...args: Parameters<typeof planRetention>) =>
    new Map(planRetention(...args).decisions.map(({ id, reasons }) => [id, reasons.map(({ code }) => code)]));

  test('four last Sundays, as in the manual of restic, and the first', () => {
    const sundays = ['09-01', '09-08', '09-15', '09-22', '09-29', '10-06', '10-13', '10-20', '10-27'].map((date) =>
      backup(`2019-${date}T11:00:00Z`),
    );
    const later = ['11-03', '11-10', '11-17'].map((date) => backup(`2019-${date}T11:00:00Z`));
    const facts = factsOf([board(A, [...sundays, ...later])]);
    const stay = planRetention(facts, policyOf({ daily: 4 })).decisions.filter(({ stays }) => stays);
    assert.deepEqual(
      stay.map(({ id }) => id.slice(5, 10)),
      ['09-01', '10-27', '11-03', '11-10', '11-17'],
    );
    assert.deepEqual(
      stay.at(-1)?.reasons.map(({ text }) => text),
      ['the newest backup of the board', 'the one that "latest" means', 'the last of its day (1 of 4)'],
    );
  });

  test('the last of a day is kept, and days are those of UTC', () => {
    const backups = [1, 2, 3].map((date) => day(date)).concat([day(3, 12), day(3, 23), day(4, 12), day(5)]);
    assert.deepEqual(
      gone(factsOf([board(A, backups)]), policyOf({ daily: 3 })),
      [day(2), day(3), day(3, 12)].map(({ id }) => id),
    );
  });

  test('each thing that is never removed, alone', () => {
    const restore = (from: string, snapshot: string | null, partial = false) => ({
      ...{ at: '2026-03-20T00:00:00Z', from: { mac: A, id: from }, snapshot, snapshotIsNew: false, partial },
    });
    const [, second, third, fourth, fifth] = days(1, 2, 3, 4, 5) as [never, ...ReturnType<typeof backup>[]];
    assert.ok(second && third && fourth && fifth);
    const all = days(1, 2, 3, 4, 5);
    const policy = policyOf({ last: 1 });
    const goes = (more: Parameters<typeof board>[2], others: ReturnType<typeof board>[] = []) =>
      gone(factsOf([board(A, all, more), ...others]), policy);
    const middle = [second.id, third.id, fourth.id];
    assert.deepEqual(goes({}), middle);
    assert.deepEqual(goes({ held: 'a job is at work on it' }), []);
    assert.deepEqual(goes({ restores: [restore(second.id, third.id)] }), [fourth.id]);
    // Only the last one counts; if that was of a part, the last whole one, too.
    assert.deepEqual(goes({ restores: [restore(second.id, null), restore(third.id, null)] }), [second.id, fourth.id]);
    assert.deepEqual(goes({ restores: [restore(second.id, null), restore(third.id, null, true)] }), [fourth.id]);
    assert.deepEqual(
      goes({ halfRestored: { from: { mac: A, id: second.id }, snapshot: third.id, snapshotIsNew: false } }),
      [fourth.id],
    );
    // Of another board that holds it.
    const other = board(B, days(1), { restores: [restore(second.id, null)] });
    assert.deepEqual(goes({}, [other]), [third.id, fourth.id]);
    const reasons = codes(factsOf([board(A, all), other]), policy);
    assert.deepEqual(reasons.get(second.id), ['restored']);

    for (const [more, code] of [
      [{ pin: { note: 'factory' } }, 'pinned'],
      [{ state: 'damaged', createdAt: null }, 'damaged'],
      [{ state: 'unreadable', createdAt: null }, 'unreadable'],
      [{ state: 'newer', createdAt: null }, 'newer-format'],
      [{ isConfirmed: false }, 'unconfirmed'],
      [{ holdsForeign: true }, 'foreign'],
    ] as const) {
      const backups: (typeof all)[number][] = all.map((each) => (each.id === third.id ? { ...each, ...more } : each));
      assert.deepEqual(gone(factsOf([board(A, backups)]), policy), [second.id, fourth.id], code);
      assert.deepEqual(codes(factsOf([board(A, backups)]), policy).get(third.id), [code]);
    }
  });

  test('imports at either end hide neither the first nor the newest that was read from the board', () => {
    const backups = days(1, 2, 3, 4, 5, 6).map((each, index) =>
      index === 0 || index === 5 ? { ...each, isImported: true } : each,
    );
    assert.deepEqual(gone(factsOf([board(A, backups)]), policyOf({ last: 1 })), [day(3).id, day(4).id]);
  });

  test('damage at either end moves the protection inwards', () => {
    const backups = days(1, 2, 3, 4, 5, 6).map((each, index) =>
      index === 0 || index === 5 ? { ...each, state: 'damaged' as const, createdAt: null } : each,
    );
    assert.deepEqual(gone(factsOf([board(A, backups)]), policyOf({ last: 1 })), [day(3).id, day(4).id]);
  });

  test('a snapshot of before a restore is not what latest means, and both stay', () => {
    const restores = [
      {
        at: '2026-03-05T11:00:00Z',
        from: { mac: A, id: day(1).id },
        snapshot: day(5).id,
        snapshotIsNew: true,
        partial: false,
      },
    ];
    const reasons = codes(factsOf([board(A, days(1, 2, 3, 4, 5), { restores })]), policyOf({ last: 1 }));
    assert.deepEqual(reasons.get(day(4).id), ['latest']);
    assert.deepEqual(reasons.get(day(5).id), ['newest', 'before-restore', 'keep-last']);
    assert.deepEqual(reasons.get(day(3).id), ['no-rule']);
  });

  test('overrides: a board by MAC, by label, by group; each in the place of all other rules', () => {
    const rules = (last: number) => policyOf({ last }).rules as KeepRules;
    const all = days(1, 2, 3, 4, 5);
    const policy = policyOf(
      { last: 5 },
      {
        boards: new Map([
          [A, rules(4)],
          ['kitchen', rules(3)],
        ]),
        groups: new Map([
          ['garden', rules(2)],
          ['attic', rules(1)],
        ]),
      },
    );
    const count = (more: Parameters<typeof board>[2], mac = B) => gone(factsOf([board(mac, all, more)]), policy).length;
    assert.equal(count({}), 0);
    assert.equal(count({ group: 'garden' }), 2);
    assert.equal(count({ group: 'garden', label: 'Kitchen' }), 1);
    assert.equal(count({ group: 'garden', label: 'kitchen' }, A), 0);
    assert.deepEqual(planRetention(factsOf([board(B, all, { group: 'garden' })]), policy).unmatched, [
      A,
      'attic',
      'kitchen',
    ]);
    // A policy for one board says nothing of the others.
    const one = policyOf(null, { boards: new Map([[A, rules(1)]]) });
    assert.equal(gone(factsOf([board(A, all)]), one).length, 3);
    assert.deepEqual(codes(factsOf([board(B, all)]), one).get(day(2).id), ['no-policy']);
  });

  test('with a budget the rules say what stays in any case, and the rest goes only as far as it must', () => {
    const boards = [A, B, C].map((mac) => board(mac, days(1, 2, 3, 4, 5, 6, 7)));
    const total = 3 * 7 * 4 * MIB;
    const plan = (maxBytes: number) => planRetention(factsOf(boards), policyOf({ last: 2 }, { maxBytes }));
    assert.equal(plan(total).freedBytes, 0);
    assert.ok(plan(total).decisions.every(({ reasons }) => reasons.every(({ code }) => code !== 'over-budget')));
    for (let removed = 1; removed <= 12; removed++) {
      const { decisions, freedBytes, overBudgetBytes } = plan(total - removed * 4 * MIB);
      assert.deepEqual([freedBytes, overBudgetBytes], [removed * 4 * MIB, 0]);
      const counts = [A, B, C].map((mac) => keysOf(decisions, false).filter((key) => key.startsWith(mac)).length);
      assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${removed}: ${counts.join(' ')}`);
    }
    const tight = plan(1);
    assert.equal(tight.freedBytes, 12 * 4 * MIB);
    assert.equal(tight.overBudgetBytes, 9 * 4 * MIB - 1);
  });

  test('a busy hour is thinned out before quiet months, on whichever board', () => {
    const busy = Array.from({ length: 10 }, (_, minute) => backup(`2026-03-01T10:0${minute}:00Z`));
    const quiet = ['01', '02', '03', '04', '05'].map((month) => backup(`2026-${month}-15T10:00:00Z`));
    const boards = [board(A, [...busy, backup('2026-04-01T10:00:00Z')]), board(B, quiet)];
    const plan = planRetention(factsOf(boards), policyOf(null, { maxBytes: 8 * 4 * MIB }));
    const going = keysOf(plan.decisions, false);
    assert.equal(going.length, 8);
    assert.ok(going.every((key) => key.startsWith(A)));
  });

  test('the place in a count is told, and one without a limit has none', () => {
    const facts = factsOf([board(A, days(1, 2, 3))]);
    const texts = planRetention(
      facts,
      policyOf({ weekly: Infinity, monthly: 1, within: { years: 1, months: 0, days: 2, hours: 3 } }),
    )
      .decisions.at(-1)
      ?.reasons.map(({ text }) => text);
    assert.deepEqual(texts?.slice(-3), [
      'the last of its week',
      'the last of its month',
      'within 1y2d3h of the newest',
    ]);
  });

  test('two thousand boards of twenty backups are planned in one go', () => {
    const backups = days(...Array.from({ length: 20 }, (_, index) => 1 + index));
    const boards = Array.from({ length: 2000 }, (_, index) =>
      board(
        `02:00:00:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}` as typeof A,
        backups,
      ),
    );
    const plan = planRetention(factsOf(boards, { nowMs: LATER }), policyOf(null, { maxBytes: 20_000 * 4 * MIB }));
    assert.equal(plan.freedBytes, 20_000 * 4 * MIB);
    const each = new Map<string, number>();
    for (const key of keysOf(plan.decisions, false)) each.set(key.slice(0, 17), (each.get(key.slice(0, 17)) ?? 0) + 1);
    assert.ok(Math.max(...each.values()) - Math.min(...each.values()) <= 1);
  });
});
