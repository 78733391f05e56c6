/** `archive.local`: which local copies need not stay. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type LocalPolicy, holdsHere, planLocal } from '../../../src/archive/retention/local.ts';
import { neverRemoved } from './oracle.ts';
import { A, B, anyArchive, backup, board, factsOf, keysOf } from './support.ts';

const DAY_MS = 86_400_000;
const anyPolicy: fc.Arbitrary<LocalPolicy> = fc.oneof(
  fc.constant({ kind: 'all' } as const),
  fc.record({ kind: fc.constant('newest' as const), count: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant('days' as const), days: fc.integer({ min: 1, max: 5000 }) }),
);
const goes = (facts: Parameters<typeof planLocal>[0], policy: LocalPolicy) =>
  keysOf(planLocal(facts, policy).decisions, false);

describe('what need not stay here, whatever the archive', () => {
  test('what must never be removed stays, but for the first and what no chip has confirmed: the store has those', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        const never = neverRemoved({
          ...facts,
          boards: facts.boards.map((each) => ({
            ...each,
            backups: each.backups.map((one) => ({ ...one, isConfirmed: true })),
          })),
        });
        const firsts = new Set(
          facts.boards.flatMap(({ mac, backups }) => {
            const sorted = [...backups].sort((a, b) => a.id.localeCompare(b.id));
            const sound = sorted.filter(({ state }) => state === 'sound');
            return [sorted[0], sound[0], sound.find(({ isImported }) => !isImported)].map((one) => `${mac} ${one?.id}`);
          }),
        );
        for (const key of goes(facts, policy)) assert.ok(!never.has(key) || firsts.has(key), key);
      }),
      { numRuns: 300 },
    );
  });

  test('the newest of a board and what is pinned stay under every policy', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        const gone = new Set(goes(facts, policy));
        for (const { mac, backups } of facts.boards) {
          const newest = backups
            .map(({ id }) => id)
            .sort()
            .at(-1);
          assert.ok(!gone.has(`${mac} ${newest}`));
          for (const { id, pin } of backups) if (pin !== null) assert.ok(!gone.has(`${mac} ${id}`));
        }
      }),
    );
  });

  test('all is all; each decision has a reason; what is told to go is what is counted', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        assert.deepEqual(goes(facts, { kind: 'all' }), []);
        const { decisions, freedBytes, totalBytes } = planLocal(facts, policy);
        assert.ok(decisions.every(({ reasons }) => reasons.length > 0));
        assert.ok(decisions.every(({ stays, reasons }) => !stays || reasons.every(holdsHere)));
        const sum = (stays: boolean) =>
          decisions
            .filter((each) => each.stays === stays)
            .reduce((all, { sizeOnDiskBytes }) => all + sizeOnDiskBytes, 0);
        assert.deepEqual([sum(false), sum(true) + sum(false)], [freedBytes, totalBytes]);
      }),
    );
  });

  test('an obstacle, a clock that is behind, and a board that was not asked for keep all', () => {
    fc.assert(
      fc.property(anyArchive, anyPolicy, (facts, policy) => {
        assert.deepEqual(goes({ ...facts, obstacles: ['cannot be read'] }, policy), []);
        assert.deepEqual(goes({ ...facts, only: new Set() }, policy), []);
        if (facts.boards.some(({ backups }) => backups.length > 0)) {
          assert.deepEqual(goes({ ...facts, nowMs: 0 }, policy), []);
        }
      }),
    );
  });
});

describe('archive.local', () => {
  const days = [1, 2, 3, 4, 5].map((day) => `2026-11-0${day}T10:00:00Z`);

  test('the newest so many of each board, counted among the sound ones', () => {
    const damaged = days.map((at, index) => backup(at, index === 3 ? { state: 'damaged' } : {}));
    const facts = factsOf([
      board(A, damaged),
      board(
        B,
        days.slice(0, 2).map((at) => backup(at)),
      ),
    ]);
    assert.deepEqual(
      goes(facts, { kind: 'newest', count: 2 }).map((key) => key.slice(0, 28)),
      [`${A} 2026-11-01`, `${A} 2026-11-02`],
    );
    assert.equal(goes(facts, { kind: 'newest', count: 1 }).length, 4);
  });

  test('what is of the last days, by the time of the backup', () => {
    const nowMs = Date.parse('2026-11-05T12:00:00Z');
    const facts = factsOf(
      [
        board(
          A,
          days.map((at) => backup(at)),
        ),
      ],
      { nowMs },
    );
    assert.deepEqual(
      goes(facts, { kind: 'days', days: 3 }).map((key) => key.slice(18, 28)),
      ['2026-11-01', '2026-11-02'],
    );
    assert.deepEqual(goes({ ...facts, nowMs: nowMs + 100 * DAY_MS }, { kind: 'days', days: 3 }).length, 4);
  });

  test('what a restore needs stays: its source, also of another board, and what was there before', () => {
    const facts = factsOf([
      board(
        A,
        days.map((at) => backup(at)),
      ),
      board(B, [], {
        halfRestored: {
          from: { mac: A, id: backup(days[1] ?? '').id },
          snapshot: null,
          snapshotIsNew: false,
        },
      }),
    ]);
    const gone = goes(facts, { kind: 'newest', count: 1 });
    assert.equal(gone.length, 3);
    assert.ok(!gone.some((key) => key.includes('2026-11-02')));
  });

  test('a restore that is unfinished at another station holds as one here does', () => {
    const half = {
      from: { mac: A, id: backup(days[1] ?? '').id },
      snapshot: backup(days[2] ?? '').id,
      snapshotIsNew: true,
    };
    const facts = factsOf([
      board(
        A,
        days.map((at) => backup(at)),
        { halfRestoredElsewhere: [half] },
      ),
    ]);
    assert.equal(goes(facts, { kind: 'newest', count: 1 }).length, 2);
  });
});
