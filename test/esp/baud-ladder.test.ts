import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BAUD_RATES, BaudLadder } from '../../src/esp/baud-ladder.ts';
import { type LineFacts, NOTHING_KNOWN } from '../../src/esp/line-memory.ts';

const NOW = new Date('2026-11-25T12:00:00Z');
const MIB = 1024 * 1024;
const HIGHEST = 3_000_000;

function ladder(facts: Partial<LineFacts> | null = null, maxBaudRate = HIGHEST): BaudLadder {
  return new BaudLadder(maxBaudRate, facts === null ? null : { ...NOTHING_KNOWN, ...facts }, NOW);
}

const daysAgo = (days: number) => new Date(NOW.getTime() - days * 24 * 3600 * 1000).toISOString();

/** The rates gone through for a read of 4 MiB on a line that holds `holds`; a rate that does not fails at once. */
function climb(of: BaudLadder, holds: number, remainingBytes = 4 * MIB): number[] {
  const rates = [115200];
  for (let step = 0; step < 20; step++) {
    const current = rates.at(-1) as number;
    if (current <= holds) of.proved(current, 16384);
    else of.fail(current);
    const next = of.next({ current, remainingBytes, stepMs: 100, mayClimb: true });
    if (next === current) return rates;
    rates.push(next);
  }
  assert.fail(`no end: ${rates.join(' ')}`);
}

