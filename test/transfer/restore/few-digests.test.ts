/** A restore of little asks for little: no digest of what is known already, and the same proof in the end. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OPCODE, TYPICAL_SPEEDS, demoImage } from '../../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../../src/simulator/index.ts';
import { lineMemories } from '../../../src/transfer/line-memory.ts';
import { Bench, KIB, MIB, assertFails, withSectors } from '../support.ts';

const NVS_SECTOR = 9;
const APP_SECTOR = 40;
const SPEEDS = { ...TYPICAL_SPEEDS, digestBytesPerSecond: 8 * MIB };

/** Sizes of all digests that the board was asked for. */
function digestsAsked(board: SimulatedBoard): number[] {
  return board.commands
    .filter(({ opcode }) => opcode === OPCODE.flashMd5)
    .map(({ payload }) => payload.readUInt32LE(4));
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

describe('a restore of one sector of settings on a flash of 4 MiB', () => {
  const content = demoImage({ family: 'esp32', sizeBytes: 4 * MIB, appBytes: 400 * KIB });
  const open = (bench: Bench) =>
    bench.board({ family: 'esp32', flashSizeBytes: 4 * MIB, content, speeds: SPEEDS, line: { latencyMs: 1 } });

  it('hashes the whole flash twice, and takes less than 2.5 s', async (t) => {
    const bench = await Bench.open(t);
    const board = open(bench);
    // Its line is known, as it is of a board that has a backup.
    const lines = lineMemories(bench.archive.cache, { clock: bench.clock, log: bench.log });
    const { backup } = (await bench.backup(board, { lines })).value;
    const changed = withSectors(content, [NVS_SECTOR]);
    board.flash.load(0, changed);
    const before = digestsAsked(board).length;
    const { value, seconds } = await bench.restore(board, backup, { lines });
    assert.deepEqual([value.sectorsWritten, value.verified, value.scope], [1, true, 'flash']);
    assert.ok(board.flash.snapshot().equals(content));
    const asked = digestsAsked(board).slice(before);
    assert.equal(asked.filter((bytes) => bytes === 4 * MIB).length, 2);
    assert.ok(sum(asked) < 8.5 * MIB, `${sum(asked)} bytes hashed`);
    assert.ok(seconds < 2.5, `${seconds} s of the virtual clock`);
    // The snapshot is what was there, byte for byte.
    const { backups } = await bench.archive.history(backup.mac);
    const image = await bench.archive.openImage(backups.at(-1) ?? backup);
    assert.ok((await image.read(0, image.sizeBytes)).equals(changed));
    await image.close();
  });

  it('finds what differs elsewhere as well', async (t) => {
    const bench = await Bench.open(t);
    const board = open(bench);
    const { backup } = (await bench.backup(board)).value;
    for (const sectors of [[APP_SECTOR], [NVS_SECTOR, APP_SECTOR], [NVS_SECTOR, NVS_SECTOR + 1, 1000]]) {
      board.flash.load(0, withSectors(content, sectors));
      const { value } = await bench.restore(board, backup);
      assert.equal(value.sectorsWritten, sectors.length);
      assert.ok(board.flash.snapshot().equals(content));
    }
  });

  it('of a part asks for the rest once: the snapshot says what it was', async (t) => {
    const bench = await Bench.open(t);
    const board = open(bench);
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(0, withSectors(content, [NVS_SECTOR, APP_SECTOR]));
    const before = digestsAsked(board).length;
    const { value } = await bench.restore(board, backup, { part: { partitions: ['nvs'] } });
    assert.deepEqual([value.sectorsWritten, value.verified, value.scope], [1, true, 'region']);
    assert.ok(board.flash.snapshot().equals(withSectors(content, [APP_SECTOR])));
    const large = digestsAsked(board)
      .slice(before)
      .filter((bytes) => bytes > 2 * MIB);
    assert.equal(large.length, 2, 'the whole before, the rest in the end');
  });
});

it('a wiped board is asked once before, and once when all is written', async (t) => {
  const bench = await Bench.open(t);
  const board = bench.board();
  const { backup } = (await bench.backup(board)).value;
  const content = board.flash.snapshot();
  board.flash.eraseChip();
  const before = digestsAsked(board).length;
  const { value } = await bench.restore(board, backup);
  assert.ok(board.flash.snapshot().equals(content));
  assert.ok(value.verified);
  assert.deepEqual(
    digestsAsked(board)
      .slice(before)
      .filter((bytes) => bytes === content.length).length,
    2,
  );
  assert.equal(value.transfer.digestsAsked, 2);
});

describe('a board whose app runs while the question is open', () => {
  it('is not written to by a plan of before, and is asked again', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    const content = board.flash.snapshot();
    board.flash.load(0, withSectors(content, [20]));
    let now = board.flash.snapshot();
    const confirm = async () => {
      // Its supply fails for a moment, behind a bridge that notices nothing.
      board.setControlLines({ rts: true, dtr: false });
      board.setControlLines({ rts: false, dtr: false });
      await bench.pass(200);
      board.flash.load(0, withSectors(content, [20, 21]));
      now = board.flash.snapshot();
      return Promise.resolve(true);
    };
    await assertFails(bench.restore(board, backup, { confirm }), 'chip-changed');
    assert.ok(board.flash.snapshot().equals(now));
    assert.equal(await bench.archive.halfRestored(backup.mac), null);
  });
});
