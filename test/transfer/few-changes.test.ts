/** Backups of boards that have changed in a few sectors: what is asked and read, and that nothing wrong is kept. */

import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import type { Candidate } from '../../src/archive/types.ts';
import { parseMac } from '../../src/mac.ts';
import { OPCODE, demoImage, seededRandom } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { md5Of } from '../../src/transfer/digests.ts';
import { PatchedImage } from '../../src/transfer/patched-image.ts';
import { withFound } from '../../src/transfer/few-changes.ts';
import { Bench, KIB, MIB, SECTOR_BYTES, differingSectors, imageOf, withSectors } from './support.ts';

const FLASH_BYTES = 2 * MIB;
const IMAGE = demoImage({ family: 'esp32c3', sizeBytes: FLASH_BYTES, appBytes: 640 * KIB });
/** The app begins there and is in use up to about 0xb0000; behind it all is blank. */
const APP = 0x10000 / SECTOR_BYTES;
const NVS = 0x9000 / SECTOR_BYTES;
const BLANK_FROM = 0x100000;
const SPEEDS = { digestBytesPerSecond: 8 * MIB, packetBytesPerSecond: 4_000_000 };

async function benchWithBackup(t: TestContext): Promise<{ bench: Bench; board: SimulatedBoard }> {
  const bench = await Bench.open(t);
  const board = bench.board({ content: IMAGE, flashSizeBytes: FLASH_BYTES, line: { latencyMs: 1 }, speeds: SPEEDS });
  await bench.backup(board);
  return { bench, board };
}

/** Regions of which a digest was asked since then. */
function askedSince(board: SimulatedBoard, before: number): { offset: number; sizeBytes: number }[] {
  const asked = board.commands.slice(before).filter(({ opcode }) => opcode === OPCODE.flashMd5);
  return asked.map(({ payload }) => ({ offset: payload.readUInt32LE(0), sizeBytes: payload.readUInt32LE(4) }));
}

