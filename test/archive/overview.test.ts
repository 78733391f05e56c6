/** All boards at a glance: the newest two manifests of each, many at a time, and an end that comes at once. */

import assert from 'node:assert/strict';
import { appendFile, mkdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { forEachAtOnce } from '../../src/archive/at-once.ts';
import { chipChanges } from '../../src/archive/chip-change.ts';
import type { FileSystem } from '../../src/archive/disk.ts';
import { boardMac, fillArchive } from '../support/fill-archive.ts';
import {
  FOLDER,
  ID0,
  MAC,
  archiveAt,
  backUp,
  content,
  image,
  newArchive,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

const ID1 = '2026-11-24T10-00-00Z';

test('of each board the newest two manifests are read and no other, some boards at a time', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 60, 4, 300);
  const real = watchedFileSystem(() => undefined);
  const manifests: string[] = [];
  let open = 0;
  let most = 0;
  const fs: FileSystem = {
    ...real,
    open: (async (path: string, flags: number, mode?: number) => {
      most = Math.max(most, ++open);
      try {
        if (path.endsWith('manifest.json')) manifests.push(path);
        return await real.open(path, flags, mode);
      } finally {
        open--;
      }
    }) as FileSystem['open'],
  };
  const progress: [number, number][] = [];
  const { boards, problems, foreign } = await archiveAt(root, { fs }).overview({
    onProgress: (done, of) => progress.push([done, of]),
  });
  assert.deepEqual([problems, foreign], [[], []]);
  assert.deepEqual(
    boards.map(({ mac }) => mac),
    Array.from({ length: 60 }, (_, number) => boardMac(number)),
  );
  for (const { ids, newest, seen, halfRestored, problems: own } of boards) {
    assert.deepEqual([ids.length, newest?.id, seen, halfRestored, own], [4, ids[3], null, null, []]);
  }
  for (const id of ['2024-01-03T10-00-00Z', '2024-01-04T10-00-00Z']) {
    assert.equal(manifests.filter((path) => path.includes(id)).length, 60, id);
  }
  assert.equal(manifests.length, 120);
  assert.ok(most > 1 && most <= 16, `${most} at a time`);
  assert.deepEqual(
    progress,
    Array.from({ length: 60 }, (_, index) => [index + 1, 60]),
  );
});

test('leaves a thread of the pool to ports, unless it is told that there are none', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 40, 1, 300);
  const real = watchedFileSystem(() => undefined);
  for (const allThreads of [false, true]) {
    let underWay = 0;
    let most = 0;
    const counted = <T>(work: () => Promise<T>) => {
      most = Math.max(most, ++underWay);
      return work().finally(() => underWay--);
    };
    const fs = {
      ...real,
      lstat: (...args: [string]) => counted(() => real.lstat(...args)),
      readdir: (...args: [string]) => counted(() => real.readdir(...args)),
    } as FileSystem;
    await archiveAt(root, { fs }).overview({ allThreads });
    const threads = Number(process.env['UV_THREADPOOL_SIZE']) || 4;
    if (allThreads) assert.ok(most > threads, `${most} at a time`);
    else assert.ok(most <= Math.max(1, threads - 1), `${most} at a time`);
  }
});

test('ends at once when it is told to, even where the disk answers no more', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 20, 1, 300);
  const real = watchedFileSystem(() => undefined);
  const controller = new AbortController();
  const waiting: (() => void)[] = [];
  let answers = false;
  const open = (async (path: string, flags: number, mode?: number) => {
    if (path.endsWith('manifest.json') && !answers) {
      controller.abort();
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    return real.open(path, flags, mode);
  }) as FileSystem['open'];
  const work = archiveAt(root, { fs: { ...real, open } }).overview({ signal: controller.signal });
  await assert.rejects(work, { name: 'AbortError' });
  answers = true; // every call takes a turn that others wait for
  for (const answer of waiting) answer();
  await assert.rejects(archiveAt(root).overview({ signal: AbortSignal.abort() }), { name: 'AbortError' });
});

test('of some boards alone: looked at anew, and the index of all is neither asked nor written', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 5, 2, 300);
  await mkdir(join(root, 'notes'));
  const touched = new Set<string>();
  const fs = watchedFileSystem(({ path }) => {
    if (path.startsWith(join(root, '24-'))) touched.add(path.slice(root.length + 1, root.length + 18));
    assert.ok(!path.includes('boards.bin'), path);
  });
  const only = new Set([boardMac(3), boardMac(1), boardMac(99)]);
  const { boards, problems, foreign } = await archiveAt(root, { fs, indexFrom: 0 }).overview({ only });
  assert.deepEqual(
    boards.map(({ mac, ids }) => [mac, ids.length]),
    [
      [boardMac(1), 2],
      [boardMac(3), 2],
    ],
  );
  assert.deepEqual([problems, foreign], [[], []]);
  assert.deepEqual([...touched].sort(), ['24-0a-c4-00-00-01', '24-0a-c4-00-00-03']);
  // As the overview of all has them.
  const all = await archiveAt(root).overview();
  assert.deepEqual(
    boards,
    all.boards.filter(({ mac }) => only.has(mac)),
  );
  assert.deepEqual((await archiveAt(root).overview({ only: new Set() })).boards, []);
});

