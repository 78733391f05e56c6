import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import {
  compareVersions,
  nameMatches,
  parseFirmwareRange,
  parseVersion,
  rangeMatches,
  type FirmwareRange,
} from '../../src/firmware/versions.ts';

const sign = (order: number | undefined) => (order === undefined ? undefined : Math.sign(order));

/** As projects write them, and as nobody should. */
const version = fc.oneof(
  fc
    .record({
      prefix: fc.constantFrom('', 'v', 'V', 'mega-', 'R'),
      numbers: fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }),
      suffix: fc.constantFrom(
        '',
        '-b7',
        'b1',
        '-rc1',
        '-dev',
        '-preview.3.g1234567',
        '-5-g1234567',
        '-dirty',
        '-g7654321',
        '+x',
        ' / 7',
      ),
    })
    .map(({ prefix, numbers, suffix }) => `${prefix}${numbers.join('.')}${suffix}`),
  fc.constantFrom(
    '2.7.23.0cab43f',
    'afceb56-dirty',
    '',
    'unknown',
    '20240822',
    '1.7.4.0',
    'v2.2.1.0_esp8266-40-g258b6e0-di',
  ),
  fc.string({ maxLength: 20 }),
);

describe('compareVersions', () => {
  test('in the order in which they came out', () => {
    const orders: string[][] = [
      ['12.5.0', '13.4.0', '14.0.0', '14.0.0.1', '14.2.0'],
      ['1.14.3', '2024.6.0-dev', '2024.6.0b1', '2024.6.0b2', '2024.6.0', '2024.6.1', '2024.10.0', '2025.1.0'],
      ['0.14.4', '0.15.0-b1', '0.15.0-b7', '0.15.0-b10', '0.15.0-rc1', '0.15.0', '16.0.1'],
      [
        'v1.9.4',
        'v1.9.4-8-ga9a3caad0',
        'v1.9.4-568-g4df194394-dirty',
        'v1.10',
        'v1.22.0-preview.3.g8abcdef',
        'v1.22.0-preview.30.g8abcdef',
        'v1.22.0',
      ],
      ['mega-20190311', 'mega-20240822'],
      ['1.3.0.0', '1.7.4.0', '1.7.6', 'v2.2.1.0', 'v4.0.0.0-71-g05ade88d-dirty'],
      ['2.5.20.4c97351', '2.7.23.0cab43f', '2.10.0.1234567'],
      ['v4.4.7', 'v4.4.7-dirty', 'v4.4.7-1-g1234567'],
      ['v0.9.13-rc1', 'v0.9.13', 'v1.0.0'],
      ['1', '2', '10', '10.9', '10.99999999999999999999999999', '10.100000000000000000000000000'],
    ];
    for (const order of orders) {
      for (const [index, earlier] of order.entries()) {
        for (const later of order.slice(index + 1)) {
          assert.equal(sign(compareVersions(earlier, later)), -1, `${earlier} < ${later}`);
          assert.equal(sign(compareVersions(later, earlier)), 1, `${later} > ${earlier}`);
        }
      }
    }
  });

  test('the same, written in two ways', () => {
    for (const [a, b] of [
      ['13.4', '13.4.0'],
      ['v1.0.0', '1.0'],
      ['V01.02', 'v1.2'],
      ['0.15.0-b7', '0.15.0b7'],
      ['0.15.0-beta.7', '0.15.0-b7'],
      [' 2024.6.1 ', '2024.6.1'],
    ] as const) {
      assert.equal(compareVersions(a, b), 0, `${a} = ${b}`);
    }
  });

  test('what has no order', () => {
    for (const [a, b] of [
      ['', '1.0'],
      ['unknown', 'unknown'],
      ['mega-20240822', '20240822'],
      ['R120', '120'],
      ['v1.14.0-gcb84623', 'v1.14.0-g1234567'],
      ['2.7.23.0cab43f', '2.7.23.1234567'],
      ['afceb56-dirty', 'v1.0'],
      ['593ae04', '1234567'],
      ['1.0+lite', '1.0+full'],
      ['1'.repeat(201), '1'],
      ['1.1.1.1.1.1.1.1.1', '1'],
      ['esp-idf: v4.4.4 e8bdaf9198', 'v4.4.4'],
    ] as const) {
      assert.equal(compareVersions(a, b), undefined, `${a} ? ${b}`);
      assert.equal(compareVersions(b, a), undefined);
    }
  });

  test('antisymmetric', () => {
    fc.assert(
      fc.property(version, version, (a, b) => {
        const order = sign(compareVersions(a, b));
        const back = sign(compareVersions(b, a));
        assert.equal(order, back === undefined ? undefined : 0 - back);
      }),
      { numRuns: 2000 },
    );
  });

  test('reflexive for whatever is a version', () => {
    fc.assert(
      fc.property(version, (a) => {
        assert.equal(compareVersions(a, a), parseVersion(a) === undefined ? undefined : 0);
      }),
    );
  });

  test('transitive', () => {
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        const ab = compareVersions(a, b);
        const bc = compareVersions(b, c);
        if (ab === undefined || bc === undefined || ab > 0 || bc > 0) return;
        const ac = compareVersions(a, c);
        assert.ok(ac !== undefined && ac <= 0, `${a} <= ${b} <= ${c}`);
        if (ab < 0 || bc < 0) assert.ok(ac < 0, `${a} < ${c}`);
      }),
      { numRuns: 5000 },
    );
  });

  test('takes any text in no time to speak of', () => {
    for (const text of ['1.'.repeat(100), '-'.repeat(200), 'b7'.repeat(100), '1-1-g'.repeat(40), '0'.repeat(200)]) {
      compareVersions(text, text);
    }
  });
});

