import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { KEEP_EVERYTHING, NO_RULES, durationText, minus, rulesText } from '../../src/archive/retention/policy.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { KEEP_KEYS, parseDuration, parseBudget, retentionPolicy } from '../../src/config/retention.ts';
import { EspdError } from '../../src/errors.ts';

function policyOf(yaml: string) {
  return retentionPolicy(parseConfig(Buffer.from(yaml), 'x').retention);
}

function problemOf(yaml: string): string {
  try {
    policyOf(yaml);
  } catch (error) {
    assert.ok(error instanceof EspdError && error.code === 'config-invalid');
    return error.message;
  }
  return assert.fail('it is taken');
}

describe('retention in the config', () => {
  test('nothing given: everything is kept', () => {
    assert.deepEqual(policyOf(''), KEEP_EVERYTHING);
    assert.deepEqual(policyOf('retention:'), KEEP_EVERYTHING);
    assert.deepEqual(policyOf('retention: {keepLast: null, boards: {}}'), KEEP_EVERYTHING);
  });

  test('every key has its place', () => {
    const policy = policyOf(`
retention:
  keepLast: 1
  keepHourly: 2
  keepDaily: 3
  keepWeekly: 4
  keepMonthly: 5
  keepYearly: unlimited
  keepWithin: 1y5m7d2h
  keepPerFirmware: 7
  maxBytes: 50G
  boards:
    50-02-91-C3-37-A5: { keepLast: unlimited }
    kitchen: { keepWithin: 3d }
  groups:
    garden: { keepPerFirmware: 1 }
`);
    assert.deepEqual(policy, {
      rules: {
        ...{ last: 1, hourly: 2, daily: 3, weekly: 4, monthly: 5, yearly: Infinity, perFirmware: 7 },
        within: { years: 1, months: 5, days: 7, hours: 2 },
      },
      boards: new Map([
        ['50:02:91:c3:37:a5', { ...NO_RULES, last: Infinity }],
        ['kitchen', { ...NO_RULES, within: { years: 0, months: 0, days: 3, hours: 0 } }],
      ]),
      groups: new Map([['garden', { ...NO_RULES, perFirmware: 1 }]]),
      maxBytes: 50 * 1024 ** 3,
    });
    assert.deepEqual(policyOf('retention: {maxBytes: 1073741824}'), { ...KEEP_EVERYTHING, maxBytes: 1024 ** 3 });
  });

  test('a policy that would keep nothing is refused, and it is said where', () => {
    const nothing = /^x:1:12: retention would keep nothing: give at least one of its keep\.\.\. keys more than 0/;
    for (const key of KEEP_KEYS) {
      const zero = key === 'keepWithin' ? '0h' : '0';
      assert.match(problemOf(`retention: {${key}: ${zero}}`), nothing);
      assert.match(problemOf(`retention: {${key}: ${zero}, maxBytes: 50G}`), nothing);
    }
    assert.match(problemOf('retention: {keepDaily: 0, keepWithin: 0y0m}'), nothing);
    assert.match(
      problemOf('retention:\n  boards:\n    kitchen: {}'),
      /^x:3:14: retention\.boards\.kitchen would keep nothing/,
    );
    assert.match(
      problemOf('retention:\n  groups:\n    attic:\n      keepLast: 0'),
      /retention\.groups\.attic would keep nothing/,
    );
  });

  test('what is no number, duration, size or key', () => {
    for (const bad of ['1.5', 'all', 'true', '[1]']) {
      assert.match(
        problemOf(`retention: {keepLast: ${bad}}`),
        /retention\.keepLast wants a whole number from 0 to 1000000, or unlimited/,
      );
    }
    assert.equal(
      problemOf('retention: {keepLast: -1}'),
      'x:1:23: retention.keepLast wants at least 0, found the number -1',
    );
    for (const bad of ['1w', '7d1y', '1y1y', '5', '-1d', 'y', '1Y', '"7d "', '123456d', '""']) {
      assert.match(
        problemOf(`retention: {keepWithin: ${bad}}`),
        /retention\.keepWithin wants (years, months|text)/,
        bad,
      );
    }
    for (const bad of ['0', '50', '1023K', '50X', 'G', '-1G', '99999999T', 'true', '50 G B', '.nan', '"5,5G"']) {
      assert.match(
        problemOf(`retention: {maxBytes: ${bad}}`),
        /retention\.maxBytes wants a size such as 500M, 50G/,
        bad,
      );
    }
    assert.match(
      problemOf('retention: {keepDayly: 1}'),
      /unknown key "keepDayly" in retention; did you mean keepDaily\?/,
    );
    assert.match(
      problemOf('retention: {boards: {kitchen: {keepLast: 1, keepMontly: 1}}}'),
      /unknown key "keepMontly" in retention\.boards\.kitchen; did you mean keepMonthly\?/,
    );
    assert.match(problemOf('retention: {groups: {a: {keepLast: 1, maxBytes: 5G}}}'), /unknown key "maxBytes"/);
    assert.match(
      problemOf('retention: {boards: {"50:02:91:c3:37:a5": {keepLast: 1}, 500291c337a5: {keepLast: 2}}}'),
      /names one board twice, as 50:02:91:c3:37:a5 and as 500291c337a5/,
    );
    assert.match(problemOf('keepLast: 1'), /unknown key "keepLast"; it belongs under retention/);
  });

  test('when the daemon prunes', () => {
    const prune = (yaml: string) => parseConfig(Buffer.from(yaml), 'x').schedule.prune;
    assert.equal(prune(''), '0 4 * * *');
    assert.equal(prune('schedule: {prune: off}'), 'off');
    assert.throws(() => prune('schedule: {prune: daily}'), /schedule\.prune wants a cron expression or off/);
  });
});

