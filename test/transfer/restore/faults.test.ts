import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import fc from 'fast-check';
import type { Backup } from '../../../src/archive/types.ts';
import { hasCode } from '../../../src/errors.ts';
import type { Link } from '../../../src/serial/link.ts';
import { OPCODE } from '../../../src/simulator/index.ts';
import type { Family, SimulatedBoard } from '../../../src/simulator/index.ts';
import type { RestoreOutcome } from '../../../src/transfer/restore/restore.ts';
import { guardHalfRestored } from '../../../src/transfer/half-restored.ts';
import type { Progress, SessionResult } from '../../../src/transfer/session.ts';
import { courseOf, faultsByByte, faultsByCommand, passingFaults } from '../fault-cases.ts';
import type { Course, FaultCase } from '../fault-cases.ts';
import {
  Bench,
  FAMILIES,
  KIB,
  TriggerLink,
  exchange,
  failureOf,
  knownError,
  smallImage,
  withSectors,
  writingCommands,
} from '../support.ts';

const SIZE_BYTES = 256 * KIB;
const STOP_MS = 5000;

/** A backup, and its board that holds something else by now: some sectors here and there, and one long run of them. */
interface Scene {
  readonly bench: Bench;
  readonly board: SimulatedBoard;
  readonly backup: Backup;
  readonly image: Buffer;
  /** What the board holds before the restore: what the snapshot must hold. */
  readonly before: Buffer;
}

async function sceneOf(t: TestContext, family: Family): Promise<Scene> {
  const bench = await Bench.open(t);
  const image = smallImage(family, SIZE_BYTES);
  const board = bench.board({ family, flashSizeBytes: SIZE_BYTES, content: image });
  const { backup } = (await bench.backup(board)).value;
  const before = withSectors(image, [3, 9, ...Array.from({ length: 20 }, (_, index) => 14 + index), 50]);
  board.flash.load(0, before);
  return { bench, board, backup, image, before };
}

async function courseOfRestore(t: TestContext, family: Family): Promise<Course> {
  const { bench, board, backup } = await sceneOf(t, family);
  return courseOf(board, () => bench.restore(board, backup));
}

/**
 * What the command says is true: "restored" means bit for bit; after an error either the old content is on the board, or
 * the archive says that it is half restored, no backup of it is made, and the same restore again, with the fault gone,
 * finishes it. Either way the board is let go, and what was on it before is in the archive before it is gone.
 */
async function assertFinishes(scene: Scene, work: Promise<SessionResult<RestoreOutcome>>): Promise<'restored' | Error> {
  const { bench, board, backup, image, before } = scene;
  const mac = backup.mac;
  let outcome: 'restored' | Error;
  try {
    const { value } = await work;
    assert.equal(value.verified, true);
    assert.ok(board.flash.snapshot().equals(image), 'the flash is wrong');
    outcome = 'restored';
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    outcome = knownError(error);
  }
  const flash = board.flash.snapshot();
  const half = await bench.archive.halfRestored(mac);
  if (flash.equals(image) && outcome === 'restored') assert.equal(half, null);
  if (!flash.equals(image) && !flash.equals(before)) {
    assert.match(bench.log.of('error').join('\n'), /half restored/);
    assert.ok(half?.record);
    assert.deepEqual([half.record.from.id, half.record.mac], [backup.id, mac]);
  }
  // Before the first sector was erased, what it held was in the archive.
  const kept = await bench.imagesOf(mac);
  const wasWritten = writingCommands(board).length > 0;
  if (wasWritten || outcome === 'restored')
    assert.ok(
      kept.some((one) => one.equals(before)),
      'no snapshot',
    );
  assert.equal(board.onTransmit, undefined, 'the link is still open');
  await bench.pass(50);
  if (board.attached) assert.ok(board.mode === 'app', `the chip is in mode ${board.mode}`);
  if (outcome !== 'restored') {
    board.clearFaults();
    board.plug();
    await bench.pass(2 * 60_000); // what floods or stalls is over then
    if (half !== null) {
      const backedUp = bench.session(board, (session) => guardHalfRestored(session, bench.archive, false));
      if (flash.equals(image) || flash.equals(before)) {
        await backedUp;
        assert.equal(await bench.archive.halfRestored(mac), null);
      } else {
        assert.equal((await failureOf(backedUp)).code, 'half-restored');
      }
    }
    assert.equal((await bench.restore(board, backup)).value.verified, true);
    assert.ok(board.flash.snapshot().equals(image), 'the second restore is wrong');
  }
  assert.equal(await bench.archive.halfRestored(mac), null);
  await bench.assertImages(board.mac, (await bench.imagesOf(mac)).length === 1 ? [image] : [image, before]);
  return outcome;
}

