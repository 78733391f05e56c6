/** Partitions that stay as they are on the board: never compared, never written, also when it is interrupted. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { RESTORE_RECORD } from '../../../src/archive/restore-record.ts';
import type { Backup } from '../../../src/archive/types.ts';
import { macToFolder } from '../../../src/mac.ts';
import { OPCODE, demoImage } from '../../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../../src/simulator/index.ts';
import { finishCommand } from '../../../src/transfer/finish-command.ts';
import { guardHalfRestored } from '../../../src/transfer/half-restored.ts';
import type { KeepWish } from '../../../src/transfer/restore/keep.ts';
import {
  Bench,
  KIB,
  SECTOR_BYTES,
  assertFails,
  differingSectors,
  macOf,
  smallImage,
  watchFlash,
  withSectors,
} from '../support.ts';

const SIZE_BYTES = 512 * KIB;
const NVS = [9, 10, 11, 12, 13];
const keepNvs: KeepWish = { names: ['nvs'], calibration: false };
const calibration: KeepWish = { names: [], calibration: true };

/** Sectors (numbers) of `content` in one piece. */
function sectorsOf(content: Buffer, sectors: readonly number[]): Buffer {
  return Buffer.concat(sectors.map((sector) => content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES)));
}

interface Scene {
  readonly bench: Bench;
  readonly board: SimulatedBoard;
  readonly backup: Backup;
  readonly image: Buffer;
  readonly before: Buffer;
}

/** A board that was backed up, and holds another app and other settings by now. */
async function sceneOf(bench: Bench, change: (content: Buffer) => Buffer = (content) => content): Promise<Scene> {
  const board = bench.board();
  const image = board.flash.snapshot();
  const { backup } = (await bench.backup(board)).value;
  const before = change(withSectors(image, [1, 9, 12, ...Array.from({ length: 20 }, (_, index) => 17 + index), 60]));
  board.flash.load(0, before);
  return { bench, board, backup, image, before };
}

