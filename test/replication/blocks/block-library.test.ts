/** The library of blocks: what was added is found, whatever files it lies in. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { idFromDate } from '../../../src/archive/ids.ts';
import type { Mac } from '../../../src/mac.ts';
import { BlockLibrary, type BlocksOfBackup, mergeable } from '../../../src/replication/blocks/block-library.ts';
import { MAX_HOLDERS, RunFile, keyOf } from '../../../src/replication/blocks/run-file.ts';
import { mergeRuns, writeRun } from '../../../src/replication/blocks/merge-runs.ts';
import { NewBlocks } from '../../../src/replication/blocks/new-blocks.ts';
import { temporaryFolder } from '../../archive/support.ts';
import { silentLogger } from '../../../src/log.ts';

const md5 = (text: string) => createHash('md5').update(text).digest('hex');
const BLANK = createHash('md5').update(Buffer.alloc(65536, 0xff)).digest('hex');
const macOf = (board: number) => `50:02:91:${board.toString(16).padStart(6, '0').match(/../g)?.join(':')}` as Mac;
const idOf = (minute: number) => idFromDate(new Date(Date.UTC(2026, 0, 1, 0, minute)));

function backupOf(board: number, blocksMd5: readonly string[], minute = board): BlocksOfBackup {
  return { mac: macOf(board), id: idOf(minute), blocksMd5 };
}

async function opened(path: string): Promise<RunFile> {
  const run = await RunFile.open(path);
  assert.ok(run instanceof RunFile);
  return run;
}

const probesOf = (blocksMd5: readonly string[]) => new Map(blocksMd5.map((each, index) => [index, each]));

describe('the library of blocks', () => {
  test('names the backups that hold a block, the likeliest first and of equals the newest', async (t) => {
    const library = new BlockLibrary(join(await temporaryFolder(t), 'blocks'), silentLogger);
    const firmware = Array.from({ length: 8 }, (_, index) => md5(`firmware ${index}`));
    const half = [...firmware.slice(0, 4), ...Array.from({ length: 4 }, (_, index) => md5(`other ${index}`))];
    await library.add(backupOf(1, firmware));
    await library.add(backupOf(2, half));
    await library.flush();
    await library.add(backupOf(3, firmware));
    await library.flush();
    const likely = await library.likely(probesOf(firmware), 8);
    assert.deepEqual(
      likely.map(({ mac, id, hits }) => [mac, id, hits]),
      [
        [macOf(3), idOf(3), 8],
        [macOf(1), idOf(1), 8],
        [macOf(2), idOf(2), 4],
      ],
    );
    assert.deepEqual(
      await library.likely(new Map([[5, firmware[4] ?? '']]), 8),
      [],
      'a block counts at its place only',
    );
    assert.equal((await library.likely(probesOf(firmware), 1)).length, 1);
  });

  test('blank blocks say nothing', async (t) => {
    const library = new BlockLibrary(await temporaryFolder(t), silentLogger);
    await library.add(backupOf(1, [BLANK, md5('app'), BLANK]));
    await library.flush();
    assert.deepEqual(await library.likely(probesOf([BLANK]), 8), []);
    assert.equal((await library.likely(new Map([[1, md5('app')]]), 8)).length, 1);
  });

  test('of a block that thousands hold the newest are named', async (t) => {
    const folder = await temporaryFolder(t);
    const library = new BlockLibrary(folder, silentLogger);
    for (let board = 0; board < 60; board++) {
      await library.add(backupOf(board, [md5('common'), md5(`own ${board}`)]));
      if (board % 7 === 0) await library.flush();
    }
    await library.flush();
    const before = (await readdir(folder)).length;
    await library.tidy();
    assert.ok((await readdir(folder)).length < before);
    const likely = await library.likely(probesOf([md5('common')]), 100);
    assert.deepEqual(
      likely.map(({ mac }) => mac),
      [59, 58, 57, 56].map(macOf),
    );
    for (let board = 0; board < 60; board++) {
      const [own] = await library.likely(new Map([[1, md5(`own ${board}`)]]), 1);
      assert.equal(own?.mac, macOf(board), `board ${board}`);
    }
  });

  test('every entry is found, wherever it stands in a file, and nothing else', async (t) => {
    const path = join(await temporaryFolder(t), 'a.run');
    const digests = Array.from({ length: 5000 }, (_, index) => md5(`block ${index}`));
    // Some digests as one never meets them: all at one end, where guessing a place fails.
    digests.push(...Array.from({ length: 2000 }, (_, index) => `00000000${index.toString(16).padStart(24, '0')}`));
    digests.push('f'.repeat(32), '0'.repeat(31) + '1');
    const entries = digests.flatMap((digest, index) => {
      const key = keyOf(index % 64, digest);
      return key === undefined ? [] : [{ key, backup: index % 3 }];
    });
    const backups = [0, 1, 2].map((board) => ({ mac: macOf(board), id: idOf(board) }));
    const blocks = new NewBlocks();
    for (const [number, backup] of backups.entries()) {
      blocks.addBackup(backup);
      for (const [index, digest] of digests.entries()) if (index % 3 === number) blocks.addBlock(index % 64, digest);
    }
    await writeRun(path, blocks.encode());
    const run = await RunFile.open(path);
    assert.ok(run instanceof RunFile);
    t.after(() => run.close());
    const wanted = new Map<string, Set<number>>();
    for (const { key, backup } of entries) {
      const holders = wanted.get(key.toString('hex')) ?? new Set<number>();
      wanted.set(key.toString('hex'), holders.add(backup));
    }
    for (const [key, holders] of wanted) {
      const found = await run.find(Buffer.from(key, 'hex'));
      assert.ok(found.length > 0 && found.length <= MAX_HOLDERS, key);
      for (const holder of found) assert.ok(holders.has(holder), key);
    }
    for (let index = 0; index < 500; index++) {
      const key = keyOf(7, md5(`absent ${index}`));
      assert.ok(key !== undefined);
      assert.deepEqual(await run.find(key), []);
    }
  });

  test('what is merged is what one file of all would hold, however it is cut into files', async (t) => {
    const folder = await temporaryFolder(t);
    let seed = 1;
    const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
    for (const [files, entries] of [
      [1, 10],
      [2, 0],
      [3, 700],
      [5, 3000],
      [40, 600],
    ] as const) {
      const wanted = new Map<string, Set<string>>();
      const runs: RunFile[] = [];
      for (let file = 0; file < files; file++) {
        const blocks = new NewBlocks();
        const names = Array.from({ length: 5 }, () => ({ mac: macOf(random(50)), id: idOf(random(100)) }));
        for (const name of names) {
          blocks.addBackup(name);
          for (let entry = 0; entry < entries / 5; entry++) {
            // Few digests, so that many backups of many files hold the same.
            const [index, digest] = [random(3), md5(`block ${random(400)}`)];
            blocks.addBlock(index, digest);
            const key = keyOf(index, digest)?.toString('hex') ?? '';
            wanted.set(key, (wanted.get(key) ?? new Set()).add(`${name.id} ${name.mac}`));
          }
        }
        const path = join(folder, `${files}-${file}.run`);
        await writeRun(path, blocks.encode());
        runs.push(await opened(path));
      }
      const path = join(folder, `${files}.run`);
      await mergeRuns(path, runs);
      for (const run of runs) await run.close();
      const merged = await opened(path);
      let total = 0;
      for (const [key, holders] of wanted) {
        const numbers = await merged.find(Buffer.from(key, 'hex'));
        const found = await Promise.all(numbers.map((number) => merged.backup(number)));
        const named = found.map((each) => `${each?.id} ${each?.mac}`);
        assert.equal(new Set(named).size, named.length);
        assert.ok(named.every((name) => holders.has(name)));
        if (holders.size <= MAX_HOLDERS) assert.deepEqual(named.sort(), [...holders].sort());
        else assert.equal(named.length, MAX_HOLDERS);
        total += named.length;
      }
      assert.equal(merged.entries, total, `${files} files: nothing twice, and nothing else`);
      await merged.close();
    }
  });

  test('a merge that is ended leaves what was there, and no file of its own', async (t) => {
    const folder = await temporaryFolder(t);
    const library = new BlockLibrary(folder, silentLogger);
    for (let board = 0; board < 4; board++) {
      await library.add(backupOf(board, [md5(`own ${board}`)]));
      await library.flush();
    }
    const before = await readdir(folder);
    await library.tidy(AbortSignal.abort());
    assert.deepEqual((await readdir(folder)).sort(), before.sort());
    await library.tidy();
    assert.equal((await readdir(folder)).length, 1);
  });

  test('thousands that are added in one go are few files, while they are added as well', async (t) => {
    const folder = await temporaryFolder(t);
    const library = new BlockLibrary(folder, silentLogger);
    let most = 0;
    const blocks = Array.from({ length: 2048 }, (_, index) => index.toString(16).padStart(4, '0'));
    for (let board = 0; board < 200; board++) {
      const own = board.toString(16).padStart(8, '0');
      await library.add(
        backupOf(
          board,
          blocks.map((block) => `${block}${own}${own}${own}0000`.slice(0, 32)),
        ),
      );
      if (board % 10 === 0) most = Math.max(most, (await readdir(folder)).length);
    }
    await library.flush();
    assert.ok(most <= 45, `${most} files`);
    for (const board of [0, 99, 199]) {
      const own = board.toString(16).padStart(8, '0');
      const probes = new Map(
        [0, 7, 2047].map((index) => [index, `${blocks[index]}${own}${own}${own}0000`.slice(0, 32)]),
      );
      const [likely] = await library.likely(probes, 1);
      assert.deepEqual([likely?.mac, likely?.hits], [macOf(board), 3]);
    }
  });

  test('a file that is cut off is removed, one that cannot be read now is not', async (t) => {
    const folder = await temporaryFolder(t);
    const library = new BlockLibrary(folder, silentLogger);
    await library.add(backupOf(1, [md5('a'), md5('b')]));
    await library.flush();
    const [name = ''] = await readdir(folder);
    const path = join(folder, name);
    const { size } = await stat(path);
    for (const bytes of [size - 1, 20, 15, 0]) {
      await library.add(backupOf(2, [md5('c')]));
      await library.flush();
      await writeFile(join(folder, 'cut.run'), Buffer.alloc(size, 1));
      await truncate(join(folder, 'cut.run'), bytes);
      assert.equal((await library.likely(probesOf([md5('a')]), 8)).length, 1);
      assert.ok(!(await readdir(folder)).includes('cut.run'));
    }
    // A folder opens, and cannot be read as a file: nobody knows what it is.
    await writeFile(join(folder, 'note.txt'), 'foreign');
    await library.tidy();
    assert.ok((await readdir(folder)).includes('note.txt'));
  });

  test('a folder that cannot be written costs hints only', async (t) => {
    const folder = join(await temporaryFolder(t), 'file');
    await writeFile(folder, '');
    const library = new BlockLibrary(folder, silentLogger);
    await library.add(backupOf(1, [md5('a')]));
    await library.flush();
    await library.tidy();
    assert.deepEqual(await library.likely(probesOf([md5('a')]), 8), []);
    assert.equal(await library.isMissing(), true);
  });

  test('an index beyond what an entry can say is left out', () => {
    assert.equal(keyOf(0x10000, md5('a')), undefined);
    assert.equal(keyOf(0xffff, md5('a'))?.length, 8);
  });

  test('files are made one when they are not much smaller than their neighbours', () => {
    assert.equal(mergeable([]), 0);
    assert.equal(mergeable([100]), 1);
    assert.equal(mergeable([1000, 100]), 1);
    assert.equal(mergeable([1000, 100, 30]), 2);
    assert.equal(mergeable([400, 100, 30]), 3);
  });
});
