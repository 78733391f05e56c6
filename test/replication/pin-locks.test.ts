/** Pins that the store holds: what is pinned at any station cannot be destroyed there, and all else is as without it. */

import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, after, before, describe, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { lockPins, whyNoLocks } from '../../src/replication/pin-locks.ts';
import { FOLDER, MAC } from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { type RealStore, startRealStore, whyNoRealStore } from '../store/real-store.ts';
import { clientOf } from '../store/support.ts';
import { GRACE_MS, later, prunerOf, run } from './removal/support.ts';
import { type Station, image, never, station } from './support.ts';

const skip = whyNoRealStore();
if (skip !== undefined) process.stderr.write(`test/replication/pin-locks.test.ts ${skip}\n`);

const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const FILES = ['SHA256SUMS', 'flash.bin', 'manifest.json'];

/** Backups of so many days, in the store and told of. */
async function filled(t: TestContext, endpoint: string, days: number, config: Parameters<typeof station>[2] = {}) {
  const here = await station(t, endpoint, config, { clock: systemClock });
  for (let day = 1; day <= days; day++) {
    await here.keep(image(3000 + day, day), { createdAt: `2020-10-0${day}T10:00:00.000Z` });
  }
  await here.pushAll();
  await here.write();
  return here;
}

async function lock(here: Station) {
  const parts = { archive: here.archive, bucket: await here.fleet.openToRead(), stateFolder: here.fleet.state.folder };
  const report = await lockPins(parts, { signal: never });
  return report.done.map((each) => `${each.isHeld ? 'held' : 'ended'} ${each.id}`).sort();
}

const pin = (here: Station, day: number, pinned = true) => here.archive.marks.pin(MAC, id(day), { pinned, note: null });

