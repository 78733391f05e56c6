import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseQuietHours, quietMs } from '../../src/config/quiet-hours.ts';
import { parseSpan } from '../../src/config/span.ts';

const MINUTE_MS = 60_000;
const at = (time: string) => new Date(`2026-11-27T${time}Z`);

test('quiet hours are two times of a day', () => {
  assert.deepEqual(parseQuietHours('22:00-06:30'), { fromMinute: 1320, toMinute: 390 });
  for (const bad of [
    '',
    '22:00',
    '22-06',
    '24:00-06:00',
    '22:60-06:00',
    '22:00-22:00',
    '22:00 - 06:00',
    '9:00-10:00',
  ]) {
    assert.equal(parseQuietHours(bad), null, bad);
  }
});

test('they end when they say, over midnight too, in the time zone that is named', () => {
  const night = parseQuietHours('22:00-06:30')!;
  const cases: [string, string, number][] = [
    ['21:59:59', 'UTC', 0],
    ['22:00:00', 'UTC', 510],
    ['23:59:30', 'UTC', 390.5],
    ['00:00:00', 'UTC', 390],
    ['06:29:59.999', 'UTC', 0.001 / 60],
    ['06:30:00', 'UTC', 0],
    // Berlin is an hour ahead in November.
    ['21:00:00', 'Europe/Berlin', 510],
    ['05:30:00', 'Europe/Berlin', 0],
  ];
  for (const [time, zone, minutes] of cases) {
    assert.ok(Math.abs(quietMs(at(time), night, zone) - minutes * MINUTE_MS) < 1e-6, `${time} ${zone}`);
  }
  const noon = parseQuietHours('12:00-13:00')!;
  assert.deepEqual(
    ['11:59', '12:00', '12:59', '13:00'].map((time) => quietMs(at(`${time}:00`), noon, 'UTC') / MINUTE_MS),
    [0, 60, 1, 0],
  );
});

test('law: at the end of what is left it is not quiet, and a moment before it is', () => {
  const minute = fc.integer({ min: 0, max: 1439 });
  fc.assert(
    fc.property(minute, minute, fc.integer({ min: 0, max: 86_399_999 }), (fromMinute, toMinute, timeMs) => {
      fc.pre(fromMinute !== toMinute);
      const date = new Date(at('00:00:00').getTime() + timeMs);
      const left = quietMs(date, { fromMinute, toMinute }, 'UTC');
      assert.ok(left >= 0 && left <= 24 * 60 * MINUTE_MS);
      const end = date.getTime() + left;
      assert.equal(quietMs(new Date(end), { fromMinute, toMinute }, 'UTC'), 0);
      if (left > 0) assert.ok(quietMs(new Date(end - 1), { fromMinute, toMinute }, 'UTC') > 0);
    }),
  );
});

test('a span of time has a unit that fits, or the one that stands for none', () => {
  assert.deepEqual(
    ['90s', '10m', '2h', '1d', '7', ' 5m ', '10M'].map((text) => parseSpan(text, ['s', 'm', 'h', 'd'], 's')),
    [90_000, 600_000, 7_200_000, 86_400_000, 7000, 300_000, 600_000],
  );
  for (const bad of ['', 'm', '1.5m', '-1m', '1w', '1mm', '1e3', '1 m', '9999999999s']) {
    assert.equal(parseSpan(bad, ['s', 'm', 'h', 'd'], 's'), null, bad);
  }
  assert.equal(parseSpan('7', ['h']), null);
});
