/** What can go wrong in the archive and on the cable while a backup is put together from all that is known. */

import assert from 'node:assert/strict';
import { readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import * as nodeFs from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import type { FileSystem } from '../../src/archive/disk.ts';
import { openArchive } from '../../src/archive/archive.ts';
import { type SimulatedBoard, seededRandom } from '../../src/simulator/index.ts';
import { readFlash } from '../../src/transfer/backup.ts';
import { Bench, KIB, assertFails, hastyFileSystem, knownError } from './support.ts';

const SIZE = 512 * KIB;
const BLOCK = 64 * KIB;
const MAC = '24:0a:c4:00:00:01';
/** What every block of the flash is known by. */
const BLOCKS = ['newest', 'newest', 'older', 'fleet', 'leftover', 'blank', 'zero', 'new'] as const;

const own = BLOCKS.map((_, index) => seededRandom(100 + index).bytes(BLOCK));
const other = (seed: number) => BLOCKS.map((_, index) => seededRandom(1000 * seed + index).bytes(BLOCK));

/** An image with those blocks of `flash` that are known by `by`, and nothing else in common with it. */
function imageWith(by: (typeof BLOCKS)[number], seed: number): Buffer {
  const strange = other(seed);
  return Buffer.concat(BLOCKS.map((kind, index) => (kind === by ? own[index] : strange[index]) ?? Buffer.alloc(0)));
}

const flash = Buffer.concat(
  BLOCKS.map((kind, index) => {
    if (kind === 'blank') return Buffer.alloc(BLOCK, 0xff);
    return kind === 'zero' ? Buffer.alloc(BLOCK) : (own[index] ?? Buffer.alloc(0));
  }),
);

/** Calls `hook` before each call of the file system. */
class HookedFileSystem {
  hook: (name: string, path: string) => void = () => undefined;
  readonly fs: FileSystem;

  constructor() {
    const call = (name: string, path: string) => this.hook(name, path);
    const handleOf = (handle: nodeFs.FileHandle, path: string) =>
      new Proxy(handle, {
        get: (target, property) => {
          const value: unknown = Reflect.get(target, property);
          if (typeof value !== 'function') return value;
          const method = value as (...args: unknown[]) => unknown;
          if (property === 'close') return method.bind(target);
          return async (...args: unknown[]) => {
            call(`handle.${String(property)}`, path);
            return await method.apply(target, args);
          };
        },
      });
    const wrapped = Object.entries(hastyFileSystem).map(([name, original]): [string, unknown] => [
      name,
      typeof original !== 'function'
        ? original
        : async (...args: unknown[]) => {
            call(name, String(args[0]));
            const result: unknown = await (original as (...args: unknown[]) => unknown)(...args);
            return name === 'open' ? handleOf(result as nodeFs.FileHandle, String(args[0])) : result;
          },
    ]);
    this.fs = Object.fromEntries(wrapped) as unknown as FileSystem;
  }
}

interface Scene {
  readonly bench: Bench;
  readonly board: SimulatedBoard;
  readonly hooked: HookedFileSystem;
  readonly before: readonly Buffer[];
}

/** A board of which every block is known by something else, and two backups of it that it equals no more. */
async function scene(t: TestContext): Promise<Scene> {
  const hooked = new HookedFileSystem();
  const bench = await Bench.open(t, { fs: hooked.fs });
  const boardOf = (content: Buffer, mac: string) =>
    bench.board({ family: 'esp32', mac, flashSizeBytes: SIZE, content });
  await bench.backup(boardOf(imageWith('fleet', 1), '24:0a:c4:00:00:02'));
  await bench.backup(boardOf(imageWith('fleet', 2), '24:0a:c4:00:00:03'));
  const before = [imageWith('older', 3), imageWith('newest', 4)];
  for (const image of before) await bench.backup(boardOf(image, MAC));
  const interrupted = boardOf(imageWith('leftover', 5), MAC);
  interrupted.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 460_000 } });
  await assertFails(bench.backup(interrupted), 'port-vanished');
  return { bench, board: boardOf(flash, MAC), hooked, before };
}

const openFiles = () => readdirSync('/proc/self/fd').length;

/** Whatever happened: only right images are kept, no file is left open, and the board runs its app. */
async function assertSound({ bench, hooked, before }: Scene, filesBefore: number, outcome: unknown): Promise<void> {
  hooked.hook = () => undefined;
  if (outcome !== undefined) knownError(outcome);
  const images = await bench.images(MAC);
  // An error may come when the backup is there already: of the fsync after the rename.
  const isKept = outcome === undefined || images.length > before.length;
  await bench.assertImages(MAC, isKept ? [...before, flash] : before);
  assert.equal(openFiles(), filesBefore, 'files stay open');
}

