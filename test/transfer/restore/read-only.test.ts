/** Restores out of an archive on a read-only file system. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { openArchive } from '../../../src/archive/archive.ts';
import type { FileSystem } from '../../../src/archive/disk.ts';
import type { Archive } from '../../../src/archive/types.ts';
import { OPCODE } from '../../../src/simulator/index.ts';
import { type RestoreOptions, restoreBoard } from '../../../src/transfer/restore/restore.ts';
import { readOnlyBelow } from '../../support/read-only.ts';
import { Bench, failureOf, hastyFileSystem, watchFlash, withSectors } from '../support.ts';

async function sceneOf(t: TestContext) {
  const bench = await Bench.open(t);
  const board = bench.board();
  const image = board.flash.snapshot();
  const { backup } = (await bench.backup(board)).value;
  board.flash.load(0, withSectors(image, [3, 9, 50]));
  const statePath = join(bench.root, '..', 'state');
  const open = (fs: FileSystem, state: string | null = statePath): Archive =>
    openArchive(bench.root, {
      ...{ log: bench.log, clock: bench.clock, compression: 'none', createdBy: 'espd 0.0.0-test', fs },
      ...(state === null ? {} : { statePath: state }),
    });
  const restore = (archive: Archive, options: Partial<RestoreOptions> = {}) =>
    bench.session(board, (session) =>
      restoreBoard(session, {
        ...{ archive, backup, targetMac: backup.mac, dryRun: false, confirm: () => Promise.resolve(true) },
        ...options,
      }),
    );
  return { bench, board, image, backup, statePath, open, restore };
}

describe('a read-only archive', () => {
  it('takes no snapshot: that is said before anybody is asked, with what works', async (t) => {
    const { bench, board, image, open, restore } = await sceneOf(t);
    const archive = open(readOnlyBelow(bench.root));
    const watched = watchFlash(board);
    const error = await failureOf(restore(archive, { confirm: () => assert.fail('asked') }));
    assert.equal(error.code, 'archive-unwritable');
    assert.match(error.message, /read-only file system, and cannot take a snapshot/);
    assert.match(error.hint, /^Nothing was written\. --no-snapshot restores without one/);
    assert.deepEqual(watched.erased(), []);
    assert.equal((await restore(archive, { snapshot: false })).value.verified, true);
    assert.ok(board.flash.snapshot().equals(image));
  });

  it('is restored from where nothing is lost; the record is in the state folder until the board is whole', async (t) => {
    const { bench, board, image, backup, statePath, open, restore } = await sceneOf(t);
    const before = (await bench.backup(board)).value.backup;
    const archive = open(readOnlyBelow(bench.root));
    board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 2 } });
    const risks: string[] = [];
    const broken = restore(archive, {
      confirm: (plan) => {
        risks.push(...plan.risks);
        assert.deepEqual([plan.recordFolder, plan.snapshot], [statePath, { kind: 'exists', id: before.id }]);
        return Promise.resolve(true);
      },
    });
    assert.equal((await failureOf(broken)).code, 'port-vanished');
    assert.ok(
      risks.some((risk) => risk.includes('read-only') && risk.includes(statePath)),
      risks.join(),
    );
    board.clearFaults();
    board.plug();
    const half = await archive.halfRestored(backup.mac);
    assert.deepEqual([half?.record?.archive, half?.record?.from.id], [bench.root, backup.id]);
    const { value } = await restore(archive);
    assert.deepEqual([value.finished, value.verified], [true, true]);
    assert.equal(await archive.halfRestored(backup.mac), null);
    assert.ok(board.flash.snapshot().equals(image));
  });

  it('without a state folder is refused before anybody is asked', async (t) => {
    const { bench, open, restore } = await sceneOf(t);
    const archive = open(readOnlyBelow(bench.root), null);
    const error = await failureOf(restore(archive, { snapshot: false, confirm: () => assert.fail('asked') }));
    assert.deepEqual([error.code, /archive\.statePath/.test(error.hint)], ['archive-unwritable', true]);
  });

  it('that only this user may not write is no reason to go on without its record, nor a hint that fails too', async (t) => {
    const { board, open, restore } = await sceneOf(t);
    const deny = () => Promise.reject(Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' }));
    const archive = open({ ...hastyFileSystem, mkdir: deny, rename: deny });
    const watched = watchFlash(board);
    for (const snapshot of [true, false]) {
      const error = await failureOf(restore(archive, { snapshot }));
      assert.equal(error.code, 'archive-unwritable');
      assert.doesNotMatch(error.hint, /--no-snapshot/);
      assert.match(error.hint, /Run espd as the user that owns the archive/);
    }
    assert.deepEqual(watched.erased(), []);
  });
});
