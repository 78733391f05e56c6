/** A board that is half restored at one bench is known so at every other. */

import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { HALVES, type HalfEvent, unfinishedRestores } from '../../../src/archive/halves.ts';
import { parseEvents } from '../../../src/archive/marks/events.ts';
import type { RestoreRecordContent } from '../../../src/archive/restore-record.ts';
import type { Archive } from '../../../src/archive/types.ts';
import { systemClock } from '../../../src/clock.ts';
import { halfRestoredText } from '../../../src/transfer/half-restored.ts';
import { FOLDER, ID0, MAC, archiveAt, backUp, image, newArchive, systemError, watchedFileSystem } from '../support.ts';
import { dyingAt } from './support.ts';

const T = (time: string) => `2026-11-26T${time}.000Z`;
const ID1 = '2026-11-24T10-00-00Z';

function record(startedAt: string, change: Partial<RestoreRecordContent> = {}): RestoreRecordContent {
  return {
    ...{ mac: MAC, from: { mac: MAC, id: ID0 }, startedAt, why: 'first of 2', parts: null, snapshot: ID1 },
    regions: [{ offset: 0, sizeBytes: 4096 }],
    done: [{ offset: 0, sizeBytes: 8192, md5: '0'.repeat(32) }],
    snapshotIsNew: true,
    options: { port: '/dev/ttyUSB7', ignore: ['revision'], yes: true, toldFlashBytes: 8192, unconfirmed: true },
    ...change,
  };
}

/** A bench with a clock of its own, and two backups of the board. */
async function bench(t: TestContext, now: string) {
  const clock = { ...systemClock, date: () => new Date(now) };
  const archive = await newArchive(t, { clock });
  await backUp(archive, image(100));
  await backUp(archive, image(101), '2026-11-24T10:00:00.000Z');
  return archive;
}

/** What one bench has written, to another. */
async function tell(from: Archive, station: string, to: Archive): Promise<number> {
  const { lines } = await from.elsewhere.ownLines(MAC, 'halves.jsonl', 0);
  return to.elsewhere.receive(MAC, 'halves.jsonl', station, lines);
}

const startedAtOf = async (archive: Archive) => (await archive.halfRestored(MAC))?.record?.startedAt;

