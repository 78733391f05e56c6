/** Another chip under a MAC that the archive knows: kept, told, and no restore goes across it unasked. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Backup } from '../../src/archive/types.ts';
import { chipChanges } from '../../src/archive/chip-change.ts';
import type { BoardOptions } from '../../src/simulator/index.ts';
import { Bench, KIB, assertFails, macOf, smallImage, watchFlash, withSectors } from './support.ts';

const CONTENT = smallImage('esp32c3', 512 * KIB);
/** BLOCK_USR_DATA of a C3 (ESP32-C3 Technical Reference Manual): read by nothing but a look at all eFuses. */
const USER_DATA = 0x6000887c;

/** What a board may be that answers as the same MAC. */
const OTHERS: readonly (Partial<BoardOptions> & { readonly what: string; readonly told: RegExp })[] = [
  { what: 'another revision', revision: { major: 1, minor: 1 }, told: /Another chip .*revision v0\.4 -> v1\.1/ },
  { what: 'another family', family: 'esp32', told: /Another chip .*chip esp32c3 -> esp32/ },
  { what: 'eFuses that are blank again', registerPresets: new Map([[USER_DATA, 0x10]]), told: /eFuse BLOCK_USR_DATA/ },
  { what: 'another flash', jedec: [0xc8, 0x40, 0x13], told: /^The flash chip was changed.*-> c8 4013/ },
];

async function backedUp(bench: Bench): Promise<Backup> {
  const revision = { major: 0, minor: 4 };
  const registerPresets = new Map([[USER_DATA, 0x11]]);
  const board = bench.board({ content: CONTENT, revision, registerPresets });
  return (await bench.backup(board)).value.backup;
}

const warnings = (bench: Bench) => bench.log.of('warn');

/** The board of `backedUp`, but for `wishes`. */
function lookalike(bench: Bench, { mac }: Backup, wishes: Partial<BoardOptions>, content = CONTENT) {
  const same = { revision: { major: 0, minor: 4 }, registerPresets: new Map([[USER_DATA, 0x11]]) };
  return bench.board({ ...same, ...wishes, mac, content });
}

describe('a backup of a board whose MAC is known, but whose chip is another', () => {
  for (const { what, told, ...wishes } of OTHERS) {
    it(`is kept and told: ${what}`, async (t) => {
      const bench = await Bench.open(t);
      const first = await backedUp(bench);
      const { value } = await bench.backup(lookalike(bench, first, wishes, withSectors(CONTENT, [20])));
      assert.equal(value.unchanged, false);
      assert.equal(value.chipChange?.since, first.id);
      assert.equal(warnings(bench).filter((message) => told.test(message)).length, 1);
      const { backups } = await bench.archive.history(first.mac);
      assert.deepEqual([...chipChanges(backups).keys()], [value.backup.id]);
      // Only where it changes.
      const again = await bench.backup(lookalike(bench, first, wishes, withSectors(CONTENT, [21])));
      assert.equal(again.value.chipChange, null);
      assert.equal(warnings(bench).filter((message) => told.test(message)).length, 1);
    });
  }

  for (const { what, told, ...wishes } of OTHERS.filter(({ registerPresets }) => registerPresets === undefined)) {
    it(`is no sighting of the other chip, though the flash holds the same: ${what}`, async (t) => {
      const bench = await Bench.open(t);
      const first = await backedUp(bench);
      const board = lookalike(bench, first, wishes);
      const { value } = await bench.backup(board);
      assert.equal(value.unchanged, false);
      assert.notEqual(value.backup.id, first.id);
      assert.equal(value.backup.manifest.image.sha256, first.manifest.image.sha256);
      assert.equal(value.transfer.flashBytesRead, 0);
      assert.equal(warnings(bench).filter((message) => told.test(message)).length, 1);
      assert.deepEqual((await bench.archive.history(first.mac)).sightings, []);
      assert.equal((await bench.backup(board)).value.unchanged, true);
    });
  }

  it('is no change where eFuses were burnt', async (t) => {
    const bench = await Bench.open(t);
    const first = await backedUp(bench);
    const registerPresets = new Map([[USER_DATA, 0x31]]);
    const { value } = await bench.backup(lookalike(bench, first, { registerPresets }, withSectors(CONTENT, [20])));
    assert.equal(value.chipChange, null);
    assert.deepEqual(warnings(bench), []);
  });
});

describe('a restore to a board whose MAC is known, but whose chip is another', () => {
  for (const { what, told, ...wishes } of OTHERS.filter(({ family }) => family === undefined)) {
    it(`is refused before anything is touched, unless it is asked for: ${what}`, async (t) => {
      const bench = await Bench.open(t);
      const backup = await backedUp(bench);
      const board = lookalike(bench, backup, wishes, withSectors(CONTENT, [20]));
      const watched = watchFlash(board);
      const { hint } = await assertFails(bench.restore(board, backup), 'other-board');
      assert.match(hint, /--ignore-chip-change/);
      // A part is refused as well: it is of another board.
      await assertFails(bench.restore(board, backup, { part: { partitions: ['nvs'] } }), 'other-board');
      assert.deepEqual([...watched.erased(), ...watched.programmed()], []);
      assert.equal((await bench.archive.history(backup.mac)).backups.length, 1);
      const { value } = await bench.restore(board, backup, { overrides: { chipChange: true } });
      assert.equal(value.verified, true);
      assert.ok(board.flash.snapshot().equals(CONTENT));
      const risk =
        wishes.jedec === undefined
          ? /is another chip with the same MAC/
          : /has another flash chip than the image was read from/;
      assert.match(value.plan.risks.join('\n'), risk);
      assert.ok(told.test(warnings(bench).join('\n')), 'the snapshot tells it, too');
    });
  }

  it('of a backup that was made of this chip is not refused', async (t) => {
    const bench = await Bench.open(t);
    const first = await backedUp(bench);
    const revision = { major: 1, minor: 1 };
    const content = withSectors(CONTENT, [20]);
    const board = lookalike(bench, first, { revision }, content);
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(0, CONTENT);
    assert.equal((await bench.restore(board, backup)).value.verified, true);
    assert.ok(board.flash.snapshot().equals(content));
    await assertFails(bench.restore(board, first), 'other-board');
  });

  it('is no matter where another board is meant', async (t) => {
    const bench = await Bench.open(t);
    const backup = await backedUp(bench);
    const board = bench.board({ seed: 2, revision: { major: 1, minor: 1 }, content: withSectors(CONTENT, [20]) });
    assert.equal((await bench.restore(board, backup, { targetMac: macOf(board.mac) })).value.verified, true);
  });

  it('takes ciphertext to no other chip, whatever is said', async (t) => {
    const bench = await Bench.open(t);
    const security = { flashEncryption: true };
    const { backup } = (await bench.backup(bench.board({ security, revision: { major: 0, minor: 4 } }))).value;
    const twin = bench.board({ security, revision: { major: 0, minor: 3 }, mac: backup.mac });
    twin.flash.eraseChip();
    const overrides = { chipChange: true, security: true };
    await assertFails(bench.restore(twin, backup, { overrides }), 'encrypted');
    const repaired = bench.board({
      security,
      revision: { major: 0, minor: 4 },
      mac: backup.mac,
      jedec: [0xc8, 0x40, 0x13],
    });
    repaired.flash.eraseChip();
    assert.equal((await bench.restore(repaired, backup, { overrides: { chipChange: true } })).value.verified, true);
  });
});
