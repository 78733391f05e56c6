/** The snapshot before, the record meanwhile, and what becomes of a board that was left in the middle. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { RESTORE_RECORD } from '../../../src/archive/restore-record.ts';
import { openArchive } from '../../../src/archive/archive.ts';
import { REPLICATED_MARKS } from '../../../src/archive/elsewhere/types.ts';
import type { Archive, Backup } from '../../../src/archive/types.ts';
import { EspdError } from '../../../src/errors.ts';
import { macToFolder } from '../../../src/mac.ts';
import { OPCODE, seededRandom } from '../../../src/simulator/index.ts';
import type { Family, SimulatedBoard } from '../../../src/simulator/index.ts';
import { finishCommand } from '../../../src/transfer/finish-command.ts';
import { guardHalfRestored } from '../../../src/transfer/half-restored.ts';
import { restoreBoard } from '../../../src/transfer/restore/restore.ts';
import { WriteMismatchError, piecesOf } from '../../../src/transfer/restore/write.ts';
import {
  Bench,
  FAMILIES,
  KIB,
  assertFails,
  failureOf,
  macOf,
  watchFlash,
  withSectors,
  writingCommands,
} from '../support.ts';

const SIZE_BYTES = 512 * KIB;
const CHANGED = [3, 9, ...Array.from({ length: 20 }, (_, index) => 14 + index), 50];

interface Scene {
  readonly bench: Bench;
  readonly board: SimulatedBoard;
  readonly backup: Backup;
  readonly image: Buffer;
  readonly before: Buffer;
}

async function sceneOf(bench: Bench, family: Family = 'esp32c3'): Promise<Scene> {
  const board = bench.board({ family });
  const image = board.flash.snapshot();
  const { backup } = (await bench.backup(board)).value;
  const before = withSectors(image, CHANGED);
  board.flash.load(0, before);
  return { bench, board, backup, image, before };
}

/** Leaves the board half restored: its cable is pulled in the middle of the writing. */
async function leaveHalf({ bench, board, backup, image, before }: Scene): Promise<void> {
  board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 3 } });
  await assertFails(bench.restore(board, backup, { why: 'latest of 1' }), 'port-vanished');
  board.clearFaults();
  board.plug();
  const flash = board.flash.snapshot();
  assert.ok(!flash.equals(image) && !flash.equals(before), 'it is half and half');
}