describe('a backup of a board that has changed in a few sectors', () => {
  for (const [where, sectors] of [
    ['in the app', [APP + 70, APP + 71, APP + 72]],
    ['at the end of what is in use', [APP + 150]],
    ['in settings and app', [NVS, APP + 40]],
  ] as const) {
    it(`${where}: hashes the whole once, nothing blank again, and reads what has changed`, async (t) => {
      const { bench, board } = await benchWithBackup(t);
      const changed = withSectors(IMAGE, sectors);
      board.flash.load(0, changed);
      const before = board.commands.length;
      const { value } = await bench.backup(board);
      const asked = askedSince(board, before);
      assert.equal(asked.filter(({ sizeBytes }) => sizeBytes === FLASH_BYTES).length, 1);
      // The first one shows how fast the chip hashes.
      const blank = asked.slice(1).filter(({ offset }) => offset >= BLANK_FROM);
      assert.deepEqual(blank, []);
      assert.equal(value.transfer.flashBytesRead, sectors.length * SECTOR_BYTES);
      assert.equal(value.transfer.explained.sameAsBackup, FLASH_BYTES - sectors.length * SECTOR_BYTES);
      assert.deepEqual(value.backup.manifest.confirmed?.md5, md5Of(changed));
      await bench.assertImages(board.mac, [IMAGE, changed]);
    });
  }

  it('finds what was blank and is in use now, and what has become blank without reading it', async (t) => {
    const { bench, board } = await benchWithBackup(t);
    const changed = withSectors(IMAGE, [BLANK_FROM / SECTOR_BYTES + 33]);
    changed.fill(0xff, (APP + 80) * SECTOR_BYTES, (APP + 84) * SECTOR_BYTES);
    board.flash.load(0, changed);
    const { value } = await bench.backup(board);
    assert.equal(value.transfer.flashBytesRead, SECTOR_BYTES);
    assert.equal(value.transfer.explained.blank, 4 * SECTOR_BYTES);
    await bench.assertImages(board.mac, [IMAGE, changed]);
  });

  it('reads nothing twice where the changes are too many for it, or too large', async (t) => {
    const { bench, board } = await benchWithBackup(t);
    const scattered = Array.from({ length: 9 }, (_, index) => APP + 10 + 17 * index);
    const inARow = Array.from({ length: 40 }, (_, index) => APP + 60 + index);
    let content = IMAGE;
    for (const sectors of [scattered, inARow, [NVS, NVS + 1, ...scattered]]) {
      const before = content;
      content = withSectors(content, sectors, content[APP * SECTOR_BYTES + 99_999]! + 1000);
      board.flash.load(0, content);
      const { value } = await bench.backup(board);
      const others = differingSectors(before, content).length;
      // Where one read costs less than two, the planner reads a few sectors between them.
      assert.ok(value.transfer.flashBytesRead <= (others + 4) * SECTOR_BYTES, `${value.transfer.flashBytesRead}`);
      const { explained, flashBytesRead } = value.transfer;
      const sum = Object.values(explained).reduce((all, each) => all + each, 0) + flashBytesRead;
      assert.equal(sum, FLASH_BYTES);
      assert.ok((await imageOf(value.backup)).equals(content));
    }
  });

  it('gives up at once where another app begins', async (t) => {
    const { bench, board } = await benchWithBackup(t);
    const sectors = Array.from({ length: 160 }, (_, index) => APP + index);
    const changed = withSectors(IMAGE, sectors);
    board.flash.load(0, changed);
    const before = board.commands.length;
    const { value } = await bench.backup(board);
    assert.ok(askedSince(board, before).length < 40, `${askedSince(board, before).length} digests`);
    await bench.assertImages(board.mac, [IMAGE, changed]);
    assert.ok(value.transfer.flashBytesRead <= 162 * SECTOR_BYTES);
  });

  it('holds no more than a megabyte of what has become blank, and reads none of it', async (t) => {
    const bench = await Bench.open(t);
    // In use to its end, and no app that another one could have taken the place of.
    const content = seededRandom(21).bytes(FLASH_BYTES);
    const board = bench.board({ content, flashSizeBytes: FLASH_BYTES, line: { latencyMs: 1 }, speeds: SPEEDS });
    await bench.backup(board);
    for (const from of [0x1c0000, 0]) {
      const changed = Buffer.from(content);
      changed.fill(0xff, from);
      board.flash.load(0, changed);
      const { value } = await bench.backup(board);
      assert.equal(value.transfer.flashBytesRead, 0);
      assert.equal(value.transfer.explained.blank, FLASH_BYTES - from);
      assert.ok((await imageOf(value.backup)).equals(changed));
    }
  });

  it('is right wherever and however much it has changed', async (t) => {
    const { bench, board } = await benchWithBackup(t);
    const random = seededRandom(12);
    let content = IMAGE;
    for (let round = 0; round < 24; round++) {
      const sectors = Array.from({ length: 1 + random.below(6) }, () => {
        const first = random.below(FLASH_BYTES / SECTOR_BYTES - 8);
        return Array.from({ length: 1 + random.below(8) }, (_, index) => first + index);
      }).flat();
      content = withSectors(content, sectors, round * 1000);
      const blank = random.below(FLASH_BYTES / SECTOR_BYTES - 20) * SECTOR_BYTES;
      if (round % 3 === 0) content.fill(0xff, blank, blank + random.below(20) * SECTOR_BYTES);
      board.flash.load(0, content);
      const { value } = await bench.backup(board);
      assert.ok((await imageOf(value.backup)).equals(content), `round ${round}: ${sectors.join(' ')}`);
    }
  });

  it('is right where the last backup has rotted in a place that nobody asks for, or is gone', async (t) => {
    const { bench, board } = await benchWithBackup(t);
    const changed = withSectors(IMAGE, [APP + 30]);
    board.flash.load(0, changed);
    const { backup } = (await bench.backup(board)).value;
    const file = join(backup.path, backup.manifest.image.file);
    const bytes = await readFile(file);
    bytes[BLANK_FROM + 5] = 0;
    bytes[(APP + 120) * SECTOR_BYTES] = (bytes[(APP + 120) * SECTOR_BYTES] ?? 0) ^ 1;
    await writeFile(file, bytes);
    const again = withSectors(changed, [APP + 31], 5);
    board.flash.load(0, again);
    const next = (await bench.backup(board)).value.backup;
    assert.ok((await imageOf(next)).equals(again));
    await rm(join(next.path, next.manifest.image.file));
    const last = withSectors(again, [APP + 32], 6);
    board.flash.load(0, last);
    assert.ok((await imageOf((await bench.backup(board)).value.backup)).equals(last));
  });

  it('follows a flash that changes while it is searched', async (t) => {
    const { bench, board } = await benchWithBackup(t);
    board.flash.load(0, withSectors(IMAGE, [APP + 20]));
    let isChanged = false;
    const { value } = await bench.backup(board, {
      onProgress: ({ phase }) => {
        if (phase !== 'reading' || isChanged) return;
        isChanged = true;
        board.flash.load(0, withSectors(IMAGE, [APP + 20, APP + 100], 8));
      },
    });
    assert.ok(isChanged);
    const image = await imageOf(value.backup);
    assert.equal(value.backup.manifest.confirmed?.md5, md5Of(image));
    assert.ok(image.equals(board.flash.snapshot()) || image.equals(withSectors(IMAGE, [APP + 20])));
  });

  it('is right after a fault of the line at any of its reads and questions', async (t) => {
    const { bench, board } = await benchWithBackup(t);
    let content = IMAGE;
    for (let byte = 1000; byte < 16_000; byte += 811) {
      content = withSectors(content, [APP + 50, APP + 51, APP + 110], byte);
      board.flash.load(0, content);
      const kind = byte % 2 === 0 ? 'flip' : 'drop';
      const heal = board.addFault({ kind, direction: 'to-host', byte: board.wireBytes.toHost + byte });
      const { value } = await bench.backup(board);
      heal();
      assert.ok((await imageOf(value.backup)).equals(content), `${kind} at byte ${byte}`);
    }
  });
});