async function restoreUnder(t: TestContext, family: Family, { name, fault }: FaultCase): Promise<'restored' | Error> {
  const scene = await sceneOf(t, family);
  const { bench, board, backup } = scene;
  const started = bench.clock.now();
  board.addFault(fault);
  try {
    const outcome = await assertFinishes(scene, bench.restore(board, backup));
    assert.ok(bench.clock.now() - started < 30 * 60_000, `it took ${bench.clock.now() - started} ms`);
    return outcome;
  } catch (error) {
    throw new Error(`${name}: ${String(error)}`, { cause: error });
  } finally {
    bench.clock.clear();
  }
}

for (const [index, family] of FAMILIES.entries()) {
  describe(`restore of an ${family}`, () => {
    it('under a fault at any command is exact, or finished by a second one', async (t) => {
      const cases = faultsByCommand(await courseOfRestore(t, family));
      for (const one of cases.filter((_, place) => place % 24 === index * 6)) await restoreUnder(t, family, one);
    });

    it('gets over what passes by itself', async (t) => {
      const cases = passingFaults(await courseOfRestore(t, family));
      for (const one of cases.filter((_, place) => place % 10 === index)) {
        assert.equal(await restoreUnder(t, family, one), 'restored', one.name);
      }
    });

    it('of a part, under a fault at any command, touches nothing else and is finished by a second one', async (t) => {
      const part = { offset: 14 * 4096, sizeBytes: 20 * 4096 };
      const expectedOf = ({ image, before }: Scene) =>
        Buffer.concat([
          before.subarray(0, part.offset),
          image.subarray(part.offset, part.offset + part.sizeBytes),
          before.subarray(part.offset + part.sizeBytes),
        ]);
      const first = await sceneOf(t, family);
      const course = await courseOf(first.board, () => first.bench.restore(first.board, first.backup, { part }));
      assert.ok(first.board.flash.snapshot().equals(expectedOf(first)));
      for (const { name, fault } of faultsByCommand(course).filter((_, place) => place % 40 === index * 10)) {
        const scene = await sceneOf(t, family);
        const { bench, board, backup, before } = scene;
        const expected = expectedOf(scene);
        board.addFault(fault);
        const outcome = await bench.restore(board, backup, { part }).then(
          ({ value }) => value,
          (error: unknown) => knownError(error),
        );
        const flash = board.flash.snapshot();
        const outside = (bytes: Buffer) =>
          Buffer.concat([bytes.subarray(0, part.offset), bytes.subarray(part.offset + part.sizeBytes)]);
        assert.ok(outside(flash).equals(outside(before)), `${name}: something else was touched`);
        if (!(outcome instanceof Error)) assert.ok(flash.equals(expected), name);
        const half = await bench.archive.halfRestored(backup.mac);
        if (!flash.equals(expected) && !flash.equals(before)) assert.notEqual(half, null, name);
        board.clearFaults();
        board.plug();
        await bench.pass(2 * 60_000);
        assert.equal((await bench.restore(board, backup, { part })).value.verified, true);
        assert.ok(board.flash.snapshot().equals(expected), name);
        assert.equal(await bench.archive.halfRestored(backup.mac), null);
        bench.clock.clear();
      }
    });

    it('under a fault at any byte is exact, or finished by a second one', async (t) => {
      const faults = faultsByByte(await courseOfRestore(t, family));
      await fc.assert(
        fc.asyncProperty(faults, async (one) => {
          await restoreUnder(t, family, one);
        }),
        { numRuns: 10 },
      );
    });
  });
}

/** How many operations on the link a restore takes. */
async function operationsOfRestore(t: TestContext): Promise<number> {
  const { bench, board, backup } = await sceneOf(t, 'esp32c3');
  let counter: TriggerLink | undefined;
  await bench.restore(board, backup, { through: (link) => (counter = new TriggerLink(link, -1, () => undefined)) });
  return counter!.operations;
}

type Seen = readonly { readonly opcode: number }[];
const has = (seen: Seen, opcode: number) => seen.some((command) => command.opcode === opcode);

/** What tells that a restore is in the middle of a phase; and whether a sector may have been erased by then. */
const PHASES: Readonly<Record<string, { readonly isIn: (seen: Seen) => boolean; readonly mayHaveWritten: boolean }>> = {
  connecting: { isIn: (seen) => has(seen, OPCODE.sync), mayHaveWritten: false },
  'uploading the stub': { isIn: (seen) => has(seen, OPCODE.memData), mayHaveWritten: false },
  'trying a rate': { isIn: (seen) => has(seen, OPCODE.changeBaudRate), mayHaveWritten: false },
  comparing: { isIn: (seen) => has(seen, OPCODE.flashMd5), mayHaveWritten: false },
  'making its snapshot': { isIn: (seen) => has(seen, OPCODE.readFlash), mayHaveWritten: false },
  erasing: { isIn: (seen) => has(seen, OPCODE.flashDeflBegin), mayHaveWritten: true },
  programming: { isIn: (seen) => has(seen, OPCODE.flashDeflData), mayHaveWritten: true },
  proving: {
    isIn: (seen) => {
      const lastBlock = seen.findLastIndex(({ opcode }) => opcode === OPCODE.flashDeflData);
      return lastBlock !== -1 && has(seen.slice(lastBlock), OPCODE.flashMd5);
    },
    mayHaveWritten: true,
  },
};

