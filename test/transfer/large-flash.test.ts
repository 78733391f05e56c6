/** Whole jobs with a flash above 16 MiB, where a ROM's digests would prove a copy of the lower half. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OPCODE, seededRandom } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { verifyDevice } from '../../src/transfer/verify-device.ts';
import {
  Bench,
  MIB,
  SECTOR_BYTES,
  assertFails,
  imageOf,
  macOf,
  smallImage,
  watchFlash,
  writingCommands,
} from './support.ts';

const UPPER = 16 * MIB + 0x1000;

/** Firmware below, data above 16 MiB that differ from what lies 16 MiB below them. */
function largeBoard(bench: Bench, wishes: Parameters<Bench['board']>[0] = {}): SimulatedBoard {
  const family = wishes.family ?? 'esp32s3';
  const board = bench.board({ ...wishes, family, flashSizeBytes: 32 * MIB, content: smallImage(family, MIB) });
  board.flash.load(UPPER, seededRandom(5).bytes(20 * SECTOR_BYTES));
  return board;
}

function romTouchedFlash(board: SimulatedBoard): boolean {
  const flash: readonly number[] = [
    ...[OPCODE.flashBegin, OPCODE.flashData, OPCODE.flashDeflBegin, OPCODE.flashDeflData],
    ...[OPCODE.readFlashSlow, OPCODE.flashMd5],
  ];
  return board.commands.some(({ loader, opcode }) => loader === 'rom' && flash.includes(opcode));
}

async function assertNothingKept(bench: Bench, board: SimulatedBoard): Promise<void> {
  assert.deepEqual(await bench.imagesOf(board.mac), []);
  assert.equal(romTouchedFlash(board), false);
  assert.equal(board.mode, 'app');
}

describe('a board with a flash above 16 MiB', () => {
  for (const family of ['esp32s3', 'esp32c5', 'esp32c61', 'esp32p4', 'esp32s31'] as const) {
    it(`is not backed up without its stub, in full or not: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const board = largeBoard(bench, { family, faults: [{ kind: 'no-stub' }] });
      for (const full of [false, true]) {
        const { message, hint } = await assertFails(bench.backup(board, { full }), 'no-stub-read');
        assert.match(message, /32 MB/);
        assert.match(hint, /stub/);
        await assertNothingKept(bench, board);
      }
    });
  }

  it('is backed up through its stub, both halves', async (t) => {
    const bench = await Bench.open(t);
    const board = largeBoard(bench);
    const { backup } = (await bench.backup(board)).value;
    const image = await imageOf(backup);
    assert.ok(image.equals(board.flash.snapshot()));
    assert.ok(!image.subarray(UPPER, UPPER + SECTOR_BYTES).equals(image.subarray(0x1000, 0x1000 + SECTOR_BYTES)));
    assert.equal((await bench.backup(board)).value.unchanged, true);
  });

  it('is not backed up where the stub dies in the middle; what was read so far is of use to the next try', async (t) => {
    for (const opcode of [OPCODE.readFlash, OPCODE.flashMd5]) {
      const bench = await Bench.open(t);
      const board = largeBoard(bench);
      board.addFault({ kind: 'reset', when: { opcode, nth: 2 } });
      board.addFault({ kind: 'no-stub', when: { opcode, nth: 2 } });
      await assertFails(bench.backup(board), 'no-stub-read');
      await assertNothingKept(bench, board);
      board.clearFaults();
      const { backup } = (await bench.backup(board)).value;
      assert.ok((await imageOf(backup)).equals(board.flash.snapshot()));
    }
  });

  it('is not read through the ROM where the stub reads wrongly', async (t) => {
    const bench = await Bench.open(t);
    const board = largeBoard(bench, { faults: [{ kind: 'long-frames', bytes: 600 }] });
    await assertFails(bench.backup(board), 'no-stub-read');
    await assertNothingKept(bench, board);
  });

  it('is neither restored nor compared without its stub: not a sector is erased', async (t) => {
    const bench = await Bench.open(t);
    const board = largeBoard(bench);
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(UPPER, Buffer.alloc(SECTOR_BYTES, 0x5a));
    const before = board.flash.snapshot();
    board.addFault({ kind: 'no-stub' });
    const { erased, programmed } = watchFlash(board);
    const part = { kind: 'range', offset: UPPER, sizeBytes: SECTOR_BYTES } as const;
    for (const options of [{}, { part }, { snapshot: false }, { part, snapshot: false }, { dryRun: true }]) {
      await assertFails(bench.restore(board, backup, options), 'no-stub-read');
    }
    const verify = bench.session(board, (session) => verifyDevice(session, bench.archive));
    await assertFails(verify, 'no-stub-read');
    assert.deepEqual([erased(), programmed(), writingCommands(board)], [[], [], []]);
    assert.ok(board.flash.snapshot().equals(before));
    assert.equal(romTouchedFlash(board), false);
    assert.equal(await bench.archive.halfRestored(macOf(board.mac)), null);
  });

  it('whose stub dies in the middle of a restore loses nothing of its lower half, and is finished later', async (t) => {
    const bench = await Bench.open(t);
    const board = largeBoard(bench);
    const image = board.flash.snapshot();
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(UPPER, Buffer.alloc(SECTOR_BYTES, 0x5a));
    board.addFault({ kind: 'reset', when: { opcode: OPCODE.flashDeflData } });
    board.addFault({ kind: 'no-stub', when: { opcode: OPCODE.flashDeflData } });
    await assertFails(bench.restore(board, backup, { snapshot: false }), 'no-stub-read');
    assert.ok(board.flash.read(0, 16 * MIB).equals(image.subarray(0, 16 * MIB)), 'the lower half');
    assert.equal(romTouchedFlash(board), false);
    assert.notEqual(await bench.archive.halfRestored(macOf(board.mac)), null);
    board.clearFaults();
    const { value } = await bench.restore(board, backup, { snapshot: false });
    assert.deepEqual([value.verified, value.finished], [true, true]);
    assert.ok(board.flash.snapshot().equals(image));
  });
});