describe('the snapshot', () => {
  it('says why it was made, as every backup does', async (t) => {
    const { bench, board, backup } = await sceneOf(await Bench.open(t));
    const { snapshot } = (await bench.restore(board, backup)).value;
    const made = await bench.archive.resolveBackup(backup.mac, snapshot?.id ?? '');
    assert.deepEqual([backup.manifest.reason, made.manifest.reason], ['by-hand', 'before-restore']);
  });

  it('is what is on the board, and never what was asked for', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup, image, before } = scene;
    // Chosen as the command does, before the board is asked.
    const latest = await bench.archive.resolveBackup(backup.mac, 'latest');
    const { value } = await bench.restore(board, latest);
    assert.ok(board.flash.snapshot().equals(image));
    await bench.assertImages(board.mac, [image, before]);
    const [, snapshot] = (await bench.archive.history(backup.mac)).backups;
    assert.deepEqual(value.snapshot, { id: snapshot?.id, isNew: true });
    const [restore] = await bench.archive.restores(backup.mac);
    assert.deepEqual(
      { ...restore, at: '' },
      { at: '', from: { mac: backup.mac, id: backup.id }, snapshot: snapshot?.id, snapshotIsNew: true, partial: false },
    );
  });

  it('is not made of what the archive holds, newest or not: nothing is read', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup, image, before } = scene;
    const second = (await bench.backup(board)).value.backup;
    board.flash.load(0, withSectors(image, [77]));
    await bench.backup(board);
    board.flash.load(0, before);
    const commandsBefore = board.commands.length;
    const { value } = await bench.restore(board, backup);
    const reads = board.commands.slice(commandsBefore).filter(({ opcode }) => opcode === OPCODE.readFlash);
    // Nothing is written at a baud rate that no read has proven.
    const proof = reads.reduce((sum, { payload }) => sum + payload.readUInt32LE(4), 0);
    assert.ok(reads.length <= 1 && proof <= 16 * KIB, `${reads.length} reads of ${proof} bytes`);
    assert.deepEqual(value.snapshot, { id: second.id, isNew: false });
    assert.equal((await bench.imagesOf(board.mac)).length, 3);
  });

  it('is made again where that backup has rotted', async (t) => {
    const { bench, board, backup, image, before } = await sceneOf(await Bench.open(t));
    const second = (await bench.backup(board)).value.backup;
    const file = join(second.path, 'flash.bin');
    const bytes = await readFile(file);
    bytes[5] = bytes[5]! ^ 1;
    await writeFile(file, bytes);
    const { value } = await bench.restore(board, backup);
    assert.equal(value.snapshot?.isNew, true);
    assert.ok((await bench.imagesOf(board.mac)).at(-1)?.equals(before));
    assert.ok(board.flash.snapshot().equals(image));
  });

  it('is not made in a dry run, of a blank flash, or where nobody wants it', async (t) => {
    const { bench, board, backup } = await sceneOf(await Bench.open(t));
    const dry = (await bench.restore(board, backup, { dryRun: true })).value;
    assert.deepEqual([dry.plan.snapshot, dry.snapshot], [{ kind: 'made' }, null]);
    const without = (await bench.restore(board, backup, { snapshot: false })).value;
    assert.deepEqual([without.snapshot, without.plan.snapshot], [null, { kind: 'none', because: 'not-wanted' }]);
    assert.ok(without.plan.risks.some((risk) => /is lost/.test(risk)));
    board.flash.eraseChip();
    assert.deepEqual((await bench.restore(board, backup)).value.plan.snapshot, { kind: 'none', because: 'blank' });
    assert.equal((await bench.imagesOf(board.mac)).length, 1);
  });

  it('that cannot be made keeps everything from being written, unless nobody wants it', async (t) => {
    for (const code of ['disk-full', 'archive-unwritable', 'read-failed'] as const) {
      const { bench, board, backup, image } = await sceneOf(await Bench.open(t));
      const archive = new Proxy(bench.archive, {
        get: (target, name) => {
          if (name === 'begin') return () => Promise.reject(new EspdError(code, 'Not today', { hint: 'Wait' }));
          const member: unknown = Reflect.get(target, name);
          return typeof member === 'function' ? (member.bind(target) as unknown) : member;
        },
      });
      const real = bench.archive;
      Object.assign(bench, { archive });
      const watched = watchFlash(board);
      const error = await assertFails(bench.restore(board, backup), code);
      assert.match(`${error.message} ${error.hint}`, /No snapshot.*Not today.*Nothing was written. Wait/);
      // Where the archive takes no snapshot because it may not be written, it takes no record of the restore either.
      assert.equal(/--no-snapshot/.test(error.hint), code !== 'archive-unwritable');
      assert.deepEqual(watched.erased(), []);
      assert.equal(await real.halfRestored(backup.mac), null);
      await bench.restore(board, backup, { snapshot: false });
      assert.ok(board.flash.snapshot().equals(image));
    }
  });
});

