/** Asking for digests never makes a backup slower than reading straight through by more than 3 %: whole jobs. */

import assert from 'node:assert/strict';
import { type TestContext, describe, it } from 'node:test';
import { BLOCK_BYTES } from '../../src/flash.ts';
import { NOTHING_KNOWN } from '../../src/esp/line-memory.ts';
import { seededRandom } from '../../src/simulator/index.ts';
import type { TransferReport } from '../../src/transfer/backup-manifest.ts';
import type { LineMemories } from '../../src/transfer/line-memory.ts';
import { Bench, type BoardWishes, MIB } from './support.ts';

/** What the archive holds of the board before, and of others. */
type Archived = 'nothing' | 'another state' | 'a state alike in its last third' | 'other boards';

interface Case {
  readonly sizeBytes: number;
  readonly line: '2 Mbaud' | '3 Mbaud' | 'an unknown line' | 'native USB';
  readonly digestBytesPerSecond: number;
  readonly archived: Archived;
}

function memoryOf(line: Case['line']): LineMemories {
  const bestBaudRate = line === '2 Mbaud' ? 2_000_000 : 3_000_000;
  const facts = line === 'an unknown line' ? null : { ...NOTHING_KNOWN, bestBaudRate };
  const remembered = { recall: () => facts, remember: () => undefined, save: () => Promise.resolve() };
  return { open: () => Promise.resolve(remembered) };
}

/** From the end of connecting on. */
function seconds({ phases }: TransferReport): number {
  return phases.comparing + phases.reading + phases.verifying;
}

/** Looked at from the end, the first blocks are as before: that promises an unchanged board, and is the worst case. */
function alikeWhereProbed(content: Buffer, other: Buffer): Buffer {
  const mixed = Buffer.from(other);
  const alikeFrom = content.length - Math.floor(content.length / BLOCK_BYTES / 3) * BLOCK_BYTES;
  content.copy(mixed, alikeFrom, alikeFrom);
  return mixed;
}

async function ratio(t: TestContext, { sizeBytes, line, digestBytesPerSecond, archived }: Case): Promise<number> {
  const isUsb = line === 'native USB';
  const content = seededRandom(5).bytes(sizeBytes);
  const other = seededRandom(6).bytes(sizeBytes);
  const wishes: BoardWishes = {
    family: isUsb ? 'esp32s3' : 'esp32',
    usb: isUsb ? 'usb-serial-jtag' : 'bridge',
    flashSizeBytes: sizeBytes,
    line: { latencyMs: 1, usbBytesPerSecond: 900_000 },
    speeds: { digestBytesPerSecond },
  };
  const lines = memoryOf(line);
  const baudRate = line === '2 Mbaud' ? 2_000_000 : 3_000_000;
  const straight = await Bench.open(t);
  const full = await straight.backup(straight.board({ ...wishes, content }), { full: true, baudRate, lines });

  const bench = await Bench.open(t);
  const board = bench.board({ ...wishes, content });
  if (archived === 'other boards') {
    const seeds = [2, 3, 4];
    for (const seed of seeds) {
      await bench.backup(bench.board({ ...wishes, seed, content: seededRandom(seed).bytes(sizeBytes) }), { baudRate });
    }
  } else if (archived !== 'nothing') {
    board.flash.load(0, archived === 'another state' ? other : alikeWhereProbed(content, other));
    await bench.backup(board, { baudRate });
    board.flash.load(0, content);
  }
  const planned = await bench.backup(board, { baudRate, lines });
  assert.equal(planned.value.unchanged, false);
  return seconds(planned.value.transfer) / seconds(full.value.transfer);
}

describe('a backup of a board full of what nobody knows', { concurrency: 2 }, () => {
  const cases: Case[] = [];
  for (const line of ['2 Mbaud', '3 Mbaud', 'an unknown line', 'native USB'] as const) {
    for (const archived of ['nothing', 'another state', 'a state alike in its last third', 'other boards'] as const) {
      cases.push({ sizeBytes: MIB, line, digestBytesPerSecond: 1_000_000, archived });
    }
    cases.push({ sizeBytes: MIB, line, digestBytesPerSecond: 3_500_000, archived: 'another state' });
  }
  for (const line of ['3 Mbaud', 'native USB'] as const) {
    const archived = 'a state alike in its last third';
    cases.push({ sizeBytes: 4 * MIB, line, digestBytesPerSecond: 1_000_000, archived });
  }
  for (const each of cases) {
    const { sizeBytes, line, digestBytesPerSecond, archived } = each;
    const chip = `${sizeBytes / MIB} MiB, ${digestBytesPerSecond / 1e6} MB/s of digests`;
    it(`takes no longer than 1.03 times --full: ${line}, ${chip}, in the archive: ${archived}`, async (t) => {
      const found = await ratio(t, each);
      assert.ok(found <= 1.03, `${found.toFixed(4)} times as long`);
    });
  }
});