/** The image with what is kept as it was on the board. */
function expectedOf({ image, before }: Scene, kept: readonly number[] = NVS): Buffer {
  const expected = Buffer.from(image);
  for (const sector of kept)
    before.copy(expected, sector * SECTOR_BYTES, sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
  return expected;
}

/** The row of app0, which begins at 0x10000, is one sector shorter in the board's table. */
function shorterApp(content: Buffer): Buffer {
  const changed = Buffer.from(content);
  const row = 0x8000 + 2 * 32;
  changed.writeUInt32LE(changed.readUInt32LE(row + 8) - SECTOR_BYTES, row + 8);
  return changed;
}

describe('a kept partition', () => {
  it('is neither written nor compared, and proven untouched; all the rest is the image', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup, before } = scene;
    const dry = (await bench.restore(board, backup, { keep: keepNvs, dryRun: true })).value;
    assert.ok(board.flash.snapshot().equals(before));
    const watched = watchFlash(board);
    const { value } = await bench.restore(board, backup, { keep: keepNvs });
    assert.deepEqual(dry.plan.regions, value.plan.regions);
    assert.ok(board.flash.snapshot().equals(expectedOf(scene)));
    assert.deepEqual(
      [...watched.erased(), ...watched.programmed()].filter((sector) => NVS.includes(sector)),
      [],
    );
    assert.deepEqual(value.plan.kept, { parts: [{ name: 'nvs', offset: 0x9000, sizeBytes: 0x5000 }], notes: [] });
    assert.deepEqual([value.plan.scope, value.scope, value.verified], [null, 'region', true]);
    assert.ok(value.plan.risks.includes('What stays as it is may not fit the rest of the image: nvs'));
    assert.ok(value.plan.parts.every(({ name }) => name !== 'nvs'));
    const [done] = await bench.archive.restores(backup.mac);
    assert.equal(done?.partial, true);
    const again = (await bench.restore(board, backup, { keep: keepNvs })).value;
    assert.deepEqual([again.sectorsWritten, again.verified], [0, true]);
    await bench.assertImages(board.mac, [scene.image, before]);
  });

  it('may be any of them, and several', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup } = scene;
    const keep = { names: ['app0', 'nvs', 'nvs'], calibration: false };
    const { value } = await bench.restore(board, backup, { keep });
    assert.deepEqual(
      value.plan.kept.parts.map(({ name }) => name),
      ['nvs', 'app0'],
    );
    const app = value.plan.kept.parts[1]!;
    const sectors = Array.from(
      { length: app.sizeBytes / SECTOR_BYTES },
      (_, index) => app.offset / SECTOR_BYTES + index,
    );
    assert.ok(board.flash.snapshot().equals(expectedOf(scene, [...NVS, ...sectors])));
  });

  it('of a name that the image does not have is wrong usage, with the names there are', async (t) => {
    const { bench, board, backup, before } = await sceneOf(await Bench.open(t));
    for (const name of ['nothing', 'partition table', 'bootloader', '', 'NVS']) {
      const error = await assertFails(
        bench.restore(board, backup, { keep: { names: [name], calibration: false } }),
        'usage',
      );
      assert.match(error.hint, /nvs, otadata, app0/);
    }
    assert.ok(board.flash.snapshot().equals(before));
  });

  it('that shares sectors with another kept one is refused', async (t) => {
    const bench = await Bench.open(t);
    const content = Buffer.from(smallImage('esp32c3', SIZE_BYTES));
    content.writeUInt32LE(0xd000, 0x8000 + 32 + 4); // otadata begins in the last sector of nvs
    const board = bench.board({ content });
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(0, withSectors(content, [20]));
    const keep = { names: ['nvs', 'otadata'], calibration: false };
    const error = await assertFails(bench.restore(board, backup, { keep }), 'usage');
    assert.match(error.message, /nvs and otadata share sectors/);
    // Alone it stays, also the sector that both have.
    await bench.restore(board, backup, { keep: keepNvs });
    assert.ok(board.flash.snapshot().equals(content));
  });

  it('that the board has elsewhere, in another size or not at all is refused, unless the person says so', async (t) => {
    const tables: [string, (content: Buffer) => Buffer, RegExp][] = [
      [
        'elsewhere',
        (content) => withTable(content, (table) => table.writeUInt32LE(0xa000, 4)),
        /nvs at 0x009000, the board has it at 0x00a000/,
      ],
      [
        'shorter',
        (content) => withTable(content, (table) => table.writeUInt32LE(0x4000, 8)),
        /has it there with 0x4000 bytes, not 0x5000/,
      ],
      [
        'under another name',
        (content) => withTable(content, (table) => void table.write('old', 12)),
        /has none of that name/,
      ],
      ['nowhere', (content) => withTable(content, (table) => table.fill(0xff)), /no partition table at 0x008000/],
    ];
    for (const [what, change, message] of tables) {
      const scene = await sceneOf(await Bench.open(t), change);
      const { bench, board, backup, before } = scene;
      const watched = watchFlash(board);
      const error = await assertFails(bench.restore(board, backup, { keep: keepNvs }), 'other-layout');
      assert.match(error.message, message, what);
      assert.match(error.hint, /--ignore-layout/);
      assert.deepEqual([watched.erased(), board.flash.snapshot().equals(before)], [[], true]);
      await bench.restore(board, backup, { keep: keepNvs, overrides: { layout: true } });
      assert.ok(board.flash.snapshot().equals(expectedOf(scene)), what);
    }
  });

  it('stays where the tables differ elsewhere: the table itself is written', async (t) => {
    const scene = await sceneOf(await Bench.open(t), shorterApp);
    const { bench, board, backup } = scene;
    await bench.restore(board, backup, { keep: keepNvs });
    assert.ok(board.flash.snapshot().equals(expectedOf(scene)));
  });

  it('is not proven where it changes meanwhile', async (t) => {
    const { bench, board, backup } = await sceneOf(await Bench.open(t));
    const erase = board.flash.erase.bind(board.flash);
    board.flash.erase = (address, length) => {
      erase(address, length);
      erase(0x9000, SECTOR_BYTES);
    };
    await assertFails(bench.restore(board, backup, { keep: keepNvs }), 'write-mismatch');
  });

  it('that is blank on the board stays blank, and the plan says so', async (t) => {
    const scene = await sceneOf(await Bench.open(t), (content) => content.fill(0xff, 0x9000, 0xe000));
    const { bench, board, backup } = scene;
    const { value } = await bench.restore(board, backup, { keep: keepNvs });
    assert.deepEqual(value.plan.kept.notes, ['nvs is blank on the board, and stays blank']);
    assert.ok(board.flash.snapshot().equals(expectedOf(scene)));
  });

  it('is no risk for the other board any more', async (t) => {
    const { bench, backup } = await sceneOf(await Bench.open(t));
    const other = bench.board({ seed: 2, content: smallImage('esp32c3', SIZE_BYTES, 2) });
    const targetMac = macOf(other.mac);
    const whole = (await bench.restore(other, backup, { targetMac, dryRun: true })).value;
    assert.ok(whole.plan.boundToMac.some(({ part }) => part === 'nvs'));
    const kept = (await bench.restore(other, backup, { targetMac, keep: keepNvs, dryRun: true })).value;
    assert.ok(kept.plan.boundToMac.every(({ part }) => part !== 'nvs'));
  });
});