describe('the record', () => {
  it('is on the disk before the first erase, and gone after the last digest', async (t) => {
    const { bench, board, backup, before } = await sceneOf(await Bench.open(t));
    const erase = board.flash.erase.bind(board.flash);
    const file = join(bench.root, macToFolder(backup.mac), RESTORE_RECORD);
    const records: Promise<string>[] = [];
    board.flash.erase = (address, length) => {
      records.push(readFile(file, 'utf8'));
      erase(address, length);
    };
    await bench.restore(board, backup, { why: 'latest of 1' });
    const record = JSON.parse((await records[0]) ?? '') as Record<string, unknown>;
    assert.deepEqual(
      [record['mac'], record['from'], record['why']],
      [backup.mac, { mac: backup.mac, id: backup.id }, 'latest of 1'],
    );
    assert.ok(before.length > 0 && record['snapshot'] !== null);
    assert.equal(await bench.archive.halfRestored(backup.mac), null);
    await assert.rejects(readFile(file), { code: 'ENOENT' });
  });

  it('that cannot be written keeps everything from being written', async (t) => {
    const { bench, board, backup } = await sceneOf(await Bench.open(t));
    if (process.getuid?.() === 0) {
      // Root may write anywhere; a folder in the place of the file stops the rename.
      const { mkdir } = await import('node:fs/promises');
      await mkdir(join(bench.root, macToFolder(backup.mac), RESTORE_RECORD, 'x'), { recursive: true });
    } else await chmod(join(bench.root, macToFolder(backup.mac)), 0o500);
    const watched = watchFlash(board);
    await assertFails(bench.restore(board, backup, { snapshot: false }), 'archive-unwritable');
    assert.deepEqual(watched.erased(), []);
    await chmod(join(bench.root, macToFolder(backup.mac)), 0o700);
  });

  it('lies in the folder of the board that is written to', async (t) => {
    const { bench, backup } = await sceneOf(await Bench.open(t));
    const other = bench.board({ seed: 2, content: seededRandom(4).bytes(SIZE_BYTES) });
    const targetMac = macOf(other.mac);
    other.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflEnd, nth: 1 } });
    await assertFails(bench.restore(other, backup, { targetMac, snapshot: false }), 'port-vanished');
    const half = await bench.archive.halfRestored(targetMac);
    assert.ok(half?.record);
    assert.equal(await bench.archive.halfRestored(backup.mac), null);
    assert.equal(
      finishCommand(half.record, ['espd']),
      `espd restore --mac ${backup.mac} --to ${targetMac} --at ${backup.id}`,
    );
  });
});

for (const family of FAMILIES) {
  describe(`a half restored ${family}`, () => {
    it('gets no backup, says so, and is finished by the same command', async (t) => {
      const scene = await sceneOf(await Bench.open(t), family);
      const { bench, board, backup, image, before } = scene;
      await leaveHalf(scene);
      const half = await bench.archive.halfRestored(backup.mac);
      assert.deepEqual([half?.record?.why, half?.record?.from.id], ['latest of 1', backup.id]);
      const guard = (allow: boolean) =>
        bench.session(board, (session) => guardHalfRestored(session, bench.archive, allow));
      const error = await failureOf(guard(false));
      assert.equal(error.code, 'half-restored');
      assert.match(error.hint, new RegExp(`Finish with: espd restore --mac ${backup.mac} --at ${backup.id}`));
      await guard(true);
      assert.notEqual(await bench.archive.halfRestored(backup.mac), null, 'allowing a backup finishes nothing');
      const { value } = await bench.restore(board, backup);
      assert.deepEqual([value.finished, value.snapshot, value.verified], [true, null, true]);
      assert.ok(value.sectorsWritten < CHANGED.length, 'what was written already is not written again');
      assert.ok(board.flash.snapshot().equals(image));
      assert.equal(await bench.archive.halfRestored(backup.mac), null);
      await bench.assertImages(board.mac, [image, before]);
    });

    it('is whole as soon as its flash is, whoever wrote it', async (t) => {
      for (const content of ['image', 'before'] as const) {
        const scene = await sceneOf(await Bench.open(t), family);
        const { bench, board, backup } = scene;
        await leaveHalf(scene);
        board.flash.load(0, scene[content]);
        await bench.session(board, (session) => guardHalfRestored(session, bench.archive, false));
        assert.equal(await bench.archive.halfRestored(backup.mac), null);
        assert.equal((await bench.archive.restores(backup.mac)).length, content === 'image' ? 1 : 0);
      }
    });
  });
}

