/**
 * Objects that the store does not give out, for ever: denied, in an archive class, on a bad disk. Each concerns the backup that
 * it belongs to, and nobody else; what is not read is never taken for gone or damaged.
 */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MAC, OTHER_MAC, T0, backUp, image } from '../archive/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const at = (day: number) => `2020-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const folderOf = (day: number, mac = MAC) => `${mac.replaceAll(':', '-')}/${id(day)}/`;
const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };

async function station(t: TestContext, endpoint: string) {
  const bench = await Bench.open(t);
  await bench.configure({
    store: { endpoint, bucket: 'boards', encryption: 'none', retention: { keepLast: 1 }, grace: '2d' },
    archive: { statePath: `${bench.folder}/state`, local: 'newest 1' },
  });
  const run = async (...args: string[]) => {
    const { status, stdout, stderr } = await bench.run(args, { env: ENV });
    return { status, stdout, text: `${stdout}${stderr}`.replaceAll(/\s+/g, ' ') };
  };
  const well = async (...args: string[]) => {
    const { status, text } = await run(...args);
    assert.equal(status, 0, `${args.join(' ')}: ${text}`);
    return text;
  };
  return { archive: bench.archive, run, well };
}

/** A station with four backups of each of two boards. */
async function scene(t: TestContext) {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const one = await station(t, endpoint);
  for (let day = 1; day <= 4; day++) {
    await backUp(one.archive, image(4000, day), at(day));
    await backUp(one.archive, image(3000, 10 + day), at(day), OTHER_MAC);
  }
  const complete = () => fake.names.filter((name) => name.endsWith('/SHA256SUMS') && name.includes('2020-10-'));
  return { fake, ...one, complete, second: () => station(t, endpoint) };
}

const FAULTS = [
  { what: 'denied', status: 403, code: 'AccessDenied', expected: 'store-denied' },
  { what: 'of an archive class', status: 403, code: 'InvalidObjectState', expected: 'store-archived' },
  { what: 'on a bad disk', status: 500, code: 'InternalError', expected: 'store-busy' },
] as const;

for (const { what, expected, ...answer } of FAULTS) {
  test(`${what}: all other backups are pushed, and the journal says so`, { timeout: 120_000 }, async (t) => {
    const { fake, run, well, complete, second } = await scene(t);
    fake.fault = ({ key }) => (key.startsWith(folderOf(1)) ? answer : undefined);
    const { status, text } = await run('push');
    assert.deepEqual([status, complete().length], [1, 7], text);
    assert.match(text, new RegExp(`FAILED ${MAC} ${id(1)}: .*7 backups pushed, 1 not.*\\(${expected}\\)`));
    const other = await second();
    await backUp(other.archive, image(1000, 30), T0, OTHER_MAC);
    await other.well('pull');
    assert.equal((await other.archive.elsewhere.of(MAC)).length, 3);
    fake.fault = () => undefined;
    await well('push');
    assert.equal(complete().length, 8);
  });

  test(
    `${what}, once it is there: nothing of it goes here, and nobody waits for it`,
    { timeout: 120_000 },
    async (t) => {
      const { fake, archive, run, well, complete } = await scene(t);
      await well('push');
      fake.fault = ({ key, method }) => (method === 'GET' && key === `${folderOf(1)}flash.bin` ? answer : undefined);

      const verified = await run('verify', '--store', '--json');
      const report = JSON.parse(verified.stdout) as {
        readonly checked: number;
        readonly damaged: readonly object[];
        readonly unreadable: readonly { readonly id: string }[];
        readonly error: { readonly code: string };
      };
      assert.deepEqual(
        [verified.status, report.checked, report.damaged, report.unreadable.map((each) => each.id), report.error.code],
        [1, 7, [], [id(1)], expected],
      );
      assert.match((await run('verify', '--store', '--continue')).text, new RegExp(`NOT READ ${folderOf(1)}`));

      const local = await run('prune', '--local', '--yes');
      assert.equal(local.status, 1, local.text);
      assert.match(local.text, /5 local copies removed/);
      assert.match(local.text, new RegExp(`${id(1)} stays here: .*\\(${expected}\\)`));
      assert.deepEqual(await archive.backupIds(MAC), [id(1), id(4)]);

      // What is known of it is enough for retention, and it is the store that removes.
      await well('pull', '--scan');
      await well('prune', '--store', '--yes');
      assert.equal(complete().length, 8);
    },
  );

  test(`${what}: another station fetches all but that one`, { timeout: 120_000 }, async (t) => {
    const { fake, well, second } = await scene(t);
    await well('push');
    const other = await second();
    await backUp(other.archive, image(1000, 30), T0, OTHER_MAC);
    await other.well('pull');
    fake.fault = ({ key }) => (key.startsWith(folderOf(2)) ? answer : undefined);
    const { status, text } = await other.run('pull', '--all');
    assert.equal(status, 1, text);
    assert.match(text, new RegExp(`FAILED ${MAC} ${id(2)}: .*7 backups fetched, 1 not`));
    assert.deepEqual(await other.archive.backupIds(MAC), [id(1), id(3), id(4)]);
  });

  test(
    `${what}: a scan finds all others, and misses nothing that it could not ask for`,
    { timeout: 120_000 },
    async (t) => {
      const { fake, well, second } = await scene(t);
      await well('push');
      for (const name of fake.names.filter((each) => each.startsWith('journal/'))) fake.objects.delete(name);
      const other = await second();
      await backUp(other.archive, image(1000, 30), T0, OTHER_MAC);
      fake.fault = ({ key }) => (key.startsWith(folderOf(1)) ? answer : undefined);
      const first = await other.run('pull', '--scan');
      assert.equal(first.status, 1, first.text);
      assert.match(first.text, new RegExp(`Not known before: 7.*FAILED ${MAC} ${id(1)}`));
      fake.fault = () => undefined;
      await other.well('pull', '--scan');
      // It vanishes from the list, and the store does not say whether it is there.
      const listed = new Map([...fake.objects].filter(([name]) => !name.startsWith(folderOf(3))));
      fake.quirks.listed = listed;
      fake.fault = ({ key }) => (key.startsWith(folderOf(3)) ? answer : undefined);
      const third = await other.run('pull', '--scan');
      assert.equal(third.status, 1, third.text);
      assert.doesNotMatch(third.text, /Missing there/);
      assert.equal((await other.archive.elsewhere.of(MAC)).length, 4);
    },
  );
}

test('retention waits while a segment of a journal is not given out, which may have told of a pin', async (t) => {
  const { fake, well, complete, second } = await scene(t);
  await well('push');
  const other = await second();
  await backUp(other.archive, image(1000, 30), T0, OTHER_MAC);
  await other.well('prune', '--store', '--yes');
  const before = fake.names.filter((name) => name.startsWith('journal/'));
  await well('pin', `${MAC}@${id(3)}`);
  await well('push');
  const [pinned = ''] = fake.names.filter((name) => name.startsWith('journal/') && !before.includes(name));
  fake.fault = ({ key }) => (key === pinned ? { status: 403, code: 'AccessDenied' } : undefined);
  fake.quirks.aheadMs = 3 * 86_400_000;
  const blocked = await other.well('prune', '--store', '--yes');
  assert.match(blocked, /Segment \d+ of the journal of \S+ cannot be read: .*espd stations --gone/);
  assert.equal(complete().length, 8);
  fake.fault = () => undefined;
  await other.well('prune', '--store', '--yes');
  assert.ok(complete().includes(`${folderOf(3)}SHA256SUMS`));
  assert.ok(!complete().includes(`${folderOf(2)}SHA256SUMS`));
});
