/** The config names another bucket all of a sudden: an empty one, or that of another fleet. Nothing goes because of it, here or there. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { stateName } from '../../src/replication/state.ts';
import { MAC, OTHER_MAC, backUp, image } from '../archive/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const DAY_MS = 86_400_000;
const at = (day: number) => `2020-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const ALL = [1, 2, 3, 4, 5].map(id);
const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };

async function server(t: TestContext) {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  return { fake, endpoint };
}

/** A station with a rule for everything that could go. */
async function stationOf(t: TestContext) {
  const bench = await Bench.open(t);
  return {
    bench,
    use: (endpoint: string, prefix = '') =>
      bench.configure({
        store: { endpoint, bucket: 'boards', prefix, encryption: 'none', retention: { keepLast: 1 }, grace: '2d' },
        archive: { statePath: `${bench.folder}/state`, local: 'newest 1' },
      }),
    run: async (...args: string[]) => {
      const { status, stdout, stderr } = await bench.run(args, { env: ENV });
      assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
      return `${stdout}${stderr}`.replaceAll(/\s+/g, ' ');
    },
  };
}

const bytesOf = (fake: FakeS3, under = '') =>
  new Map([...fake.objects].filter(([name]) => name.startsWith(under)).map(([name, { bytes }]) => [name, bytes]));
const FOLDER = `${MAC.replaceAll(':', '-')}/`;

/** A station whose five backups lie in one of two buckets. */
async function pushedToOne(t: TestContext) {
  const [before, other] = [await server(t), await server(t)];
  const { bench, use, run } = await stationOf(t);
  await use(before.endpoint);
  for (let day = 1; day <= 5; day++) await backUp(bench.archive, image(4000, day), at(day));
  await run('push');
  return { before, other, bench, use, run };
}

test('an empty bucket: no local copy is released for what lies in the bucket of before, and all of it is pushed anew', async (t) => {
  const { before, other, bench, use, run } = await pushedToOne(t);
  const there = bytesOf(before.fake);

  await use(other.endpoint);
  assert.match(await run('prune', '--local', '--yes'), /0 local copies removed/);
  await run('prune', '--store', '--yes');
  await run('pull', '--scan');
  assert.match(await run('prune', '--local', '--yes'), /0 local copies removed/);
  assert.deepEqual(await bench.archive.backupIds(MAC), ALL);
  assert.match(await run('push'), /5 backups pushed/);
  assert.deepEqual(bytesOf(other.fake, FOLDER), bytesOf(before.fake, FOLDER));
  assert.deepEqual(bytesOf(before.fake), there, 'nothing was changed in the bucket of before');
});

test('what was released is in the bucket of before: it is said so, and comes again when the config is right again', async (t) => {
  const { before, other, bench, use, run } = await pushedToOne(t);
  assert.match(await run('prune', '--local', '--yes'), /4 local copies removed/);
  const there = bytesOf(before.fake);

  await use(other.endpoint);
  for (const args of [['pull', '--scan'], ['push'], ['prune', '--store', '--yes'], ['prune', '--local', '--yes']])
    await run(...args);
  other.fake.quirks.aheadMs = 3 * DAY_MS;
  await run('prune', '--store', '--yes');
  assert.deepEqual(await bench.archive.backupIds(MAC), [id(5)]);
  const lost = await bench.run(['pull', `${MAC}@${id(2)}`], { env: ENV });
  assert.notEqual(lost.status, 0);
  assert.match(lost.stdout + lost.stderr, /another object store/);
  assert.deepEqual(bytesOf(before.fake), there);

  await use(before.endpoint);
  await run('pull', '--all', MAC);
  assert.deepEqual(await bench.archive.backupIds(MAC), ALL);
  await run('verify');
});

