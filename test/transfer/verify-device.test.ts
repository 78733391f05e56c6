import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { OPCODE } from '../../src/simulator/index.ts';
import { verifyDevice } from '../../src/transfer/verify-device.ts';
import { Bench, FAMILIES, KIB, assertFails, macOf, withSectors, writingCommands } from './support.ts';

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
