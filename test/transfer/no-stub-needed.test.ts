/** Jobs that move no byte of flash load no stub, where the chip's ROM has a digest. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OPCODE } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { verifyDevice } from '../../src/transfer/verify-device.ts';
import { Bench, FAMILIES, imageOf, withSectors } from './support.ts';

/** Stubs that went up since. */
function uploads(board: SimulatedBoard, since: number): number {
  return board.commands.slice(since).filter(({ opcode }) => opcode === OPCODE.memEnd).length;
}

describe('a job that moves no byte of flash', () => {
  for (const family of FAMILIES) {
    const stubs = family === 'esp8266' ? 1 : 0;
    it(`loads ${stubs === 0 ? 'no' : 'the'} stub: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family, usb: 'bridge' });
      const { backup } = (await bench.backup(board)).value;
      const jobs: readonly (readonly [string, () => Promise<boolean>])[] = [
        ['backup', async () => (await bench.backup(board)).value.unchanged],
        [
          'verify',
          async () => (await bench.session(board, (session) => verifyDevice(session, bench.archive))).value.matches,
        ],
        ['restore', async () => (await bench.restore(board, backup)).value.verified],
      ];
      for (const [name, job] of jobs) {
        const since = board.commands.length;
        assert.equal(await job(), true, name);
        assert.equal(uploads(board, since), stubs, name);
        assert.equal(board.mode, 'app');
      }
    });

    it(`and finds a change loads it, and keeps the right bytes: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family, usb: 'bridge' });
      const before = board.flash.snapshot();
      await bench.backup(board);
      const changed = withSectors(before, [7]);
      board.flash.load(0, changed);
      const since = board.commands.length;
      const { value } = await bench.backup(board);
      assert.equal(value.unchanged, false);
      assert.ok((await imageOf(value.backup)).equals(changed));
      assert.equal(uploads(board, since), 1);
      assert.equal(value.transfer.loader, 'stub');
    });
  }
});
