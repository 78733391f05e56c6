/**
 * Local copies go only for a backup that was read back from the store. Whatever the store says, has lost, or gives in the
 * place of what was put there: no release is the end of a backup.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';
import type { Clock } from '../../src/clock.ts';
import type { StoreConfig } from '../../src/config/store.ts';
import { toEspdError } from '../../src/errors.ts';
import { type CopyDamage, releaseLocal } from '../../src/replication/local/release.ts';
import { removalKey } from '../../src/replication/removal/format.ts';
import { pullBackup } from '../../src/replication/pull.ts';
import { FOLDER, MAC, temporaryFolder } from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { type RealStore, startRealStore, whyNoRealStore } from '../store/real-store.ts';
import { clientOf } from '../store/support.ts';
import { type Station, hurriedClock, image, never, station } from './support.ts';

const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const ONE = 'a1'.repeat(32);
const TWO = 'b2'.repeat(32);
const MIB = 1024 * 1024;

interface Options {
  readonly config?: Partial<StoreConfig>;
  readonly compression?: 'none' | 'gzip';
  readonly sizeBytes?: number;
}

/** Backups of two days, in the store and told of: the first one is to be released. */
async function filled(
  t: TestContext,
  endpoint: string,
  { config = {}, compression = 'none', sizeBytes = 30_000 }: Options,
) {
  const here = await station(t, endpoint, config, { options: { compression } });
  for (const day of [1, 2]) {
    await here.keep(image(sizeBytes + day, day), { createdAt: `2020-10-0${day}T10:00:00.000Z` });
  }
  await here.pushAll();
  await here.write();
  return here;
}

interface Released {
  readonly gone: readonly string[];
  /** Why others stay, by their ids. */
  readonly stay: ReadonlyMap<string, string>;
  readonly damages: readonly CopyDamage[];
  /** Code of what ended it, or of what the store has refused. */
  readonly fault: string | undefined;
}

async function release(
  here: Station,
  { clock = hurriedClock, bandwidth = null as number | null, signal = never } = {},
): Promise<Released> {
  const fleet = here.again();
  const damages: CopyDamage[] = [];
  const report = await releaseLocal(
    {
      ...{ archive: here.archive, bucket: await fleet.openToRead(), station: await fleet.state.station() },
      ...{ clock, bandwidth, signal, onDamage: (damage) => damages.push(damage) },
    },
    { kind: 'newest', count: 1 },
  );
  return {
    gone: report.released.map((each) => each.id),
    stay: new Map(report.spared.map((each) => [each.id, each.reasons.map(({ text }) => text).join()])),
    damages,
    fault: report.fault === undefined ? undefined : toEspdError(report.fault).code,
  };
}

async function filesOf(here: Station, day: number): Promise<ReadonlyMap<string, string>> {
  const folder = join(here.archive.root, FOLDER, id(day));
  const files = new Map<string, string>();
  for (const name of (await readdir(folder)).sort()) {
    files.set(
      name,
      createHash('sha256')
        .update(await readFile(join(folder, name)))
        .digest('hex'),
    );
  }
  return files;
}

/** What was released comes back as it was. */
async function assertComesBack(here: Station, day: number, before: ReadonlyMap<string, string>): Promise<void> {
  assert.deepEqual(await here.archive.backupIds(MAC), [1, 2].filter((each) => each !== day).map(id));
  const [stored] = (await here.archive.elsewhere.of(MAC)).filter((each) => each.id === id(day));
  assert.ok(stored !== undefined);
  await pullBackup(await here.again().openToRead(), here.archive, stored);
  assert.deepEqual(await filesOf(here, day), before);
}

async function keys(t: TestContext, ...lines: string[]) {
  const file = join(await temporaryFolder(t), 'keys');
  const set = (...now: string[]) => writeFile(file, now.map((line) => `${line}\n`).join(''), { mode: 0o600 });
  await set(...lines);
  return { set, config: { encryption: { file } } };
}

