import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type LineExperience,
  type LineFacts,
  NOTHING_KNOWN,
  factsAfter,
  isRetryDue,
} from '../../src/esp/line-memory.ts';

const NOW = new Date('2026-11-25T12:00:00Z');
const YESTERDAY = '2026-11-24T12:00:00.000Z';

const after = (before: Partial<LineFacts>, session: Partial<LineExperience>) =>
  factsAfter(
    { ...NOTHING_KNOWN, ...before },
    { hasRead: true, provenBaudRate: null, failedBaudRate: null, acknowledgeEarly: true, ...session },
    NOW,
  );

describe('what is remembered of a line', () => {
  it('is nothing after a session that read nothing: an unchanged board teaches nothing', () => {
    assert.equal(after({ bestBaudRate: 921600 }, { hasRead: false, acknowledgeEarly: null }), null);
  });

  it('is the best rate, kept by sessions that had too little to read for it', () => {
    assert.equal(after({}, { provenBaudRate: 1_500_000 })?.bestBaudRate, 1_500_000);
    assert.equal(after({ bestBaudRate: 1_500_000 }, { provenBaudRate: 2_000_000 })?.bestBaudRate, 2_000_000);
    assert.equal(after({ bestBaudRate: 2_000_000 }, { provenBaudRate: 921600 })?.bestBaudRate, 2_000_000);
    assert.equal(after({ bestBaudRate: 2_000_000 }, {})?.bestBaudRate, 2_000_000);
  });

  it('is the rate that failed, and when; the best one is lower then', () => {
    assert.deepEqual(after({ bestBaudRate: 2_000_000 }, { provenBaudRate: 921600, failedBaudRate: 1_500_000 }), {
      bestBaudRate: 921600,
      failedBaudRate: 1_500_000,
      failedAt: NOW.toISOString(),
      sessionsSince: 0,
      acknowledgeEarly: true,
    });
    assert.equal(after({ bestBaudRate: 2_000_000 }, { failedBaudRate: 1_500_000 })?.bestBaudRate, null);
    // Also of a session that failed before it had read anything.
    assert.equal(after({}, { hasRead: false, failedBaudRate: 230400 })?.failedBaudRate, 230400);
  });

  it('counts good sessions since, and forgets a failure that was disproven', () => {
    const failed = { bestBaudRate: 921600, failedBaudRate: 1_500_000, failedAt: YESTERDAY, sessionsSince: 3 };
    assert.deepEqual(after(failed, { provenBaudRate: 921600 }), { ...NOTHING_KNOWN, ...failed, sessionsSince: 4 });
    assert.deepEqual(after(failed, { provenBaudRate: 1_500_000 }), { ...NOTHING_KNOWN, bestBaudRate: 1_500_000 });
  });

  it('is that early acknowledgement failed, until it has worked again', () => {
    const given = after({ bestBaudRate: 921600 }, { provenBaudRate: 921600, acknowledgeEarly: false });
    assert.deepEqual([given?.acknowledgeEarly, given?.failedAt], [false, NOW.toISOString()]);
    const kept = after({ acknowledgeEarly: false, failedAt: YESTERDAY }, { acknowledgeEarly: null });
    assert.deepEqual([kept?.acknowledgeEarly, kept?.sessionsSince], [false, 1]);
    assert.deepEqual(after({ acknowledgeEarly: false, failedAt: YESTERDAY }, {}), NOTHING_KNOWN);
  });

  it('is doubted after a week, 20 good sessions, or where its date makes no sense', () => {
    const at = (failedAt: string | null, sessionsSince = 0) =>
      isRetryDue({ ...NOTHING_KNOWN, failedAt, sessionsSince }, NOW);
    assert.deepEqual([at(YESTERDAY), at(YESTERDAY, 19), at(YESTERDAY, 20)], [false, false, true]);
    assert.deepEqual([at('2026-11-18T11:59:59Z'), at('2026-11-18T12:00:01Z')], [true, false]);
    assert.deepEqual([at(null), at('yesterday'), at('2027-05-01T00:00:00Z')], [true, true, true]);
  });
});
