import assert from 'node:assert/strict';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { isPartialName } from '../../src/archive/owner.ts';
import { macToFolder } from '../../src/mac.ts';
import { OPCODE, seededRandom } from '../../src/simulator/index.ts';
import { Bench, FAMILIES, KIB, MIB, assertFails, imageOf, macOf, withSectors } from './support.ts';

/** 1 MiB without a blank or repeated sector: all of it must cross the wire. */
const FULL = seededRandom(77).bytes(MIB);

async function partials(bench: Bench, mac: string): Promise<string[]> {
  return (await readdir(join(bench.root, macToFolder(macOf(mac))))).filter(isPartialName);
}

for (const family of FAMILIES) {
  describe(`an interrupted backup of an ${family}`, () => {
    it('goes on where it was, on another port, and leaves nothing behind', async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family, usb: 'bridge', flashSizeBytes: MIB, content: FULL });
      board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 600_000 } });
      await assertFails(bench.backup(board), 'port-vanished');
      await bench.assertImages(board.mac, []);
      assert.equal((await partials(bench, board.mac)).length, 1);

      board.plug();
      const { value } = await bench.backup(board);
      const { explained, flashBytesRead } = value.transfer;
      assert.ok(explained.leftover > 400_000, String(explained.leftover));
      assert.equal(explained.leftover + flashBytesRead, MIB);
      assert.equal(value.backup.manifest.transfer!.explained.leftover, explained.leftover);
      await bench.assertImages(board.mac, [FULL]);
      assert.deepEqual(await partials(bench, board.mac), []);
    });
  });
}

describe('an interrupted backup', () => {
  it('goes on after any number of interruptions, each a little further', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: MIB, content: FULL });
    for (let round = 0; round < 3; round++) {
      board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 250_000 } });
      await assertFails(bench.backup(board), 'port-vanished');
      const left = await partials(bench, board.mac);
      assert.ok(left.length === 1 || left.length === 2, left.join());
      board.plug();
    }
    const { value } = await bench.backup(board);
    assert.ok(value.transfer.explained.leftover > 500_000, String(value.transfer.explained.leftover));
    await bench.assertImages(board.mac, [FULL]);
  });

  for (const reader of ['auto', 'never'] as const) {
    it(`goes on where it was although the first answer was late: reader ${reader}`, async (t) => {
      const bench = await Bench.open(t);
      const line = { latencyMs: 0 };
      const board = bench.board({ flashSizeBytes: 512 * KIB, content: FULL.subarray(0, 512 * KIB), line });
      board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 300_000 } });
      await assertFails(bench.backup(board, { baudRate: 460_800, reader: 'never' }), 'port-vanished');
      board.plug();
      // A machine at its limit: what the chip has answered at once is read half a second later.
      board.addFault({ kind: 'stall', durationMs: 500, when: { opcode: OPCODE.flashMd5 } });
      const { value } = await bench.backup(board, { baudRate: 460_800, reader });
      assert.ok(value.transfer.explained.leftover > 200_000, JSON.stringify(value.transfer));
      await bench.assertImages(board.mac, [FULL.subarray(0, 512 * KIB)]);
    });
  }

  it('never mixes two states of a board', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: MIB, content: FULL });
    board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 600_000 } });
    await assertFails(bench.backup(board), 'port-vanished');
    board.plug();
    const changed = withSectors(FULL, [0, 3, 20, 21, 60, 200]);
    board.flash.load(0, changed);
    const { value } = await bench.backup(board);
    assert.ok((await imageOf(value.backup)).equals(changed));
    assert.ok(value.transfer.explained.leftover > 300_000, String(value.transfer.explained.leftover));
  });

  it('is of no use to another board', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: MIB, content: FULL });
    board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 600_000 } });
    await assertFails(bench.backup(board), 'port-vanished');
    const other = bench.board({ flashSizeBytes: MIB, content: FULL, seed: 2 });
    const { value } = await bench.backup(other);
    assert.equal(value.transfer.explained.leftover, 0);
    assert.equal(value.transfer.flashBytesRead, MIB);
    assert.equal((await partials(bench, board.mac)).length, 1);
  });

  it('adds to what the newest backup knows', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: MIB, content: FULL });
    await bench.backup(board);
    const half = seededRandom(78).bytes(MIB / 2);
    board.flash.load(0, half);
    board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 300_000 } });
    await assertFails(bench.backup(board), 'port-vanished');
    board.plug();
    const { value } = await bench.backup(board);
    const { explained, flashBytesRead } = value.transfer;
    assert.ok(explained.sameAsBackup >= MIB / 2, String(explained.sameAsBackup));
    assert.ok(explained.leftover > 150_000, String(explained.leftover));
    assert.ok(flashBytesRead < MIB / 2 - 150_000, String(flashBytesRead));
    assert.ok((await imageOf(value.backup)).equals(board.flash.snapshot()));
  });

  it('leaves what it has read also when it is told to stop, and nothing once it is done', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: 256 * KIB, content: FULL.subarray(0, 256 * KIB) });
    const abort = new AbortController();
    const work = bench.backup(board, {
      signal: abort.signal,
      onProgress: ({ phase }) => phase === 'verifying' && abort.abort(new Error('stop')),
    });
    await assert.rejects(work);
    assert.equal((await partials(bench, board.mac)).length, 1);
    await bench.backup(board);
    assert.deepEqual(await partials(bench, board.mac), []);
  });
});

