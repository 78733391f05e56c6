/** Retention of a bucket, against a store that does wrong what it is told to. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type ErrorCode, hasCode } from '../../../src/errors.ts';
import { MAC } from '../../archive/support.ts';
import { hurriedClock, image, never, station } from '../support.ts';
import type { ReadManifest } from '../../../src/replication/removal/union.ts';
import {
  DAY_MS,
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

const code = (want: ErrorCode) => (error: unknown) => hasCode(error, want);

describe('two phases', () => {
  test('first a note, then the time of grace, then the removal; what stays is not touched', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    const ids = await pushed(here, 5);
    const [first = '', ...others] = ids;
    const newest = others.pop() ?? '';
    const before = new Map(fake.objects);
    const { pruner, told } = await prunerOf(here);

    const { done } = await run(pruner);
    assert.deepEqual(
      done,
      others.map((id) => `announce ${id}`),
    );
    assert.deepEqual(complete(fake), ids);
    const [note = ''] = rest(fake);
    assert.match(fake.text(note), /no rule keeps it \(keepLast 1\)/);

    later(fake, GRACE_MS - 2 * HOUR_MS);
    assert.deepEqual((await run(pruner)).done, []);
    assert.deepEqual(complete(fake), ids, 'nothing goes before its time');
    assert.deepEqual(told.gone, []);

    later(fake, 3 * HOUR_MS);
    assert.deepEqual(
      (await run(pruner)).done,
      others.map((id) => `remove ${id}`),
    );
    assert.deepEqual(complete(fake), [first, newest]);
    assert.deepEqual(rest(fake), [], 'nothing is left of what went');
    assert.deepEqual(told.gone.map(({ id }) => id).sort(), others);
    for (const name of fake.names.filter((each) => before.has(each) && !each.startsWith('leases/'))) {
      assert.deepEqual(fake.objects.get(name)?.bytes, before.get(name)?.bytes, name);
    }
    assert.deepEqual((await run(pruner)).done, [], 'and then there is nothing more to do');
  });

  test('a plan changes nothing', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 4);
    const { pruner } = await prunerOf(here);
    const before = fake.names;
    const count = fake.seen.length;
    const plan = await pruner.plan(NEWEST_ALONE, { signal: never });
    assert.deepEqual(
      plan.steps.map(({ kind }) => kind),
      ['announce', 'announce'],
    );
    assert.deepEqual(fake.names, before);
    assert.ok(fake.seen.slice(count).every(({ method }) => method === 'GET' || method === 'HEAD'));
  });

  test('only what was shown to a person is announced or removed', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 4);
    const { pruner } = await prunerOf(here);
    const shown = await pruner.plan(NEWEST_ALONE, { signal: never });
    const [one] = shown.steps;
    assert.ok(one);
    const carryOut = {
      signal: never,
      replaces: shown.policy,
      shown: { ...shown, steps: [one] },
      onStep: () => undefined,
    };
    await pruner.carryOut(NEWEST_ALONE, carryOut);
    assert.deepEqual(rest(fake), [`removals/${one.folder.slice(0, -1)}.json`]);
    later(fake, GRACE_MS + HOUR_MS);
    await pruner.carryOut(NEWEST_ALONE, { ...carryOut, shown: { ...shown, steps: [] } });
    assert.equal(complete(fake).length, 4);
  });

  test('a pin in the time of grace saves it; without the pin the time begins anew', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    const [, id = ''] = await pushed(here, 3);
    const { pruner } = await prunerOf(here);
    await run(pruner);
    await here.archive.marks.pin(MAC, id, { pinned: true, note: 'as it was bought' });
    later(fake, GRACE_MS + HOUR_MS);
    assert.deepEqual((await run(pruner)).done, [`withdraw ${id}`]);
    assert.deepEqual(rest(fake), []);
    await here.archive.marks.pin(MAC, id, { pinned: false, note: null });
    assert.deepEqual((await run(pruner)).done, [`announce ${id}`]);
    later(fake, GRACE_MS - HOUR_MS);
    assert.deepEqual((await run(pruner)).done, []);
    assert.equal(complete(fake).length, 3);
  });

  test('a pin that only the last look into the journals tells of saves it', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    const [, id = ''] = await pushed(here, 3);
    const { pruner, told } = await prunerOf(here);
    await run(pruner);
    later(fake, GRACE_MS + HOUR_MS);
    const before = told.reads;
    told.onRead = async (count) => {
      if (count === before + 2) await here.archive.marks.pin(MAC, id, { pinned: true, note: null });
    };
    assert.deepEqual((await run(pruner)).done, [`spared ${id}: pinned`]);
    assert.equal(complete(fake).length, 3);
    assert.deepEqual(rest(fake), [], 'the note has gone');
  });

  test('journals that cannot be read: nothing is removed or announced, and nothing withdrawn', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 4);
    const { pruner, told } = await prunerOf(here);
    await run(pruner);
    later(fake, GRACE_MS + HOUR_MS);
    told.problems = ['the journal of bench7 is damaged'];
    const before = rest(fake);
    assert.deepEqual((await run(pruner)).done, []);
    assert.equal(complete(fake).length, 4);
    assert.deepEqual(rest(fake), before);
  });

  test('the longer grace counts, be it that of the note or that of whoever removes', async (t) => {
    for (const [announced, own] of [
      [20 * DAY_MS, DAY_MS],
      [DAY_MS, 20 * DAY_MS],
    ] as const) {
      const { fake, endpoint } = await fakeStore(t);
      const here = await station(t, endpoint);
      await pushed(here, 3);
      await run((await prunerOf(here, { graceMs: announced })).pruner);
      later(fake, 19 * DAY_MS);
      const { pruner } = await prunerOf(here, { graceMs: own });
      assert.deepEqual((await run(pruner)).done, []);
      later(fake, 2 * DAY_MS);
      assert.equal((await run(pruner)).done.length, 1);
    }
  });

  test('a clock that is an hour wrong, at whichever station, does not shorten the grace', async (t) => {
    for (const wrongMs of [HOUR_MS, -HOUR_MS]) {
      const { fake, endpoint } = await fakeStore(t);
      const clock = { ...hurriedClock, date: () => new Date(Date.now() + wrongMs) };
      const here = await station(t, endpoint, {}, { clock });
      await pushed(here, 3);
      await run((await prunerOf(here, { clock })).pruner);
      later(fake, GRACE_MS - 60_000);
      assert.deepEqual((await run((await prunerOf(here, { clock })).pruner)).done, []);
      assert.deepEqual((await run((await prunerOf(here)).pruner)).done, []);
      later(fake, 120_000);
      assert.equal((await run((await prunerOf(here, { clock })).pruner)).done.length, 1);
    }
  });
});

describe('what is never removed', () => {
  test('a clock that jumps a year ahead and back: what it has made makes no other backup old', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    // As every store does.
    fake.fault = ({ headers }) => {
      const [, day = '', time = ''] = /^(\d{8})T(\d{6})Z$/.exec(String(headers['x-amz-date'])) ?? [];
      const iso = `${day}T${time}`.replace(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/, '$1-$2-$3T$4:$5:$6Z');
      const isWrong = !(Math.abs(Date.parse(iso) - Date.now() - (fake.quirks.aheadMs ?? 0)) < 15 * 60_000);
      return isWrong ? { status: 403, code: 'RequestTimeTooSkewed' } : undefined;
    };
    const aheadMs = 365 * DAY_MS;
    const clock = { ...hurriedClock, date: () => new Date(Date.now() + aheadMs) };
    const here = await station(t, endpoint, {}, { clock });
    await pushed(here, 5);
    await here.keep(image(1000, 99), { createdAt: clock.date().toISOString() });
    await here.pushAll();
    const all = complete(fake);
    const monthOnly = policyOf({ within: { years: 0, months: 1, days: 0, hours: 0 } });
    for (const each of [clock, hurriedClock]) {
      const there = await station(t, endpoint, {}, { clock: each });
      await there.archive.checkWritable();
      const { pruner } = await prunerOf(there, { clock: each });
      assert.deepEqual((await run(pruner, monthOnly)).done, []);
      later(fake, GRACE_MS + DAY_MS);
      assert.deepEqual((await run(pruner, monthOnly)).done, []);
      fake.quirks.aheadMs = 0;
    }
    assert.deepEqual(complete(fake), all);
  });

  test('of the same second at two stations: both go, or none', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const [here, there] = [await station(t, endpoint), await station(t, endpoint)];
    const ids = await pushed(here, 3);
    await there.keep(image(30_000, 99), { createdAt: '2020-02-01T10:00:00.000Z' });
    await there.pushAll();
    assert.equal(fake.names.filter((name) => /^stations\/.*SHA256SUMS$/.test(name)).length, 1);
    const { pruner } = await prunerOf(here);
    assert.equal((await run(pruner)).done.length, 2);
    await here.archive.marks.pin(MAC, ids[1] ?? '', { pinned: true, note: null });
    assert.deepEqual((await run(pruner)).done, [`withdraw ${ids[1]}`, `withdraw ${ids[1]}`]);
    await here.archive.marks.pin(MAC, ids[1] ?? '', { pinned: false, note: null });
    await run(pruner);
    later(fake, GRACE_MS + HOUR_MS);
    assert.equal((await run(pruner)).done.length, 2);
    assert.deepEqual(complete(fake), [ids[0], ids[2]]);
    assert.deepEqual(rest(fake), []);
  });

  test('damaged, foreign and unreadable ones stay, and take no place of a sound one', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    const ids = await pushed(here, 8);
    const folder = (index: number) => `50-02-91-c3-37-a5/${ids[index]}/`;
    const bytes = { bytes: Buffer.from('x'), etag: 'x' };
    fake.objects.delete(`${folder(1)}flash.bin`);
    fake.objects.set(`${folder(2)}flash.bin`, bytes);
    fake.objects.set(`${folder(3)}notes.txt`, bytes);
    fake.objects.set(`${folder(4)}manifest.json`, { bytes: Buffer.from('{"formatVersion":99}'), etag: 'x' });
    fake.objects.delete(`${folder(5)}manifest.json`);
    const names = fake.names;
    const { pruner } = await prunerOf(here);
    const { done } = await run(pruner, policyOf({ last: 1 }));
    assert.deepEqual(done, [`announce ${ids[6]}`]);
    later(fake, GRACE_MS + HOUR_MS);
    await run(pruner);
    const gone = names.filter((name) => !fake.objects.has(name));
    assert.ok(gone.length === 3 && gone.every((name) => name.startsWith(folder(6))), gone.join());
  });

  test('what is not a backup is left alone: half pushed ones, foreign keys, garbled notes', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    const ids = await pushed(here, 4);
    const bytes = { bytes: Buffer.from('x'), etag: 'x' };
    const strange = [
      '50-02-91-c3-37-a5/2020-02-30T10-00-00Z/SHA256SUMS',
      '50-02-91-c3-37-a5/2019-02-03T10-00-00Z/manifest.json',
      'readme.txt',
      'removals/readme.txt',
      'removals/../x.json',
      'stations/a b/50-02-91-c3-37-a5/2019-02-03T10-00-00Z/SHA256SUMS',
      `removals/50-02-91-c3-37-a5/${ids[1]}.json`,
    ];
    for (const name of strange) fake.objects.set(name, bytes);
    const { pruner } = await prunerOf(here);
    assert.deepEqual((await run(pruner)).done, [`announce ${ids[2]}`]);
    later(fake, GRACE_MS + HOUR_MS);
    assert.deepEqual((await run(pruner)).done, [`remove ${ids[2]}`]);
    for (const name of strange) assert.ok(fake.objects.has(name), name);
  });

  test('encrypted ones go as well; those of a key that is not here stay', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const file = join((await station(t, endpoint)).folder, 'key');
    await writeFile(file, `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
    const here = await station(t, endpoint, { encryption: { file } });
    const ids = await pushed(here, 4);
    const { pruner } = await prunerOf(here);
    const stranger = await station(t, endpoint, { encryption: 'none' });
    await stranger.archive.checkWritable();
    assert.deepEqual((await run((await prunerOf(stranger)).pruner)).done, [], 'who cannot read them removes none');
    assert.equal((await run(pruner)).done.length, 2);
    later(fake, GRACE_MS + HOUR_MS);
    assert.equal((await run(pruner)).done.length, 2);
    assert.deepEqual(complete(fake), [ids[0], ids[3]]);
    assert.deepEqual(rest(fake), []);
  });
});

describe('stores and rights', () => {
  test('who may add and not remove is told so, before anything is done', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 4);
    fake.keys.set('writer', 'add');
    const before = fake.names;
    const { pruner } = await prunerOf(here);
    await assert.rejects(run(pruner), (error) => {
      assert.ok(hasCode(error, 'store-denied'));
      assert.match(error.message, /may not remove/);
      assert.match(error.hint, /docs\/fleet\.md/);
      return true;
    });
    assert.deepEqual(fake.names, before);
  });

  test('a store that does not say how old its objects are: nothing is removed', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 4);
    const { pruner } = await prunerOf(here);
    await run(pruner);
    later(fake, GRACE_MS + HOUR_MS);
    fake.quirks.hidesAges = true;
    await assert.rejects(run(pruner), code('store-failed'));
    assert.equal(complete(fake).length, 4);
  });

  test('a list that is late and names what is gone: nothing goes on its word', async (t) => {
    // Manifests that are known here, so that nothing but the list speaks of what is gone; and such that are fetched.
    for (const isKnown of [true, false]) {
      const { fake, endpoint } = await fakeStore(t);
      const here = await station(t, endpoint);
      const ids = await pushed(here, 5);
      const readings = new Map((await here.archive.history(MAC)).backups.map(({ id, manifest }) => [id, manifest]));
      const known: ReadManifest = ({ id }) => {
        const manifest = readings.get(id);
        return Promise.resolve(manifest === undefined ? null : { kind: 'read', manifest });
      };
      const { pruner } = await prunerOf(here, isKnown ? { readManifest: known } : {});
      await run(pruner, policyOf({ last: 2 }));
      later(fake, GRACE_MS + HOUR_MS);
      fake.quirks.listed = new Map(fake.objects);
      // The one that was to stay has gone meanwhile, and the list does not know it yet.
      for (const name of fake.names) if (name.includes(ids[4] ?? '')) fake.objects.delete(name);
      const { done } = await run(pruner, policyOf({ last: 2 }));
      const isSpared = /^spared .*names .* should stay, and it is not there/;
      assert.match(done[0] ?? '', isSpared);
      if (isKnown) assert.match(done[1] ?? '', isSpared);
      else assert.equal(done[1], `withdraw ${ids[2]}`);
      assert.deepEqual(complete(fake), ids.slice(0, 4));
      delete fake.quirks.listed;
      const stays = isKnown ? [`remove ${ids[1]}`, `withdraw ${ids[2]}`] : [`remove ${ids[1]}`];
      assert.deepEqual((await run(pruner, policyOf({ last: 2 }))).done, stays, 'the next one stays in its place');
    }
  });

  test('a list that is late and leaves out a backup: its note is not taken for what a removal has left', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    const ids = await pushed(here, 4);
    const { pruner } = await prunerOf(here);
    await run(pruner);
    later(fake, GRACE_MS + HOUR_MS);
    fake.quirks.listed = new Map([...fake.objects].filter(([name]) => name.startsWith('removals/')));
    assert.deepEqual(
      (await run(pruner)).done.map((line) => line.slice(0, 6)),
      ['spared', 'spared'],
    );
    assert.deepEqual(complete(fake), ids);
  });

  test('without conditional writes there is no lease, and two at once do no harm', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    fake.quirks.ignoresConditions = true;
    const here = await station(t, endpoint);
    const ids = await pushed(here, 8);
    const [one, two] = [await prunerOf(here), await prunerOf(here)];
    await Promise.all([run(one.pruner), run(two.pruner)]);
    assert.ok(!fake.names.includes('leases/prune.json'));
    later(fake, GRACE_MS + HOUR_MS);
    await Promise.all([run(one.pruner), run(two.pruner)]);
    await run(one.pruner);
    assert.deepEqual(complete(fake), [ids[0], ids[7]]);
    assert.deepEqual(rest(fake), []);
  });
});

describe('the lease', () => {
  test('one at a time; who ends gives it back; its token only grows', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 3);
    const [one, two] = [await prunerOf(here), await prunerOf(here)];
    const tokens: number[] = [];
    one.told.onRead = async () => {
      tokens.push((JSON.parse(fake.text('leases/prune.json')) as { token: number }).token);
      await assert.rejects(run(two.pruner), code('store-held'));
    };
    await run(one.pruner);
    one.told.onRead = () => void tokens.push((JSON.parse(fake.text('leases/prune.json')) as { token: number }).token);
    await run(two.pruner);
    await run(one.pruner);
    assert.deepEqual(tokens, [1, 3]);
  });

  test('of one that was ended it runs out by the clock of the store, not before', async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 3);
    const killed = await prunerOf(here);
    killed.told.onRead = () => {
      // From here on nothing of this process reaches the store.
      fake.fault = () => 'cut-before';
    };
    await assert.rejects(run(killed.pruner).then(() => run(killed.pruner)));
    fake.fault = () => undefined;
    const next = await prunerOf(here);
    await assert.rejects(run(next.pruner), code('store-held'));
    later(fake, 44 * 60_000);
    await assert.rejects(run(next.pruner), code('store-held'));
    later(fake, 2 * 60_000);
    assert.equal((await run(next.pruner)).done.length, 1);
  });

  test("one that is not understood is nobody's to take", async (t) => {
    const { fake, endpoint } = await fakeStore(t);
    const here = await station(t, endpoint);
    await pushed(here, 3);
    fake.objects.set('leases/prune.json', { bytes: Buffer.from('{"formatVersion":2}'), etag: 'x', atMs: 0 });
    await assert.rejects(run((await prunerOf(here)).pruner), code('store-held'));
  });

  test('a process that was stopped and goes on after its lease was taken removes nothing that the new plan keeps', async (t) => {
    // Stopped at each of its requests in turn.
    for (let stop = 1; ; stop++) {
      const { fake, endpoint } = await fakeStore(t);
      const here = await station(t, endpoint);
      const [, id = ''] = await pushed(here, 3);
      await run((await prunerOf(here)).pruner);
      later(fake, GRACE_MS + HOUR_MS);
      const [old, young] = [await prunerOf(here), await prunerOf(here)];
      // Its clock stands still with it, which is the worst that can be: it believes that no time has passed.
      const before = fake.seen.length;
      const during = { isTaken: false, wasGone: false };
      fake.hold = async () => {
        if (fake.seen.length - before !== stop || during.isTaken) return;
        during.isTaken = true;
        during.wasGone = !complete(fake).includes(id);
        later(fake, 46 * 60_000);
        await here.archive.marks.pin(MAC, id, { pinned: true, note: 'meanwhile' });
        await run(young.pruner);
      };
      await run(old.pruner).catch(() => undefined);
      if (!during.isTaken) break;
      // What had ceased to exist before the other took over cannot be kept by it.
      if (!during.wasGone) assert.ok(complete(fake).includes(id), `stopped at request ${stop}`);
    }
  });
});

describe('ended in the middle', () => {
  test('at each request: nothing is half there, nothing that stays is harmed, and the next one finishes', async (t) => {
    let isDone = false;
    for (let stop = 1; !isDone; stop++) {
      const { fake, endpoint } = await fakeStore(t);
      const here = await station(t, endpoint);
      const ids = await pushed(here, 4);
      await run((await prunerOf(here)).pruner);
      later(fake, GRACE_MS + HOUR_MS);
      const killed = await prunerOf(here);
      const before = fake.seen.length;
      fake.fault = () =>
        fake.seen.length - before < stop ? undefined : fake.seen.length - before === stop ? 'cut-after' : 'cut-before';
      isDone = await run(killed.pruner).then(
        () => true,
        () => false,
      );
      fake.fault = () => undefined;
      const left = complete(fake);
      assert.ok(left.includes(ids[0] ?? '') && left.includes(ids[3] ?? ''), `ended at request ${stop}`);
      later(fake, HOUR_MS);
      const next = await prunerOf(here);
      await run(next.pruner);
      assert.deepEqual(complete(fake), [ids[0], ids[3]], `ended at request ${stop}`);
      assert.deepEqual(rest(fake), [], `ended at request ${stop}`);
      const told = new Set([...killed.told.gone, ...next.told.gone].map(({ id }) => id));
      assert.deepEqual([...told].sort(), [ids[1], ids[2]], `each is told as gone, ended at request ${stop}`);
    }
  });

  test('at each request, and then it is pinned: it is whole, or gone without a rest', async (t) => {
    let isDone = false;
    const seen = { whole: 0, gone: 0 };
    for (let stop = 1; !isDone; stop++) {
      const { fake, endpoint } = await fakeStore(t);
      const here = await station(t, endpoint);
      const [, id = ''] = await pushed(here, 3);
      const files = new Map([...fake.objects].filter(([name]) => name.includes(id)));
      await run((await prunerOf(here)).pruner);
      later(fake, GRACE_MS + HOUR_MS);
      const before = fake.seen.length;
      fake.fault = () =>
        fake.seen.length - before < stop ? undefined : fake.seen.length - before === stop ? 'cut-after' : 'cut-before';
      isDone = await run((await prunerOf(here)).pruner).then(
        () => true,
        () => false,
      );
      fake.fault = () => undefined;
      await here.archive.marks.pin(MAC, id, { pinned: true, note: null });
      later(fake, HOUR_MS);
      await run((await prunerOf(here)).pruner);
      assert.deepEqual(rest(fake), [], `ended at request ${stop}`);
      if (!complete(fake).includes(id)) {
        assert.ok(!fake.names.some((name) => name.includes(id)));
        seen.gone++;
        continue;
      }
      seen.whole++;
      for (const [name, { bytes }] of files) assert.deepEqual(fake.objects.get(name)?.bytes, bytes);
    }
    assert.ok(seen.whole > 0 && seen.gone > 0, JSON.stringify(seen));
  });
});
