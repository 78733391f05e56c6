/** Boards do not wait for the archive's disk: each call takes 9 s, or never ends, and a stop comes at any point. */

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { draftOwner, isPartialName } from '../../src/archive/owner.ts';
import { hasCode, toEspdError } from '../../src/errors.ts';
import type { Link } from '../../src/serial/link.ts';
import { macToFolder } from '../../src/mac.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { readFlash } from '../../src/transfer/backup.ts';
import type { Progress, Session } from '../../src/transfer/session.ts';
import { SLOW_MS, SlowDisk } from '../support/slow-disk.ts';
import { Bench, KIB, TriggerLink, imageOf, macOf, smallImage, withSectors } from './support.ts';

const SIZE_BYTES = 256 * KIB;
/** The contract of a stop. */
const STOP_MS = 5000;

interface Scene {
  readonly bench: Bench;
  readonly board: SimulatedBoard;
  readonly disk: SlowDisk;
  readonly now: Buffer;
}

/** A board that was backed up once, whose next backup was interrupted, and which has changed since. */
async function sceneOf(t: TestContext): Promise<Scene> {
  const disk = new SlowDisk();
  const bench = await Bench.open(t, { fs: disk.fs });
  disk.clock = bench.clock;
  const old = smallImage('esp32c3', SIZE_BYTES);
  const board = bench.board({ family: 'esp32c3', flashSizeBytes: SIZE_BYTES, content: old });
  await bench.backup(board);
  const now = withSectors(old, [3, 4, 5, 6, 7, 8, 40]);
  board.flash.load(0, now);
  const abort = new AbortController();
  const onProgress = ({ phase, doneBytes = 0 }: Progress) => {
    if (phase === 'reading' && doneBytes > 4096) abort.abort();
  };
  await bench.backup(board, { signal: abort.signal, onProgress }).catch(() => undefined);
  return { bench, board, disk, now };
}

/** Begins a backup, in the middle of which `slow` sets in and a stop comes; tells how long the board was held then. */
async function stopAt(scene: Scene, operation: number, slow: 'fsync' | 'everything'): Promise<number> {
  const { bench, board, disk } = scene;
  const abort = new AbortController();
  let abortedAtMs: number | undefined;
  let releasedAtMs = NaN;
  const stop = () => {
    disk.slow = slow;
    abortedAtMs = bench.clock.now();
    abort.abort();
  };
  const outcome = bench.backup(board, {
    signal: abort.signal,
    through: (link: Link) => new TriggerLink(link, operation, stop),
    onProgress: ({ phase }) => {
      if (phase === 'released') releasedAtMs = bench.clock.now();
    },
  });
  const error = await outcome.then(() => undefined, toEspdError);
  if (error !== undefined) assert.ok(hasCode(error, 'interrupted'), error.message);
  disk.slow = 'nothing';
  return abortedAtMs === undefined ? 0 : releasedAtMs - abortedAtMs;
}

async function assertPickedUp({ bench, board, now }: Scene): Promise<void> {
  const names = await readdir(join(bench.root, macToFolder(macOf(board.mac))));
  assert.deepEqual(
    names.filter((name) => draftOwner(name) !== undefined),
    [],
    'a draft that nobody ended',
  );
  assert.ok(names.filter(isPartialName).length <= 2);
  const { backup } = (await bench.backup(board)).value;
  assert.ok((await imageOf(backup)).equals(now));
  assert.deepEqual((await bench.archive.verify({})).damaged, []);
}

describe('a disk that takes 9 s for a call', () => {
  for (const slow of ['fsync', 'everything'] as const) {
    it(`does not keep a board from being released by a stop, at any point: ${slow}`, async (t) => {
      const first = await sceneOf(t);
      let link: TriggerLink | undefined;
      const through = (inner: Link) => (link = new TriggerLink(inner, -1, () => undefined));
      await first.bench.backup(first.board, { through });
      const operations = link!.operations;
      // Some of each phase: connecting, stub, comparing, reading, confirming, leaving.
      for (let step = 0; step < 14; step++) {
        const scene = await sceneOf(t);
        const tookMs = await stopAt(scene, Math.floor((operations * (step + 0.5)) / 14), slow);
        assert.ok(tookMs <= STOP_MS, `released ${tookMs} ms after the stop`);
        await scene.bench.pass(50);
        assert.equal(scene.board.mode, 'app');
        await assertPickedUp(scene);
      }
    });
  }

  it('fsyncs nothing while a board is held', async (t) => {
    for (const isFirst of [true, false]) {
      const { bench, board, disk } = await sceneOf(t);
      const target = isFirst ? bench.board({ family: 'esp32', flashSizeBytes: SIZE_BYTES, seed: 7 }) : board;
      // The root of the archive is there: only its own folder is new to the first board.
      disk.syncs = 0;
      let whileHeld = -1;
      const read = (session: Session) => readFlash(session, { archive: bench.archive, full: false, reason: 'by-hand' });
      const onProgress = ({ phase }: Progress) => {
        if (phase === 'leaving') whileHeld = disk.syncs;
      };
      const { value } = await bench.session(target, read, { onProgress });
      assert.equal(whileHeld, 0);
      assert.equal(target.mode, 'app');
      await value.keep();
      assert.ok(disk.syncs >= 4, `${disk.syncs} fsyncs`);
      assert.ok((await bench.imagesOf(target.mac)).at(-1)!.equals(target.flash.snapshot()));
    }
  });

  it('keeps a backup while its board runs its app, for as long as it takes', async (t) => {
    const { bench, board, disk, now } = await sceneOf(t);
    const before = bench.clock.now();
    const read = (session: Session) => readFlash(session, { archive: bench.archive, full: false, reason: 'by-hand' });
    disk.slow = 'fsync';
    const { value, seconds } = await bench.session(board, read);
    assert.ok(bench.clock.now() - before < SLOW_MS, 'the board waited');
    assert.equal(board.mode, 'app');
    const { backup, transfer } = await value.keep();
    assert.ok(bench.clock.now() - before >= 4 * SLOW_MS, 'the disk was not slow');
    disk.slow = 'nothing';
    assert.ok((await imageOf(backup)).equals(now));
    // What the manifest tells is of the job with the board.
    const told = backup.manifest.transfer!;
    assert.ok(told.seconds <= seconds && told.seconds > seconds - 2, `${told.seconds} of ${seconds} s`);
    assert.equal(told.flashBytesRead, transfer.flashBytesRead);
    assert.ok(told.wireBytes > told.flashBytesRead);
  });

  it('an unchanged board does not wait until that is written down', async (t) => {
    const { bench, board, disk } = await sceneOf(t);
    await bench.backup(board);
    disk.slow = 'fsync';
    const before = bench.clock.now();
    const read = (session: Session) => readFlash(session, { archive: bench.archive, full: false, reason: 'by-hand' });
    const { value } = await bench.session(board, read);
    assert.ok(bench.clock.now() - before < SLOW_MS, 'the board waited');
    assert.equal((await value.keep()).unchanged, true);
    assert.ok(bench.clock.now() - before >= SLOW_MS);
  });
});