function withTable(content: Buffer, change: (table: Buffer) => unknown): Buffer {
  const changed = Buffer.from(content);
  change(changed.subarray(0x8000, 0x8c00));
  return changed;
}

/** Pulls the cable at the `nth` piece that is written, and plugs it in again. */
async function interrupt({ bench, board, backup }: Scene, nth: number, keep: KeepWish): Promise<void> {
  board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth } });
  await assertFails(bench.restore(board, backup, { keep }), 'port-vanished');
  board.clearFaults();
  board.plug();
}

describe('an interrupted restore that keeps a partition', () => {
  for (const nth of [1, 2, 3, 4]) {
    it(`keeps it when it is finished, without being told: cut off at piece ${nth}`, async (t) => {
      // The table is among what is written: half written it cannot be asked where nvs is.
      const scene = await sceneOf(await Bench.open(t), shorterApp);
      const { bench, board, backup, image, before } = scene;
      await interrupt(scene, nth, keepNvs);
      assert.ok(sectorsOf(board.flash.snapshot(), NVS).equals(sectorsOf(before, NVS)));
      const half = await bench.archive.halfRestored(backup.mac);
      assert.ok(half?.record);
      assert.deepEqual(half.record.kept, [{ name: 'nvs', offset: 0x9000, sizeBytes: 0x5000 }]);
      // What an espd that knows nothing of kept partitions goes by.
      assert.deepEqual(half.record.parts, [
        { name: null, offset: 0, sizeBytes: 0x9000 },
        { name: null, offset: 0xe000, sizeBytes: SIZE_BYTES - 0xe000 },
      ]);
      assert.match(finishCommand(half.record, ['espd']), /--at \S+ --keep nvs$/);
      const watched = watchFlash(board);
      const { value } = await bench.restore(board, backup, nth % 2 === 0 ? {} : { keep: keepNvs });
      assert.deepEqual([value.finished, value.plan.kept.parts.length], [true, 1]);
      assert.deepEqual(
        watched.erased().filter((sector) => NVS.includes(sector)),
        [],
      );
      assert.ok(board.flash.snapshot().equals(expectedOf(scene)));
      assert.equal(await bench.archive.halfRestored(backup.mac), null);
      await bench.assertImages(board.mac, [image, before]);
    });
  }

  it('keeps it also where the table of the board is blank by now', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup } = scene;
    await interrupt(scene, 2, keepNvs);
    board.flash.erase(0x8000, SECTOR_BYTES);
    await bench.restore(board, backup, {});
    assert.ok(board.flash.snapshot().equals(expectedOf(scene)));
  });

  it('is whole for backup and daemon once all is written', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup } = scene;
    await interrupt(scene, 3, keepNvs);
    const guard = () => bench.session(board, (session) => guardHalfRestored(session, bench.archive, false));
    await assertFails(guard(), 'half-restored');
    board.flash.load(0, expectedOf(scene));
    await guard();
    assert.equal(await bench.archive.halfRestored(backup.mac), null);
  });

  it('is not finished by one that keeps more, nor by a part alone', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup } = scene;
    await interrupt(scene, 3, keepNvs);
    const keep = { names: ['app0'], calibration: false };
    await assertFails(bench.restore(board, backup, { keep }), 'half-restored');
    await assertFails(bench.restore(board, backup, { part: { partitions: ['app0'] } }), 'half-restored');
  });

  it('does not begin to keep what the first one has written', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup, image } = scene;
    await interrupt(scene, 3, { names: [], calibration: false });
    await assertFails(bench.restore(board, backup, { keep: keepNvs }), 'half-restored');
    await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(image));
  });

  it('is refused where its record keeps what the image does not have there', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup } = scene;
    await interrupt(scene, 3, keepNvs);
    const half = await bench.archive.halfRestored(backup.mac);
    const flash = board.flash.snapshot();
    for (const kept of [
      [{ name: 'nvs', offset: 0xa000, sizeBytes: 0x5000 }],
      [{ name: 'nvs', offset: 0x9000, sizeBytes: 0x5001 }],
      [{ name: 'other', offset: 0x9000, sizeBytes: 0x5000 }],
      [{ name: 'nvs', offset: 0x9000, sizeBytes: Number.MAX_SAFE_INTEGER }],
    ]) {
      const text = JSON.stringify({ ...half?.record, kept });
      await writeFile(join(bench.root, macToFolder(backup.mac), RESTORE_RECORD), text);
      await assertFails(bench.restore(board, backup, { keep: keepNvs }), 'half-restored');
      assert.ok(board.flash.snapshot().equals(flash));
    }
  });
});