async function outcomeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe('a backup that is put together from all that is known', () => {
  it('is, when nothing goes wrong', async (t) => {
    const all = await scene(t);
    const files = openFiles();
    const { value } = await all.bench.backup(all.board);
    const { explained } = value.transfer;
    assert.deepEqual(
      [
        explained.sameAsBackup,
        explained.olderBackup,
        explained.fleet,
        explained.leftover,
        explained.blank,
        explained.zero,
      ],
      [2, 1, 1, 1, 1, 1].map((blocks) => blocks * BLOCK),
    );
    assert.equal(value.transfer.flashBytesRead, BLOCK);
    await assertSound(all, files, undefined);
  });

  for (const code of ['EIO', 'ENOSPC', 'EROFS', 'EMFILE']) {
    it(`is right or an error when any call of the file system fails with ${code}`, async (t) => {
      const clean = await scene(t);
      let calls = 0;
      clean.hooked.hook = () => calls++;
      await clean.bench.backup(clean.board);
      const random = seededRandom(code.length * 31 + code.charCodeAt(1));
      let failed = 0;
      for (let trial = 0; trial < 8; trial++) {
        const all = await scene(t);
        const from = (random.bytes(2).readUInt16LE() / 65536) * calls;
        // A disk that is full or may not be written stays so; the other faults are over at once. What is there can be
        // removed: else a draft stays, and nothing can be done about it.
        const lasts = code === 'ENOSPC' || code === 'EROFS';
        const isWriting = (name: string) => /write|truncate|mkdir|rename|sync/.test(name);
        let call = 0;
        const files = openFiles();
        all.hooked.hook = (name, path) => {
          const isHit = lasts ? call >= from && isWriting(name) : call === Math.floor(from);
          call++;
          if (isHit) throw Object.assign(new Error(`${code}: made up, ${name} ${path}`), { code });
        };
        const outcome = await outcomeOf(all.bench.backup(all.board));
        if (outcome !== undefined) failed++;
        await assertSound(all, files, outcome);
        assert.equal(all.board.mode, 'app');
        all.hooked.hook = () => undefined;
        if (outcome !== undefined) await all.bench.backup(all.board);
        await assertSound(all, openFiles(), undefined);
      }
      t.diagnostic(`${failed} of 8 backups failed, over ${calls} calls`);
    });
  }

  for (const [what, harm] of [
    ['removed', (path: string) => rmSync(path)],
    ['cut off', (path: string) => truncateSync(path, SIZE / 3)],
    ['emptied', (path: string) => truncateSync(path, 0)],
    ['written over', (path: string) => writeFileSync(path, seededRandom(9).bytes(SIZE), { flag: 'r+' })],
  ] as const) {
    it(`takes nothing wrong from an image of another board that is ${what} while it is read`, async (t) => {
      for (let read = 0; read < 6; read++) {
        const all = await scene(t);
        let reads = 0;
        let harmed: string | undefined;
        const files = openFiles();
        all.hooked.hook = (name, path) => {
          const isOther = path.includes('24-0a-c4-00-00-0') && !path.includes('00-00-01') && path.endsWith('flash.bin');
          if (!isOther || !name.includes('read') || reads++ !== read) return;
          harmed = path;
          harm(path);
        };
        assert.equal(await outcomeOf(all.bench.backup(all.board)), undefined);
        all.hooked.hook = () => undefined;
        if (harmed !== undefined) rmSync(join(harmed, '../..'), { recursive: true });
        await assertSound(all, files, undefined);
        assert.equal(all.board.mode, 'app');
      }
    });
  }

  it('is aborted, or loses its cable, at any question: nothing wrong is kept, and the next one is right', async (t) => {
    for (let question = 0; question < 24; question += 3) {
      for (const how of ['abort', 'cable'] as const) {
        const all = await scene(t);
        const files = openFiles();
        const abort = new AbortController();
        let asked = 0;
        const outcome = await outcomeOf(
          all.bench.backup(all.board, {
            signal: abort.signal,
            onProgress: ({ phase }) => {
              if (phase !== 'comparing' || asked++ !== question) return;
              if (how === 'abort') abort.abort(new Error('told to stop'));
              else all.board.unplug();
            },
          }),
        );
        if (outcome !== undefined && how === 'cable') knownError(outcome);
        await all.bench.assertImages(MAC, outcome === undefined ? [...all.before, flash] : all.before);
        assert.equal(openFiles(), files);
        if (how === 'cable') all.board.plug();
        else assert.equal(all.board.mode, 'app');
        await all.bench.backup(all.board);
        await assertSound(all, openFiles(), undefined);
      }
    }
  });

  it('goes on beside another process that backs up the same board', async (t) => {
    const all = await scene(t);
    const files = openFiles();
    const { log, clock, root } = all.bench;
    const second = openArchive(root, { log, clock, compression: 'none', createdBy: 'another', fs: hastyFileSystem });
    const twin = all.bench.board({ family: 'esp32', mac: MAC, flashSizeBytes: SIZE, content: flash });
    const outcomes = await Promise.all([
      all.bench.backup(all.board),
      all.bench
        .session(twin, (session) => readFlash(session, { archive: second, full: true, reason: 'by-hand' }))
        .then(async (result) => ({ ...result, value: await result.value.keep() })),
    ]);
    const kept = outcomes.filter(({ value }) => !value.unchanged).length;
    await all.bench.assertImages(MAC, [...all.before, ...Array<Buffer>(kept).fill(flash)]);
    assert.equal(openFiles(), files);
    assert.equal(all.board.mode, 'app');
    assert.equal(twin.mode, 'app');
  });
});
