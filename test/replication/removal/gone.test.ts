/**
 * Retention of a bucket beside a station that is gone for ever, and of whose journal something cannot be read: what may be
 * pinned there stays, and no more than that.
 */

import assert from 'node:assert/strict';
import { type TestContext, describe, test } from 'node:test';
import { encodeSegment } from '../../../src/replication/journal/segment.ts';
import { segmentName } from '../../../src/replication/journal/names.ts';
import type { FleetJournal } from '../../../src/replication/removal/store-pruner.ts';
import { MAC } from '../../archive/support.ts';
import { realBucket } from '../../store/real-bucket.ts';
import { whyNoRealStore } from '../../store/real-store.ts';
import { type Station, image, never, station } from '../support.ts';
import { GRACE_MS, NEWEST_ALONE, complete, fakeStore, later, prunerOf, pushed, rest, run } from './support.ts';

const skip = whyNoRealStore();
if (skip !== undefined) process.stderr.write(`test/replication/removal/gone.test.ts ${skip}\n`);

const GONE = 'bench9-0123456789ab';
const AT = '2026-11-20T10:00:00.000Z';

/** As the command wires it, with the journals of the bucket. */
async function journalOf(here: Station): Promise<FleetJournal> {
  const bucket = await here.again().open(never);
  return {
    read: async (signal) => {
      const { troubles, mayHavePinned } = await here.journal.look(bucket, { signal, isThorough: true });
      return { problems: troubles.map(({ message }) => message), gone: mayHavePinned };
    },
    addRemoved: () => Promise.resolve(),
  };
}

const sayGone = async (here: Station, keepsBackups: boolean) =>
  here.journal.sayGone(
    await here.fleet.open(never),
    { station: GONE, segments: [{ from: 1, to: 1 }], keepsBackups },
    never,
  );

/** Segment 1 is lost, and 2 is there. */
const second = () => encodeSegment({ station: GONE, seq: 2, at: AT }, []);