describe('holds in a store that honours conditions', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (at) => (endpoint = at));
  const held = () => fake.names.filter((name) => fake.objects.get(name)?.isHeld === true);
  const namesOf = (...days: number[]) =>
    days.flatMap((day) => FILES.map((file) => `${FOLDER}/${id(day)}/${file}`)).sort();

  test('pinned, told once, unpinned, pinned again; and what was never pinned is left to whoever holds it', async (t) => {
    fake.quirks.objectLock = true;
    const here = await filled(t, endpoint, 3);
    const own = `${FOLDER}/${id(3)}/flash.bin`;
    fake.objects.set(own, { ...(fake.objects.get(own) ?? assert.fail()), isHeld: true });
    assert.deepEqual(await lock(here), []);
    await pin(here, 2);
    assert.deepEqual(await lock(here), [`held ${id(2)}`]);
    assert.deepEqual(held(), [...namesOf(2), own].sort());
    fake.seen.length = 0;
    assert.deepEqual(await lock(here), []);
    assert.deepEqual(fake.seen, [], 'what was done is not asked for again');
    await pin(here, 2, false);
    assert.deepEqual(await lock(here), [`ended ${id(2)}`]);
    assert.deepEqual(held(), [own], 'nobody has taken a pin back of that');
    await pin(here, 2);
    assert.deepEqual(await lock(here), [`held ${id(2)}`]);
  });

  test('its notes are lost, or it ends at any request: in the end all that is pinned is held', async (t) => {
    fake.quirks.objectLock = true;
    const here = await filled(t, endpoint, 3);
    for (const day of [1, 2]) await pin(here, day);
    for (let request = 1; ; request++) {
      let count = 0;
      fake.fault = () => (++count === request ? { status: 403, code: 'AccessDenied' } : undefined);
      await lock(here).catch((error: unknown) => assert.ok(hasCode(error, 'store-denied'), String(error)));
      if (count < request) break;
    }
    fake.fault = () => undefined;
    assert.deepEqual(held(), namesOf(1, 2));
    await rm(join(here.fleet.state.folder, 'holds.jsonl'));
    assert.deepEqual(await lock(here), [`held ${id(1)}`, `held ${id(2)}`]);
    await writeFile(join(here.fleet.state.folder, 'holds.jsonl'), 'no json\n{"folder":3}\n');
    assert.equal((await lock(here)).length, 2);
    assert.equal((await readFile(join(here.fleet.state.folder, 'holds.jsonl'), 'utf8')).includes(id(1)), true);
  });

  test('pins that nobody understands end no hold', async (t) => {
    fake.quirks.objectLock = true;
    const here = await filled(t, endpoint, 2);
    await pin(here, 2);
    await lock(here);
    await pin(here, 2, false);
    await writeFile(
      join(here.archive.root, FOLDER, 'pins.jsonl'),
      `${await readFile(join(here.archive.root, FOLDER, 'pins.jsonl'), 'utf8')}{"at":"x"}\n`,
    );
    assert.deepEqual(await lock(here), []);
    assert.deepEqual(held(), namesOf(2));
  });

  test('without the right, and without object lock: a sentence that says so, and everything else works', async (t) => {
    fake.quirks.objectLock = true;
    fake.keys.set('writer', 'add');
    const here = await filled(t, endpoint, 2);
    await pin(here, 2);
    await assert.rejects(
      lock(here),
      (error) => hasCode(error, 'store-denied') && /may put no legal hold/.test(error.message),
    );
    const bucket = await here.fleet.openToRead();
    const why = () => whyNoLocks(bucket, 'probes/x', never);
    assert.match((await why()) ?? '', /s3:PutObjectLegalHold/);
    fake.keys.set('writer', 'all');
    assert.equal(await why(), undefined);
    fake.quirks.objectLock = false;
    assert.match((await why()) ?? '', /the bucket has no object lock/);
    await assert.rejects(
      lock(here),
      (error) => hasCode(error, 'store-failed') && /takes no legal holds/.test(error.message),
    );
    assert.ok(!fake.names.includes('probes/x'));
    fake.quirks.objectLock = true;
    assert.deepEqual(await lock(here), [`held ${id(2)}`]);
  });

  test('retention spares what the store holds, though nobody has told of a pin; then it goes as any other', async (t) => {
    fake.quirks.objectLock = true;
    const here = await filled(t, endpoint, 4);
    const { pruner } = await prunerOf(here);
    assert.deepEqual((await run(pruner)).done, [`announce ${id(2)}`, `announce ${id(3)}`]);
    const other = await station(t, endpoint, {}, { clock: systemClock });
    await other.look(true);
    await pin(other, 3);
    assert.deepEqual(await lock(other), [`held ${id(3)}`]);
    later(fake, GRACE_MS + 1000);
    assert.deepEqual((await run(pruner)).done, [
      `remove ${id(2)}`,
      `spared ${id(3)}: the object store holds it (legal hold)`,
    ]);
    assert.deepEqual(held(), namesOf(3));
    assert.ok(!fake.names.some((name) => name.startsWith('removals/')), 'the next announcement waits its whole time');
    await pin(other, 3, false);
    assert.deepEqual(await lock(other), [`ended ${id(3)}`]);
    assert.deepEqual((await run(pruner)).done, [`announce ${id(3)}`]);
    later(fake, GRACE_MS + 1000);
    assert.deepEqual((await run(pruner)).done, [`remove ${id(3)}`]);
  });

  for (const ignores of [true, false]) {
    test(`versions turned on after the test of the store, conditions ${ignores ? 'ignored' : 'honoured'} from then on: one is overwritten by nobody`, async (t) => {
      const one = await filled(t, endpoint, 1);
      const two = await station(t, endpoint, {}, { clock: systemClock });
      assert.equal((await two.fleet.open(never)).hasConditions, true);
      const before = namesOf(1).map((name) => fake.objects.get(name)?.bytes);
      fake.quirks = { objectLock: true, ignoresConditions: ignores };
      // The same second, the same board.
      await two.keep(image(7000, 77), { createdAt: '2020-10-01T10:00:00.000Z' });
      await two.keep(image(7001, 78), { createdAt: '2020-10-02T10:00:00.000Z' });
      await assert.rejects(
        two.pushAll(),
        (error) => hasCode(error, 'store-busy') && /keeps versions now/.test(error.message),
      );
      await two.pushAll();
      assert.deepEqual(
        namesOf(1).map((name) => fake.objects.get(name)?.bytes),
        before,
      );
      const { hasConditions, layout } = await two.fleet.open(never);
      assert.equal(hasConditions, !ignores);
      const own = `stations/${layout.station}/`;
      assert.deepEqual(
        [1, 2].map((day) => fake.objects.has(`${own}${FOLDER}/${id(day)}/SHA256SUMS`)),
        [true, ignores],
      );
      assert.equal(fake.objects.has(`${FOLDER}/${id(2)}/SHA256SUMS`), !ignores);
      await one.keep(image(7002, 79), { createdAt: '2020-10-03T10:00:00.000Z' });
      await assert.rejects(one.pushAll(), (error) => hasCode(error, 'store-busy'));
      await one.pushAll();
      assert.equal((await one.fleet.open(never)).hasConditions, !ignores);
    });
  }

  test('a backup that came again is another one: it is held anew', async (t) => {
    fake.quirks.objectLock = true;
    const here = await filled(t, endpoint, 2);
    await pin(here, 1);
    await lock(here);
    const [noted] = await here.archive.elsewhere.of(MAC);
    assert.ok(noted !== undefined);
    for (const name of namesOf(1)) fake.objects.delete(name);
    const gone = new Date(Date.parse(noted.at) + 1000).toISOString();
    await here.archive.elsewhere.forget({ ...noted, at: gone });
    assert.deepEqual(await lock(here), []);
    const backup = await here.archive.resolveBackup(MAC, id(1));
    const { pushBackup } = await import('../../src/replication/push-backup.ts');
    await pushBackup(await here.fleet.open(never), backup, never);
    await here.archive.elsewhere.note({ ...noted, at: new Date(Date.parse(noted.at) + 2000).toISOString() });
    assert.deepEqual(await lock(here), [`held ${id(1)}`]);
    assert.deepEqual(held(), namesOf(1));
  });
});

