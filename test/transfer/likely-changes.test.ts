/** Backups of boards that have changed their settings: what is asked and read, and what proves them. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { OPCODE } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { likelyToChange } from '../../src/transfer/likely-changes.ts';
import { Bench, FAMILIES, KIB, SECTOR_BYTES, imageOf, withSectors } from './support.ts';

/** The partition `nvs` of the demo image, and the app. */
const NVS = 0x9000 / SECTOR_BYTES;
const APP = 0x18000 / SECTOR_BYTES;
const FLASH_BYTES = 512 * KIB;

/** Digests of the whole flash, and of anything, that were asked since then. */
function digestsSince(board: SimulatedBoard, before: number): { whole: number; all: number } {
  const asked = board.commands.slice(before).filter(({ opcode }) => opcode === OPCODE.flashMd5);
  const whole = asked.filter(({ payload }) => payload.readUInt32LE(4) === FLASH_BYTES);
  return { whole: whole.length, all: asked.length };
}

describe('a backup of changed settings', () => {
  for (const family of FAMILIES.filter((each) => each !== 'esp8266')) {
    it(`reads them alone, and is proven by the digest that was asked first: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const old = board.flash.snapshot();
      await bench.backup(board);
      const changed = withSectors(old, [NVS + 1, NVS + 2]);
      board.flash.load(0, changed);
      const before = board.commands.length;
      const { value } = await bench.backup(board);
      const { manifest } = value.backup;
      assert.equal(digestsSince(board, before).whole, 1);
      assert.ok(digestsSince(board, before).all < 16, `${digestsSince(board, before).all} digests`);
      assert.equal(value.transfer.flashBytesRead, 2 * SECTOR_BYTES);
      assert.equal(value.transfer.explained.sameAsBackup, FLASH_BYTES - 2 * SECTOR_BYTES);
      assert.deepEqual([manifest.confirmed?.by, manifest.confirmed?.md5], ['rom', manifest.image.md5]);
      await bench.assertImages(board.mac, [old, changed]);
    });
  }

  it('is right where something else has changed as well', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const old = board.flash.snapshot();
    await bench.backup(board);
    const changed = withSectors(old, [NVS, APP, 100]);
    board.flash.load(0, changed);
    const before = board.commands.length;
    const { value } = await bench.backup(board);
    // What was guessed is read once more where the search finds it again.
    assert.ok(value.transfer.flashBytesRead <= 4 * SECTOR_BYTES, `${value.transfer.flashBytesRead}`);
    assert.equal(digestsSince(board, before).whole, 1);
    await bench.assertImages(board.mac, [old, changed]);
  });

  it('is right where only something else has changed', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const old = board.flash.snapshot();
    await bench.backup(board);
    const changed = withSectors(old, [APP]);
    board.flash.load(0, changed);
    const { value } = await bench.backup(board);
    assert.equal(value.transfer.flashBytesRead, SECTOR_BYTES);
    await bench.assertImages(board.mac, [old, changed]);
  });

  it('is right where the last backup has rotted', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const old = board.flash.snapshot();
    const { backup } = (await bench.backup(board)).value;
    const file = join(backup.path, backup.manifest.image.file);
    for (const offset of [(NVS + 3) * SECTOR_BYTES, APP * SECTOR_BYTES]) {
      const bytes = await readFile(file);
      bytes[offset] = (bytes[offset] ?? 0) ^ 1;
      await writeFile(file, bytes);
    }
    const changed = withSectors(old, [NVS]);
    board.flash.load(0, changed);
    const { value } = await bench.backup(board);
    assert.ok((await imageOf(value.backup)).equals(changed));
  });

  it('is the flash as it was hashed, where it changes behind the reads', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    await bench.backup(board);
    const hashed = withSectors(board.flash.snapshot(), [NVS]);
    board.flash.load(0, hashed);
    const { value } = await bench.backup(board, {
      onProgress: ({ phase }) => {
        if (phase === 'reading') board.flash.load(0, withSectors(hashed, [NVS, APP], 7));
      },
    });
    assert.ok((await imageOf(value.backup)).equals(hashed));
  });

  it('follows a flash that changes between its digest and the reads', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    await bench.backup(board);
    board.flash.load(0, withSectors(board.flash.snapshot(), [NVS]));
    let changed = false;
    const { value } = await bench.backup(board, {
      onProgress: ({ phase, doneBytes }) => {
        if (phase !== 'comparing' || doneBytes !== NVS * SECTOR_BYTES || changed) return;
        changed = true;
        board.flash.load(0, withSectors(board.flash.snapshot(), [NVS, APP], 7));
      },
    });
    assert.ok(changed);
    assert.ok((await imageOf(value.backup)).equals(board.flash.snapshot()));
    assert.equal(value.backup.manifest.confirmed?.by, 'stub');
  });

  it('is right after a fault of the line at any of its reads and questions', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    await bench.backup(board);
    let content = board.flash.snapshot();
    for (let byte = 1000; byte < 26_000; byte += 1237) {
      content = withSectors(content, [NVS, NVS + 1], byte);
      board.flash.load(0, content);
      const heal = board.addFault({ kind: 'flip', direction: 'to-host', byte: board.wireBytes.toHost + byte });
      const { value } = await bench.backup(board);
      heal();
      assert.ok((await imageOf(value.backup)).equals(content), `byte ${byte}`);
    }
  });
});

describe('where settings are', () => {
  const part = (offset: number, sizeBytes: number, type = 'data') => ({
    ...{ name: 'nvs', kind: 'partition' as const, type, subtype: 'nvs', offset, sizeBytes },
  });

  it('is in small partitions that hold no app, and begin and end with a sector', () => {
    const parts = [part(0x9000, 0x5000), part(0xe000, 0x2000), part(0x10000, 0x10000, 'app'), part(0x20000, 0x20000)];
    assert.deepEqual(likelyToChange(parts), [
      { offset: 0x9000, sizeBytes: 0x5000 },
      { offset: 0xe000, sizeBytes: 0x2000 },
    ]);
    assert.deepEqual(likelyToChange([part(0x9100, 0x1000), part(0xa000, 0x1800)]), []);
  });
});