describe('the release of local copies', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (at) => (endpoint = at));

  const flip = (bytes: Buffer) => {
    const other = Buffer.from(bytes);
    other[other.length >> 1] = (other[other.length >> 1] ?? 0) ^ 1;
    return other;
  };
  const harms: Readonly<Record<string, (key: string) => void>> = {
    'gives other bytes under the ETag that they had': (key) => {
      fake.quirks.rotten = (each) => each === key;
    },
    'gives none of it, though HEAD tells of it': (key) => {
      fake.fault = ({ method, key: each }) =>
        method === 'GET' && each === key ? { status: 404, code: 'NoSuchKey' } : undefined;
    },
    'has lost it (a lifecycle rule, a delete marker, somebody)': (key) => fake.objects.delete(key),
    'has another of the same length in its place': (key) =>
      fake.replace(key, flip(fake.objects.get(key)?.bytes ?? Buffer.alloc(0))),
    'has cut it off': (key) => {
      const { bytes, etag } = fake.objects.get(key) ?? assert.fail();
      fake.objects.set(key, { bytes: bytes.subarray(0, -1), etag });
    },
    'has an empty one in its place': (key) => fake.replace(key, Buffer.alloc(0)),
    'has nine megabytes in its place': (key) => fake.replace(key, Buffer.alloc(9 * MIB, 0x20)),
  };

  for (const kind of ['plain', 'compressed', 'encrypted', 'in parts'] as const) {
    test(`${kind}: whatever is wrong with one of its objects there, the copy here stays; mended, it goes`, async (t) => {
      const here = await filled(t, endpoint, {
        ...(kind === 'encrypted' ? { config: (await keys(t, ONE)).config } : {}),
        ...(kind === 'compressed' ? { compression: 'gzip' } : {}),
        ...(kind === 'in parts' ? { sizeBytes: 6 * MIB } : {}),
      });
      const before = await filesOf(here, 1);
      const objects = fake.names.filter((name) => name.includes(`/${id(1)}/`));
      assert.equal(objects.length, 3);
      if (kind === 'in parts') objects.splice(0, 3, ...objects.filter((name) => name.endsWith('/flash.bin')));
      const sound = new Map(fake.objects);
      for (const key of objects) {
        for (const [harm, does] of Object.entries(harms)) {
          does(key);
          const { gone, stay, damages } = await release(here);
          const what = `${key} ${harm}`;
          assert.deepEqual(gone, [], what);
          assert.ok(stay.get(id(1)), what);
          assert.deepEqual(await filesOf(here, 1), before, what);
          // Without SHA256SUMS it is no backup there, and none that is damaged; that of another has the name.
          if (!key.endsWith('SHA256SUMS')) {
            const isUnknown = kind === 'encrypted' && key.endsWith('manifest.json.enc') && /empty|cut|none/.test(harm);
            if (!isUnknown)
              assert.ok(stay.get(id(1))?.includes('manifest') || damages.length > 0, `${what}: ${stay.get(id(1))}`);
            for (const each of damages)
              assert.ok(key.endsWith(each.folder + each.file), `${what}: ${each.folder}${each.file}`);
          }
          fake.quirks = {};
          fake.fault = () => undefined;
          for (const [name, stored] of sound) fake.objects.set(name, stored);
        }
      }
      assert.deepEqual((await release(here)).gone, [id(1)]);
      await assertComesBack(here, 1, before);
    });
  }

  test('a store whose ETags are no MD5s: what was read counts, and nothing else', async (t) => {
    fake.quirks.hidesMd5 = true;
    const here = await filled(t, endpoint, { sizeBytes: 6 * MIB });
    const before = await filesOf(here, 1);
    fake.quirks.rotten = (key) => key.endsWith(`${id(1)}/flash.bin`);
    const first = await release(here);
    assert.deepEqual(first.gone, []);
    assert.match(first.stay.get(id(1)) ?? '', /^flash\.bin in the object store: /);
    fake.quirks = { hidesMd5: true };
    assert.deepEqual((await release(here)).gone, [id(1)]);
    await assertComesBack(here, 1, before);
  });

  test('a key that was changed: with the old one behind the new one it goes; without it, or with another alone, it stays', async (t) => {
    const { set, config } = await keys(t, ONE);
    const here = await filled(t, endpoint, { config });
    const before = await filesOf(here, 1);
    await set(TWO);
    const { gone, stay, damages } = await release(here);
    assert.deepEqual([gone, damages], [[], []]);
    assert.equal(stay.get(id(1)), 'it is encrypted there with a key that is not here');
    await assert.rejects(
      set('').then(() => release(here)),
      (error) => toEspdError(error).code === 'store-key',
    );
    await set(TWO, ONE);
    const again = await release(here);
    assert.deepEqual(again.gone, [id(1)]);
    await assertComesBack(here, 1, before);
    assert.ok(fake.names.some((name) => name.endsWith(`${id(1)}/flash.bin.enc`)));
  });

  test('encryption that was turned off, or on, after the upload: each by how it lies there', async (t) => {
    const { config } = await keys(t, ONE);
    const here = await filled(t, endpoint, { config });
    const off = await station(t, endpoint, {}, {});
    assert.equal((await here.archive.backupIds(MAC)).length, 2);
    const bucket = await off.fleet.openToRead();
    const report = await releaseLocal(
      { archive: here.archive, bucket, station: 'x', clock: hurriedClock, bandwidth: null, signal: never },
      { kind: 'newest', count: 1 },
    );
    assert.deepEqual(report.released, []);
    assert.match(report.spared[0]?.reasons[0]?.text ?? '', /a key that is not here/);
    const plain = await filled(t, endpoint, { config: { prefix: 'plain' } });
    const before = await filesOf(plain, 1);
    const on = await station(t, endpoint, { prefix: 'plain', ...config }, {});
    const done = await releaseLocal(
      {
        archive: plain.archive,
        bucket: await on.fleet.openToRead(),
        station: 'x',
        clock: hurriedClock,
        bandwidth: null,
        signal: never,
      },
      { kind: 'newest', count: 1 },
    );
    assert.deepEqual(
      done.released.map((each) => each.id),
      [id(1)],
    );
    await assertComesBack(plain, 1, before);
  });

  test('a bucket with versions: what is hidden behind a delete marker is not there, whatever lies behind it', async (t) => {
    fake.quirks.objectLock = true;
    const here = await filled(t, endpoint, {});
    const before = await filesOf(here, 1);
    const [image = ''] = fake.names.filter((name) => name.endsWith(`${id(1)}/flash.bin`));
    const stored = fake.objects.get(image) ?? assert.fail();
    await clientOf(endpoint).store.remove(image);
    assert.equal(fake.versions.filter(({ key }) => key === image).length, 1);
    const { gone, damages } = await release(here);
    assert.deepEqual([gone, damages.map(({ file }) => file)], [[], ['flash.bin']]);
    fake.objects.set(image, stored);
    assert.deepEqual((await release(here)).gone, [id(1)]);
    await assertComesBack(here, 1, before);
  });

  test('the copy here is the damaged one: it stays, and the sound one there with it', async (t) => {
    const here = await filled(t, endpoint, {});
    const file = join(here.archive.root, FOLDER, id(1), 'flash.bin');
    await writeFile(file, flip(await readFile(file)));
    const { gone } = await release(here);
    assert.deepEqual(gone, []);
    assert.ok((await here.archive.backupIds(MAC)).includes(id(1)));
  });

  test('it is removed there while it is read back, at any moment: it stays, and is not called damaged', async (t) => {
    const here = await filled(t, endpoint, {});
    const sound = new Map(fake.objects);
    let isReleased = false;
    for (let requests = 0; !isReleased; requests++) {
      assert.ok(requests < 50, 'it ends');
      for (const [name, object] of sound) fake.objects.set(name, object);
      let left = requests;
      fake.hold = () => {
        if (left-- === 0) for (const name of sound.keys()) if (name.includes(`/${id(1)}/`)) fake.objects.delete(name);
        return undefined;
      };
      const { gone, stay, damages } = await release(here);
      fake.hold = () => undefined;
      isReleased = gone.length > 0;
      if (isReleased) assert.ok(left >= 0, 'it was there until the end');
      else assert.equal(stay.get(id(1)), 'it is not in the object store');
      assert.deepEqual(damages, []);
    }
  });

  test('announced for removal, or of another station under the same name: it stays', async (t) => {
    const here = await filled(t, endpoint, {});
    const key = removalKey('', `${FOLDER}/${id(1)}/`);
    fake.replace(key, Buffer.from('{}'));
    assert.equal((await release(here)).stay.get(id(1)), 'its removal from the object store is announced');
    fake.objects.delete(key);
    for (const name of fake.names.filter((each) => each.includes(`/${id(1)}/`))) fake.objects.delete(name);
    const other = await station(t, endpoint);
    await other.keep(image(777, 77), { createdAt: '2020-10-01T10:00:00.000Z' });
    await other.pushAll();
    const { stay, damages } = await release(here);
    assert.equal(stay.get(id(1)), 'what is in the object store under its name is another backup');
    assert.deepEqual(damages, []);
  });

  test('any request is refused, or it ends there by a signal: the copy is here, or the backup is there and noted', async (t) => {
    const here = await filled(t, endpoint, { sizeBytes: 5 * MIB });
    const before = await filesOf(here, 1);
    let requests = 0;
    for (const how of ['refused', 'signalled'] as const) {
      for (let last = 1; ; last++) {
        let count = 0;
        const ending = new AbortController();
        fake.fault = () => {
          if (++count !== last) return undefined;
          if (how === 'refused') return { status: 403, code: 'AccessDenied' };
          ending.abort();
          return 'hang';
        };
        const { gone, fault } = await release(here, { signal: ending.signal });
        fake.fault = () => undefined;
        if (count < last) {
          assert.deepEqual([gone, fault], [[id(1)], undefined]);
          requests = last - 1;
          await assertComesBack(here, 1, before);
          break;
        }
        assert.deepEqual([gone, fault], [[], how === 'refused' ? 'store-denied' : 'interrupted'], `at request ${last}`);
        assert.deepEqual(await filesOf(here, 1), before, `${how} at request ${last}`);
      }
    }
    assert.equal(requests, COST.small + COST.pieces(5 * MIB + 1), 'what docs/fleet.md says it costs');
  });

  test('what the store does not give out stays, and keeps no other here; three in a row are the store itself', async (t) => {
    const here = await filled(t, endpoint, {});
    for (let day = 3; day <= 7; day++) {
      await here.keep(image(1000, day), { createdAt: `2020-10-0${day}T10:00:00.000Z` });
    }
    await here.pushAll();
    const refuse = (days: readonly number[], code: string) => {
      fake.fault = ({ key }) => (days.some((day) => key.includes(`/${id(day)}/`)) ? { status: 403, code } : undefined);
    };
    refuse([1, 2, 3], 'AccessDenied');
    const ended = await release(here);
    assert.deepEqual([ended.gone, ended.fault], [[], 'store-denied']);
    assert.equal((await here.archive.backupIds(MAC)).length, 7);
    refuse([1, 3], 'AccessDenied');
    const first = await release(here);
    assert.deepEqual([first.gone, first.fault, first.damages], [[2, 4, 5, 6].map(id), 'store-denied', []]);
    assert.match(first.stay.get(id(1)) ?? '', /does not allow this/);
    refuse([1, 3], 'InvalidObjectState');
    const second = await release(here);
    assert.deepEqual([second.gone, second.fault, second.damages], [[], 'store-archived', []]);
    assert.match(second.stay.get(id(3)) ?? '', /archive class/);
    fake.fault = () => undefined;
    assert.deepEqual((await release(here)).gone, [1, 3].map(id));
  });

  test('no faster than store.bandwidth', async (t) => {
    const here = await filled(t, endpoint, { sizeBytes: 3 * MIB });
    let nowMs = 0;
    const clock: Clock = {
      ...hurriedClock,
      now: () => nowMs,
      schedule(delayMs, callback) {
        nowMs += delayMs;
        const timer = setImmediate(callback);
        return () => clearImmediate(timer);
      },
    };
    await here.keep(image(2 * MIB, 9), { createdAt: '2020-10-03T10:00:00.000Z' });
    await here.pushAll();
    assert.deepEqual((await release(here, { clock, bandwidth: MIB })).gone, [id(1), id(2)]);
    // The last piece waits for nobody.
    assert.ok(nowMs >= 3000 - 250 && nowMs < 8000, `${nowMs} ms`);
  });
});