describe('the calibration of an ESP8266', () => {
  const [rfCal, phy] = [SIZE_BYTES / SECTOR_BYTES - 5, SIZE_BYTES / SECTOR_BYTES - 4];

  async function replacement(bench: Bench, content: Buffer) {
    const board = bench.board({ family: 'esp8266' });
    const { backup } = (await bench.backup(board)).value;
    const other = bench.board({ family: 'esp8266', seed: 2, content });
    const restore = (keep: KeepWish, overrides = {}) =>
      bench.restore(other, backup, { keep, overrides, targetMac: macOf(other.mac) });
    return { restore, backup, other, image: board.flash.snapshot() };
  }

  it('stays that of the replacement board', async (t) => {
    const theirs = withSectors(smallImage('esp8266', SIZE_BYTES, 2), [rfCal, phy, 20]);
    const { restore, other, image } = await replacement(await Bench.open(t), theirs);
    const { value } = await restore(calibration);
    assert.deepEqual(
      value.plan.kept.parts.map(({ name, offset }) => [name, offset / SECTOR_BYTES]),
      [
        ['rf_cal', rfCal],
        ['phy', phy],
      ],
    );
    assert.doesNotMatch(value.plan.risks.join('\n'), /calibration goes back/);
    assert.deepEqual(differingSectors(other.flash.snapshot(), image), [rfCal, phy]);
    assert.ok(sectorsOf(other.flash.snapshot(), [rfCal, phy]).equals(sectorsOf(theirs, [rfCal, phy])));
  });

  it('stays blank where it is blank, but PHY init data never does: the SDK does not start without', async (t) => {
    for (const theirs of [
      Buffer.alloc(SIZE_BYTES, 0xff),
      Buffer.from(smallImage('esp8266', SIZE_BYTES, 2)).fill(0xff, rfCal * SECTOR_BYTES, (phy + 1) * SECTOR_BYTES),
    ]) {
      const { restore, other, image } = await replacement(await Bench.open(t), theirs);
      const { value } = await restore(calibration);
      assert.deepEqual(value.plan.kept.notes, [
        'rf_cal is blank on the board, and stays blank: the app calibrates when it starts',
        'phy is blank on the board, and gets what the image has',
      ]);
      assert.deepEqual(differingSectors(other.flash.snapshot(), image), [rfCal]);
      assert.ok(sectorsOf(other.flash.snapshot(), [rfCal]).every((byte) => byte === 0xff));
    }
  });

  it('that was blank and is half written by now is not taken for that of the board', async (t) => {
    const bench = await Bench.open(t);
    const theirs = withSectors(smallImage('esp8266', SIZE_BYTES, 2), [2, 4, 20, rfCal]);
    theirs.fill(0xff, phy * SECTOR_BYTES, (phy + 1) * SECTOR_BYTES);
    const { restore, other, image } = await replacement(bench, theirs);
    other.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 4 } });
    await assertFails(restore(calibration), 'port-vanished');
    other.clearFaults();
    other.plug();
    const half = await bench.archive.halfRestored(macOf(other.mac));
    assert.ok(half?.record, 'it was interrupted');
    assert.deepEqual(
      half.record.kept.map(({ name }) => name),
      ['rf_cal'],
    );
    other.flash.load(phy * SECTOR_BYTES, Buffer.alloc(100, 7)); // half of it
    await restore(calibration);
    assert.deepEqual(differingSectors(other.flash.snapshot(), image), [rfCal]);
  });

  it('is refused where the firmware on the board has it elsewhere', async (t) => {
    const content = demoImage({
      family: 'esp8266',
      sizeBytes: SIZE_BYTES,
      appBytes: 40 * KIB,
      layout: 'arduino',
      seed: 2,
    });
    const { restore, other } = await replacement(await Bench.open(t), content);
    const error = await assertFails(restore(calibration), 'other-layout');
    assert.match(error.message, /the board has its calibration \(rf_cal\) at 0x07c000/);
    await assertFails(restore({ names: ['rf_cal'], calibration: false }), 'other-layout');
    assert.ok(other.flash.snapshot().equals(content));
  });

  it('areas that the app itself places are compared by the app of the board', async (t) => {
    const bench = await Bench.open(t);
    const demo = { family: 'esp8266', sizeBytes: SIZE_BYTES, layout: 'arduino' } as const;
    const board = bench.board({ family: 'esp8266', content: demoImage({ ...demo, appBytes: 40 * KIB }) });
    const image = board.flash.snapshot();
    const { backup } = (await bench.backup(board)).value;
    const keep = { names: ['eeprom'], calibration: false };
    const eeprom = SIZE_BYTES / SECTOR_BYTES - 5;
    // Another app, linked for the same flash: its settings are at the same place.
    const newer = withSectors(demoImage({ ...demo, appBytes: 60 * KIB, version: '2.0.0' }), [eeprom]);
    board.flash.load(0, newer);
    await bench.restore(board, backup, { keep });
    assert.deepEqual(differingSectors(board.flash.snapshot(), image), [eeprom]);
    assert.ok(sectorsOf(board.flash.snapshot(), [eeprom]).equals(sectorsOf(newer, [eeprom])));
    // Without an app nothing says where they are.
    const erased = Buffer.from(newer).fill(0xff, SECTOR_BYTES, 0x20000);
    board.flash.load(0, erased);
    await assertFails(bench.restore(board, backup, { keep }), 'other-layout');
    assert.ok(board.flash.snapshot().equals(erased));
  });
});

