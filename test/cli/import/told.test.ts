import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { dateOfDump, familyOfDump, macOfDump } from '../../../src/cli/import/told.ts';
import { type ErrorCode, EspdError } from '../../../src/errors.ts';
import { parseMac, type Mac } from '../../../src/mac.ts';

const MAC = parseMac('500291c337a5') as Mac;
const OTHER = parseMac('240ac4124556') as Mac;

function fails(work: () => unknown, code: ErrorCode, message: RegExp): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof EspdError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.notEqual(error.hint, '');
    return true;
  });
}

test('the board: told, or out of the name; asked for where neither says, or the name says two', () => {
  assert.equal(macOfDump('a', ['500291c337a5.bin'], undefined), MAC);
  assert.equal(macOfDump('a', ['500291c337a5.bin'], OTHER), OTHER);
  assert.equal(macOfDump('a', ['boot-500291c337a5.bin', '50-02-91-c3-37-a5-app.bin'], undefined), MAC);
  fails(() => macOfDump('fw-backup-4M.bin', ['fw-backup-4M.bin'], undefined), 'import-unclear', /fw-backup-4M\.bin/);
  fails(() => macOfDump('a', ['500291c337a5_240ac4124556.bin'], undefined), 'import-unclear', /names 2 boards/);
});

describe('the day of a dump', () => {
  const now = new Date('2026-11-26T12:00:00Z');
  const facts = (given: Partial<Parameters<typeof dateOfDump>[0]>) => ({
    name: 'a.bin',
    fileNames: ['a.bin'],
    modifiedAt: new Date('2025-05-05T05:05:05Z'),
    told: undefined,
    now,
    newestOfChip: undefined,
    ...given,
  });

  test('told before named before stamped', () => {
    const told = new Date('2020-01-01T00:00:00Z');
    const named = { fileNames: ['a_2024-01-02.bin'] };
    assert.deepEqual(dateOfDump(facts({ ...named, told })), { at: told, from: 'told' });
    assert.deepEqual(dateOfDump(facts(named)), { at: new Date('2024-01-02T00:00:00Z'), from: 'name' });
    assert.deepEqual(dateOfDump(facts({})), { at: new Date('2025-05-05T05:05:05Z'), from: 'file' });
  });

  test('a time that has not come is refused when told, and no date in a name', () => {
    fails(() => dateOfDump(facts({ told: new Date(now.getTime() + 1) })), 'usage', /has not come yet/);
    assert.equal(dateOfDump(facts({ told: now })).from, 'told');
    assert.equal(dateOfDump(facts({ fileNames: ['a_2027-01-02.bin'] })).from, 'file');
  });

  test('a time stamp that cannot be right is not believed', () => {
    for (const stamp of ['1970-01-01T00:00:00Z', '2013-12-31T23:59:59Z', '2026-11-26T12:00:01Z']) {
      fails(() => dateOfDump(facts({ modifiedAt: new Date(stamp) })), 'import-unclear', /is not known/);
    }
  });

  test('by its time stamp alone, no dump becomes newer than what a chip has confirmed', () => {
    const modifiedAt = new Date('2025-05-05T05:05:05Z');
    const newer = new Date('2025-05-05T05:05:06Z');
    assert.equal(dateOfDump(facts({ modifiedAt, newestOfChip: newer })).from, 'file');
    for (const newestOfChip of [modifiedAt, new Date('2020-01-01T00:00:00Z')]) {
      fails(() => dateOfDump(facts({ modifiedAt, newestOfChip })), 'import-unclear', /newer than the newest backup/);
      assert.equal(dateOfDump(facts({ newestOfChip, told: now })).from, 'told');
      assert.equal(dateOfDump(facts({ newestOfChip, fileNames: ['2026-01-01.bin'] })).from, 'name');
    }
  });

  test('two dates in the names are asked about, one twice is not', () => {
    const fileNames = ['a_2024-01-02.bin', 'b_2024-01-03.bin'];
    fails(() => dateOfDump(facts({ fileNames })), 'import-unclear', /names 2 dates/);
    assert.equal(dateOfDump(facts({ fileNames: ['a_2024-01-02.bin', 'b_20240102.bin'] })).from, 'name');
  });
});

describe('the chip of a dump', () => {
  const facts = { name: 'a.bin', mac: MAC, found: null, told: undefined, known: undefined };
  test('out of the image, told, or known of the board', () => {
    assert.equal(familyOfDump({ ...facts, found: 'esp32' }), 'esp32');
    assert.equal(familyOfDump({ ...facts, told: 'esp32' }), 'esp32');
    assert.equal(familyOfDump({ ...facts, known: 'esp32' }), 'esp32');
    assert.equal(familyOfDump({ ...facts, found: 'esp32', told: 'esp32', known: 'esp32' }), 'esp32');
  });
  test('asked for where nothing says it, refused where two say different things', () => {
    fails(() => familyOfDump(facts), 'import-unclear', /cannot be seen/);
    const other = 'esp8266';
    fails(() => familyOfDump({ ...facts, found: 'esp32', told: other }), 'other-chip', /--chip says esp8266/);
    fails(() => familyOfDump({ ...facts, found: 'esp32', known: other }), 'other-chip', /backups of .* are of esp8266/);
    fails(() => familyOfDump({ ...facts, told: 'esp32', known: other }), 'other-chip', /is of esp32, but/);
  });
});
