/** Journals: what one station says another hears, once, whatever happens to either of them. */

import assert from 'node:assert/strict';
import { copyFile, cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { draftName, currentOwner } from '../../../src/archive/owner.ts';
import type { Archive } from '../../../src/archive/types.ts';
import type { StoreConfig } from '../../../src/config/store.ts';
import { hasCode } from '../../../src/errors.ts';
import { journalFolder, segmentName } from '../../../src/replication/journal/names.ts';
import type { Heard } from '../../../src/replication/journal/state.ts';
import { sealSegment } from '../../../src/replication/journal/writer.ts';
import { type JournalLine, encodeLine, encodeSegment } from '../../../src/replication/journal/segment.ts';
import { type Mac, macToFolder } from '../../../src/mac.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, archiveAt, temporaryFolder } from '../../archive/support.ts';
import { FakeS3, serveSuite } from '../../store/fake-s3.ts';
import { type Station, hurriedClock, image, journalAt, never, station } from '../support.ts';

const DAY_MS = 24 * 3_600_000;

describe('journals', () => {
  const fake = new FakeS3();
  let endpoint = '';
  serveSuite(fake, (started) => (endpoint = started));

  const segments = () => fake.names.filter((name) => name.startsWith('journal/'));
  const linesOf = (name: string) =>
    fake
      .text(name)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  /** All but the heads. */
  const said = () => segments().flatMap((name) => linesOf(name).slice(1));
  const stateOf = (one: Station, file: string) => join(one.fleet.state.folder, file);
  const heardOf = (one: Station) => join(one.archive.root, 'cache', `heard-${basename(one.fleet.state.folder)}.json`);
  const put = (name: string, bytes: Buffer | string) =>
    fake.objects.set(name, { bytes: Buffer.from(bytes), etag: 'none' });
  /** A board without backups. */
  const knows = (one: Station, mac: Mac) => mkdir(join(one.archive.root, macToFolder(mac)), { recursive: true });
  const STRANGER = 'bench9-0123456789ab';
  const say = (seq: number, lines: readonly (JournalLine | object)[], at = new Date().toISOString()) => {
    const texts = lines.map((line) => encodeLine(line as JournalLine));
    put(segmentName(STRANGER, seq), encodeSegment({ station: STRANGER, seq, at }, texts));
  };
  const label = (text: string, at = '2026-11-24T10:00:00.000Z'): JournalLine => ({
    ...{ kind: 'mark', mac: MAC, file: 'labels.jsonl' },
    line: { at, label: text },
  });

  describe('two stations', () => {
    test('backups and marks of one are known at the other; nothing comes back; a look without news is one request', async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      const backup = await one.keep(image(50_000));
      await one.archive.marks.describe(MAC, { label: 'kitchen' });
      await one.archive.marks.pin(MAC, ID0, { pinned: true, note: null });
      await one.pushAll();
      await one.write();

      const news = await other.look();
      assert.deepEqual([news.macs, news.described, news.backups, news.marks, news.troubles], [[MAC], [MAC], 1, 2, []]);
      assert.deepEqual(news.stations, [await one.fleet.state.station()]);
      const [stored, ...rest] = await other.archive.elsewhere.of(MAC);
      assert.deepEqual(rest, []);
      assert.deepEqual([stored?.folder, stored?.manifest], [`${FOLDER}/${ID0}/`, backup.manifest]);
      const marks = await other.archive.marks.of(MAC);
      assert.deepEqual([marks.about.label, marks.pins.map(({ id }) => id)], ['kitchen', [ID0]]);
      // Own pushes are noted here as well.
      assert.equal((await one.archive.elsewhere.of(MAC)).length, 1);

      const before = said().length;
      await other.write();
      assert.equal(said().length, before, 'it says nothing of what it was told');
      assert.deepEqual((await one.look()).macs, []);
      fake.seen.length = 0;
      assert.deepEqual((await other.look()).macs, []);
      assert.deepEqual(
        fake.seen.map(({ method, key }) => [method, key]),
        [['GET', segmentName(await one.fleet.state.station(), 2)]],
        'docs/fleet.md reckons with one GET for each other station',
      );
    });

    test('what is said already is not said again; after a day of silence a station says that it is there', async (t) => {
      let nowMs = Date.now();
      const clock = { ...hurriedClock, date: () => new Date(nowMs) };
      const one = await station(t, endpoint, {}, { clock });
      await one.archive.checkWritable();
      assert.deepEqual(await one.write(), { segments: 1, lines: 0 });
      assert.deepEqual(await one.write(), { segments: 0, lines: 0 });
      fake.seen.length = 0;
      nowMs += DAY_MS - 1000;
      await one.write();
      assert.deepEqual(fake.seen, [], 'nothing to say costs nothing');
      nowMs += 2000;
      assert.deepEqual(await one.write(), { segments: 1, lines: 0 });
      assert.equal(segments().length, 2);
    });

    test('how fresh what is known is, and who is silent', async (t) => {
      let nowMs = Date.now();
      const clock = { ...hurriedClock, date: () => new Date(nowMs) };
      const [one, other] = [await station(t, endpoint), await station(t, endpoint, {}, { clock })];
      for (const each of [one, other]) await each.archive.checkWritable();
      assert.deepEqual(await other.journal.freshness(), { lookedAt: null, stations: [], troubles: [] });
      await one.write();
      await other.look();
      const name = await one.fleet.state.station();
      const fresh = await other.journal.freshness();
      assert.equal(fresh.lookedAt, new Date(nowMs).toISOString());
      assert.deepEqual([fresh.stations[0]?.name, fresh.stations[0]?.silentDays], [name, null]);
      assert.ok(Math.abs(Date.parse(fresh.stations[0]?.heardAt ?? '') - nowMs) < 60_000);
      nowMs += 3.5 * DAY_MS;
      assert.equal((await other.journal.freshness()).stations[0]?.silentDays, 3);
      nowMs += 60 * DAY_MS;
      assert.equal((await other.journal.freshness()).stations[0]?.silentDays, null, 'not used any more');
    });

    test('what was removed from the store is known elsewhere, also where the store did not answer then', async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      await other.look();
      const bucket = await one.fleet.open(never);
      fake.fault = () => ({ status: 503, code: 'SlowDown' });
      await one.journal.addRemoved(bucket, { mac: MAC, id: ID0, folder: `${FOLDER}/${ID0}/` });
      await assert.rejects(one.write(), (error) => hasCode(error, 'store-busy'));
      fake.fault = () => undefined;
      await one.write();
      assert.equal((await other.look()).removed, 1);
      assert.deepEqual(await other.archive.elsewhere.of(MAC), []);
      await one.write();
      assert.equal(said().filter(({ kind }) => kind === 'removed').length, 1);
    });

    test('a clock that is an hour or years wrong: all is heard, and a later label of somebody else still counts', async (t) => {
      for (const wrongMs of [-3_600_000, 3_600_000, 20 * 365 * DAY_MS]) {
        fake.objects.clear();
        const clock = { ...hurriedClock, date: () => new Date(Date.now() + wrongMs) };
        const wrong = await station(t, endpoint, {}, { clock, options: { clock } });
        const [right, third] = [await station(t, endpoint), await station(t, endpoint)];
        await wrong.keep(image(1000));
        await wrong.archive.marks.describe(MAC, { label: 'from the wrong clock' });
        await wrong.pushAll();
        await wrong.write();
        await right.look();
        assert.equal((await right.archive.marks.about(MAC)).label, 'from the wrong clock');
        await right.archive.marks.describe(MAC, { label: 'later' });
        await right.write();
        await third.look();
        assert.equal((await right.archive.marks.about(MAC)).label, 'later');
        assert.equal((await third.archive.marks.about(MAC)).label, 'later');
      }
    });

    test('what a station with a slow clock has removed is gone for all, for itself as well', async (t) => {
      // Of the first one the store takes no notice: it is within what may be wrong of a request.
      for (const wrongMs of [-600_000, -3_600_000, -20 * 365 * DAY_MS, 3_600_000]) {
        fake.objects.clear();
        const clock = { ...hurriedClock, date: () => new Date(Date.now() + wrongMs) };
        const wrong = await station(t, endpoint, {}, { clock, options: { clock } });
        const right = await station(t, endpoint);
        await right.keep(image(1000));
        await right.pushAll();
        await right.write();
        await wrong.look();
        assert.equal((await wrong.archive.elsewhere.of(MAC)).length, 1);
        const bucket = await wrong.fleet.open(never);
        await wrong.journal.addRemoved(bucket, { mac: MAC, id: ID0, folder: `${FOLDER}/${ID0}/` });
        await wrong.write();
        assert.equal((await right.look()).removed, 1, `${wrongMs} ms`);
        assert.deepEqual(await right.archive.elsewhere.of(MAC), [], `${wrongMs} ms`);
        assert.deepEqual(await wrong.archive.elsewhere.of(MAC), [], `${wrongMs} ms`);
      }
    });

    test('the clock of the store an hour wrong', async (t) => {
      for (const aheadMs of [3_600_000, -3_600_000]) {
        fake.objects.clear();
        fake.quirks = { aheadMs };
        const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
        await one.keep(image(1000));
        await one.archive.marks.describe(MAC, { label: 'kitchen' });
        await one.pushAll();
        await one.write();
        await other.look();
        assert.equal((await other.archive.marks.about(MAC)).label, 'kitchen');
        const heardAt = Date.parse((await other.journal.freshness()).stations[0]?.heardAt ?? '');
        assert.ok(Math.abs(heardAt - Date.now()) < 60_000, 'by this clock');
      }
    });

    test('many boards go in segments of bounded size, and all of them arrive', async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      const macs = Array.from({ length: 1100 }, (_, index) => `02-00-00-00-${hex(index >> 8)}-${hex(index & 255)}`);
      for (const [index, folder] of macs.entries()) {
        await mkdir(join(one.archive.root, folder), { recursive: true });
        const line = JSON.stringify({ at: '2026-11-24T10:00:00.000Z', label: `board ${index}` });
        await writeFile(join(one.archive.root, folder, 'labels.jsonl'), `${line}\n`);
      }
      assert.deepEqual(await one.write(), { segments: 3, lines: 1100 });
      for (const name of segments()) {
        assert.ok(linesOf(name).length <= 501);
        assert.ok((fake.objects.get(name)?.bytes.length ?? 0) <= 1024 * 1024 + 1000);
      }
      const news = await other.look();
      assert.deepEqual([news.macs.length, news.marks, news.isMore], [1100, 1100, false]);
      assert.equal((await other.archive.marks.labels()).size, 1100);
    });
  });

  describe('a process that ends at any moment', () => {
    test('of the one that writes: nothing is left out, and what is said twice counts once', async (t) => {
      const other = await station(t, endpoint);
      for (let kill = 1; kill <= 8; kill++) {
        fake.objects.clear();
        const one = await station(t, endpoint);
        await one.keep(image(1000));
        await one.archive.marks.describe(MAC, { label: `label ${kill}` });
        await one.pushAll();
        const bucket = await one.fleet.open(never);
        const killed = new AbortController();
        let count = 0;
        fake.fault = () => {
          if (++count !== kill) return undefined;
          killed.abort(new Error('killed'));
          return 'cut-after';
        };
        await journalAt(one.archive, one.again())
          .write(bucket, killed.signal)
          .catch(() => undefined);
        fake.fault = () => undefined;
        await one.write();
        await one.write();
        await other.look(true);
        assert.equal((await other.archive.marks.about(MAC)).label, `label ${kill}`);
        assert.equal((await other.archive.elsewhere.of(MAC)).length, 1);
      }
    });

    test('its cursor is as before the last segment: the same lines under the next number', async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      await one.archive.checkWritable();
      await one.write();
      await copyFile(stateOf(one, 'journal.json'), stateOf(one, 'before'));
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      await copyFile(stateOf(one, 'before'), stateOf(one, 'journal.json'));
      await one.write();
      assert.equal(segments().length, 3);
      assert.equal(said().length, 2);
      const news = await other.look();
      assert.deepEqual([news.backups, (await other.archive.elsewhere.of(MAC)).length], [1, 1]);
    });

    test('of the one that reads: it goes on where it was', async (t) => {
      const one = await station(t, endpoint);
      await knows(one, MAC);
      for (let count = 0; count < 4; count++) {
        await one.archive.marks.describe(MAC, { note: `note ${count}` });
        await one.write();
      }
      const from = await one.fleet.state.station();
      const nexts = new Set<number>();
      for (let kill = 1; kill <= 6; kill++) {
        const other = await station(t, endpoint);
        const bucket = await other.fleet.open(never);
        const killed = new AbortController();
        let count = 0;
        fake.fault = () => {
          if (++count !== kill) return undefined;
          killed.abort(new Error('killed'));
          return 'cut-after';
        };
        await other.journal.look(bucket, { signal: killed.signal, isThorough: true }).catch(() => undefined);
        fake.fault = () => undefined;
        const heard = JSON.parse(await readFile(heardOf(other), 'utf8').catch(() => '{}')) as Partial<Heard>;
        const next = heard.stations?.[from]?.next ?? 1;
        fake.seen.length = 0;
        await journalAt(other.archive, other.again()).look(bucket, { signal: never, isThorough: true });
        const asked = fake.seen.flatMap(({ method, key }) =>
          method === 'GET' && segments().includes(key) ? [key] : [],
        );
        const rest = [1, 2, 3, 4].filter((seq) => seq >= next).map((seq) => segmentName(from, seq));
        assert.deepEqual(asked, rest, 'what was heard is not asked for again');
        nexts.add(next);
        const text = await readFile(join(other.archive.root, FOLDER, 'labels.jsonl'), 'utf8');
        assert.equal(text.trim().split('\n').length, 4, `killed at request ${kill}`);
        assert.equal((await other.archive.marks.about(MAC)).note, 'note 3');
      }
      assert.deepEqual([...nexts].sort(), [1, 2, 3, 4], 'ended at each of them');
    });
  });

  describe('two processes of one station', () => {
    for (const quirks of [{}, { ignoresConditions: true }, { refusesConditions: true }]) {
      test(`at once: each number is put once (${Object.keys(quirks).join() || 'conditions are honoured'})`, async (t) => {
        fake.quirks = quirks;
        const one = await station(t, endpoint);
        await one.keep(image(1000));
        await one.pushAll();
        const bucket = await one.fleet.open(never);
        const patient = { ...hurriedClock, schedule: waiting };
        fake.seen.length = 0;
        await Promise.all(
          Array.from({ length: 4 }, async (_, index) => {
            await one.archive.marks.describe(MAC, { note: `note ${index}` });
            await journalAt(one.archive, one.again(), { clock: patient }).write(bucket, never);
          }),
        );
        await one.write();
        const name = await one.fleet.state.station();
        assert.deepEqual(
          segments(),
          segments().map((_, index) => segmentName(name, index + 1)),
        );
        const puts = fake.seen.filter(({ method, key }) => method === 'PUT' && key.startsWith('journal/'));
        assert.equal(new Set(puts.map(({ key }) => key)).size, puts.length, 'none was put over another');
        const other = await station(t, endpoint);
        await other.look();
        const notes = said().flatMap(({ line }) => (line as { note?: string } | undefined)?.note ?? []);
        assert.deepEqual([...new Set(notes)].sort(), ['note 0', 'note 1', 'note 2', 'note 3']);
      });
    }

    test('looks at the same moment, also within one process, keep what they have read', async (t) => {
      const one = await station(t, endpoint);
      await one.archive.checkWritable();
      await one.write();
      for (let seq = 1; seq <= 5; seq++) say(seq, []);
      await Promise.all(Array.from({ length: 8 }, () => one.look(true)));
      fake.seen.length = 0;
      await one.look();
      assert.deepEqual(
        fake.seen.map(({ key }) => key),
        [segmentName(STRANGER, 6)],
      );
    });

    test('a number that somebody has taken is passed over', async (t) => {
      const one = await station(t, endpoint);
      await one.archive.checkWritable();
      const name = await one.fleet.state.station();
      for (let seq = 1; seq <= 9; seq++) put(segmentName(name, seq), 'taken');
      // As one that knows nothing of them; its lists lag besides.
      await mkdir(dirname(stateOf(one, 'x')), { recursive: true });
      await writeFile(
        stateOf(one, 'journal.json'),
        JSON.stringify({ next: 1, done: { count: 0, last: '' }, outbox: { byte: 0 }, marks: {}, putAt: null }),
      );
      await one.write();
      assert.equal(fake.text(segmentName(name, 1)), 'taken');
      assert.equal(segments().at(-1), segmentName(name, 10));
    });

    test('the lock of a process that is gone is taken, that of one that works is not', async (t) => {
      const one = await station(t, endpoint);
      await knows(one, MAC);
      await one.write();
      await one.archive.marks.describe(MAC, { note: 'x' });
      const self = await currentOwner();
      const lock = stateOf(one, 'journal.lock');
      await writeFile(lock, draftName(self));
      assert.equal(await one.write(), undefined);
      await writeFile(lock, draftName({ ...self, pid: 2 ** 22 - 1 }));
      assert.deepEqual(await one.write(), { segments: 1, lines: 1 });
      await assert.rejects(readFile(lock), { code: 'ENOENT' });
    });
  });

  describe('a state that was lost', () => {
    test('only what was said: the numbers go on behind those that are there', async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      await other.look();
      const before = fake.text(segments()[0] ?? '');
      await rm(stateOf(one, 'journal.json'));
      await one.write();
      assert.equal(segments().length, 2);
      assert.equal(fake.text(segments()[0] ?? ''), before);
      assert.deepEqual((await other.look()).macs, [], 'all of it was known');
    });

    test('all of it: the station has another name, hears all again, and says all again', async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      await one.keep(image(1000));
      await one.archive.marks.describe(MAC, { label: 'kitchen' });
      await one.pushAll();
      await one.write();
      const before = new Map(fake.objects);
      const name = await one.fleet.state.station();
      await rm(join(one.folder, 'state'), { recursive: true });
      const again = journalAt(one.archive, one.again());
      const fleet = one.again();
      assert.notEqual(await fleet.state.station(), name);
      await again.look(await fleet.open(never), { signal: never, isThorough: true });
      await again.write(await fleet.open(never), never);
      for (const [key, { bytes }] of before) {
        if (!key.startsWith('probes/')) assert.ok(fake.objects.get(key)?.bytes.equals(bytes), key);
      }
      await other.look(true);
      assert.equal((await other.archive.marks.about(MAC)).label, 'kitchen');
      assert.equal((await one.archive.marks.about(MAC)).label, 'kitchen');
      assert.equal((await other.archive.elsewhere.of(MAC)).length, 1);
    });

    test('a backup that was removed meanwhile is not said to be there', async (t) => {
      const one = await station(t, endpoint);
      await one.keep(image(1000));
      await one.pushAll();
      await one.write();
      await rm(stateOf(one, 'journal.json'));
      fake.objects.delete(`${FOLDER}/${ID0}/SHA256SUMS`);
      await one.write();
      assert.equal(said().filter(({ kind }) => kind === 'backup').length, 1);
      // Whether somebody meant it, a scan finds out.
      await one.journal.scan(await one.fleet.open(never), { signal: never });
      assert.deepEqual(await one.archive.elsewhere.of(MAC), []);
    });

    test('a station hears of itself what its archive lacks, once, and no more', async (t) => {
      const one = await station(t, endpoint);
      const name = await one.fleet.state.station();
      put(
        segmentName(name, 1),
        encodeSegment({ station: name, seq: 1, at: new Date().toISOString() }, [encodeLine(label('x'))]),
      );
      await one.archive.checkWritable();
      assert.equal((await one.look(true)).macs.length, 1);
      await one.archive.marks.describe(MAC, { label: 'y' });
      await one.write();
      assert.deepEqual((await one.look(true)).macs, [], 'what it has said out of this archive');
      const state = { next: 1, isEncrypted: false, heardAt: null, unread: [] };
      await writeFile(
        heardOf(one),
        JSON.stringify({ own: 2, lookedAt: null, listedAt: null, stations: { [name]: state } }),
      );
      assert.deepEqual((await one.look(true)).macs, []);
    });

    test('what an archive that is old, or new, does not have is heard again: nothing pinned is unknown', async (t) => {
      const [one, other] = [await station(t, endpoint), await station(t, endpoint)];
      const root = one.archive.root;
      await one.keep(image(1000));
      await one.archive.marks.describe(MAC, { label: 'kitchen' });
      await one.pushAll();
      await one.write();
      await one.look(true);
      const lines = await readFile(join(root, FOLDER, 'labels.jsonl'), 'utf8');
      await cp(root, `${root}.old`, { recursive: true });
      const stateRoot = join(one.folder, 'state');
      await cp(stateRoot, `${stateRoot}.old`, { recursive: true });
      await one.archive.marks.pin(MAC, ID0, { pinned: true, note: 'mine' });
      await one.write();
      await other.archive.checkWritable();
      await other.look(true);
      const theirs = '2026-11-24T10:00:00.000Z';
      const late = await other.keep(image(1000, 3), { createdAt: theirs });
      await other.pushAll();
      await other.archive.marks.pin(MAC, late.id, { pinned: true, note: 'theirs' });
      await other.write();
      await one.look(true);
      const known = async (archive: Archive) => [
        (await archive.marks.about(MAC)).label,
        (await archive.marks.of(MAC)).pins.map(({ id }) => id),
        (await archive.elsewhere.of(MAC)).map(({ id }) => id),
      ];
      const all = ['kitchen', [ID0, late.id], [ID0, late.id]];
      assert.deepEqual(await known(one.archive), all);
      await cp(root, `${root}.new`, { recursive: true });
      // As `rsync` or `cp -a` bring back a copy: it has no cache, and what it does not have stays.
      const copyOver = async () => {
        await cp(`${root}.new`, root, { recursive: true });
        const isCache = (path: string) => path.includes('/archive.old/cache');
        await cp(`${root}.old`, root, { recursive: true, filter: (path) => !isCache(path) });
        // A file that the copy does not have would be left as it is: here the disk has lost it.
        await rm(join(root, FOLDER, 'pins.jsonl'));
      };
      for (const [what, replace] of Object.entries({
        old: () => cp(`${root}.old`, root, { recursive: true }),
        new: () => mkdir(root),
        // As a machine that goes back to its snapshot.
        'with older files over it': copyOver,
        'with older files over it, and so is the state': async () => {
          await copyOver();
          await rm(stateRoot, { recursive: true });
          await cp(`${stateRoot}.old`, stateRoot, { recursive: true });
        },
        'old, and so is the state': async () => {
          await rm(stateRoot, { recursive: true });
          await cp(`${stateRoot}.old`, stateRoot, { recursive: true });
          await rename(`${root}.old`, root);
        },
      })) {
        await rm(root, { recursive: true });
        await replace();
        const archive = archiveAt(root);
        await archive.checkWritable();
        const fleet = one.again();
        await journalAt(archive, fleet).look(await fleet.open(never), { signal: never, isThorough: true });
        assert.deepEqual(await known(archive), all, what);
        if (what === 'old') {
          assert.equal(await readFile(join(root, FOLDER, 'labels.jsonl'), 'utf8'), lines, 'its own lines are no news');
        }
      }
    });
  });

  describe('segments that are none', () => {
    const good = (seq: number) => say(seq, [label(`of ${seq}`, `2026-11-24T10:00:0${seq}.000Z`)]);
    const labelAt = async (one: Station) => (await one.archive.marks.about(MAC)).label;

    for (const [what, spoil] of [
      ['empty', () => put(segmentName(STRANGER, 2), '')],
      ['garbage', () => put(segmentName(STRANGER, 2), Buffer.alloc(5000, 0xa5))],
      ['of another place', () => put(segmentName(STRANGER, 2), fake.text(segmentName(STRANGER, 1)))],
      ['longer than memory', () => put(segmentName(STRANGER, 2), Buffer.alloc(9 * 1024 * 1024, 10))],
      ['longer than any that espd writes', () => put(segmentName(STRANGER, 2), Buffer.alloc(3 * 1024 * 1024, 10))],
      [
        'of too many lines',
        () =>
          say(
            2,
            Array.from({ length: 501 }, () => label('many')),
          ),
      ],
      ['cut', () => put(segmentName(STRANGER, 2), fake.text(segmentName(STRANGER, 2)).slice(0, -20))],
      [
        'without its line',
        () => put(segmentName(STRANGER, 2), fake.text(segmentName(STRANGER, 2)).replace(/\n.*\n$/, '\n')),
      ],
      ['missing', () => fake.objects.delete(segmentName(STRANGER, 2))],
    ] as const) {
      test(`${what}: what is behind it is heard, it is told, and asked for again`, async (t) => {
        const other = await station(t, endpoint);
        for (const seq of [1, 2, 3]) good(seq);
        spoil();
        const news = await other.look(true);
        assert.equal(await labelAt(other), 'of 3');
        assert.deepEqual(
          news.troubles.map((each) => [each.station, each.code, each.segments]),
          [[STRANGER, 'store-damaged', 1]],
        );
        assert.match(news.troubles[0]?.message ?? '', /2/);
        assert.equal((await other.journal.freshness()).troubles.length, 1);
        fake.seen.length = 0;
        await other.look();
        assert.equal(fake.seen.length, 1, 'not at each look');
        say(2, [label('mended', '2026-11-25T10:00:00.000Z')]);
        const later = await other.look(true);
        assert.deepEqual([await labelAt(other), later.troubles], ['mended', []]);
      });
    }

    for (const [status, code, expected] of [
      [403, 'AccessDenied', 'store-denied'],
      [500, 'InternalError', 'store-busy'],
      [403, 'InvalidObjectState', 'store-archived'],
    ] as const) {
      test(`not given out (${code}): what is behind it and what others say is heard; it is told, and read when it can be`, async (t) => {
        const other = await station(t, endpoint);
        for (const seq of [1, 2, 3]) good(seq);
        const third = await station(t, endpoint);
        await third.archive.checkWritable();
        await third.write();
        const mute = (keys: readonly string[]) => {
          fake.fault = ({ key }) => (keys.includes(key) ? { status, code } : undefined);
        };
        mute([segmentName(STRANGER, 2)]);
        const news = await other.look(true);
        assert.equal(await labelAt(other), 'of 3');
        assert.deepEqual(
          news.troubles.map((each) => [each.station, each.code, each.segments]),
          [[STRANGER, expected, 1]],
        );
        assert.match(news.troubles[0]?.message ?? '', /Segment 2 of the journal/);
        assert.equal((await other.journal.freshness()).stations.length, 2);
        // A second process, with what the first one has kept.
        assert.equal((await other.look()).troubles.length, 1);
        say(2, [label('mended', '2026-11-25T10:00:00.000Z')]);
        fake.fault = () => undefined;
        assert.deepEqual([(await other.look(true)).troubles, await labelAt(other)], [[], 'mended']);
      });
    }

    test('who may not read answers so for the next one too, which is not there: that is no trouble', async (t) => {
      const other = await station(t, endpoint);
      good(1);
      fake.fault = ({ key, method }) =>
        method !== 'PUT' && key > segmentName(STRANGER, 1) && key.startsWith(journalFolder(STRANGER))
          ? { status: 403, code: 'AccessDenied' }
          : undefined;
      assert.deepEqual([(await other.look(true)).troubles, await labelAt(other)], [[], 'of 1']);
      good(2);
      assert.equal((await other.look(true)).troubles.length, 1);
      fake.fault = () => undefined;
      assert.deepEqual([(await other.look(true)).troubles, await labelAt(other)], [[], 'of 2']);
    });

    test('a station of which nothing is given out keeps no other from being heard; three such ones are the store itself', async (t) => {
      const other = await station(t, endpoint);
      const names = ['aa-0123456789ab', 'ab-0123456789ab', 'ac-0123456789ab', STRANGER];
      for (const name of names) {
        for (let seq = 1; seq <= 5; seq++) {
          const head = { station: name, seq, at: new Date().toISOString() };
          put(segmentName(name, seq), encodeSegment(head, [encodeLine(label(name, `2026-11-24T10:00:0${seq}.000Z`))]));
        }
      }
      const refuse = (some: readonly string[]) => {
        fake.fault = ({ key }) =>
          some.some((name) => key.startsWith(journalFolder(name)) && key.endsWith('.jsonl'))
            ? { status: 403, code: 'AccessDenied' }
            : undefined;
      };
      refuse(names.slice(0, 3));
      await assert.rejects(other.look(true), { code: 'store-denied' });
      refuse(names.slice(0, 2));
      const { troubles } = await other.look(true);
      assert.equal(await labelAt(other), STRANGER);
      assert.deepEqual(
        troubles.map(({ station: name, code }) => [name, code]),
        names.slice(0, 2).map((name) => [name, 'store-denied']),
      );
      fake.fault = () => undefined;
      assert.deepEqual((await other.look(true)).troubles, []);
    });

    test('it is asked for again by the clock, later and later', async (t) => {
      let nowMs = Date.now();
      const clock = { ...hurriedClock, date: () => new Date(nowMs) };
      const other = await station(t, endpoint, {}, { clock });
      for (const seq of [1, 2, 3]) good(seq);
      put(segmentName(STRANGER, 2), 'x');
      await other.look(true);
      const asked = async (hours: number) => {
        nowMs += hours * 3_600_000;
        fake.seen.length = 0;
        await other.look();
        return fake.seen.filter(({ key }) => key === segmentName(STRANGER, 2)).length;
      };
      assert.deepEqual([await asked(0.5), await asked(0.6), await asked(1), await asked(1.1)], [0, 1, 0, 1]);
      good(2);
      assert.equal(await asked(24), 1);
      assert.deepEqual((await other.journal.freshness()).troubles, []);
    });

    test('a gap is not passed over while the station is heard; after a day of silence a list tells', async (t) => {
      let nowMs = Date.now();
      const clock = { ...hurriedClock, date: () => new Date(nowMs) };
      const other = await station(t, endpoint, {}, { clock });
      good(1);
      await other.look(true);
      good(3);
      assert.deepEqual([(await other.look()).macs, await labelAt(other)], [[], 'of 1']);
      nowMs += 27 * 3_600_000;
      const news = await other.look();
      assert.deepEqual([await labelAt(other), news.troubles[0]?.segments], ['of 3', 1]);
    });

    test('a number of ten digits is a gap of one entry, and costs no more than another', async (t) => {
      const other = await station(t, endpoint);
      good(1);
      put(segmentName(STRANGER, 9_999_999_999), 'x');
      const news = await other.look(true);
      assert.ok((news.troubles[0]?.segments ?? 0) > 1e9);
      assert.ok(fake.seen.length < 100);
      fake.seen.length = 0;
      await other.look(true);
      assert.ok(fake.seen.length < 200);
      assert.ok((await readFile(heardOf(other))).length < 10_000);
    });

    test('a store whose lists lag, or that begins them where it likes: nothing is lost or skipped', async (t) => {
      for (const quirks of [{ staleLists: true }, { ignoresAfter: true }]) {
        fake.objects.clear();
        fake.quirks = quirks;
        const other = await station(t, endpoint);
        for (const seq of [1, 2, 3]) good(seq);
        await other.look(true);
        await other.look(true);
        assert.equal(await labelAt(other), 'of 3');
        assert.deepEqual((await other.journal.freshness()).troubles, []);
      }
    });

    test('what is foreign among the journals is left alone', async (t) => {
      const other = await station(t, endpoint);
      good(1);
      for (const name of ['journal/notes.txt', 'journal/a b/x', 'journal/../x', `${journalFolder(STRANGER)}x.txt`])
        put(name, 'x');
      const news = await other.look(true);
      assert.equal(await labelAt(other), 'of 1');
      assert.deepEqual(news.troubles, []);
      assert.ok(news.foreign.includes('journal/notes.txt') && news.foreign.includes(`${journalFolder(STRANGER)}x.txt`));
      assert.ok(fake.objects.has('journal/notes.txt'));
    });

    test('lines of a later espd are passed over, and read when this one is a later one', async (t) => {
      const other = await station(t, endpoint);
      say(1, [{ kind: 'poem', text: 'x' }, label('known', '2026-11-24T10:00:09.000Z')]);
      put(
        segmentName(STRANGER, 2),
        `${JSON.stringify({ kind: 'segment', format: 2, station: STRANGER, seq: 2, at: new Date().toISOString() })}\n`,
      );
      good(3);
      const news = await other.look(true);
      assert.equal(await labelAt(other), 'known');
      assert.deepEqual(
        news.troubles.map(({ code, segments: count }) => [code, count]),
        [['archive-newer', 2]],
      );
      fake.seen.length = 0;
      await other.look();
      assert.equal(fake.seen.length, 1);
      const later = journalAt(other.archive, other.fleet, { version: '0.0.1-test' });
      say(1, [label('understood', '2026-11-26T10:00:00.000Z')]);
      good(2);
      const bucket = await other.fleet.open(never);
      assert.deepEqual((await later.look(bucket, { signal: never, isThorough: false })).troubles, []);
      assert.equal(await labelAt(other), 'understood');
    });
  });

  describe('encrypted', () => {
    const withKey = async (t: Parameters<typeof station>[0], ...keys: string[]): Promise<Partial<StoreConfig>> => {
      const file = join(await temporaryFolder(t), 'key');
      await writeFile(file, keys.map((key) => `${key.repeat(32)}\n`).join(''), { mode: 0o600 });
      return { encryption: { file } };
    };

    test('nothing readable lies there; who has the key hears, who has not is told', async (t) => {
      const one = await station(t, endpoint, await withKey(t, 'ab'));
      await knows(one, MAC);
      await one.archive.marks.describe(MAC, { label: 'the safe' });
      await one.write();
      for (const { bytes } of fake.objects.values()) assert.equal(bytes.includes('the safe'), false);
      assert.ok(segments().every((name) => name.endsWith('.jsonl.enc')));
      const other = await station(t, endpoint, await withKey(t, 'cd', 'ab'));
      await other.look();
      assert.equal((await other.archive.marks.about(MAC)).label, 'the safe');

      for (const config of [await withKey(t, 'cd'), {}]) {
        const stranger = await station(t, endpoint, config);
        const news = await stranger.look(true);
        assert.deepEqual([news.macs, news.troubles.map(({ code }) => code)], [[], ['store-key']]);
      }
    });

    test('a fleet that begins to encrypt: what was before is heard, and what comes after', async (t) => {
      const other = await station(t, endpoint, await withKey(t, 'ab'));
      say(1, [label('before')]);
      await other.look();
      assert.equal((await other.archive.marks.about(MAC)).label, 'before');
      const one = await station(t, endpoint, await withKey(t, 'ab'));
      await knows(one, OTHER_MAC);
      await one.archive.marks.describe(OTHER_MAC, { label: 'after' });
      await one.write();
      await other.look(true);
      assert.equal((await other.archive.marks.about(OTHER_MAC)).label, 'after');
    });

    test('what could not be read from before is still found when it can be', async (t) => {
      const other = await station(t, endpoint, await withKey(t, 'ab'));
      say(1, [label('before')]);
      const sound = fake.text(segmentName(STRANGER, 1));
      put(segmentName(STRANGER, 1), sound.slice(0, -15));
      const bucket = await other.fleet.open(never);
      const theirs = { ...bucket, layout: { ...bucket.layout, station: STRANGER } };
      const line = encodeLine({ ...label('after'), mac: OTHER_MAC });
      const sealed = await sealSegment(theirs, { station: STRANGER, seq: 2, at: new Date().toISOString() }, [line]);
      put(sealed.key, sealed.bytes);
      await other.look(true);
      assert.equal((await other.look(true)).troubles.length, 1);
      assert.equal((await other.archive.marks.about(OTHER_MAC)).label, 'after');
      put(segmentName(STRANGER, 1), sound);
      assert.deepEqual((await other.look(true)).troubles, []);
      assert.equal((await other.archive.marks.about(MAC)).label, 'before');
    });
  });

  describe('bounds', () => {
    test('a disk that is nearly full takes nothing of others, and takes it when it has room', async (t) => {
      let free = 1e6;
      const other = await station(t, endpoint, {}, { freeBytes: () => Promise.resolve(free) });
      say(1, [label('kitchen')]);
      await assert.rejects(other.look(true), (error) => hasCode(error, 'disk-full'));
      free = 1e12;
      await other.look();
      assert.equal((await other.archive.marks.about(MAC)).label, 'kitchen');
    });

    test('a board whose file of marks is long takes no more of others, and of this station it does', async (t) => {
      const other = await station(t, endpoint);
      await mkdir(join(other.archive.root, FOLDER), { recursive: true });
      const line = `${JSON.stringify({ at: '2026-11-20T10:00:00.000Z', note: 'x'.repeat(900) })}\n`;
      await writeFile(join(other.archive.root, FOLDER, 'labels.jsonl'), line.repeat(4700));
      say(1, [label('kitchen')]);
      const news = await other.look(true);
      assert.deepEqual([news.marks, news.troubles.length], [0, 1]);
      assert.match(news.troubles[0]?.message ?? '', /labels\.jsonl/);
      await other.archive.marks.describe(MAC, { label: 'own' });
      assert.equal((await other.archive.marks.about(MAC)).label, 'own');
    });

    test('a long journal is read in turns', async (t) => {
      // Its archive is not there yet, so nothing can be noted in it.
      const other = await station(t, endpoint);
      for (let seq = 1; seq <= 205; seq++) say(seq, []);
      const first = await other.look(true);
      assert.equal(first.isMore, true);
      assert.equal((await other.look()).isMore, false);
      fake.seen.length = 0;
      await other.look();
      assert.deepEqual(
        fake.seen.map(({ key }) => key),
        [segmentName(STRANGER, 206)],
      );
    });
  });
});

const hex = (byte: number) => byte.toString(16).padStart(2, '0');

/** A little, so that another process has its turn. */
function waiting(delayMs: number, callback: () => void): () => void {
  const timer = setTimeout(callback, Math.min(5, delayMs));
  return () => clearTimeout(timer);
}