describe('halves.jsonl', () => {
  test('begun here is known there, with all that finishes it and nothing of the port or the overrides', async (t) => {
    const [a, b] = [await bench(t, T('10:00:00')), await bench(t, T('09:00:00'))];
    await a.beginRestore(record(T('10:00:00')));
    assert.equal(await tell(a, 'bench-a-0123456789ab', b), 1);
    assert.equal(await tell(a, 'bench-a-0123456789ab', b), 0);
    const half = await b.halfRestored(MAC);
    assert.ok(half?.record);
    const { from, startedAt, regions, done, snapshot, options, archive } = half.record;
    const own = record(T('10:00:00'));
    assert.deepEqual(
      { from, startedAt, regions, done, snapshot },
      {
        ...{ from: own.from, startedAt: own.startedAt, regions: own.regions, done: own.done, snapshot: own.snapshot },
      },
    );
    assert.deepEqual(options, { port: null, ignore: [], yes: false, toldFlashBytes: 8192 });
    assert.equal(archive, null);
    const { message, hint } = halfRestoredText(MAC, half, ['espd']);
    assert.match(message, /is half restored to 2026-11-23T10-00-00Z, since 2026-11-26T10:00:00\.000Z, at bench-a$/);
    assert.match(hint, /espd restore --mac 50:02:91:c3:37:a5 --at 2026-11-23T10-00-00Z --flash-size 8K$/);
    assert.equal((await b.history(MAC)).halfRestored?.record?.startedAt, T('10:00:00'));
    assert.equal((await b.overview()).boards[0]?.halfRestored?.record?.startedAt, T('10:00:00'));
  });

  test('finished there, whatever the clock says: nobody counts it as half restored any more', async (t) => {
    const [a, b, c] = [await bench(t, T('10:00:00')), await bench(t, T('09:00:00')), await bench(t, T('12:00:00'))];
    await a.beginRestore(record(T('10:00:00')));
    await tell(a, 'a', b);
    await tell(a, 'a', c);
    await b.beginRestore(record(T('09:00:00'), { from: { mac: MAC, id: ID1 } }));
    await b.endRestore(MAC, 'done');
    for (const other of [a, c]) {
      assert.equal(await tell(b, 'b', other), 2);
      assert.equal(await other.halfRestored(MAC), null);
    }
    assert.equal(await b.halfRestored(MAC), null);
    assert.deepEqual((await a.history(MAC)).problems, []);
    // Begun anew here, it is half restored again, and the others learn of it.
    await a.beginRestore(record(T('10:30:00')));
    assert.equal(await startedAtOf(a), T('10:30:00'));
    await tell(a, 'a', c);
    assert.equal(await startedAtOf(c), T('10:30:00'));
    await a.endRestore(MAC, 'nothing-written');
    await tell(a, 'a', c);
    assert.equal(await c.halfRestored(MAC), null);
  });

  test('a look that finds the flash whole ends what another bench has begun; its restore is then among those that are done', async (t) => {
    const [a, b] = [await bench(t, T('10:00:00')), await bench(t, T('10:05:00'))];
    await a.beginRestore(record(T('10:00:00')));
    await tell(a, 'a', b);
    await b.endRestore(MAC, 'done');
    assert.equal(await b.halfRestored(MAC), null);
    assert.deepEqual(
      (await b.restores(MAC)).map(({ from }) => from),
      [{ mac: MAC, id: ID0 }],
    );
    await tell(b, 'b', a);
    assert.equal(await a.halfRestored(MAC), null);
  });

  test('a clock that is an hour ahead, of a bench that did not know: what is half restored stays so', async (t) => {
    const [a, b, c] = [await bench(t, T('11:00:00')), await bench(t, T('10:30:00')), await bench(t, T('10:30:00'))];
    await a.beginRestore(record(T('11:00:00'))); // at ten, really
    await a.endRestore(MAC, 'done');
    await b.beginRestore(record(T('10:30:00')));
    await tell(a, 'a', b);
    assert.equal(await startedAtOf(b), T('10:30:00'));
    for (const [from, name] of [
      [a, 'a'],
      [b, 'b'],
    ] as const)
      await tell(from, name, c);
    assert.equal(await startedAtOf(c), T('10:30:00'));
    // A day later there is no doubt.
    const later = await bench(t, '2026-11-28T10:00:00.000Z');
    await later.beginRestore(record('2026-11-28T10:00:00.000Z'));
    await later.endRestore(MAC, 'done');
    await tell(later, 'later', c);
    assert.equal(await c.halfRestored(MAC), null);
    await tell(later, 'later', b);
    assert.equal(await startedAtOf(b), T('10:30:00'), 'by its own record a bench goes');
  });

  test('a restore of so many parts is told in short, and never as less than it is', async (t) => {
    const [a, b] = [await bench(t, T('10:00:00')), await bench(t, T('10:00:00'))];
    const many = Array.from({ length: 500 }, (_, n) => ({ offset: 8192 * n + 4096, sizeBytes: 4096 }));
    const done = many.map((part) => ({ ...part, md5: '0'.repeat(32) }));
    await a.beginRestore(record(T('10:00:00'), { regions: many, done }));
    await tell(a, 'a', b);
    const half = (await b.halfRestored(MAC))?.record;
    assert.deepEqual(half?.regions, [{ offset: 4096, sizeBytes: 8192 * 499 + 4096 }]);
    assert.deepEqual(half.done, []);
    await a.endRestore(MAC, 'done');
    await a.beginRestore(record(T('10:10:00'), { regions: [], done }));
    await tell(a, 'a', b);
    assert.deepEqual((await b.halfRestored(MAC))?.record?.regions, [{ offset: 4096, sizeBytes: 8192 * 499 + 4096 }]);
  });

  test('a line that says it differs nowhere is none', async (t) => {
    const b = await bench(t, T('10:00:00'));
    const a = await bench(t, T('10:00:00'));
    await a.beginRestore(record(T('10:00:00')));
    const [line] = (await a.elsewhere.ownLines(MAC, 'halves.jsonl', 0)).lines;
    assert.equal(await b.elsewhere.receive(MAC, 'halves.jsonl', 'a', [{ ...line, regions: [] }]), 0);
  });

  test('a bench that cannot note it for others has not begun', async (t) => {
    const { root } = await bench(t, T('10:00:00'));
    const fs = watchedFileSystem(({ name, path }) => {
      if (name === 'open' && path.endsWith('halves.jsonl')) throw systemError('ENOSPC');
    });
    // Reading says nothing of it: the file is not there yet.
    const archive = archiveAt(root, {
      fs: { ...fs, lstat: fs.lstat },
    });
    await assert.rejects(archive.beginRestore(record(T('10:00:00'))));
    assert.equal(await archiveAt(root).halfRestored(MAC), null);
    assert.deepEqual((await archiveAt(root).history(MAC)).problems, []);
  });

  test('a process that dies at any call of begin or end: this bench never counts it as whole while it may be half', async (t) => {
    const { root } = await bench(t, T('10:00:00'));
    for (let last = 1; ; last++) {
      const { fs, hasDied } = dyingAt(last);
      let hasBegun = false;
      let hasEnded = false;
      const dying = archiveAt(root, { fs });
      try {
        await dying.beginRestore(record(T('10:00:00')));
        hasBegun = true;
        await dying.endRestore(MAC, 'done');
        hasEnded = true;
      } catch (error) {
        assert.equal((error as { code?: string }).code?.startsWith('archive-'), true, `call ${last}`);
      }
      const after = archiveAt(root);
      const half = await after.halfRestored(MAC);
      if (hasEnded) assert.equal(half, null);
      const { lines } = await after.elsewhere.ownLines(MAC, 'halves.jsonl', 0);
      const events = lines as HalfEvent[];
      if (half === null && hasBegun) assert.notEqual(events.at(-1)?.state, 'begun', `call ${last}`);
      if (half !== null && hasBegun) assert.ok(events.some(({ state }) => state === 'begun'));
      await after.endRestore(MAC, 'nothing-written');
      const ended = (await after.elsewhere.ownLines(MAC, 'halves.jsonl', 0)).lines as HalfEvent[];
      if (half !== null && events.length > 0) assert.notEqual(ended.at(-1)?.state, 'begun', `call ${last}`);
      assert.equal(await after.halfRestored(MAC), null);
      for (const name of ['halves.jsonl', 'restored.jsonl']) await rm(join(root, FOLDER, name), { force: true });
      if (!hasDied()) break;
      assert.ok(last < 500);
    }
  });

  test('a file that cannot be read is no sign that the board is whole', async (t) => {
    const archive = await bench(t, T('10:00:00'));
    await mkdir(join(archive.root, FOLDER, 'halves.jsonl'));
    await assert.rejects(archive.halfRestored(MAC), { code: 'archive-damaged' });
    assert.equal((await archive.history(MAC)).problems.length, 1);
    assert.equal((await archive.overview()).boards[0]?.problems.length, 1);
  });

  test('lines that are none are passed over', async (t) => {
    const archive = await bench(t, T('10:00:00'));
    await archive.beginRestore(record(T('10:00:00')));
    const path = join(archive.root, FOLDER, 'halves.jsonl');
    await writeFile(path, `x\n{}\n{"state":"done","station":"b"}\n${await readFile(path, 'utf8')}`);
    assert.equal(await startedAtOf(archive), T('10:00:00'));
  });

  test('in whatever order the lines come, all come to the same', () => {
    const station = fc.constantFrom('a', 'b', undefined);
    const at = fc.constantFrom(...['10:00:00', '10:00:01', '10:30:00', '13:00:00'].map(T));
    const event = fc
      .record({ station, at, startedAt: at, over: fc.subarray(['10:00:00', '10:00:01'].map(T)), begun: fc.boolean() })
      .map(({ station, begun, ...rest }): unknown => ({
        ...rest,
        ...record(rest.startedAt),
        ...{ kept: [], toldFlashBytes: null, state: begun ? 'begun' : 'done' },
        ...(station === undefined ? {} : { station }),
      }));
    const orders = fc
      .array(event, { maxLength: 8 })
      .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
    fc.assert(
      fc.property(orders, (both) => {
        const [first, second] = both.map((events) => {
          const text = events.map((event) => JSON.stringify(event)).join('\n');
          const sorted = parseEvents(HALVES, text).events;
          return unfinishedRestores(MAC, null, sorted).map(({ record: of }) => of);
        });
        assert.deepEqual(first, second);
      }),
    );
  });
});
