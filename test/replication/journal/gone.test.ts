/** A station that is gone for ever, and of whose journal something cannot be read: what is said of it, and what that changes. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { otherStationsOf } from '../../../src/replication/journal/freshness.ts';
import { isGivenUp, lostSegments, mayHavePinned } from '../../../src/replication/journal/gone.ts';
import { goneName, segmentName } from '../../../src/replication/journal/names.ts';
import { troublesOf } from '../../../src/replication/journal/news.ts';
import { type JournalLine, encodeLine, encodeSegment } from '../../../src/replication/journal/segment.ts';
import type { HeardStation, Unread, UnreadCode } from '../../../src/replication/journal/state.ts';
import { ID0, MAC } from '../../archive/support.ts';
import { FakeS3, serveSuite } from '../../store/fake-s3.ts';
import { type Station, hurriedClock, never, station } from '../support.ts';

const GONE = 'bench9-0123456789ab';
const AT = '2026-11-20T10:00:00.000Z';

const entry = (from: number, to: number, code: UnreadCode = 'store-damaged'): Unread => ({
  ...{ from, to, code, message: `Segment ${from}`, since: AT, retryAt: AT, tries: 0 },
});
const heardStation = (unread: Unread[], change: Partial<HeardStation> = {}): HeardStation => ({
  ...{ next: 100, isEncrypted: false, heardAt: AT, unread, ...change },
});
const said = (segments: { from: number; to: number }[], keepsBackups = true) => ({
  ...{ segments, keepsBackups, by: 'bench1-0123456789ab', at: AT, writtenMs: 1000 },
});

describe('what a statement speaks of', () => {
  test('the whole of what is unread, and nothing beside: not a number more, not what a newer espd would read', () => {
    for (const [entries, segments, expected] of [
      [[entry(5, 7)], [{ from: 5, to: 7 }], [true]],
      [[entry(5, 7)], [{ from: 1, to: 9 }], [true]],
      [[entry(5, 8)], [{ from: 5, to: 7 }], [false]],
      [[entry(4, 7)], [{ from: 5, to: 7 }], [false]],
      [
        [entry(5, 7)],
        [
          { from: 5, to: 6 },
          { from: 7, to: 7 },
        ],
        [false],
      ],
      [[entry(2, 2), entry(5, 7)], [{ from: 5, to: 7 }], [false, true]],
      [[entry(5, 7, 'store-key')], [{ from: 5, to: 7 }], [true]],
      [[entry(5, 7, 'archive-newer')], [{ from: 5, to: 7 }], [false]],
    ] as const) {
      const one = heardStation([...entries], { gone: said([...segments]) });
      assert.deepEqual(
        one.unread.map((each) => isGivenUp(one, each)),
        expected,
        JSON.stringify([entries, segments]),
      );
    }
    assert.deepEqual(
      lostSegments(heardStation([entry(2, 2), entry(3, 3, 'archive-newer'), entry(5, 7, 'store-key')])),
      [
        { from: 2, to: 2 },
        { from: 5, to: 7 },
      ],
    );
  });

  test('without one everything is a trouble; with one only the rest, and pins may be missing as long as it counts', () => {
    const unread = [entry(5, 7), entry(9, 9, 'archive-newer')];
    const stations = (change: Partial<HeardStation>) => ({ stations: { [GONE]: heardStation(unread, change) } });
    assert.equal(troublesOf(stations({})).length, 2);
    assert.deepEqual(mayHavePinned(stations({})), []);
    const counts = stations({ gone: said([{ from: 5, to: 7 }]) });
    assert.deepEqual(
      troublesOf(counts).map(({ code }) => code),
      ['archive-newer'],
    );
    assert.deepEqual(mayHavePinned(counts), [{ station: GONE, untilMs: 1000 }]);
    assert.deepEqual(mayHavePinned(stations({ gone: said([{ from: 5, to: 7 }], false) })), []);
    assert.deepEqual(mayHavePinned(stations({ gone: said([{ from: 1, to: 4 }]) })), [], 'speaks of others');
    const unaged = stations({ gone: { ...said([{ from: 5, to: 7 }]), writtenMs: null } });
    assert.deepEqual(mayHavePinned(unaged), [{ station: GONE, untilMs: null }]);
  });
});

describe('a station that is gone', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const put = (name: string, bytes: Buffer | string) =>
    fake.objects.set(name, { bytes: Buffer.from(bytes), etag: 'none' });
  const pin = (id: string): JournalLine => ({
    ...{ kind: 'mark', mac: MAC, file: 'pins.jsonl' },
    line: { at: AT, id, pinned: true, note: null },
  });
  const say = (seq: number, lines: readonly JournalLine[]) =>
    put(segmentName(GONE, seq), encodeSegment({ station: GONE, seq, at: AT }, lines.map(encodeLine)));
  const giveUp = async (one: Station, segments = [{ from: 2, to: 2 }], keepsBackups = true) =>
    one.journal.sayGone(await one.fleet.open(never), { station: GONE, segments, keepsBackups }, never);
  const broken = () => {
    for (const seq of [1, 2, 3]) say(seq, [pin(ID0)]);
    put(segmentName(GONE, 2), 'garbage');
  };

  test('every station hears of it at its next thorough look; nothing else is asked for more often', async (t) => {
    broken();
    const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
    for (const each of [one, other]) assert.equal((await each.look(true)).troubles.length, 1);
    await giveUp(one);
    fake.seen.length = 0;
    assert.equal((await other.look()).troubles.length, 1, 'not at each look');
    assert.ok(!fake.seen.some(({ key }) => key === goneName(GONE)));
    for (const each of [one, other]) {
      const news = await each.look(true);
      assert.deepEqual([news.troubles, news.foreign], [[], []]);
      assert.deepEqual(
        news.mayHavePinned.map(({ station: name }) => name),
        [GONE],
      );
      assert.ok(Math.abs((news.mayHavePinned[0]?.untilMs ?? 0) - Date.now()) < 60_000, "by the store's clock");
      const [known] = await each.journal.stations();
      assert.deepEqual([known?.unread, known?.givenUp, known?.gone?.by], [1, 1, await one.fleet.state.station()]);
      assert.deepEqual((await each.journal.freshness()).troubles, []);
    }
    assert.deepEqual((await other.look()).troubles, [], 'an ordinary look too');
  });

  test('a station that hears of the gap and of the statement at the same time', async (t) => {
    broken();
    fake.objects.delete(segmentName(GONE, 2));
    const one = await station(t, endpoint);
    await giveUp(one);
    const news = await one.look(true);
    assert.deepEqual([news.troubles, news.mayHavePinned.length], [[], 1]);
  });

  test('more that cannot be read is missed; so is everything once the statement is taken back, or is none', async (t) => {
    broken();
    const one = await station(t, endpoint);
    await one.look(true);
    await giveUp(one);
    assert.deepEqual((await one.look(true)).troubles, []);
    say(4, []);
    say(5, []);
    fake.objects.delete(segmentName(GONE, 4));
    assert.deepEqual(
      (await one.look(true)).troubles.map(({ segments }) => segments),
      [1],
    );
    await giveUp(one, [
      { from: 2, to: 2 },
      { from: 4, to: 4 },
    ]);
    assert.deepEqual((await one.look(true)).troubles, []);
    const statement = fake.text(goneName(GONE));
    for (const spoiled of [
      '',
      'x',
      '[]',
      statement.slice(0, -20),
      statement.replace('"formatVersion": 1', '"formatVersion": 2'),
      statement.replaceAll(GONE, 'bench8-0123456789ab'),
      statement.replaceAll(/"segments": \[[^\]]*\]/g, '"segments": []'),
      statement.replace('"from": 2', '"from": -2'),
      `${statement}${' '.repeat(70_000)}`,
      Buffer.alloc(9 * 1024 * 1024, 32),
    ]) {
      put(goneName(GONE), spoiled);
      const { troubles, mayHavePinned: kept } = await one.look(true);
      assert.deepEqual([troubles[0]?.segments, kept], [2, []], String(spoiled).slice(0, 40));
    }
    put(goneName(GONE), statement);
    assert.deepEqual((await one.look(true)).troubles, []);
    await giveUp(one, []);
    assert.equal((await one.look(true)).troubles.length, 1);
    fake.objects.delete(goneName(GONE));
    assert.equal((await one.look(true)).troubles.length, 1);
  });

  test('it comes back: what it says again is heard, and the statement means nothing any more', async (t) => {
    broken();
    const one = await station(t, endpoint);
    await one.look(true);
    await giveUp(one);
    await one.look(true);
    say(2, []);
    say(4, [pin(ID0)]);
    const news = await one.look(true);
    assert.deepEqual([news.troubles, news.mayHavePinned], [[], []]);
    const [known] = await one.journal.stations();
    assert.deepEqual([known?.unread, known?.gone], [0, null]);
  });

  test('it comes back, really: it mends its journal beside the statement, and goes on', async (t) => {
    const [back, one] = [await station(t, endpoint), await station(t, endpoint)];
    await back.keep(Buffer.alloc(4000, 7));
    await back.pushAll();
    await back.write();
    await back.archive.marks.pin(MAC, ID0, { pinned: true, note: 'golden' });
    await back.write();
    const name = await back.fleet.state.station();
    const first = segmentName(name, 1);
    put(first, 'garbage');
    await one.look(true);
    await one.journal.sayGone(
      await one.fleet.open(never),
      { station: name, segments: [{ from: 1, to: 1 }], keepsBackups: true },
      never,
    );
    assert.deepEqual((await one.look(true)).troubles, []);
    const scan = await back.journal.scan(await back.fleet.open(never), { signal: never });
    assert.deepEqual([scan.mended, scan.foreign, scan.lost], [1, 0, []]);
    const news = await one.look(true);
    assert.deepEqual([news.troubles, news.mayHavePinned], [[], []]);
    assert.equal((await one.archive.elsewhere.of(MAC)).length, 1);
    await back.archive.marks.describe(MAC, { label: 'kitchen' });
    await back.write();
    await one.look(true);
    assert.equal((await one.archive.marks.about(MAC)).label, 'kitchen');
  });

  test('silence of a station that is gone is no news; of one with nothing unread it is', () => {
    const now = new Date(Date.parse(AT) + 5 * 86_400_000);
    const silent = (change: Partial<HeardStation>) =>
      otherStationsOf(
        { own: null, lookedAt: null, listedAt: null, stations: { [GONE]: heardStation([entry(2, 2)], change) } },
        now,
      )[0]?.silentDays;
    assert.deepEqual([silent({}), silent({ gone: said([{ from: 2, to: 2 }]) })], [5, null]);
  });

  test('a store that does not give out what was said: nothing is given up, and the look goes on; a store that does not answer ends it', async (t) => {
    broken();
    const one = await station(t, endpoint);
    await one.look(true);
    await giveUp(one);
    fake.fault = (seen) => (seen.key === goneName(GONE) ? { status: 403, code: 'AccessDenied' } : undefined);
    assert.equal((await one.look(true)).troubles.length, 1);
    assert.equal((await one.journal.freshness()).troubles.length, 1);
    fake.fault = (seen) => (seen.key === goneName(GONE) ? 'cut-before' : undefined);
    await assert.rejects(one.look(true), { code: 'store-unreachable' });
    assert.equal((await one.journal.freshness()).troubles.length, 1);
    fake.fault = () => undefined;
    assert.deepEqual((await one.look(true)).troubles, []);
  });

  test('a clock of this machine that is years off: who may be pinned is a matter of the store alone', async (t) => {
    broken();
    const clock = { ...hurriedClock, date: () => new Date('2031-01-01T00:00:00.000Z') };
    const one = await station(t, endpoint, {}, { clock });
    await one.look(true);
    await giveUp(one);
    const { mayHavePinned: kept } = await one.look(true);
    assert.ok(Math.abs((kept[0]?.untilMs ?? 0) - Date.now()) < 60_000);
  });
});