describe('the way to a baud rate', () => {
  it('begins at 921600 on a line that nobody knows, and goes up by one, past 1500000', () => {
    assert.deepEqual(climb(ladder(), HIGHEST), [115200, 921600, 2_000_000, 3_000_000]);
  });

  it('leads down by one rung after a failure, and never back', () => {
    assert.deepEqual(climb(ladder(), 1_000_000), [115200, 921600, 2_000_000, 921600]);
    assert.deepEqual(climb(ladder(), 500_000), [115200, 921600, 460800]);
    assert.deepEqual(climb(ladder(), 115200), [115200, 921600, 460800, 230400, 115200]);
  });

  it('tries 1500000 in the session after 2000000 has failed, and knows it from then on', () => {
    const failed = { failedBaudRate: 2_000_000, failedAt: daysAgo(1) };
    assert.deepEqual(climb(ladder({ ...failed, bestBaudRate: 921600 }), HIGHEST), [115200, 921600, 1_500_000]);
    assert.deepEqual(climb(ladder({ ...failed, bestBaudRate: 1_500_000 }), HIGHEST), [115200, 1_500_000]);
    assert.deepEqual(climb(ladder({ bestBaudRate: 1_500_000 }), 1_600_000), [115200, 1_500_000, 2_000_000, 1_500_000]);
  });

  it('tries 1500000 where it is the limit, or where it was what failed, so that a lasting fault costs one trial', () => {
    assert.deepEqual(climb(ladder(null, 1_900_000), HIGHEST), [115200, 921600, 1_500_000]);
    const failed = { bestBaudRate: 921600, failedBaudRate: 1_500_000, failedAt: daysAgo(8) };
    assert.deepEqual(climb(ladder(failed), 1_000_000), [115200, 921600, 1_500_000, 921600]);
    assert.deepEqual(climb(ladder(failed), HIGHEST), [115200, 921600, 1_500_000, 2_000_000, 3_000_000]);
  });

  it('tries 1500000 at once where the port itself cannot do 2000000: nothing was sent for that', () => {
    const of = ladder();
    of.proved(921600, 16384);
    of.exclude(2_000_000);
    assert.equal(of.next({ current: 921600, remainingBytes: 4 * MIB, stepMs: 100, mayClimb: true }), 1_500_000);
    assert.deepEqual([of.failed, of.ceiling], [2_000_000, 1_500_000]);
  });

  it('leads from 2000000 down to 921600: nothing has shown that the line holds what lies between', () => {
    const of = ladder();
    for (const rate of [921600, 2_000_000]) of.proved(rate, 16384);
    of.fail(2_000_000);
    assert.deepEqual([of.ceiling, of.trusted, of.proven, of.failed], [921600, 921600, 921600, 2_000_000]);
  });

  it('begins at the best of earlier sessions, and goes on from there', () => {
    assert.deepEqual(climb(ladder({ bestBaudRate: 2_000_000 }), HIGHEST), [115200, 2_000_000, 3_000_000]);
    const failed = { bestBaudRate: 1_500_000, failedBaudRate: 2_000_000, failedAt: daysAgo(1) };
    assert.deepEqual(climb(ladder(failed), HIGHEST), [115200, 1_500_000]);
  });

  it('tries what has failed again after a week, or after 20 good sessions', () => {
    const failed = { bestBaudRate: 1_500_000, failedBaudRate: 2_000_000, failedAt: daysAgo(6.9), sessionsSince: 19 };
    assert.deepEqual(climb(ladder(failed), HIGHEST), [115200, 1_500_000]);
    assert.equal(climb(ladder({ ...failed, failedAt: daysAgo(7.1) }), HIGHEST).at(-1), HIGHEST);
    assert.equal(climb(ladder({ ...failed, sessionsSince: 20 }), HIGHEST).at(-1), HIGHEST);
    assert.deepEqual(
      climb(ladder({ ...failed, sessionsSince: 20 }), 1_999_999),
      [115200, 1_500_000, 2_000_000, 1_500_000],
    );
  });

  it('stays where the bytes to come are not worth it', () => {
    assert.deepEqual(climb(ladder(), HIGHEST, 1000), [115200]);
    assert.deepEqual(climb(ladder(), HIGHEST, 16_384), [115200, 921600]);
    assert.deepEqual(climb(ladder(), HIGHEST, 100_000), [115200, 921600]);
    // A rate that is known to hold needs fewer than one that may fail.
    assert.deepEqual(climb(ladder({ bestBaudRate: 921600 }), HIGHEST, 2000), [115200, 921600]);
  });

  it('goes no higher than config, chip and bridge, nor climbs where that is not wanted', () => {
    assert.equal(climb(ladder(null, 2_500_000), HIGHEST).at(-1), 2_000_000);
    assert.deepEqual(climb(ladder(null, 115200), HIGHEST), [115200]);
    assert.deepEqual(climb(ladder(null, 9600), HIGHEST), [115200]);
    assert.deepEqual(climb(ladder({ bestBaudRate: 3_000_000 }, 460800), HIGHEST), [115200, 460800]);
    const of = ladder();
    of.proved(921600, 16384);
    assert.equal(of.next({ current: 921600, remainingBytes: 9 * MIB, stepMs: 100, mayClimb: false }), 921600);
  });

  it('goes back to the best of the session after a reset, without another trial', () => {
    const of = ladder();
    of.proved(1_500_000, 16384);
    assert.equal(of.next({ current: 115200, remainingBytes: MIB, stepMs: 100, mayClimb: true }), 1_500_000);
    assert.ok(of.isProven(1_500_000) && of.isTrusted(921600) && !of.isTrusted(2_000_000));
  });

  it('leads down from a rate at which errors cost more than it saves, but not from one that errs now and then', () => {
    const often = ladder();
    const seldom = ladder();
    for (const of of [often, seldom]) of.proved(1_500_000, 16384);
    for (let error = 0; error < 20; error++) {
      often.erred(1_500_000);
      often.proved(1_500_000, 32 * 1024);
      // At 921600 these bytes would take 0.4 s more, and the error costs 0.3 s.
      seldom.erred(1_500_000);
      seldom.proved(1_500_000, 100 * 1024);
    }
    const next = { current: 1_500_000, remainingBytes: 0, stepMs: 100, mayClimb: true };
    assert.deepEqual([often.next(next), often.target], [921600, 921600]);
    assert.deepEqual([seldom.next(next), seldom.target], [1_500_000, 1_500_000]);
    assert.deepEqual([often.failed, seldom.failed], [null, null], 'one fall proves nothing');
  });

  /** Leaves the rate because of errors, one in so many bytes. */
  function fallFrom(of: BaudLadder, baudRate: number, bytesPerError: number): number {
    for (let errors = 1; errors < 30; errors++) {
      if (of.erred(baudRate)) return errors;
      of.carried(baudRate, bytesPerError);
    }
    assert.fail('no fall');
  }

  it('leads back up where errors are as many at the lower rate, and to no fall any more', () => {
    const of = ladder();
    of.proved(1_500_000, 16384);
    assert.equal(fallFrom(of, 1_500_000, 10_000), 4);
    assert.equal(of.ceiling, 921600);
    of.carried(921600, 15_000);
    of.erred(921600);
    assert.equal(of.ceiling, 921600, 'one error says nothing');
    of.carried(921600, 15_000);
    of.erred(921600);
    assert.deepEqual([of.ceiling, of.target, of.failed, of.proven], [HIGHEST, 1_500_000, null, 1_500_000]);
    for (let error = 0; error < 20; error++) assert.equal(of.erred(1_500_000), false);
  });

  it('gives a second chance when a lower rate has long been without errors, and blames the rate after that', () => {
    const of = ladder();
    of.proved(1_500_000, 16384);
    fallFrom(of, 1_500_000, 10_000);
    of.proved(921600, 127 * 1024);
    assert.equal(of.ceiling, 921600);
    of.proved(921600, 1024);
    assert.deepEqual([of.ceiling, of.failed], [HIGHEST, null], 'noise may be over');
    assert.equal(fallFrom(of, 1_500_000, 10_000), 3, 'sooner than at first');
    of.proved(921600, 9 * MIB);
    assert.deepEqual([of.ceiling, of.failed, of.proven], [921600, 1_500_000, 921600]);
  });

  it('takes back what was said against a rate that failed at once where lower ones fail as often', () => {
    const of = ladder();
    of.proved(921600, 16384);
    of.fail(1_500_000, { errors: 2, bytes: 16384 });
    assert.deepEqual([of.failed, of.ceiling], [1_500_000, 921600]);
    for (let error = 0; error < 2; error++) {
      of.erred(921600);
      of.carried(921600, 8192);
    }
    assert.deepEqual([of.failed, of.ceiling], [null, HIGHEST]);
    of.fail(1_500_000);
    for (let error = 0; error < 2; error++) of.erred(921600);
    assert.deepEqual([of.failed, of.ceiling], [1_500_000, 921600], 'not where nobody answered');
  });

  it('forgets what was said against rates when lower ones did not help either', () => {
    const of = ladder();
    of.proved(921600, MIB);
    const before = of.save();
    for (const rate of [921600, 460800, 230400]) of.fail(rate);
    assert.deepEqual([of.target, of.failed], [115200, 230400]);
    of.restore(before);
    assert.deepEqual([of.target, of.failed, of.proven], [921600, null, 921600]);
  });

  it('says what a large read will run at', () => {
    assert.equal(ladder().target, 921600);
    assert.equal(ladder({ bestBaudRate: 2_000_000 }).target, 2_000_000);
    assert.equal(ladder({ bestBaudRate: 2_000_000 }, 230400).target, 230400);
  });

  it('ends, at a rung that the line holds and that is allowed, whatever is remembered', () => {
    const rate = fc.option(fc.integer({ min: -5, max: 6_000_000 }), { nil: null });
    fc.assert(
      fc.property(rate, rate, fc.string(), fc.nat(30), fc.nat(4_000_000), fc.nat(4_000_000), (...drawn) => {
        const [bestBaudRate, failedBaudRate, failedAt, sessionsSince, holds, maxBaudRate] = drawn;
        const facts = { bestBaudRate, failedBaudRate, failedAt, sessionsSince, acknowledgeEarly: true };
        const end = climb(new BaudLadder(maxBaudRate, facts, NOW), Math.max(holds, 115200)).at(-1) as number;
        assert.ok(BAUD_RATES.includes(end) && (end === 115200 || (end <= holds && end <= maxBaudRate)));
      }),
    );
  });
});
