import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FileSystem } from '../../src/archive/disk.ts';
import { Turns, TurnsOf, diskTurns, takingTurns } from '../../src/archive/turns.ts';
import { systemError, temporaryFolder, watchedFileSystem } from './support.ts';

/** A promise that is settled from outside, as the calls of a disk that hangs. */
class Pending {
  resolve: () => void = () => undefined;
  reject: (error: Error) => void = () => undefined;
  readonly promise = new Promise<void>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

const soon = () => new Promise<void>((resolve) => setImmediate(resolve));

test('no more than so many at once, first come, first served, whatever fails', async () => {
  const turns = new Turns(2);
  const works = Array.from({ length: 5 }, () => new Pending());
  const begun: number[] = [];
  const outcomes = works.map(({ promise }, index) =>
    turns
      .take(() => {
        begun.push(index);
        return promise;
      })
      .then(
        () => 'done',
        () => 'failed',
      ),
  );
  await soon();
  assert.deepEqual(begun, [0, 1]);
  works[1]!.reject(systemError('EIO'));
  await soon();
  assert.deepEqual(begun, [0, 1, 2]);
  for (const work of works) work.resolve();
  assert.deepEqual(await Promise.all(outcomes), ['done', 'failed', 'done', 'done', 'done']);
  assert.deepEqual(begun, [0, 1, 2, 3, 4]);
});

test('of one key one after the other, whatever fails, and other keys beside it', async () => {
  const turns = new TurnsOf<string>();
  const begun: string[] = [];
  const begin = (key: string, name: string) => {
    const work = new Pending();
    const outcome = turns
      .take(key, () => {
        begun.push(name);
        return work.promise;
      })
      .then(
        () => 'done',
        () => 'failed',
      );
    return { work, outcome };
  };
  const [first, second, beside] = [begin('a', 'a1'), begin('a', 'a2'), begin('b', 'b1')];
  await soon();
  assert.deepEqual(begun, ['a1', 'b1']);
  first.work.reject(systemError('EIO'));
  await soon();
  const third = begin('a', 'a3');
  await soon();
  assert.deepEqual(begun, ['a1', 'b1', 'a2'], 'the third waits for the second, and not for the first alone');
  second.work.resolve();
  await soon();
  assert.deepEqual(begun, ['a1', 'b1', 'a2', 'a3']);
  third.work.resolve();
  beside.work.resolve();
  assert.deepEqual(
    [await first.outcome, await second.outcome, await third.outcome, await beside.outcome],
    ['failed', 'done', 'done', 'done'],
  );
});

test('of four threads three may be in the disk, two of them in fsync: other calls get on beside it', async (t) => {
  const folder = await temporaryFolder(t);
  const hanging = new Pending();
  let syncing = 0;
  const inner = watchedFileSystem(() => undefined);
  const slow: FileSystem = {
    ...inner,
    open: async (...args: Parameters<typeof open>) => {
      const handle = await open(...args);
      handle.sync = () => {
        syncing++;
        return hanging.promise;
      };
      return handle;
    },
  };
  const fs = takingTurns(slow, diskTurns(4));
  const handles = await Promise.all(Array.from({ length: 5 }, (_, index) => fs.open(join(folder, `${index}`), 'w')));
  const syncs = handles.map((handle) => handle.sync());
  // As many calls as come: none waits for an fsync.
  for (let call = 0; call < 10; call++) await fs.stat(folder);
  await handles[4]!.write('x');
  assert.equal(syncing, 2);
  hanging.resolve();
  await Promise.all(syncs);
  assert.equal(syncing, 5);
  for (const handle of handles) await handle.close();
});

test('a pool of one thread still lets one call through', async (t) => {
  const folder = await temporaryFolder(t);
  for (const threads of [1, 2, 3]) {
    const fs = takingTurns(
      watchedFileSystem(() => undefined),
      diskTurns(threads),
    );
    const handle = await fs.open(join(folder, 'file'), 'w');
    await handle.sync();
    await handle.close();
  }
});