/** What one bench has noted of a board, to another, and the backup itself. */
async function tell(from: Archive, to: Archive, { mac, id, path, manifest }: Backup): Promise<Backup> {
  for (const file of REPLICATED_MARKS) {
    const { lines } = await from.elsewhere.ownLines(mac, file, 0);
    await to.elsewhere.receive(mac, file, from.root.includes('there') ? 'there' : 'here', lines);
  }
  const image = await readFile(join(path, manifest.image.file));
  const text = await readFile(join(path, 'manifest.json'));
  const adoption = { mac, id, manifest: text, imageFile: manifest.image.file, imageBytes: image.length };
  return to.elsewhere.adopt(adoption, (write) => write(0, image));
}

describe('a board that was left half restored at another bench', () => {
  it('gets no backup here, is finished here, and is whole there, too', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup, image } = scene;
    await leaveHalf(scene);
    const there = openArchive(`${bench.root}-there`, {
      ...{ log: bench.log, clock: bench.clock, compression: 'none', createdBy: 'espd 0.0.0-test' },
    });
    t.after(() => rm(there.root, { recursive: true, force: true }));
    const fetched = await tell(bench.archive, there, backup);
    const error = await failureOf(bench.session(board, (session) => guardHalfRestored(session, there, false)));
    assert.equal(error.code, 'half-restored');
    assert.match(error.message, /, at here$/);
    assert.match(error.hint, new RegExp(`Finish with: espd restore --mac ${backup.mac} --at ${backup.id}\\b`));
    assert.deepEqual(await there.backupIds(backup.mac), [backup.id]);

    const restore = (dryRun: boolean) =>
      bench.session(board, (session) =>
        restoreBoard(session, {
          ...{ archive: there, backup: fetched, targetMac: backup.mac, dryRun },
          confirm: () => Promise.resolve(true),
        }),
      );
    await restore(true);
    assert.notEqual(await there.halfRestored(backup.mac), null);
    const { value } = await restore(false);
    assert.deepEqual([value.finished, value.snapshot, value.verified], [true, null, true]);
    assert.ok(board.flash.snapshot().equals(image));
    assert.equal(await there.halfRestored(backup.mac), null);

    assert.notEqual(await bench.archive.halfRestored(backup.mac), null, 'nobody has told this bench yet');
    await tell(there, bench.archive, backup);
    assert.equal(await bench.archive.halfRestored(backup.mac), null);
    await bench.session(board, (session) => guardHalfRestored(session, bench.archive, false));
    assert.equal((await bench.archive.restores(backup.mac)).length, 1);
  });

  it('is whole as soon as its flash is, also where only the store has that backup', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup } = scene;
    await leaveHalf(scene);
    const there = openArchive(`${bench.root}-there`, {
      ...{ log: bench.log, clock: bench.clock, compression: 'none', createdBy: 'espd 0.0.0-test' },
    });
    t.after(() => rm(there.root, { recursive: true, force: true }));
    const { lines } = await bench.archive.elsewhere.ownLines(backup.mac, 'halves.jsonl', 0);
    // A bench that was told in short does not know the digests of the parts.
    const short = lines.map((line) => ({ ...line, done: null }));
    await there.elsewhere.receive(backup.mac, 'halves.jsonl', 'here', short);
    board.flash.load(0, scene.image);
    const guard = () => bench.session(board, (session) => guardHalfRestored(session, there, false));
    assert.equal((await failureOf(guard())).code, 'half-restored');
    const folder = `${macToFolder(backup.mac)}/${backup.id}/`;
    const manifestSha256 = createHash('sha256')
      .update(await readFile(join(backup.path, 'manifest.json')))
      .digest('hex');
    await there.elsewhere.note({
      ...{ mac: backup.mac, id: backup.id, store: '0'.repeat(16), folder, station: 'here', manifestSha256 },
      ...{ manifest: backup.manifest, at: '2026-11-26T10:00:00.000Z' },
    });
    await guard();
    assert.equal(await there.halfRestored(backup.mac), null);
  });
});