describe('durations and sizes', () => {
  test('a duration is what its text says, and back', () => {
    fc.assert(
      fc.property(fc.nat(99_999), fc.nat(99_999), fc.nat(99_999), fc.nat(99_999), (years, months, days, hours) => {
        const duration = { years, months, days, hours };
        assert.deepEqual(parseDuration(durationText(duration)), duration);
        // However far back: never a fault, and never in the future.
        assert.ok(minus(Date.parse('2026-11-26T00:00:00Z'), duration) <= Date.parse('2026-11-26T00:00:00Z'));
      }),
    );
    fc.assert(fc.property(fc.string({ maxLength: 40 }), (text) => void parseDuration(text)));
  });

  test('rules are told in the words of the config, those that keep something', () => {
    assert.equal(rulesText({ ...NO_RULES, last: 7, daily: 14 }), 'keepLast 7, keepDaily 14');
    const within = { years: 0, months: 1, days: 2, hours: 0 };
    assert.equal(
      rulesText({ ...NO_RULES, yearly: Infinity, perFirmware: 2, within }),
      'keepYearly unlimited, keepPerFirmware 2, keepWithin 1m2d',
    );
    assert.equal(rulesText(NO_RULES), 'there is none');
    // A line of removed.jsonl takes 1000 characters.
    const most = Number.MAX_SAFE_INTEGER;
    const long = { years: most, months: most, days: most, hours: most };
    const all = { last: most, hourly: most, daily: most, weekly: most, monthly: most, yearly: most, perFirmware: most };
    assert.ok(rulesText({ ...all, within: long }).length < 500);
  });

  test('years and months are those of the calendar, as in restic', () => {
    const before = (at: string, text: string) => new Date(minus(Date.parse(at), parseDuration(text)!)).toISOString();
    assert.equal(before('2026-11-26T10:00:00Z', '1y5m7d2h'), '2025-06-19T08:00:00.000Z');
    assert.equal(before('2026-03-31T10:00:00Z', '1m'), '2026-03-03T10:00:00.000Z');
    assert.equal(before('2024-02-29T10:00:00Z', '1y'), '2023-03-01T10:00:00.000Z');
    assert.equal(before('2026-01-01T00:30:00Z', '1h'), '2025-12-31T23:30:00.000Z');
    assert.equal(before('2026-01-01T00:00:00Z', '0h'), '2026-01-01T00:00:00.000Z');
  });

  test('sizes are powers of 1024', () => {
    for (const [text, bytes] of [
      ['1M', 1024 ** 2],
      ['1.5G', 1.5 * 1024 ** 3],
      ['50 GB', 50 * 1024 ** 3],
      ['50gib', 50 * 1024 ** 3],
      ['2T', 2 * 1024 ** 4],
      [1_048_576, 1024 ** 2],
      ['1048576', 1024 ** 2],
      ['1048575', null],
      ['', null],
    ] as const) {
      assert.equal(parseBudget(text), bytes, String(text));
    }
    fc.assert(fc.property(fc.string({ maxLength: 40 }), (text) => void parseBudget(text)));
  });
});
