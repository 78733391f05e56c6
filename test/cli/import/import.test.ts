/** `espd import` as a person or a script runs it. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { intelHexText } from '../../../src/firmware/dump/intel-hex.ts';
import { parseMac } from '../../../src/mac.ts';
import { demoImage } from '../../../src/simulator/index.ts';
import { sha256 } from '../../archive/support.ts';
import { esp32App, esp32Bootloader, filler, MIB, tableSector, TWO_OTA } from '../../firmware/builder.ts';
import { archiveEntries, assertPlain, Bench, checkError, type ErrorFields, KIB, parseJson } from '../../support/cli.ts';

const MAC = '50:02:91:c3:37:a5';
const FOLDER = '50-02-91-c3-37-a5';

interface ImportJson {
  readonly imported: readonly {
    readonly file: string;
    readonly mac: string;
    readonly id: string;
    readonly path: string | null;
    readonly chip: string;
    readonly sizeBytes: number;
    readonly at: string | null;
    readonly atFrom: string | null;
    readonly filledBytes: number | null;
    readonly remarks: readonly string[];
    readonly wasThere: boolean;
  }[];
  readonly failed: readonly (ErrorFields & { readonly file: string })[];
  readonly passedOver: readonly string[];
  readonly dryRun: boolean;
  readonly error?: ErrorFields;
}

const dump = (family: 'esp8266' | 'esp32' | 'esp32c3' = 'esp32', seed = 0) => {
  const image = demoImage({ family, sizeBytes: 512 * KIB, appBytes: 100 * KIB });
  image[400 * KIB] = seed;
  return image;
};

async function fileIn(
  bench: Bench,
  name: string,
  bytes: string | Buffer,
  at = '2024-05-06T07:08:09Z',
): Promise<string> {
  const path = join(bench.folder, name);
  await writeFile(path, bytes);
  await utimes(path, new Date(at), new Date(at));
  return path;
}

async function hexOf(bytes: Buffer): Promise<string> {
  let text = '';
  for await (const part of intelHexText([{ offset: 0, bytes }])) text += part;
  return text;
}

async function manifestOf(bench: Bench, id: string): Promise<Record<string, unknown>> {
  return parseJson(await readFile(join(bench.archivePath, FOLDER, id, 'manifest.json'), 'utf8'));
}

describe('import', { concurrency: 4 }, () => {
  test('a dump named by its board: a backup at its date that no chip has confirmed', async (t) => {
    const bench = await Bench.open(t);
    const image = dump();
    const path = await fileIn(bench, '500291C337A5_2024-01-02.bin', image);
    const { status, json, stderr } = await bench.runJson<ImportJson>(['import', path]);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    assert.deepEqual(json, {
      imported: [
        {
          file: path,
          mac: MAC,
          id: '2024-01-02T00-00-00Z',
          path: join(bench.archivePath, FOLDER, '2024-01-02T00-00-00Z'),
          chip: 'esp32',
          sizeBytes: 512 * KIB,
          at: '2024-01-02T00:00:00.000Z',
          atFrom: 'name',
          filledBytes: null,
          remarks: [],
          wasThere: false,
        },
      ],
      failed: [],
      passedOver: [],
      dryRun: false,
    });
    const manifest = await manifestOf(bench, '2024-01-02T00-00-00Z');
    assert.equal(manifest['formatVersion'], 2);
    assert.equal(manifest['reason'], 'imported');
    assert.equal(manifest['confirmed'], null);
    assert.equal(manifest['transfer'], null);
    assert.equal(manifest['security'], null);
    assert.equal(manifest['createdAt'], '2024-01-02T00:00:00.000Z');
    assert.deepEqual(
      { ...(manifest['source'] as object), host: '' },
      {
        port: null,
        file: '500291C337A5_2024-01-02.bin',
        usb: null,
        host: '',
      },
    );
    assert.equal((manifest['image'] as { sha256: string }).sha256, sha256(image));
    assert.notEqual((manifest['contents'] as { firmware: unknown }).firmware, null);
    assert.equal((await bench.run(['verify'])).status, 0);
  });

  test('the same image again, in whatever form, adds nothing and says so; damaged there, it is added', async (t) => {
    const bench = await Bench.open(t);
    const image = dump();
    const first = await fileIn(bench, '500291c337a5_2024-01-02.bin', image);
    assert.equal((await bench.run(['import', first])).status, 0);
    const packed = await fileIn(bench, 'other.bin.gz', gzipSync(image));
    const asHex = await fileIn(bench, 'other.hex', await hexOf(image));
    for (const path of [first, packed, asHex]) {
      const { json } = await bench.runJson<ImportJson>(['import', path, '--mac', MAC, '--at', '2025-01-01']);
      assert.deepEqual([json.imported[0]?.wasThere, json.imported[0]?.id], [true, '2024-01-02T00-00-00Z']);
    }
    const { stdout } = await bench.run(['import', first]);
    assert.match(stdout, /is in the archive already as 2024-01-02T00-00-00Z: nothing added/);
    assert.deepEqual((await archiveEntries(bench.archivePath)).ids, ['2024-01-02T00-00-00Z']);
    const stored = join(bench.archivePath, FOLDER, '2024-01-02T00-00-00Z', 'flash.bin');
    const rotten = Buffer.from(image);
    rotten[1000] = (rotten[1000] ?? 0) ^ 1;
    await writeFile(stored, rotten);
    const { json } = await bench.runJson<ImportJson>(['import', first]);
    assert.deepEqual([json.imported[0]?.wasThere, json.imported[0]?.id], [false, '2024-01-02T00-00-01Z']);
  });

  test('for people: what was understood, and by what', async (t) => {
    const bench = await Bench.open(t);
    const path = await fileIn(bench, 'kitchen-500291c337a5.bin', dump('esp8266'));
    const { status, stdout, stderr } = await bench.run(['import', path]);
    assert.deepEqual([status, stderr], [0, '']);
    assertPlain(stdout);
    assert.match(stdout, /^50:02:91:c3:37:a5 {2}imported as 2024-05-06T07-08-09Z, confirmed by no chip\n/);
    assert.match(stdout, /kitchen-500291c337a5\.bin: esp8266, 512 KB, read on 2024-05-06 by its time stamp\n/);
  });

  test('--dry-run says the same, and makes nothing: no archive either', async (t) => {
    const bench = await Bench.open(t);
    const path = await fileIn(bench, 'a.bin', dump());
    const args = ['import', path, '--mac', MAC, '--at', '2024-01-02T03:04:05Z', '--dry-run'];
    const { stdout } = await bench.run(args);
    assert.match(stdout, /would be imported as 2024-01-02T03-04-05Z/);
    const { json } = await bench.runJson<ImportJson>(args);
    assert.deepEqual([json.dryRun, json.imported[0]?.path], [true, null]);
    await assert.rejects(readFile(bench.archivePath), { code: 'ENOENT' });
  });

  test('a whole folder: a report for each file, and one failure does not stop the others', async (t) => {
    const bench = await Bench.open(t);
    const folder = join(bench.folder, 'dumps');
    await mkdir(folder);
    const at = (name: string) => join('dumps', name);
    await fileIn(bench, at('500291c337a5_2024-01-02.bin'), dump('esp32', 1));
    await fileIn(bench, at('500291c337a5_2024-02-03.bin.gz'), gzipSync(dump('esp32', 2)));
    await fileIn(bench, at('500291c337a6.bin'), Buffer.concat([Buffer.from('\x7fELF'), filler(8000)]));
    await fileIn(bench, at('24-0a-c4-12-45-56.hex'), await hexOf(dump('esp32c3')));
    await symlink('500291c337a5_2024-01-02.bin', join(folder, '500291c337a7.bin'));
    execFileSync('mkfifo', [join(folder, '500291c337a8.bin')]);
    await fileIn(bench, at('notes.txt'), 'mine');
    await fileIn(bench, at('fw-backup-4M.bin'), dump());
    const { status, json } = await bench.runJson<ImportJson>(['import', folder]);
    assert.equal(status, 1);
    assert.deepEqual(
      json.imported.map(({ mac, id }) => [mac, id]),
      [
        ['24:0a:c4:12:45:56', '2024-05-06T07-08-09Z'],
        [MAC, '2024-01-02T00-00-00Z'],
        [MAC, '2024-02-03T00-00-00Z'],
      ],
    );
    assert.deepEqual(
      json.failed.map(({ file, code }) => [file, code]),
      [
        [join(folder, '500291c337a6.bin'), 'not-an-image'],
        [join(folder, '500291c337a7.bin'), 'input-unreadable'],
        [join(folder, '500291c337a8.bin'), 'input-unreadable'],
      ],
    );
    assert.deepEqual(json.passedOver, [
      'fw-backup-4M.bin has no MAC in its name',
      'notes.txt is not called like a dump',
    ]);
    assert.equal(json.error?.message, '3 of 6 dumps were not imported');
    const people = await bench.run(['import', folder]);
    checkError(people, 'not-an-image');
    assert.match(people.stderr, /500291c337a7\.bin is a symbolic link/);
    assert.match(people.stderr, /passed over: notes\.txt/);
  });

  test('parts of one flash: what no file holds is erased flash, and that is said', async (t) => {
    const bench = await Bench.open(t);
    const files = [
      `0x1000=${await fileIn(bench, 'boot.bin', esp32Bootloader())}`,
      `0x8000=${await fileIn(bench, 'table.bin', tableSector(TWO_OTA))}`,
      `0x10000=${await fileIn(bench, 'app.bin', esp32App())}`,
    ];
    await bench.fails(['import', ...files, '--mac', MAC], 'import-unclear');
    const { status, stderr, stdout } = await bench.run(['import', ...files, '--mac', MAC, '--size', '4M']);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /composed: \d+ bytes that no file holds are as in erased flash/);
    const id = /imported as (\S+),/.exec(stdout)?.[1] ?? '';
    const manifest = await manifestOf(bench, id);
    assert.equal((manifest['source'] as { file: unknown }).file, null);
    assert.equal((manifest['image'] as { sizeBytes: number }).sizeBytes, 4 * MIB);
    assert.equal((manifest['contents'] as { firmware: { name: string } }).firmware.name, 'thermostat');
  });

  test('an old dump beside backups of the board: first, and never latest unless a person or the name says so', async (t) => {
    const bench = await Bench.open(t);
    const { address } = await bench.addBoard({ family: 'esp32', mac: MAC });
    assert.equal((await bench.run(['backup', '--port', address])).status, 0);
    const stamped = await fileIn(bench, '500291c337a5.bin', dump('esp32', 3), '2025-03-04T05:06:07Z');
    const { json } = await bench.runJson<ImportJson>(['import', stamped]);
    assert.equal(json.imported[0]?.id, '2025-03-04T05-06-07Z');
    const latest = await bench.archive.resolveBackup(json.imported[0].mac as never, 'latest');
    assert.notEqual(latest.manifest.confirmed, null);
    // The copy was made today: when it was read nobody knows.
    const copied = await fileIn(bench, '500291c337a5.bin', dump('esp32', 4), new Date().toISOString());
    const error = await bench.fails(['import', copied], 'import-unclear');
    assert.match(error.hint, /--at/);
    // But what is there already needs no date.
    const again = await fileIn(bench, '500291c337a5.bin', dump('esp32', 3), new Date().toISOString());
    const there = (await bench.runJson<ImportJson>(['import', again])).json.imported[0];
    assert.deepEqual([there?.wasThere, there?.id, there?.at], [true, '2025-03-04T05-06-07Z', null]);
  });

  test('a board that equals its imported dump is backed up once more: only that tells what chip it is', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({ family: 'esp32', mac: MAC });
    const path = await fileIn(bench, '500291c337a5.bin', board.flash.snapshot());
    const at = new Date(Date.now() - 60_000).toISOString();
    const imported = await bench.runJson<ImportJson>(['import', path, '--at', at]);
    assert.equal(imported.status, 0, imported.stdout);
    interface BackupJson {
      readonly backups: readonly { readonly id: string; readonly unchanged: boolean; readonly transfer: Transfer }[];
    }
    interface Transfer {
      readonly flashBytesRead: number;
    }
    const first = (await bench.runJson<BackupJson>(['backup', '--port', address])).json.backups[0];
    assert.ok(first !== undefined && first.id !== imported.json.imported[0]?.id);
    assert.deepEqual([first.unchanged, first.transfer.flashBytesRead], [false, 0], 'its bytes are known');
    assert.notEqual((await manifestOf(bench, first.id))['confirmed'], null);
    const second = (await bench.runJson<BackupJson>(['backup', '--port', address])).json.backups[0];
    assert.deepEqual([second?.unchanged, second?.id], [true, first.id]);
  });

  test('what contradicts the backups of the board is refused', async (t) => {
    const bench = await Bench.open(t);
    const first = await fileIn(bench, '500291c337a5_2024-01-02.bin', dump());
    assert.equal((await bench.run(['import', first])).status, 0);
    const otherChip = await fileIn(bench, '500291c337a5_2024-01-03.bin', dump('esp8266'));
    await bench.fails(['import', otherChip], 'other-chip');
    const another = await fileIn(bench, '500291c337a5_2024-01-06.bin', dump('esp32', 7));
    await bench.fails(['import', another, '--chip', 'esp32s3'], 'other-chip');
    const larger = demoImage({ family: 'esp32', sizeBytes: MIB, appBytes: 100 * KIB });
    const otherSize = await fileIn(bench, '500291c337a5_2024-01-04.bin', larger);
    await bench.fails(['import', otherSize], 'other-size');
    assert.equal((await bench.run(['import', otherSize, '--size', '1M'])).status, 0);
    // An encrypted flash tells no chip: that of the board's backups is taken.
    const secret = await fileIn(bench, '500291c337a5_2024-01-05.bin', filler(512 * KIB, 5));
    const { json } = await bench.runJson<ImportJson>(['import', secret, '--size', '512K']);
    assert.equal(json.imported[0]?.chip, 'esp32');
  });

  test('what is not certain is asked for', async (t) => {
    const bench = await Bench.open(t);
    const nameless = await fileIn(bench, 'fw-backup-4M.bin', dump());
    assert.match((await bench.fails(['import', nameless], 'import-unclear')).hint, /--mac/);
    const two = await fileIn(bench, '500291c337a5-240ac4124556.bin', dump());
    assert.match((await bench.fails(['import', two], 'import-unclear')).hint, /--mac/);
    const secret = await fileIn(bench, '500291c337a5.bin', filler(512 * KIB, 5));
    const { hint } = await bench.fails(['import', secret], 'import-unclear');
    for (const family of ['esp8266', 'esp32', 'esp32c61']) assert.match(hint, new RegExp(`--chip: .*\\b${family}\\b`));
    assert.match((await bench.fails(['import', secret, '--chip', 'esp99'], 'usage')).message, /esp8266, esp32,/);
    assert.equal((await bench.run(['import', secret, '--chip', 'esp32'])).status, 0);
    const old = await fileIn(bench, '500291c337a6.bin', dump(), '1980-01-01T00:00:00Z');
    assert.match((await bench.fails(['import', old], 'import-unclear')).hint, /--at/);
  });

  test('--label names the board, and one that is taken is refused before anything is written', async (t) => {
    const bench = await Bench.open(t);
    const first = await fileIn(bench, '500291c337a5_2024-01-02.bin', dump());
    const other = await fileIn(bench, '500291c337a6_2024-01-02.bin', dump());
    const labelOf = async (mac: string) => (await bench.archive.marks.about(parseMac(mac)!)).label;

    await bench.fails(['import', first, other, '--label', 'kitchen'], 'usage');
    await bench.fails(['import', first, '--label', '@'], 'usage');
    const rehearsal = await bench.run(['import', first, '--label', 'kitchen', '--dry-run']);
    assert.match(rehearsal.stdout, /would be "kitchen"/);
    assert.deepEqual(await archiveEntries(bench.archivePath), { ids: [], others: [] });

    const { json } = await bench.runJson<ImportJson & { label: string }>(['import', first, '--label', ' kitchen ']);
    assert.deepEqual([json.label, await labelOf(MAC)], ['kitchen', 'kitchen']);
    const taken = await bench.fails(['import', other, '--label', 'KITCHEN'], 'label-taken');
    assert.match(taken.message, /50:02:91:c3:37:a5/);
    assert.equal((await archiveEntries(bench.archivePath)).ids.length, 1);

    // The image is there already: the label is given all the same, and the one it had gives way, as with espd label.
    const again = await bench.run(['import', first, '--label', 'attic']);
    assert.match(again.stdout, /is in the archive already as [^]*is "attic"/);
    assert.equal(await labelOf(MAC), 'attic');
    assert.equal((await bench.run(['import', other, '--label', 'kitchen'])).status, 0);
    // What is not imported is not named.
    const bad = await fileIn(bench, '500291c337a7.bin', Buffer.alloc(512 * KIB, 0xff));
    await bench.fails(['import', bad, '--label', 'cellar'], 'not-an-image');
    assert.deepEqual([...(await bench.archive.marks.labels()).values()].sort(), ['attic', 'kitchen']);
  });

  test('bad options', async (t) => {
    const bench = await Bench.open(t);
    const path = await fileIn(bench, 'a.bin', dump());
    await bench.fails(['import'], 'usage');
    await bench.fails(['import', path, '--mac', 'kitchen'], 'archive-missing');
    await bench.fails(['import', path, '--at', 'yesterday'], 'usage');
    await bench.fails(['import', path, '--at', '2999-01-01', '--mac', MAC], 'usage');
    await bench.fails(['import', path, '--size', '3M'], 'usage');
    await bench.fails(['import', path, '--chip', 'avr'], 'usage');
    await bench.fails(['import', path, path, '--at', '2024-01-01', '--mac', MAC], 'usage');
    await bench.fails(['import', path, `0x0=${path}`, '--mac', MAC], 'usage');
    await bench.fails(['import', join(bench.folder, 'none.bin')], 'input-unreadable');
  });

  test('what it shows cannot steer the terminal, whatever a file is called', async (t) => {
    const bench = await Bench.open(t);
    const path = await fileIn(bench, '\x1b[2J500291c337a5\u202e.bin', Buffer.alloc(512 * KIB, 0xff));
    const { stdout, stderr } = await bench.run(['import', path]);
    assertPlain(stdout);
    assertPlain(stderr);
    assert.match(stderr, /all its bytes are ff/);
  });

  test('an interruption leaves nothing under an id, and no draft', async (t) => {
    const bench = await Bench.open(t);
    const path = await fileIn(bench, '500291c337a5.bin', dump());
    const { status } = await bench.run(['import', path], { signal: AbortSignal.abort() });
    assert.equal(status, 130);
    assert.deepEqual(await archiveEntries(bench.archivePath), { ids: [], others: [] });
  });
});