describe('a restore that is stopped', () => {
  for (const family of FAMILIES) {
    for (const [phase, { isIn, mayHaveWritten }] of Object.entries(PHASES)) {
      it(`while ${phase}, of an ${family}: ends soon, tells the truth, and is finished by a second one`, async (t) => {
        const scene = await sceneOf(t, family);
        const { bench, board, backup, before } = scene;
        const commandsBefore = board.commands.length;
        const abort = new AbortController();
        let abortedAtMs: number | undefined;
        const through = (link: Link) =>
          new Proxy(link, {
            get: (target, name) => {
              const member: unknown = Reflect.get(target, name, target);
              if (typeof member !== 'function') return member;
              return (...args: unknown[]): unknown => {
                if (abortedAtMs === undefined && isIn(board.commands.slice(commandsBefore))) {
                  abortedAtMs = bench.clock.now();
                  abort.abort();
                }
                return (member as (...all: unknown[]) => unknown).apply(target, args);
              };
            },
          });
        let tookMs = Infinity;
        let flash = before;
        const work = bench.restore(board, backup, { signal: abort.signal, through }).finally(() => {
          tookMs = bench.clock.now() - (abortedAtMs ?? -Infinity);
          flash = board.flash.snapshot();
        });
        const outcome = await assertFinishes(scene, work);
        assert.ok(outcome !== 'restored' && hasCode(outcome, 'interrupted'), `it was never ${phase}`);
        assert.ok(tookMs <= STOP_MS, `it took ${tookMs} ms`);
        if (!mayHaveWritten) assert.ok(flash.equals(before), 'the board is what it was');
      });
    }
  }
});

describe('restore', () => {
  it('that is aborted at any point ends soon, says what is half done, and is finished by a second one', async (t) => {
    const operations = await operationsOfRestore(t);
    await fc.assert(
      fc.asyncProperty(fc.nat(operations), async (operation) => {
        const scene = await sceneOf(t, 'esp32c3');
        const { bench, board, backup } = scene;
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
            return await bench.restore(board, backup, { signal: abort.signal, through });
          } finally {
            tookMs = abortedAt === undefined ? 0 : bench.clock.now() - abortedAt;
          }
        };
        const outcome = await assertFinishes(scene, work());
        if (outcome !== 'restored') assert.ok(hasCode(outcome, 'interrupted'), outcome.message);
        assert.ok(tookMs <= STOP_MS, `it took ${tookMs} ms`);
      }),
      { numRuns: 20 },
    );
  });

  it('that is aborted in the middle of writing leaves half of it, and says so', async (t) => {
    const { bench, board, backup, image } = await sceneOf(t, 'esp32c3');
    const abort = new AbortController();
    const erase = board.flash.erase.bind(board.flash);
    board.flash.erase = (address, length) => {
      abort.abort();
      erase(address, length);
    };
    const error = await failureOf(bench.restore(board, backup, { signal: abort.signal }));
    assert.equal(error.code, 'interrupted');
    assert.equal(board.mode, 'app');
    assert.match(bench.log.of('error').join('\n'), /half restored.*again/);
    assert.ok(!board.flash.snapshot().equals(image));
    await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(image));
  });

  for (const mode of ['its app', 'download mode'] as const) {
    it(`never writes to another board that is plugged in meanwhile, in ${mode}`, async (t) => {
      const operations = await operationsOfRestore(t);
      await fc.assert(
        fc.asyncProperty(fc.nat(operations), async (operation) => {
          const { bench, board, backup } = await sceneOf(t, 'esp32c3');
          const theirs = smallImage('esp32c3', SIZE_BYTES, 2);
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
          const onProgress = (progress: Progress) => void (phase = progress.phase);
          const work = bench.restore(board, backup, { through, onProgress });
          await work.catch((error: unknown) => knownError(error));
          // A board that is put in the place of one that is being written to is out of reach of every check: no program
          // can ask who answers and erase in one command.
          if (swappedWhile !== 'writing') assert.ok(other.flash.snapshot().equals(theirs));
          assert.ok(
            !other.commands.some(({ loader, opcode }) => loader === 'stub' && opcode === OPCODE.flashDeflBegin),
          );
        }),
        { numRuns: 15 },
      );
    });
  }
});
