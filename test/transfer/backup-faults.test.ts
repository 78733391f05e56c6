import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import type { Backup } from '../../src/archive/types.ts';
import { hasCode } from '../../src/errors.ts';
import type { Link } from '../../src/serial/link.ts';
import type { Family, SimulatedBoard } from '../../src/simulator/index.ts';
import type { Progress } from '../../src/transfer/session.ts';
import { courseOf, faultsByByte, faultsByCommand, passingFaults } from './fault-cases.ts';
import type { Course, FaultCase } from './fault-cases.ts';
import {
  Bench,
  FAMILIES,
  KIB,
  PassingLink,
  TriggerLink,
  assertFails,
  exchange,
  failureOf,
  knownError,
  imageOf,
  smallImage,
  withSectors,
} from './support.ts';

const SIZE_BYTES = 256 * KIB;
/** An abort must not hold up the daemon's stop, which has 5 s in all. */
const STOP_MS = 5000;

/** A board that was backed up once and has changed since: each phase of a backup happens to it. */
interface Scene {
  readonly bench: Bench;
  readonly board: SimulatedBoard;
  readonly old: Buffer;
  readonly now: Buffer;
}

async function sceneOf(t: TestContext, family: Family): Promise<Scene> {
  const bench = await Bench.open(t);
  const old = smallImage(family, SIZE_BYTES);
  const now = withSectors(old, [3, 40]);
  const board = bench.board({ family, flashSizeBytes: SIZE_BYTES, content: old });
  await bench.backup(board);
  board.flash.load(0, now);
  return { bench, board, old, now };
}

async function courseOfBackup(t: TestContext, family: Family): Promise<Course> {
  const { bench, board } = await sceneOf(t, family);
  return courseOf(board, () => bench.backup(board));
}

/** A right backup, or an error that says why; never a wrong or half a one; the board is untouched and runs its app. */
async function assertSafe(scene: Scene, work: Promise<{ value: { backup: Backup } }>): Promise<'right' | Error> {
  const { bench, board, old, now } = scene;
  let outcome: 'right' | Error;
  try {
    const { backup } = (await work).value;
    assert.ok((await imageOf(backup)).equals(now), 'the image is wrong');
    outcome = 'right';
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    outcome = knownError(error);
  }
  const images = await bench.images(board.mac);
  assert.equal(images.length, outcome === 'right' ? 2 : 1);
  assert.ok(images[0]!.equals(old));
  assert.ok(board.flash.snapshot().equals(now), 'the flash was changed');
  assert.equal(board.onTransmit, undefined, 'the link is still open');
  await bench.pass(50);
  if (board.attached) assert.equal(board.mode, 'app');
  return outcome;
}

async function backUpUnder(t: TestContext, family: Family, { name, fault }: FaultCase): Promise<'right' | Error> {
  const scene = await sceneOf(t, family);
  const { bench, board } = scene;
  const started = bench.clock.now();
  board.addFault(fault);
  try {
    const outcome = await assertSafe(scene, bench.backup(board));
    assert.ok(bench.clock.now() - started < 15 * 60_000, `it took ${bench.clock.now() - started} ms`);
    return outcome;
  } catch (error) {
    throw new Error(`${name}: ${String(error)}`, { cause: error });
  } finally {
    bench.clock.clear();
  }
}

for (const [index, family] of FAMILIES.entries()) {
  describe(`backup of an ${family}`, () => {
    it('under a fault at any command is right or an error', async (t) => {
      // Every 24th case, the families in turn: with 17 kinds of faults, each kind meets every part of a backup.
      const cases = faultsByCommand(await courseOfBackup(t, family));
      for (const one of cases.filter((_, place) => place % 24 === index * 6)) await backUpUnder(t, family, one);
    });

    it('gets over what passes by itself', async (t) => {
      const cases = passingFaults(await courseOfBackup(t, family));
      for (const one of cases.filter((_, place) => place % 10 === index)) {
        assert.equal(await backUpUnder(t, family, one), 'right', one.name);
      }
    });

    it('under a fault at any byte is right or an error', async (t) => {
      const faults = faultsByByte(await courseOfBackup(t, family));
      await fc.assert(
        fc.asyncProperty(faults, async (one) => {
          await backUpUnder(t, family, one);
        }),
        { numRuns: 10 },
      );
    });
  });
}