describe('a store in memory', () => {
  async function bench(t: TestContext) {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    const ids = await pushed(here, 5);
    fake.objects.set(segmentName(GONE, 2), { bytes: second(), etag: 'none' });
    const { pruner } = await prunerOf(here, { journal: await journalOf(here) });
    return { fake, here, ids, pruner };
  }

  test('nothing goes until a person has spoken; then what lay there stays, and what comes later goes by the policy', async (t) => {
    const { fake, here, ids, pruner } = await bench(t);
    assert.deepEqual((await run(pruner)).done, []);
    await sayGone(here, true);
    const plan = await pruner.plan(NEWEST_ALONE, { signal: never });
    assert.deepEqual([plan.retention.blocked, plan.steps], [[], []]);
    const [, kept] = plan.retention.decisions;
    assert.ok(kept?.reasons.some(({ code, text }) => code === 'maybe-pinned' && text.includes(GONE)));

    later(fake, 60_000);
    const newer: string[] = [];
    for (const day of [1, 2, 3]) {
      newer.push((await here.keep(image(30_000 + day, day), { createdAt: `2021-01-0${day}T10:00:00.000Z` })).id);
    }
    await here.pushAll();
    assert.deepEqual((await run(pruner)).done, [`announce ${newer[0]}`, `announce ${newer[1]}`]);
    later(fake, GRACE_MS + 1000);
    assert.deepEqual((await run(pruner)).done, [`remove ${newer[0]}`, `remove ${newer[1]}`]);
    assert.deepEqual(complete(fake), [...ids, newer[2]]);
  });

  test('pins that were heard of it stay valid after they are given up', async (t) => {
    const { fake, here, ids, pruner } = await bench(t);
    const pin = { kind: 'mark', mac: MAC, file: 'pins.jsonl', line: { at: AT, id: ids[2], pinned: true, note: null } };
    const bytes = encodeSegment({ station: GONE, seq: 2, at: AT }, [JSON.stringify(pin)]);
    fake.objects.set(segmentName(GONE, 2), { bytes, etag: 'none' });
    await sayGone(here, false);
    assert.deepEqual((await run(pruner)).done, [`announce ${ids[1]}`, `announce ${ids[3]}`]);
    later(fake, GRACE_MS + 1000);
    assert.deepEqual((await run(pruner)).done, [`remove ${ids[1]}`, `remove ${ids[3]}`]);
    assert.deepEqual(complete(fake), [ids[0], ids[2], ids[4]]);
  });

  test('a statement in the time of grace: what was announced before is withdrawn; what it gives up is not', async (t) => {
    const { fake, here, ids, pruner } = await bench(t);
    fake.objects.delete(segmentName(GONE, 2));
    const before = await prunerOf(here);
    assert.equal((await run(before.pruner)).done.length, 3);
    fake.objects.set(segmentName(GONE, 2), { bytes: second(), etag: 'none' });
    assert.deepEqual((await run(pruner)).done, [], 'while nobody has spoken nothing is withdrawn, nor removed');
    later(fake, GRACE_MS + 1000);
    assert.deepEqual((await run(pruner)).done, []);
    await sayGone(here, true);
    assert.deepEqual(
      (await run(pruner)).done,
      ids.slice(1, 4).map((id) => `withdraw ${id}`),
    );
    assert.deepEqual([complete(fake), rest(fake).filter((name) => name.startsWith('removals/'))], [ids, []]);
    await sayGone(here, false);
    assert.equal((await run(pruner)).done.length, 3);
    await sayGone(here, true);
    later(fake, GRACE_MS + 1000);
    assert.deepEqual(
      (await run(pruner)).done,
      ids.slice(1, 4).map((id) => `withdraw ${id}`),
    );
  });

  test('it is said between the plan and the removal: what is judged anew stays', async (t) => {
    const { fake, here, ids } = await bench(t);
    fake.objects.delete(segmentName(GONE, 2));
    const { pruner } = await prunerOf(here, { journal: await journalOf(here) });
    assert.equal((await run(pruner)).done.length, 3);
    later(fake, GRACE_MS + 1000);
    const port = await journalOf(here);
    let reads = 0;
    const racing = await prunerOf(here, {
      journal: {
        ...port,
        read: async (signal) => {
          if (++reads === 2) {
            fake.objects.set(segmentName(GONE, 2), { bytes: second(), etag: 'none' });
            await sayGone(here, true);
          }
          return port.read(signal);
        },
      },
    });
    const { done } = await run(racing.pruner);
    assert.ok(done.length === 3 && done.every((step) => step.startsWith('spared')), done.join('; '));
    assert.deepEqual(complete(fake), ids);
  });

  test('a store that does not say how old its objects are: whatever lies there may be pinned', async (t) => {
    const { fake, here, pruner } = await bench(t);
    await sayGone(here, true);
    fake.quirks.hidesAges = true;
    later(fake, 60_000);
    const { retention } = await pruner.plan(NEWEST_ALONE, { signal: never });
    assert.ok(retention.decisions.every(({ stays }) => stays));
    assert.equal(retention.blocked.length, 0);
  });
});

describe('a real radosgw', { skip: skip ?? false }, () => {
  const bucket = realBucket();

  test('blocked; given up; later backups go, by its own clock', async (t) => {
    const here = await station(t, bucket.endpoint, { prefix: 'gone' });
    const ids = await pushed(here, 3);
    await bucket.client.store.put(`gone/${segmentName(GONE, 2)}`, second(), {});
    const journal = await journalOf(here);
    const { pruner } = await prunerOf(here, { journal, graceMs: 0 });
    assert.deepEqual((await run(pruner)).done, []);
    await sayGone(here, true);
    assert.deepEqual((await run(pruner)).done, []);
    // Its times have whole seconds: what is written in the same one may have lain there before.
    const said = (await bucket.client.store.head('gone/journal/' + GONE + '/gone.json'))?.writtenMs ?? 0;
    for (let now = 0; now <= said;) {
      await bucket.client.store.put('gone/probes/time', Buffer.from('x'), {});
      now = (await bucket.client.store.head('gone/probes/time'))?.writtenMs ?? 0;
    }
    const newer: string[] = [];
    for (const day of [1, 2]) {
      newer.push((await here.keep(image(30_000 + day, day), { createdAt: `2021-01-0${day}T10:00:00.000Z` })).id);
    }
    await here.pushAll();
    assert.deepEqual((await run(pruner)).done, [`announce ${newer[0]}`]);
    assert.deepEqual((await run(pruner)).done, [`remove ${newer[0]}`]);
    const page = await bucket.client.store.list({ prefix: 'gone/' });
    const there = page.objects.flatMap(({ key }) => /^gone\/[^/]+\/([^/]+)\/SHA256SUMS$/.exec(key)?.[1] ?? []);
    assert.deepEqual(there, [...ids, newer[1]]);
    assert.deepEqual((await here.journal.scan(await here.fleet.open(never), { signal: never })).foreign, 0);
  });
});