test('the bucket of another fleet: what it pins there stays, nothing is released for it, and this archive is as before', async (t) => {
  const [before, other] = [await server(t), await server(t)];
  const [mine, theirs] = [await stationOf(t), await stationOf(t)];
  await mine.use(before.endpoint);
  await theirs.use(other.endpoint);
  for (let day = 1; day <= 5; day++) {
    await backUp(mine.bench.archive, image(4000, day), at(day));
    // The same names, and other boards' flash in them.
    await backUp(theirs.bench.archive, image(5000, 100 + day), at(day));
    await backUp(theirs.bench.archive, image(3000, 200 + day), at(day), OTHER_MAC);
  }
  await theirs.run('push');
  for (const day of [2, 3]) await theirs.run('pin', `${MAC}@${id(day)}`);
  await theirs.run('push');
  await mine.run('push');
  const there = bytesOf(before.fake);
  const theirFiles = bytesOf(other.fake, FOLDER);

  await mine.use(other.endpoint);
  assert.match(await mine.run('prune', '--local', '--yes'), /0 local copies removed/);
  await mine.run('prune', '--store', '--yes');
  const announced = bytesOf(other.fake, FOLDER);
  assert.deepEqual(announced, theirFiles, 'before the time of grace nothing goes');
  await mine.run('pull', '--scan');
  // What has the names of theirs goes beside them.
  assert.match(await mine.run('push'), /5 of them in this station's own folder/);
  await mine.run('prune', '--local', '--yes');
  assert.ok((await mine.bench.archive.backupIds(MAC)).includes(id(5)));
  other.fake.quirks.aheadMs = 3 * DAY_MS;
  await mine.run('prune', '--store', '--yes');
  for (const day of [1, 2, 3, 5]) {
    for (const name of ['flash.bin', 'manifest.json', 'SHA256SUMS']) {
      const key = `${FOLDER}${id(day)}/${name}`;
      assert.deepEqual(other.fake.objects.get(key)?.bytes, theirFiles.get(key), key);
    }
  }
  assert.deepEqual(bytesOf(before.fake), there, 'nothing was changed in the bucket of before');
  await mine.use(before.endpoint);
  await mine.run('pull', '--all', MAC);
  assert.deepEqual(await mine.bench.archive.backupIds(MAC), ALL);
  await mine.run('verify');
});

test('released, and in two buckets: each gives them back alone, whichever id a bucket has; what another one has alone is left out', async (t) => {
  for (const isFirst of [true, false]) {
    const { before, other, bench, use, run } = await pushedToOne(t);
    const idOf = (prefix: string) => stateName(other.endpoint, 'boards', prefix);
    const idOfBefore = stateName(before.endpoint, 'boards', '');
    const prefix = Array.from({ length: 10_000 }, (_, each) => `p${each}/`).find(
      (each) => idOf(each) < idOfBefore === isFirst,
    );
    assert.ok(prefix !== undefined);
    await use(other.endpoint, prefix);
    await run('push');
    await backUp(bench.archive, image(4000, 6), '2020-10-06T10:00:00.000Z');
    await backUp(bench.archive, image(4000, 7), '2020-10-07T10:00:00.000Z');
    await run('push');
    assert.match(await run('prune', '--local', '--yes'), /6 local copies removed/);

    await use(before.endpoint);
    for (const dryRun of [['--dry-run'], []])
      assert.match(await run('pull', '--all', ...dryRun), /1 backup left out: in another object store/);
    assert.deepEqual(await bench.archive.backupIds(MAC), [...ALL, '2020-10-07T10-00-00Z']);
    await use(other.endpoint, prefix);
    assert.doesNotMatch(await run('pull', '--all', MAC), /left out/);
    assert.deepEqual(await bench.archive.backupIds(MAC), [...ALL, ...[6, 7].map(id)]);
    await run('verify');
  }
});

test('the bucket of another fleet, and another policy: nothing is announced there, until a person has said that this one counts', async (t) => {
  const other = await server(t);
  const [mine, theirs] = [await stationOf(t), await stationOf(t)];
  await theirs.use(other.endpoint);
  for (let day = 1; day <= 5; day++) await backUp(theirs.bench.archive, image(5000, 100 + day), at(day), OTHER_MAC);
  await theirs.run('push');
  const policyOf = ({ bench }: typeof mine, retention: object) =>
    bench.configure({
      store: { endpoint: other.endpoint, bucket: 'boards', encryption: 'none', retention, grace: '2d' },
      archive: { statePath: `${bench.folder}/state` },
    });
  const refused = async (...args: string[]) => {
    const { status, stdout, stderr } = await mine.bench.run(args, { env: ENV });
    assert.equal(status, 1, stdout + stderr);
    const said = stderr.replaceAll(/\s+/g, ' ');
    assert.match(said, /\(store-policy\)/);
    return { stdout, said };
  };
  await policyOf(theirs, { keepLast: 4 });
  const first = await theirs.run('prune', '--store', '--yes');
  assert.match(first, /This becomes the policy of the object store \(.+\): keepLast 4 .*0 removals announced/);
  assert.doesNotMatch(await theirs.run('prune', '--store', '--yes'), /This becomes/);

  await backUp(mine.bench.archive, image(4000, 1), at(1));
  await policyOf(mine, { keepLast: 1 });
  await mine.run('push');
  const there = bytesOf(other.fake, 'leases/');
  for (const args of [['--dry-run'], ['--yes'], ['--yes', MAC], []]) {
    const { stdout, said } = await refused('prune', '--store', ...args);
    assert.match(said, /another policy: keepLast 4 \(set at .+\)\. This config says keepLast 1/);
    assert.match(stdout, /goes|all stay/, 'the plan is shown');
  }
  const { status, stdout } = await mine.bench.run(['prune', '--store', '--yes', '--json'], { env: ENV });
  assert.equal(status, 1);
  const json = JSON.parse(stdout) as { readonly error: { readonly code: string }; readonly done: readonly unknown[] };
  assert.deepEqual([json.error.code, json.done], ['store-policy', []]);
  assert.deepEqual(bytesOf(other.fake, 'leases/'), there);
  assert.deepEqual([...bytesOf(other.fake, 'removals/').keys()], []);
  await mine.run('verify', '--store');
  assert.doesNotMatch(await mine.run('pull', '--scan'), /policy\.json/);

  // The same in other words is the same.
  await policyOf(mine, { keepLast: 4, keepDaily: 0, boards: {} });
  await mine.run('prune', '--store', '--yes');

  await policyOf(mine, { keepLast: 1 });
  for (const args of [
    ['prune', '--set-policy'],
    ['prune', '--store', '--set-policy', MAC],
  ]) {
    assert.match((await mine.bench.run(args, { env: ENV })).stderr, /\(usage\)/);
  }
  await mine.run('prune', '--store', '--set-policy', '--dry-run');
  const declined = await mine.bench.run(['prune', '--store', '--set-policy'], { env: ENV });
  assert.match(declined.stderr, /\(declined\)/);
  assert.deepEqual([...bytesOf(other.fake, 'removals/').keys()], []);
  assert.match(
    await mine.run('prune', '--store', '--set-policy', '--yes'),
    /This becomes the policy of the object store \(.+\): keepLast 1 .*3 removals announced/,
  );
  const now = await theirs.bench.run(['prune', '--store', '--yes'], { env: ENV });
  assert.match(now.stderr, /\(store-policy\)/);
  other.fake.objects.set('leases/policy.json', { bytes: Buffer.from('{"formatVersion":2}'), etag: 'x', atMs: 0 });
  assert.match((await refused('prune', '--store', '--set-policy', '--yes')).said, /is not understood/);
});
