/** The daemon's loop: pushes, says it, hears the others, and goes on when something is in the way. */

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import type { Clock } from '../../../src/clock.ts';
import { IDLE_LIMIT_MS } from '../../../src/store/http.ts';
import type { EspdError } from '../../../src/errors.ts';
import type { Scan } from '../../../src/replication/journal/scan.ts';
import type { News, Trouble } from '../../../src/replication/journal/news.ts';
import { segmentName } from '../../../src/replication/journal/names.ts';
import { encodeSegment } from '../../../src/replication/journal/segment.ts';
import { Replicator } from '../../../src/replication/replicator.ts';
import { ID0, MAC, OTHER_MAC } from '../../archive/support.ts';
import { FakeS3, serveSuite } from '../../store/fake-s3.ts';
import { type JournalOptions, type Station, hurriedClock, image, journalAt, never, station } from '../support.ts';

const LOOK_MS = 300_000;

describe('the loop', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const running: Replicator[] = [];
  /** The loops end before their folders do, whatever came of the test. */
  const loopTest = (name: string, work: (t: TestContext) => Promise<void>): void => {
    void test(name, { timeout: 120_000 }, async (t) => {
      try {
        await work(t);
      } finally {
        await Promise.all(running.splice(0).map((each) => each.stop()));
      }
    });
  };

  /** Time goes on by its sleeps, which are told, and by nothing else. */
  function leapingClock() {
    let nowMs = 0;
    const clock: Clock & { readonly sleeps: number[]; onSleep: () => void; date: Clock['date'] } = {
      ...hurriedClock,
      ...{ sleeps: [], onSleep: () => undefined },
      now: () => nowMs,
      schedule: (delayMs, callback) => {
        // A server has its own time to answer.
        if (delayMs === IDLE_LIMIT_MS) return hurriedClock.schedule(delayMs, callback);
        return hurriedClock.schedule(delayMs, () => {
          clock.sleeps.push(delayMs);
          nowMs += delayMs;
          clock.onSleep();
          callback();
        });
      },
    };
    return clock;
  }

  function run(one: Station, options: JournalOptions & { clock?: Clock; scanMs?: number } = {}) {
    const told: string[] = [];
    const waiting: { is: (line: string) => boolean; resolve: () => void }[] = [];
    const tell = (line: string) => {
      told.push(line);
      for (const each of waiting) if (each.is(line)) each.resolve();
    };
    const { clock = leapingClock() } = options;
    const fleet = one.again();
    const replicator = new Replicator({
      ...{ archive: one.archive, fleet, clock, random: () => 0.5, lookMs: LOOK_MS, scanMs: options.scanMs ?? null },
      journal: journalAt(one.archive, fleet, { ...options, clock }),
      onPushed: ({ id }) => tell(`pushed ${id}`),
      onFailed: (backup, error: EspdError) => tell(`failed ${error.code}${backup === null ? '' : ` ${backup.id}`}`),
      onNews: ({ backups, marks }: News) => tell(`news ${backups} ${marks}`),
      onScanned: ({ lost, mended }: Scan) => tell(`scanned ${lost.length} ${mended}`),
      onTrouble: ({ station: name, code }: Trouble) => tell(`trouble ${name} ${code}`),
    });
    replicator.start();
    running.push(replicator);
    const until = (is: (line: string) => boolean) =>
      new Promise<void>((resolve) => {
        if (told.some(is)) resolve();
        else waiting.push({ is, resolve });
      });
    return { told, until, replicator };
  }

  loopTest('two daemons: what one keeps the other hears, and is asked once', async (t) => {
    const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
    for (const each of [one, other]) await each.archive.checkWritable();
    const first = run(one);
    const second = run(other);
    const backup = await one.keep(image(1000));
    first.replicator.add({ mac: MAC, id: backup.id });
    await second.until((line) => line === 'news 1 0');
    await one.archive.marks.describe(MAC, { label: 'kitchen' });
    await second.until((line) => line === 'news 0 1');
    assert.equal((await other.archive.marks.about(MAC)).label, 'kitchen');
    await other.archive.marks.pin(MAC, backup.id, { pinned: true, note: null });
    await first.until((line) => line === 'news 0 1');
    assert.deepEqual(
      (await one.archive.marks.of(MAC)).pins.map(({ id }) => id),
      [backup.id],
    );
    assert.deepEqual(
      [...first.told, ...second.told].filter((line) => /failed|trouble/.test(line)),
      [],
    );
    assert.equal(second.replicator.freshness.stations.length, 1);
  });

  loopTest('looks every five minutes, and not when there is nothing to be asked', async (t) => {
    const one = await station(t, endpoint);
    await one.archive.checkWritable();
    const clock = leapingClock();
    const ended = new Promise<void>((resolve) => {
      clock.onSleep = () => {
        if (clock.sleeps.filter((ms) => ms === LOOK_MS).length >= 4) resolve();
      };
    });
    const { told } = run(one, { clock });
    await ended;
    assert.deepEqual(told, []);
    assert.ok(
      clock.sleeps.every((ms) => ms === LOOK_MS),
      clock.sleeps.join(),
    );
  });

  loopTest('a bucket that was emptied is noticed and filled again', async (t) => {
    const one = await station(t, endpoint);
    await one.keep(image(1000));
    await one.archive.marks.describe(MAC, { label: 'kitchen' });
    const clock = leapingClock();
    // An hour goes by in a moment for dates, too.
    clock.date = () => new Date(Date.now() + clock.now());
    const first = run(one, { clock, scanMs: 3_600_000 });
    await first.until((line) => line === 'scanned 0 0');
    for (const name of fake.names) if (!name.startsWith('probes/')) fake.objects.delete(name);
    await first.until((line) => /^scanned 1 [1-9]/.test(line));
    await first.until((line) => line === `pushed ${ID0}` && first.told.filter((each) => each === line).length === 2);
    await first.until((line) => line === 'scanned 0 0' && first.told.filter((each) => each === line).length === 2);
    assert.deepEqual(
      first.told.filter((line) => /failed|trouble/.test(line)),
      [],
    );
    const other = await station(t, endpoint);
    await other.archive.checkWritable();
    await other.look(true);
    assert.equal((await other.archive.marks.about(MAC)).label, 'kitchen');
    assert.equal((await other.archive.elsewhere.of(MAC)).length, 1);
  });

  loopTest('a store that is away is told once, and everything is heard when it is back', async (t) => {
    const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
    await one.keep(image(1000));
    await one.pushAll();
    await one.write();
    await other.archive.checkWritable();
    fake.fault = () => 'cut-before';
    const { told, until } = run(other);
    await until((line) => line === 'failed store-unreachable');
    for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate);
    fake.fault = () => undefined;
    await until((line) => line === 'news 1 0');
    assert.deepEqual(told, ['failed store-unreachable', 'news 1 0']);
  });

  loopTest('a store that goes away between two looks is told once, and is asked less and less often', async (t) => {
    const one = await station(t, endpoint);
    await one.archive.checkWritable();
    const clock = leapingClock();
    await one.fleet.open(never);
    await one.write();
    fake.fault = () => 'cut-before';
    const enough = new Promise<void>((resolve) => {
      clock.onSleep = () => {
        if (clock.now() > 6 * 3_600_000) resolve();
      };
    });
    const { told } = run(one, { clock });
    await enough;
    assert.deepEqual(told, ['failed store-unreachable']);
    // With a random number of 0.5: three quarters of the longest wait of 15 minutes.
    assert.ok(clock.sleeps.includes(0.75 * 15 * 60_000));
    assert.equal(clock.sleeps.includes(LOOK_MS), false);
  });

  loopTest(
    'a full disk keeps nothing from the store: it is told once, backups go up, and what others say waits',
    async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      let free = 1000;
      await other.keep(image(1000, 2), { createdAt: '2026-11-24T10:00:00.000Z' });
      const { told, until } = run(other, { freeBytes: () => Promise.resolve(free) });
      await until((line) => line === 'failed disk-full');
      await until((line) => line === 'pushed 2026-11-24T10-00-00Z');
      free = 1e12;
      await until((line) => line === 'news 1 0');
      assert.equal(told.filter((line) => line === 'failed disk-full').length, 1);
    },
  );

  loopTest('what cannot be read of a station is told once, and is settled when it can be read', async (t) => {
    const other = await station(t, endpoint);
    await other.archive.checkWritable();
    const name = 'bench9-0123456789ab';
    const put = (text: string | Buffer) =>
      fake.objects.set(segmentName(name, 1), { bytes: Buffer.from(text), etag: '' });
    put('x');
    const { told, until, replicator } = run(other);
    await until((line) => line.startsWith('trouble'));
    for (let turn = 0; turn < 300; turn++) await new Promise(setImmediate);
    assert.deepEqual(told, [`trouble ${name} store-damaged`]);
    // A look at the same moment would keep the entry until it is asked for again.
    await replicator.stop();
    put(encodeSegment({ station: name, seq: 1, at: new Date().toISOString() }, []));
    await other.look(true);
    assert.deepEqual((await other.journal.freshness()).troubles, []);
  });

  loopTest('an archive that cannot be read does not end it', async (t) => {
    const one = await station(t, endpoint);
    const { until, replicator } = run(one);
    await until((line) => line.startsWith('failed archive-'));
    const backup = await one.keep(image(1000));
    replicator.add({ mac: MAC, id: backup.id });
    await until((line) => line === `pushed ${backup.id}`);
    await replicator.stop();
    await rm(join(one.archive.root), { recursive: true });
  });

  const idOf = (day: number) => `2020-10-0${day}T10-00-00Z`;
  const keepDays = async (one: Station, days: number) => {
    for (let day = 1; day <= days; day++) {
      await one.keep(image(1000, day), { createdAt: `2020-10-0${day}T10:00:00.000Z` });
    }
  };
  /** The store refuses every request for backups of these days. */
  const refuse = (days: readonly number[], status = 403, code = 'AccessDenied') => {
    fake.fault = ({ key }) => (days.some((day) => key.includes(`/${idOf(day)}/`)) ? { status, code } : undefined);
  };
  const ofTold = (told: readonly string[], what: string) => told.filter((line) => line.startsWith(what)).sort();

  for (const [status, code, expected] of [
    [403, 'AccessDenied', 'store-denied'],
    [500, 'InternalError', 'store-busy'],
    [403, 'InvalidObjectState', 'store-archived'],
  ] as const) {
    loopTest(
      `the oldest is refused for ever (${code}): told once, and keeps nothing else from being done`,
      async (t) => {
        const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
        await keepDays(one, 4);
        // Known from the first look on: a new station is found by the hour.
        await other.keep(image(1000), { mac: OTHER_MAC });
        await other.write();
        refuse([1], status, code);
        const { told, until, replicator } = run(one, { scanMs: 3_600_000 });
        for (const day of [2, 3, 4]) await until((line) => line === `pushed ${idOf(day)}`);
        await other.archive.marks.describe(OTHER_MAC, { label: 'kitchen' });
        await other.write();
        await until((line) => line === 'news 0 1');
        await until((line) => line.startsWith('scanned'));
        await one.keep(image(1000, 5), { createdAt: '2020-10-05T10:00:00.000Z' });
        replicator.add({ mac: MAC, id: idOf(5) });
        await until((line) => line === `pushed ${idOf(5)}`);
        assert.deepEqual(ofTold(told, 'failed'), [`failed ${expected} ${idOf(1)}`]);
        fake.fault = () => undefined;
        await until((line) => line === `pushed ${idOf(1)}`);
        assert.equal(replicator.waiting, 0);
      },
    );
  }

  loopTest(
    'as many in a row as a store that is away would refuse: the others have their turn at the next try',
    async (t) => {
      const one = await station(t, endpoint);
      await keepDays(one, 8);
      refuse([1, 2, 3, 4, 5]);
      const { told, until } = run(one);
      for (const day of [6, 7, 8]) await until((line) => line === `pushed ${idOf(day)}`);
      fake.fault = () => undefined;
      for (const day of [1, 2, 3, 4, 5]) await until((line) => line === `pushed ${idOf(day)}`);
      assert.equal(ofTold(told, 'pushed').length, 8);
    },
  );

  loopTest('all are refused: that is the store, told once, and no backup is named', async (t) => {
    const one = await station(t, endpoint);
    await keepDays(one, 6);
    refuse([1, 2, 3, 4, 5, 6]);
    const clock = leapingClock();
    const tries = new Promise<void>((resolve) => {
      clock.onSleep = () => {
        if (clock.sleeps.length >= 8) resolve();
      };
    });
    const { told, until, replicator } = run(one, { clock });
    await tries;
    assert.deepEqual(told, ['failed store-denied']);
    assert.equal(replicator.waiting, 6);
    fake.fault = () => undefined;
    for (const day of [1, 2, 3, 4, 5, 6]) await until((line) => line === `pushed ${idOf(day)}`);
    assert.deepEqual(ofTold(told, 'failed'), ['failed store-denied']);
  });
});
