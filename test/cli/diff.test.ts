/** `espd diff` between images: what people read at 80 columns, the JSON document, and bad input. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Backup } from '../../src/archive/types.ts';
import type { Mac } from '../../src/mac.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, T0, content, snapshot } from '../archive/support.ts';
import { esp32App, esp32Bootloader, flashWith, MIB, otaRecord, tableSector, type Row } from '../firmware/builder.ts';
import { fixtureImage } from '../firmware/filesystems/fixtures.ts';
import { namespace, page, string, u8 } from '../firmware/nvs-builder.ts';
import { Bench, assertPlain, checkError } from '../support/cli.ts';

const T1 = '2026-11-24T12:00:00.000Z';
const ID1 = '2026-11-24T12-00-00Z';

const TABLE: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x4000 },
  { label: 'otadata', type: 1, subtype: 0, offset: 0xd000, size: 0x2000 },
  { label: 'phy_init', type: 1, subtype: 1, offset: 0xf000, size: 0x1000 },
  { label: 'ota_0', type: 0, subtype: 0x10, offset: 0x10000, size: 0x70000 },
  { label: 'ota_1', type: 0, subtype: 0x11, offset: 0x80000, size: 0x70000 },
  { label: 'coredump', type: 1, subtype: 3, offset: 0xf0000, size: 0x10000 },
];
const app = (version: string) => esp32App({ project: 'door-sensor', version });
const OLD = flashWith(MIB, [
  [0x1000, esp32Bootloader()],
  [0x8000, tableSector(TABLE)],
  [0x9000, page([...namespace(1, 'app'), ...u8(1, 'count', 1), ...u8(1, 'gone', 1), ...string(1, 'wifi_pass', 'old')])],
  [0xd000, otaRecord(1)],
  [0x10000, app('1.0.0')],
]);
const NEW = flashWith(MIB, [
  [0x1000, esp32Bootloader()],
  [0x8000, tableSector(TABLE)],
  [
    0x9000,
    page([
      ...namespace(1, 'app'),
      ...u8(1, 'count', 2),
      ...string(1, 'name', 'hall \x1b[2J'),
      ...string(1, 'wifi_pass', 'hunter22'),
    ]),
  ],
  [0xd000, otaRecord(1)],
  [0xe000, otaRecord(2)],
  [0x10000, app('1.0.0')],
  [0x80000, app('1.1.0')],
  [0xf0000, Buffer.alloc(9000, 'core')],
]);

async function keep(
  bench: Bench,
  bytes: Buffer,
  createdAt: string,
  options: { mac?: Mac; family?: string; encrypted?: boolean } = {},
): Promise<Backup> {
  const { mac = MAC, family = 'esp32', encrypted = false } = options;
  const facts = content(bytes, createdAt, mac);
  const draft = await bench.archive.begin(mac, bytes.length);
  await draft.write(0, bytes);
  return draft.commit({
    ...facts,
    chip: { ...facts.chip, family, name: family.toUpperCase() },
    security: { flashEncryption: encrypted, secureBoot: false, secureDownload: false },
  });
}

async function filled(t: Parameters<typeof Bench.open>[0]): Promise<Bench> {
  const bench = await Bench.open(t);
  await keep(bench, OLD, T0);
  await keep(bench, NEW, T1);
  return bench;
}

interface DiffJson {
  readonly by: string;
  readonly before: Record<string, unknown>;
  readonly after: Record<string, unknown>;
  readonly equal: boolean;
  readonly sectors: { compared: number; differing: number };
  readonly regions: { offset: number; sizeBytes: number }[];
  readonly opaque: string | null;
  readonly contents: { parts: { name: string; content: unknown; problems: string[] }[] } | null;
  readonly error?: { code: string };
}

describe('diff', { concurrency: 4 }, () => {
  test('the newest backup and the one before it, as a terminal shows it', async (t) => {
    const bench = await filled(t);
    const { status, stdout, stderr } = await bench.run(['diff', MAC], { tty: true });
    assert.deepEqual([status, stderr.replace(/[\r ]|\x1b\[K|Comparing: \d+ %/g, '')], [0, '']);
    const text = stdout.replace(/\x1b\[\d+m/g, '');
    assertPlain(text);
    for (const line of text.split('\n')) assert.ok(line.length < 80, line);
    assert.equal(
      text,
      `${MAC}  ${ID0} → ${ID1}
  9 of 256 sectors differ (36 KB)
  firmware    door-sensor 1.0.0 → 1.1.0
  boots       ota_1, not ota_0
  bootloader  same
  table       same
  nvs         1 key added, 2 changed, 1 removed; 1 sector
      + app/name  str, 9 bytes
      ~ app/count  u8
      ~ app/wifi_pass  str  (secret)
      - app/gone  u8
  otadata     ota_0 → ota_1 boots; 1 sector
  ota_1       blank → door-sensor 1.1.0; 4 sectors
  coredump    3 sectors from 0xf0000 to 0xf3000, was blank
`,
    );
  });

  test('--reveal shows values, made printable, but for secrets; --sectors lists ranges', async (t) => {
    const bench = await filled(t);
    const { status, stdout } = await bench.run(['diff', MAC, '--reveal', '--sectors']);
    assert.equal(status, 0);
    assertPlain(stdout);
    assert.match(stdout, /\+ app\/name {2}str "hall ·\[2J"$/m);
    assert.match(stdout, /~ app\/count {2}u8 1 → 2$/m);
    assert.match(stdout, /~ app\/wifi_pass {2}str {2}\(secret\)$/m);
    assert.match(stdout, /^ {2} *0x9000 to +0xa000 {2}1 sector +nvs$/m);
    assert.match(stdout, /^ {2}0x80000 to +0x84000 {2}4 sectors +ota_1$/m);
    const { stdout: json } = await bench.runJson(['diff', MAC, '--reveal']);
    for (const text of [stdout, json]) assert.ok(!text.includes('hunter22'));
    assert.match(json, /"value": "hall \\u001b\[2J"/);
    const { stdout: hidden } = await bench.runJson(['diff', MAC]);
    assert.ok(!hidden.includes('hall'));
  });

  test('the JSON document is the comparison, and both sides', async (t) => {
    const bench = await filled(t);
    const { status, json } = await bench.runJson<DiffJson>(['diff', `${MAC}@first`, '@latest']);
    assert.equal(status, 0);
    const { before, after, contents, ...rest } = json;
    assert.deepEqual([before['kind'], before['mac'], before['id'], after['id']], ['backup', MAC, ID0, ID1]);
    assert.deepEqual(rest, {
      by: 'content',
      equal: false,
      sizeBytes: { before: MIB, after: MIB },
      sectors: { compared: 256, differing: 9 },
      regions: [
        { offset: 0x9000, sizeBytes: 0x1000 },
        { offset: 0xe000, sizeBytes: 0x1000 },
        { offset: 0x80000, sizeBytes: 0x4000 },
        { offset: 0xf0000, sizeBytes: 0x3000 },
      ],
      opaque: null,
    });
    assert.deepEqual(
      contents?.parts.map(({ name }) => name),
      ['nvs', 'otadata', 'ota_1', 'coredump'],
    );
  });

  test('equal: one sentence; the exit status is 0 unless it is asked for', async (t) => {
    const bench = await filled(t);
    const same = await bench.run(['diff', `${MAC}@first`, `${MAC}@first`]);
    assert.equal(same.status, 0);
    assert.equal(same.stdout, `${MAC}  ${ID0} → ${ID0}\n  The two are equal, byte for byte (1 MB)\n`);
    assert.equal((await bench.run(['diff', `${MAC}@first`, '@first', '--exit-code'])).status, 0);
    const other = await bench.run(['diff', MAC, '--exit-code']);
    checkError(other, 'differs');
    assert.match(other.stdout, /9 of 256 sectors differ/);
    const { status, json } = await bench.runJson<DiffJson>(['diff', MAC, '--exit-code']);
    assert.deepEqual([status, json.error?.code, json.equal], [4, 'differs', false]);
  });

  test('two boards, and another chip', async (t) => {
    const bench = await filled(t);
    await keep(bench, NEW, T1, { mac: OTHER_MAC });
    const { stdout } = await bench.run(['diff', `${MAC}@first`, OTHER_MAC], { tty: true });
    const [title = '', ...lines] = stdout.replace(/\x1b\[\d+m/g, '').split('\n');
    assert.equal(title, `${MAC}@${ID0} → ${OTHER_MAC}@${ID1}`);
    assert.ok(title.length <= 80 && lines.length > 5);
    const same = await bench.runJson<DiffJson>(['diff', MAC, OTHER_MAC]);
    assert.equal(same.json.equal, true);
  });

  test('a backup and a file, plain and packed; either may come first', async (t) => {
    const bench = await filled(t);
    const plain = join(bench.folder, 'dump.bin');
    const packed = join(bench.folder, 'dump.bin.gz');
    await writeFile(plain, OLD);
    await writeFile(packed, gzipSync(NEW));
    const same = await bench.runJson<DiffJson>(['diff', `${MAC}@first`, plain]);
    assert.deepEqual([same.json.equal, same.json.after['kind'], same.json.after['path']], [true, 'file', plain]);
    const other = await bench.runJson<DiffJson>(['diff', packed, `${MAC}@first`]);
    assert.equal(other.json.sectors.differing, 9);
    assert.equal(other.json.contents?.parts.length, 4);
    assert.equal((await bench.runJson<DiffJson>(['diff', MAC, packed])).json.equal, true);
    // A part of a flash: what both have is compared.
    await writeFile(plain, OLD.subarray(0, 0x9800));
    const part = await bench.run(['diff', MAC, plain]);
    assert.match(part.stdout, /size +1 MB → 38 KB; the first 38 KB are compared/);
    assert.match(part.stdout, /1 of 10 sectors differ/);
  });

  test('an encrypted flash: sectors alone, and why', async (t) => {
    const bench = await filled(t);
    await keep(bench, Buffer.from(NEW).fill(1, 0, 5000), '2026-11-25T00:00:00.000Z', { encrypted: true });
    const { stdout } = await bench.run(['diff', MAC]);
    assert.match(stdout, /2 of 256 sectors differ \(8 KB\)\n {2}Flash encryption is on/);
    const { json } = await bench.runJson<DiffJson>(['diff', MAC]);
    assert.deepEqual([json.opaque, json.contents], ['encryption', null]);
  });

  test('an image that has rotted is an error, not a difference; where digests suffice it is not read', async (t) => {
    const bench = await filled(t);
    const path = join(bench.archivePath, FOLDER, ID0, 'flash.bin');
    const rotten = await readFile(path);
    rotten[0x80010] = 0;
    await writeFile(path, rotten);
    const { message } = await bench.fails(['diff', MAC], 'archive-damaged');
    assert.match(message, /flash\.bin at 0x80000$/);
    assert.equal((await bench.runJson<DiffJson>(['diff', `${MAC}@first`, '@first'])).json.equal, true);
    await truncate(path, 100);
    await bench.fails(['diff', MAC], 'archive-damaged');
  });

  test('damaged NVS: a clear sentence, and the sectors all the same', async (t) => {
    const bench = await filled(t);
    const torn = Buffer.from(NEW);
    torn.fill(0x5a, 0x9000, 0xd000);
    await keep(bench, torn, '2026-11-25T00:00:00.000Z');
    const { status, stdout } = await bench.run(['diff', MAC], { tty: true });
    assert.equal(status, 0);
    assert.match(stdout, /nvs +4 sectors from 0x9000 to 0xd000/);
    assert.match(stdout, /after: it holds no NVS that espd can read/);
  });

  test('files by name and size', async (t) => {
    const bench = await Bench.open(t);
    const storage = { label: 'spiffs', type: 1, subtype: 0x82, offset: 0x80000, size: 0x28000 };
    const flash = (...files: [number, Buffer][]) =>
      flashWith(MIB, [[0x8000, tableSector([...TABLE.slice(0, 4), storage])], [0x10000, app('1.0.0')], ...files]);
    const image = fixtureImage('spiffs-esp32.bin');
    await keep(bench, flash(), T0);
    await keep(bench, flash([0x80000, image]), T1);
    const { stdout } = await bench.run(['diff', MAC], { tty: true });
    const text = stdout.replace(/\x1b\[\d+m/g, '');
    assertPlain(text);
    for (const line of text.split('\n')) assert.ok(line.length < 80, line);
    assert.match(text, /^ {2}spiffs +no file system → spiffs; 10 files added; \d+ sectors$/m);
    assert.match(text, /^ {6}\+ \/cfg\/wifi\.json {2}60 bytes$/m);
    assert.match(text, /^ {6}\+ \/über\.txt {2}20 bytes$/m);
    const back = await bench.run(['diff', `${MAC}@latest`, '@first']);
    assert.match(back.stdout, /spiffs → no file system; 10 files removed/);
  });

  test('bad input: each one clear sentence, nothing changed', async (t) => {
    const bench = await filled(t);
    await keep(bench, NEW, T1, { mac: OTHER_MAC });
    const at = (name: string) => join(bench.folder, name);
    await mkdir(at('folder.bin'));
    execFileSync('mkfifo', [at('pipe.bin')]);
    await writeFile(at('empty.bin'), '');
    await writeFile(at('large.bin'), '');
    await truncate(at('large.bin'), 128 * MIB + 1);
    await writeFile(at('bomb.bin.gz'), gzipSync(Buffer.alloc(128 * MIB + 1)));
    await writeFile(at('torn.gz'), gzipSync(OLD).subarray(0, 500));
    await writeFile(at('nothing.gz'), gzipSync(Buffer.alloc(0)));
    const before = await snapshot(bench.archivePath);
    const cases: [string[], Parameters<Bench['fails']>[1], RegExp][] = [
      [[`${MAC}@first`], 'usage', /needs two/],
      [[at('x.bin')], 'usage', /compared with a backup/],
      [[at('x.bin'), at('y.bin')], 'usage', /must be a backup/],
      [[MAC, at('none.bin')], 'usage', /no such file/],
      [[MAC, at('folder.bin')], 'usage', /is a folder/],
      [[MAC, at('pipe.bin')], 'usage', /is a named pipe/],
      [[MAC, at('empty.bin')], 'usage', /is empty/],
      [[MAC, at('large.bin')], 'usage', /more than 128 MB/],
      [[MAC, at('bomb.bin.gz')], 'usage', /more than 128 MB/],
      [[MAC, at('torn.gz')], 'usage', /cannot be unpacked/],
      [[MAC, at('nothing.gz')], 'usage', /is empty/],
      [[MAC, '/dev/null'], 'usage', /is a device/],
      [[OTHER_MAC], 'archive-unknown-backup', /has only one backup/],
      [[MAC, '@2020-01-01'], 'archive-unknown-backup', /as old as/],
      [[MAC, '@nonsense'], 'archive-unknown-backup', /names no backup/],
      [[MAC, 'aa:bb:cc:dd:ee:ff'], 'archive-unknown-board', /no board/],
      [['\x1b[2J', MAC], 'archive-unknown-board', /no board/],
      [[MAC, '--port', 'x'], 'usage', /--device/],
      [[MAC, MAC, '--device'], 'usage', /name one backup/],
    ];
    for (const [args, code, sentence] of cases) {
      const { message } = await bench.fails(['diff', ...args], code);
      assert.match(message, sentence, args.join(' '));
    }
    assert.deepEqual(await snapshot(bench.archivePath), before);
  });
});
