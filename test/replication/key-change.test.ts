/** What lies in a bucket from before its key was changed, or encryption turned on or off, and is pushed once more. */

import assert from 'node:assert/strict';
import { cp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import type { StoreConfig } from '../../src/config/store.ts';
import { FOLDER, ID0, temporaryFolder } from '../archive/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { image, station } from './support.ts';

const ONE = '1'.repeat(64);
const TWO = '2'.repeat(64);
const SHARED = `${FOLDER}/${ID0}/`;
const IMAGE = image(100_000);

async function keyFile(t: TestContext, ...keys: string[]): Promise<Pick<StoreConfig, 'encryption'>> {
  if (keys.length === 0) return { encryption: 'none' };
  const file = join(await temporaryFolder(t), 'keys');
  await writeFile(file, keys.map((each) => `${each}\n`).join(''), { mode: 0o600 });
  return { encryption: { file } };
}

describe('a key that was changed', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const backups = () =>
    new Map(fake.names.filter((name) => name.includes(SHARED)).map((name) => [name, fake.objects.get(name)?.bytes]));
  const own = () => [...backups().keys()].filter((name) => name.startsWith('stations/'));
  /** One station has pushed with the keys of before; another one has the same backup, and those of now. */
  const twoStations = async (t: TestContext, before: string[], now: string[], bytes?: Buffer) => {
    const one = await station(t, endpoint, await keyFile(t, ...before));
    await one.keep(IMAGE);
    await one.pushAll();
    const two = await station(t, endpoint, await keyFile(t, ...now));
    if (bytes === undefined) await cp(one.archive.root, two.archive.root, { recursive: true });
    else await two.keep(bytes);
    return { one, two, there: backups() };
  };
  const unchanged = (there: ReturnType<typeof backups>) => {
    for (const [name, bytes] of there) assert.ok(bytes !== undefined && backups().get(name)?.equals(bytes), name);
    const inShared = (names: Iterable<string>) => [...names].filter((name) => name.startsWith(SHARED));
    assert.deepEqual(inShared(backups().keys()), inShared(there.keys()));
  };

  for (const [what, before, now] of [
    ['a new key in front of the old one', [ONE], [TWO, ONE]],
    ['encryption turned on', [], [ONE]],
  ] as const) {
    test(`${what}: what lies there already is the same backup, and nothing is put`, async (t) => {
      const { two, there } = await twoStations(t, [...before], [...now]);
      await two.pushAll();
      assert.deepEqual(backups(), there);
      // And once more without what the station knew.
      await rm(join(two.folder, 'state'), { recursive: true });
      await two.pushAll();
      assert.deepEqual(backups(), there);
    });

    test(`${what}: another backup of that name goes into the station's own folder, and so encrypted`, async (t) => {
      const { two, there } = await twoStations(t, [...before], [...now], image(100_000, 9));
      await two.pushAll();
      unchanged(there);
      assert.deepEqual(
        own().map((name) => name.slice(name.lastIndexOf('/') + 1)),
        ['SHA256SUMS', 'flash.bin.enc', 'manifest.json.enc'],
      );
    });

    test(`${what}: an image that is missing there is not put as before`, async (t) => {
      const { two } = await twoStations(t, [...before], [...now]);
      const name = [...backups().keys()].find((each) => each.startsWith(`${SHARED}flash.bin`)) ?? '';
      fake.objects.delete(name);
      const there = backups();
      await two.pushAll();
      unchanged(there);
      assert.equal(own().length, 3);
    });
  }

  test('in a store without conditions: an upload that was ended in the middle goes on with the new key, and nothing of others is touched', async (t) => {
    fake.quirks.ignoresConditions = true;
    const one = await station(t, endpoint, await keyFile(t, ONE));
    await one.keep(IMAGE);
    fake.fault = ({ method, key }) =>
      method === 'PUT' && key.endsWith('flash.bin.enc') ? { status: 403, code: 'AccessDenied' } : undefined;
    await assert.rejects(one.pushAll(), { code: 'store-denied' });
    fake.fault = () => undefined;
    const [begun = '', ...more] = own();
    assert.deepEqual([begun.endsWith('manifest.json.enc'), more], [true, []]);
    const now = await station(t, endpoint, await keyFile(t, TWO, ONE));
    await cp(join(one.folder, 'archive'), join(now.folder, 'archive'), { recursive: true });
    await cp(join(one.folder, 'state'), join(now.folder, 'state'), { recursive: true });
    const good = fake.objects.get(begun)?.bytes ?? assert.fail();
    // Somebody else's bytes are left alone.
    fake.replace(begun, Buffer.from(good).fill(7, good.length - 20));
    await assert.rejects(now.pushAll(), { code: 'store-damaged' });
    fake.replace(begun, good);
    await now.pushAll();
    assert.deepEqual(
      own().map((name) => name.slice(name.lastIndexOf('/') + 1)),
      ['SHA256SUMS', 'flash.bin.enc', 'manifest.json.enc'],
    );
    assert.ok(own().every((name) => name.startsWith(begun.slice(0, begun.indexOf(FOLDER)))));
    assert.notDeepEqual(fake.objects.get(begun)?.bytes, good);
  });

  for (const [what, before, now] of [
    ['the old key is not here', [ONE], [TWO]],
    ['encryption turned off', [ONE], []],
  ] as const) {
    test(`${what}: the backup goes into the station's own folder, and what lies there stays as it is`, async (t) => {
      const { two, there } = await twoStations(t, [...before], [...now]);
      await two.pushAll();
      unchanged(there);
      assert.equal(own().length, 3);
    });
  }
});
