/**
 * Objects in the bucket that are far too long for what their names say: a mistake of another program, or somebody's malice.
 * Each concerns the backup whose name it has, and nobody else.
 */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MAC, OTHER_MAC, backUp, image } from '../archive/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const at = (day: number) => `2020-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const folderOf = (day: number, mac = MAC) => `${mac.replaceAll(':', '-')}/${id(day)}/`;
const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const HUGE = Buffer.alloc(9 * 1024 * 1024, 0x20);

/** A station with four backups of each of two boards. */
async function scene(t: TestContext) {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const bench = await Bench.open(t);
  await bench.configure({
    store: { endpoint, bucket: 'boards', encryption: 'none', retention: { keepLast: 1 }, grace: '2d' },
    archive: { statePath: `${bench.folder}/state`, local: 'newest 1' },
  });
  for (let day = 1; day <= 4; day++) {
    await backUp(bench.archive, image(4000, day), at(day));
    await backUp(bench.archive, image(3000, 10 + day), at(day), OTHER_MAC);
  }
  const run = async (...args: string[]) => {
    const { status, stdout, stderr } = await bench.run(args, { env: ENV });
    return { status, text: `${stdout}${stderr}`.replaceAll(/\s+/g, ' ') };
  };
  const well = async (...args: string[]) => {
    const { status, text } = await run(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${text}`);
    return text;
  };
  const complete = () => fake.names.filter((name) => name.endsWith('/SHA256SUMS') && name.includes('2020-10-')).length;
  return { fake, bench, run, well, complete };
}

test('in the place of a manifest: the backup goes beside it; of SHA256SUMS: it waits, and all others are pushed', async (t) => {
  const { fake, well, complete } = await scene(t);
  fake.replace(`${folderOf(2)}manifest.json`, HUGE);
  assert.match(await well('push'), /1 of them in this station's own folder/);
  assert.equal(complete(), 8);

  const second = await scene(t);
  second.fake.replace(`${folderOf(2)}SHA256SUMS`, HUGE);
  const { status, text } = await second.run('push');
  assert.equal(status, 4, text);
  assert.match(text, new RegExp(`${folderOf(2)}SHA256SUMS in the object store is another than it should be`));
  assert.equal(second.complete(), 8, 'seven that are whole, and the name of that one');
});

test('of SHA256SUMS of what was pushed: nothing else is kept from going, here or there; a scan and verify name it', async (t) => {
  const { fake, bench, run, well } = await scene(t);
  await well('push');
  fake.replace(`${folderOf(2)}SHA256SUMS`, HUGE);
  const local = await run('prune', '--local', '--yes');
  assert.equal(local.status, 4, local.text);
  assert.match(local.text, /5 local copies removed/);
  assert.deepEqual(await bench.archive.backupIds(MAC), [id(2), id(4)]);
  await run('pull', '--scan');
  const verified = await run('verify', '--store');
  assert.equal(verified.status, 4, verified.text);
  assert.match(verified.text, new RegExp(id(2)));
  // It is not understood, so a person decides; the third one of both boards, and the second of the other, are announced.
  await well('prune', '--store', '--yes');
  const notes = fake.names.filter((name) => name.startsWith('removals/'));
  assert.deepEqual(
    notes.sort(),
    [folderOf(3), folderOf(2, OTHER_MAC), folderOf(3, OTHER_MAC)]
      .map((each) => `removals/${each.slice(0, -1)}.json`)
      .sort(),
  );
});

test('of the note of a removal: it keeps its backup, and the others go when their time has come', async (t) => {
  const { fake, well } = await scene(t);
  await well('push');
  await well('prune', '--store', '--yes');
  fake.replace(`removals/${folderOf(2).slice(0, -1)}.json`, HUGE);
  fake.quirks.aheadMs = 3 * 86_400_000;
  await well('prune', '--store', '--yes');
  const left = (mac: typeof MAC) =>
    [1, 2, 3, 4].filter((day) => fake.names.includes(`${folderOf(day, mac)}SHA256SUMS`));
  assert.deepEqual(
    [left(MAC), left(OTHER_MAC)],
    [
      [1, 2, 4],
      [1, 4],
    ],
  );
});

test('of the lease, or of the policy: nothing goes, and it is said why', async (t) => {
  for (const name of ['leases/prune.json', 'leases/policy.json']) {
    const { fake, run, well, complete } = await scene(t);
    await well('push');
    fake.replace(name, HUGE);
    const { status, text } = await run('prune', '--store', '--yes');
    assert.notEqual(status, 0);
    assert.match(text, new RegExp(`${name}.*not understood`), text);
    assert.equal(complete(), 8);
    assert.ok(fake.objects.get(name)?.bytes.equals(HUGE));
  }
});