const rangeOf = (text: string): FirmwareRange => {
  const { range, problem } = parseFirmwareRange(text);
  assert.ok(range !== null, problem ?? '');
  return range;
};

describe('parseFirmwareRange', () => {
  test('name and conditions', () => {
    assert.deepEqual(rangeOf('wled'), { name: 'wled', conditions: [] });
    assert.deepEqual(rangeOf('Tasmota <13'), { name: 'Tasmota', conditions: [{ operator: '<', version: '13' }] });
    assert.deepEqual(rangeOf('Tasmota<13'), rangeOf(' Tasmota , < 13 '));
    assert.deepEqual(rangeOf('esphome >=2024.6 <2025'), {
      name: 'esphome',
      conditions: [
        { operator: '>=', version: '2024.6' },
        { operator: '<', version: '2025' },
      ],
    });
    assert.deepEqual(rangeOf('esphome >=2024.6,<2025'), rangeOf('esphome >= 2024.6 , < 2025'));
    assert.equal(rangeOf('Arduino app').name, 'Arduino app');
    assert.equal(rangeOf('espeasy =mega-20240822').conditions[0]?.version, 'mega-20240822');
  });

  test('what is none, says why and how', () => {
    const cases: [text: string, problem: RegExp][] = [
      ['', /No firmware is named/],
      ['  , ', /No firmware is named/],
      ['<13', /No firmware is named/],
      ['Tasmota <', /A version is missing after </],
      ['Tasmota < ,13', /A version is missing|neither/],
      ['Tasmota <new', /"new" is no version/],
      ['Tasmota != 13', /"!=" is none of/],
      ['Tasmota ~13', /"~" is none of/],
      ['Tasmota ==13', /"==" is none of/],
      ['Tasmota =<13', /"=<" is none of/],
      ['Tasmota 13', /"13" looks like a version, but/],
      ['esphome 2024.6.1', /"2024.6.1" looks like a version/],
      ['Tasmota <13 and >12', /"and" is neither/],
      [`x ${'>1 '.repeat(9)}`, /More than 8/],
      ['x'.repeat(201), /too long/],
    ];
    for (const [text, problem] of cases) {
      const parsed = parseFirmwareRange(text);
      assert.ok(parsed.range === null, text);
      assert.match(parsed.problem, problem, text);
      assert.match(parsed.problem, /'Tasmota <13'/);
    }
  });

  test('never throws', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 220 }), (text) => {
        parseFirmwareRange(text);
      }),
    );
  });
});

