import assert from 'node:assert/strict';
import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Backup } from '../../../src/archive/types.ts';
import type { ErrorCode } from '../../../src/errors.ts';
import { OPCODE, seededRandom } from '../../../src/simulator/index.ts';
import type { Family, SimulatedBoard } from '../../../src/simulator/index.ts';
import type { RestorePlan } from '../../../src/transfer/restore/plan.ts';
import type { RestoreOptions } from '../../../src/transfer/restore/restore.ts';
import {
  Bench,
  FAMILIES,
  KIB,
  PassingLink,
  SECTOR_BYTES,
  assertFails,
  differingSectors,
  exchange,
  macOf,
  smallImage,
  watchFlash,
  withSectors,
  writingCommands,
} from '../support.ts';
import type { BoardWishes, JobOptions } from '../support.ts';

const SIZE_BYTES = 512 * KIB;

/** A board with a backup of what it holds. */
async function backedUp(
  bench: Bench,
  wishes: BoardWishes = {},
): Promise<{ board: SimulatedBoard; backup: Backup; content: Buffer }> {
  const board = bench.board({ flashSizeBytes: SIZE_BYTES, ...wishes });
  const content = board.flash.snapshot();
  const { backup } = (await bench.backup(board)).value;
  return { board, backup, content };
}

/** Sectors (numbers) of a plan. */
function sectorsOf({ regions }: RestorePlan): number[] {
  return regions.flatMap(({ offset, sizeBytes }) =>
    Array.from({ length: sizeBytes / SECTOR_BYTES }, (_, index) => offset / SECTOR_BYTES + index),
  );
}

/** The restore is refused with `code` while the flash stays as it is and is sent no command that could change it. */
async function assertRefused(
  bench: Bench,
  board: SimulatedBoard,
  backup: Backup,
  code: ErrorCode,
  options: JobOptions & Partial<Omit<RestoreOptions, 'archive' | 'backup'>> = {},
): Promise<void> {
  const before = board.flash.snapshot();
  const watched = watchFlash(board);
  const error = await assertFails(bench.restore(board, backup, options), code);
  assert.notEqual(error.message, '');
  assert.deepEqual(writingCommands(board), []);
  assert.deepEqual([...watched.erased(), ...watched.programmed()], []);
  assert.ok(board.flash.snapshot().equals(before));
  await bench.pass(50);
  assert.equal(board.mode, 'app');
  assert.equal(board.onTransmit, undefined);
}

