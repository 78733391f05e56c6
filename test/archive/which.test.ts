import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { idFromDate } from '../../src/archive/ids.ts';
import { nearBoards, parseMoment, selectId, unknownBoard } from '../../src/archive/which.ts';
import { hasCode } from '../../src/errors.ts';
import { parseMac } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';
import { MAC } from './support.ts';

const ids = [
  '2026-01-01T00-00-00Z',
  '2026-11-22T23-59-59Z',
  '2026-11-23T10-00-00Z',
  '2026-11-23T10-00-30Z',
  '2026-11-24T00-00-00Z',
];

test('latest, first and ids', () => {
  assert.equal(selectId(MAC, ids, 'latest'), ids[4]);
  assert.equal(selectId(MAC, ids, 'first'), ids[0]);
  for (const id of ids) assert.equal(selectId(MAC, ids, id), id);
});

test('a date means the newest backup up to its end', () => {
  const table: Record<string, number> = {
    '2026-11-23': 3,
    '2026-11-24': 4,
    '2030-01-01': 4,
    '2026-01-01': 0,
    '2026-11-23T10:00Z': 3,
    '2026-11-23 10:00Z': 3,
    '2026-11-23T10:00:00Z': 2,
    '2026-11-23T10:00:29.999Z': 2,
    '2026-11-23T10:00:30z': 3,
    '2026-11-23T09:59:59Z': 1,
    '2026-11-23T12:00:00+02:00': 2,
    '2026-11-23T04:59:59-05:00': 1,
  };
  for (const [which, index] of Object.entries(table)) assert.equal(selectId(MAC, ids, which), ids[index], which);
});

test('a time without zone is local', () => {
  const local = new Date(2026, 10, 23, 10, 0, 0);
  assert.equal(parseMoment('2026-11-23T10:00:00')?.getTime(), local.getTime());
  assert.equal(parseMoment('2026-11-23T10:00')?.getTime(), local.getTime() + 59_000);
  assert.equal(parseMoment('2026-11-23')?.toISOString(), '2026-11-23T23:59:59.000Z');
});

test('a backup selected by its own date is that backup, and one second earlier it is the one before', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 250_000_000_000 }), { minLength: 1, maxLength: 10 }),
      (seconds) => {
        const all = seconds.map((second) => idFromDate(new Date(second * 1000))).sort();
        all.forEach((id, index) => {
          const iso = `${id.slice(0, 10)}T${id.slice(11).replaceAll('-', ':')}`;
          assert.equal(selectId(MAC, all, iso), id);
          const before = new Date(new Date(iso).getTime() - 1000).toISOString();
          if (index > 0) assert.equal(selectId(MAC, all, before), all[index - 1]);
          else
            assert.throws(
              () => selectId(MAC, all, before),
              (error) => hasCode(error, 'archive-unknown-backup'),
            );
        });
      },
    ),
    { numRuns: 50 },
  );
});

test('what is not there is an error that names what is', () => {
  const cases: [string, RegExp][] = [
    ['2026-11-23T10-00-01Z', /There are 2026-11-24T00-00-00Z, 2026-11-23T10-00-30Z/],
    ['2025-12-31', /The first one is 2026-01-01T00-00-00Z/],
    ['yesterday', /latest, first, a backup id or an ISO date/],
    ['2026-02-30', /ISO date/],
    ['2026-11-23T25:00Z', /ISO date/],
    ['2026-11-23T10:00+99:00', /ISO date/],
    ['9999-12-31T23:59:59-01:00', /ISO date/],
    ['Latest', /latest/],
    ['', /latest/],
    ['../../etc', /latest/],
  ];
  for (const [which, hint] of cases) {
    assert.throws(
      () => selectId(MAC, ids, which),
      (error) => hasCode(error, 'archive-unknown-backup') && hint.test(error.hint),
      which,
    );
  }
  assert.throws(
    () => selectId(MAC, [], 'latest'),
    (error) => hasCode(error, 'archive-unknown-backup') && /yet/.test(error.message),
  );
});

test('near boards: two digits wrong, same last three bytes, or a part; the nearest first', () => {
  const macs = ['50:02:91:c3:37:a5', '50:02:91:c3:37:a6', '24:0a:c4:c3:37:a5', 'ff:ff:ff:00:00:00'].map((text) =>
    parseMac(text)!,
  );
  const near = (text: string) => nearBoards(text, macs);
  assert.deepEqual(near('50:02:91:c3:37:a7'), [macs[0], macs[1]]);
  assert.deepEqual(near('50-02-91-C3-37'), [macs[0], macs[1]]);
  assert.deepEqual(near('5O:O2:91:c3:37:a5'), [macs[0], macs[2]]);
  assert.deepEqual(near('11:22:33:c3:37:a5'), [macs[0], macs[2]]);
  assert.deepEqual(near('37:a5'), [macs[0], macs[2]]);
  assert.deepEqual(near('a5'), []);
  assert.deepEqual(near('kitchen'), []);
  assert.deepEqual(near('x'.repeat(100_000)), []);
});

test('near boards: by the names that firmware makes of the last three bytes', () => {
  const macs = ['50:02:91:63:37:06', '50:02:91:c3:37:a5', '24:0a:c4:63:37:06', '24:0a:c4:63:37:05'].map((text) =>
    parseMac(text)!,
  );
  const near = (text: string) => nearBoards(text, macs);
  for (const name of ['ESP_633706', 'ESP-633706', 'ESP633706', 'tasmota-633706', 'tasmota_633706', '633706']) {
    assert.deepEqual(near(name).slice(0, 2), [macs[0], macs[2]], name);
  }
  assert.deepEqual(near('tasmota-633706-5894').slice(0, 2), [macs[0], macs[2]]);
  for (const name of ['esphome-web-c337a5', 'wled-c337a5', 'kitchen-light-C337A5']) {
    assert.deepEqual(near(name), [macs[1]], name);
  }
  // The access point of an ESP32 has the MAC after the station's; the station's own comes first.
  assert.deepEqual(near('ESP_633706'), [macs[0], macs[2], macs[3]]);
  assert.deepEqual(near('ESP_C337A6'), [macs[1]]);
  assert.deepEqual(near('ESP_C337A4'), []);
  assert.deepEqual(near('tasmota-0000'), []);
  assert.deepEqual(near('facade'), []);
  const error = unknownBoard('wled-c337a5', macs);
  assert.equal(error.hint, 'Near it: 50:02:91:c3:37:a5');
});

test('an unknown board: the near ones, or what is there', () => {
  const macs = Array.from({ length: 9 }, (_, index) => parseMac(`50029100000${index}`)!);
  assert.match(unknownBoard('500291000009', macs).hint, /^Near it: .*50:02:91:00:00:00.* and 4 more$/);
  assert.match(unknownBoard('lamp', macs).hint, /^It holds 9 boards: .* and 4 more$/);
  assert.match(unknownBoard('lamp', macs.slice(0, 1)).hint, /^It holds 1 board: 50:02:91:00:00:00$/);
  assert.match(unknownBoard('lamp', [] as Mac[]).hint, /still empty/);
  assert.doesNotMatch(unknownBoard('\u001b[31m\u202e', macs).message, /[\u001b\u202e]/);
});
