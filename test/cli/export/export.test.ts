/** `espd export` as a person or a script runs it, and that what it writes can be imported again. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { EspdError } from '../../../src/errors.ts';
import { localFiles } from '../../../src/client/local-files.ts';
import { sha256 } from '../../archive/support.ts';
import { esp32App, esp32Bootloader, filler, flashWith, MIB, tableSector, type Row } from '../../firmware/builder.ts';
import { fixtureImage, fixtures } from '../../firmware/filesystems/fixtures.ts';
import { assertPlain, Bench, KIB } from '../../support/cli.ts';

const MAC = '50:02:91:c3:37:a5';
const ID = '2024-01-02T00-00-00Z';
const TABLE: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x5000 },
  { label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0x40000 },
  { label: 'spiffs', type: 1, subtype: 0x82, offset: 0x50000, size: 0x28000 },
  { label: 'storage', type: 1, subtype: 0x82, offset: 0x80000, size: 0x40000 },
];
const SPIFFS = fixtureImage('spiffs-esp32.bin');
const LITTLEFS = fixtureImage('littlefs-2.1-4096.bin');
const IMAGE = flashWith(MIB, [
  [0x1000, esp32Bootloader()],
  [0x8000, tableSector(TABLE)],
  [0x9000, filler(0x5000, 4)],
  [0x10000, esp32App()],
  [0x50000, SPIFFS],
  [0x80000, LITTLEFS],
]);

interface ExportJson {
  readonly mac: string;
  readonly id: string;
  readonly file: string;
  readonly format: string;
  readonly region: { readonly offset: number; readonly sizeBytes: number } | null;
  readonly partition: string | null;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly confirmed: boolean;
  readonly problems: readonly string[];
  readonly command: { readonly v5: readonly string[]; readonly v4: readonly string[] } | null;
}

async function benchWith(t: TestContext, image = IMAGE): Promise<Bench> {
  const bench = await Bench.open(t);
  const path = join(bench.folder, '500291c337a5_2024-01-02.bin');
  await writeFile(path, image);
  const { status, stderr } = await bench.run(['import', path]);
  assert.equal(status, 0, stderr);
  return bench;
}

const digestOf = (kind: 'littlefs' | 'spiffs', image: string, file: string) =>
  fixtures(kind).find((fixture) => fixture.image === image)?.files[file]?.sha256;

describe('export', { concurrency: 4 }, () => {
  test('whole, as it was in the flash, for its owner alone', async (t) => {
    const bench = await benchWith(t);
    const file = join(bench.folder, 'out.bin');
    const { status, json, stderr } = await bench.runJson<ExportJson>(['export', MAC, file]);
    assert.equal(status, 0, stderr);
    assert.ok((await readFile(file)).equals(IMAGE));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.deepEqual(json, {
      mac: MAC,
      id: ID,
      file,
      format: 'bin',
      region: { offset: 0, sizeBytes: MIB },
      partition: null,
      sizeBytes: MIB,
      sha256: sha256(IMAGE),
      confirmed: false,
      problems: [],
      command: null,
    });
    const people = await bench.run(['export', `${MAC}@first`, `${file}2`]);
    assert.match(people.stdout, /^50:02:91:c3:37:a5 {2}2024-01-02T00-00-00Z {2}written to /);
    assert.match(people.stderr, /no chip has confirmed it/);
    assertPlain(people.stdout);
    assert.deepEqual(
      (await readdir(bench.folder)).filter((name) => name.includes('.part')),
      [],
    );
  });

  test('a partition, a range', async (t) => {
    const bench = await benchWith(t);
    const exported = async (...args: string[]) => {
      const file = join(bench.folder, `part${args.join('').replace(/\W/g, '')}.bin`);
      const { status, stderr } = await bench.run(['export', MAC, file, ...args]);
      assert.equal(status, 0, stderr);
      return readFile(file);
    };
    assert.ok((await exported('--partition', 'nvs')).equals(filler(0x5000, 4)));
    assert.ok((await exported('--offset', '0x9001', '--size', '3')).equals(IMAGE.subarray(0x9001, 0x9004)));
    assert.ok((await exported('--offset', '1020K', '--size', '4K')).equals(IMAGE.subarray(-4096)));
  });

  test('to stdout: the bytes and nothing else; not to a terminal, and not beside JSON', async (t) => {
    const bench = await benchWith(t);
    const { status, stdout, bytes } = await bench.run(['export', MAC, '-', '--partition', 'nvs']);
    assert.deepEqual([status, stdout], [0, '']);
    assert.ok(bytes.equals(filler(0x5000, 4)));
    const terminal = await bench.run(['export', MAC, '-'], { tty: true });
    assert.equal(terminal.status, 2);
    assert.equal(terminal.bytes.length, 0);
    assert.match(terminal.stderr, /not for a terminal/);
    const json = await bench.run(['export', MAC, '-', '--json']);
    assert.equal(json.status, 2);
    assert.equal(json.bytes.length, 0);
    await bench.fails(['export', MAC, '-', '--format', 'merged-args'], 'usage');
  });

  test('an existing file is not overwritten, whatever it is, and nothing is left beside it', async (t) => {
    const bench = await benchWith(t);
    const at = (name: string) => join(bench.folder, name);
    await writeFile(at('mine.bin'), 'mine');
    await symlink('nowhere', at('dangling.bin'));
    await mkdir(at('folder.bin'));
    execFileSync('mkfifo', [at('pipe.bin')]);
    for (const name of ['mine.bin', 'dangling.bin', 'folder.bin', 'pipe.bin']) {
      await bench.fails(['export', MAC, at(name)], 'output-exists');
    }
    assert.equal(await readFile(at('mine.bin'), 'utf8'), 'mine');
    await bench.fails(['export', MAC, at('no/such.bin')], 'output-unwritable');
    assert.deepEqual(
      (await readdir(bench.folder)).filter((name) => name.includes('.part')),
      [],
    );
  });

  test('a file that comes into being meanwhile stays; what fails half way leaves nothing', async (t) => {
    const bench = await Bench.open(t);
    const path = join(bench.folder, 'out.bin');
    const racing = async function* () {
      yield Buffer.from('ours');
      await writeFile(path, 'theirs');
    };
    await assert.rejects(localFiles.writeNewFile(path, racing()), { code: 'output-exists' });
    assert.equal(await readFile(path, 'utf8'), 'theirs');
    const failing = async function* () {
      yield Buffer.from('half');
      await Promise.reject(new EspdError('archive-damaged', 'Rotten'));
    };
    await assert.rejects(localFiles.writeNewFile(join(bench.folder, 'half.bin'), failing()), {
      code: 'archive-damaged',
    });
    assert.deepEqual((await readdir(bench.folder)).sort(), ['config.yaml', 'out.bin', 'ports']);
  });

  test('a damaged backup is not handed out, not even in part', async (t) => {
    const bench = await benchWith(t);
    const stored = join(bench.archivePath, '50-02-91-c3-37-a5', ID, 'flash.bin');
    const bytes = await readFile(stored);
    bytes[MIB - 1] = (bytes[MIB - 1] ?? 0) ^ 1;
    await writeFile(stored, bytes);
    const file = join(bench.folder, 'out.bin');
    await bench.fails(['export', MAC, file, '--partition', 'nvs'], 'archive-damaged');
    // What it does not have is told before the image is verified: no place that this needs is damaged.
    const unknown = await bench.fails(['export', MAC, file, '--partition', 'nope'], 'usage');
    assert.match(unknown.hint, /It has: nvs, factory/);
    await bench.fails(['export', MAC, file, '--offset', '1M', '--size', '1'], 'usage');
    // Where the table itself is damaged, that is what is wrong.
    bytes[0x8000 + 20] = (bytes[0x8000 + 20] ?? 0) ^ 1;
    await writeFile(stored, bytes);
    await bench.fails(['export', MAC, file, '--partition', 'nope'], 'archive-damaged');
    await assert.rejects(stat(file), { code: 'ENOENT' });
    assert.equal((await bench.run(['export', MAC, '-'])).bytes.length, 0);
  });

  test('merged-args: the command writes exactly what the file holds, where it belongs, and keeps the header', async (t) => {
    const bench = await benchWith(t);
    const file = join(bench.folder, 'with blank.bin');
    const { stdout, stderr } = await bench.run([
      'export',
      MAC,
      file,
      '--partition',
      'factory',
      '--format',
      'merged-args',
    ]);
    const line = /^esptool .*$/m.exec(stdout)?.[0] ?? '';
    // As a shell takes it apart.
    const words = execFileSync('sh', ['-c', `for word in ${line}; do printf '%s\\n' "$word"; done`], {
      encoding: 'utf8',
    });
    const [program, ...args] = words.trimEnd().split('\n');
    assert.equal(program, 'esptool');
    assert.deepEqual(args.slice(0, 3), ['--chip', 'esp32', 'write-flash']);
    const options = args.slice(3, -2);
    for (const what of ['--flash-mode', '--flash-freq', '--flash-size']) {
      assert.equal(options[options.indexOf(what) + 1], 'keep', what);
    }
    const [offset, name] = args.slice(-2);
    assert.equal(name, file);
    const flashed = Buffer.alloc(MIB, 0xff);
    (await readFile(name)).copy(flashed, Number(offset));
    assert.ok(flashed.subarray(0x10000, 0x50000).equals(IMAGE.subarray(0x10000, 0x50000)));
    assert.match(
      stderr,
      /esptool\.py --chip esp32 write_flash --flash_mode keep --flash_freq keep --flash_size keep 0x10000/,
    );
  });

  test('a file out of a file system', async (t) => {
    const bench = await benchWith(t);
    const get = async (...args: string[]) => bench.run(['export', MAC, '-', ...args]);
    const log = await get('--file', '/log.txt', '--partition', 'storage');
    assert.equal(log.status, 0, log.stderr);
    assert.equal(sha256(log.bytes), digestOf('littlefs', 'littlefs-2.1-4096.bin', '/log.txt'));
    const gif = await get('--file', '/archive/a.gif');
    assert.equal(sha256(gif.bytes), digestOf('littlefs', 'littlefs-2.1-4096.bin', '/archive/a.gif'));
    const wifi = await get('--file', '/cfg/wifi.json');
    assert.equal(sha256(wifi.bytes), digestOf('spiffs', 'spiffs-esp32.bin', '/cfg/wifi.json'));
    const empty = await get('--file', '/empty.txt', '--partition', 'spiffs');
    assert.deepEqual([empty.status, empty.bytes.length], [0, 0]);
    const path = join(bench.folder, 'wifi.json');
    const { json } = await bench.runJson<ExportJson>(['export', MAC, path, '--file', '/cfg/wifi.json']);
    assert.deepEqual([json.partition, json.sizeBytes, json.region], ['spiffs', 60, null]);
    assert.ok((await readFile(path)).equals(wifi.bytes));
  });

  test('a file that is not there, is a folder, or is in two partitions', async (t) => {
    const bench = await benchWith(t);
    const fails = (code: Parameters<Bench['fails']>[1], ...args: string[]) =>
      bench.fails(['export', MAC, join(bench.folder, 'x'), ...args], code);
    assert.match((await fails('not-in-image', '--file', '/none')).hint, /There are \//);
    assert.match((await fails('not-in-image', '--file', '/archive')).message, /is a folder/);
    assert.match((await fails('usage', '--file', '/empty.txt')).message, /in 2 partitions: spiffs, storage/);
    assert.match((await fails('not-in-image', '--file', '/x', '--partition', 'nvs')).message, /no file system/);
    for (const path of ['wifi.json', '../x', '/../x', '/a/./b', '/a/..', '/', '/a/', '']) {
      await fails('usage', '--file', path);
    }
    await fails('usage', '--file', '/log.txt', '--format', 'hex');
    await fails('usage', '--file', '/log.txt', '--offset', '0', '--size', '1');
  });

  test('a file system that is damaged: what can be read is, and it is said', async (t) => {
    const image = Buffer.from(IMAGE);
    // The second half of the partition reads as erased: blocks of files are gone.
    image.fill(0xff, 0x80000 + 0x8000, 0xc0000);
    const bench = await benchWith(t, image);
    const results = [];
    for (const name of Object.keys(
      fixtures('littlefs').find((f) => f.image === 'littlefs-2.1-4096.bin')?.files ?? {},
    )) {
      const result = await bench.run(['export', MAC, '-', '--file', name, '--partition', 'storage']);
      results.push(result.status);
      if (result.status === 0) {
        assert.equal(sha256(result.bytes), digestOf('littlefs', 'littlefs-2.1-4096.bin', name), name);
      } else {
        assert.equal(result.status, 3, result.stderr);
        assert.equal(result.bytes.length, 0);
        assert.match(result.stderr, /\(not-in-image\)/);
      }
    }
    assert.ok(results.includes(3), 'something is lost');
  });

  test('bad options', async (t) => {
    const bench = await benchWith(t);
    const file = join(bench.folder, 'x.bin');
    await bench.fails(['export', MAC], 'usage');
    await bench.fails(['export', MAC, file, '--format', 'uf2'], 'usage');
    await bench.fails(['export', MAC, file, '--offset', '0'], 'usage');
    await bench.fails(['export', MAC, file, '--size', '1'], 'usage');
    await bench.fails(['export', MAC, file, '--offset', '0', '--size', '0'], 'usage');
    await bench.fails(['export', MAC, file, '--offset', '1M', '--size', '1'], 'usage');
    await bench.fails(['export', MAC, file, '--offset', '0', '--size', '1', '--partition', 'nvs'], 'usage');
    await bench.fails(['export', MAC, file, '--partition', 'none'], 'usage');
    await bench.fails(['export', '24:0a:c4:12:45:56', file], 'archive-unknown-board');
    await bench.fails(['export', `${MAC}@2020-01-01`, file], 'archive-unknown-backup');
    await assert.rejects(stat(file), { code: 'ENOENT' });
  });

  test('law: what is exported can be imported, in every form, and is the same', async (t) => {
    const parts = fc.array(fc.tuple(fc.nat(0x3f000), fc.uint8Array({ minLength: 1, maxLength: 200 })), {
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(parts, async (writes) => {
        const image = Buffer.alloc(256 * KIB, 0xff);
        filler(1000, 8).copy(image, 0x2000);
        for (const [at, bytes] of writes) Buffer.from(bytes).copy(image, at);
        const first = await Bench.open(t);
        const original = join(first.folder, 'a.bin');
        await writeFile(original, image);
        const told = ['--mac', MAC, '--at', '2024-01-02', '--chip', 'esp32', '--size', '256K'];
        const { status, stderr } = await first.run(['import', `0x0=${original}`, ...told]);
        assert.equal(status, 0, stderr);
        for (const format of ['bin', 'hex', 'bin.gz']) {
          const second = await Bench.open(t);
          const file = join(second.folder, `b.${format}`);
          const plain = `${file}.plain`;
          assert.equal(
            (await first.run(['export', MAC, plain, '--format', format === 'hex' ? 'hex' : 'bin'])).status,
            0,
          );
          await writeFile(file, format === 'bin.gz' ? gzipSync(await readFile(plain)) : await readFile(plain));
          const named = format === 'hex' ? file : `0x0=${file}`;
          const again = await second.run(['import', named, ...told]);
          assert.equal(again.status, 0, again.stderr);
          const backup = await second.archive.resolveBackup(MAC as never, 'latest');
          assert.equal(backup.manifest.image.sha256, createHash('sha256').update(image).digest('hex'), format);
        }
      }),
      { numRuns: 8 },
    );
  });
});
