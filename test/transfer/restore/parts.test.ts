/** Restoring a part of a flash: only that, and the rest proven untouched. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  Bench,
  FAMILIES,
  KIB,
  SECTOR_BYTES,
  assertFails,
  differingSectors,
  smallImage,
  watchFlash,
  withSectors,
} from '../support.ts';
import { demoImage } from '../../../src/simulator/index.ts';
import { restOf } from '../../../src/transfer/flash-compare.ts';

const SIZE_BYTES = 512 * KIB;
/** The sectors of the partition with the settings. */
const PART = { esp8266: ['system_param', [125, 126, 127]], esp32: ['nvs', [9, 10]] } as const;

for (const family of FAMILIES) {
  describe(`a part of an ${family}`, () => {
    const [name, sectors] = PART[family === 'esp8266' ? 'esp8266' : 'esp32'];

    it('is put back by the name of its partition; nothing else is touched', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const image = board.flash.snapshot();
      const { backup } = (await bench.backup(board)).value;
      const changed = withSectors(image, [...sectors, 40, 60]);
      board.flash.load(0, changed);
      const watched = watchFlash(board);
      const { value } = await bench.restore(board, backup, { part: { partitions: [name] } });
      assert.deepEqual(watched.erased(), sectors);
      assert.deepEqual(differingSectors(board.flash.snapshot(), image), [40, 60]);
      assert.deepEqual([value.scope, value.verified, value.sectorsWritten], ['region', true, sectors.length]);
      assert.deepEqual(
        value.plan.parts.map((part) => part.name),
        [name],
      );
      // Snapshot of the whole, as always.
      await bench.assertImages(board.mac, [image, changed]);
      const again = (await bench.restore(board, backup, { part: { partitions: [name] } })).value;
      assert.deepEqual([again.sectorsWritten, again.verified], [0, true]);
    });

    it('is put back by its place', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const image = board.flash.snapshot();
      const { backup } = (await bench.backup(board)).value;
      board.flash.load(0, withSectors(image, [50, 51, 52, 53]));
      const part = { offset: 51 * SECTOR_BYTES, sizeBytes: 2 * SECTOR_BYTES };
      const { value } = await bench.restore(board, backup, { part });
      assert.deepEqual(differingSectors(board.flash.snapshot(), image), [50, 53]);
      assert.equal(value.scope, 'region');
    });
  });
}

describe("a part of an ESP8266 with Arduino's layout", () => {
  const content = (layout: 'sdk' | 'arduino') =>
    demoImage({ family: 'esp8266', sizeBytes: SIZE_BYTES, appBytes: 40 * KIB, layout });
  const [eeprom, calibration, fileSystem] = [123, 124, 117];

  it('its settings are put back where they are, and the plan says settings', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ family: 'esp8266', content: content('arduino') });
    const image = board.flash.snapshot();
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(0, withSectors(image, [eeprom, calibration, fileSystem]));
    const watched = watchFlash(board);
    const { value } = await bench.restore(board, backup, { part: { partitions: ['eeprom'] } });
    assert.deepEqual(watched.erased(), [eeprom]);
    assert.match(value.plan.risks.join('\n'), /Settings and files on the board .*: eeprom/);
    assert.doesNotMatch(value.plan.risks.join('\n'), /calibration/);
    const calibrated = await bench.restore(board, backup, { part: { partitions: ['rf_cal'] } });
    assert.deepEqual(watched.erased(), [eeprom, calibration]);
    assert.match(calibrated.value.plan.risks.join('\n'), /Radio calibration goes back to that of the image: rf_cal/);
  });

  it('a file system outside every partition is a risk, named by where it differs', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ family: 'esp8266', content: content('arduino') });
    const image = board.flash.snapshot();
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(0, withSectors(image, [fileSystem, fileSystem + 2]));
    const { plan } = (await bench.restore(board, backup, { dryRun: true })).value;
    assert.ok(
      plan.risks.includes(
        'What is outside every partition (perhaps a file system) goes back to that of the image: 0x75000 to 0x78000',
      ),
      plan.risks.join('\n'),
    );
    assert.deepEqual(
      plan.parts.map(({ name, from, to, sectors }) => [name, from, to, sectors]),
      [['outside any partition', 0x75000, 0x78000, 2]],
    );
  });

  for (const [now, then] of [
    ['sdk', 'arduino'],
    ['arduino', 'sdk'],
  ] as const) {
    it(`is refused where the board has the layout ${now} now, and had ${then}`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family: 'esp8266', content: content(then) });
      const { backup } = (await bench.backup(board)).value;
      board.flash.load(0, content(now));
      const watched = watchFlash(board);
      await assertFails(bench.restore(board, backup, { part: { partitions: ['rf_cal'] } }), 'other-layout');
      assert.deepEqual(watched.erased(), []);
    });
  }
});

