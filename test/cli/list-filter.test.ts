import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import {
  fits,
  globMatches,
  hidesUnknownVersion,
  SORT_KEYS,
  sorted,
  type ListedBoard,
  type ListFilter,
} from '../../src/cli/list-filter.ts';
import { parseFirmwareRange } from '../../src/firmware/index.ts';

const NOW = Date.parse('2026-11-26T12:00:00Z');
const DAY = 24 * 3_600_000;

function board(about: Partial<ListedBoard> = {}): ListedBoard {
  return {
    mac: '50:02:91:c3:37:a5',
    label: 'Door sensor 2',
    group: 'Ground floor',
    chip: { family: 'esp32s3', name: 'ESP32-S3' },
    sizeBytes: 4 << 20,
    backups: 3,
    lastSeen: '2026-11-20T12:00:00Z',
    firmware: { name: 'Tasmota', version: '12.5.0' },
    isDamaged: false,
    isHalfRestored: false,
    ...about,
  };
}
function range(text: string) {
  const { range: parsed } = parseFirmwareRange(text);
  assert.ok(parsed !== null);
  return parsed;
}

describe('fits', () => {
  const cases: [filter: ListFilter, about: Partial<ListedBoard>, expected: boolean][] = [
    [{}, {}, true],
    [{ chip: 'esp32s3' }, {}, true],
    [{ chip: 'ESP32-S3' }, {}, true],
    [{ chip: 'esp32' }, {}, false],
    [{ chip: 'ESP8266EX' }, { chip: { family: 'esp8266', name: 'ESP8266EX' } }, true],
    [{ chip: 'esp32s3' }, { chip: null }, false],
    [{ firmware: range('tasmota <13') }, {}, true],
    [{ firmware: range('tasmota >=13') }, {}, false],
    [{ firmware: range('tasmota') }, { firmware: null }, false],
    [{ firmware: range('tasmota <13') }, { firmware: { name: 'Tasmota', version: null } }, false],
    [{ group: 'ground FLOOR' }, {}, true],
    [{ group: 'ground' }, {}, false],
    [{ group: 'ground floor' }, { group: null }, false],
    [{ label: 'door*' }, {}, true],
    [{ label: 'DOOR sensor ?' }, {}, true],
    [{ label: 'door' }, {}, false],
    [{ label: '*' }, { label: null }, false],
    [{ notSeenFor: 6 * DAY }, {}, true],
    [{ notSeenFor: 6 * DAY + 1 }, {}, false],
    [{ notSeenFor: 30 * DAY }, { lastSeen: null }, true],
    [{ notSeenFor: DAY }, { lastSeen: '2027-01-01T00:00:00Z' }, false],
    [{ damaged: true }, {}, false],
    [{ damaged: true }, { isDamaged: true }, true],
    [{ halfRestored: true }, {}, false],
    [{ halfRestored: true }, { isHalfRestored: true }, true],
  ];
  test('each filter', () => {
    for (const [filter, about, expected] of cases) {
      assert.equal(fits(board(about), filter, NOW), expected, JSON.stringify([filter, about]));
    }
  });

  test('filters combine: a board fits all that are given, or it does not fit', () => {
    const filter = fc.constantFrom(...cases.map(([each]) => each));
    const about = fc.constantFrom(...cases.map(([, each]) => each));
    fc.assert(
      fc.property(filter, filter, about, (a, b, of) => {
        // Of the same filter given twice the last counts.
        fc.pre(!Object.keys(a).some((key) => key in b));
        assert.equal(fits(board(of), { ...a, ...b }, NOW), fits(board(of), a, NOW) && fits(board(of), b, NOW));
      }),
    );
  });

  test('a version that nobody knows is told apart from one that does not fit', () => {
    const unknown = board({ firmware: { name: 'Tasmota', version: null } });
    assert.equal(hidesUnknownVersion(unknown, { firmware: range('tasmota <13') }), true);
    assert.equal(hidesUnknownVersion(unknown, { firmware: range('tasmota') }), false);
    assert.equal(hidesUnknownVersion(unknown, { firmware: range('wled <1') }), false);
    assert.equal(hidesUnknownVersion(board(), { firmware: range('tasmota <1') }), false);
  });
});

describe('globMatches', () => {
  test('as a regular expression of the same meaning', () => {
    const characters = fc.array(fc.constantFrom('a', 'b', '*', '?', '.'), { maxLength: 8 }).map((all) => all.join(''));
    fc.assert(
      fc.property(characters, fc.array(fc.constantFrom('a', 'b', '.'), { maxLength: 8 }), (pattern, text) => {
        const expression = pattern.replaceAll('.', '\\.').replace(/\*+/g, '.*').replaceAll('?', '.');
        const expected = new RegExp(`^(?:${expression})$`, 's').test(text.join(''));
        assert.equal(globMatches(pattern, text.join('')), expected, `${pattern} ${text.join('')}`);
      }),
      { numRuns: 2000 },
    );
  });
  test('a pattern that would make a naive matcher try for years', () => {
    assert.equal(globMatches('*a'.repeat(5000), 'a'.repeat(4999)), false);
  });
});

describe('sorted', () => {
  const boards = [
    board({ mac: 'a', label: null, firmware: { name: 'WLED', version: '0.14.0' }, backups: 10, sizeBytes: null }),
    board({ mac: 'b', label: 'zoo', firmware: { name: 'Tasmota', version: '9.5.0' }, backups: 9, sizeBytes: 2 }),
    board({ mac: 'c', label: 'Attic', firmware: { name: 'Tasmota', version: '13.0.0' }, backups: 2, sizeBytes: 1 }),
    board({ mac: 'd', label: 'attic 2', firmware: null, backups: 2, lastSeen: null, chip: null }),
  ];
  const macs = (key: (typeof SORT_KEYS)[number], reverse = false) =>
    sorted(boards, key, reverse)
      .map(({ mac }) => mac)
      .join('');

  test('by each key; what a board has not comes last, either way round', () => {
    assert.equal(macs('mac'), 'abcd');
    assert.equal(macs('mac', true), 'dcba');
    assert.equal(macs('label'), 'cdba');
    assert.equal(macs('label', true), 'bdca');
    // Versions as versions: 9.5 is before 13.
    assert.equal(macs('firmware'), 'bcad');
    assert.equal(macs('firmware', true), 'acbd');
    assert.equal(macs('backups'), 'cdba');
    assert.equal(macs('size'), 'cbda');
    assert.equal(macs('seen'), 'abcd');
    assert.equal(macs('chip'), 'abcd');
  });

  test('loses and adds none, and one order does not depend on the order before', () => {
    const any = fc.record({
      mac: fc.constantFrom('a', 'b', 'c', 'd'),
      label: fc.constantFrom(null, 'x', 'X', 'y'),
      version: fc.constantFrom(null, '1', '1.0', 'v1-2-g1234567', 'dev', '2.7.23.0cab43f', '2.7.23.1234567'),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(any, { selector: ({ mac }) => mac }),
        fc.constantFrom(...SORT_KEYS),
        fc.boolean(),
        (all, key, reverse) => {
          const these = all.map(({ mac, label, version }) => board({ mac, label, firmware: { name: 'x', version } }));
          const once = sorted(these, key, reverse);
          assert.deepEqual(once.map(({ mac }) => mac).sort(), these.map(({ mac }) => mac).sort());
          assert.deepEqual(sorted(these.toReversed(), key, reverse), once);
        },
      ),
    );
  });
});
