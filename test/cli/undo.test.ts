/** undo on simulated boards: what it puts back, what it says, and what it refuses. */

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { OPCODE } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { parseMac } from '../../src/mac.ts';
import { Bench } from '../support/cli.ts';
import type { BackupJson, RestoreJson } from './documents.ts';

const MAC = '24:0a:c4:12:45:56';
const mac = parseMac(MAC)!;
const FOLDER = '24-0a-c4-12-45-56';
const SECTOR = 4096;
const theBoard = { family: 'esp32c3', mac: MAC } as const;

interface UndoJson extends RestoreJson {
  readonly undo: {
    readonly before: string;
    readonly changed?: string;
    readonly restore?: object;
    readonly since?: string[];
  };
}

function change(board: SimulatedBoard, offset: number, text = 'changed '): void {
  board.flash.erase(offset, SECTOR);
  board.flash.program(offset, Buffer.alloc(SECTOR, text));
}

async function sceneOf(bench: Bench) {
  const { board, address, served } = await bench.addBoard(theBoard);
  const backUp = async () =>
    (await bench.runJson<BackupJson>(['backup', '--port', address])).json.backups[0]?.id ?? assert.fail('no backup');
  const undo = (...args: string[]) => bench.runJson<UndoJson>(['undo', MAC, '--yes', '--port', address, ...args]);
  const restore = (...args: string[]) =>
    bench.runJson<RestoreJson>(['restore', '--yes', '--mac', MAC, '--port', address, ...args]);
  return { board, address, served, backUp, undo, restore };
}

