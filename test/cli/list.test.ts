/** `espd list`: filters, order, CSV, and what a terminal shows. */

import assert from 'node:assert/strict';
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Mac, macToFolder, parseMac } from '../../src/mac.ts';
import { Bench } from '../support/cli.ts';
import { content, image } from '../archive/support.ts';

interface ListJson {
  readonly boards: { readonly mac: string; readonly firmware: string | null }[];
  readonly total: number;
}

const mac = (last: string) => {
  const parsed = parseMac(`24:0a:c4:00:00:${last}`);
  assert.ok(parsed !== undefined);
  return parsed;
};
const [A, B, C, D] = [mac('0a'), mac('0b'), mac('0c'), mac('0d')] as const;

interface BoardOf {
  readonly mac: Mac;
  readonly firmware: { name: string; version: string | null } | null;
  readonly daysAgo: number;
  readonly chip?: { family: 'esp8266' | 'esp32s3'; name: string };
  readonly about?: { label?: string; note?: string; group?: string };
}

async function fill(bench: Bench, boards: readonly BoardOf[]): Promise<void> {
  for (const [index, { mac: of, firmware, daysAgo, chip, about }] of boards.entries()) {
    const bytes = image(4096 * (index + 1), index + 1);
    const createdAt = new Date(Date.now() - daysAgo * 24 * 3_600_000).toISOString();
    const facts = content(bytes, createdAt, of);
    const draft = await bench.archive.begin(of, bytes.length);
    await draft.write(0, bytes);
    await draft.commit({
      ...facts,
      chip: { ...facts.chip, ...chip },
      contents: { firmware: firmware === null ? null : { ...firmware, sdk: null }, partitions: [] },
    });
    if (about !== undefined) await bench.archive.marks.describe(of, about);
  }
}

const FLEET: readonly BoardOf[] = [
  {
    mac: A,
    firmware: { name: 'Tasmota', version: '12.5.0' },
    daysAgo: 40,
    about: { label: 'kitchen', group: 'ground floor', note: '=cmd, "quoted"' },
  },
  { mac: B, firmware: { name: 'Tasmota', version: '13.4.0' }, daysAgo: 2, about: { label: 'door sensor' } },
  {
    mac: C,
    firmware: { name: 'ESPHome', version: '2024.6.1' },
    daysAgo: 10,
    chip: { family: 'esp32s3', name: 'ESP32-S3' },
    about: { group: 'ground floor' },
  },
  { mac: D, firmware: { name: 'Tasmota', version: null }, daysAgo: 100 },
];

test('filters and order; of a board whose only backup is damaged nothing is known', async (t) => {
  const bench = await Bench.open(t);
  await fill(bench, FLEET);
  await truncate(join(bench.archivePath, macToFolder(D), (await bench.archive.backupIds(D))[0] ?? '', 'flash.bin'), 1);
  const cases: [args: string[], macs: Mac[]][] = [
    [[], [A, B, C, D]],
    [['--reverse'], [D, C, B, A]],
    [['--chip', 'esp32s3'], [C]],
    [
      ['--chip', 'esp8266ex'],
      [A, B],
    ],
    [
      ['--firmware', 'tasmota'],
      [A, B],
    ],
    [['--firmware', 'Tasmota <13'], [A]],
    [['--firmware', 'esphome >=2024.6 <2025'], [C]],
    [
      ['--group', 'Ground Floor'],
      [A, C],
    ],
    [
      ['--label', '*'],
      [A, B],
    ],
    [['--label', 'DOOR*'], [B]],
    [
      ['--not-seen-for', '30d'],
      [A, D],
    ],
    [
      ['--not-seen-for', '1w'],
      [A, C, D],
    ],
    [['--damaged'], [D]],
    [['--half-restored'], []],
    [
      ['--sort', 'seen'],
      [A, C, B, D],
    ],
    [
      ['--sort', 'seen', '--reverse'],
      [B, C, A, D],
    ],
    [
      ['--sort', 'label'],
      [B, A, C, D],
    ],
    [
      ['--sort', 'firmware'],
      [C, A, B, D],
    ],
    [['--group', 'ground floor', '--firmware', 'tasmota', '--not-seen-for', '30d'], [A]],
    [['--group', 'ground floor', '--label', 'door*'], []],
  ];
  for (const [args, expected] of cases) {
    const { status, json } = await bench.runJson<ListJson>(['list', ...args]);
    assert.equal(status, 0);
    assert.deepEqual(
      json.boards.map((board) => board.mac),
      expected,
      args.join(' '),
    );
    assert.equal(json.total, 4);
  }
});

test('nothing fits: said, with how many there are, and no error', async (t) => {
  const bench = await Bench.open(t);
  await fill(bench, FLEET);
  const { status, stdout } = await bench.run(['list', '--label', 'nobody']);
  assert.deepEqual([status, stdout], [0, 'None of 4 boards fits\n']);
});

test('boards whose version nobody knows are counted where a condition leaves them out', async (t) => {
  const bench = await Bench.open(t);
  await fill(bench, FLEET);
  const { stderr } = await bench.run(['list', '--firmware', 'tasmota <13']);
  assert.match(stderr, /of 1 board with this firmware the version is unknown: not listed/);
  assert.equal((await bench.run(['list', '--firmware', 'tasmota'])).stderr, '');
});

test('CSV: for a spreadsheet, and nothing else on stdout', async (t) => {
  const bench = await Bench.open(t);
  await fill(bench, FLEET);
  const { status, stdout, stderr } = await bench.run(['list', '--csv', '--label', 'kitchen']);
  assert.deepEqual([status, stderr], [0, '']);
  const [id = ''] = await bench.archive.backupIds(A);
  const at = `${id.slice(0, 10)}T`;
  const lines = stdout.split('\r\n');
  assert.equal(
    lines[0],
    'mac,label,group,note,chip,size_bytes,backups,first,latest,last_seen,firmware,firmware_version,half_restored,problems',
  );
  const start = `${A},kitchen,ground floor,"'=cmd, ""quoted""",ESP8266EX,4096,1,${id},${id},${at}`;
  assert.ok(lines[1]?.startsWith(start), lines[1]);
  assert.match(lines[1] ?? '', /,Tasmota,12\.5\.0,no,0$/);
  assert.deepEqual(lines.slice(2), ['']);
  assert.equal((await bench.run(['list', '--csv', '--label', 'nobody'])).stdout, `${lines[0]}\r\n`);
  const both = await bench.runJson(['list', '--csv']);
  assert.deepEqual([both.status, both.json.error.code], [2, 'usage']);
  assert.match(both.json.error.message, /two forms of one result/);
});

test('a terminal of 80 columns: labels, and the firmware in full', async (t) => {
  const bench = await Bench.open(t);
  await fill(bench, FLEET);
  const { stdout, stderr } = await bench.run(['list'], { tty: true, columns: 80 });
  const lines = stdout.trimEnd().split('\n');
  for (const line of lines) assert.ok(line.length <= 80, line);
  assert.match(lines[0] ?? '', /^MAC +LABEL +CHIP +BACKUPS +LAST SEEN +FIRMWARE$/);
  assert.match(stdout, /kitchen .*Tasmota 12\.5\.0\n/);
  assert.match(stdout, /ESPHome 2024\.6\.1\n/);
  assert.match(stderr, /no room for GROUP, SIZE; --csv and --json tell all/);
});
