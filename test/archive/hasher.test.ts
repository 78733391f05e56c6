import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { tmpdir } from 'node:os';
import { hashStored } from '../../src/archive/hash-stored.ts';
import type { StoredDigests } from '../../src/archive/hash-stored.ts';
import { HashThread } from '../../src/archive/hash-thread.ts';
import { ImageHasher } from '../../src/archive/hasher.ts';
import { silentLogger } from '../../src/log.ts';
import { bundle } from '../support/bundle.ts';
import { image, md5, newArchive, backUp, sha256, temporaryFolder } from './support.ts';

let folder = '';
/** The thread as it is in the installed program. */
let compiled: HashThread;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'espd-hasher-'));
  const files = ['src/archive/hash-thread.ts', 'src/archive/hash-worker.ts', 'test/archive/hasher.ts'];
  const [thread = ''] = await bundle(folder, ...files);
  const url = pathToFileURL(thread).href;
  compiled = ((await import(url)) as { sharedHashThread: HashThread }).sharedHashThread;
});
after(() => rm(folder, { recursive: true }));

async function opened(t: TestContext, bytes: Uint8Array): Promise<FileHandle> {
  const path = join(await temporaryFolder(t), 'file');
  await writeFile(path, bytes);
  const handle = await open(path);
  t.after(() => handle.close().catch(() => undefined));
  return handle;
}

function expected(flash: Uint8Array, stored = flash): StoredDigests {
  const blocks = { sha256: [] as string[], md5: [] as string[] };
  for (let at = 0; at < flash.length; at += 65536) {
    const block = flash.subarray(at, at + 65536);
    blocks.sha256.push(sha256(block));
    blocks.md5.push(md5(block));
  }
  return {
    stored: sha256(stored),
    image: { sizeBytes: flash.length, md5: md5(flash), sha256: sha256(flash), blocks },
  };
}

describe('the thread', () => {
  for (const size of [0, 1, 65535, 65536, 65537, 262_143, 262_144, 262_145, 3_000_000]) {
    test(`hashes ${size} bytes, plain and compressed`, async (t) => {
      const bytes = image(size);
      const packed = gzipSync(bytes);
      assert.deepEqual(await compiled.hash(await opened(t, bytes), null), expected(bytes));
      assert.deepEqual(await compiled.hash(await opened(t, packed), size), expected(bytes, packed));
    });
  }

  test('hashes many at once, each with its own result', async (t) => {
    const files = await Promise.all(Array.from({ length: 20 }, (_, seed) => opened(t, image(300_000 + seed, seed))));
    const digests = await Promise.all(files.map((file) => compiled.hash(file, null)));
    for (const [seed, result] of digests.entries()) assert.deepEqual(result, expected(image(300_000 + seed, seed)));
  });

  test('tells of damage as the stream does', async (t) => {
    const bytes = image(500_000);
    const packed = gzipSync(bytes);
    const broken = Buffer.from(packed);
    broken.fill(0, 1000, 2000);
    for (const [stored, maxBytes, code] of [
      [packed.subarray(0, 100_000), 500_000, 'Z_BUF_ERROR'],
      [broken, 500_000, 'Z_DATA_ERROR'],
      [packed, 499_999, 'EFBIG'],
      [bytes, 500_000, 'Z_DATA_ERROR'],
    ] as const) {
      const result = await compiled.hash(await opened(t, stored), maxBytes);
      assert.equal(result?.stored, sha256(stored));
      assert.ok('failure' in result.image);
      assert.equal(result.image.failure.code, code);
    }
  });

  test('tells of a system call that fails', async (t) => {
    const handle = await open(await temporaryFolder(t));
    t.after(() => handle.close());
    await assert.rejects(compiled.hash(handle, null), { code: 'EISDIR' });
    assert.deepEqual(await compiled.hash(await opened(t, image(5)), null), expected(image(5)));
  });

  test('stops when told to, and goes on with others', async (t) => {
    const [file, other] = [await opened(t, image(4_000_000)), await opened(t, image(400_000))];
    const controller = new AbortController();
    const others = compiled.hash(other, null);
    const work = ['plain', 'compressed'].map((kind) =>
      compiled.hash(file, kind === 'plain' ? null : 1, controller.signal),
    );
    controller.abort(new Error('enough'));
    await Promise.all(work.map((one) => assert.rejects(one, /enough/)));
    await file.close();
    await assert.rejects(compiled.hash(other, null, controller.signal), /enough/);
    assert.deepEqual(await others, expected(image(400_000)));
    const late = new AbortController();
    await compiled.hash(other, null, late.signal);
    late.abort();
  });

  test('keeps a process alive while it works, and no longer', async (t) => {
    const path = join(await temporaryFolder(t), 'file');
    await writeFile(path, image(3_000_000));
    const script = join(folder, 'hasher.js');
    const { stdout } = await promisify(execFile)(process.execPath, [script, path, path], { timeout: 60_000 });
    assert.equal(stdout, `${md5(image(3_000_000))}\n`.repeat(2));
  });

  test('works for sources that run as they are', async (t) => {
    const result = await new HashThread().hash(await opened(t, image(100)), null);
    // With plain `--import tsx` a thread of Node 20 cannot load them, and the event loop stands in.
    if (result === undefined) t.skip('SKIPPED: run the tests by scripts/test.mjs, or with --import ./scripts/tsx.mjs');
    else assert.deepEqual(result, expected(image(100)));
  });
});