/** Requests of one backup. */
const COST = { small: 6, pieces: (bytes: number) => Math.ceil(bytes / (4 * MIB)) };

const skip = whyNoRealStore();
if (skip !== undefined) process.stderr.write(`test/replication/release.test.ts ${skip}\n`);

describe('the release of local copies, at a real radosgw', { skip: skip ?? false }, () => {
  let real: RealStore;
  const clients: ReturnType<typeof clientOf>[] = [];
  const client = (bucket: string) => {
    const made = clientOf(real.endpoint, { bucket });
    clients.push(made);
    return made;
  };
  before(async () => {
    real = await startRealStore();
  });
  after(async () => {
    for (const made of clients) made.close();
    await real.stop();
  });

  for (const versions of [false, true]) {
    test(`${versions ? 'a bucket with versions' : 'a bucket'}: overwritten, removed and put back; then it goes and comes back`, async (t) => {
      const bucket = versions ? 'versions' : 'plain';
      const { http, store } = client(bucket);
      assert.equal((await http.send({ method: 'PUT', key: '', signal: undefined })).status, 200);
      if (versions) {
        const body = Buffer.from('<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>');
        const on = { method: 'PUT', key: '', query: { versioning: '' }, body, signal: undefined };
        assert.equal((await http.send(on)).status, 200);
      }
      const here = await filled(t, real.endpoint, { config: { bucket }, sizeBytes: 2 * MIB });
      const before = await filesOf(here, 1);
      const keysThere = (await store.list({ prefix: '' })).objects.map(({ key }) => key);
      const [key = ''] = keysThere.filter((each) => each.endsWith(`${id(1)}/flash.bin`));
      const good = (await store.get(key))?.bytes ?? assert.fail();
      const bad = Buffer.from(good);
      bad[MIB] = (bad[MIB] ?? 0) ^ 1;
      await store.put(key, bad);
      assert.deepEqual((await release(here)).gone, []);
      await store.remove(key);
      const { gone, damages } = await release(here);
      assert.deepEqual([gone, damages.map(({ file }) => file)], [[], ['flash.bin']]);
      await store.put(key, good);
      assert.deepEqual((await release(here)).gone, [id(1)]);
      await assertComesBack(here, 1, before);
    });
  }
});
