/** Samples of the archive, and the record of what was verified when. */

import assert from 'node:assert/strict';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { BOARDS } from '../../src/archive/index/glance-file.ts';
import { VERIFIED, formatVerified, parseVerified } from '../../src/archive/index/verified.ts';
import { chooseSample, groupOf, parseSample } from '../../src/archive/sample.ts';
import { systemClock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { macToFolder } from '../../src/mac.ts';
import { boardMac, fillArchive } from '../support/fill-archive.ts';
import { archiveAt, systemError, temporaryFolder, watchedFileSystem } from './support.ts';

const backups = fc.array(fc.record({ board: fc.nat(2000), day: fc.integer({ min: 10, max: 28 }), ms: fc.nat(1000) }), {
  maxLength: 60,
});
const named = (list: { board: number; day: number; ms: number }[]) =>
  list.map(({ board, day, ms }) => ({ mac: boardMac(board), id: `2026-11-${day}T10-00-00Z`, ms }));

test('what a sample is, and what is none', () => {
  assert.deepEqual(parseSample('5%'), { kind: 'share', share: 0.05 });
  assert.deepEqual(parseSample('100%'), { kind: 'share', share: 1 });
  assert.deepEqual(parseSample('2/7'), { kind: 'group', number: 2, of: 7 });
  for (const text of [
    '',
    '0%',
    '101%',
    '5',
    '-5%',
    '0/3',
    '4/3',
    '1/0',
    '1/100000',
    '5%%',
    '1/2/3',
    '1e9/1e9',
    'NaN%',
    '５%',
  ]) {
    assert.throws(
      () => parseSample(text),
      (error) => hasCode(error, 'usage'),
      text,
    );
  }
});

test('all groups together are all backups, each in one, whatever else there is', () => {
  fc.assert(
    fc.property(backups, fc.integer({ min: 1, max: 20 }), (list, of) => {
      const all = named(list);
      const groups = Array.from({ length: of }, (_, index) =>
        chooseSample(all, { kind: 'group', number: index + 1, of }, ({ ms }) => ms),
      );
      assert.equal(groups.flat().length, all.length);
      assert.deepEqual(new Set(groups.flat()), new Set(all));
      for (const backup of all) assert.ok(groups[groupOf(backup, of) - 1]?.includes(backup));
    }),
  );
});

test('a share is what was verified longest ago, and at least one where there is one', () => {
  fc.assert(
    fc.property(backups, fc.integer({ min: 1, max: 100 }), (list, percent) => {
      const all = named(list);
      const chosen = chooseSample(all, { kind: 'share', share: percent / 100 }, ({ ms }) => ms);
      assert.equal(chosen.length, Math.ceil((all.length * percent) / 100));
      const oldestLeft = Math.min(...all.filter((each) => !chosen.includes(each)).map(({ ms }) => ms));
      for (const { ms } of chosen) assert.ok(ms <= oldestLeft);
    }),
  );
});

test('the record is read as it was written, and any other text harms nothing', () => {
  const times = new Map([[`${macToFolder(boardMac(1))} 2026-11-23T10-00-00Z`, 12]]);
  for (const passMs of [null, 7]) assert.deepEqual(parseVerified(formatVerified({ times, passMs })), { times, passMs });
  const text = formatVerified({ times, passMs: 7 });
  for (let length = 0; length < text.length; length++) parseVerified(text.slice(0, length));
  fc.assert(fc.property(fc.string(), (any) => assert.equal(parseVerified(`${any}\n${text}`).times.size, 1)));
  assert.deepEqual(parseVerified('__proto__ x 1\npass 99999999999999999\n'), { times: new Map(), passMs: null });
});

test('samples of a third, three times, are the archive; the next begins with the first again', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 3, 2, 300);
  let nowMs = Date.parse('2026-11-23T10:00:00Z');
  const clock = { ...systemClock, date: () => new Date((nowMs += 1000)) };
  const verified = async () => {
    const seen: string[] = [];
    const onProgress = (mac: string, id: string) => void seen.push(`${mac} ${id}`);
    // Each with the eyes of a new process.
    const report = await archiveAt(root, { clock }).verify({ sample: parseSample('33.333%'), onProgress });
    assert.deepEqual([report.checked, report.of, report.damaged], [2, 6, []]);
    return seen;
  };
  const rounds = [await verified(), await verified(), await verified()];
  assert.equal(new Set(rounds.flat()).size, 6);
  assert.deepEqual(await verified(), rounds[0]);
  await rm(join(root, 'cache'), { recursive: true });
  assert.equal((await verified()).length, 2, 'only the order is lost');
});

test('a pass that is broken off goes on with what was not reached, and a new one begins when it is done', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 2, 3, 300);
  let nowMs = Date.parse('2026-11-23T10:00:00Z');
  const clock = { ...systemClock, date: () => new Date((nowMs += 1000)) };
  const pass = async (stopAfter: number) => {
    const seen: string[] = [];
    const stop = new AbortController();
    const work = archiveAt(root, { clock }).verify({
      ...{ pass: true, signal: stop.signal },
      onProgress: (mac, id) => void seen.push(`${mac} ${id}`),
      between: () => {
        if (seen.length >= stopAfter) stop.abort();
        return Promise.resolve();
      },
    });
    await work.catch((error: unknown) => assert.equal((error as Error).name, 'AbortError'));
    return seen;
  };
  const unfinished = () => archiveAt(root, { clock }).unfinishedPass();
  assert.equal(await unfinished(), null);
  const first = await pass(2);
  assert.equal(first.length, 2);
  assert.notEqual(await unfinished(), null);
  const rest = await pass(Infinity);
  assert.deepEqual([rest.length, new Set([...first, ...rest]).size], [4, 6]);
  assert.equal(await unfinished(), null);
  assert.deepEqual(await pass(Infinity), [...first, ...rest], 'in the order of the last time');
  await writeFile(join(root, 'cache', VERIFIED), 'pass 99999999999999\n');
  assert.equal((await pass(Infinity)).length, 6, 'a pass of the future is none');
});

test('damage is told as it is found, noted like the rest, and ends the index of boards', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 2, 1, 300);
  const archive = archiveAt(root, { indexFrom: 0 });
  await archive.overview();
  await writeFile(join(root, 'cache', BOARDS), 'x');
  await truncate(join(root, macToFolder(boardMac(1)), '2024-01-01T10-00-00Z', 'flash.bin'), 5);
  const told: string[] = [];
  const report = await archive.verify({ sample: parseSample('1/1'), onProblem: ({ file }) => void told.push(file) });
  assert.deepEqual([report.checked, report.damaged.map(({ file }) => file)], [2, told]);
  assert.equal(told.length, 1);
  assert.equal((await readFile(join(root, 'cache', BOARDS))).length, 0);
  assert.equal(parseVerified(await readFile(join(root, 'cache', VERIFIED), 'utf8')).times.size, 2);
});

test('a cache that cannot be read or written changes nothing of a verification', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 2, 1, 300);
  for (const code of ['EIO', 'EROFS', 'ENOSPC', 'EACCES']) {
    const fs = watchedFileSystem(({ path, to }) => {
      if (`${path} ${to ?? ''}`.includes('/cache')) throw systemError(code);
    });
    const report = await archiveAt(root, { fs }).verify({ pass: true });
    assert.deepEqual([report.checked, report.damaged], [2, []], code);
  }
});
