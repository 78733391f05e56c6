/** Whether a board seems unchanged: few digests, asked where that is likely, and never more than the budget has. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Costs } from '../../src/esp/costs.ts';
import { BLOCK_BYTES, type Region } from '../../src/flash.ts';
import { NOTHING_KNOWN } from '../../src/esp/line-memory.ts';
import { seededRandom } from '../../src/simulator/index.ts';
import { Budget } from '../../src/transfer/asking.ts';
import { md5Of } from '../../src/transfer/digests.ts';
import type { LineMemories } from '../../src/transfer/line-memory.ts';
import { seemsUnchanged } from '../../src/transfer/unchanged.ts';
import { Bench, MIB, imageOf, withSectors } from './support.ts';

/** A chip that hashes 1 MB/s behind a line of 3 Mbaud: a digest costs a third of reading. */
const SLOW_CHIP: Costs = {
  digestMs: (sizeBytes) => 10 + sizeBytes / 1000,
  readMs: (sizeBytes) => 10 + sizeBytes / 300,
  leastReadMs: (sizeBytes) => 10 + sizeBytes / 300,
};

function flashOf(sizeBytes: number, usedBytes: number): Buffer {
  return Buffer.concat([seededRandom(5).bytes(usedBytes), Buffer.alloc(sizeBytes - usedBytes, 0xff)]);
}

async function ask(before: Buffer, now: Buffer, hasImage = true) {
  const asked: Region[] = [];
  const budget = new Budget(SLOW_CHIP, before.length);
  const part = (bytes: Buffer, { offset, sizeBytes }: Region) => md5Of(bytes.subarray(offset, offset + sizeBytes));
  const blocks = Array.from({ length: before.length / BLOCK_BYTES }, (_, block) =>
    part(before, { offset: block * BLOCK_BYTES, sizeBytes: BLOCK_BYTES }),
  );
  const { isLikely, probed } = await seemsUnchanged(blocks, budget, {
    ask: (region) => {
      assert.ok(budget.affords(region.sizeBytes), 'more than the budget has');
      asked.push(region);
      return Promise.resolve(part(now, region));
    },
    expected: (region) => Promise.resolve(hasImage ? part(before, region) : undefined),
  });
  for (const [block, md5] of probed) {
    assert.equal(md5, part(now, { offset: block * BLOCK_BYTES, sizeBytes: BLOCK_BYTES }), `block ${block}`);
  }
  return { isLikely, asked, probed };
}

describe('a board on a slow chip behind a fast line', () => {
  for (const [what, usedBytes] of [
    ['with blank flash at its end', 400 * 1024],
    ['full to the last byte', MIB],
  ] as const) {
    it(`${what}: seems unchanged after at most six digests`, async () => {
      for (const sizeBytes of [MIB, 4 * MIB]) {
        const flash = flashOf(sizeBytes, (usedBytes * sizeBytes) / MIB);
        const { isLikely, asked } = await ask(flash, flash);
        assert.equal(isLikely, true);
        assert.ok(asked.length <= 6, `${asked.length} digests`);
        assert.equal(asked[0]?.offset, sizeBytes - BLOCK_BYTES, 'the first probe is the last block');
      }
    });
  }

  it('looks at the first block last: it holds the settings, and is never blank', async () => {
    const before = flashOf(MIB, 400 * 1024);
    const now = withSectors(before, [9, 10]);
    const { isLikely, asked } = await ask(before, now);
    assert.equal(isLikely, true);
    assert.ok(asked.every(({ offset }) => offset > 0));
  });

  it('asks no more once a group is not as before, and remembers what it has learnt', async () => {
    const before = flashOf(MIB, MIB);
    const now = withSectors(before, [255]);
    const { isLikely, asked, probed } = await ask(before, now);
    assert.deepEqual([isLikely, asked.length, [...probed.keys()]], [false, 1, [15]]);
  });

  it('goes by single blocks where the image of the last backup cannot be read in parts', async () => {
    const flash = flashOf(MIB, MIB);
    const { isLikely, asked } = await ask(flash, flash, false);
    assert.equal(isLikely, true);
    assert.ok(asked.every(({ sizeBytes }) => sizeBytes === BLOCK_BYTES));
  });
});

const facts = { ...NOTHING_KNOWN, bestBaudRate: 3_000_000 };
const remembered = { recall: () => facts, remember: () => undefined, save: () => Promise.resolve() };
const lines: LineMemories = { open: () => Promise.resolve(remembered) };
const wishes = {
  family: 'esp32',
  flashSizeBytes: MIB,
  line: { latencyMs: 1 },
  speeds: { digestBytesPerSecond: 1_000_000 },
} as const;

describe('a backup on a slow chip behind a fast line', () => {
  it('does not read blank flash, although its first block is not known', async (t) => {
    const bench = await Bench.open(t);
    const content = flashOf(MIB, 300 * 1024);
    const { value } = await bench.backup(bench.board({ ...wishes, content }), { baudRate: 3_000_000, lines });
    assert.ok((await imageOf(value.backup)).equals(content));
    assert.ok(value.transfer.flashBytesRead <= 500 * 1024, `${value.transfer.flashBytesRead} bytes read`);
  });

  it('of an unchanged board asks at most seven digests and reads nothing; with new settings it reads little', async (t) => {
    for (const usedBytes of [400 * 1024, MIB]) {
      const bench = await Bench.open(t);
      const content = flashOf(MIB, usedBytes);
      const board = bench.board({ ...wishes, content });
      await bench.backup(board, { baudRate: 3_000_000 });
      const again = (await bench.backup(board, { baudRate: 3_000_000, lines })).value;
      assert.deepEqual([again.unchanged, again.transfer.flashBytesRead], [true, 0]);
      assert.ok(again.transfer.digestsAsked <= 7, `${again.transfer.digestsAsked} digests`);
      board.flash.load(0, withSectors(content, [9, 10]));
      const changed = (await bench.backup(board, { baudRate: 3_000_000, lines })).value;
      assert.ok(changed.transfer.flashBytesRead <= 128 * 1024, `${changed.transfer.flashBytesRead} bytes read`);
    }
  });
});
