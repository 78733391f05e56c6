/** When the daemon, and `espd push`, have the store hold what is pinned. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makePinLocks } from '../../src/cli/fleet/pin-locks.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { EventBus } from '../../src/daemon/events.ts';
import { silentLogger } from '../../src/log.ts';
import { FOLDER, MAC, backUp, image } from '../archive/support.ts';
import { station } from '../replication/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { Bench } from '../support/cli.ts';

const ID = '2020-10-01T10-00-00Z';
const KEY = `${FOLDER}/${ID}/flash.bin`;

/** Timers that run when the test says so. */
function steppedClock() {
  const timers = new Map<object, { delayMs: number; callback: () => void }>();
  const clock: Clock = {
    ...systemClock,
    schedule: (delayMs, callback) => {
      const token = {};
      timers.set(token, { delayMs, callback });
      return () => timers.delete(token);
    },
  };
  const waiting = () => [...timers.values()].map(({ delayMs }) => delayMs);
  const fire = () => {
    const all = [...timers.values()];
    timers.clear();
    for (const { callback } of all) callback();
  };
  return { clock, waiting, fire };
}

test('the daemon: all after the start, then what events name; what fails, or is not there yet, again; told once', async (t) => {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  fake.quirks.objectLock = true;
  const here = await station(t, endpoint, {}, { clock: systemClock });
  await here.keep(image(3000, 1), { createdAt: '2020-10-01T10:00:00.000Z' });
  await here.archive.marks.pin(MAC, ID, { pinned: true, note: null });
  const { clock, waiting, fire } = steppedClock();
  const events = new EventBus({ clock, log: silentLogger });
  const warnings: string[] = [];
  const log = { ...silentLogger, warn: (text: string) => void warnings.push(text) };
  const working: Promise<void>[] = [];
  const inTurn = (work: () => Promise<void>) => {
    const done = work();
    working.push(done);
    return done;
  };
  const signal = new AbortController().signal;
  const locks = makePinLocks({ archive: here.archive, clock, log, signal }, events, here.fleet, inTurn);
  const step = async () => {
    fire();
    await Promise.all(working);
  };
  const isHeld = () => fake.objects.get(KEY)?.isHeld === true;

  assert.deepEqual(waiting(), [60_000]);
  await step();
  assert.deepEqual(waiting(), [300_000], 'its backup is not in the store yet');
  await here.pushAll();
  await here.write();
  events.emit({ type: 'backup-pushed', mac: MAC, id: ID, sentBytes: 1, waiting: 7 });
  events.emit({ type: 'backup-pushed', mac: MAC, id: ID, sentBytes: 1, waiting: 6 });
  assert.deepEqual(waiting(), [10_000]);
  await step();
  assert.equal(isHeld(), true);
  assert.deepEqual(waiting(), []);

  fake.keys.set('writer', 'add');
  await here.archive.marks.pin(MAC, ID, { pinned: false, note: null });
  for (let times = 0; times < 2; times++) {
    events.emit({ type: 'backup-pinned', mac: MAC, id: ID, pinned: false });
    await step();
    assert.deepEqual(waiting(), [300_000]);
  }
  assert.equal(warnings.length, 1, warnings.join('\n'));
  assert.match(
    warnings[0] ?? '',
    /^Pinned backups are not held by the object store: These credentials may put no legal hold/,
  );
  assert.equal(isHeld(), true);
  fake.keys.set('writer', 'all');
  await step();
  assert.equal(isHeld(), false);

  await here.archive.marks.pin(MAC, ID, { pinned: true, note: null });
  events.emit({ type: 'stations-heard', stations: ['x'], boards: 500, macs: [], backups: 0, removed: 0, marks: 500 });
  await step();
  assert.equal(isHeld(), true, 'of very many boards the event names the first ones alone');
  events.emit({ type: 'backup-pinned', mac: MAC, id: ID, pinned: true });
  locks.stop();
  assert.deepEqual(waiting(), []);
  events.emit({ type: 'backup-pinned', mac: MAC, id: ID, pinned: true });
  assert.deepEqual(waiting(), []);
});

test('espd push and espd doctor: held with lock: pins and a bucket that can, said where it cannot, untouched without', async (t) => {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const bench = await Bench.open(t);
  const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
  const configure = (lock: string) =>
    bench.configure({
      store: { endpoint, bucket: 'boards', encryption: 'none', lock },
      archive: { statePath: `${bench.folder}/state` },
    });
  const push = () => bench.run(['push'], { env });
  await configure('none');
  await backUp(bench.archive, image(4000, 1), '2020-10-01T10:00:00.000Z');
  assert.equal((await bench.run(['pin', MAC])).status, 0);
  fake.quirks.objectLock = true;
  assert.equal((await push()).status, 0);
  assert.ok(!fake.seen.some(({ query }) => query.has('legal-hold') || query.has('object-lock')));
  await configure('pins');
  fake.quirks.objectLock = false;
  const without = await push();
  assert.equal(without.status, 0, 'the backup is safe there all the same');
  assert.match(
    without.stderr.replaceAll(/\s+/g, ' '),
    /Pinned backups are not held by the store: The bucket takes no legal holds/,
  );
  const doctor = async () => (await bench.run(['doctor', '--json'], { env })).stdout;
  assert.match(await doctor(), /store\.lock is \\"pins\\": the bucket has no object lock/);
  fake.quirks.objectLock = true;
  assert.doesNotMatch(await doctor(), /store\.lock/);
  assert.match((await push()).stderr, /1 pinned backup held by the store from now on/);
  assert.equal(fake.objects.get(KEY)?.isHeld, true);
  assert.equal((await bench.run(['unpin', `${MAC}@${ID}`])).status, 0);
  assert.match((await push()).stderr, /1 not any more/);
  assert.equal(fake.objects.get(KEY)?.isHeld, false);
});
