import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ERROR_CODES, type ErrorCode, EspdError } from '../../src/errors.ts';
import { type JobTrace, newTrace } from '../../src/plugs/job.ts';
import { RetryBudget, isSameTrouble } from '../../src/plugs/retry.ts';
import { parseMac } from '../../src/mac.ts';

const CLOSED: JobTrace = newTrace();
const ASKED: JobTrace = { ...CLOSED, wasOpened: true, hasLines: true };
const FOUND: JobTrace = { ...ASKED, mac: parseMac('50:02:91:c3:37:a5') };
const HOUR_S = 3600;

/** The waits of an hour in which it fails the same way each time, in seconds, and how it is tried. */
function hourOf(code: ErrorCode, trace: JobTrace, isOwnUsb = false, budget = new RetryBudget()) {
  const waits: number[] = [];
  const ways = new Set<string>();
  for (let at = 0; at < HOUR_S;) {
    const retry = budget.next(new EspdError(code, code), trace, isOwnUsb);
    if (retry === undefined) break;
    waits.push(retry.waitMs / 1000);
    ways.add(retry.way);
    at += retry.waitMs / 1000;
  }
  return { waits, ways: [...ways].join() };
}

const ARCHIVE = ['archive-missing', 'archive-unwritable', 'disk-full'] as const satisfies readonly ErrorCode[];

describe('a failure at a port that stays', () => {
  it('before the port was open is tried again for ever: soon, then rarely', () => {
    for (const code of ['port-busy', 'port-denied', 'port-missing', 'port-failed'] as const) {
      const { waits, ways } = hourOf(code, CLOSED);
      assert.deepEqual([waits.slice(0, 6), ways], [[5, 15, 30, 60, 600, 600], 'as-usual'], code);
    }
  });

  it('of a server that took the connection and is none of RFC 2217 is tried three times, with long rests', () => {
    // Each may have moved the lines of a board there.
    const budget = new RetryBudget();
    const error = new EspdError('no-rfc2217', '');
    const tries = [1, 2, 3, 4, 5].map(() => budget.next(error, CLOSED, false)?.waitMs);
    assert.deepEqual(tries, [60_000, 600_000, 3_600_000, undefined, undefined]);
    assert.equal(budget.next(new EspdError('port-missing', ''), CLOSED, false)?.waitMs, 5000);
  });

  it('of silence is tried twice, in the time in which a hand finds two buttons', () => {
    for (const code of ['no-answer', 'no-sync'] as const) {
      assert.deepEqual(hourOf(code, ASKED), { waits: [5, 15], ways: 'gently' }, code);
    }
  });

  it('of a board that runs its app is listened to twice, and not reset; never on its own USB', () => {
    for (const code of ['boot-mode', 'port-flooded'] as const) {
      assert.deepEqual(hourOf(code, ASKED), { waits: [5, 15], ways: 'listen' }, code);
      assert.deepEqual(hourOf(code, ASKED, true).waits, [], code);
    }
  });

  it('of a link that broke is tried four times', () => {
    for (const trace of [ASKED, FOUND]) {
      assert.deepEqual(hourOf('port-vanished', trace), { waits: [5, 15, 30, 60], ways: 'listen-first' });
    }
  });

  it('shares its tries with every other that touches the board, but not with those that touch nothing', () => {
    const budget = new RetryBudget();
    const next = (code: ErrorCode, trace: JobTrace) => budget.next(new EspdError(code, code), trace, false)?.waitMs;
    assert.equal(next('port-busy', CLOSED), 5000);
    assert.equal(next('boot-mode', ASKED), 5000);
    assert.equal(next('no-answer', ASKED), 15_000);
    assert.equal(next('no-answer', ASKED), undefined);
    assert.equal(next('port-vanished', FOUND), 30_000);
    assert.equal(next('port-busy', CLOSED), 15_000);
  });

  it('of the archive is tried again where it was asked first, and no board was touched', () => {
    for (const code of ARCHIVE) {
      assert.deepEqual(hourOf(code, CLOSED), hourOf('port-busy', CLOSED), code);
      for (const trace of [ASKED, FOUND]) assert.deepEqual(hourOf(code, trace).waits, [], code);
    }
  });

  it('of any other kind is final', () => {
    const passing = [
      'port-busy',
      'port-denied',
      'port-missing',
      'port-failed',
      'port-vanished',
      'no-answer',
      'no-sync',
      ...ARCHIVE,
    ];
    const others = (Object.keys(ERROR_CODES) as ErrorCode[]).filter(
      (code) => ![...passing, 'boot-mode', 'port-flooded', 'no-rfc2217'].includes(code),
    );
    assert.ok(
      others.includes('secure-download') && others.includes('chip-unsupported') && others.includes('archive-damaged'),
    );
    for (const code of others) {
      for (const trace of [CLOSED, ASKED, FOUND]) assert.deepEqual(hourOf(code, trace).waits, [], code);
    }
    assert.deepEqual(hourOf('port-busy', FOUND).waits, [], 'a MAC that another job has');
    assert.deepEqual(hourOf('no-answer', FOUND).waits, []);
  });

  it('is the same trouble as another silence, and another than a refusal', () => {
    const of = (code: ErrorCode) => new EspdError(code, code);
    assert.ok(isSameTrouble(of('boot-mode'), of('no-answer')));
    assert.ok(isSameTrouble(of('port-busy'), of('port-busy')));
    assert.ok(!isSameTrouble(of('port-busy'), of('port-missing')));
    assert.ok(!isSameTrouble(of('no-answer'), of('port-busy')));
  });
});
