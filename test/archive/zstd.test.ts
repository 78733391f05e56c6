import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { CAN_WRITE_ZSTD, deflate, inflate, usableCompression } from '../../src/archive/compression.ts';
import { parseManifest } from '../../src/archive/manifest.ts';
import { silentLogger } from '../../src/log.ts';
import { MAC, OTHER_MAC, archiveAt, content, newArchive, sha256 } from './support.ts';
import { fixture, plain, withZstd } from './zstd-backup.ts';

async function* inPieces(bytes: Uint8Array, pieceBytes: number) {
  for (let at = 0; at < bytes.length; at += pieceBytes)
    yield await Promise.resolve(bytes.subarray(at, at + pieceBytes));
}

async function unpack(bytes: Uint8Array, options: { maxBytes?: number; pieceBytes?: number } = {}): Promise<Buffer> {
  const { maxBytes = 12_000, pieceBytes = 64 * 1024 } = options;
  const chunks: Buffer[] = [];
  await inflate('zstd', inPieces(bytes, pieceBytes), maxBytes, (chunk) => void chunks.push(chunk));
  return Buffer.concat(chunks);
}

async function failureOf(bytes: Uint8Array, maxBytes?: number): Promise<string | undefined> {
  try {
    await unpack(bytes, maxBytes === undefined ? {} : { maxBytes });
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

describe('zstd streams of the zstd program', () => {
  for (const name of ['checked', 'single-segment', 'frames', 'skippable', 'window-128m']) {
    test(`${name}: unpacked, in pieces of any size`, async () => {
      const bytes = await fixture(name);
      for (const pieceBytes of [1, 7, 1000, 64 * 1024]) {
        assert.ok((await unpack(bytes, { pieceBytes })).equals(plain()), `${pieceBytes}`);
      }
    });
  }

  test('one that is cut off anywhere is told, and no byte too much is taken for granted', async () => {
    const bytes = await fixture('checked');
    for (let length = 0; length < bytes.length; length += length < 100 ? 1 : 41) {
      assert.equal(await failureOf(bytes.subarray(0, length)), 'Z_BUF_ERROR', `${length} bytes`);
    }
    assert.equal(await failureOf(Buffer.concat([bytes, bytes.subarray(0, 3)])), 'Z_BUF_ERROR');
    assert.equal(await failureOf(Buffer.concat([bytes, Buffer.from('x')])), 'ZSTD_DATA_ERROR');
    assert.equal(await failureOf(Buffer.concat([bytes, Buffer.from('no frame')])), 'ZSTD_DATA_ERROR');
  });

  test('a bit that flipped never gives other bytes', async () => {
    const bytes = await fixture('checked');
    let same = 0;
    for (let at = 0; at < bytes.length; at += at < 100 ? 1 : 41) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 1 << (at % 8);
      const code = await failureOf(damaged);
      // Some bits mean nothing (RFC 8878, 3.1.1.1: unused ones; the window's size): then the very same bytes come out.
      if (code === undefined) {
        assert.ok((await unpack(damaged)).equals(plain()), `byte ${at}`);
        same++;
        continue;
      }
      assert.ok(['ZSTD_DATA_ERROR', 'Z_BUF_ERROR', 'EFBIG'].includes(code), `byte ${at}: ${code}`);
    }
    assert.ok(same < 10, `${same}`);
  });

  test('memory is bounded: a bomb ends at the size of the image, and a window of 2 GiB is refused', async () => {
    let taken = 0;
    const bomb = inPieces(await fixture('bomb'), 1000);
    await assert.rejects(
      inflate('zstd', bomb, 4 * 1024 * 1024, ({ length }) => void (taken += length)),
      { code: 'EFBIG' },
    );
    assert.ok(taken <= 4 * 1024 * 1024);
    assert.equal(await failureOf(await fixture('window-2g')), 'ZSTD_DATA_ERROR');
    assert.equal((await unpack(await fixture('empty'))).length, 0);
    assert.equal(await failureOf(Buffer.alloc(100)), 'ZSTD_DATA_ERROR');
  });

  test('a reader that fails ends it', async () => {
    const eio = Object.assign(new Error('i/o error'), { code: 'EIO' });
    await assert.rejects(
      inflate('zstd', inPieces(await fixture('checked'), 100), 12_000, () => Promise.reject(eio)),
      eio,
    );
  });
});

describe('a backup with flash.bin.zst', () => {
  test('is verified, opened, and offered to other boards', async (t: TestContext) => {
    const archive = await newArchive(t);
    const backup = await withZstd(archive);
    assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
    const reader = await archive.openImage(backup);
    assert.ok((await reader.read(0, 12_000)).equals(plain()));
    await reader.close();
    // The first of the two makes the index of blocks anew, the second reads it.
    await rm(join(archive.root, 'cache'), { recursive: true });
    for (const reading of [archiveAt(archive.root), archiveAt(archive.root)]) {
      for (const mac of [MAC, OTHER_MAC]) {
        const candidates = await reading.candidates(mac);
        assert.deepEqual(await candidates.list[0]?.read(4000, 100), plain().subarray(4000, 4100));
        await candidates.close();
      }
    }
    const { foreign, problems } = await archive.history(MAC);
    assert.deepEqual({ foreign, problems }, { foreign: [], problems: [] });
  });

  test('is damaged where a bit of the stored file flipped, also if SHA256SUMS agrees', async (t: TestContext) => {
    const archive = await newArchive(t);
    const { id, path } = await withZstd(archive);
    const file = join(path, 'flash.bin.zst');
    const stored = await readFile(file);
    stored[stored.length - 10]! ^= 4;
    await writeFile(file, stored);
    const sums = await readFile(join(path, 'SHA256SUMS'), 'utf8');
    const [first] = await archive.verifyBackup(MAC, id);
    assert.equal(first?.error.code, 'archive-damaged');
    await writeFile(join(path, 'SHA256SUMS'), sums.replace(/^\w{64}/, sha256(stored)));
    const [second] = await archive.verifyBackup(MAC, id);
    assert.equal(second?.error.code, 'archive-damaged');
    assert.match(second.problem, /no sound zstd file/);
  });

  test('needs version 2 of the format, so that an older espd says that it is too old', async (t: TestContext) => {
    const archive = await newArchive(t);
    const { id, path } = await withZstd(archive);
    const file = join(path, 'manifest.json');
    const text = await readFile(file, 'utf8');
    assert.equal(parseManifest(text).kind, 'read');
    await writeFile(file, text.replace('"formatVersion": 2', '"formatVersion": 1'));
    const problems = (await archive.verifyBackup(MAC, id)).map(({ problem }) => problem);
    assert.ok(problems.includes('names flash.bin.zst, which version 1 does not know'), problems.join());
  });
});

describe('what new images are stored with', () => {
  test('zstd is gzip where Node has none, and said once', () => {
    const warnings: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    assert.equal(usableCompression('zstd', log, false), 'gzip');
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? '', /no zstd .* compressed with gzip/);
    for (const wanted of ['none', 'gzip'] as const) assert.equal(usableCompression(wanted, log, false), wanted);
    assert.equal(usableCompression('zstd', log, true), 'zstd');
    assert.equal(warnings.length, 1);
  });

  test('compression: zstd makes what this Node can, and the manifest says which', async (t: TestContext) => {
    const archive = await newArchive(t, { compression: 'zstd' });
    const draft = await archive.begin(MAC, 12_000);
    await draft.write(0, plain());
    const { id, manifest } = await draft.commit(content(plain()));
    assert.equal(manifest.image.file, CAN_WRITE_ZSTD ? 'flash.bin.zst' : 'flash.bin.gz');
    assert.equal(manifest.formatVersion, CAN_WRITE_ZSTD ? 2 : 1);
    assert.deepEqual(await archive.verifyBackup(MAC, id), []);
  });

  test('what this Node compresses comes out again', { skip: !CAN_WRITE_ZSTD && 'this Node has no zstd' }, async () => {
    for (const bytes of [Buffer.alloc(0), plain(), Buffer.alloc(3_000_000, 0xff), Buffer.alloc(1_000_001, plain())]) {
      const chunks: Buffer[] = [];
      await deflate('zstd', inPieces(bytes, 100_000), (chunk) => Promise.resolve(void chunks.push(chunk)));
      assert.ok((await unpack(Buffer.concat(chunks), { maxBytes: bytes.length })).equals(bytes));
    }
  });
});