describe('a backup of one of many boards', () => {
  it('does not read what a backup of any other board has at the same place', async (t) => {
    const bench = await Bench.open(t);
    for (let seed = 1; seed <= 4; seed++) {
      // Another program on each but the third, which has the firmware in question.
      const content = seed === 3 ? FULL : seededRandom(seed).bytes(MIB);
      await bench.backup(bench.board({ flashSizeBytes: MIB, content, seed }));
    }
    const own = withSectors(FULL, [9, 10, 11]);
    const board = bench.board({ flashSizeBytes: MIB, content: own, seed: 9 });
    const { value } = await bench.backup(board);
    assert.ok(value.transfer.flashBytesRead <= 96 * KIB, String(value.transfer.flashBytesRead));
    assert.ok(value.transfer.explained.fleet >= MIB - 96 * KIB);
    await bench.assertImages(board.mac, [own]);
  });

  it('takes nothing from images that have rotted', async (t) => {
    const bench = await Bench.open(t, { compression: 'none' });
    const first = await bench.backup(bench.board({ flashSizeBytes: MIB, content: FULL, seed: 1 }));
    const file = await open(join(first.value.backup.path, 'flash.bin'), 'r+');
    for (let at = 100; at < MIB; at += 128 * KIB) await file.write(Buffer.of((FULL[at] ?? 0) ^ 1), 0, 1, at);
    await file.close();
    const board = bench.board({ flashSizeBytes: MIB, content: FULL, seed: 2 });
    const { value } = await bench.backup(board);
    assert.ok((await imageOf(value.backup)).equals(FULL));
    assert.ok(value.transfer.explained.fleet > 0 && value.transfer.flashBytesRead > 0);
  });

  it('knows a board that went back to an older state', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: MIB, content: FULL });
    await bench.backup(board);
    board.flash.load(0, seededRandom(5).bytes(MIB));
    await bench.backup(board);
    board.flash.load(0, FULL);
    const { value } = await bench.backup(board);
    assert.equal(value.unchanged, false);
    assert.equal(value.transfer.flashBytesRead, 0);
    assert.equal(value.transfer.explained.olderBackup, MIB);
    assert.ok((await imageOf(value.backup)).equals(FULL));
  });

  it('knows zeros', async (t) => {
    const bench = await Bench.open(t);
    const content = Buffer.from(FULL);
    content.fill(0, 128 * KIB, 512 * KIB);
    const board = bench.board({ flashSizeBytes: MIB, content });
    const { value } = await bench.backup(board);
    assert.equal(value.transfer.explained.zero, 384 * KIB);
    assert.ok((await imageOf(value.backup)).equals(content));
  });
});

describe('what a backup says of itself', () => {
  it('accounts for every byte of the flash and every second of the job', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ flashSizeBytes: MIB, line: { latencyMs: 2 } });
    const { value, seconds } = await bench.backup(board);
    const { plan, phases, explained, flashBytesRead } = value.transfer;
    let end = 0;
    for (const { offset, sizeBytes } of plan) {
      assert.equal(offset, end);
      end += sizeBytes;
    }
    assert.equal(end, MIB);
    const read = plan.filter(({ by }) => by === 'read').reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    assert.equal(read, flashBytesRead);
    assert.equal(Object.values(explained).reduce((sum, bytes) => sum + bytes, 0) + read, MIB);
    const total = Object.values(phases).reduce((sum, each) => sum + each, 0);
    assert.ok(total > 0 && total <= seconds + 0.01, `${total} of ${seconds}`);
    assert.deepEqual(value.backup.manifest.transfer!.phases.reading, phases.reading);
    assert.equal(board.commands.filter(({ opcode }) => opcode === OPCODE.flashMd5).length, value.transfer.digestsAsked);
  });
});
