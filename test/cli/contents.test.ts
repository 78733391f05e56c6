/** `espd contents`: keys and files of a backup, as people and programs read them; secrets never. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { ContentsDocument } from '../../src/documents/contents-document.ts';
import { MAC, T0, content } from '../archive/support.ts';
import { MIB, esp32App, esp32Bootloader, flashWith, tableSector, type Row } from '../firmware/builder.ts';
import { fixtureImage } from '../firmware/filesystems/fixtures.ts';
import { namespace, page, string, u8 } from '../firmware/nvs-builder.ts';
import { Bench, assertPlain, checkError, screenOf } from '../support/cli.ts';

const TABLE: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x4000 },
  { label: 'nvs2\x1b[2J', type: 1, subtype: 2, offset: 0xd000, size: 0x1000 },
  { label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0x40000 },
  { label: 'storage', type: 1, subtype: 0x82, offset: 0x80000, size: 0x40000 },
  { label: 'empty', type: 1, subtype: 0x82, offset: 0xc0000, size: 0x10000 },
];
const IMAGE = flashWith(MIB, [
  [0x1000, esp32Bootloader()],
  [0x8000, tableSector(TABLE)],
  [
    0x9000,
    page([
      ...namespace(1, 'app'),
      ...u8(1, 'count', 7),
      ...string(1, 'name', 'hall \x1b[2J'),
      ...string(1, 'wifi_pass', 'hunter22'),
    ]),
  ],
  [0x10000, esp32App({ project: 'door-sensor', version: '1.0.0' })],
  [0x80000, fixtureImage('littlefs-2.1-4096.bin')],
]);

async function benchWith(t: TestContext, security: { flashEncryption: boolean } = { flashEncryption: false }) {
  const bench = await Bench.open(t);
  const draft = await bench.archive.begin(MAC, IMAGE.length);
  await draft.write(0, IMAGE);
  const made = content(IMAGE, T0);
  await draft.commit({
    ...made,
    chip: { ...made.chip, family: 'esp32' },
    security: made.security && { ...made.security, ...security },
  });
  return bench;
}

test('keys without values, files by size; secrets are named as such', async (t) => {
  const bench = await benchWith(t);
  const run = await bench.run(['contents', MAC], { tty: true, columns: 80, env: { NO_COLOR: '1' } });
  assert.equal(run.status, 0);
  const stdout = screenOf(run.stdout);
  assertPlain(stdout);
  assert.match(stdout, /nvs +NVS, 3 keys/);
  assert.match(stdout, /wifi_pass +str +secret: never shown/);
  assert.match(stdout, /count +u8 +1 byte\n/);
  assert.match(stdout, /storage +littlefs, \d+ files?/);
  assert.match(stdout, /empty +no file system that espd can read/);
  assert.doesNotMatch(stdout, /hunter22|hall/);
  for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
});

test('values with --reveal, but of secrets never, in both forms', async (t) => {
  const bench = await benchWith(t);
  const { stdout } = await bench.run(['contents', `${MAC}@first`, '--reveal']);
  assert.match(stdout, /count +u8 +1 byte +7\n/);
  assert.match(stdout, /name +str +\d+ bytes +hall \u00b7\[2J/);
  assertPlain(stdout);
  const { json } = await bench.runJson<ContentsDocument>(['contents', MAC, '--reveal']);
  const keys = json.nvs[0]?.namespaces[0]?.keys.map(({ key, value }) => [key, value]);
  assert.deepEqual(keys, [
    ['count', '7'],
    ['name', 'hall \x1b[2J'],
    ['wifi_pass', null],
  ]);
  assert.doesNotMatch(stdout + JSON.stringify(json), /hunter22/);
});

test('of an encrypted flash nothing is told but the map', async (t) => {
  const bench = await benchWith(t, { flashEncryption: true });
  const { stdout, status } = await bench.run(['contents', MAC]);
  assert.equal(status, 0);
  assert.match(stdout, /Flash encryption is on/);
  const { json } = await bench.runJson<ContentsDocument>(['contents', MAC]);
  assert.deepEqual([json.opaque, json.nvs, json.files, json.map.cells.length], ['encryption', [], [], 16]);
});

test('what is not there is told as by show', async (t) => {
  const bench = await benchWith(t);
  checkError(await bench.run(['contents', 'nobody']), 'archive-unknown-board');
  checkError(await bench.run(['contents', `${MAC}@2001-01-01`]), 'archive-unknown-backup');
  checkError(await bench.run(['contents']), 'usage');
});