describe('a part', () => {
  it('that the board has in another place is refused, unless the person says so', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    const table = Buffer.from(smallImage('esp32c3', SIZE_BYTES));
    // The row of nvs, the first of the table: from 0xa000 on, and its MD5 left wrong.
    table.writeUInt32LE(0xa000, 0x8000 + 4);
    board.flash.load(0, table);
    const part = { partitions: ['nvs'] };
    const watched = watchFlash(board);
    const error = await assertFails(bench.restore(board, backup, { part }), 'other-layout');
    assert.match(error.message, /nvs at 0x009000, the board has it at 0x00a000/);
    assert.deepEqual(watched.erased(), []);
    board.flash.load(0x9000, Buffer.alloc(4096, 1));
    assert.equal((await bench.restore(board, backup, { part, overrides: { layout: true } })).value.verified, true);
    // A table that differs elsewhere is no matter.
    const other = Buffer.from(smallImage('esp32c3', SIZE_BYTES));
    other.writeUInt32LE(0x1000, 0x8000 + 32 * 2 + 8);
    board.flash.load(0, other);
    board.flash.load(0x9000, Buffer.alloc(4096, 1));
    assert.equal((await bench.restore(board, backup, { part })).value.verified, true);
    board.flash.eraseChip();
    await assertFails(bench.restore(board, backup, { part }), 'other-layout');
  });

  it('that the image does not have, or that is on no whole sectors, is wrong usage', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    for (const part of [
      { partitions: ['nothing'] },
      { offset: 1, sizeBytes: 4096 },
      { offset: 0, sizeBytes: 100 },
      { offset: 0, sizeBytes: 0 },
      { offset: SIZE_BYTES - 4096, sizeBytes: 8192 },
    ]) {
      const error = await assertFails(bench.restore(board, backup, { part }), 'usage');
      if ('partitions' in part) assert.match(error.hint, /nvs, otadata, app0/);
    }
  });

  it('is not proven where the rest changes under it', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(0x9000, Buffer.alloc(4096, 1));
    const erase = board.flash.erase.bind(board.flash);
    board.flash.erase = (address, length) => {
      erase(address, length);
      erase(0x20000, 4096);
    };
    board.flash.load(0x20000, Buffer.alloc(4096, 3));
    const error = await assertFails(bench.restore(board, backup, { part: { partitions: ['nvs'] } }), 'write-mismatch');
    assert.match(error.message, /outside the part/);
    assert.notEqual(await bench.archive.halfRestored(backup.mac), null);
    // The part itself is right, so the same command ends it, but not without a word.
    board.flash.erase = erase;
    const again = (await bench.restore(board, backup, { part: { partitions: ['nvs'] } })).value;
    assert.deepEqual([again.sectorsWritten, again.finished], [0, true]);
    assert.match(bench.log.of('warn').join(), /The rest of the flash has changed/);
  });

  it('and what it leaves are the flash', () => {
    assert.deepEqual(restOf([], 8192), [{ offset: 0, sizeBytes: 8192 }]);
    assert.deepEqual(restOf([{ offset: 0, sizeBytes: 8192 }], 8192), []);
    assert.deepEqual(restOf([{ offset: 4096, sizeBytes: 4096 }], 16384), [
      { offset: 0, sizeBytes: 4096 },
      { offset: 8192, sizeBytes: 8192 },
    ]);
  });
});