for (const family of FAMILIES) {
  describe(`restore of an ${family}`, () => {
    it('brings a wiped board back bit for bit', async (t) => {
      const bench = await Bench.open(t);
      const { board, backup, content } = await backedUp(bench, { family });
      board.flash.eraseChip();
      const { value, left } = await bench.restore(board, backup);
      assert.ok(board.flash.snapshot().equals(content));
      assert.equal(value.verified, true);
      assert.equal(value.sectorsWritten, value.plan.sectors);
      const notBlank = differingSectors(content, Buffer.alloc(SIZE_BYTES, 0xff));
      assert.deepEqual(sectorsOf(value.plan), notBlank);
      assert.equal(left, 'app');
      assert.equal(board.mode, 'app');
    });

    it('brings a board with another firmware back bit for bit', async (t) => {
      const bench = await Bench.open(t);
      const { board, backup, content } = await backedUp(bench, { family });
      board.flash.load(0, seededRandom(77).bytes(SIZE_BYTES));
      await bench.restore(board, backup);
      assert.ok(board.flash.snapshot().equals(content));
    });

    it('writes nothing to a board that holds the image already', async (t) => {
      const bench = await Bench.open(t);
      const { board, backup } = await backedUp(bench, { family });
      const watched = watchFlash(board);
      let asked = 0;
      const { value } = await bench.restore(board, backup, { confirm: () => Promise.resolve(++asked > 0) });
      assert.deepEqual([value.plan.regions, value.plan.sectors, value.plan.bytes], [[], 0, 0]);
      assert.deepEqual([value.sectorsWritten, value.verified, asked], [0, true, 0]);
      assert.deepEqual(writingCommands(board), []);
      assert.deepEqual([...watched.erased(), ...watched.programmed()], []);
      assert.equal(value.transfer.digestsAsked, 1);
    });

    it('erases and writes exactly the one sector that differs', async (t) => {
      const bench = await Bench.open(t);
      const { board, backup, content } = await backedUp(bench, { family });
      // In the middle of a block that is otherwise the same.
      board.flash.load(0, withSectors(content, [13]));
      const watched = watchFlash(board);
      const { value } = await bench.restore(board, backup);
      assert.deepEqual(value.plan.regions, [{ offset: 13 * 4096, sizeBytes: 4096 }]);
      assert.deepEqual([value.plan.sectors, value.plan.bytes], [1, 4096]);
      assert.equal(value.sectorsWritten, 1);
      assert.deepEqual(watched.erased(), [13]);
      assert.deepEqual(watched.programmed(), [13]);
      assert.ok(board.flash.snapshot().equals(content));
    });

    it('shows in a dry run what a real one then writes', async (t) => {
      const bench = await Bench.open(t);
      const { board, backup, content } = await backedUp(bench, { family });
      const changed = withSectors(content, [0, 1, 2, 15, 16, 31, 90, 127]);
      changed.fill(0xff, 5 * SECTOR_BYTES, 6 * SECTOR_BYTES);
      board.flash.load(0, changed);
      board.flash.erase(5 * SECTOR_BYTES, SECTOR_BYTES);
      const different = differingSectors(board.flash.snapshot(), content);
      const dry = (await bench.restore(board, backup, { dryRun: true })).value;
      assert.deepEqual([dry.sectorsWritten, dry.verified], [0, false]);
      assert.deepEqual(sectorsOf(dry.plan), different);
      assert.deepEqual(writingCommands(board), []);
      assert.ok(board.flash.snapshot().equals(changed));
      const watched = watchFlash(board);
      const real = (await bench.restore(board, backup)).value;
      assert.deepEqual([real.plan.regions, real.plan.parts], [dry.plan.regions, dry.plan.parts]);
      assert.deepEqual(watched.erased(), different);
      assert.ok(board.flash.snapshot().equals(content));
      assert.equal((await bench.restore(board, backup, { dryRun: true })).value.verified, true);
    });

    it('verifies before the reset: what the app writes at once does no harm', async (t) => {
      const bench = await Bench.open(t);
      const { board, backup, content } = await backedUp(bench, { family, appWritesNvsAfterMs: 10 });
      board.flash.load(0, withSectors(content, [1, 20]));
      const { value, left } = await bench.restore(board, backup);
      await bench.pass(1000);
      assert.deepEqual([value.verified, left], [true, 'app']);
      const page = family === 'esp8266' ? SIZE_BYTES / SECTOR_BYTES - 3 : 9;
      assert.deepEqual(differingSectors(board.flash.snapshot(), content), [page]);
    });
  });
}

