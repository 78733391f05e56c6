import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OPCODE, type SimulatedBoard } from '../../src/simulator/index.ts';
import { compareDevice } from '../../src/transfer/compare-device.ts';
import type { Session } from '../../src/transfer/session.ts';
import { Bench, KIB, SECTOR_BYTES, assertFails, withSectors, writingCommands } from './support.ts';

type Digest = (offset: number, sizeBytes: number, real: () => Promise<string>) => Promise<string>;

/** A session whose board answers digests through `digest`. */
function answering(session: Session, digest: Digest): Session {
  const board = new Proxy(session.board, {
    get: (target, name) => {
      if (name === 'digest') {
        return (offset: number, sizeBytes: number) => digest(offset, sizeBytes, () => target.digest(offset, sizeBytes));
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { ...session, board };
}

async function compared(bench: Bench, board: SimulatedBoard, digest: Digest = (_o, _s, real) => real()) {
  const { archive } = bench;
  const { value, left } = await bench.session(board, async (session) => {
    const { backup } = await archive.latest(session.board.identity.mac);
    assert.ok(backup !== undefined);
    const image = await archive.openImage(backup);
    try {
      return await compareDevice(answering(session, digest), archive, backup, image);
    } finally {
      await image.close();
    }
  });
  assert.equal(left, 'app');
  return value;
}

const sector = (index: number) => ({ offset: index * SECTOR_BYTES, sizeBytes: SECTOR_BYTES });

describe('a board compared with a backup by digests', () => {
  it('equal by one digest; different in the very sectors, without a byte read or written', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    const before = board.commands.length;
    const same = await compared(bench, board);
    assert.deepEqual([same.equals?.id, same.regions, same.digestsAsked], [backup.id, [], 1]);

    board.flash.load(0, withSectors(board.flash.snapshot(), [9, 40, 41, 127]));
    const other = await compared(bench, board);
    assert.equal(other.equals, null);
    const expected = [sector(9), { ...sector(40), sizeBytes: 2 * SECTOR_BYTES }, sector(127)];
    assert.deepEqual([other.regions, other.unitBytes], [expected, SECTOR_BYTES]);
    assert.ok(!board.commands.slice(before).some(({ opcode }) => opcode === OPCODE.readFlash));
    assert.deepEqual(writingCommands(board), []);
  });

  it('a flash that is blank, or larger than the backup: what both have is compared', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    const old = board.flash.snapshot();
    const larger = bench.board({
      flashSizeBytes: 1024 * KIB,
      content: Buffer.concat([old, Buffer.alloc(512 * KIB, 0xff)]),
    });
    const grown = await compared(bench, larger);
    assert.deepEqual([grown.flashBytes, grown.equals, grown.regions], [1024 * KIB, null, []]);
    board.flash.load(0, Buffer.alloc(old.length, 0xff));
    const blank = await compared(bench, board);
    const used = Array.from({ length: 128 }, (_, index) => index * SECTOR_BYTES).filter(
      (at) => !old.subarray(at, at + SECTOR_BYTES).equals(Buffer.alloc(SECTOR_BYTES, 0xff)),
    );
    const sectors = blank.regions.reduce((sum, { sizeBytes }) => sum + sizeBytes / SECTOR_BYTES, 0);
    assert.equal(sectors, used.length);
    assert.notEqual(backup.manifest.image.md5, '');
  });

  it('an answer that the line has changed makes no difference', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    const { backup } = (await bench.backup(board)).value;
    let asked = 0;
    const once: Digest = async (_offset, _size, real) => (asked++ === 0 ? 'f'.repeat(32) : real());
    // Asked again, the chip tells the digest of the backup, and twice the same.
    assert.equal((await compared(bench, board, once)).equals?.id, backup.id);
    board.flash.load(0, withSectors(board.flash.snapshot(), [9]));
    const lies = new Set<string>();
    const everyFirst: Digest = async (offset, size, real) => {
      const key = `${offset}/${size}`;
      const answer = await real();
      if (lies.has(key)) return answer;
      lies.add(key);
      return 'e'.repeat(32);
    };
    assert.deepEqual((await compared(bench, board, everyFirst)).regions, [sector(9)]);
  });

  it('answers that are never the same, or contradict each other, are an error', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board();
    await bench.backup(board);
    let count = 0;
    const never: Digest = () => Promise.resolve((count++).toString(16).padStart(32, '0'));
    await assertFails(compared(bench, board, never), 'digest-mismatch');
    const wholeLies: Digest = (_offset, size, real) => (size === 512 * KIB ? Promise.resolve('a'.repeat(32)) : real());
    await assertFails(compared(bench, board, wholeLies), 'digest-mismatch');
  });
});
