/** The lock of a station's journal: whoever is killed, at whatever moment, holds up no other for long. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { currentOwner, draftName, draftOwner } from '../../../src/archive/owner.ts';
import { takeLock } from '../../../src/replication/journal/lock.ts';
import { temporaryFolder } from '../../archive/support.ts';
import { hurriedClock, never } from '../support.ts';

/** Tells all that it has found in the file. */
const LOOKING = `
  const { readFileSync } = require('node:fs');
  const { parentPort, workerData: { path, isOver, found } } = require('node:worker_threads');
  const seen = new Set();
  while (Atomics.load(isOver, 0) === 0) {
    try {
      seen.add(readFileSync(path, 'utf8'));
      Atomics.add(found, 0, 1);
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
  parentPort.postMessage([...seen]);
`;

describe('the lock of the journal', () => {
  test('says whose it is as soon as it is there', async (t) => {
    const path = join(await temporaryFolder(t), 'journal.lock');
    // A thread of its own: looks of this one would never fall between two steps of the other.
    const [isOver, found] = [new Int32Array(new SharedArrayBuffer(4)), new Int32Array(new SharedArrayBuffer(4))];
    const looking = new Worker(LOOKING, { eval: true, workerData: { path, isOver, found } });
    const ended = once(looking, 'message') as Promise<[string[]]>;
    try {
      for (let round = 0; round < 400 || (Atomics.load(found, 0) < 200 && round < 100_000); round++) {
        await (await takeLock(path, hurriedClock, never))?.release();
      }
    } finally {
      Atomics.store(isOver, 0, 1);
    }
    const [seen] = await ended;
    assert.ok(seen.length > 0);
    assert.deepEqual(
      seen.filter((text) => draftOwner(text) === undefined),
      [],
    );
    assert.deepEqual(await readdir(join(path, '..')), []);
  });

  test('has one holder of many who want it at once', async (t) => {
    const path = join(await temporaryFolder(t), 'journal.lock');
    let holders = 0;
    let taken = 0;
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let left = 50; left > 0 && taken < 40; left--) {
          const lock = await takeLock(path, hurriedClock, never);
          if (lock === undefined) continue;
          taken++;
          assert.equal(++holders, 1);
          await lock.touch();
          holders--;
          await lock.release();
        }
      }),
    );
    assert.ok(taken >= 40);
  });

  test('clears what a process that was killed while it made one has left, and nothing else', async (t) => {
    const folder = await temporaryFolder(t);
    const path = join(folder, 'journal.lock');
    const self = await currentOwner();
    const gone = `journal.lock.${draftName({ ...self, pid: 2 ** 22 - 1 })}`;
    const others = [
      `journal.lock.${draftName(self)}`,
      `other.lock.${draftName({ ...self, pid: 2 ** 22 - 1 })}`,
      'journal.lock.x',
    ];
    for (const name of [gone, ...others]) await writeFile(join(folder, name), '');
    const lock = await takeLock(path, hurriedClock, never);
    assert.deepEqual((await readdir(folder)).sort(), ['journal.lock', ...others].sort());
    await lock?.release();
  });
});
