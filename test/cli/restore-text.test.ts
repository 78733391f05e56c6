/** The plan as people read it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge, planLines } from '../../src/cli/restore-text.ts';
import { parseMac } from '../../src/mac.ts';
import type { RestorePlan } from '../../src/transfer/restore/plan.ts';

const mac = parseMac('50:02:91:c3:37:a5')!;
const plan: RestorePlan = {
  regions: [{ offset: 0xb000, sizeBytes: 4096 }],
  sectors: 1,
  bytes: 4096,
  parts: [
    {
      name: 'nvs',
      kind: 'partition',
      type: 'data',
      subtype: 'nvs',
      offset: 0x9000,
      sizeBytes: 0x5000,
      from: 0xb000,
      to: 0xc000,
      sectors: 1,
      bytes: 4096,
    },
  ],
  scope: null,
  kept: { parts: [], notes: [] },
  recordFolder: null,
  backup: {
    mac,
    id: '2026-11-23T10-00-00Z',
    createdAt: '2026-11-23T10:00:00.000Z',
    ageSeconds: 2 * 24 * 3600,
    why: 'latest of 5',
    chip: 'ESP32-D0WD',
    firmware: { name: 'a\u001b[2J\u202eb', version: '1.0', sdk: null },
    sizeBytes: 4 * 1024 * 1024,
    confirmed: true,
  },
  board: { mac, chip: 'ESP32-D0WD', revision: 'v3.1', port: '/dev/ttyUSB0' },
  estimate: { seconds: 2.1, eraseSeconds: 0, programSeconds: 0, lineSeconds: 0, verifySeconds: 0, wireBytes: 0 },
  risks: ['Settings and files on the board (such as Wi-Fi and pairings) go back to those of the image: nvs'],
  snapshot: { kind: 'made' },
  halfRestored: null,
  boundToMac: [],
};

test('a plan: what, why, where, how long, at what risk', () => {
  assert.deepEqual(planLines({ ...plan, backup: { ...plan.backup, firmware: null } }), [
    'Restore of 50:02:91:c3:37:a5 (ESP32-D0WD v3.1 at /dev/ttyUSB0)',
    '  backup     2026-11-23T10-00-00Z, 2 days old, latest of 5; verified',
    '             ESP32-D0WD, 4 MB',
    '  differs    1 of 1024 sectors, 4 KB',
    '             nvs  data/nvs  at 0xb000  1 sector  4 KB',
    '  takes      about 3 s, and before that the time of a backup',
    '  kept       what is on the board now is backed up first',
    '  at risk    Settings and files on the board (such as Wi-Fi and pairings) go',
    '               back to those of the image: nvs',
  ]);
});

test('a plan names where the difference is, not where its part begins', () => {
  const [nvs] = plan.parts;
  const place = (from: number, to: number, sectors: number) => {
    const parts = [{ ...nvs!, from, to, sectors, bytes: sectors * 4096 }];
    return planLines({ ...plan, parts }).find((line) => line.includes('data/nvs'));
  };
  assert.match(place(0xb000, 0xc000, 1) ?? '', /  at 0xb000  1 sector/);
  assert.match(place(0xb000, 0xd000, 2) ?? '', /  from 0xb000 to 0xd000  2 sectors/);
  assert.match(place(0xb000, 0xe000, 2) ?? '', /  in 0xb000 to 0xe000  2 sectors/);
});

test('a plan cannot steer a terminal, whatever the image says', () => {
  for (const line of planLines(plan)) assert.match(line, /^[\x20-\x7e\u00b7]*$/);
});

test('a plan for a half restored board and a plan that is empty', () => {
  const half = planLines({
    ...plan,
    halfRestored: { snapshot: 'ID' },
    snapshot: { kind: 'none', because: 'half-restored' },
  });
  assert.ok(half.includes('             what was on it before that is in the archive: ID'), half.join('\n'));
  const empty = planLines({ ...plan, regions: [], parts: [], sectors: 0, bytes: 0, risks: [] });
  assert.equal(empty.at(-1), '  differs    nothing: the flash holds it already');
});

test('ages', () => {
  assert.deepEqual([0, 59, 60, 7200, 86400, 10 * 86400].map(formatAge), [
    'just made',
    'just made',
    '1 minute old',
    '2 hours old',
    '1 day old',
    '10 days old',
  ]);
});