describe('undo', { concurrency: 4 }, () => {
  test('without a restore: back to before the last change; once more, and it is where it was', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, backUp, undo } = await sceneOf(bench);
    const factory = board.flash.snapshot();
    const first = await backUp();
    const { hint } = await bench.fails(['undo', MAC, '--yes', '--port', address], 'archive-unknown-backup');
    assert.match(hint, /If the board was changed after it.*restore/);
    change(board, 0x20000);
    const own = board.flash.snapshot();
    const second = await backUp();

    const dry = await bench.run(['undo', MAC, '--dry-run', '--port', address]);
    assert.equal(dry.status, 0, dry.stderr);
    const words = `what was on it before it changed to ${second}`;
    assert.ok(dry.stdout.replace(/\n +/g, ' ').includes(`${first}, just made, ${words}; verified`), dry.stdout);
    assert.ok(board.flash.snapshot().equals(own));

    const { status, json } = await undo();
    assert.equal(status, 0);
    assert.deepEqual([json.id, json.snapshot, json.verified], [first, second, true]);
    assert.deepEqual(json.undo, { before: 'change', changed: second });
    assert.ok(board.flash.snapshot().equals(factory));
    const again = await undo();
    assert.deepEqual([again.json.id, again.json.undo.before], [second, 'restore']);
    assert.ok(board.flash.snapshot().equals(own));
    assert.equal((await undo()).json.id, first);
    assert.ok(board.flash.snapshot().equals(factory));
    assert.deepEqual(await bench.archive.backupIds(mac), [first, second]);
  });

  test('--dry-run without the board names what would be put back, and ends as one that has not found it', async (t) => {
    const bench = await Bench.open(t);
    const { board, served, backUp } = await sceneOf(bench);
    const first = await backUp();
    change(board, 0x20000);
    const second = await backUp();
    await served.close();
    const { status, stdout, stderr } = await bench.run(['undo', MAC, '--dry-run']);
    assert.equal(status, 3);
    const said = stdout.replace(/\n +/g, ' ');
    assert.ok(
      said.includes(`${MAC}  would be put back to ${first}, what was on it before it changed to ${second}`),
      said,
    );
    assert.match(stderr, /board-not-found/);
    const { json } = await bench.runJson<UndoJson & { error: { code: string } }>(['undo', MAC, '--dry-run']);
    assert.deepEqual([json.id, json.undo.changed, json.plan, json.sectorsWritten], [first, second, null, 0]);
    assert.equal(json.error.code, 'board-not-found');
    // Whoever wants it done is told nothing of what would be.
    const undone = await bench.run(['undo', MAC, '--yes']);
    assert.deepEqual([undone.status, undone.stdout], [3, '']);
  });

  test('after a restore: what was there before, also where the app has written since and was backed up', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, backUp, undo, restore } = await sceneOf(bench);
    await backUp();
    change(board, 0x20000);
    change(board, 0x40000);
    const own = board.flash.snapshot();
    const { json: restored } = await restore();
    change(board, 0x9000, 'settings');
    const later = await backUp();
    const shown = await bench.run(['undo', MAC, '--dry-run', '--port', address]);
    assert.match(shown.stderr, /Since that restore 1 backup of it was made\. To go back to the newest of them/);
    assert.match(shown.stderr, new RegExp(`restore ${MAC}@${later}`));
    const { json } = await undo();
    assert.equal(json.id, restored.snapshot);
    const { at, ...of } = json.undo.restore as { at: string };
    assert.deepEqual([of, json.undo.since], [{ from: { mac: MAC, id: restored.id }, partial: false }, [later]]);
    assert.match(json.plan.backup.why, new RegExp(`^what was on it before the restore of ${at}$`));
    assert.ok(board.flash.snapshot().equals(own));
    // And latest means what it meant: undo is a restore.
    assert.equal((await restore()).json.id, later);
  });

  test('after a restore of a part, or one that kept a part: all of the flash, and it says so', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, backUp, undo, restore } = await sceneOf(bench);
    await backUp();
    change(board, 0x9000);
    change(board, 0x20000);
    const own = board.flash.snapshot();
    for (const args of [
      ['--partition', 'app0'],
      ['--keep', 'nvs'],
    ]) {
      assert.equal((await restore('--at', 'first', ...args)).status, 0);
      change(board, 0x9000, 'settings');
      const shown = await bench.run(['undo', MAC, '--dry-run', '--port', address]);
      assert.match(shown.stderr, /wrote only a part of the flash\. Undo puts all of it back/);
      assert.equal((await undo()).status, 0);
      assert.ok(board.flash.snapshot().equals(own), args.join(' '));
    }
  });

  test('asks like a restore, and takes its options', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, backUp } = await sceneOf(bench);
    await backUp();
    change(board, 0x20000);
    await backUp();
    const own = board.flash.snapshot();
    await bench.fails(['undo', MAC, '--port', address], 'declined');
    const unasked = await bench.runJson<{ error: { code: string } }>(['undo', MAC]);
    assert.deepEqual([unasked.status, unasked.json.error.code], [5, 'declined']);
    await bench.fails(['undo', `${MAC}@first`, '--yes'], 'usage');
    await bench.fails(['undo', '--yes'], 'usage');
    await bench.fails(['undo', MAC, '--yes', '--wait', '--port', address], 'usage', { hint: false });
    await bench.fails(['undo', MAC, '--yes', '--keep', 'nvs'], 'usage');
    await bench.fails(['undo', '24:0a:c4:00:00:01', '--yes'], 'archive-unknown-board');
    assert.ok(board.flash.snapshot().equals(own));
    const waited = await bench.run(['undo', MAC, '--yes', '--wait', '10']);
    assert.equal(waited.status, 0, waited.stderr);
    assert.ok(!board.flash.snapshot().equals(own));
  });

  test('of a board that is half restored is refused, with the command that finishes it and the one that goes back', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, served, backUp, restore } = await sceneOf(bench);
    const id = await backUp();
    change(board, 0x20000);
    change(board, 0x40000);
    const own = board.flash.snapshot();
    const removeFault = board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 2 } });
    assert.equal((await restore('--keep', 'nvs')).status, 1);
    removeFault();
    board.plug();
    served.plug();
    const { hint } = await bench.fails(['undo', MAC, '--yes', '--port', address], 'half-restored');
    const half = await bench.archive.halfRestored(mac);
    const snapshot = half?.record?.snapshot ?? assert.fail('no snapshot');
    assert.match(hint, new RegExp(`^Finish with: espd .*--at ${id} --keep nvs --port ${address} --yes\\.`));
    assert.match(hint, new RegExp(`Or go back: espd .*--at ${snapshot}$`));
    assert.equal((await restore('--at', snapshot)).status, 0);
    assert.ok(board.flash.snapshot().equals(own));
  });

  test('where what was there was not kept, removed or has rotten is one clear error, and nothing is written', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, backUp, restore } = await sceneOf(bench);
    await backUp();
    change(board, 0x20000);
    const { json } = await restore();
    const folder = join(bench.archivePath, FOLDER, json.snapshot ?? '');
    const flash = board.flash.snapshot();
    await writeFile(join(folder, 'flash.bin'), Buffer.alloc(512 * 1024, 1));
    const undo = ['undo', MAC, '--yes', '--port', address];
    const damaged = await bench.fails(undo, 'archive-damaged');
    assert.match(damaged.hint, /Nothing was written\. .*restore .*WHICH.* puts one back/);
    await rm(folder, { recursive: true });
    const gone = await bench.fails(undo, 'archive-unknown-backup');
    assert.match(gone.message, /before the restore of \S+ is not in the archive any more/);
    change(board, 0x20000);
    assert.equal((await restore('--no-snapshot')).status, 0);
    const notKept = await bench.fails(undo, 'archive-unknown-backup');
    assert.match(notKept.message, /before the restore of \S+ was not kept$/);
    assert.ok(board.flash.snapshot().equals(flash));
  });

  test('restore --keep: says what stays, and refuses what does not go together', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, backUp, restore } = await sceneOf(bench);
    await backUp();
    change(board, 0x9000);
    change(board, 0x20000);
    const own = board.flash.snapshot();
    for (const wrong of [
      ['--keep', 'nvs', '--partition', 'app0'],
      ['--keep-calibration', '--offset', '0', '--size', '4K'],
    ]) {
      await bench.fails(['restore', '--yes', MAC, '--port', address, ...wrong], 'usage');
    }
    const { hint } = await bench.fails(['restore', '--yes', MAC, '--port', address, '--keep', 'nothing'], 'usage');
    assert.match(hint, /nvs, otadata, app0/);
    const dry = await bench.run([
      'restore',
      MAC,
      '--port',
      address,
      '--keep',
      'nvs',
      '--keep-calibration',
      '--dry-run',
    ]);
    assert.match(
      dry.stdout,
      /\n {2}stays {6}nvs, 0x9000 to 0xe000 \(20 KB\)\n {13}The image has no partition for radio/,
    );
    assert.ok(board.flash.snapshot().equals(own));
    const done = await bench.run(['restore', `${MAC}@first`, '--yes', '--port', address, '--keep', 'nvs']);
    assert.equal(done.status, 0, done.stderr);
    assert.match(done.stdout, /1 sector written, flash verified by the chip, nvs\s+untouched/);
    assert.ok(board.flash.read(0x9000, SECTOR).equals(own.subarray(0x9000, 0xa000)));
    const { json } = await restore('--keep', 'nvs');
    assert.deepEqual([json.sectorsWritten, json.plan.kept.parts.map(({ name }) => name)], [0, ['nvs']]);
  });
});