/** How many operations on the link a backup takes. */
async function operationsOfBackup(t: TestContext): Promise<number> {
  const { bench, board } = await sceneOf(t, 'esp32c3');
  let counter: TriggerLink | undefined;
  await bench.backup(board, { through: (link) => (counter = new TriggerLink(link, -1, () => undefined)) });
  return counter!.operations;
}

describe('backup', () => {
  it('that is aborted at any point ends soon, keeps nothing and lets the board go', async (t) => {
    const operations = await operationsOfBackup(t);
    await fc.assert(
      fc.asyncProperty(fc.nat(operations + 5), async (operation) => {
        const scene = await sceneOf(t, 'esp32c3');
        const { bench, board } = scene;
        const abort = new AbortController();
        let tookMs = 0;
        const work = async () => {
          let abortedAt: number | undefined;
          const then = () => {
            abortedAt = bench.clock.now();
            abort.abort();
          };
          try {
            const through = (link: Link) => new TriggerLink(link, operation, then);
            return await bench.backup(board, { signal: abort.signal, through });
          } finally {
            tookMs = abortedAt === undefined ? 0 : bench.clock.now() - abortedAt;
          }
        };
        const outcome = await assertSafe(scene, work());
        if (outcome !== 'right') assert.ok(hasCode(outcome, 'interrupted'), outcome.message);
        assert.ok(tookMs <= STOP_MS, `it took ${tookMs} ms`);
      }),
      { numRuns: 20 },
    );
  });

  it('that is aborted before it begins touches nothing', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const error = await failureOf(bench.backup(board, { signal: AbortSignal.abort() }));
    assert.equal(error.code, 'interrupted');
    assert.equal(board.resets, 0);
    assert.equal(board.onTransmit, undefined);
  });

  for (const mode of ['its app', 'download mode'] as const) {
    it(`never mixes two boards: another one is plugged in, in ${mode}`, async (t) => {
      const operations = await operationsOfBackup(t);
      const contents = fc.constantFrom('old', 'now', 'other');
      await fc.assert(
        fc.asyncProperty(fc.nat(operations), contents, async (operation, content) => {
          const scene = await sceneOf(t, 'esp32c3');
          const { bench, board, old, now } = scene;
          const theirs = { old, now, other: smallImage('esp32c3', SIZE_BYTES, 2) }[content];
          const other = bench.board({ flashSizeBytes: SIZE_BYTES, content: theirs, seed: 2 });
          if (mode === 'download mode') {
            other.pressBoot(true);
            other.powerCycle();
            await bench.pass(10);
            other.pressBoot(false);
          }
          let phase = '';
          let swappedWhile = '';
          const through = (link: Link) =>
            new TriggerLink(link, operation, (swapped) => {
              swappedWhile = phase;
              exchange(swapped, bench, board, other);
            });
          let backup: Backup | undefined;
          try {
            const onProgress = (progress: Progress) => void (phase = progress.phase);
            backup = (await bench.backup(board, { through, onProgress })).value.backup;
          } catch (error) {
            knownError(error);
          }
          // What is in the archive belongs to the first board, unless all of the job was done with the other.
          const right = backup?.mac === board.mac;
          await bench.assertImages(board.mac, right ? [old, now] : [old]);
          await bench.assertImages(other.mac, backup !== undefined && !right ? [theirs] : []);
          assert.ok(other.flash.snapshot().equals(theirs));
          await bench.pass(50);
          // One that comes when the job is over, or not at all, stays as its owner left it.
          if (swappedWhile !== 'leaving' && swappedWhile !== '') assert.equal(other.mode, 'app');
        }),
        { numRuns: 15 },
      );
    });
  }

  it('says so where another board answers in the middle of reading', async (t) => {
    const { bench, board } = await sceneOf(t, 'esp32c3');
    const other = bench.board({ flashSizeBytes: SIZE_BYTES, seed: 2 });
    let link: PassingLink | undefined;
    const work = bench.backup(board, {
      full: true,
      through: (inner) => (link = new PassingLink(inner)),
      onProgress: ({ phase }) => {
        if (phase === 'reading' && board.attached) exchange(link!, bench, board, other);
      },
    });
    const error = await assertFails(work, 'chip-changed');
    assert.match(error.message, new RegExp(other.mac));
    assert.equal((await bench.images(board.mac)).length, 1);
    await bench.assertImages(other.mac, []);
  });
});