describe('holds of a real radosgw', { skip: skip ?? false }, () => {
  let real: RealStore;
  const clients: ReturnType<typeof clientOf>[] = [];
  const http = (user = 'writer', bucket = 'locked') => {
    const made = clientOf(real.endpoint, { user, bucket });
    clients.push(made);
    return made;
  };
  before(async () => {
    real = await startRealStore();
    const made = await http().http.send({
      ...{ method: 'PUT', key: '', signal: undefined },
      headers: { 'x-amz-bucket-object-lock-enabled': 'true' },
    });
    assert.equal(made.status, 200);
    assert.equal((await http('writer', 'boards').http.send({ method: 'PUT', key: '', signal: undefined })).status, 200);
  });
  after(async () => {
    for (const made of clients) made.close();
    await real.stop();
  });

  /** What a person with all rights gets who destroys each object of a backup for good: the statuses of the server. */
  async function destroy(folder: string): Promise<number[]> {
    const { http: client, store } = http();
    const { objects } = await store.list({ prefix: folder });
    assert.equal(objects.length, 3, folder);
    const statuses: number[] = [];
    for (const { key } of objects) {
      const head = await client.send({ method: 'HEAD', key, signal: undefined });
      const query = { versionId: head.headers['x-amz-version-id'] ?? '' };
      assert.notEqual(query.versionId, '');
      statuses.push((await client.send({ method: 'DELETE', key, query, signal: undefined })).status);
    }
    return statuses;
  }

  const folderOf = async (here: Station, prefix: string, day: number) =>
    `${prefix}/${(await here.archive.elsewhere.of(MAC)).find((each) => each.id === id(day))?.folder}`;

  test('the bucket says whether it can, and an object that is not there is none', async () => {
    const { store } = http();
    assert.equal(await store.canHold(), true);
    assert.equal(await http('writer', 'boards').store.canHold(), false);
    assert.equal(await store.hold('missing', true), false);
    await http('writer', 'boards').store.put('x', Buffer.from('x'));
    await assert.rejects(http('writer', 'boards').store.hold('x', true), (error) => hasCode(error, 'store-failed'));
    assert.equal(await whyNoLocks({ store }, 'probes/held', never), undefined);
    assert.match((await whyNoLocks(http('writer', 'boards'), 'probes/held', never)) ?? '', /no object lock/);
  });

  test('two stations: what one has pinned, once it is told, is held by the other; nobody destroys it until it is unpinned', async (t) => {
    const config = { bucket: 'locked', prefix: 'two' };
    const one = await filled(t, real.endpoint, 3, config);
    const two = await station(t, real.endpoint, config, { clock: systemClock });
    await two.look(true);
    assert.equal((await one.fleet.open(never)).hasConditions, false, 'this server ignores conditions in such a bucket');
    // Without the network.
    await pin(one, 2);
    assert.deepEqual(await lock(two), []);
    await one.write();
    await two.look(true);
    assert.deepEqual(await lock(two), [`held ${id(2)}`]);
    assert.deepEqual(await destroy(await folderOf(two, 'two', 2)), [403, 403, 403]);
    assert.deepEqual(await destroy(await folderOf(two, 'two', 1)), [204, 204, 204]);
    // As a station does that removes: it is gone, and comes back.
    const { http: client, store } = http();
    const folder = await folderOf(two, 'two', 2);
    const markers = new Map<string, string>();
    for (const { key } of (await store.list({ prefix: folder })).objects) {
      const removed = await client.send({ method: 'DELETE', key, signal: undefined });
      markers.set(key, removed.headers['x-amz-version-id'] ?? '');
    }
    assert.deepEqual((await store.list({ prefix: folder })).objects, []);
    for (const [key, versionId] of markers)
      await client.send({ method: 'DELETE', key, query: { versionId }, signal: undefined });
    const back = await store.get(`${folder}flash.bin`);
    assert.deepEqual(back?.bytes, image(3002, 2));
    assert.equal((await store.head(`${folder}flash.bin`))?.isHeld, true);
    await pin(one, 2, false);
    await one.write();
    await two.look(true);
    assert.deepEqual(await lock(two), [`ended ${id(2)}`]);
    assert.deepEqual(await destroy(folder), [204, 204, 204]);
  });

  test('a station whose credentials may all but that says so; one that may does it', async (t) => {
    const allowed = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: ['arn:aws:iam:::user/reader'] },
          Action: ['s3:ListBucket', 's3:GetObject', 's3:PutObject', 's3:DeleteObject'],
          Resource: ['arn:aws:s3:::locked', 'arn:aws:s3:::locked/*'],
        },
        // Objects belong to whoever has put them.
        {
          Effect: 'Allow',
          Principal: { AWS: ['arn:aws:iam:::user/writer'] },
          Action: ['s3:*'],
          Resource: ['arn:aws:s3:::locked', 'arn:aws:s3:::locked/*'],
        },
        // Else the owner of an object may do what its own list of rights says.
        {
          Effect: 'Deny',
          Principal: { AWS: ['arn:aws:iam:::user/reader'] },
          Action: ['s3:PutObjectLegalHold'],
          Resource: ['arn:aws:s3:::locked/*'],
        },
      ],
    });
    const set = { method: 'PUT', key: '', query: { policy: '' }, body: Buffer.from(allowed), signal: undefined };
    assert.ok((await http().http.send(set)).status < 300);
    const config = { bucket: 'locked', prefix: 'rights' };
    const weak = await station(t, real.endpoint, config, {
      clock: systemClock,
      env: { AWS_ACCESS_KEY_ID: 'reader', AWS_SECRET_ACCESS_KEY: 'reader-secret' },
    });
    await weak.keep(image(3001, 1), { createdAt: '2020-10-01T10:00:00.000Z' });
    await weak.pushAll();
    await weak.write();
    await pin(weak, 1);
    await weak.write();
    await assert.rejects(
      lock(weak),
      (error) => hasCode(error, 'store-denied') && /may put no legal hold/.test(error.message),
    );
    assert.match((await weak.fleet.examineLocks(never)) ?? '', /s3:PutObjectLegalHold/);
    const strong = await station(t, real.endpoint, config, { clock: systemClock });
    await strong.look(true);
    // The object belongs to the other one, the bucket to this one.
    assert.deepEqual(await lock(strong), [`held ${id(1)}`]);
    assert.deepEqual(await destroy(await folderOf(strong, 'rights', 1)), [403, 403, 403]);
  });

  test('versions turned on in a bucket after stations have tested it: noticed at the first write, and nothing is overwritten', async (t) => {
    const bucket = 'late';
    const { http: client, store } = http('writer', bucket);
    assert.equal((await client.send({ method: 'PUT', key: '', signal: undefined })).status, 200);
    const config = { bucket, prefix: 'late' };
    const one = await filled(t, real.endpoint, 1, config);
    const two = await station(t, real.endpoint, config, { clock: systemClock });
    assert.equal((await two.fleet.open(never)).hasConditions, true);
    const body = Buffer.from('<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>');
    const on = { method: 'PUT', key: '', query: { versioning: '' }, body, signal: undefined };
    assert.equal((await client.send(on)).status, 200);
    const key = `late/${FOLDER}/${id(1)}/`;
    const before = await Promise.all(FILES.map(async (file) => (await store.get(key + file))?.bytes));
    await two.keep(image(7000, 77), { createdAt: '2020-10-01T10:00:00.000Z' });
    await assert.rejects(two.pushAll(), (error) => hasCode(error, 'store-busy'));
    await two.pushAll();
    assert.equal((await two.fleet.open(never)).hasConditions, false);
    assert.deepEqual(await Promise.all(FILES.map(async (file) => (await store.get(key + file))?.bytes)), before);
    await one.keep(image(7001, 78), { createdAt: '2020-10-02T10:00:00.000Z' });
    await assert.rejects(one.pushAll(), (error) => hasCode(error, 'store-busy'));
    await one.pushAll();
    const { station: name } = (await one.fleet.open(never)).layout;
    assert.notEqual(await store.head(`late/stations/${name}/${FOLDER}/${id(2)}/SHA256SUMS`), undefined);
  });

  test('a pruner there makes room for nobody by mistake: it removes by name, what it removes comes back, and held ones stay', async (t) => {
    const here = await filled(t, real.endpoint, 4, { bucket: 'locked', prefix: 'prune' });
    await pin(here, 3);
    await lock(here);
    await pin(here, 3, false); // the store still holds it
    const { pruner } = await prunerOf(here, { graceMs: 0 });
    await run(pruner);
    const { done } = await run(pruner);
    assert.deepEqual(done, [`remove ${id(2)}`, `spared ${id(3)}: the object store holds it (legal hold)`]);
    const { store } = http();
    assert.equal(await store.head(`${await folderOf(here, 'prune', 2)}SHA256SUMS`), undefined);
    assert.notEqual(await store.head(`${await folderOf(here, 'prune', 3)}SHA256SUMS`), undefined);
  });
});