describe('restore is refused, and the board untouched', () => {
  it('where another board answers', async (t) => {
    const bench = await Bench.open(t);
    const { backup } = await backedUp(bench);
    await assertRefused(bench, bench.board({ seed: 2 }), backup, 'other-mac');
  });

  it('where the board named is not the one that answers', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup } = await backedUp(bench);
    const targetMac = macOf('24:0a:c4:00:00:01');
    // Not the backup's own board either: the person has named another.
    await assertRefused(bench, bench.board({ mac: backup.mac }), backup, 'other-mac', { targetMac });
    board.flash.eraseChip();
    assert.equal(board.mac, backup.mac);
  });

  it('not where the person has named the other board', async (t) => {
    const bench = await Bench.open(t);
    const { backup, content } = await backedUp(bench);
    const other = bench.board({ seed: 2, content: Buffer.alloc(0) });
    await bench.restore(other, backup, { targetMac: macOf(other.mac) });
    assert.ok(other.flash.snapshot().equals(content));
  });

  for (const [one, another] of [
    ['esp32c3', 'esp32s3'],
    ['esp32', 'esp8266'],
    ['esp32c6', 'esp32c5'],
  ] as const satisfies [Family, Family][]) {
    it(`where the image is of an ${one} and the board an ${another}`, async (t) => {
      const bench = await Bench.open(t);
      const { backup } = await backedUp(bench, { family: one });
      const targetMac = backup.mac;
      await assertRefused(bench, bench.board({ family: another, mac: targetMac }), backup, 'other-chip', { targetMac });
    });
  }

  for (const flashSizeBytes of [SIZE_BYTES / 2, SIZE_BYTES * 2]) {
    it(`where the flash has ${flashSizeBytes / KIB} KiB and the image ${SIZE_BYTES / KIB}`, async (t) => {
      const bench = await Bench.open(t);
      const { backup } = await backedUp(bench);
      await assertRefused(bench, bench.board({ mac: backup.mac, flashSizeBytes }), backup, 'other-size');
    });
  }

  const open = { flashEncryption: false, secureBoot: false };
  const states = [
    { flashEncryption: true, secureBoot: false },
    { flashEncryption: false, secureBoot: true },
    { flashEncryption: true, secureBoot: true },
  ];
  for (const family of ['esp32', 'esp32c3'] as const) {
    for (const state of states) {
      const named = JSON.stringify(state);
      const code = state.flashEncryption ? 'encrypted' : 'secure-boot';
      it(`where the ${family} was open and is now ${named}, or the other way round`, async (t) => {
        const bench = await Bench.open(t);
        const { backup } = await backedUp(bench, { family, security: open });
        const locked = bench.board({ family, mac: backup.mac, security: state });
        await assertRefused(bench, locked, backup, code);
        const later = (await bench.backup(bench.board({ family, security: state, seed: 3 }))).value.backup;
        const unlocked = bench.board({ family, mac: later.mac, security: open });
        await assertRefused(bench, unlocked, later, code);
      });

      it(`not where the same ${family} is as it was: ${named}`, async (t) => {
        const bench = await Bench.open(t);
        const { board, backup, content } = await backedUp(bench, { family, security: state });
        board.flash.load(0, withSectors(content, [4]));
        assert.equal((await bench.restore(board, backup)).value.verified, true);
        assert.ok(board.flash.snapshot().equals(content));
      });

      it(`where another ${family} is ${named} too, though named by the person`, async (t) => {
        const bench = await Bench.open(t);
        const { backup } = await backedUp(bench, { family, security: state });
        const other = bench.board({ family, security: state, seed: 2 });
        await assertRefused(bench, other, backup, code, { targetMac: macOf(other.mac) });
      });
    }
  }

  const damages: Record<string, (backup: Backup) => Promise<void>> = {
    'has rotten in a sector that the board holds': async ({ path }) => {
      const bytes = await readFile(join(path, 'flash.bin'));
      bytes[0x9800] = bytes[0x9800]! ^ 0x10;
      await writeFile(join(path, 'flash.bin'), bytes);
    },
    'has rotten in a sector that the board lacks': async ({ path }) => {
      const bytes = await readFile(join(path, 'flash.bin'));
      bytes[3 * SECTOR_BYTES] = bytes[3 * SECTOR_BYTES]! ^ 0x01;
      await writeFile(join(path, 'flash.bin'), bytes);
    },
    'is cut off': ({ path }) => truncate(join(path, 'flash.bin'), SIZE_BYTES - 1),
    'is missing': ({ path }) => rm(join(path, 'flash.bin')),
    'is that of another backup': ({ path }) => writeFile(join(path, 'flash.bin'), smallImage('esp32c3', SIZE_BYTES, 5)),
  };
  for (const [how, damage] of Object.entries(damages)) {
    it(`where the image ${how}`, async (t) => {
      const bench = await Bench.open(t);
      const { board, backup, content } = await backedUp(bench);
      board.flash.load(0, withSectors(content, [3]));
      await damage(backup);
      await assertRefused(bench, board, backup, 'archive-damaged');
    });
  }

  it('where a compressed image is damaged', async (t) => {
    const bench = await Bench.open(t, { compression: 'gzip' });
    const { board, backup, content } = await backedUp(bench);
    board.flash.load(0, withSectors(content, [3]));
    const file = join(backup.path, 'flash.bin.gz');
    const bytes = await readFile(file);
    bytes[bytes.length >> 1] = bytes[bytes.length >> 1]! ^ 0x04;
    await writeFile(file, bytes);
    await assertRefused(bench, board, backup, 'archive-damaged');
  });

  it('where the person says no, who is shown the plan first', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench);
    board.flash.load(0, withSectors(content, [8, 9]));
    const plans: RestorePlan[] = [];
    const confirm = (plan: RestorePlan) => {
      plans.push(plan);
      return Promise.resolve(false);
    };
    await assertRefused(bench, board, backup, 'declined', { confirm });
    assert.deepEqual(plans.map(sectorsOf), [[8, 9]]);
  });

  it('where the board was exchanged while the person thought about it', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench);
    board.flash.load(0, withSectors(content, [8]));
    for (const wait of ['app', 'download'] as const) {
      const other = bench.board({ seed: 2 });
      const theirs = other.flash.snapshot();
      if (wait === 'download') {
        other.pressBoot(true);
        other.powerCycle();
      }
      board.plug();
      let link: PassingLink | undefined;
      const work = bench.restore(board, backup, {
        through: (inner) => (link = new PassingLink(inner)),
        confirm: () => {
          other.pressBoot(false);
          exchange(link!, bench, board, other);
          return Promise.resolve(true);
        },
      });
      await assertFails(work, 'chip-changed');
      assert.deepEqual([...writingCommands(board), ...writingCommands(other)], []);
      assert.ok(other.flash.snapshot().equals(theirs));
    }
  });
});

