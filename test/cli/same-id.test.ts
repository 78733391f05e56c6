/** Two stations have backed up one board in the same second: both backups can be listed, fetched and restored by a third. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import type { Backup } from '../../src/archive/types.ts';
import { ID0, MAC, T0, backUp } from '../archive/support.ts';
import { filesOf } from '../replication/pulls.ts';
import { type Station, image, station } from '../replication/support.ts';
import { FakeS3, serveSuite } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const BLOCK = 65_536;
const [NEXT_ID, AFTER_NEXT] = ['2026-11-23T10-00-01Z', '2026-11-23T10-00-02Z'];
const [FIRST, SECOND] = [image(2 * BLOCK, 1), image(2 * BLOCK, 2)];

interface PullDocument {
  readonly pulled: readonly { readonly id: string }[];
}
interface ShowDocument {
  readonly backups: readonly { readonly id: string; readonly stored: { readonly folder: string } | null }[];
  readonly elsewhere: readonly { readonly id: string; readonly name: string; readonly isTaken: boolean }[];
}

describe('two backups of one id', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  /** A station that knows the store, and has heard what is in its journals. */
  const listener = async (t: TestContext) => {
    const bench = await Bench.open(t);
    await bench.configure({
      store: { endpoint, bucket: 'boards', encryption: 'none' },
      archive: { statePath: `${bench.folder}/state` },
    });
    const run = async (...args: string[]) => {
      const { status, stdout, stderr } = await bench.run(args, { env: ENV });
      assert.equal(status, 0, `espd ${args.join(' ')}:\n${stdout}${stderr}`);
      return stdout;
    };
    const json = async <T>(...args: string[]) => JSON.parse(await run(...args, '--json')) as T;
    const imageOf = async (name: string) => {
      const file = join(bench.folder, `${name}.bin`);
      await run('export', `${MAC}@${name}`, file);
      return readFile(file);
    };
    await run('pull');
    return { bench, run, json, imageOf };
  };

  const scene = async (t: TestContext) => {
    const [one, two] = [await station(t, endpoint), await station(t, endpoint)];
    const kept: [Station, Backup][] = [
      [one, await one.keep(FIRST, { createdAt: T0 })],
      [two, await two.keep(SECOND, { createdAt: T0 })],
    ];
    for (const [each] of kept) {
      await each.pushAll();
      await each.write();
    }
    const name = `${ID0}@${await two.fleet.state.station()}`;
    return { first: kept[0]![1], second: kept[1]![1], name, ...(await listener(t)) };
  };

  test('each is listed by a name that fetches it; the second gets the next second, and nothing is overwritten', async (t) => {
    const { bench, run, json, imageOf, first, second, name } = await scene(t);
    const inBucket = new Map([...fake.objects].map(([key, { bytes }]) => [key, bytes]));
    const before = await json<ShowDocument>('show', MAC);
    assert.deepEqual(
      before.elsewhere.map((each) => [each.id, each.name, each.isTaken]),
      [
        [ID0, ID0, false],
        [ID0, name, false],
      ],
    );
    assert.match(await run('show', MAC), new RegExp(`this one is called ${name}\n.*pull ${MAC}@${name}\n`));

    assert.deepEqual(
      (await json<PullDocument>('pull', `${MAC}@${ID0}`)).pulled.map(({ id }) => id),
      [ID0],
    );
    assert.deepEqual(
      (await json<PullDocument>('pull', `${MAC}@${name}`)).pulled.map(({ id }) => id),
      [NEXT_ID],
    );
    assert.deepEqual(await filesOf(join(bench.archivePath, MAC.replaceAll(':', '-'), ID0)), await filesOf(first.path));
    const fetched = await bench.archive.resolveBackup(MAC, NEXT_ID);
    assert.deepEqual(fetched.manifest, { ...second.manifest, id: NEXT_ID });
    assert.ok((await imageOf(ID0)).equals(FIRST));
    assert.ok((await imageOf(name)).equals(SECOND), 'the name goes on meaning it');
    assert.ok((await imageOf(NEXT_ID)).equals(SECOND));
    await run('verify');

    const after = await json<ShowDocument>('show', MAC);
    assert.deepEqual(after.elsewhere, []);
    assert.deepEqual(
      after.backups.map(({ id, stored }) => [id, stored?.folder.startsWith('stations/')]),
      [
        [ID0, false],
        [NEXT_ID, true],
      ],
    );
    assert.deepEqual((await json<PullDocument>('pull', '--all', MAC)).pulled, [], 'each is fetched once');
    for (const [key, bytes] of inBucket) assert.ok(fake.objects.get(key)?.bytes.equals(bytes) ?? false, key);
  });

  test('the second one first: the id still means the one in the shared folder', async (t) => {
    const { imageOf, json, name } = await scene(t);
    assert.ok((await imageOf(name)).equals(SECOND), 'export fetches it by itself');
    assert.ok((await imageOf(ID0)).equals(FIRST));
    const { backups } = await json<ShowDocument>('show', MAC);
    assert.deepEqual(
      backups.map(({ id }) => id),
      [ID0, NEXT_ID],
    );
  });

  test('pull --all takes both', async (t) => {
    const { json } = await scene(t);
    const { pulled } = await json<PullDocument>('pull', '--all', MAC);
    assert.deepEqual(pulled.map(({ id }) => id).toSorted(), [ID0, NEXT_ID]);
  });

  test('a third backup of that second is here: it stays, and both of the others are named', async (t) => {
    const { bench, json, imageOf, name } = await scene(t);
    const own = await backUp(bench.archive, image(2 * BLOCK, 3), T0);
    const files = await filesOf(own.path);
    const { elsewhere } = await json<ShowDocument>('show', MAC);
    assert.deepEqual(
      elsewhere.map((each) => each.isTaken),
      [true, true],
    );
    for (const each of elsewhere) assert.match(each.name, new RegExp(`^${ID0}@`));
    const names = elsewhere.map((each) => each.name);
    const images = [await imageOf(names[0]!), await imageOf(names[1]!)];
    assert.deepEqual(
      images.map((bytes) => (bytes.equals(SECOND) ? 2 : Number(bytes.equals(FIRST)))).toSorted(),
      [1, 2],
      'each name means its own',
    );
    assert.ok(names.includes(name));
    assert.deepEqual((await bench.archive.backupIds(MAC)).toSorted(), [ID0, NEXT_ID, AFTER_NEXT]);
    assert.deepEqual(await filesOf(own.path), files);
  });

  test('pushed under the id that it got, it is one backup for those who hear of it later', async (t) => {
    const { run, name } = await scene(t);
    await run('pull', `${MAC}@${name}`);
    await run('push');
    const later = await listener(t);
    const { elsewhere } = await later.json<ShowDocument>('show', MAC);
    assert.deepEqual(
      elsewhere.map((each) => each.name),
      [ID0, NEXT_ID],
    );
    assert.ok((await later.imageOf(name)).equals(SECOND), 'its old name means it, too');
    assert.deepEqual(await later.bench.archive.backupIds(MAC), [NEXT_ID]);
  });

  test('a name of no station, and one that several have: said, with those that there are', async (t) => {
    const { bench, name } = await scene(t);
    const [, full = ''] = name.split('@');
    for (const station of ['nobody', full.replace(/-[0-9a-f]{12}$/, '')]) {
      const args = ['export', `${MAC}@${ID0}@${station}`, join(bench.folder, 'none.bin')];
      const { hint, message } = await bench.fails(args, 'archive-unknown-backup', { env: ENV });
      assert.match(message, new RegExp(station));
      assert.match(hint, new RegExp(full));
    }
    await bench.fails(['export', `${MAC}@${ID0}@not a name`, join(bench.folder, 'none.bin')], 'archive-unknown-backup');
    assert.deepEqual(await bench.archive.backupIds(MAC), []);
  });
});
