/** Every reason to refuse has a code and an option of its own, and none of them comes after the first erase. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Backup } from '../../../src/archive/types.ts';
import type { ErrorCode } from '../../../src/errors.ts';
import { demoImage } from '../../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../../src/simulator/index.ts';
import type { RestoreOptions } from '../../../src/transfer/restore/restore.ts';
import type { Overrides } from '../../../src/transfer/restore/guards.ts';
import { Bench, FAMILIES, KIB, assertFails, macOf, smallImage, watchFlash, withSectors } from '../support.ts';

const SIZE_BYTES = 512 * KIB;
const ALL: Overrides = {
  revision: true,
  flashSize: true,
  security: true,
  writeProtect: true,
  layout: true,
  chipChange: true,
};

async function refused(
  bench: Bench,
  board: SimulatedBoard,
  backup: Backup,
  code: ErrorCode,
  options: Partial<RestoreOptions> = {},
): Promise<string> {
  const watched = watchFlash(board);
  const { message, hint } = await assertFails(bench.restore(board, backup, options), code);
  assert.deepEqual([...watched.erased(), ...watched.programmed()], []);
  assert.equal(await bench.archive.halfRestored(macOf(board.mac)), null);
  assert.notEqual(hint, '');
  return `${message}. ${hint}`;
}

/** Only the option of the guard itself helps. */
async function onlyHelps(
  bench: Bench,
  board: SimulatedBoard,
  backup: Backup,
  code: ErrorCode,
  override: keyof Overrides,
  options: Partial<RestoreOptions> = {},
): Promise<void> {
  await refused(bench, board, backup, code, options);
  await refused(bench, board, backup, code, { ...options, overrides: { ...ALL, [override]: false } });
  const { value } = await bench.restore(board, backup, { ...options, overrides: { [override]: true } });
  assert.equal(value.verified, true);
  assert.ok(value.sectorsWritten > 0);
}

describe('a chip whose revision the image does not run on', () => {
  for (const family of ['esp32', 'esp32s3', 'esp32c3'] as const) {
    it(`is refused: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const content = demoImage({ family, sizeBytes: SIZE_BYTES, appBytes: 40 * KIB, minRevision: 302 });
      const source = bench.board({ family, content, revision: { major: 3, minor: 1 } });
      const { backup } = (await bench.backup(source)).value;
      source.flash.load(0, withSectors(content, [20]));
      await onlyHelps(bench, source, backup, 'old-revision', 'revision');
    });
  }

  it('is no matter where the image asks for less, or is no image', async (t) => {
    const bench = await Bench.open(t);
    const content = demoImage({ family: 'esp32', sizeBytes: SIZE_BYTES, appBytes: 40 * KIB, minRevision: 300 });
    const board = bench.board({ family: 'esp32', content, revision: { major: 3, minor: 0 } });
    const { backup } = (await bench.backup(board)).value;
    board.flash.eraseChip();
    assert.equal((await bench.restore(board, backup)).value.verified, true);
  });
});

describe('a flash of another size', () => {
  it('that is larger takes the image at its beginning, when the person says so; the rest stays', async (t) => {
    const bench = await Bench.open(t);
    const { backup } = (await bench.backup(bench.board())).value;
    const board = bench.board({
      mac: backup.mac,
      flashSizeBytes: 2 * SIZE_BYTES,
      content: smallImage('esp32c3', 2 * SIZE_BYTES, 4),
    });
    board.flash.load(SIZE_BYTES + 8192, Buffer.from('keep me'));
    const rest = board.flash.read(SIZE_BYTES, SIZE_BYTES);
    await onlyHelps(bench, board, backup, 'other-size', 'flashSize');
    assert.ok(board.flash.read(0, SIZE_BYTES).equals(smallImage('esp32c3', SIZE_BYTES)));
    assert.ok(board.flash.read(SIZE_BYTES, SIZE_BYTES).equals(rest));
  });

  it('that is smaller never takes it', async (t) => {
    const bench = await Bench.open(t);
    const { backup } = (await bench.backup(bench.board())).value;
    const board = bench.board({ mac: backup.mac, flashSizeBytes: SIZE_BYTES / 2 });
    assert.match(await refused(bench, board, backup, 'other-size', { overrides: ALL }), /no option/);
  });
});

describe('flash encryption and secure boot', () => {
  const backedUpAs = async (bench: Bench, security: object, seed = 1) =>
    (await bench.backup(bench.board({ family: 'esp32', security, seed }))).value.backup;

  it('ciphertext goes to no other chip, and to none that does not decrypt, whatever is said', async (t) => {
    const bench = await Bench.open(t);
    const backup = await backedUpAs(bench, { flashEncryption: true });
    const other = bench.board({ family: 'esp32', security: { flashEncryption: true }, seed: 2 });
    const targetMac = macOf(other.mac);
    assert.match(await refused(bench, other, backup, 'encrypted', { targetMac, overrides: ALL }), /no option/);
    const part = { partitions: ['nvs'] };
    await refused(bench, other, backup, 'encrypted', { targetMac, overrides: ALL, part });
    const open = bench.board({ family: 'esp32', mac: backup.mac });
    assert.match(await refused(bench, open, backup, 'encrypted', { overrides: ALL }), /no option/);
  });

  it('plaintext goes to a chip that decrypts only as a part, when the person says so', async (t) => {
    const bench = await Bench.open(t);
    const backup = await backedUpAs(bench, {});
    const board = bench.board({ family: 'esp32', mac: backup.mac, security: { flashEncryption: true } });
    board.flash.load(0x9000, Buffer.alloc(4096, 7));
    await refused(bench, board, backup, 'encrypted', { overrides: ALL });
    await onlyHelps(bench, board, backup, 'encrypted', 'security', { part: { partitions: ['nvs'] } });
  });

  it('secure boot that differs is the decision of a person', async (t) => {
    const bench = await Bench.open(t);
    const backup = await backedUpAs(bench, {});
    const locked = bench.board({ family: 'esp32', mac: backup.mac, security: { secureBoot: true } });
    locked.flash.load(0, withSectors(locked.flash.snapshot(), [30]));
    await onlyHelps(bench, locked, backup, 'secure-boot', 'security');
  });
});

describe('a flash that is locked against writing', () => {
  for (const family of FAMILIES) {
    it(`is refused before anything is erased: ${family}`, async (t) => {
      const bench = await Bench.open(t);
      const board = bench.board({ family });
      const content = board.flash.snapshot();
      const { backup } = (await bench.backup(board)).value;
      board.flash.load(0, withSectors(content, [100]));
      board.flash.status = 0x80 | (7 << 2);
      const told = await refused(bench, board, backup, 'write-protected');
      assert.match(told, /status register 0x9c: BP0, BP1, BP2, SRP/);
      assert.match(told, /esptool write-flash-status/);
      // Somebody who tries it all the same is told the truth by the digest.
      const error = await assertFails(
        bench.restore(board, backup, { overrides: { writeProtect: true } }),
        'write-mismatch',
      );
      assert.match(error.message, /0x064000/);
      // Protection that is not locked is taken off by the loader, and said in the plan.
      board.flash.status = 7 << 2;
      const { value } = await bench.restore(board, backup);
      assert.ok(value.plan.risks.some((risk) => /block protection/.test(risk)));
      assert.ok(board.flash.snapshot().equals(content));
    });
  }
});
