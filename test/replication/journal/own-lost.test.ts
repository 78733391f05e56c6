/** An archive is lost, and with it what this station has said; some of that cannot be read back from its journal either. */

import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { wayOutOf } from '../../../src/replication/journal/freshness.ts';
import { segmentName } from '../../../src/replication/journal/names.ts';
import { ID0, MAC, OTHER_MAC, archiveAt } from '../../archive/support.ts';
import { FakeS3, serveSuite } from '../../store/fake-s3.ts';
import { image, journalAt, never, station } from '../support.ts';

describe('what an archive has lost, and the journal of its station does not give back', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  /** Segments of its own: a backup and a label, the pin, a note; then its archive is a new one. */
  async function scene(t: TestContext, spoil: (pinned: string) => void) {
    const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
    await one.keep(image(1000));
    await one.archive.marks.describe(MAC, { label: 'kitchen' });
    await one.pushAll();
    await one.write();
    await one.archive.marks.pin(MAC, ID0, { pinned: true, note: 'mine' });
    await one.write();
    await one.archive.marks.describe(MAC, { note: 'by the door' });
    await one.write();
    await other.keep(image(1000, 2), { mac: OTHER_MAC });
    await other.archive.marks.describe(OTHER_MAC, { label: 'cellar' });
    await other.pushAll();
    await other.write();
    const name = await one.fleet.state.station();
    const pinned = segmentName(name, 2);
    assert.match(fake.text(pinned), /pins\.jsonl/);
    const sound = Buffer.from(fake.text(pinned));
    spoil(pinned);

    const { root } = one.archive;
    await rm(root, { recursive: true });
    await mkdir(root);
    const archive = archiveAt(root);
    await archive.checkWritable();
    const fleet = one.again();
    const journal = journalAt(archive, fleet);
    const look = async () => journal.look(await fleet.open(never), { signal: never, isThorough: true });
    const scan = async () => journal.scan(await fleet.open(never), { signal: never });
    const write = async () => journal.write(await fleet.open(never), never);
    const labels = async () => [
      (await archive.marks.about(MAC)).label,
      (await archive.marks.about(MAC)).note,
      (await archive.marks.about(OTHER_MAC)).label,
    ];
    const pins = async () => (await archive.marks.of(MAC)).pins.map(({ id }) => id);
    const bucket = () => fleet.open(never);
    return { ...{ one, archive, name, pinned, sound, other, journal, look, scan, write, labels, pins, bucket } };
  }

  const deny = (status: number, code: string) => (pinned: string) => {
    fake.fault = ({ key }) => (key === pinned ? { status, code } : undefined);
  };
  const change = (how: (text: string) => string) => (pinned: string) => {
    const text = how(fake.text(pinned));
    assert.notEqual(text, fake.text(pinned));
    fake.replace(pinned, Buffer.from(text));
  };

  for (const [what, spoil, code] of [
    ['cut', change((text) => text.slice(0, -15)), 'store-damaged'],
    [
      'with a pin taken back',
      change((text) => text.replace(`"id":"${ID0}"`, `"pinned":false,"id":"${ID0}"`)),
      'store-damaged',
    ],
    ['of a later espd', change((text) => text.replace('"format":1', '"format":2')), 'archive-newer'],
    ['missing', (pinned: string) => fake.objects.delete(pinned), 'store-damaged'],
    ['denied', deny(403, 'AccessDenied'), 'store-denied'],
    ['answered with 500', deny(500, 'InternalError'), 'store-busy'],
    ['in an archive class', deny(403, 'InvalidObjectState'), 'store-archived'],
  ] as const) {
    test(`a segment ${what}: all else is heard, it is told, nobody says it is empty; read later, the pin is back`, async (t) => {
      const { name, pinned, sound, journal, look, scan, write, labels, pins } = await scene(t, spoil);
      const news = await look();
      assert.deepEqual(await labels(), ['kitchen', 'by the door', 'cellar'], 'hearing went on');
      assert.deepEqual(await pins(), []);
      assert.deepEqual(
        news.troubles.map((each) => [each.station, each.code, each.segments, each.isOwn]),
        [[name, code, 1, true]],
      );
      const wayOut = wayOutOf(news.troubles[0]!);
      if (code === 'archive-newer') assert.equal(wayOut, undefined, 'a later espd here reads it');
      else assert.match(wayOut ?? '', new RegExp(`espd stations --gone ${name}$`));
      assert.deepEqual(
        (await journal.freshness()).stations.map((each) => each.name),
        (await journal.stations()).flatMap((each) => (each.isOwn === true ? [] : [each.name])),
      );

      // Another process, what it says itself, the weekly scan: none of them may make it look mended.
      const there = fake.objects.get(pinned);
      await write();
      assert.equal((await scan()).mended, 0);
      assert.equal(fake.objects.get(pinned), there);
      assert.equal((await look()).troubles.length, 1);
      assert.deepEqual(await pins(), []);

      fake.fault = () => undefined;
      fake.objects.set(pinned, { bytes: sound, etag: 'none' });
      assert.deepEqual((await look()).troubles, []);
      assert.deepEqual(await pins(), [ID0]);
      assert.ok((await journal.stations()).every((each) => each.isOwn !== true));
      assert.equal((await scan()).mended, 0);
    });
  }

  test('once it is given up, all stations know, retention spares what may be pinned, and nothing is a trouble any more', async (t) => {
    const { name, journal, look, other, bucket } = await scene(
      t,
      change((text) => text.slice(0, -15)),
    );
    assert.equal((await other.look(true)).troubles.length, 1);
    await look();
    const [own] = (await journal.stations()).filter((each) => each.isOwn === true);
    assert.deepEqual([own?.name, own?.lost, own?.heardAt], [name, [{ from: 2, to: 2 }], null]);
    await journal.sayGone(await bucket(), { station: name, segments: [...own!.lost], keepsBackups: true }, never);
    const news = await look();
    assert.deepEqual([news.troubles, news.mayHavePinned.map((each) => each.station)], [[], [name]]);
    const theirs = await other.look(true);
    assert.deepEqual([theirs.troubles, theirs.mayHavePinned.map((each) => each.station)], [[], [name]]);
  });

  test('many that are not given out: each look comes further, and what others say has its turn', async (t) => {
    const { name, look, labels } = await scene(t, () => undefined);
    const segments = fake.names.filter((each) => each.startsWith(`journal/${name}/`));
    fake.fault = ({ key, method }) =>
      method === 'GET' && segments.includes(key) ? { status: 403, code: 'AccessDenied' } : undefined;
    await assert.rejects(look(), { code: 'store-denied' }, 'three in a row: it may be the store');
    const { troubles } = await look();
    assert.deepEqual(
      troubles.map((each) => [each.station, each.segments]),
      [[name, segments.length]],
    );
    assert.deepEqual(await labels(), [null, null, 'cellar']);
    fake.fault = () => undefined;
    assert.deepEqual([(await look()).troubles, await labels()], [[], ['kitchen', 'by the door', 'cellar']]);
  });

  test('an archive that another station had: what that one misses is none of this one', async (t) => {
    const { name, look, journal, one, archive } = await scene(
      t,
      change((text) => text.slice(0, -15)),
    );
    await look();
    assert.equal((await journal.stations()).filter((each) => each.isOwn === true).length, 1);
    // Its state is lost, so it is a station with a new name; what it heard under the old one is still in the cache.
    await rm(join(one.folder, 'state'), { recursive: true });
    const renamed = one.again();
    assert.notEqual(await renamed.state.station(), name);
    const anew = journalAt(archive, renamed);
    assert.equal((await anew.stations()).filter((each) => each.isOwn === true).length, 1);
    const news = await anew.look(await renamed.open(never), { signal: never, isThorough: true });
    assert.deepEqual(
      news.troubles.map((each) => [each.station, each.isOwn]),
      [[name, undefined]],
      'that one may say it again',
    );
    assert.ok((await anew.stations()).every((each) => each.isOwn !== true));
  });
});