describe('without a thread', () => {
  const deaths: Record<string, string | undefined> = {
    'a file that is missing': undefined,
    'a file that throws': 'throw new Error("no");',
    'one that ends at the first job': 'require("node:worker_threads").parentPort.on("message", () => process.exit(3));',
    'one that uses up its memory':
      'require("node:worker_threads").parentPort.on("message", () => { const all = []; for (;;) all.push(Array(1000).fill({})); });',
    'no JavaScript': '!',
  };
  for (const [name, source] of Object.entries(deaths)) {
    test(`${name}: the event loop stands in, and it is tried three times`, async (t) => {
      const path = join(await temporaryFolder(t), 'worker.cjs');
      if (source !== undefined) await writeFile(path, source);
      const thread = new HashThread(pathToFileURL(path));
      const told: unknown[] = [];
      const log = { ...silentLogger, debug: (message: string) => void told.push(message) };
      const hasher = new ImageHasher(log, thread);
      const bytes = image(1_000_000);
      const options = { sizeBytes: bytes.length, maxBytes: null };
      const file = await opened(t, bytes);
      const results = await Promise.all([hasher.hash(file, options), hasher.hash(file, options)]);
      for (let again = 0; again < 4; again++) results.push(await hasher.hash(file, options));
      for (const result of results) assert.deepEqual(result, expected(bytes));
      assert.equal(told.length, 1);
      assert.equal(typeof thread.trouble, 'string');
      // Even where the thread would work now.
      await writeFile(path, 'require("node:worker_threads").parentPort.on("message", () => {});');
      assert.equal(await thread.hash(file, null), undefined);
    });
  }

  test('the event loop turns after each 64 KiB, and an abort ends it', async (t) => {
    const path = join(await temporaryFolder(t), 'missing');
    const hasher = new ImageHasher(silentLogger, new HashThread(pathToFileURL(path)));
    const bytes = image(3_000_000);
    const packed = gzipSync(bytes, { level: 0 });
    const options = { sizeBytes: bytes.length, maxBytes: null };
    const file = await opened(t, bytes);
    let turns = 0;
    const count = () => {
      turns++;
      counting = setImmediate(count);
    };
    let counting = setImmediate(count);
    assert.deepEqual(await hasher.hash(file, options), expected(bytes));
    clearImmediate(counting);
    assert.ok(turns >= Math.floor(bytes.length / 65536), `${turns}`);
    const zipped = await opened(t, packed);
    assert.deepEqual(await hasher.hash(zipped, { ...options, maxBytes: bytes.length }), expected(bytes, packed));
    for (const [handle, maxBytes] of [
      [file, null],
      [zipped, bytes.length],
    ] as const) {
      const controller = new AbortController();
      const work = hasher.hash(handle, { sizeBytes: bytes.length, maxBytes, signal: controller.signal });
      setImmediate(() => controller.abort(new Error('enough')));
      await assert.rejects(work, /enough/);
      await assert.rejects(hasher.hash(handle, { ...options, signal: controller.signal }), /enough/);
    }
  });
});

test('what is hashed in pieces of any size has the same digests', async () => {
  const bytes = image(200_000);
  for (const step of [1000, 4096, 65536, 65537, 200_000]) {
    const chunks = async function* () {
      for (let at = 0; at < bytes.length; at += step) yield await Promise.resolve(bytes.subarray(at, at + step));
    };
    assert.deepEqual(await hashStored(chunks, null), expected(bytes));
  }
});

test('a large image through the archive, plain and compressed, with a bit that flipped later', async (t) => {
  for (const compression of ['none', 'gzip'] as const) {
    const archive = await newArchive(t, { compression });
    const bytes = image(3_000_000);
    const { id, manifest, path } = await backUp(archive, bytes);
    assert.equal(manifest.image.sha256, createHash('sha256').update(bytes).digest('hex'));
    assert.deepEqual(await archive.verifyBackup(manifest.mac as Parameters<typeof archive.history>[0], id), []);
    const stored = await readFile(join(path, manifest.image.file));
    stored[stored.length - 20]! ^= 1;
    await writeFile(join(path, manifest.image.file), stored);
    const problems = await archive.verify({});
    assert.equal(problems.damaged.length, 1, compression);
  }
});
