/** A backup out of a store: what another process, a bad disk, a bad store or a kill in the middle make of it. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { EspdError, hasCode } from '../../src/errors.ts';
import type { Mac } from '../../src/mac.ts';
import { pullBackup } from '../../src/replication/pull.ts';
import {
  ID0,
  MAC,
  T0,
  archiveAt,
  backUp,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { clientOf } from '../store/support.ts';
import { bundle } from '../support/bundle.ts';
import { BLOCK, assertNothingLeft, describePulls, filesOf, storedOf } from './pulls.ts';
import { type Station, image, station } from './support.ts';

const MIB = 1024 * 1024;

describe('a backup that lies in a store', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  describePulls({ endpoint: () => endpoint, store: () => clientOf(endpoint).store, prefix: '' });

  /** Pushed by one station, noted by the other. */
  const prepared = async (t: Parameters<typeof station>[0], bytes: Buffer, createdAt = T0) => {
    const one = await station(t, endpoint);
    const two = await station(t, endpoint);
    const backup = await one.keep(bytes, { createdAt });
    await one.pushAll();
    const stored = await storedOf(one, backup);
    await two.archive.elsewhere.note(stored);
    fake.seen.length = 0;
    return { one, two, backup, stored, bucket: await two.fleet.openToRead() };
  };
  const imageBytesSent = () =>
    fake.seen.reduce((sum, { key, headers }) => {
      const [, from = 0, to = -1] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
      return key.endsWith('flash.bin') ? sum + Number(to) - Number(from) + 1 : sum;
    }, 0);
  const same = async (backup: Backup, other: Backup) =>
    assert.deepEqual(await filesOf(other.path), await filesOf(backup.path));

  test('neighbours come in few requests, and the server sends no byte too much', async (t) => {
    const bytes = image(80 * BLOCK, 1);
    const { two, backup, stored, bucket } = await prepared(t, bytes);
    const here = Buffer.from(bytes);
    for (const block of [10, 11, 40]) image(BLOCK, block).copy(here, block * BLOCK);
    await backUp(two.archive, here, '2026-11-22T10:00:00.000Z');
    const pulled = await pullBackup(bucket, two.archive, stored);
    await same(backup, pulled.backup);
    assert.equal(imageBytesSent(), 3 * BLOCK);
    // SHA256SUMS, the manifest, the image's size; blocks 10 and 11; block 40.
    assert.equal(fake.seen.length, 5);
  });

  test('what cannot be used here after all is fetched: a rotten block, an image that is gone', async (t) => {
    const bytes = image(6 * BLOCK, 1);
    const { two, backup, stored, bucket } = await prepared(t, bytes);
    const rotten = await backUp(two.archive, bytes.subarray(0, 3 * BLOCK), '2026-11-21T10:00:00.000Z');
    const file = join(rotten.path, 'flash.bin');
    const wrong = await readFile(file);
    wrong.writeUInt8(wrong.readUInt8(BLOCK + 7) ^ 1, BLOCK + 7);
    await writeFile(file, wrong);
    const gone = await backUp(two.archive, bytes.subarray(3 * BLOCK, 5 * BLOCK), '2026-11-20T10:00:00.000Z');
    await writeFile(join(gone.path, 'flash.bin'), '');
    const pulled = await pullBackup(bucket, two.archive, stored);
    await same(backup, pulled.backup);
    assert.equal(pulled.fetchedBytes, 4 * BLOCK);
    assert.equal(imageBytesSent(), 4 * BLOCK);
  });

  test('what does not verify although each block was right is tried once more, with nothing from here', async (t) => {
    const bytes = image(4 * BLOCK, 1);
    const { two, backup, stored, bucket } = await prepared(t, bytes);
    await backUp(two.archive, bytes.subarray(0, 2 * BLOCK), '2026-11-21T10:00:00.000Z');
    const failing = (times: number): Archive =>
      new Proxy(two.archive, {
        get(target, property) {
          if (property === 'elsewhere') {
            const adopt: Archive['elsewhere']['adopt'] = async (adoption, fill, signal) => {
              if (times-- <= 0) return target.elsewhere.adopt(adoption, fill, signal);
              await fill(() => Promise.resolve());
              throw new EspdError('archive-damaged', 'the disk gives other bytes than it was given');
            };
            return { adopt, of: (mac: Mac) => target.elsewhere.of(mac) };
          }
          const member: unknown = Reflect.get(target, property, target);
          return typeof member === 'function' ? (member.bind(target) as unknown) : member;
        },
      });
    await assert.rejects(
      pullBackup(bucket, failing(2), stored),
      (error) => hasCode(error, 'store-damaged') && /the disk gives other bytes/.test(String(error)),
    );
    fake.seen.length = 0;
    const pulled = await pullBackup(bucket, failing(1), stored);
    await same(backup, pulled.backup);
    assert.equal(imageBytesSent(), 2 * BLOCK + 4 * BLOCK);
    assert.equal(pulled.fetchedBytes, 4 * BLOCK);
  });

  test('a store that dies in the middle: said, nothing is left, and it works when the store is back', async (t) => {
    const { two, backup, stored, bucket } = await prepared(t, image(6 * MIB, 1));
    for (const fault of ['cut-before', 'cut-inside', { status: 503, code: 'SlowDown' }] as const) {
      let count = 0;
      fake.fault = ({ key }) => (key.endsWith('flash.bin') && ++count > 2 ? fault : undefined);
      await assert.rejects(
        pullBackup(bucket, two.archive, stored),
        (error) => hasCode(error, 'store-unreachable', 'store-busy') || assert.fail(String(error)),
      );
      await assertNothingLeft(two.archive);
    }
    fake.fault = () => undefined;
    await same(backup, (await pullBackup(bucket, two.archive, stored)).backup);
  });

  test('a store that fails every now and then', async (t) => {
    const { two, backup, stored, bucket } = await prepared(t, image(6 * MIB, 1));
    let count = 0;
    fake.fault = () => {
      count++;
      if (count % 3 === 0) return 'cut-inside';
      return count % 5 === 0 ? { status: 503, code: 'SlowDown' } : undefined;
    };
    await same(backup, (await pullBackup(bucket, two.archive, stored)).backup);
  });

  test('an end in the middle leaves nothing', async (t) => {
    const { two, stored, bucket } = await prepared(t, image(6 * MIB, 1));
    const abort = new AbortController();
    fake.fault = ({ key }) => (key.endsWith('flash.bin') && imageBytesSent() > 4 * MIB ? 'hang' : undefined);
    const pull = pullBackup(bucket, two.archive, stored, {
      signal: abort.signal,
      onProgress: (bytes) => bytes > 0 && abort.abort(new Error('enough')),
    });
    await assert.rejects(pull, /enough/);
    await assertNothingLeft(two.archive);
  });

  test('two at once, of two processes: both have it, and it is there once', async (t) => {
    const { two, backup, stored, bucket } = await prepared(t, image(3 * MIB, 1));
    const pulls = [two.archive, archiveAt(two.archive.root)].map((archive) => pullBackup(bucket, archive, stored));
    for (const { backup: pulled } of await Promise.all(pulls)) await same(backup, pulled);
    assert.deepEqual(await two.archive.backupIds(MAC), [ID0]);
    const report = await two.archive.verify({});
    assert.deepEqual([report.checked, report.damaged, report.foreign], [1, [], []]);
  });

  test('a disk that is full: said, and nothing is left', async (t) => {
    const { two, stored, bucket } = await prepared(t, image(3 * MIB, 1));
    let writes = 0;
    const fs = watchedFileSystem(({ name, path }) => {
      if (name === 'handle.write' && path.endsWith('flash.bin') && ++writes > 5) throw systemError('ENOSPC');
    });
    await assert.rejects(pullBackup(bucket, archiveAt(two.archive.root, { fs }), stored), (error) =>
      hasCode(error, 'disk-full'),
    );
    assert.ok(writes > 5);
    await assertNothingLeft(two.archive);
  });

  test('another backup of that id is here: it stays as it is, and what is fetched gets the next second', async (t) => {
    const { two, backup, stored, bucket } = await prepared(t, image(2 * BLOCK, 1));
    const own = await backUp(two.archive, image(2 * BLOCK, 2), T0);
    const files = await filesOf(own.path);
    const { backup: pulled, fetchedBytes } = await pullBackup(bucket, two.archive, stored);
    assert.deepEqual(await filesOf(own.path), files);
    assert.equal(pulled.id, '2026-11-23T10-00-01Z');
    assert.deepEqual(pulled.manifest, { ...backup.manifest, id: pulled.id });
    assert.equal(fetchedBytes, 2 * BLOCK);
    const again = await pullBackup(bucket, two.archive, stored);
    assert.deepEqual([again.backup.id, again.fetchedBytes], [pulled.id, 0]);
    assert.deepEqual((await two.archive.verify({})).damaged, []);
  });

  test('the copy that is here is damaged: said, and what to do; nothing is overwritten', async (t) => {
    const { two, stored, bucket } = await prepared(t, image(2 * BLOCK, 1));
    const { backup } = await pullBackup(bucket, two.archive, stored);
    await writeFile(join(backup.path, 'flash.bin'), 'short');
    await assert.rejects(pullBackup(bucket, two.archive, stored), (error) => {
      assert.ok(error instanceof EspdError);
      return error.code === 'archive-damaged' && error.hint.includes(backup.path);
    });
    assert.equal(await readFile(join(backup.path, 'flash.bin'), 'utf8'), 'short');
  });

  test('objects that are no such, of a gigabyte or packed into nothing: none is taken in, and little of it comes', async (t) => {
    for (const [what, spoil] of Object.entries({
      'a manifest': (folder: string) => fake.replace(`${folder}manifest.json`, Buffer.alloc(64 * MIB, 0x20)),
      SHA256SUMS: (folder: string) => fake.replace(`${folder}SHA256SUMS`, Buffer.alloc(64 * MIB, 0x0a)),
      'a packed image': (folder: string) => {
        const bomb = gzipSync(Buffer.alloc(512 * MIB));
        fake.replace(`${folder}flash.bin.gz`, bomb);
        const digest = createHash('sha256').update(bomb).digest('hex');
        const sums = fake.text(`${folder}SHA256SUMS`).replace(/^\w{64}(?= {2}flash)/m, digest);
        fake.replace(`${folder}SHA256SUMS`, Buffer.from(sums));
      },
    })) {
      fake.objects.clear();
      const one = await station(t, endpoint, {}, { options: { compression: 'gzip' } });
      const two = await station(t, endpoint);
      const stored = await storedOf(one, await one.keep(image(3 * BLOCK, 1)));
      await one.pushAll();
      await two.archive.elsewhere.note(stored);
      spoil(stored.folder);
      let unpacked = 0;
      fake.seen.length = 0;
      await assert.rejects(
        pullBackup(await two.fleet.openToRead(), two.archive, stored, { onProgress: (bytes) => (unpacked = bytes) }),
        (error) => hasCode(error, 'store-damaged'),
        what,
      );
      assert.ok(unpacked < 8 * MIB, what);
      for (const { method, key, headers } of fake.seen) {
        if (method === 'GET') assert.match(String(headers.range), /^bytes=0-\d{4,7}$/, `${what}: ${key}`);
      }
      await assertNothingLeft(two.archive);
    }
  });

  test('it was removed from the store meanwhile', async (t) => {
    const { two, stored, bucket } = await prepared(t, image(2 * BLOCK, 1));
    fake.objects.delete(`${stored.folder}SHA256SUMS`);
    await assert.rejects(pullBackup(bucket, two.archive, stored), (error) => hasCode(error, 'store-unknown-backup'));
    await assertNothingLeft(two.archive);
  });

  test('it is removed from the store while it is fetched, at any moment: that is said, and not that it is damaged', async (t) => {
    let isHere = false;
    for (let requests = 0; !isHere; requests++) {
      assert.ok(requests < 50, 'it ends');
      fake.objects.clear();
      const { two, stored, bucket } = await prepared(t, image(5 * BLOCK, 1));
      let left = requests;
      fake.hold = () => {
        if (left-- === 0) for (const name of fake.names) if (name.startsWith(stored.folder)) fake.objects.delete(name);
        return undefined;
      };
      const outcome = await pullBackup(bucket, two.archive, stored).then(
        () => 'here',
        (error: unknown) => (error instanceof EspdError ? error.code : String(error)),
      );
      fake.hold = () => undefined;
      isHere = outcome === 'here';
      if (isHere) continue;
      assert.equal(outcome, 'store-unknown-backup', `after ${requests} requests`);
      await assertNothingLeft(two.archive);
    }
  });

  test('a kill at any moment leaves no backup that is not whole, and the next pull succeeds', async (t) => {
    const [program = ''] = await bundle(await temporaryFolder(t), 'test/replication/puller.ts');
    const { two, backup, stored } = await prepared(t, image(5 * MIB, 1));
    const start = (killAfter: number) => runKilled(program, { station: two, stored }, killAfter);
    let isWhole = false;
    for (let killAfter = 1; !isWhole; killAfter++) {
      isWhole = await start(killAfter);
      const ids = await two.archive.backupIds(MAC);
      if (!isWhole && !ids.includes(ID0)) continue;
      assert.deepEqual(await two.archive.verifyBackup(MAC, ID0), []);
    }
    await same(backup, await two.archive.resolveBackup(MAC, ID0));
  });

  /** @param killAfter so many requests of it; true = it came to its end before */
  const runKilled = async (
    program: string,
    { station: one, stored }: { station: Station; stored: object },
    killAfter: number,
  ): Promise<boolean> => {
    let requests = 0;
    const child = spawn(
      process.execPath,
      [
        program,
        JSON.stringify({ archivePath: one.archive.root, statePath: join(one.folder, 'state'), endpoint, stored }),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    fake.fault = () => {
      if (++requests === killAfter) child.kill('SIGKILL');
      return undefined;
    };
    let said = '';
    child.stdout.on('data', (text: Buffer) => (said += text.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    fake.fault = () => undefined;
    return said.includes('pulled');
  };
});