describe('the calibration of an ESP32-C3', () => {
  /** nvs one sector shorter, and phy_init in its place. */
  function withPhyInit(content: Buffer, offset = 0xd000): Buffer {
    return withTable(content, (table) => {
      table.writeUInt32LE(0x4000, 8);
      const end = table.indexOf(Buffer.from('ebeb', 'hex'));
      table.fill(0xff, end);
      table.writeUInt16LE(0x50aa, end);
      table.set([1, 1], end + 2);
      table.writeUInt32LE(offset, end + 4);
      table.writeUInt32LE(0x1000, end + 8);
      table.fill(0, end + 12, end + 32);
      table.write('phy_init', end + 12);
    });
  }

  async function replacement(bench: Bench, image: Buffer, theirs: Buffer) {
    const { backup } = (await bench.backup(bench.board({ content: image }))).value;
    const other = bench.board({ seed: 2, content: theirs });
    const restore = () => bench.restore(other, backup, { keep: calibration, targetMac: macOf(other.mac) });
    return { other, restore };
  }

  const plain = smallImage('esp32c3', SIZE_BYTES);
  const other = smallImage('esp32c3', SIZE_BYTES, 2);

  it('is the partition phy_init; what nvs has comes from the image, and the plan says why', async (t) => {
    const [image, theirs] = [withSectors(withPhyInit(plain), [13]), withSectors(withPhyInit(other), [13, 30], 5)];
    const { other: board, restore } = await replacement(await Bench.open(t), image, theirs);
    const { value } = await restore();
    assert.deepEqual(
      value.plan.kept.parts.map(({ name }) => name),
      ['phy_init'],
    );
    assert.match(value.plan.kept.notes.join('\n'), /^The calibration in nvs comes from the image: it names the MAC/);
    assert.deepEqual(differingSectors(board.flash.snapshot(), image), [13]);
  });

  it('is none where the image has no such partition', async (t) => {
    const { other: board, restore } = await replacement(await Bench.open(t), plain, other);
    const { value } = await restore();
    assert.deepEqual(value.plan.kept.parts, []);
    assert.match(value.plan.kept.notes.join('\n'), /^The image has no partition for radio calibration: none is kept\n/);
    assert.equal(value.scope, 'flash');
    assert.ok(board.flash.snapshot().equals(plain));
  });

  it('comes from the image where the board has none of its own: blank, without a table, or without the partition', async (t) => {
    const image = withSectors(withPhyInit(plain), [13]);
    for (const theirs of [
      Buffer.alloc(SIZE_BYTES, 0xff),
      withPhyInit(other).fill(0xff, 0xd000, 0xe000),
      withSectors(other, [13]),
      withSectors(other, [8, 13]),
    ]) {
      const { other: board, restore } = await replacement(await Bench.open(t), image, theirs);
      const { value } = await restore();
      assert.deepEqual(value.plan.kept.parts, []);
      assert.match(
        value.plan.kept.notes[0] ?? '',
        /^phy_init is blank on the board|^The board has no phy_init of its own/,
      );
      assert.ok(board.flash.snapshot().equals(image));
    }
  });

  it('is refused where the board has its own in another place', async (t) => {
    const image = withSectors(withPhyInit(plain), [13]);
    const theirs = withSectors(withPhyInit(other, 0xc000), [12, 13]);
    const { other: board, restore } = await replacement(await Bench.open(t), image, theirs);
    const error = await assertFails(restore(), 'other-layout');
    assert.match(error.message, /phy_init at 0x00d000, the board has its calibration \(phy_init\) at 0x00c000/);
    assert.ok(board.flash.snapshot().equals(theirs));
  });
});
