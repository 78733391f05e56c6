import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { OPCODE } from '../../src/simulator/index.ts';
import { verifyDevice } from '../../src/transfer/verify-device.ts';
import { Bench, FAMILIES, KIB, assertFails, withSectors, writingCommands } from './support.ts';

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

  it('is compared with its newest backup', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const old = board.flash.snapshot();
    await bench.backup(board);
    board.flash.load(0, withSectors(old, [4]));
    const second = (await bench.backup(board)).value.backup;
    const verify = () => bench.session(board, (session) => verifyDevice(session, bench.archive));
    assert.deepEqual(await verify().then(({ value }) => [value.matches, value.backup.id]), [true, second.id]);
    board.flash.load(0, old);
    assert.equal((await verify()).value.matches, false);
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
