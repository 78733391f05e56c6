/** The full scan: the bucket's folders are the truth, whatever the journals say. */

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FOLDER, ID0, MAC, OTHER_MAC, temporaryFolder } from '../../archive/support.ts';
import { FakeS3, serveSuite } from '../../store/fake-s3.ts';
import { type Station, image, never, station } from '../support.ts';

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
