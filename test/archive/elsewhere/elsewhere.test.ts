import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { MarkFile, StoredBackup } from '../../../src/archive/elsewhere/types.ts';
import { REPLICATED_MARKS } from '../../../src/archive/elsewhere/types.ts';
import type { Archive } from '../../../src/archive/types.ts';
import { systemClock } from '../../../src/clock.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, T0, archiveAt, backUp, image, newArchive, temporaryFolder } from '../support.ts';
import { OTHER_STATION, STATION, stored } from './support.ts';

const LATER = '2026-11-23T12:00:00.000Z';
const gone = ({ mac, id, store, folder }: StoredBackup, at = LATER) => ({ mac, id, store, folder, at });
const lines = (archive: Archive, file: string) =>
  readFile(join(archive.root, FOLDER, file), 'utf8').then(
    (text) => text.trimEnd().split('\n'),
    () => [],
  );

describe('backups in a store', () => {
  test('what is noted is known, once, also by another process; a board that is only there has a folder', async (t) => {
    const archive = await newArchive(t);
    const backup = stored();
    assert.equal(await archive.elsewhere.note(backup), true);
    assert.equal(await archive.elsewhere.note(backup), false);
    assert.equal((await lines(archive, 'elsewhere.jsonl')).length, 1);
    for (const each of [archive, archiveAt(archive.root)]) {
      assert.deepEqual(await each.elsewhere.of(MAC), [backup]);
      assert.deepEqual((await each.boards()).macs, [MAC]);
      assert.deepEqual((await each.boards()).foreign, []);
      assert.deepEqual((await each.history(MAC)).foreign, []);
      assert.deepEqual((await each.verify({})).damaged, []);
    }
    assert.equal(await archiveAt(archive.root).elsewhere.note(backup), false);
    assert.deepEqual(await archive.elsewhere.of(OTHER_MAC), []);
  });

  test('what is forgotten is gone, and comes back where it is noted later', async (t) => {
    const archive = await newArchive(t);
    const backup = stored();
    assert.equal(await archive.elsewhere.forget(gone(backup)), false, 'never known');
    assert.equal(await archive.elsewhere.note(backup), false, 'older than its removal');
    assert.deepEqual(await archive.elsewhere.of(MAC), []);
    const again = { ...backup, at: '2026-11-23T13:00:00.000Z' };
    assert.equal(await archive.elsewhere.note(again), true);
    assert.deepEqual(await archive.elsewhere.of(MAC), [again]);
    assert.equal(await archive.elsewhere.forget(gone(backup)), false);
    assert.equal(await archive.elsewhere.forget(gone(backup, '2026-11-23T14:00:00.000Z')), true);
    assert.deepEqual(await archive.elsewhere.of(MAC), []);
  });

  test('two stations of one second are two, and so are two stores', async (t) => {
    const archive = await newArchive(t);
    const shared = stored();
    const own = stored(
      { station: OTHER_STATION, folder: `stations/${OTHER_STATION}/${FOLDER}/${ID0}/` },
      image(1000, 2),
    );
    const otherStore = stored({ store: 'f'.repeat(16) });
    for (const each of [own, otherStore, shared]) assert.equal(await archive.elsewhere.note(each), true);
    assert.deepEqual(await archive.elsewhere.of(MAC), [shared, own, otherStore]);
    await archive.elsewhere.forget(gone(shared));
    assert.deepEqual(await archive.elsewhere.of(MAC), [own, otherStore]);
  });

  test('the order in which notes come decides nothing', async (t) => {
    const root = await temporaryFolder(t);
    let run = 0;
    const times = ['2026-11-23T11:00:00.000Z', '2026-11-23T11:00:00Z', LATER, '2026-11-23T13:00:00.000Z'];
    const event = fc.record({
      removed: fc.boolean(),
      at: fc.constantFrom(...times),
      seed: fc.constantFrom(1, 2),
      day: fc.constantFrom('2026-11-23T10:00:00.000Z', '2026-11-24T10:00:00.000Z'),
      station: fc.constantFrom(STATION, OTHER_STATION),
    });
    const shuffled = fc
      .array(event, { minLength: 1, maxLength: 8 })
      .chain((events) => fc.tuple(fc.constant(events), fc.shuffledSubarray(events, { minLength: events.length })));
    await fc.assert(
      fc.asyncProperty(shuffled, async (orders) => {
        const results = [];
        for (const order of orders) {
          const archive = archiveAt(join(root, `${run++}`));
          for (const { removed, at, seed, day, station } of order) {
            const backup = stored({ at, station }, image(100, seed), day);
            await (removed ? archive.elsewhere.forget(gone(backup, at)) : archive.elsewhere.note(backup));
          }
          const known = await archive.elsewhere.of(MAC);
          results.push(known.map(({ at, ...rest }) => ({ ...rest, at: Date.parse(at) })));
        }
        assert.deepEqual(results[0], results[1]);
      }),
      { numRuns: 30 },
    );
  });

  const wrong: Record<string, Partial<StoredBackup>> = {
    'a folder above': { folder: `../${FOLDER}/${ID0}/` },
    'a folder of another board': { folder: `24-0a-c4-00-01-02/${ID0}/` },
    'a folder of another backup': { folder: `${FOLDER}/2026-11-24T10-00-00Z/` },
    'a folder without its slash': { folder: `${FOLDER}/${ID0}` },
    'a station with a path in its name': { folder: `stations/../${FOLDER}/${ID0}/` },
    'a folder that is deeper': { folder: `stations/a/b/${FOLDER}/${ID0}/` },
    'an absolute folder': { folder: `/${FOLDER}/${ID0}/` },
    'a station of nothing': { folder: `stations//${FOLDER}/${ID0}/` },
    'an id that is none': { id: '2026-13-23T10-00-00Z' },
    'an id with a path': { id: '../../etc' },
    'another id than that of the manifest': { id: '2026-11-24T10-00-00Z', folder: `${FOLDER}/2026-11-24T10-00-00Z/` },
    'a station with signs in its name': { station: 'bench\u{1b}[31m' },
    'a station without a name': { station: '' },
    'a name of a station that never ends': { station: 'a'.repeat(65) },
    'a store that is none': { store: 'https://x' },
    'a digest that is none': { manifestSha256: 'x' },
    'a time that is none': { at: 'yesterday' },
    'a manifest of another board': { manifest: stored({ mac: OTHER_MAC }).manifest },
    'a manifest that contradicts itself': {
      manifest: { ...stored().manifest, blocks: { sizeBytes: 65536, sha256: [], md5: [] } },
    },
  };
  for (const [what, change] of Object.entries(wrong)) {
    test(`${what} is neither written nor read`, async (t) => {
      const archive = await newArchive(t);
      await archive.elsewhere.note(stored());
      const bad = { ...stored(), ...change };
      await assert.rejects(archive.elsewhere.note(bad), { code: 'usage' });
      assert.equal((await lines(archive, 'elsewhere.jsonl')).length, 1);
      const path = join(archive.root, FOLDER, 'elsewhere.jsonl');
      await appendFile(path, `${JSON.stringify({ ...bad, mac: undefined })}\nno JSON\n{}\nnull\n\n`);
      assert.deepEqual(await archiveAt(archive.root).elsewhere.of(MAC), [stored()]);
      assert.equal(await archiveAt(archive.root).elsewhere.note(stored()), false);
    });
  }

  test('a line that is too long or cut off takes no other with it; lines over the bounds of reading are whole', async (t) => {
    const archive = await newArchive(t);
    const big = stored({}, image(1000), '2026-11-20T10:00:00.000Z');
    const path = join(archive.root, FOLDER, 'elsewhere.jsonl');
    await archive.elsewhere.note(big);
    await appendFile(path, `{"x":"${'y'.repeat(2_500_000)}"}\n`);
    const known = [big];
    for (let day = 1; day < 9; day++) {
      const each = stored({}, image(20_000_000 + day, 1).subarray(0, 70_000 * day), `2026-12-0${day}T10:00:00.000Z`);
      known.push(each);
      await archive.elsewhere.note(each);
    }
    await appendFile(path, '{"at":"2026-');
    assert.deepEqual(await archive.elsewhere.of(MAC), known);
    const last = stored({}, image(100), '2026-12-20T10:00:00.000Z');
    assert.equal(await archive.elsewhere.note(last), true);
    assert.deepEqual(await archiveAt(archive.root).elsewhere.of(MAC), [...known, last]);
  });

  test('two processes that note the same do so once; a file that was replaced is read anew', async (t) => {
    const archive = await newArchive(t);
    const other = archiveAt(archive.root);
    const second = stored({}, image(10), '2026-11-24T10:00:00.000Z');
    await archive.elsewhere.note(stored());
    assert.equal(await other.elsewhere.note(stored()), false);
    assert.equal(await other.elsewhere.note(second), true);
    assert.equal(await archive.elsewhere.note(second), false);
    await writeFile(join(archive.root, FOLDER, 'elsewhere.jsonl'), '');
    assert.equal(await archive.elsewhere.note(second), true);
    assert.deepEqual(await other.elsewhere.of(MAC), [second]);
  });

  test('a link in the place of a board or of the file is not followed', async (t) => {
    const archive = await newArchive(t);
    const outside = await temporaryFolder(t);
    await backUp(archive, image(100), T0, OTHER_MAC);
    await symlink(outside, join(archive.root, FOLDER));
    await assert.rejects(archive.elsewhere.note(stored()), { code: 'archive-unwritable' });
    await assert.rejects(archive.elsewhere.receive(MAC, 'labels.jsonl', STATION, [{ at: T0, label: 'x' }]));
    assert.deepEqual(await archive.elsewhere.of(MAC), []);
    await writeFile(join(outside, 'precious'), 'precious');
    await symlink(join(outside, 'precious'), join(archive.root, '24-0a-c4-00-01-02', 'elsewhere.jsonl'));
    await assert.rejects(archive.elsewhere.note(stored({ mac: OTHER_MAC })));
    assert.equal(await readFile(join(outside, 'precious'), 'utf8'), 'precious');
  });
});

