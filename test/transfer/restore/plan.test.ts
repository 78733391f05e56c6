/** How long it takes, and what is at risk: told before anything is written. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TYPICAL_SPEEDS, seededRandom } from '../../../src/simulator/index.ts';
import { compressedShare, estimateOf } from '../../../src/transfer/restore/plan.ts';
import { Bench, FAMILIES, KIB, macOf, withSectors } from '../support.ts';

describe('the estimate', () => {
  it('counts blocks and sectors as the stub erases them, and the slower of chip and line', () => {
    const at = (baudRate: number) => (bytes: number) => (bytes * 10_000) / baudRate;
    const sector = estimateOf([{ offset: 0x1000, sizeBytes: 0x1000 }], 0.5, at(921600), 1);
    assert.deepEqual([sector.eraseSeconds, sector.wireBytes], [0.045, 2048]);
    const block = estimateOf([{ offset: 0xf000, sizeBytes: 0x12000 }], 0.5, at(921600), 1);
    assert.ok(Math.abs(block.eraseSeconds - (0.045 + 0.15 + 0.045)) < 1e-9);
    const slow = estimateOf([{ offset: 0, sizeBytes: 0x100000 }], 1, at(115200), 2);
    assert.ok(Math.abs(slow.seconds - (0x100000 * 10) / 115200 - 2.05) < 1e-6);
    assert.equal(estimateOf([], 1, at(115200), 0).seconds, 0);
  });

  it('reckons with the rate that the writing will have, and leaves out what a person takes to answer', async (t) => {
    const bench = await Bench.open(t);
    // Noise does not compress: at 115200 baud it would take 45 s on the line alone.
    const content = seededRandom(7).bytes(512 * KIB);
    const board = bench.board({ family: 'esp32', content, line: { latencyMs: 1 } });
    const { backup } = (await bench.backup(board)).value;
    board.flash.eraseChip();
    const confirm = () => bench.pass(120_000).then(() => true);
    const { value, seconds } = await bench.restore(board, backup, { baudRate: 921_600, confirm });
    assert.equal(value.verified, true);
    assert.ok(value.askedSeconds >= 120 && value.askedSeconds < 121, String(value.askedSeconds));
    const { estimate } = value.plan;
    assert.ok(estimate.lineSeconds > 5 && estimate.lineSeconds < 10, String(estimate.lineSeconds));
    const took = seconds - value.askedSeconds;
    assert.ok(estimate.seconds > took / 3 && estimate.seconds < took * 2, `${estimate.seconds} for ${took}`);
  });

  it('samples how well the image compresses', async () => {
    const read = (bytes: Buffer) => ({
      sizeBytes: bytes.length,
      read: (offset: number, length: number) => Promise.resolve(bytes.subarray(offset, offset + length)),
      close: () => Promise.resolve(),
    });
    const zeros = read(Buffer.alloc(512 * KIB));
    assert.ok((await compressedShare(zeros, [{ offset: 0, sizeBytes: 512 * KIB }])) < 0.02);
    assert.equal(await compressedShare(zeros, []), 1);
    const sectors = Array.from({ length: 60 }, (_, index) => ({ offset: index * 8192, sizeBytes: 4096 }));
    assert.ok((await compressedShare(zeros, sectors)) < 0.05);
  });

  it('is near what it takes on a chip with the speeds of a data sheet', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ speeds: TYPICAL_SPEEDS, line: { latencyMs: 1 } });
    const { backup } = (await bench.backup(board)).value;
    const all = Array.from({ length: 100 }, (_, index) => index);
    board.flash.load(0, withSectors(board.flash.snapshot(), all));
    let began = 0;
    const { value } = await bench.restore(board, backup, {
      snapshot: false,
      confirm: () => {
        began = bench.clock.now();
        return Promise.resolve(true);
      },
    });
    const took = (bench.clock.now() - began) / 1000;
    const { seconds } = value.plan.estimate;
    assert.ok(seconds > took / 3 && seconds < took * 3, `estimated ${seconds} s, took ${took} s`);
  });
});

describe('the risks', () => {
  for (const family of FAMILIES) {
    it(`of everything at once are named: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const { backup } = (await bench.backup(board)).value;
      const sizeSectors = 128;
      board.flash.load(
        0,
        withSectors(
          board.flash.snapshot(),
          Array.from({ length: sizeSectors }, (_, index) => index),
        ),
      );
      const { plan } = (await bench.restore(board, backup, { dryRun: true, snapshot: false })).value;
      const risks = plan.risks.join('\n');
      const expected = [
        /does not start until the restore is finished/,
        /The app is replaced/,
        /Settings and files/,
        /is lost/,
      ];
      for (const risk of expected) assert.match(risks, risk);
      assert.match(
        risks,
        family === 'esp8266' ? /calibration: rf_cal|calibration goes back/ : /Which app starts changes: to app0/,
      );
      assert.equal(
        plan.parts.reduce((sum, { sectors }) => sum + sectors, 0),
        plan.sectors,
      );
      assert.deepEqual(plan.boundToMac, []);
    });
  }

  it('of another board and another flash chip are named', async (t) => {
    const bench = await Bench.open(t);
    const { backup } = (await bench.backup(bench.board())).value;
    const other = bench.board({ seed: 2, jedec: [0xc8, 0x40, 0x13], content: Buffer.alloc(8192, 1) });
    const { plan } = (await bench.restore(other, backup, { targetMac: macOf(other.mac), dryRun: true })).value;
    assert.ok(plan.risks.some((risk) => /belong to the board/.test(risk)));
    assert.ok(
      plan.risks.some((risk) => /c8 4013, was ef 4013/.test(risk)),
      plan.risks.join(),
    );
    assert.ok(plan.boundToMac.some(({ part }) => part === 'nvs'));
  });
});
