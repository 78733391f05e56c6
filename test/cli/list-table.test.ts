import assert from 'node:assert/strict';
import { test } from 'node:test';

import { listTable, type TableBoard } from '../../src/cli/list-table.ts';
import { formatTable } from '../../src/cli/text.ts';

function board(about: Partial<TableBoard> = {}): TableBoard {
  return {
    mac: '50:02:91:c3:37:a5',
    label: null,
    group: null,
    chip: 'ESP8266EX',
    sizeBytes: 4 << 20,
    backups: 3,
    lastSeen: '2026-11-20T12:00:00.000Z',
    seenBy: null,
    places: null,
    about: 'Tasmota 13.4.0',
    ...about,
  };
}
const headings = (boards: readonly TableBoard[], columns: number) => listTable(boards, columns).rows[0];

test('columns of labels and groups stand only where a board has one', () => {
  assert.deepEqual(headings([board()], 80), ['MAC', 'CHIP', 'SIZE', 'BACKUPS', 'LAST SEEN', 'FIRMWARE']);
  assert.deepEqual(headings([board(), board({ label: 'kitchen' })], Infinity)?.slice(0, 3), ['MAC', 'LABEL', 'CHIP']);
  assert.deepEqual(headings([board({ group: 'attic' })], Infinity)?.slice(0, 3), ['MAC', 'GROUP', 'CHIP']);
});

test('at 80 columns the name of the firmware can be read, whatever the labels are', () => {
  const long = board({
    label: 'door sensor of the garage',
    group: 'ground floor, north',
    chip: 'ESP32-D0WD-V3',
    about: 'ESPHome 2024.6.0-dev',
  });
  for (const boards of [[board({ label: 'kitchen' })], [board({ group: 'attic' })], [long], [long, board()]]) {
    const { rows, leftOut } = listTable(boards, 80);
    for (const line of formatTable(rows).slice(1)) {
      const { about } = boards.find((each) => line.includes(each.about.slice(0, 8))) ?? { about: '?' };
      assert.ok(line.indexOf(about.slice(0, 8)) + Math.min(about.length, 18) <= 80, `${leftOut.join()} ${line}`);
    }
  }
  assert.deepEqual(listTable([long], 80).leftOut, ['GROUP', 'SIZE', 'LAST SEEN']);
  // How many backups a board has never gives way.
  for (let columns = 40; columns < 120; columns++)
    assert.ok(!listTable([long], columns).leftOut.includes('BACKUPS'), `${columns} columns`);
  assert.deepEqual(listTable([board({ label: 'kitchen', group: 'attic' })], 80).leftOut, ['GROUP']);
  assert.deepEqual(listTable([long], Infinity).leftOut, []);
  assert.ok(listTable([long], Infinity).rows[1]?.includes('door sensor of the garage'));
  assert.ok(listTable([long], 80).rows[1]?.includes('door sensor o…'));
});

test('without labels nothing gives way: the last column is cut, as ever', () => {
  const { rows, leftOut } = listTable([board({ about: 'x'.repeat(200) })], 40);
  assert.equal(rows[0]?.length, 6);
  assert.deepEqual(leftOut, []);
});
