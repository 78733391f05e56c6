import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, open, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { deflateRawSync, gzipSync } from 'node:zlib';
import { assembleDump, type PlacedFile } from '../../../src/cli/import/assemble.ts';
import { localFiles } from '../../../src/client/local-files.ts';
import { readDumpFile } from '../../../src/cli/import/dump-file.ts';
import { dumpSources } from '../../../src/cli/import/sources.ts';
import { type ErrorCode, EspdError } from '../../../src/errors.ts';
import { intelHexText } from '../../../src/firmware/dump/intel-hex.ts';
import { demoImage } from '../../../src/simulator/index.ts';
import {
  esp32App,
  esp32Bootloader,
  filler,
  flashWith,
  KIB,
  MIB,
  tableSector,
  TWO_OTA,
} from '../../firmware/builder.ts';

const never = new AbortController().signal;

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-dump-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

async function fails(work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof EspdError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.notEqual(error.hint, '');
    return true;
  });
}

async function hexOf(bytes: Buffer, offset = 0): Promise<string> {
  let text = '';
  for await (const part of intelHexText([{ offset, bytes }])) text += part;
  return text;
}

describe('reading a dump', () => {
  const content = filler(300 * KIB, 3);

  test('as it is, packed, as HEX, and as packed HEX: by the content, whatever the name', async (t) => {
    const path = join(await folderOf(t), 'any.name');
    const text = await hexOf(content, 0x1000);
    for (const [bytes, form, offset] of [
      [content, 'binary', 0],
      [gzipSync(content), 'binary', 0],
      [Buffer.concat([gzipSync(content.subarray(0, 1000)), gzipSync(content.subarray(1000))]), 'binary', 0],
      [Buffer.from(text), 'hex', 0x1000],
      [gzipSync(text), 'hex', 0x1000],
    ] as const) {
      await writeFile(path, bytes);
      const file = await readDumpFile(localFiles, path, never);
      assert.equal(file.form, form);
      assert.equal(file.runs.length, 1);
      assert.equal(file.runs[0]?.offset, offset);
      assert.ok(file.runs[0].bytes.equals(content));
    }
  });

  test('an encrypted flash that begins with a colon is none of Intel’s', async (t) => {
    const path = join(await folderOf(t), 'dump.bin');
    const bytes = Buffer.concat([Buffer.from(':0123'), filler(256 * KIB)]);
    await writeFile(path, bytes);
    assert.equal((await readDumpFile(localFiles, path, never)).form, 'binary');
  });

  test('the time stamp comes with it', async (t) => {
    const path = join(await folderOf(t), 'dump.bin');
    await writeFile(path, content);
    await utimes(path, 1_700_000_000, 1_700_000_000);
    assert.equal((await readDumpFile(localFiles, path, never)).modifiedAt.toISOString(), '2023-11-14T22:13:20.000Z');
  });

  test('what is no file is refused, and nothing waits', async (t) => {
    const folder = await folderOf(t);
    const at = (name: string) => join(folder, name);
    await writeFile(at('real.bin'), content);
    await symlink('real.bin', at('link.bin'));
    await symlink('nowhere', at('dangling.bin'));
    execFileSync('mkfifo', [at('pipe.bin')]);
    await mkdir(at('folder.bin'));
    const server = createServer().listen(at('socket.bin'));
    await once(server, 'listening');
    t.after(() => server.close());
    await fails(readDumpFile(localFiles, at('link.bin'), never), 'input-unreadable', /symbolic link/);
    await fails(readDumpFile(localFiles, at('dangling.bin'), never), 'input-unreadable', /symbolic link/);
    await fails(readDumpFile(localFiles, at('pipe.bin'), never), 'input-unreadable', /no regular file/);
    await fails(readDumpFile(localFiles, at('folder.bin'), never), 'input-unreadable', /is a folder/);
    await fails(readDumpFile(localFiles, at('socket.bin'), never), 'input-unreadable', /no regular file/);
    await fails(readDumpFile(localFiles, at('none.bin'), never), 'input-unreadable', /is missing/);
    await fails(readDumpFile(localFiles, at('real.bin/x'), never), 'input-unreadable', /is missing/);
    await fails(readDumpFile(localFiles, '/dev/null', never), 'input-unreadable', /no regular file/);
    await fails(readDumpFile(localFiles, at('x'.repeat(300)), never), 'input-unreadable', /too long/);
  });

  test('what is no dump is refused by what it begins with, before it is read to its end', async (t) => {
    const path = join(await folderOf(t), 'firmware.bin');
    for (const [bytes, message] of [
      [Buffer.alloc(0), /is empty/],
      [gzipSync(''), /is empty/],
      [Buffer.concat([Buffer.from('7f454c46', 'hex'), Buffer.alloc(9000)]), /ELF/],
      [Buffer.from(`<!doctype html>${' '.repeat(9000)}`), /web page/],
      [gzipSync(Buffer.concat([gzipSync(content)])), /gzip twice/],
      [Buffer.from(':0100000000FE\n:00000001FF\n'), /line 1 has a wrong checksum/],
      [Buffer.from(':0100000000FF\n'), /cut off/],
      [gzipSync(content).subarray(0, 1000), /is packed with gzip and is cut off/],
      [Buffer.concat([Buffer.from('1f8b', 'hex'), content]), /is packed with gzip and is damaged/],
    ] as const) {
      await writeFile(path, bytes);
      await (bytes.length === 0 || /empty|twice/.test(message.source)
        ? readDumpFile(localFiles, path, never).then(
            // Judged with the whole image where the reader lets it pass.
            (file) =>
              fails(assembleDump('firmware.bin', [{ ...file, offset: null }], undefined), 'not-an-image', message),
            (error: unknown) => fails(Promise.reject(error as Error), 'not-an-image', message),
          )
        : fails(readDumpFile(localFiles, path, never), 'not-an-image', message));
    }
  });

  test('a gzip bomb is not unpacked beyond the largest flash; a sparse file of 129 MB is not read beyond it', async (t) => {
    const folder = await folderOf(t);
    const bomb = join(folder, 'bomb.bin.gz');
    // A raw stream of 1 MiB of zeros, many times over, in one gzip member; not valid at its end, which nobody comes to.
    const block = deflateRawSync(Buffer.alloc(MIB, 0xa5), { finishFlush: 2 });
    await writeFile(bomb, Buffer.from('1f8b0800000000000003', 'hex'));
    for (let i = 0; i < 200; i++) await appendFile(bomb, block);
    await fails(readDumpFile(localFiles, bomb, never), 'not-an-image', /unpacks to more than 128 MB/);
    const huge = join(folder, 'huge.bin');
    await writeFile(huge, filler(8192));
    await truncate(huge, 129 * MIB);
    await fails(readDumpFile(localFiles, huge, never), 'not-an-image', /has more than 128 MB/);
  });

  test('a file that another program is still writing', async (t) => {
    const path = join(await folderOf(t), 'dump.bin');
    await writeFile(path, content);
    const writer = await open(path, 'a');
    t.after(() => writer.close());
    // The signal is asked before each piece: the file grows between two of them.
    let asked = 0;
    const signal = new Proxy(never, {
      get(target, key) {
        if (key === 'throwIfAborted' && asked++ === 1) execFileSync('sh', ['-c', 'printf more >>"$0"', path]);
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    await fails(readDumpFile(localFiles, path, signal), 'input-unreadable', /has changed while it was read/);
  });

  test('an interruption ends it', async (t) => {
    const path = join(await folderOf(t), 'dump.bin');
    await writeFile(path, content);
    await assert.rejects(readDumpFile(localFiles, path, AbortSignal.abort()), { name: 'AbortError' });
  });
});

describe('which files are meant', () => {
  test('files, a folder, and parts of one flash', async (t) => {
    const folder = await folderOf(t);
    const at = (name: string) => join(folder, name);
    for (const name of ['500291c337a5.bin', '240ac4124556.bin.gz', 'notes.txt', 'fw-backup-4M.bin', 'x.hex']) {
      await writeFile(at(name), '');
    }
    await mkdir(at('500291c337a6.bin'));
    const { dumps, passedOver } = await dumpSources(localFiles, [folder, '/x/y.bin'], false);
    assert.deepEqual(
      dumps.map(({ files }) => files),
      [at('240ac4124556.bin.gz'), at('500291c337a5.bin'), '/x/y.bin'].map((path) => [{ path, offset: null }]),
    );
    assert.deepEqual(passedOver, [
      '500291c337a6.bin is a folder',
      'fw-backup-4M.bin has no MAC in its name',
      'notes.txt is not called like a dump',
      'x.hex has no MAC in its name',
    ]);
    const all = await dumpSources(localFiles, [folder], true);
    assert.equal(all.dumps.length, 4, 'with --mac the names need none');
    const parts = await dumpSources(localFiles, ['0x1000=boot.bin', '65536=a=b.bin'], true);
    assert.deepEqual(parts.dumps, [
      {
        name: 'boot.bin, a=b.bin',
        files: [
          { path: 'boot.bin', offset: 0x1000 },
          { path: 'a=b.bin', offset: 0x10000 },
        ],
      },
    ]);
    await fails(dumpSources(localFiles, ['0x0=boot.bin', 'app.bin'], true), 'usage', /Some files have an offset/);
    await mkdir(at('empty'));
    await fails(dumpSources(localFiles, [at('empty')], false), 'input-unreadable', /holds no dump/);
  });
});

describe('files to a flash', () => {
  const image = demoImage({ family: 'esp32', sizeBytes: 512 * KIB, appBytes: 100 * KIB });
  const file = (bytes: Buffer, offset: number | null = null, path = 'dump.bin'): PlacedFile => ({
    path,
    offset,
    modifiedAt: new Date(0),
    form: 'binary',
    runs: [{ offset: 0, bytes }],
  });
  const hexFile = (runs: PlacedFile['runs']): PlacedFile => ({ ...file(image), form: 'hex', runs });
  const assemble = (files: readonly PlacedFile[], toldBytes?: number) => assembleDump('dump.bin', files, toldBytes);

  test('a whole dump is taken as it is, in every form', async () => {
    for (const whole of [file(image), hexFile([{ offset: 0, bytes: image }])]) {
      const { image: made, family, filledBytes, remarks } = await assemble([whole]);
      assert.ok(made.equals(image));
      assert.deepEqual([family, filledBytes, remarks], ['esp32', null, []]);
    }
  });

  test('the beginning of a flash needs its size; the rest is erased flash, and that is said', async () => {
    const start = image.subarray(0, 300 * KIB);
    await fails(assemble([file(start)]), 'not-an-image', /has 307200 bytes, which no flash has/);
    const { image: made, filledBytes } = await assemble([file(start)], MIB);
    assert.equal(filledBytes, MIB - 300 * KIB);
    assert.ok(made.subarray(0, 300 * KIB).equals(start));
    assert.ok(made.subarray(300 * KIB).every((byte) => byte === 0xff));
    await fails(assemble([file(image)], 256 * KIB), 'not-an-image', /beyond the flash of 0x40000 bytes/);
  });

  test('parts at offsets', async () => {
    const boot = esp32Bootloader();
    const table = tableSector(TWO_OTA);
    const app = esp32App();
    const parts = [file(app, 0x10000), file(boot, 0x1000, 'b.bin'), file(table, 0x8000)];
    await fails(assemble(parts), 'import-unclear', /How large the flash is must be told/);
    const { image: made, family, filledBytes } = await assemble(parts, 4 * MIB);
    const expected = flashWith(4 * MIB, [
      [0x1000, boot],
      [0x8000, table],
      [0x10000, app],
    ]);
    assert.ok(made.equals(expected));
    assert.equal(family, 'esp32');
    assert.equal(filledBytes, 4 * MIB - boot.length - table.length - app.length);
    await fails(assemble([file(boot, 0x1000), file(table, 0x1800)], 4 * MIB), 'not-an-image', /overlaps/);
    await fails(assemble([{ ...hexFile([]), offset: 0 }], 4 * MIB), 'usage', /addresses of its own/);
  });

  test('HEX with gaps, as esptool merges, needs the size', async () => {
    const runs = [
      { offset: 0x1000, bytes: esp32Bootloader() },
      { offset: 0x8000, bytes: tableSector(TWO_OTA) },
    ];
    await fails(assemble([hexFile(runs)]), 'import-unclear', /ends at 0x9000/);
    assert.equal((await assemble([hexFile(runs)], 4 * MIB)).family, 'esp32');
  });

  test('a file named as a part, or that is one, is refused', async () => {
    const named = file(filler(256 * KIB), null, '/some/where/ota_1_0x110000.bin');
    await fails(assemble([named]), 'not-an-image', /named as a part of a flash, from 0x110000 on/);
    const app = flashWith(MIB, [[0, esp32App({}, { chipId: 9 })]]);
    await fails(assemble([file(app)]), 'not-an-image', /app alone \(thermostat 1\.2\.3\) for esp32s3/);
    assert.equal((await assemble([file(app, 0)], MIB)).family, 'esp32s3', 'unless a person says where it belongs');
  });
});