const from = { mac: MAC, id: ID0 };
const begun = {
  ...{ at: T0, state: 'begun', startedAt: T0, from, why: 'latest', snapshot: null, snapshotIsNew: false },
  ...{ regions: [{ offset: 0, sizeBytes: 4096 }], done: null, parts: null, kept: [], toldFlashBytes: null },
};
/** A line of each file. */
const MARKS: Record<MarkFile, object> = {
  'labels.jsonl': { at: T0, label: 'kitchen' },
  'pins.jsonl': { at: T0, id: ID0, pinned: true, note: null },
  'seen.jsonl': { at: T0, id: ID0, port: '/dev/ttyUSB3' },
  'restored.jsonl': { at: T0, from, snapshot: null, snapshotIsNew: true, partial: false },
  'confirmed.jsonl': { at: T0, id: ID0, md5: '0'.repeat(32), by: 'stub', port: 'x' },
  'halves.jsonl': begun,
};

describe('marks of other stations', () => {
  for (const file of REPLICATED_MARKS) {
    test(`${file}: taken in once, with the name of the station; none of its own lines`, async (t) => {
      const archive = await newArchive(t);
      const line = MARKS[file];
      assert.equal(await archive.elsewhere.receive(MAC, file, STATION, [line, line]), 1);
      assert.equal(await archive.elsewhere.receive(MAC, file, STATION, [{ ...line, station: 'me', more: 1 }]), 0);
      assert.equal(await archiveAt(archive.root).elsewhere.receive(MAC, file, OTHER_STATION, [line]), 1);
      const there = await lines(archive, file);
      assert.equal(there.length, 2);
      assert.equal((JSON.parse(there[0] ?? '') as { station: string }).station, STATION);
      const own = await archive.elsewhere.ownLines(MAC, file, 0);
      assert.deepEqual([own.lines, own.nextByte > 100], [[], true]);
      assert.deepEqual((await archive.history(MAC)).problems, []);
      assert.deepEqual((await archive.history(MAC)).foreign, []);
    });

    test(`${file}: what is none of it is left out`, async (t) => {
      const archive = await newArchive(t);
      const others = Object.entries(MARKS).filter(([name]) => name !== file && name !== 'labels.jsonl');
      const hostile = [null, 1, 'x', [], {}, { at: 'never' }, { ...MARKS[file], at: '9999-12-31T23:59:59.999Z' }];
      // A confirmation says all that a sighting says, and labels may say nothing.
      const strange = ['labels.jsonl', 'seen.jsonl'].includes(file) ? [] : others.map(([, line]) => line);
      assert.equal(await archive.elsewhere.receive(MAC, file, STATION, [...hostile, ...strange]), 0);
      assert.equal(await archive.elsewhere.receive(MAC, file, '../x', [MARKS[file]]), 0);
      assert.deepEqual((await archive.boards().catch(() => ({ macs: [] }))).macs, [], 'nothing is made for nothing');
    });
  }

  test('own lines: from a byte on, without the one that is not yet ended, and anew where the file is another one', async (t) => {
    const archive = await newArchive(t);
    await backUp(archive, image(100));
    const path = join(archive.root, FOLDER, 'labels.jsonl');
    assert.deepEqual(await archive.elsewhere.ownLines(MAC, 'labels.jsonl', 0), { lines: [], nextByte: 0, tail: '' });
    await archive.marks.describe(MAC, { label: 'kitchen' });
    const first = await archive.elsewhere.ownLines(MAC, 'labels.jsonl', 0);
    assert.deepEqual(
      first.lines.map((line) => (line as { label?: string }).label),
      ['kitchen'],
    );
    assert.deepEqual(await archive.elsewhere.ownLines(MAC, 'labels.jsonl', first.nextByte), { ...first, lines: [] });
    await archive.elsewhere.receive(MAC, 'labels.jsonl', STATION, [{ at: T0, note: 'n' }]);
    await appendFile(path, '{"at":"2026-11-26T10:00:00.000Z","label":"hal');
    const second = await archive.elsewhere.ownLines(MAC, 'labels.jsonl', first.nextByte);
    assert.deepEqual(second.lines, []);
    await appendFile(path, 'l"}\n');
    const third = await archive.elsewhere.ownLines(MAC, 'labels.jsonl', second.nextByte);
    assert.deepEqual(
      third.lines.map((line) => (line as { label?: string }).label),
      ['hall'],
    );
    for (const odd of [third.nextByte + 1, first.nextByte + 3]) {
      assert.equal((await archive.elsewhere.ownLines(MAC, 'labels.jsonl', odd)).lines.length, 2);
    }
  });

  test('own lines of a file that went back and has grown to the same length again: all of them', async (t) => {
    const archive = await newArchive(t);
    await backUp(archive, image(100));
    const path = join(archive.root, FOLDER, 'pins.jsonl');
    const pin = (second: number) =>
      `${JSON.stringify({ at: `2026-11-26T10:00:0${second}.000Z`, id: ID0, pinned: true, note: null })}\n`;
    await writeFile(path, pin(1) + pin(2));
    const before = await archive.elsewhere.ownLines(MAC, 'pins.jsonl', 0);
    await writeFile(path, pin(1) + pin(3));
    const after = await archive.elsewhere.ownLines(MAC, 'pins.jsonl', before.nextByte, before.tail);
    assert.equal(after.nextByte, before.nextByte);
    assert.equal(after.lines.length, 2);
    const again = await archive.elsewhere.ownLines(MAC, 'pins.jsonl', after.nextByte, after.tail);
    assert.deepEqual(again, { ...after, lines: [] });
  });

  test('own lines that cannot be read are no empty ones', async (t) => {
    const archive = await newArchive(t);
    await backUp(archive, image(100));
    await mkdir(join(archive.root, FOLDER, 'pins.jsonl'));
    await assert.rejects(archive.elsewhere.ownLines(MAC, 'pins.jsonl', 0), /pins\.jsonl/);
  });

  test('a station that floods a board is not heard beyond what is read', async (t) => {
    const archive = await newArchive(t);
    const flood = Array.from({ length: 9000 }, (_, n) => ({ at: T0, note: `${n} ${'x'.repeat(980)}` }));
    assert.equal(await archive.elsewhere.receive(MAC, 'labels.jsonl', STATION, flood), 0);
    assert.equal(await archive.elsewhere.receive(MAC, 'labels.jsonl', STATION, flood.slice(0, 10)), 10);
    assert.equal((await archive.marks.about(MAC)).note?.length, 982);
  });

  test('the newest by time counts, and a new line here is behind all that are known, whatever the clock says', async (t) => {
    const clock = { ...systemClock, date: () => new Date('2020-01-01T00:00:00Z') };
    const archive = await newArchive(t, { clock });
    await backUp(archive, image(100));
    await archive.marks.describe(MAC, { label: 'mine' });
    await archive.elsewhere.receive(MAC, 'labels.jsonl', STATION, [{ at: LATER, label: 'theirs' }]);
    assert.equal((await archive.marks.about(MAC)).label, 'theirs');
    await archive.marks.describe(MAC, { label: 'mine again' });
    assert.equal((await archive.marks.about(MAC)).label, 'mine again');
    await archive.elsewhere.receive(MAC, 'labels.jsonl', STATION, [{ at: '2026-11-23T11:00:00.000Z', label: 'old' }]);
    assert.equal((await archive.marks.about(MAC)).label, 'mine again');

    await archive.elsewhere.receive(MAC, 'pins.jsonl', STATION, [{ at: LATER, id: ID0, pinned: true, note: 'keep' }]);
    assert.deepEqual((await archive.marks.of(MAC)).pins, [{ id: ID0, at: LATER, note: 'keep' }]);
    await archive.marks.pin(MAC, ID0, { pinned: false, note: null });
    assert.deepEqual((await archive.marks.of(MAC)).pins, []);

    await archive.elsewhere.receive(MAC, 'seen.jsonl', STATION, [{ at: LATER, id: ID0, port: 'there' }]);
    assert.equal((await archive.overview()).boards[0]?.seen?.station, STATION);
    await archive.recordSighting(MAC, { id: ID0, at: T0, port: 'here' });
    const [board] = (await archive.overview()).boards;
    assert.deepEqual([board?.seen?.port, board?.seen?.at], ['here', '2026-11-23T12:00:00.001Z']);
    assert.equal((await archive.history(MAC)).sightings.at(-1)?.port, 'here');
  });

  test('labels, pins and sightings of three stations: the order in which they come decides nothing', async (t) => {
    const root = await temporaryFolder(t);
    let run = 0;
    const at = fc.constantFrom(T0, LATER, '2026-11-23T12:00:00Z', '2026-11-23T12:00:00.001Z');
    const station = fc.constantFrom(STATION, OTHER_STATION, 'third');
    const id = fc.constantFrom(ID0, '2026-11-24T10-00-00Z');
    const value = fc.constantFrom('a', 'b', null);
    const mark = fc.oneof(
      fc.tuple(
        fc.constant('labels.jsonl' as const),
        station,
        fc.record({ at, label: value, note: value }, { requiredKeys: ['at'] }),
      ),
      fc.tuple(fc.constant('pins.jsonl' as const), station, fc.record({ at, id, pinned: fc.boolean(), note: value })),
      fc.tuple(fc.constant('seen.jsonl' as const), station, fc.record({ at, id, port: fc.constantFrom('x', 'y') })),
    );
    const orders = fc
      .array(mark, { minLength: 1, maxLength: 12 })
      .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
    await fc.assert(
      fc.asyncProperty(orders, async (both) => {
        const results = [];
        for (const order of both) {
          const archive = archiveAt(join(root, `${run++}`));
          for (const [file, by, line] of order) await archive.elsewhere.receive(MAC, file, by, [line]);
          for (const [file, by, line] of order) assert.equal(await archive.elsewhere.receive(MAC, file, by, [line]), 0);
          const { about, pins } = await archive.marks.of(MAC);
          const { sightings } = await archive.history(MAC);
          const [board] = (await archive.overview()).boards;
          results.push({
            about,
            pins,
            seen: sightings.map((each) => ({ ...each, station: '' })),
            newest: board?.seen?.port,
          });
        }
        assert.deepEqual(results[0], results[1]);
      }),
      { numRuns: 30 },
    );
  });
});
