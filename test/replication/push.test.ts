/** Backups into a bucket: what is there when, what is never overwritten, and what a crash or a bad store leaves. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { StoreConfig } from '../../src/config/store.ts';
import { hasCode } from '../../src/errors.ts';
import { decryptWhole, makeKey } from '../../src/replication/encryption.ts';
import { boundName } from '../../src/replication/layout.ts';
import { Replicator, pushOne } from '../../src/replication/replicator.ts';
import { findUnpushed } from '../../src/replication/unpushed.ts';
import { FOLDER, ID0, MAC, archiveAt, temporaryFolder } from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { type Station, hurriedClock, image, never, station, unheard } from './support.ts';

const MIB = 1024 * 1024;
const PATH = `${FOLDER}/${ID0}`;

describe('a bucket', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  /** What is in the bucket, as the files of a folder. */
  const download = async (root: string, prefix = '') => {
    for (const name of fake.names.filter((each) => each.startsWith(prefix))) {
      const path = join(root, name.slice(prefix.length));
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, fake.objects.get(name)?.bytes ?? '');
    }
  };
  const localFiles = async ({ archive }: Station) => {
    const folder = join(archive.root, PATH);
    const files = await Promise.all(
      (await readdir(folder)).map(async (name) => [`${PATH}/${name}`, await readFile(join(folder, name))] as const),
    );
    return new Map(files);
  };
  const complete = () => fake.names.filter((name) => name.endsWith('SHA256SUMS'));

  test('is a folder that espd opens, byte for byte what the station has', async (t) => {
    const one = await station(t, endpoint);
    await one.keep(image(100_000));
    await one.fleet.open(never);
    fake.seen.length = 0;
    await one.pushAll();
    // docs/fleet.md reckons with these.
    const writes = fake.seen.filter(({ method }) => method === 'PUT' || method === 'POST').length;
    assert.deepEqual([writes, fake.seen.length - writes], [3, 5]);
    const files = await localFiles(one);
    assert.deepEqual(fake.names, [...files.keys()].sort());
    for (const [name, bytes] of files) assert.ok(fake.objects.get(name)?.bytes.equals(bytes), name);
    const root = join(await temporaryFolder(t), 'copy');
    await download(root);
    const report = await archiveAt(root).verify({});
    assert.deepEqual([report.checked, report.damaged.length, report.foreign.length], [1, 0, 0]);
    assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] });
  });

  test('SHA256SUMS comes last, and only when the image is there as a whole', async (t) => {
    const one = await station(t, endpoint);
    await one.keep(image(6 * MIB));
    const order: string[] = [];
    fake.fault = (seen) => {
      if (seen.method === 'PUT' || seen.method === 'POST') order.push(seen.key.split('/').at(-1) ?? '');
      if (seen.key.endsWith('SHA256SUMS') && seen.method === 'PUT') {
        assert.equal(fake.objects.get(`${PATH}/flash.bin`)?.bytes.length, 6 * MIB);
      }
      return undefined;
    };
    await one.pushAll();
    const mine = order.filter((name) => ['manifest.json', 'flash.bin', 'SHA256SUMS'].includes(name));
    assert.equal(mine[0], 'manifest.json');
    assert.equal(mine.indexOf('SHA256SUMS'), mine.length - 1);
  });

  test('what is there already is not sent again, also when the station has forgotten it', async (t) => {
    const one = await station(t, endpoint);
    const backup = await one.keep(image(6 * MIB));
    await one.pushAll();
    const before = new Map(fake.objects);
    fake.seen.length = 0;
    const bucket = await one.fleet.open(never);
    const pushed = await pushOne(one.archive, one.fleet, bucket, backup, never);
    assert.deepEqual(pushed, { place: 'shared', sentBytes: 0 });
    assert.deepEqual(
      fake.seen.filter(({ method }) => method !== 'GET' && method !== 'HEAD'),
      [],
    );
    assert.deepEqual(new Map(fake.objects), before);
  });

  test('two stations and one MAC in one second: both are there, each as its station has it', async (t) => {
    const stations = [await station(t, endpoint), await station(t, endpoint)];
    await stations[0]?.keep(image(50_000, 1));
    await stations[1]?.keep(image(50_000, 2));
    await Promise.all(stations.map((each) => each.pushAll()));
    assert.equal(complete().length, 2);
    const apart = complete().find((name) => name.startsWith('stations/')) ?? '';
    const prefix = apart.slice(0, apart.indexOf(FOLDER));
    for (const each of stations) {
      const files = await localFiles(each);
      const homes = ['', prefix].filter((home) =>
        [...files].every(([name, bytes]) => fake.objects.get(home + name)?.bytes.equals(bytes) === true),
      );
      assert.equal(homes.length, 1, 'one whole copy of each');
    }
    const root = join(await temporaryFolder(t), 'copy');
    await download(root, prefix);
    assert.equal((await archiveAt(root).verify({})).damaged.length, 0);
  });

  test('a store without real conditions: each station keeps to its own folder', async (t) => {
    for (const quirks of [{ ignoresConditions: true }, { refusesConditions: true }]) {
      fake.objects.clear();
      fake.quirks = quirks;
      const stations = [await station(t, endpoint), await station(t, endpoint)];
      await stations[0]?.keep(image(50_000, 1));
      await stations[1]?.keep(image(50_000, 2));
      await Promise.all(stations.map((each) => each.pushAll()));
      assert.equal(complete().length, 2);
      assert.ok(fake.names.every((name) => name.startsWith('stations/')));
    }
  });

  test('a rotten image is not put there, and others are', async (t) => {
    const one = await station(t, endpoint);
    const rotten = await one.keep(image(50_000));
    await one.keep(image(50_000, 2), { createdAt: '2026-11-24T10:00:00.000Z' });
    const path = join(rotten.path, 'flash.bin');
    const bytes = await readFile(path);
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    await writeFile(path, bytes);
    const told: string[] = [];
    const stopped = makeDeferred();
    const replicator = new Replicator({
      ...{ archive: one.archive, fleet: one.fleet, clock: hurriedClock, random: Math.random },
      ...{ ...unheard, journal: one.journal },
      onPushed: ({ id }) => {
        told.push(`pushed ${id}`);
        stopped.resolve();
      },
      onFailed: (backup, error) => void told.push(`${error.code} ${backup?.id}`),
    });
    replicator.start();
    await stopped.promise;
    await replicator.stop();
    assert.deepEqual(told.slice(0, 2), [`archive-damaged ${ID0}`, 'pushed 2026-11-24T10-00-00Z']);
    assert.deepEqual(
      fake.names.filter((name) => name.includes(ID0)),
      [],
    );
  });

  test('somebody else is at our name: nothing of theirs is overwritten, and it is said', async (t) => {
    const one = await station(t, endpoint);
    await one.keep(image(50_000));
    const foreign = { bytes: Buffer.from('not ours'), etag: 'x' };
    fake.objects.set(`${PATH}/SHA256SUMS`, foreign);
    await assert.rejects(one.pushAll(), (error) => hasCode(error, 'store-damaged'));
    assert.equal(fake.objects.get(`${PATH}/SHA256SUMS`), foreign);
  });

  describe('encrypted', () => {
    const key = 'ab'.repeat(32);
    const withKey = async (t: Parameters<typeof station>[0], text = key): Promise<Partial<StoreConfig>> => {
      const file = join(await temporaryFolder(t), 'key');
      await writeFile(file, `# of 2026\n${text}\n`, { mode: 0o600 });
      return { encryption: { file } };
    };

    test('holds nothing readable, agrees with its SHA256SUMS, and gives back what the station has', async (t) => {
      const one = await station(t, endpoint, await withKey(t));
      const secret = Buffer.from('psk=hunter2!'.repeat(600_000));
      await one.keep(secret);
      await one.pushAll();
      for (const { bytes } of fake.objects.values()) assert.equal(bytes.includes('hunter2'), false);
      assert.deepEqual(
        fake.names.map((name) => name.split('/').at(-1)),
        ['SHA256SUMS', 'flash.bin.enc', 'manifest.json.enc'],
      );
      const sums = fake.text(`${PATH}/SHA256SUMS`);
      for (const [, digest = '', name = ''] of sums.matchAll(/^(\w{64}) {2}(.*)$/gm)) {
        const { bytes } = fake.objects.get(`${PATH}/${name}`) ?? { bytes: Buffer.alloc(0) };
        assert.equal(createHash('sha256').update(bytes).digest('hex'), digest);
      }
      const files = await localFiles(one);
      for (const file of ['flash.bin', 'manifest.json']) {
        const object = fake.objects.get(`${PATH}/${file}.enc`)?.bytes ?? Buffer.alloc(0);
        const plain = decryptWhole([makeKey(Buffer.from(key, 'hex'))], boundName(MAC, ID0, file), object);
        assert.ok(plain.equals(files.get(`${PATH}/${file}`) ?? Buffer.alloc(0)), file);
      }
    });

    test('without its key, with one that others may read, or that is none, nothing is sent', async (t) => {
      const place = await withKey(t, 'not a key');
      const one = await station(t, endpoint, place);
      await one.keep(image(1000));
      await assert.rejects(one.pushAll(), (error) => hasCode(error, 'store-key'));
      const other = await station(t, endpoint, { encryption: { file: '/nowhere/key' } });
      await other.keep(image(1000));
      await assert.rejects(other.pushAll(), (error) => hasCode(error, 'store-key'));
      assert.deepEqual(fake.names, []);
    });
  });

  test('law: whatever goes wrong whenever, in the end the backup is there as a whole, or not at all', async (t) => {
    const faults = ['cut-before', 'cut-after', 'cut-inside', { status: 503, code: 'SlowDown' }] as const;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(14), fc.constantFrom(...faults)), { maxLength: 4 }),
        fc.boolean(),
        async (plan, isLarge) => {
          fake.objects.clear();
          fake.uploads.clear();
          const one = await station(t, endpoint);
          await one.keep(image(isLarge ? 5 * MIB + 1000 : 70_000));
          await one.fleet.open(never);
          let count = 0;
          const at = new Map(plan.map(([number, fault]) => [number, fault]));
          fake.fault = () => at.get(count++);
          const files = await localFiles(one);
          for (let process = 0; process < 6; process++) {
            // As if it had been killed: nothing is known but what is on the disk.
            const fleet = one.again();
            try {
              for (const each of (await findUnpushed(one.archive, fleet)).waiting) {
                await pushOne(one.archive, fleet, await fleet.open(never), each, never);
              }
              break;
            } catch (error) {
              assert.ok(hasCode(error, 'store-unreachable', 'store-busy', 'store-failed'), String(error));
            }
            if (complete().length > 0) {
              for (const [name, bytes] of files) assert.ok(fake.objects.get(name)?.bytes.equals(bytes));
            }
          }
          fake.fault = () => undefined;
          assert.deepEqual(
            fake.names.filter((name) => !name.startsWith('probes/')),
            [...files.keys()].sort(),
          );
          for (const [name, bytes] of files) assert.ok(fake.objects.get(name)?.bytes.equals(bytes), name);
        },
      ),
      { numRuns: 20 },
    );
  });

  test('an upload that broke off goes on: parts that are there are not sent again', async (t) => {
    const one = await station(t, endpoint);
    await one.keep(image(16 * MIB));
    await one.fleet.open(never);
    fake.fault = ({ query }) => (query.get('partNumber') === '3' ? { status: 403, code: 'AccessDenied' } : undefined);
    await assert.rejects(one.pushAll(), (error) => hasCode(error, 'store-denied'));
    fake.fault = () => undefined;
    fake.seen.length = 0;
    await one.pushAll();
    assert.deepEqual(
      fake.seen.flatMap(({ query, method }) => (method === 'PUT' ? (query.get('partNumber') ?? []) : [])),
      ['3', '4'],
    );
    assert.equal(fake.uploads.size, 0);
  });

  describe('the queue', () => {
    /** Runs one until `isOver` says so. */
    const run = async (
      one: Station,
      isOver: (told: readonly string[]) => boolean,
      added: () => void = () => undefined,
    ) => {
      const told: string[] = [];
      const over = makeDeferred();
      const tell = (text: string) => {
        told.push(text);
        if (isOver(told)) over.resolve();
      };
      const replicator = new Replicator({
        ...{ archive: one.archive, fleet: one.again(), clock: hurriedClock, random: Math.random },
        ...{ ...unheard, journal: one.journal },
        onPushed: ({ id }, _, waiting) => tell(`pushed ${id}, ${waiting} waiting`),
        onFailed: (backup, error) => {
          tell(`${error.code} ${backup?.id ?? 'store'}`);
          added();
        },
      });
      replicator.start();
      await over.promise;
      await replicator.stop();
      return told;
    };
    const day = (number: number) => `2026-11-${10 + number}T10:00:00.000Z`;

    test('everything of before is brought there, oldest first', async (t) => {
      const one = await station(t, endpoint);
      for (let number = 0; number < 3; number++) await one.keep(image(1000, number + 1), { createdAt: day(number) });
      const told = await run(one, (lines) => lines.length === 3);
      assert.deepEqual(told, [
        'pushed 2026-11-10T10-00-00Z, 2 waiting',
        'pushed 2026-11-11T10-00-00Z, 1 waiting',
        'pushed 2026-11-12T10-00-00Z, 0 waiting',
      ]);
    });

    for (const [name, wrong, right, code] of [
      ['the store is full', () => (fake.quirks = { capacityBytes: 10_000 }), () => (fake.quirks = {}), 'store-full'],
      [
        'it answers 503',
        () => (fake.fault = () => ({ status: 503, code: 'SlowDown' })),
        () => (fake.fault = () => undefined),
        'store-busy',
      ],
      [
        'it is cut off',
        () => (fake.fault = () => 'cut-before'),
        () => (fake.fault = () => undefined),
        'store-unreachable',
      ],
      [
        'credentials expire',
        () => fake.keys.set('writer', 'expired'),
        () => fake.keys.set('writer', 'all'),
        'store-credentials',
      ],
      [
        'the key may only read',
        () => fake.keys.set('writer', 'read'),
        () => fake.keys.set('writer', 'all'),
        'store-denied',
      ],
      ['the bucket is missing', () => (fake.bucket = 'other'), () => (fake.bucket = 'boards'), 'store-missing'],
      ['the region is another', () => (fake.region = 'eu-west-1'), () => (fake.region = 'us-east-1'), 'store-region'],
    ] as const) {
      test(`${name}: said once, nothing lost, and it goes on by itself`, async (t) => {
        const one = await station(t, endpoint);
        await one.keep(image(50_000), { createdAt: day(0) });
        await one.fleet.open(never);
        wrong();
        const told = await run(
          one,
          (lines) => lines.some((line) => line.startsWith('pushed')),
          () => void setTimeout(right, 30),
        );
        assert.deepEqual(told, [`${code} store`, 'pushed 2026-11-10T10-00-00Z, 0 waiting']);
      });
    }
  });
});

function makeDeferred(): { readonly promise: Promise<void>; resolve(): void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve: () => resolve() };
}
