/** Records of restores while the archive is on a read-only file system. */

import assert from 'node:assert/strict';
import nodeFs, { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { openArchive } from '../../src/archive/archive.ts';
import { RESTORE_RECORD, type RestoreRecordContent } from '../../src/archive/restore-record.ts';
import { systemClock } from '../../src/clock.ts';
import { hasCode, systemCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { parseMac } from '../../src/mac.ts';
import { readOnlyBelow } from '../support/read-only.ts';
import { archiveAt, backUp, image } from './support.ts';

const MAC = parseMac('50:02:91:c3:37:a5')!;
const FOLDER = '50-02-91-c3-37-a5';
const content: RestoreRecordContent = {
  mac: MAC,
  from: { mac: MAC, id: '2026-11-23T10-00-00Z' },
  startedAt: '2026-11-24T10:00:00.000Z',
  why: 'the only one',
  regions: [{ offset: 0x9000, sizeBytes: 4096 }],
  done: [{ offset: 0, sizeBytes: 4194304, md5: '0'.repeat(32) }],
  parts: null,
  snapshot: null,
  snapshotIsNew: true,
  options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
};

async function sceneOf(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'espd-read-only-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const [root, statePath] = [join(folder, 'archive'), join(folder, 'state', 'espd')];
  const open = (options: { root?: string; statePath?: string | null; isReadOnly?: boolean } = {}) => {
    const { isReadOnly = true } = options;
    const state = options.statePath === undefined ? statePath : options.statePath;
    return openArchive(options.root ?? root, {
      ...{ log: silentLogger, clock: systemClock, compression: 'none', createdBy: 'espd test' },
      ...(isReadOnly ? { fs: readOnlyBelow(root) } : {}),
      ...(state === null ? {} : { statePath: state }),
    });
  };
  await backUp(archiveAt(root), image(4096));
  return { folder, root, statePath, open, stateFile: join(statePath, 'restores', FOLDER, RESTORE_RECORD) };
}

describe('a read-only archive', () => {
  it('says so, and where records go meanwhile', async (t) => {
    const { root, statePath, open } = await sceneOf(t);
    assert.deepEqual(await open().readOnly(), { recordFolder: statePath });
    assert.deepEqual(await open({ statePath: null }).readOnly(), { recordFolder: null });
    // Inside the archive it would be as read-only.
    assert.deepEqual(await open({ statePath: root }).readOnly(), { recordFolder: null });
    assert.equal(await open({ isReadOnly: false }).readOnly(), null);
    assert.equal(await open({ root: join(root, 'missing'), isReadOnly: false }).readOnly(), null);
  });

  it('keeps the record in the state folder, where every archive of this user finds it', async (t) => {
    const { folder, root, open, stateFile } = await sceneOf(t);
    await nodeFs.mkdir(join(folder, 'another'));
    await open().beginRestore(content);
    assert.equal((await nodeFs.stat(stateFile)).mode & 0o777, 0o600);
    for (const archive of [open(), open({ root: join(folder, 'another'), isReadOnly: false })]) {
      const half = await archive.halfRestored(MAC);
      assert.deepEqual([half?.record?.startedAt, half?.record?.archive], [content.startedAt, root]);
      assert.deepEqual((await archive.boards()).macs, [MAC]);
      assert.deepEqual((await archive.history(MAC)).halfRestored, half);
    }
    assert.equal(await open({ statePath: null }).halfRestored(MAC), null);
    await open().endRestore(MAC, 'done');
    assert.equal(await open().halfRestored(MAC), null);
    const restores = await open().restores(MAC);
    assert.deepEqual(
      restores.map(({ from }) => from),
      [content.from],
    );
    await assert.rejects(nodeFs.stat(stateFile), { code: 'ENOENT' });
    // Nothing of it is in the archive, and nothing foreign.
    assert.deepEqual((await open().verify({})).damaged, []);
  });

  it('a restore that wrote nothing leaves no note', async (t) => {
    const { open } = await sceneOf(t);
    await open().beginRestore(content);
    await open().endRestore(MAC, 'nothing-written');
    assert.deepEqual([await open().halfRestored(MAC), await open().restores(MAC)], [null, []]);
  });

  it('with a record of its own counts it as finished once it is, until a later restore begins', async (t) => {
    const { open } = await sceneOf(t);
    await open({ isReadOnly: false }).beginRestore(content);
    assert.equal((await open().halfRestored(MAC))?.record?.archive, null);
    // Not a sector was written: then the record on the medium still tells the truth.
    await assert.rejects(open().endRestore(MAC, 'nothing-written'), (error) => hasCode(error, 'archive-unwritable'));
    await open().endRestore(MAC, 'done');
    assert.equal(await open().halfRestored(MAC), null);
    const later = { ...content, startedAt: new Date(Date.now() + 60_000).toISOString() };
    await open({ isReadOnly: false }).beginRestore(later);
    assert.equal((await open().halfRestored(MAC))?.record?.startedAt, later.startedAt);
  });

  it('the newer of two records counts', async (t) => {
    const { open } = await sceneOf(t);
    await open({ isReadOnly: false }).beginRestore(content);
    await open().beginRestore({ ...content, startedAt: '2026-11-25T10:00:00.000Z', why: 'newer' });
    assert.equal((await open().halfRestored(MAC))?.record?.why, 'newer');
    await open({ isReadOnly: false }).beginRestore({
      ...content,
      startedAt: '2026-11-26T10:00:00.000Z',
      why: 'newest',
    });
    assert.equal((await open().halfRestored(MAC))?.record?.why, 'newest');
    // Writable again, both go with the restore that ends.
    await open({ isReadOnly: false }).endRestore(MAC, 'done');
    assert.equal(await open().halfRestored(MAC), null);
  });

  it('is refused where the record has no other place, and where the fault is another', async (t) => {
    const { open, root, statePath } = await sceneOf(t);
    const isReadOnlyFault = (error: unknown) =>
      hasCode(error, 'archive-unwritable') && systemCode(error.cause) === 'EROFS';
    await assert.rejects(open({ statePath: null }).beginRestore(content), isReadOnlyFault);
    const deny = () => Promise.reject(Object.assign(new Error('EACCES'), { code: 'EACCES' }));
    const archive = openArchive(root, {
      ...{ log: silentLogger, clock: systemClock, compression: 'none', createdBy: 'espd test', statePath },
      fs: { ...nodeFs, open: deny },
    });
    await assert.rejects(archive.beginRestore(content), (error) => hasCode(error, 'archive-unwritable'));
    await assert.rejects(nodeFs.stat(statePath), { code: 'ENOENT' });
  });

  it('a state folder that is none keeps nobody from reading the archive', async (t) => {
    const { open, folder } = await sceneOf(t);
    const file = join(folder, 'file');
    await writeFile(file, '');
    const archive = open({ statePath: file, isReadOnly: false });
    assert.deepEqual(await archive.boards().then(({ macs }) => macs), [MAC]);
    assert.deepEqual([await archive.halfRestored(MAC), await archive.restores(MAC)], [null, []]);
    await archive.beginRestore(content);
    await archive.endRestore(MAC, 'done');
    assert.equal((await archive.restores(MAC)).length, 1);
  });
});
