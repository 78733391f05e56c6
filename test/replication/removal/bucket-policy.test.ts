/** The one policy of a bucket: who sets it, who is refused, and what a refused one leaves behind. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasCode } from '../../../src/errors.ts';
import type { PolicyThere } from '../../../src/replication/removal/bucket-policy.ts';
import { never, station } from '../support.ts';
import {
  GRACE_MS,
  HOUR_MS,
  NEWEST_ALONE,
  complete,
  fakeStore,
  later,
  policyOf,
  prunerOf,
  pushed,
  rest,
  run,
} from './support.ts';

const KEY = 'leases/policy.json';
const refused = (error: unknown) => hasCode(error, 'store-policy');
const MILD = policyOf({ last: 20 });
const NONE: PolicyThere = { kind: 'none' };

async function bench(t: Parameters<typeof fakeStore>[0]) {
  const { fake, endpoint } = await fakeStore(t);
  const here = await station(t, endpoint);
  const ids = await pushed(here, 5);
  return { fake, here, ids, one: (await prunerOf(here)).pruner, two: (await prunerOf(here)).pruner };
}

describe('the policy of a bucket', () => {
  test('nobody has said yes to one: refused, and not a single object is written', async (t) => {
    const { fake, one } = await bench(t);
    const before = fake.names;
    const seen = fake.seen.length;
    await assert.rejects(
      run(one, NEWEST_ALONE, never, null),
      (error) => refused(error) && /keepLast 1/.test(String(error)),
    );
    assert.deepEqual(fake.names, before);
    assert.ok(fake.seen.slice(seen).every(({ method }) => method === 'GET' || method === 'HEAD'));
  });

  test('set once, it counts for all who say the same; another one neither announces nor removes nor withdraws', async (t) => {
    const { fake, one, two, ids } = await bench(t);
    await run(one, NEWEST_ALONE);
    assert.equal((await run(two, policyOf({ last: 1, daily: 0 }), never, null)).done.length, 0);
    later(fake, GRACE_MS + HOUR_MS);
    const before = fake.names;
    for (const policy of [MILD, policyOf({ last: 2 }), { ...NEWEST_ALONE, maxBytes: 2 ** 30 }]) {
      for (const replaces of [null, NONE]) await assert.rejects(run(two, policy, never, replaces), refused);
    }
    assert.deepEqual(fake.names, before);
    assert.deepEqual(complete(fake), ids);
    assert.equal((await run(one, NEWEST_ALONE, never, null)).done.length, 3);
  });

  test('a person replaces what they have seen, and nothing else', async (t) => {
    const { fake, one, two } = await bench(t);
    await run(one, NEWEST_ALONE);
    const { policy: seen, refusal } = await two.plan(MILD, { signal: never });
    assert.equal(seen.kind, 'other');
    assert.match(String(refusal), /another policy: keepLast 1 \(set at .+\)\. This config says keepLast 20/);
    // Meanwhile it becomes another one.
    const third = policyOf({ last: 3 });
    await run(one, third, never, (await one.plan(third, { signal: never })).policy);
    const text = fake.text(KEY);
    await assert.rejects(run(two, MILD, never, seen), refused);
    assert.equal(fake.text(KEY), text);
    const done = await run(two, MILD, never, (await two.plan(MILD, { signal: never })).policy);
    assert.equal(done.done.filter((each) => each.startsWith('withdraw')).length, 1, 'what it keeps is withdrawn');
    await assert.rejects(run(one, NEWEST_ALONE, never, null), refused);
    assert.deepEqual(rest(fake), []);
  });

  test('who is first counts, also at one moment, and also where the other has looked before', async (t) => {
    for (let pause = 0; pause < 6; pause++) {
      const { fake, one, two } = await bench(t);
      let gets = 0;
      let goOn: () => void = () => undefined;
      const over = new Promise<void>((resolve) => (goOn = resolve));
      fake.hold = ({ method, key }) => (method === 'GET' && key === KEY && gets++ === pause ? over : undefined);
      const runs = await Promise.allSettled([run(one, NEWEST_ALONE).finally(goOn), run(two, MILD).finally(goOn)]);
      for (const each of runs) {
        if (each.status === 'rejected') {
          assert.ok(hasCode(each.reason, 'store-policy') || hasCode(each.reason, 'store-held'), String(each.reason));
        }
      }
      const refusals = await Promise.all(
        [NEWEST_ALONE, MILD].map(async (policy) => (await one.plan(policy, { signal: never })).refusal),
      );
      assert.equal(refusals.filter((each) => each === null).length, 1, fake.text(KEY));
      const isStrict = refusals[0] === null;
      assert.equal(fake.names.filter((name) => name.startsWith('removals/')).length, isStrict ? 3 : 0);
    }
  });

  test('ended at any of its requests: what stands there is whole or nothing, and the next one goes on', async (t) => {
    for (let at = 1; ; at++) {
      const { fake, one, two } = await bench(t);
      let count = 0;
      // Of the last one that is sent the answer is lost, and nothing more comes.
      fake.fault = () => {
        count += 1;
        if (count < at) return undefined;
        return count === at ? 'cut-after' : 'cut-before';
      };
      await run(one, NEWEST_ALONE).catch(() => undefined);
      fake.fault = () => undefined;
      if (count < at) break;
      later(fake, HOUR_MS);
      const { policy } = await two.plan(NEWEST_ALONE, { signal: never });
      assert.ok(['none', 'same'].includes(policy.kind), `at ${at}`);
      if (policy.kind === 'none') {
        assert.ok(!fake.names.some((name) => name.startsWith('removals/')), `at ${at}`);
      }
      await run(two, NEWEST_ALONE);
      assert.equal(fake.names.filter((name) => name.startsWith('removals/')).length, 3, `at ${at}`);
    }
  });

  test('what is damaged, of a newer espd, or of somebody else: refused, also with the word of a person, and left as it is', async (t) => {
    const { fake, one } = await bench(t);
    await run(one, NEWEST_ALONE);
    const sound = JSON.parse(fake.text(KEY)) as object;
    for (const text of ['', '{', 'null', '[]', JSON.stringify({ ...sound, formatVersion: 2 }), 'x'.repeat(70_000)]) {
      fake.objects.set(KEY, { bytes: Buffer.from(text), etag: 'of others', atMs: 0 });
      const before = fake.names;
      const { policy, refusal } = await one.plan(NEWEST_ALONE, { signal: never });
      assert.equal(policy.kind, 'not-understood');
      assert.match(String(refusal), /leases\/policy\.json .+ is not understood/);
      for (const replaces of [null, NONE, policy]) {
        await assert.rejects(run(one, NEWEST_ALONE, never, replaces), refused);
      }
      assert.deepEqual(fake.names, before);
      assert.equal(fake.text(KEY), text);
    }
  });

  test('replaced in the middle of a run without a lease: nothing more is removed', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    fake.quirks.ignoresConditions = true;
    const here = await station(t, endpoint);
    const ids = await pushed(here, 5);
    const [one, two] = [await prunerOf(here), await prunerOf(here)];
    await run(one.pruner, NEWEST_ALONE);
    later(fake, GRACE_MS + HOUR_MS);
    const { policy } = await two.pruner.plan(MILD, { signal: never });
    one.told.onRead = async () => {
      one.told.onRead = () => undefined;
      await run(two.pruner, MILD, never, policy);
    };
    await assert.rejects(run(one.pruner, NEWEST_ALONE, never, null), refused);
    assert.deepEqual(complete(fake), ids);
  });

  test('texts of others steer no terminal', async (t) => {
    const { fake, one } = await bench(t);
    await run(one, NEWEST_ALONE);
    const sound = JSON.parse(fake.text(KEY)) as object;
    const hostile = { policy: '0'.repeat(64), says: '\u001b[2J', station: '\u202eevil', at: '\u0007' };
    fake.objects.set(KEY, { bytes: Buffer.from(JSON.stringify({ ...sound, ...hostile })), etag: 'x', atMs: 0 });
    const { refusal } = await one.plan(NEWEST_ALONE, { signal: never });
    assert.match(String(refusal), /\\u\{1b\}/);
    assert.ok(!/[\u001b\u202e\u0007]/.test(String(refusal)));
  });
});