test('a newest backup that is damaged is told, and an older one says what the board is', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(100));
  const { path } = await backUp(archive, image(100, 2), '2026-11-24T10:00:00Z');
  await unlink(join(path, 'manifest.json'));
  await writeFile(join(path, '.DS_Store'), '');
  const board = (await archive.overview()).boards[0];
  assert.deepEqual([board?.ids, board?.newest?.id], [[ID0, ID1], ID0]);
  assert.deepEqual(
    board?.problems.map(({ id, problem }) => [id, problem]),
    [[ID1, 'is missing']],
  );
  assert.equal(board.foreign.length, 1);
  for (const day of ['25', '26', '27']) await mkdir(join(archive.root, FOLDER, `2026-11-${day}T10-00-00Z`));
  const worse = (await archive.overview()).boards[0];
  assert.deepEqual([worse?.ids.length, worse?.newest], [5, null]);
});

test('another chip than that of the backup before is told, and nothing of a backup before that is damaged', async (t) => {
  const archive = await newArchive(t);
  const change = async () => (await archive.overview()).boards[0]?.chipChange;
  const before = await backUp(archive, image(100));
  assert.equal(await change(), null);
  const bytes = image(100, 2);
  const draft = await archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  const facts = content(bytes, '2026-11-24T10:00:00Z');
  await draft.commit({ ...facts, flash: { ...facts.flash, manufacturer: 'c8' } });
  const told = { kind: 'flash', details: ['flash id 5e 4016 -> c8 4016'], since: ID0 };
  assert.deepEqual(await change(), told);
  await unlink(join(before.path, 'manifest.json'));
  const [board] = (await archive.overview()).boards;
  assert.deepEqual([board?.newest?.id, board?.chipChange, board?.problems], [ID1, null, []]);
});

test('a change of the chip is told also behind images that came out of files', async (t) => {
  const archive = await newArchive(t);
  const boardOf = async (of = archive) => (await of.overview()).boards[0];
  const bytes = image(100);
  const add = async (day: number, manufacturer: string | null) => {
    const at = `2026-11-0${day}T10:00:00.000Z`;
    const { flash, ...others } = content(bytes, at);
    const draft = await archive.begin(MAC, bytes.length);
    await draft.write(0, bytes);
    const isRead = manufacturer !== null;
    return draft.commit({
      ...others,
      flash: { ...flash, manufacturer, device: isRead ? '4016' : null },
      ...(isRead ? {} : { reason: 'imported', security: null, efuses: {}, confirmed: null, transfer: null }),
      ...(isRead ? {} : { source: { port: null, file: 'old.bin', usb: null, host: 'bench' } }),
    });
  };
  const first = await add(1, '5e');
  await add(2, null);
  await add(3, null);
  await add(4, '5e');
  assert.equal((await boardOf())?.chipChange, null);
  const since = (await add(5, null), await add(6, null), await add(7, 'c8')).id;
  const expected = { kind: 'flash', details: ['flash id 5e 4016 -> c8 4016'], since: '2026-11-04T10-00-00Z' };
  const indexed = archiveAt(archive.root, { indexFrom: 0 });
  for (const of of [archive, indexed, indexed]) {
    const board = await boardOf(of);
    assert.deepEqual([board?.newest?.id, board?.chipChange], [since, expected]);
  }
  // As `show` has it, which compares the whole history.
  const { backups } = await archive.history(MAC);
  assert.deepEqual(chipChanges(backups).get(since), expected);
  assert.equal(backups[0]?.id, first.id);
});

test('a board that cannot be read hides no other', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 3, 2, 300);
  const denied = watchedFileSystem(({ name, path }) => {
    if (name === 'readdir' && path.endsWith('24-0a-c4-00-00-01')) throw systemError('EACCES');
  });
  const { boards } = await archiveAt(root, { fs: denied }).overview();
  assert.deepEqual(
    boards.map(({ ids, problems }) => [ids.length, problems.map(({ error }) => error.code)]),
    [
      [2, []],
      [0, ['archive-unreadable']],
      [2, []],
    ],
  );
});

test('the latest sighting, out of years of them and behind lines that are none', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(100));
  const path = join(archive.root, FOLDER, 'seen.jsonl');
  const line = (at: string) => `${JSON.stringify({ id: ID0, at, port: 'x' })}\n`;
  await writeFile(path, line('2026-12-01T00:00:00.000Z').repeat(500) + line('2026-12-31T00:00:00.000Z'));
  const seenAt = async () => (await archive.overview()).boards[0]?.seen?.at;
  assert.equal(await seenAt(), '2026-12-31T00:00:00.000Z');
  await appendFile(path, 'torn '.repeat(2000));
  assert.equal(await seenAt(), '2026-12-31T00:00:00.000Z');
  assert.equal((await archive.overview()).boards[0]?.seen?.id, ID0);
  await archive.recordSighting(MAC, { id: ID0, at: '2027-01-01T00:00:00.000Z', port: 'x' });
  assert.equal(await seenAt(), '2027-01-01T00:00:00.000Z');
});

test('a failure ends the work on many things, and nothing more is begun', async () => {
  const begun: number[] = [];
  const work = forEachAtOnce([0, 1, 2, 3, 4, 5], 2, async (item) => {
    begun.push(item);
    await Promise.resolve();
    if (item === 1) throw new Error('one');
  });
  await assert.rejects(work, /one/);
  assert.ok(begun.length <= 4, String(begun));
  await forEachAtOnce([], 2, () => Promise.reject(new Error('never')));
});
