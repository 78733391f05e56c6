/** Which boards the page lists, and in which order. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Station } from '../../src/daemon/station.ts';
import { parseMac } from '../../src/mac.ts';
import { type Wish, chosenBoards } from '../../web/boards/board-filter.ts';
import type { BoardRow } from '../../web/documents.ts';

const NOW_MS = Date.parse('2026-11-27T00:00:00Z');
const ALL: Wish = { search: '', chip: '', group: '', firmware: '', unseen: '', only: '', sort: 'needs' };
const { attention: CALM } = new Station().view;

function row(number: number, facts: Partial<BoardRow> = {}): BoardRow {
  return {
    mac: `24:0a:c4:00:00:${number.toString(16).padStart(2, '0')}`,
    ...{ label: null, note: null, group: null, chip: 'ESP8266EX', sizeBytes: 4_194_304, backups: 1 },
    ...{ first: null, latest: null, lastSeen: '2026-11-26T12:00:00Z', lastSeenBy: null, places: null, firmware: null },
    ...{ chipChange: null, halfRestored: null, isDamaged: false, ...facts },
  };
}

const macsOf = (rows: readonly BoardRow[], wish: Partial<Wish>, attention = CALM) =>
  chosenBoards(rows, { ...ALL, ...wish }, { attention, nowMs: NOW_MS }).boards.map(({ mac }) => mac.slice(-2));

test('what needs attention comes first, the worst of it at the top', () => {
  const half = { from: null, startedAt: null, snapshot: null };
  const rows = [
    row(1, { label: 'a' }),
    row(2, { chipChange: { kind: 'flash', details: [] } }),
    row(3, { isDamaged: true, halfRestored: half }),
    row(4, { isDamaged: true }),
    row(5),
  ];
  const failed = {
    ...{ at: '', port: '/dev/ttyUSB0', mac: parseMac(rows[4]!.mac)! },
    about: 'port',
    error: { code: 'no-sync', message: 'It does not answer', hint: '' },
  } as const;
  assert.deepEqual(macsOf(rows, {}, [failed]), ['03', '04', '05', '02', '01']);
  assert.deepEqual(macsOf(rows, { only: 'needs' }), ['03', '04', '02']);
  assert.deepEqual(macsOf(rows, { only: 'half' }), ['03']);
});

test('a search finds each word in any text, and a MAC in each of its notations', () => {
  const rows = [row(1, { label: 'Kitchen', note: 'above the sink' }), row(0xab, { firmware: 'Tasmota 13.4.0' })];
  for (const search of ['kitchen', 'KITCH sink', 'sink above']) assert.deepEqual(macsOf(rows, { search }), ['01']);
  for (const search of ['24:0a:c4:00:00:ab', '24-0A-C4-00-00-AB', '240ac40000ab', 'tasmota']) {
    assert.deepEqual(macsOf(rows, { search }), ['ab']);
  }
  assert.deepEqual(macsOf(rows, { search: 'kitchen tasmota' }), []);
});

test('filters are those of espd list; a range that is none filters nothing and says why', () => {
  const rows = [
    row(1, { firmware: 'Tasmota 12.5.0', group: 'House' }),
    row(2, { firmware: 'Tasmota 13.4.0', lastSeen: '2026-10-01T00:00:00Z' }),
    row(3, { firmware: 'smart plug', chip: 'ESP32-C3' }),
  ];
  assert.deepEqual(macsOf(rows, { firmware: 'tasmota <13', sort: 'mac' }), ['01']);
  assert.deepEqual(macsOf(rows, { firmware: 'smart', sort: 'mac' }), ['03']);
  assert.deepEqual(macsOf(rows, { group: 'house' }), ['01']);
  assert.deepEqual(macsOf(rows, { chip: 'esp32c3' }), ['03']);
  assert.deepEqual(macsOf(rows, { unseen: '30' }), ['02']);
  const wrong = chosenBoards(rows, { ...ALL, firmware: '<13' }, { attention: CALM, nowMs: NOW_MS });
  assert.match(wrong.problem ?? '', /No firmware is named/);
  assert.equal(wrong.boards.length, 3);
});

test('whatever somebody types, nothing is made up and nothing is listed twice', () => {
  const text = fc.string({ maxLength: 30 });
  const wishes = fc.record({
    ...{ search: text, chip: text, group: text, firmware: text, unseen: text },
    only: fc.constantFrom('', 'needs', 'damaged', 'half', 'other'),
    sort: fc.constantFrom('needs', 'mac', 'label', 'chip', 'firmware', 'seen', 'size', 'backups', 'nonsense'),
  });
  const rows = [
    row(1, { label: 'a' }),
    row(2, { firmware: 'x 1' }),
    row(3, { chip: null, sizeBytes: null, lastSeen: null }),
  ];
  fc.assert(
    fc.property(wishes, (wish) => {
      const macs = macsOf(rows, wish);
      assert.equal(new Set(macs).size, macs.length);
      assert.ok(macs.every((mac) => ['01', '02', '03'].includes(mac)));
    }),
  );
});
