/** The full scan: the bucket's folders are the truth, whatever the journals say. */

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FOLDER, ID0, MAC, OTHER_MAC, temporaryFolder } from '../../archive/support.ts';
import { FakeS3, serveSuite } from '../../store/fake-s3.ts';
import { removalKey } from '../../../src/replication/removal/format.ts';
import { findUnpushed } from '../../../src/replication/unpushed.ts';
import { type Station, hurriedClock, image, never, station } from '../support.ts';

describe('a scan of all that lies there', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));
  const scan = async (one: Station) => one.journal.scan(await one.fleet.open(never), { signal: never });
  const other = async (t: Parameters<typeof station>[0], ...rest: [object?]) => {
    const made = await station(t, endpoint, ...rest);
    await made.archive.checkWritable();
    return made;
  };

  test('finds what no journal tells of, of all homes, once', async (t) => {
    const stations = [await station(t, endpoint), await station(t, endpoint)];
    for (const [who, each] of stations.entries()) {
      await each.keep(image(1000, who + 1));
      await each.keep(image(1000, who + 3), { mac: OTHER_MAC });
      await each.pushAll();
    }
    const one = await other(t);
    const found = await scan(one);
    assert.deepEqual([found.backups, found.found.length, found.lost, found.unreadable], [4, 4, [], []]);
    const names = (await one.archive.elsewhere.of(MAC)).map(({ station: name }) => name);
    const second = (await stations[1]?.fleet.state.station()) ?? '';
    assert.ok(names.includes(second), 'the one whose folder it is');
    assert.equal(names.length, 2);
    assert.deepEqual((await scan(one)).found, []);
    // Of the home of all only the journal says whose it is, whether it is read before or afterwards.
    for (const each of stations) await each.write();
    await one.look(true);
    const told = (await one.archive.elsewhere.of(MAC)).map(({ station: name }) => name).sort();
    const expected = await Promise.all(stations.map((each) => each.fleet.state.station()));
    assert.deepEqual(told, expected.sort());
    assert.deepEqual((await scan(one)).found, []);
  });

  describe('what should be there and is missing', () => {
    const wipe = (is: (name: string) => boolean = () => true) => {
      for (const name of fake.names) if (!name.startsWith('probes/') && is(name)) fake.objects.delete(name);
    };
    const backups = () => fake.names.filter((name) => name.endsWith('/SHA256SUMS'));
    /** As the pruner of a station does. */
    const removeBy = async (one: Station, id: string, folder: string) => {
      wipe((name) => name.startsWith(folder));
      await one.journal.addRemoved(await one.fleet.open(never), { mac: MAC, id, folder });
      await one.write();
    };

    test('is put there again by the station that had put it there, once it is still here', async (t) => {
      const one = await station(t, endpoint);
      await one.keep(image(1000));
      const released = await one.keep(image(1000, 2), { createdAt: '2026-11-24T10:00:00.000Z' });
      await one.pushAll();
      await one.write();
      wipe();
      await rm(released.path, { recursive: true });
      assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] }, 'nobody knows yet');
      const { lost, backups: complete } = await scan(one);
      assert.equal(complete, 0);
      assert.deepEqual(
        lost.map(({ id, isOwn }) => [id, isOwn]),
        [
          [ID0, true],
          [released.id, true],
        ],
      );
      assert.deepEqual(await one.archive.elsewhere.of(MAC), []);
      assert.deepEqual(await findUnpushed(one.archive, one.again()), { waiting: [{ mac: MAC, id: ID0 }], removed: [] });
      await one.pushAll();
      assert.equal(backups().length, 1);
      await one.write();
      assert.equal((await one.archive.elsewhere.of(MAC)).length, 1);
      assert.deepEqual((await scan(one)).lost, [], 'what is not here any more is told of once');
    });

    test('also where this clock is an hour ahead of the store, and where only SHA256SUMS is missing', async (t) => {
      const clock = { ...hurriedClock, date: () => new Date(Date.now() + 3_600_000) };
      const one = await station(t, endpoint, {}, { clock });
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      for (let round = 0; round < 2; round++) {
        wipe((name) => name.endsWith('SHA256SUMS'));
        assert.equal((await scan(one)).lost.length, 1);
        await one.pushAll();
        await one.write();
        assert.deepEqual(((one_) => [one_.lost, one_.found])(await scan(one)), [[], []]);
        assert.equal((await one.archive.elsewhere.of(MAC)).length, 1, 'noted as there, whatever the clocks say');
      }
    });

    test('is told of by stations that have only heard of it, and put there by none of them', async (t) => {
      const [one, two] = [await station(t, endpoint), await other(t)];
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      await two.look(true);
      wipe();
      assert.deepEqual(
        (await scan(two)).lost.map(({ isOwn }) => isOwn),
        [false],
      );
      assert.deepEqual(await findUnpushed(two.archive, two.fleet), { waiting: [], removed: [] });
      await scan(one);
      await one.pushAll();
      await one.write();
      await two.look(true);
      assert.equal((await two.archive.elsewhere.of(MAC)).length, 1);
    });

    test('is not that which a station has removed: it stays out, but for what is pinned', async (t) => {
      const [one, two] = [await station(t, endpoint), await other(t)];
      await one.keep(image(1000));
      const later = await one.keep(image(1000, 2), { createdAt: '2026-11-24T10:00:00.000Z' });
      await one.pushAll();
      await one.write();
      await two.look(true);
      for (const { id, folder } of await two.archive.elsewhere.of(MAC)) await removeBy(two, id, folder);
      assert.deepEqual((await scan(one)).lost, [], 'the journals were heard before it was judged');
      assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] });
      // All that a lost state leaves is what the archive has noted.
      await rm(join(one.folder, 'state'), { recursive: true });
      const fleet = one.again();
      const names = [ID0, later.id].map((id) => ({ mac: MAC, id }));
      assert.deepEqual(await findUnpushed(one.archive, fleet), { waiting: [], removed: names });
      await one.archive.marks.pin(MAC, ID0, { pinned: true, note: null });
      const pinned = await findUnpushed(one.archive, fleet);
      assert.deepEqual([pinned.waiting.map(({ id }) => id), pinned.removed.map(({ id }) => id)], [[ID0], [later.id]]);
    });

    test('was removed, and is pinned afterwards: the station that had put it there does so again, once', async (t) => {
      for (const isShared of [true, false]) {
        fake.objects.clear();
        const [one, two] = [await station(t, endpoint), await other(t)];
        if (!isShared) {
          // A backup of another station has the name that all share.
          await two.keep(image(1000, 7));
          await two.pushAll();
          await two.write();
        }
        await one.keep(image(1000));
        await one.pushAll();
        await one.write();
        await two.look(true);
        await one.look(true);
        const own = backups().filter((name) => name.startsWith('stations/') !== isShared);
        assert.equal(own.length, 1);
        const folder = String(own[0]).slice(0, -'SHA256SUMS'.length);
        await removeBy(two, ID0, folder);
        await one.look(true);
        assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] });

        await two.archive.marks.pin(MAC, ID0, { pinned: true, note: null });
        await two.write();
        await one.look(true);
        assert.deepEqual((await findUnpushed(one.archive, one.fleet)).waiting, [{ mac: MAC, id: ID0 }], folder);
        await one.pushAll();
        assert.ok(fake.names.includes(`${folder}SHA256SUMS`));
        await one.write();
        assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] });
        await one.archive.marks.pin(MAC, ID0, { pinned: false, note: null });
        assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] });
      }
    });

    test('was removed and is pinned, and its place was taken meanwhile: it goes beside it, once', async (t) => {
      const [one, two] = [await station(t, endpoint), await other(t)];
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      await two.look(true);
      const folder = `${FOLDER}/${ID0}/`;
      await removeBy(two, ID0, folder);
      await two.keep(image(1000, 7));
      await two.pushAll();
      await two.write();
      await one.look(true);
      assert.deepEqual(backups(), [`${folder}SHA256SUMS`]);
      assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] });
      for (const each of [one, two]) await each.archive.marks.pin(MAC, ID0, { pinned: true, note: null });
      assert.deepEqual((await findUnpushed(two.archive, two.fleet)).waiting, [], 'its own is there');
      assert.deepEqual((await findUnpushed(one.archive, one.fleet)).waiting, [{ mac: MAC, id: ID0 }]);
      await one.pushAll();
      await one.write();
      const name = await one.fleet.state.station();
      assert.deepEqual(backups(), [`${folder}SHA256SUMS`, `stations/${name}/${folder}SHA256SUMS`]);
      assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [], removed: [] });
    });

    test('is not that which is being removed now', async (t) => {
      const one = await station(t, endpoint);
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      wipe((name) => name.endsWith('SHA256SUMS'));
      const [{ folder } = { folder: '' }] = await one.archive.elsewhere.of(MAC);
      const bucket = await one.fleet.open(never);
      await bucket.store.put(removalKey('', folder), Buffer.from('{}'));
      assert.deepEqual((await scan(one)).lost, []);
      assert.equal((await one.archive.elsewhere.of(MAC)).length, 1);
    });

    test('another backup of that name was removed: this one is not meant', async (t) => {
      const one = await station(t, endpoint);
      const backup = await one.keep(image(1000));
      const [made] = [await other(t)];
      await made.keep(image(1000, 7));
      await made.pushAll();
      await made.write();
      await one.look(true);
      const [stored] = await one.archive.elsewhere.of(MAC);
      assert.equal(stored?.id, backup.id);
      await one.archive.elsewhere.forget({ ...stored, at: new Date().toISOString() });
      assert.deepEqual(await findUnpushed(one.archive, one.fleet), { waiting: [{ mac: MAC, id: ID0 }], removed: [] });
    });
  });

  describe('the journal of this station', () => {
    const segments = (name: string) => fake.names.filter((each) => each.startsWith(`journal/${name}/`));
    const labelOf = async (one: Station) => (await one.archive.marks.about(MAC)).label;

    async function saidThrice(t: Parameters<typeof station>[0], config: object = {}): Promise<[Station, string[]]> {
      const one = await station(t, endpoint, config);
      await one.keep(image(1000));
      for (const label of ['one', 'two', 'kitchen']) {
        await one.archive.marks.describe(MAC, { label });
        await one.pushAll();
        await one.write();
      }
      const names = segments(await one.fleet.state.station());
      assert.equal(names.length, 3);
      return [one, names];
    }

    const damages: Record<string, (names: readonly string[]) => void> = {
      'one is missing': ([, second = '']) => void fake.objects.delete(second),
      'all are missing': (names) => names.forEach((name) => fake.objects.delete(name)),
      'one is damaged': ([first = '']) => fake.replace(first, Buffer.from('nonsense')),
      'one is empty': ([, , third = '']) => fake.replace(third, Buffer.alloc(0)),
    };
    for (const [what, damage] of Object.entries(damages)) {
      test(`${what}: all is said again, and nothing stays unreadable`, async (t) => {
        const [one, names] = await saidThrice(t);
        damage(names);
        const before = await other(t);
        assert.ok((await before.look(true)).troubles.length > 0 || what === 'all are missing');
        assert.ok((await scan(one)).mended > 0);
        for (const each of [before, await other(t)]) {
          assert.deepEqual((await each.look(true)).troubles, []);
          assert.equal(await labelOf(each), 'kitchen');
          assert.equal((await each.archive.elsewhere.of(MAC)).length, 1);
        }
        assert.equal((await scan(one)).mended, 0);
      });
    }

    test('what is sound is not said again', async (t) => {
      const [one, names] = await saidThrice(t);
      assert.equal((await scan(one)).mended, 0);
      assert.deepEqual(segments(await one.fleet.state.station()), names);
    });

    test('a number that nobody can have reached is not counted up to', async (t) => {
      const [one] = await saidThrice(t);
      fake.replace(`journal/${await one.fleet.state.station()}/9999999999.jsonl`, Buffer.from('x'));
      assert.equal((await scan(one)).mended, 0);
    });

    test('ended at each request in turn, the next scan finishes it', async (t) => {
      for (let last = 0, isDone = false; !isDone; last++) {
        fake.objects.clear();
        const [one, names] = await saidThrice(t);
        fake.objects.delete(names[0] ?? '');
        fake.replace(names[1] ?? '', Buffer.from('nonsense'));
        const bucket = await one.fleet.open(never);
        let count = 0;
        const store = new Proxy(bucket.store, {
          get: (target, key) => {
            const member = Reflect.get(target, key) as unknown;
            if (typeof member !== 'function') return member;
            return (...args: unknown[]) => {
              if (key !== 'now' && ++count > last) throw new Error('ended here');
              return (member as (...all: unknown[]) => unknown).apply(target, args);
            };
          },
        });
        isDone = await one.journal.scan({ ...bucket, store }, { signal: never }).then(
          () => true,
          (error: unknown) => !/ended here/.test(String(error)),
        );
        await scan(one);
        const late = await other(t);
        assert.deepEqual((await late.look(true)).troubles, [], `ended after ${last} requests`);
        assert.equal(await labelOf(late), 'kitchen');
        assert.equal((await late.archive.elsewhere.of(MAC)).length, 1);
      }
    });
  });

  test('what is gone is forgotten, but not because a list lags', async (t) => {
    const first = await station(t, endpoint);
    await first.keep(image(1000));
    await first.pushAll();
    await first.write();
    const one = await other(t);
    await one.look(true);
    const sums = `${FOLDER}/${ID0}/SHA256SUMS`;
    const kept = fake.objects.get(sums);
    // Put last, so that lists leave it out.
    fake.quirks = { staleLists: true };
    const bucket = await one.fleet.open(never);
    await bucket.store.put(sums, kept?.bytes ?? Buffer.alloc(0));
    assert.deepEqual((await scan(one)).lost, []);
    fake.quirks = {};
    fake.objects.delete(sums);
    const gone = await scan(one);
    assert.deepEqual([gone.lost.map(({ id }) => id), gone.incomplete, gone.backups], [[ID0], 1, 0]);
    assert.deepEqual(await one.archive.elsewhere.of(MAC), []);
    for (const name of fake.names) fake.objects.delete(name);
    await first.archive.checkWritable();
    assert.equal((await scan(first)).lost.length, 1, 'also where the board has nothing there any more');
  });

  test('what is damaged, of another place, encrypted with another key or foreign: told, not believed, left alone', async (t) => {
    const first = await station(t, endpoint);
    await first.keep(image(1000));
    await first.pushAll();
    const manifest = fake.objects.get(`${FOLDER}/${ID0}/manifest.json`) ?? assert.fail();
    const sums = fake.objects.get(`${FOLDER}/${ID0}/SHA256SUMS`) ?? assert.fail();
    const later = `${FOLDER}/2026-11-23T10-00-09Z/`;
    fake.objects.set(`${later}manifest.json`, manifest);
    fake.objects.set(`${later}SHA256SUMS`, sums);
    fake.objects.set(`${FOLDER}/2026-11-23T10-00-08Z/SHA256SUMS`, sums);
    fake.objects.set('24-0a-c4-00-01-02/2026-11-23T10-00-08Z/manifest.json', manifest);
    fake.objects.set('notes.txt', manifest);
    fake.objects.set(`${FOLDER}/labels.jsonl`, manifest);
    const before = new Map(fake.objects);
    const one = await other(t);
    const found = await scan(one);
    assert.deepEqual([found.found.length, found.unreadable.length, found.incomplete], [1, 2, 1]);
    assert.ok(found.unreadable.every(({ error }) => error.code === 'store-damaged'));
    assert.deepEqual([found.foreign, found.foreignNames], [2, [`${FOLDER}/labels.jsonl`, 'notes.txt']]);
    assert.deepEqual(
      [...before].every(([name, object]) => fake.objects.get(name) === object),
      true,
    );

    fake.objects.clear();
    const file = join(await temporaryFolder(t), 'key');
    await writeFile(file, `${'ab'.repeat(32)}\n`, { mode: 0o600 });
    const secret = await station(t, endpoint, { encryption: { file } });
    await secret.keep(image(1000));
    await secret.pushAll();
    const blind = await scan(await other(t));
    assert.deepEqual(
      blind.unreadable.map(({ error }) => error.code),
      ['store-key'],
    );
    const seeing = await scan(await other(t, { encryption: { file } }));
    assert.equal(seeing.found.length, 1);
  });

  test('a journal that was lost as a whole costs nothing', async (t) => {
    const first = await station(t, endpoint);
    await first.keep(image(1000));
    await first.pushAll();
    await first.write();
    for (const name of fake.names) if (name.startsWith('journal/')) fake.objects.delete(name);
    const one = await other(t);
    await one.look(true);
    assert.equal((await scan(one)).found.length, 1);
    await rm(join(first.fleet.state.folder, 'journal.json'));
    await first.write();
    await one.look(true);
    assert.equal((await one.archive.elsewhere.of(MAC)).length, 1);
  });
});
