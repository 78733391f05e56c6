/** `espd prune --store` and `--local`: what a person and a script see, and what is left there and here. */

import assert from 'node:assert/strict';
import { mkdir, rename } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { Bench } from '../support/cli.ts';
import { MAC, backUp, image } from '../archive/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';

const DAY_MS = 86_400_000;
const at = (day: number) => `2020-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;

async function filled(t: TestContext, change: { store?: object; archive?: object } = {}) {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const made = await Bench.open(t);
  const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
  const run = (args: string[]) => made.run(args, { env });
  const bench = {
    archive: made.archive,
    run,
    async fails(args: string[], code: string) {
      const { status, stderr } = await run(args);
      assert.notEqual(status, 0);
      assert.ok(stderr.includes(`(${code})`), stderr);
    },
  };
  for (let day = 1; day <= 5; day++) await backUp(made.archive, image(4000, day), at(day));
  const store = { endpoint, bucket: 'boards', encryption: 'none', ...change.store };
  await made.configure({ store, archive: { statePath: `${made.folder}/state`, ...change.archive } });
  assert.equal((await bench.run(['push'])).status, 0);
  return { bench, fake };
}

const complete = (fake: FakeS3) =>
  fake.names.flatMap((name) => /^[^/]+\/([^/]+)\/SHA256SUMS$/.exec(name)?.[1] ?? []).sort();

test('the bucket: without a policy nothing; then shown, asked, announced, and removed after its time', async (t) => {
  const bare = await filled(t);
  assert.match((await bare.bench.run(['prune', '--store'])).stdout, /^No policy is set for the object store/m);

  const { bench, fake } = await filled(t, { store: { retention: { keepLast: 1 }, grace: '2d' } });
  const shown = await bench.run(['prune', '--store', '--dry-run']);
  assert.equal(shown.status, 0, shown.stderr);
  assert.match(shown.stdout, /^  goes   2020-10-02T10-00-00Z  no rule keeps it \(keepLast 1\)$/m);
  assert.match(shown.stdout, /^3 removals are to be announced; they are done after 2 d at the\n? *earliest$/m);
  assert.ok(!fake.names.some((name) => name.startsWith('removals/')));
  await bench.fails(['prune', '--store'], 'declined');

  const announced = await bench.run(['prune', '--store', '--yes']);
  assert.equal(announced.status, 0, announced.stderr);
  assert.match(announced.stdout, /^3 removals announced, 0 backups removed$/m);
  assert.equal(complete(fake).length, 5);

  assert.equal((await bench.run(['pin', `${MAC}@${id(3)}`])).status, 0);
  fake.quirks.aheadMs = 3 * DAY_MS;
  const done = await bench.run(['prune', '--store', '--yes', '--json']);
  assert.equal(done.status, 0, done.stderr);
  const json = JSON.parse(done.stdout) as { readonly done: readonly { readonly kind: string; readonly id: string }[] };
  assert.deepEqual(json.done.map(({ kind, id: which }) => `${kind} ${which}`).sort(), [
    `remove ${id(2)}`,
    `remove ${id(4)}`,
    `withdraw ${id(3)}`,
  ]);
  assert.deepEqual(complete(fake), [id(1), id(3), id(5)]);
  assert.equal((await bench.archive.backupIds(MAC)).length, 5, 'what is here stays here');
  assert.ok(!(await bench.archive.elsewhere.of(MAC)).some(({ id: which }) => which === id(2)));
});

test('an archive that is empty, as the mount point of a disk is: what was pinned in it is not removed from the bucket', async (t) => {
  const { bench, fake } = await filled(t, { store: { retention: { keepLast: 1 }, grace: '2d' } });
  assert.equal((await bench.run(['prune', '--store', '--yes'])).status, 0);
  assert.equal((await bench.run(['pin', `${MAC}@${id(3)}`])).status, 0);
  assert.equal((await bench.run(['push'])).status, 0);
  fake.quirks.aheadMs = 3 * DAY_MS;
  const { root } = bench.archive;
  await rename(root, `${root}.away`);
  await mkdir(root);
  const { status, stderr } = await bench.run(['prune', '--store', '--yes']);
  assert.equal(status, 0, stderr);
  assert.deepEqual(complete(fake), [id(1), id(3), id(5)]);
});

test('rules of the command line are not for the bucket, nor for local copies', async (t) => {
  const { bench } = await filled(t, { store: { retention: { keepLast: 1 } } });
  await bench.fails(['prune', '--store', '--keep-last', '1'], 'usage');
  await bench.fails(['prune', '--local', '--keep-last', '1'], 'usage');
  await bench.fails(['prune', '--store', '--local'], 'usage');
});

test('local copies: what the store has goes, what it has not quite stays, with the reason', async (t) => {
  const { bench, fake } = await filled(t, { archive: { local: 'newest 2' } });
  const folder = (day: number) => `50-02-91-c3-37-a5/${id(day)}/`;
  fake.objects.delete(`${folder(2)}SHA256SUMS`);
  fake.objects.set(`${folder(3)}flash.bin`, { bytes: Buffer.alloc(4000), etag: 'of other bytes' });
  const dry = await bench.run(['prune', '--local', '--dry-run']);
  assert.match(dry.stdout, /^  goes   2020-10-01T10-00-00Z  archive\.local keeps the newest 2 here$/m);
  assert.match(dry.stderr, /read back from the object store just before, \d+ KB in all/);
  assert.equal((await bench.archive.backupIds(MAC)).length, 5);
  await bench.fails(['prune', '--local'], 'declined');
  const { status, stdout, stderr } = await bench.run(['prune', '--local', '--yes']);
  assert.equal(status, 4, stderr);
  assert.match(stdout, /^1 local copy removed, \d+ KB freed$/m);
  assert.match(stdout.replaceAll(/\s+/g, ' '), /2020-10-02T10-00-00Z stays here: it is not in the object store/);
  assert.match(
    stdout.replaceAll(/\s+/g, ' '),
    /2020-10-03T10-00-00Z stays here: flash\.bin in the object store: SHA-256 differs from manifest\.json/,
  );
  assert.match(stderr, /1 backup in the object store is damaged \(store-damaged\)/);
  const there = await bench.archive.elsewhere.of(MAC);
  assert.ok(there.some(({ id: which }) => which === id(1)));
  assert.ok(complete(fake).includes(id(1)));
  const json = await bench.run(['prune', '--local', '--yes', '--json']);
  assert.equal(json.status, 4, json.stderr);
  const { removed, spared, error } = JSON.parse(json.stdout) as {
    readonly removed: readonly object[];
    readonly spared: readonly { readonly id: string }[];
    readonly error: { readonly code: string };
  };
  assert.deepEqual([removed, spared.map((each) => each.id), error.code], [[], [id(2), id(3)], 'store-damaged']);
  // Nothing is lost: what is damaged there is mended from what stayed here, and only then it goes.
  assert.equal((await bench.run(['verify', '--store', '--repair'])).status, 0);
  assert.equal((await bench.run(['push'])).status, 0);
  const mended = await bench.run(['prune', '--local', '--yes']);
  assert.equal(mended.status, 0, mended.stderr);
  assert.deepEqual(await bench.archive.backupIds(MAC), [id(4), id(5)]);
});

test('local copies: what is announced to go from the bucket stays here, and so does all where the store does not answer', async (t) => {
  const { bench, fake } = await filled(t, {
    archive: { local: 'newest 1' },
    store: { retention: { keepLast: 1 }, grace: '2d' },
  });
  assert.equal((await bench.run(['prune', '--store', '--yes'])).status, 0);
  const { stdout } = await bench.run(['prune', '--local', '--yes']);
  assert.match(
    stdout.replaceAll(/\s+/g, ' '),
    /2020-10-02T10-00-00Z stays here: its removal from the object store is announced/,
  );
  fake.keys.clear();
  await bench.fails(['prune', '--local', '--yes'], 'store-credentials');
  assert.equal(complete(fake).length, 5);
});