describe('a patched image', () => {
  const content = seededRandom(3).bytes(128 * KIB);
  const image = (read: Candidate['read']): Candidate => ({
    ...{ kind: 'newest', mac: parseMac('24:0a:c4:00:00:01')!, id: 'x', sizeBytes: content.length, read },
    blockMd5: (_, count = 1) => 'ab'.repeat(16 * count),
  });
  const readable = (offset: number, length: number) => Promise.resolve(content.subarray(offset, offset + length));

  it('is the image with what was written, in whatever pieces that comes', async () => {
    const patched = new PatchedImage(image(readable));
    const expected = Buffer.from(content);
    const bytes = seededRandom(4).bytes(2 * SECTOR_BYTES);
    for (const [at, length] of [
      [0, 1],
      [1, SECTOR_BYTES],
      [SECTOR_BYTES + 1, SECTOR_BYTES - 1],
    ] as const) {
      await patched.write(0xf000 + at, bytes.subarray(at, at + length));
    }
    bytes.copy(expected, 0xf000);
    assert.deepEqual(patched.patches, [{ offset: 0xf000, sizeBytes: 2 * SECTOR_BYTES }]);
    assert.ok((await patched.read(0, content.length))?.equals(expected));
    assert.equal(await patched.md5({ offset: 0, sizeBytes: content.length }), md5Of(expected));
    assert.ok(content.equals(seededRandom(3).bytes(128 * KIB)), 'the image itself is as it was');
  });

  it('has no digest of a manifest for blocks that were patched', async () => {
    const patched = new PatchedImage(image(readable));
    assert.equal(patched.blockMd5(0, 2)?.length, 64);
    await patched.write(0x10000, Buffer.alloc(SECTOR_BYTES));
    assert.deepEqual(
      [patched.blockMd5(0)?.length, patched.blockMd5(1), patched.blockMd5(0, 2)],
      [32, undefined, undefined],
    );
  });

  it('of an image that cannot be read cannot be read either, and has the MD5 of nothing', async () => {
    const patched = new PatchedImage(image(() => Promise.resolve(undefined)));
    await patched.write(0, Buffer.alloc(SECTOR_BYTES, 1));
    assert.equal(await patched.read(0, SECTOR_BYTES), undefined);
    assert.equal(await patched.md5({ offset: 0, sizeBytes: SECTOR_BYTES }), md5Of(Buffer.alloc(0)));
  });
});

describe('the report of a plan with what was found before it', () => {
  it('counts each sector once', () => {
    const sector = (index: number, sectors = 1) => ({
      offset: index * SECTOR_BYTES,
      sizeBytes: sectors * SECTOR_BYTES,
    });
    const plan = {
      explained: [{ ...sector(0, 8), by: 'sameAsBackup' as const }],
      unexplained: [sector(8, 2)],
    };
    const { explained, unexplained } = withFound(plan, { read: [sector(2), sector(8)], blank: [sector(4), sector(9)] });
    assert.deepEqual(unexplained, [sector(2), sector(8, 2)]);
    assert.deepEqual(explained, [
      { ...sector(0, 2), by: 'sameAsBackup' },
      { ...sector(3), by: 'sameAsBackup' },
      { ...sector(4), by: 'blank' },
      { ...sector(5, 3), by: 'sameAsBackup' },
    ]);
  });
});