describe('rangeMatches', () => {
  const matches = (range: string, name: string, version: string | null) =>
    rangeMatches(rangeOf(range), { name, version });

  test('the name as a whole or its first words, without case', () => {
    for (const [range, name, expected] of [
      ['tasmota', 'Tasmota', true],
      ['TASMOTA', 'Tasmota', true],
      ['arduino', 'Arduino app', true],
      ['arduino app', 'Arduino app', true],
      ['door', 'door-sensor', true],
      ['esp', 'ESP-AT', true],
      ['esp', 'ESPHome', false],
      ['app', 'Arduino app', false],
      ['tasmota32', 'Tasmota', false],
    ] as const) {
      assert.equal(nameMatches(rangeOf(range), name), expected, `${range} ${name}`);
    }
  });

  test('the version', () => {
    const cases: [range: string, version: string | null, expected: boolean][] = [
      ['x <13', '12.5.0', true],
      ['x <13', '13.0.0', false],
      ['x <13', null, false],
      ['x', null, true],
      ['x >=2024.6 <2025', '2024.6.0', true],
      ['x >=2024.6 <2025', '2024.12.4', true],
      ['x >=2024.6 <2025', '2025.1.0', false],
      ['x >=2024.6 <2025', '2024.5.5', false],
      // As many numbers as the condition has.
      ['x =13', '13.4.0', true],
      ['x <=13', '13.4.0', true],
      ['x >13', '13.4.0', false],
      ['x >13', '14.0.0', true],
      ['x =13.4.0', '13.4.1', false],
      ['x >=2024.6', '2024.6.0b1', true],
      ['x >=2024.6.0', '2024.6.0b1', false],
      ['x <0.15.0-rc1', '0.15.0-b7', true],
      ['x =0.15.0-b7', '0.15.0-b7', true],
      // A commit is any unless the condition names one.
      ['x =1.14.0', 'v1.14.0-gcb84623', true],
      ['x =2.7.23', '2.7.23.0cab43f', true],
      ['x =1.14.0-gcb84623', 'v1.14.0-gcb84623', true],
      ['x =1.14.0-g1234567', 'v1.14.0-gcb84623', false],
      ['x >=1.14.0-g1234567', 'v1.14.0-gcb84623', false],
      ['x >=mega-20240101', 'mega-20240822', true],
      ['x >=20240101', 'mega-20240822', false],
      ['x >1', 'afceb56-dirty', false],
    ];
    for (const [range, version, expected] of cases) {
      assert.equal(matches(range, 'x', version), expected, `${range}: ${version}`);
    }
  });

  test('of <, = and > exactly one holds where there is an order, and <= is < or =', () => {
    const bound = version.filter((text) => parseVersion(text) !== undefined && !/[\s,<>=!~^]/.test(text));
    fc.assert(
      fc.property(version, bound, (actual, limit) => {
        const holds = (operator: string) => matches(`x ${operator}${limit}`, 'x', actual);
        const [less, same, more] = [holds('<'), holds('='), holds('>')];
        assert.ok([less, same, more].filter(Boolean).length <= 1);
        assert.equal(holds('<='), less || same);
        assert.equal(holds('>='), more || same);
        assert.equal(matches(`x >=${limit} <=${limit}`, 'x', actual), same);
        assert.equal(matches(`x <${limit}, >${limit}`, 'x', actual), false);
        const order = compareVersions(actual, limit);
        if (order === 0) assert.ok(same);
        if (order !== undefined && order < 0) assert.ok(less || same);
        if (order !== undefined && order > 0) assert.ok(more || same);
      }),
      { numRuns: 2000 },
    );
  });
});