describe('restore', () => {
  it('writes what the image says and patches no header', async (t) => {
    const bench = await Bench.open(t);
    // Mode, size and speed of the flash in the header (bytes 2 and 3) as no tool would choose them for this board.
    for (const [family, at] of [
      ['esp8266', 0],
      ['esp32', 0x1000],
      ['esp32c3', 0],
    ] as const) {
      const content = Buffer.from(smallImage(family, SIZE_BYTES));
      Buffer.from([0x01, 0xf0]).copy(content, at + 2);
      const { board, backup } = await backedUp(bench, { family, content });
      board.flash.eraseChip();
      await bench.restore(board, backup);
      assert.ok(board.flash.snapshot().equals(content));
    }
  });

  it('puts back a compressed backup', async (t) => {
    const bench = await Bench.open(t, { compression: 'gzip' });
    const { board, backup, content } = await backedUp(bench);
    board.flash.eraseChip();
    await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(content));
  });

  it('puts back the older of two backups', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench);
    board.flash.load(0, withSectors(content, [2, 60]));
    await bench.backup(board);
    await bench.restore(board, await bench.archive.resolveBackup(backup.mac, 'first'));
    assert.ok(board.flash.snapshot().equals(content));
  });

  it('goes through the ROM where no stub starts', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench, { family: 'esp32', flashSizeBytes: 256 * KIB });
    board.flash.load(0, withSectors(content, [1, 2, 17]));
    board.addFault({ kind: 'no-stub' });
    const watched = watchFlash(board);
    const { value } = await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(content));
    assert.equal(value.verified, true);
    assert.deepEqual(watched.erased(), [1, 2, 17]);
  });

  it('of random bytes over random bytes is exact', async (t) => {
    const bench = await Bench.open(t);
    const content = seededRandom(8).bytes(256 * KIB);
    const { board, backup } = await backedUp(bench, { flashSizeBytes: 256 * KIB, content });
    board.flash.load(0, seededRandom(9).bytes(256 * KIB));
    await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(content));
  });

  it('names the sector that does not hold what was written', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench, {
      content: seededRandom(3).bytes(SIZE_BYTES),
      wornSectors: [20],
    });
    board.flash.load(0, withSectors(content, [19, 20, 21]));
    const error = await assertFails(bench.restore(board, backup), 'write-mismatch');
    assert.match(error.message, /0x014000/);
    assert.match(bench.log.of('error').join('\n'), /half restored/);
    assert.deepEqual(differingSectors(board.flash.snapshot(), content), [20]);
  });

  it('writes again what did not stick the first time', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench);
    board.flash.load(0, withSectors(content, [8, 9, 10]));
    const program = board.flash.program.bind(board.flash);
    let lost = 0;
    board.flash.program = (address, data) => {
      if (address === 9 * SECTOR_BYTES && lost++ === 0) return; // a dip in the supply
      program(address, data);
    };
    const { value } = await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(content));
    assert.deepEqual([value.plan.sectors, value.verified], [3, true]);
  });

  it('survives a write whose failure shows only on a later command', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench);
    for (const opcode of [OPCODE.flashDeflData, OPCODE.flashDeflEnd]) {
      board.flash.load(0, withSectors(content, [8, 70]));
      let failures = 0;
      const { value } = await bench.restore(board, backup, {
        through: (link) => new FailingLink(link, opcode, () => failures++ === 0),
      });
      assert.ok(failures > 0);
      assert.equal(value.verified, true);
      assert.ok(value.transfer.retries > 0);
      assert.ok(board.flash.snapshot().equals(content));
    }
  });

  it('gives up a write that fails each time', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench);
    board.flash.load(0, withSectors(content, [8]));
    const through = (link: PassingLink['inner']) => new FailingLink(link, OPCODE.flashDeflEnd, () => true);
    await assertFails(bench.restore(board, backup, { through }), 'chip-error');
    assert.match(bench.log.of('error').join('\n'), /half restored/);
    assert.equal(board.mode, 'app');
    await bench.restore(board, backup);
    assert.ok(board.flash.snapshot().equals(content));
  });

  it('tells what it is doing', async (t) => {
    const bench = await Bench.open(t);
    const { board, backup, content } = await backedUp(bench);
    board.flash.load(0, withSectors(content, [8, 9, 100]));
    const phases: string[] = [];
    let last = 0;
    await bench.restore(board, backup, {
      onProgress: ({ phase, doneBytes = 0, totalBytes = 0 }) => {
        if (phases.at(-1) !== phase) phases.push(phase);
        if (phase !== 'writing') return;
        assert.ok(doneBytes > last && doneBytes <= totalBytes);
        assert.equal(totalBytes, 3 * SECTOR_BYTES);
        last = doneBytes;
      },
    });
    assert.equal(last, 3 * SECTOR_BYTES);
    // Between plan and writing stands the snapshot: what differs is read, the rest and its digest are known.
    assert.deepEqual(phases, [
      ...['connecting', 'identified', 'verifying'],
      ...['comparing', 'reading'],
      ...['writing', 'verifying', 'leaving', 'released'],
    ]);
  });
});

/** Makes a stub's answers to one command say that it failed. */
class FailingLink extends PassingLink {
  readonly #opcode: number;
  readonly #fails: () => boolean;

  constructor(inner: PassingLink['inner'], opcode: number, fails: () => boolean) {
    super(inner);
    this.#opcode = opcode;
    this.#fails = fails;
  }

  override async read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    const chunk = await super.read(timeoutMs, signal);
    // Response, opcode, two bytes of body (the status) of which the first says "failed".
    const at = chunk?.indexOf(Buffer.from([0x01, this.#opcode, 0x02, 0x00])) ?? -1;
    if (chunk !== null && at >= 0 && this.#fails()) chunk[at + 8] = 1;
    return chunk;
  }
}
