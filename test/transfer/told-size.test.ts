/** A flash whose id nobody knows, and whose size a person has told. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Bench, FAMILIES, KIB, MIB, assertFails, smallImage, watchFlash, withSectors } from './support.ts';

const ID = [0x5e, 0x40, 0x99] as const;
const faults = [{ kind: 'flash-id', id: ID }] as const;
const told = { toldFlashBytes: 512 * KIB };

describe('a flash whose id does not tell its size', () => {
  for (const family of FAMILIES) {
    it(`is backed up, seen unchanged and restored with the size that a person told: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const content = smallImage(family, 512 * KIB);
      const board = bench.board({ family, content, faults: [...faults] });
      const { backup } = (await bench.backup(board, told)).value;
      assert.deepEqual(backup.manifest.flash, {
        manufacturer: '5e',
        device: '4099',
        sizeBytes: 512 * KIB,
        aliasedAtBytes: null,
        sizeFrom: 'person',
      });
      await bench.assertImages(backup.mac, [content]);
      assert.equal((await bench.backup(board, told)).value.unchanged, true);
      const changed = withSectors(content, [20, 100]);
      board.flash.erase(0, 512 * KIB);
      board.flash.load(0, changed);
      const { value } = await bench.restore(board, backup, told);
      assert.equal(value.verified, true);
      assert.ok(board.flash.snapshot().equals(content));
      const risk = 'The flash size of the backup and of the board is what a person said (--flash-size)';
      assert.ok(
        value.plan.risks.some((text) => text.startsWith(risk)),
        value.plan.risks.join('\n'),
      );
      await bench.assertImages(backup.mac, [content, changed]);
      const { backups } = await bench.archive.history(backup.mac);
      assert.deepEqual(
        backups.map(({ manifest }) => manifest.flash.sizeFrom),
        ['person', 'person'],
      );
    });
  }

  it('is neither backed up nor restored where nobody has told it; the hint names the option', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ faults: [...faults] });
    const { backup } = (await bench.backup(board, told)).value;
    const flash = watchFlash(board);
    for (const work of [() => bench.backup(board), () => bench.restore(board, backup)]) {
      const { hint } = await assertFails(work(), 'flash-unknown');
      assert.match(hint, /--flash-size/);
    }
    assert.deepEqual(flash.erased(), []);
  });

  it('is none where no flash answers: no size is believed', async (t) => {
    const bench = await Bench.open(t);
    for (const id of [[0, 0, 0] as const, [0xff, 0xff, 0xff] as const]) {
      const board = bench.board({ faults: [{ kind: 'flash-id', id }] });
      const { hint } = await assertFails(bench.backup(board, told), 'flash-unknown');
      assert.doesNotMatch(hint, /--flash-size/);
    }
  });

  it('takes no backup of another size', async (t) => {
    const bench = await Bench.open(t);
    const { backup } = (await bench.backup(bench.board({ faults: [...faults] }), told)).value;
    const board = bench.board({ flashSizeBytes: MIB, mac: backup.mac, faults: [...faults] });
    const flash = watchFlash(board);
    await assertFails(bench.restore(board, backup, { toldFlashBytes: MIB }), 'other-size');
    assert.deepEqual(flash.erased(), []);
  });

  it('above what a ROM reaches needs the stub, as any other', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({
      family: 'esp32s3',
      flashSizeBytes: 32 * MIB,
      faults: [...faults, { kind: 'no-stub' }],
    });
    await assertFails(bench.backup(board, { toldFlashBytes: 32 * MIB }), 'no-stub-read');
  });
});

describe('a size that a person told', () => {
  it('is refused where the id says another', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    for (const toldFlashBytes of [256 * KIB, MIB]) {
      await assertFails(bench.backup(board, { toldFlashBytes }), 'usage');
      await assertFails(bench.restore(board, backup, { toldFlashBytes }), 'usage');
    }
    const { value } = await bench.backup(board, told);
    assert.equal(value.unchanged, true);
    assert.equal(board.mode, 'app');
  });

  it('is refused where the flash repeats itself before, in a backup and before a restore', async (t) => {
    const bench = await Bench.open(t);
    const content = smallImage('esp32c3', 256 * KIB);
    const large = bench.board({ flashSizeBytes: MIB, content: smallImage('esp32c3', MIB), faults: [...faults] });
    const { backup } = (await bench.backup(large, { toldFlashBytes: MIB })).value;
    const board = bench.board({ flashSizeBytes: MIB, aliasedAtBytes: 256 * KIB, content, faults: [...faults] });
    const flash = watchFlash(board);
    const options = { toldFlashBytes: MIB };
    for (const work of [() => bench.backup(board, options), () => bench.restore(board, backup, options)]) {
      const { message } = await assertFails(work(), 'usage');
      assert.match(message, /repeats itself from 262144 bytes on/);
    }
    assert.deepEqual(flash.erased(), []);
    // What it really has can be said.
    const { value } = await bench.backup(board, { toldFlashBytes: 256 * KIB });
    assert.equal(value.backup.manifest.image.sizeBytes, 256 * KIB);
    assert.equal(value.backup.manifest.flash.aliasedAtBytes, null);
  });

  it('says nothing against a blank flash', async (t) => {
    const bench = await Bench.open(t);
    const blank = Buffer.alloc(512 * KIB, 0xff);
    const board = bench.board({ content: blank, faults: [...faults] });
    await bench.backup(board, told);
    await bench.assertImages(board.mac, [blank]);
  });

  it('is in the record of a restore that breaks off, and so in the command that finishes it', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ faults: [...faults] });
    const { backup } = (await bench.backup(board, told)).value;
    board.flash.load(0, Buffer.alloc(4096));
    const controller = new AbortController();
    const erase = board.flash.erase.bind(board.flash);
    board.flash.erase = (address, length) => {
      erase(address, length);
      controller.abort();
    };
    await assertFails(bench.restore(board, backup, { ...told, signal: controller.signal }), 'interrupted');
    const half = await bench.archive.halfRestored(backup.mac);
    assert.equal(half?.record?.options.toldFlashBytes, 512 * KIB);
    assert.match(bench.log.of('error').join('\n'), /half restored/);
    assert.match(JSON.stringify(bench.log.lines), /--flash-size 512K/);
  });
});
