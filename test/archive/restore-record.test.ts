/** restoring.json and restored.jsonl: on the disk when it counts, and nothing to be afraid of when they come from elsewhere. */

import assert from 'node:assert/strict';
import * as nodeFs from 'node:fs/promises';
import { mkdtemp, mkdir, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { openArchive } from '../../src/archive/archive.ts';
import type { FileSystem } from '../../src/archive/disk.ts';
import { RESTORE_RECORD, type RestoreRecordContent, parseRestoreRecord } from '../../src/archive/restore-record.ts';
import { RESTORES, parseRestores } from '../../src/archive/restores.ts';
import { systemClock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { parseMac } from '../../src/mac.ts';
import { halfRestoredText } from '../../src/transfer/half-restored.ts';

const MAC = parseMac('50:02:91:c3:37:a5')!;
const OTHER = parseMac('24:0a:c4:12:45:56')!;
const SNAPSHOT = '2026-11-24T09-59-00Z';
const content: RestoreRecordContent = {
  mac: MAC,
  from: { mac: OTHER, id: '2026-11-23T10-00-00Z' },
  startedAt: '2026-11-24T10:00:00.000Z',
  why: 'latest of 5',
  regions: [{ offset: 0x9000, sizeBytes: 4096 }],
  done: [{ offset: 0, sizeBytes: 4194304, md5: '0'.repeat(32) }],
  parts: null,
  snapshot: SNAPSHOT,
  snapshotIsNew: true,
  options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
};

async function archiveOf(t: TestContext, fs?: Partial<FileSystem>) {
  const folder = await mkdtemp(join(tmpdir(), 'espd-record-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const root = join(folder, 'archive');
  await mkdir(join(root, '24-0a-c4-12-45-56', content.from.id), { recursive: true });
  await mkdir(join(root, '50-02-91-c3-37-a5', SNAPSHOT), { recursive: true });
  const archive = openArchive(root, {
    log: silentLogger,
    clock: systemClock,
    compression: 'none',
    createdBy: 'espd test',
    ...(fs === undefined ? {} : { fs: { ...nodeFs, ...fs } }),
  });
  return { archive, board: join(root, '50-02-91-c3-37-a5') };
}

/** What lies in the board's folder beside the snapshot. */
async function others(board: string): Promise<string[]> {
  return (await readdir(board)).filter((name) => name !== SNAPSHOT);
}

describe('the record of a restore', () => {
  it('is written, read, replaced and removed; it is not foreign', async (t) => {
    const { archive, board } = await archiveOf(t);
    assert.equal(await archive.halfRestored(MAC), null);
    await archive.endRestore(MAC, 'done');
    await archive.beginRestore(content);
    const half = await archive.halfRestored(MAC);
    assert.deepEqual(half, {
      record: { formatVersion: 1, createdBy: 'espd test', ...content, kept: [], archive: null },
      problem: null,
    });
    const history = await archive.history(MAC);
    const ofBoard = history.problems.filter(({ id }) => id === null);
    assert.deepEqual([history.halfRestored, ofBoard, history.foreign], [half, [], []]);
    await archive.beginRestore({ ...content, why: 'again' });
    assert.equal((await archive.halfRestored(MAC))?.record?.why, 'again');
    assert.deepEqual(await others(board), ['halves.jsonl', RESTORE_RECORD]);
    assert.equal((await nodeFs.stat(join(board, RESTORE_RECORD))).mode & 0o777, 0o600);
    await archive.endRestore(MAC, 'done');
    assert.equal(await archive.halfRestored(MAC), null);
    const [restore] = await archive.restores(MAC);
    assert.deepEqual(
      { ...restore, at: '' },
      { at: '', from: content.from, snapshot: content.snapshot, snapshotIsNew: true, partial: false },
    );
  });

  it('does not begin with a backup or a snapshot that is not there', async (t) => {
    const { archive, board } = await archiveOf(t);
    await archive.beginRestore(content);
    for (const missing of [
      { ...content, from: { mac: OTHER, id: '2026-11-23T10-00-01Z' } },
      { ...content, snapshot: '2026-11-24T09-59-01Z' },
    ]) {
      await assert.rejects(archive.beginRestore(missing), (error) => hasCode(error, 'archive-unknown-backup'));
      // What was noted before is still noted.
      assert.equal((await archive.halfRestored(MAC))?.record?.why, content.why);
    }
    // A board that is half restored is made whole, whatever has become of the backups that its record names.
    await rm(join(board, SNAPSHOT), { recursive: true });
    await archive.beginRestore({ ...content, why: 'again' });
    await archive.endRestore(MAC, 'nothing-written');
    await assert.rejects(archive.beginRestore(content), (error) => hasCode(error, 'archive-unknown-backup'));
    assert.equal(await archive.halfRestored(MAC), null);
  });

  it('tells what is kept; an older one without that key keeps nothing', async (t) => {
    const { archive } = await archiveOf(t);
    const kept = [{ name: 'nvs', offset: 0x9000, sizeBytes: 0x5000 }];
    const parts = [{ name: null, offset: 0, sizeBytes: 0x9000 }];
    await archive.beginRestore({ ...content, parts, kept });
    const half = await archive.halfRestored(MAC);
    assert.deepEqual([half?.record?.kept, half?.record?.parts], [kept, parts]);
    await archive.endRestore(MAC, 'done');
    assert.equal((await archive.restores(MAC))[0]?.partial, true);
    const without = parseRestoreRecord(JSON.stringify({ formatVersion: 1, createdBy: 'espd', ...content }), MAC);
    assert.deepEqual(without.record?.kept, []);
    for (const wrong of [
      null,
      {},
      [{}],
      [{ offset: 0, sizeBytes: 1 }],
      [{ name: 1, offset: 0, sizeBytes: 1 }],
      Array(101).fill(kept[0]),
    ]) {
      const text = JSON.stringify({ formatVersion: 1, createdBy: 'espd', ...content, kept: wrong });
      assert.equal(parseRestoreRecord(text, MAC).record, null);
    }
  });

  it('leaves no note of a restore that wrote nothing', async (t) => {
    const { archive } = await archiveOf(t);
    await archive.beginRestore(content);
    await archive.endRestore(MAC, 'nothing-written');
    assert.deepEqual(await archive.restores(MAC), []);
    assert.equal(await archive.halfRestored(MAC), null);
  });

  it('is the old or the new one at every failing call, and begins to count only when it is on the disk', async (t) => {
    for (const call of ['open', 'rename', 'mkdir'] as const) {
      const fail = () => Promise.reject(Object.assign(new Error('ENOSPC: no space'), { code: 'ENOSPC' }));
      const { archive, board } = await archiveOf(t, { [call]: fail });
      await assert.rejects(archive.beginRestore(content), (error) => hasCode(error, 'disk-full'));
      assert.deepEqual(await others(board), [], call);
    }
  });

  it('of a link, a folder, a file too large or of another board is one that cannot be understood', async (t) => {
    const { archive, board } = await archiveOf(t);
    await mkdir(board, { recursive: true });
    const file = join(board, RESTORE_RECORD);
    const problem = async () => {
      const half = await archive.halfRestored(MAC);
      assert.ok(half !== null && half.record === null);
      await rm(file, { recursive: true });
      return half.problem;
    };
    await symlink('/etc/passwd', file);
    assert.match(await problem(), /link/);
    await mkdir(file);
    assert.match(await problem(), /no regular file/);
    await writeFile(file, ' '.repeat(1024 * 1024 + 1));
    assert.match(await problem(), /larger/);
    await writeFile(file, JSON.stringify({ formatVersion: 1, createdBy: 'x', ...content, mac: OTHER }));
    assert.match(await problem(), /another board/);
    await archive.beginRestore(content);
    await writeFile(file, (await readFile(file, 'utf8')).slice(0, -20));
    assert.match(await problem(), /no JSON/);
  });

  for (const code of ['EACCES', 'EMFILE', 'EIO']) {
    const failing = (calls: readonly string[], ending: string) => {
      const fail = (name: string, path: unknown) => {
        if (calls.includes(name) && String(path).endsWith(ending)) throw Object.assign(new Error(code), { code });
      };
      return {
        open: (async (path, ...rest) => {
          fail('open', path);
          return nodeFs.open(path, ...rest);
        }) as typeof nodeFs.open,
        lstat: (async (path: string) => {
          fail('lstat', path);
          return nodeFs.lstat(path);
        }) as typeof nodeFs.lstat,
      };
    };

    it(`${code}: a record that is there is one, and what to do is not to write to the board`, async (t) => {
      const { archive, board } = await archiveOf(t, failing(['open'], RESTORE_RECORD));
      await archive.beginRestore(content);
      const half = await archive.halfRestored(MAC);
      assert.ok(half !== null && half.record === null);
      const { message, hint } = halfRestoredText(MAC, half, ['espd']);
      assert.match(message, /is half restored, and the record of it \(restoring\.json\) (may not|cannot) be read/);
      assert.doesNotMatch(hint, /espd restore/);
      assert.notEqual(hint, '');
      // What it says would be lost: which restore was done.
      await assert.rejects(archive.endRestore(MAC, 'done'), { code: 'archive-unreadable' });
      assert.deepEqual(await others(board), ['halves.jsonl', RESTORE_RECORD]);
      await archive.endRestore(MAC, 'nothing-written');
      assert.deepEqual(await others(board), ['halves.jsonl']);
      const { lines } = await archive.elsewhere.ownLines(MAC, 'halves.jsonl', 0);
      assert.deepEqual(
        lines.map((line) => (line as { state: string }).state),
        ['begun', 'nothing-written'],
      );
    });

    it(`${code}: no record, or none that anybody knows of, is no half restored board`, async (t) => {
      const { archive, board } = await archiveOf(t, failing(['open'], RESTORE_RECORD));
      await mkdir(board, { recursive: true });
      assert.equal(await archive.halfRestored(MAC), null);
      for (const ending of [RESTORE_RECORD, '50-02-91-c3-37-a5']) {
        const blind = await archiveOf(t, failing(['open', 'lstat'], ending));
        await mkdir(blind.board, { recursive: true });
        await writeFile(join(blind.board, RESTORE_RECORD), 'whatever');
        const told = {
          code: 'archive-unreadable',
          message: /^Whether 50:02:91:c3:37:a5 is half restored cannot be told/,
        };
        await assert.rejects(blind.archive.halfRestored(MAC), told);
        const history = await blind.archive.history(MAC);
        assert.equal(history.halfRestored, null);
        assert.deepEqual(
          history.problems.flatMap(({ id, error }) => (id === null ? error.code : [])),
          ['archive-unreadable'],
        );
      }
    });
  }

  it('is not looked for, nor written or removed, behind a link in the place of the board\u2019s folder', async (t) => {
    const { archive, board } = await archiveOf(t);
    const outside = join(board, '..', '..', 'outside');
    await mkdir(outside, { recursive: true });
    await rm(board, { recursive: true });
    await symlink(outside, board);
    await writeFile(join(outside, RESTORE_RECORD), JSON.stringify({ formatVersion: 1, createdBy: 'x', ...content }));
    await assert.rejects(archive.halfRestored(MAC), { code: 'archive-damaged', message: /symbolic link/ });
    for (const work of [() => archive.endRestore(MAC, 'done'), () => archive.beginRestore(content)]) {
      await assert.rejects(work, { code: 'archive-unwritable' });
    }
    assert.deepEqual(await readdir(outside), [RESTORE_RECORD]);
  });

  it('never throws and shows nothing that steers a terminal', () => {
    const base = { formatVersion: 1, createdBy: 'x', ...content };
    const evil = parseRestoreRecord(JSON.stringify({ ...base, why: 'a\u001b[2Jb\u202e' }), MAC);
    assert.match(evil.record?.why ?? '', /^[\x20-\x7e]*$/);
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(base)), (value, key) => {
        parseRestoreRecord(JSON.stringify({ ...base, [key]: value }), MAC);
        parseRestoreRecord(JSON.stringify(value), MAC);
      }),
    );
    for (const name of ['__proto__', 'constructor']) parseRestoreRecord(`{"${name}": 1}`, MAC);
  });

  it('lines of restored.jsonl that are none are passed over', async (t) => {
    const line = JSON.stringify({ at: content.startedAt, from: content.from, snapshot: null, partial: true });
    assert.equal(parseRestores(['', '{', '[]', 'null', line, line.slice(1)]).length, 1);
    const { archive, board } = await archiveOf(t);
    assert.deepEqual(await archive.restores(MAC), []);
    await mkdir(board, { recursive: true });
    await writeFile(join(board, RESTORES), 'torn');
    await archive.beginRestore(content);
    await archive.endRestore(MAC, 'done');
    assert.equal((await archive.restores(MAC)).length, 1);
  });
});
