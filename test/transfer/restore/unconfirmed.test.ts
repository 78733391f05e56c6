/** Images that no chip has confirmed, of boards that nobody has asked. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OPCODE, seededRandom } from '../../../src/simulator/index.ts';
import { finishCommand } from '../../../src/transfer/finish-command.ts';
import {
  Bench,
  KIB,
  assertFails,
  importImage,
  macOf,
  md5,
  smallImage,
  withSectors,
  writingCommands,
} from '../support.ts';
import type { BoardWishes } from '../support.ts';

const SIZE_BYTES = 512 * KIB;
const IMAGE = smallImage('esp32c3', SIZE_BYTES);
const NOISE = seededRandom(5).bytes(SIZE_BYTES);

/** A board with something else on it, and an imported image of its MAC. */
async function sceneOf(bench: Bench, image: Buffer, wishes: BoardWishes = {}) {
  const board = bench.board({ content: withSectors(IMAGE, [20, 21]), ...wishes });
  const backup = await importImage(bench.archive, image, { mac: macOf(board.mac), family: 'esp32c3' });
  const before = board.flash.snapshot();
  const refused = async (code: Parameters<typeof assertFails>[1], options: Parameters<Bench['restore']>[2] = {}) => {
    const error = await assertFails(bench.restore(board, backup, options), code);
    assert.deepEqual(writingCommands(board), []);
    assert.ok(board.flash.snapshot().equals(before));
    return error;
  };
  return { board, backup, refused };
}

describe('an image that no chip has confirmed', () => {
  it('is written only where the person has been told, and the plan says it', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, refused } = await sceneOf(bench, IMAGE);
    const { message, hint } = await refused('unconfirmed');
    assert.match(message, /No chip has confirmed backup \S+ of \S+: it was imported from fw-backup-4M\.bin/);
    assert.match(hint, /verify --device.*--unconfirmed/);
    const dry = (await bench.restore(board, backup, { unconfirmed: true, dryRun: true })).value;
    assert.equal(dry.plan.backup.confirmed, false);
    assert.match(dry.plan.risks[0] ?? '', /^No chip has confirmed this image: it was imported from fw-backup-4M\.bin/);
    const { value } = await bench.restore(board, backup, { unconfirmed: true });
    assert.equal(value.verified, true);
    assert.ok(board.flash.snapshot().equals(IMAGE));
    // What a restore has written proves nothing of where the image came from.
    assert.deepEqual((await bench.archive.marks.of(backup.mac)).confirmations, []);
  });

  it('is as any other once a chip has confirmed it', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup } = await sceneOf(bench, IMAGE);
    const confirmation = { at: '2026-11-26T10:00:00.000Z', id: backup.id, by: 'stub', port: 'test' } as const;
    await bench.archive.marks.confirm(backup.mac, { ...confirmation, md5: '0'.repeat(32) });
    await assertFails(bench.restore(board, backup), 'unconfirmed');
    await bench.archive.marks.confirm(backup.mac, { ...confirmation, md5: md5(IMAGE) });
    const { plan } = (await bench.restore(board, backup)).value;
    assert.equal(plan.backup.confirmed, true);
    assert.doesNotMatch(plan.risks.join('\n'), /No chip has confirmed/);
  });

  it('is finished by a command that says so', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup } = await sceneOf(bench, IMAGE);
    board.flash.load(0, withSectors(IMAGE, [20, 40, 60]));
    board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 2 } });
    const command = { port: null, yes: true, unconfirmed: true };
    await assertFails(bench.restore(board, backup, { unconfirmed: true, command }), 'port-vanished');
    const half = await bench.archive.halfRestored(backup.mac);
    assert.ok(half?.record);
    assert.match(finishCommand(half.record, ['espd']), / --unconfirmed --yes$/);
  });

  it('is of the size of the flash, as any other', async (t) => {
    for (const sizeBytes of [SIZE_BYTES / 2, SIZE_BYTES * 2]) {
      const { refused } = await sceneOf(await Bench.open(t), smallImage('esp32c3', sizeBytes));
      const { hint } = await refused('other-size', { unconfirmed: true });
      assert.notEqual(hint, '');
    }
  });

  it('that nothing can be read of may be ciphertext, and is refused unless the person says so', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, refused } = await sceneOf(bench, NOISE);
    const { message } = await refused('encrypted', { unconfirmed: true });
    assert.match(message, /Nothing in the image can be read/);
    await refused('encrypted', { unconfirmed: true, part: { offset: 0x9000, sizeBytes: 4096 } });
    await bench.restore(board, backup, { unconfirmed: true, overrides: { security: true } });
    assert.ok(board.flash.snapshot().equals(NOISE));
  });

  it('that nothing can be read of is put back on the board whose chip has confirmed it', async (t) => {
    const bench = await Bench.open(t);
    const security = { flashEncryption: true, secureBoot: false };
    const { board, backup } = await sceneOf(bench, NOISE, { security });
    await bench.archive.marks.confirm(backup.mac, {
      ...{ at: '2026-11-26T10:00:00.000Z', id: backup.id, by: 'stub', port: 'test' },
      md5: md5(NOISE),
    });
    await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(NOISE));
    const other = bench.board({ seed: 2, security, content: IMAGE });
    await assertFails(bench.restore(other, backup, { targetMac: macOf(other.mac) }), 'encrypted');
  });

  it('that is plaintext is refused by a board that decrypts', async (t) => {
    const { refused } = await sceneOf(await Bench.open(t), IMAGE, {
      security: { flashEncryption: true, secureBoot: false },
    });
    await refused('encrypted', { unconfirmed: true });
    await refused('encrypted', { unconfirmed: true, overrides: { security: true } });
  });

  it('is refused by a board with secure boot, whatever it holds and whose it is said to be', async (t) => {
    for (const image of [IMAGE, signed(IMAGE)]) {
      const { refused } = await sceneOf(await Bench.open(t), image, {
        security: { flashEncryption: false, secureBoot: true },
      });
      await refused('secure-boot', { unconfirmed: true });
    }
  });

  it('with the bootloader of a board with secure boot is refused by one without', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, refused } = await sceneOf(bench, signed(IMAGE));
    const { message } = await refused('secure-boot', { unconfirmed: true });
    assert.match(message, /has the bootloader of a board with secure boot/);
    await bench.restore(board, backup, { unconfirmed: true, overrides: { security: true } });
    assert.ok(board.flash.snapshot().equals(signed(IMAGE)));
  });
});

/** A signature block of secure boot v2 in the sector before the partition table. */
function signed(image: Buffer): Buffer {
  const copy = Buffer.from(image);
  signatureBlock().copy(copy, 0x7000);
  return copy;
}

function signatureBlock(): Buffer {
  const block = Buffer.alloc(1216);
  seededRandom(3).bytes(1196).copy(block);
  block.set([0xe7, 0x02, 0, 0]);
  block.writeUInt32LE(crcOf(block.subarray(0, 1196)), 1196);
  return block;
}

/** CRC-32 of IEEE 802.3, bit by bit: not by the code that is tested. */
function crcOf(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