describe('a half restored board', () => {
  it('is not finished by a part of what was begun', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, backup } = scene;
    await leaveHalf(scene);
    const commands = writingCommands(board).length;
    await assertFails(bench.restore(board, backup, { part: { partitions: ['nvs'] } }), 'half-restored');
    assert.equal(writingCommands(board).length, commands);
  });

  it('may be given another backup instead', async (t) => {
    const scene = await sceneOf(await Bench.open(t));
    const { bench, board, before } = scene;
    await leaveHalf(scene);
    const [, snapshot] = (await bench.archive.history(scene.backup.mac)).backups;
    const { value } = await bench.restore(board, snapshot!);
    assert.equal(value.finished, true);
    assert.ok(board.flash.snapshot().equals(before));
    assert.equal(await bench.archive.halfRestored(scene.backup.mac), null);
  });

  it('is one too where the record of it is broken, until its flash is known', async (t) => {
    for (const text of ['', '{', '{"formatVersion":2}', 'x'.repeat(2_000_000)]) {
      const scene = await sceneOf(await Bench.open(t));
      const { bench, board, backup, image } = scene;
      await writeFile(join(bench.root, macToFolder(backup.mac), RESTORE_RECORD), text);
      const guard = () => bench.session(board, (session) => guardHalfRestored(session, bench.archive, false));
      const error = await failureOf(guard());
      assert.equal(error.code, 'half-restored');
      board.flash.load(0, image);
      await guard();
      assert.equal(await bench.archive.halfRestored(backup.mac), null);
    }
  });

  it('was none where nothing had been erased yet', async (t) => {
    const { bench, board, backup, before } = await sceneOf(await Bench.open(t));
    const abort = new AbortController();
    const begin = bench.archive.beginRestore.bind(bench.archive);
    bench.archive.beginRestore = async (content) => {
      await begin(content);
      abort.abort();
    };
    await assertFails(bench.restore(board, backup, { signal: abort.signal }), 'interrupted');
    assert.ok(board.flash.snapshot().equals(before));
    assert.equal(await bench.archive.halfRestored(backup.mac), null);
    assert.deepEqual(bench.log.of('error'), []);
  });
});

describe('a worn sector', () => {
  it('is named by address and partition', async (t) => {
    const bench = await Bench.open(t);
    const board = bench.board({ wornSectors: [10, 20] });
    const { backup } = (await bench.backup(board)).value;
    board.flash.load(0, withSectors(board.flash.snapshot(), [10, 20, 21]));
    // Cells that are to be cleared, and cannot be.
    const image = withSectors(board.flash.snapshot(), [10, 20, 21], 5);
    const other = bench.board({ seed: 9, content: image });
    const wanted = (await bench.backup(other)).value.backup;
    const error = await assertFails(
      bench.restore(board, wanted, { targetMac: backup.mac, overrides: { layout: true } }),
      'write-mismatch',
    );
    assert.ok(error instanceof WriteMismatchError);
    assert.deepEqual(error.failedSectors, [
      { offset: 10 * 4096, part: 'nvs' },
      { offset: 20 * 4096, part: 'app0' },
    ]);
    assert.match(error.message, /2 sectors do not hold what was written: 0x00a000 in nvs, 0x014000 in app0/);
    assert.notEqual(await bench.archive.halfRestored(backup.mac), null);
  });
});

describe('pieces', () => {
  it('keep whole blocks whole and cover the regions', () => {
    const regions = [
      { offset: 0xf000, sizeBytes: 0x52000 },
      { offset: 0x90000, sizeBytes: 0x1000 },
    ];
    assert.deepEqual(piecesOf(regions), [
      { offset: 0xf000, sizeBytes: 0x31000 },
      { offset: 0x40000, sizeBytes: 0x21000 },
      { offset: 0x90000, sizeBytes: 0x1000 },
    ]);
  });
});
