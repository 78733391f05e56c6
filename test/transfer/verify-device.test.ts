import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { OPCODE } from '../../src/simulator/index.ts';
import { confirmSeen, verifyDevice } from '../../src/transfer/verify-device.ts';
import { Bench, FAMILIES, KIB, assertFails, importImage, macOf, md5, withSectors, writingCommands } from './support.ts';

describe('a board compared with its archive', () => {
  for (const family of FAMILIES) {
    it(`matches, or not, by one digest: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const { backup } = (await bench.backup(board)).value;
      const before = board.commands.length;
      const verify = () => bench.session(board, (session) => verifyDevice(session, bench.archive));

      const same = await verify();
      assert.deepEqual([same.value.matches, same.value.backup.id, same.left], [true, backup.id, 'app']);
      const commands = board.commands.slice(before).map(({ opcode }) => opcode);
      assert.equal(commands.filter((opcode) => opcode === OPCODE.flashMd5).length, 1);
      assert.ok(!commands.includes(OPCODE.readFlash));

      board.flash.load(0x5123, Buffer.of(0x55));
      assert.equal((await verify()).value.matches, false);
      assert.deepEqual(writingCommands(board), []);
      assert.deepEqual((await bench.archive.history(backup.mac)).sightings, []);
    });
  }

  const verifying = (bench: Bench, board: ReturnType<Bench['board']>) =>
    bench.session(board, (session) => verifyDevice(session, bench.archive)).then(({ value }) => value);

  it('is compared with its newest backup; another one that it equals is named', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const old = board.flash.snapshot();
    const first = (await bench.backup(board)).value.backup;
    board.flash.load(0, withSectors(old, [4]));
    const second = (await bench.backup(board)).value.backup;
    const same = await verifying(bench, board);
    assert.deepEqual([same.matches, same.backup.id, same.equals?.id], [true, second.id, second.id]);
    board.flash.load(0, old);
    const before = await verifying(bench, board);
    assert.deepEqual([before.matches, before.backup.id, before.equals?.id], [false, second.id, first.id]);
    board.flash.load(0, withSectors(old, [5]));
    const neither = await verifying(bench, board);
    assert.deepEqual([neither.matches, neither.backup.id, neither.equals], [false, second.id, null]);
  });

  it('equals what was restored last, not the snapshot of before', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const old = board.flash.snapshot();
    const first = (await bench.backup(board)).value.backup;
    board.flash.load(0, withSectors(old, [4]));
    const second = (await bench.backup(board)).value.backup;
    board.flash.load(0, withSectors(old, [6]));
    const { snapshot } = (await bench.restore(board, first)).value;
    assert.equal(snapshot?.isNew, true);
    const after = await verifying(bench, board);
    assert.deepEqual([after.matches, after.backup.id], [true, first.id]);
    // What was on it before is known as well.
    board.flash.load(0, withSectors(old, [6]));
    const undone = await verifying(bench, board);
    assert.deepEqual([undone.matches, undone.backup.id, undone.equals?.id], [false, first.id, snapshot.id]);
    // A backup that is made after the restore is what the board holds from then on.
    board.flash.load(0, withSectors(old, [7]));
    const third = (await bench.backup(board)).value.backup;
    assert.deepEqual(await verifying(bench, board).then(({ matches, backup }) => [matches, backup.id]), [
      true,
      third.id,
    ]);
    assert.notEqual(third.id, second.id);
  });

  it('equals the backup of another board that was restored to it', async (t) => {
    const bench = await Bench.open(t);
    const { backup } = (await bench.backup(bench.board())).value;
    const twin = bench.board({ mac: '24:0a:c4:00:00:01', seed: 9 });
    twin.flash.load(0, withSectors(twin.flash.snapshot(), [3]));
    const targetMac = macOf(twin.mac);
    const { snapshot } = (await bench.restore(twin, backup, { targetMac })).value;
    const after = await verifying(bench, twin);
    assert.deepEqual([after.matches, after.backup.mac, after.backup.id], [true, backup.mac, backup.id]);
    // Pruned, or out of another archive: then with what is left.
    await rm(backup.path, { recursive: true });
    const left = await verifying(bench, twin);
    assert.deepEqual([left.matches, left.backup.mac, left.backup.id], [false, targetMac, snapshot?.id]);
  });

  it('does not match with a flash of another size', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: 256 * KIB });
    await bench.backup(board);
    const larger = bench.board({ flashSizeBytes: 512 * KIB, mac: board.mac, content: board.flash.snapshot() });
    const { value } = await bench.session(larger, (session) => verifyDevice(session, bench.archive));
    assert.equal(value.matches, false);
  });

  it('that has no backup yet is unknown, and let go', async (t) => {
    const bench = await Bench.open(t);
    await bench.backup(bench.board({ seed: 2 }));
    const board = bench.board();
    const verify = () => bench.session(board, (session) => verifyDevice(session, bench.archive));
    await assertFails(verify(), 'archive-unknown-board');
    assert.equal(board.mode, 'app');
  });

  it('is not compared with a backup whose manifest is damaged', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    await writeFile(join(backup.path, 'manifest.json'), '{}');
    const verify = () => bench.session(board, (session) => verifyDevice(session, bench.archive));
    await assertFails(verify(), 'archive-damaged');
    assert.equal(board.mode, 'app');
  });

  it('that is unplugged in the middle of it neither matches nor differs', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    await bench.backup(board);
    board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashMd5 } });
    const verify = () => bench.session(board, (session) => verifyDevice(session, bench.archive));
    await assertFails(verify(), 'port-vanished');
  });
});

describe('an imported backup', () => {
  async function sceneOf(bench: Bench) {
    const board = bench.board();
    const image = board.flash.snapshot();
    const mac = macOf(board.mac);
    const backup = await importImage(bench.archive, image, { mac, family: 'esp32c3' });
    const verify = async () => {
      const { value } = await bench.session(board, (session) => verifyDevice(session, bench.archive));
      const confirmed = await confirmSeen(bench.archive, value, mac, new AbortController().signal);
      return { ...value, confirmed };
    };
    const confirmations = async () => (await bench.archive.marks.of(mac)).confirmations;
    return { board, image, mac, backup, verify, confirmations };
  }

  it('is confirmed by the chip whose flash equals it, once', async (t) => {
    const bench = await Bench.open(t);
    const { image, backup, verify, confirmations } = await sceneOf(bench);
    const first = await verify();
    assert.deepEqual([first.matches, first.confirmed, first.chipChange], [true, true, null]);
    const [noted, ...others] = await confirmations();
    assert.deepEqual([noted?.id, noted?.md5, noted?.by, others], [backup.id, md5(image), 'rom', []]);
    assert.equal((await verify()).confirmed, false);
    assert.equal((await confirmations()).length, 1);
  });

  it('is not, where the flash differs, or its own files have rotten', async (t) => {
    const bench = await Bench.open(t);
    const { board, image, backup, verify, confirmations } = await sceneOf(bench);
    board.flash.load(0, withSectors(image, [30]));
    const different = await verify();
    assert.deepEqual([different.matches, different.equals, different.confirmed], [false, null, false]);
    board.flash.load(0, image);
    await writeFile(join(backup.path, 'flash.bin'), withSectors(image, [31]));
    assert.equal((await verify()).confirmed, false);
    assert.deepEqual(await confirmations(), []);
  });

  it('is, though the board should hold another one by now', async (t) => {
    const bench = await Bench.open(t);
    const { board, image, backup, verify, confirmations } = await sceneOf(bench);
    board.flash.load(0, withSectors(image, [30]));
    await bench.backup(board);
    board.flash.load(0, image);
    const seen = await verify();
    assert.deepEqual([seen.matches, seen.equals?.id, seen.confirmed], [false, backup.id, true]);
    assert.equal((await confirmations()).length, 1);
  });

  it('of another board is not, that this one was given', async (t) => {
    const bench = await Bench.open(t);
    const { backup, image } = await sceneOf(bench);
    const other = bench.board({ seed: 2, content: withSectors(image, [20]) });
    await bench.backup(other);
    await bench.restore(other, backup, { targetMac: macOf(other.mac), unconfirmed: true });
    const { value } = await bench.session(other, (session) => verifyDevice(session, bench.archive));
    assert.equal(value.matches, true);
    assert.equal(await confirmSeen(bench.archive, value, macOf(other.mac), new AbortController().signal), false);
    assert.deepEqual((await bench.archive.marks.of(backup.mac)).confirmations, []);
  });

  it('is no copy enough: the board gets a backup of its own, which says what chip it is', async (t) => {
    const bench = await Bench.open(t);
    const { board, image, mac, backup, confirmations } = await sceneOf(bench);
    const { value } = await bench.backup(board);
    assert.equal(value.unchanged, false);
    assert.notEqual(value.backup.id, backup.id);
    assert.equal(value.backup.manifest.confirmed?.md5, md5(image));
    assert.deepEqual(await confirmations(), []);
    const again = (await bench.backup(board)).value;
    assert.deepEqual([again.unchanged, again.backup.id], [true, value.backup.id]);
    assert.equal((await bench.archive.history(mac)).sightings.length, 1);
  });

  it('of another chip with the same MAC: it is said', async (t) => {
    const bench = await Bench.open(t);
    const { board } = await sceneOf(bench);
    const { backup } = (await bench.backup(bench.board({ content: withSectors(board.flash.snapshot(), [40]) }))).value;
    const clone = bench.board({ mac: board.mac, jedec: [0xc8, 0x40, 0x13], content: board.flash.snapshot() });
    const { value } = await bench.session(clone, (session) => verifyDevice(session, bench.archive));
    assert.deepEqual([value.chipChange?.kind, value.chipChange?.since], ['flash', backup.id]);
    // It equals the imported one, and proves nothing of it.
    assert.notEqual(value.equals, null);
    assert.equal(await confirmSeen(bench.archive, value, macOf(board.mac), new AbortController().signal), false);
  });
});
