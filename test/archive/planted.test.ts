/** Somebody else may write into the archive's folders: what they plant there is never written through. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { link, lstat, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { FileSystem } from '../../src/archive/disk.ts';
import {
  FOLDER,
  ID0,
  MAC,
  T0,
  archiveAt,
  backUp,
  content,
  image,
  newArchive,
  snapshot,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

const BYTES = image(100_000);
const SEEN = { id: ID0, at: T0, port: 'x' };

describe('a file planted in a draft', () => {
  const plants: Record<string, (outside: string, path: string) => Promise<unknown>> = {
    'a symbolic link': (outside, path) => symlink(outside, path),
    'a hard link': (outside, path) => link(outside, path),
    'a link to nothing': (outside, path) => symlink(`${outside}.new`, path),
    'a file': (_, path) => writeFile(path, 'planted'),
    'a FIFO': (_, path) => Promise.resolve(execFileSync('mkfifo', [path])),
  };
  for (const [kind, plant] of Object.entries(plants)) {
    for (const compression of ['none', 'gzip'] as const) {
      test(`${kind} under each name that a commit writes: its target stays as it is (${compression})`, async (t) => {
        const archive = await newArchive(t, { compression });
        const outside = join(archive.root, '..', 'outside');
        await mkdir(outside);
        const draft = await archive.begin(MAC, BYTES.length);
        await draft.write(0, BYTES);
        for (const name of ['manifest.json', 'SHA256SUMS', 'flash.bin.gz']) {
          await writeFile(join(outside, name), 'precious');
          await plant(join(outside, name), join(draft.imagePath, '..', name));
        }
        const before = await snapshot(outside);
        const backup = await draft.commit(content(BYTES));
        assert.deepEqual(await snapshot(outside), before);
        assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
        for (const name of ['manifest.json', 'SHA256SUMS', backup.manifest.image.file]) {
          const stats = await lstat(join(backup.path, name));
          assert.deepEqual([stats.isFile(), stats.nlink], [true, 1], name);
        }
      });
    }
  }

  test('one that comes back at once ends the backup, and its target stays as it is', async (t) => {
    const root = join(await temporaryFolder(t), 'archive');
    const outside = join(root, '..', 'outside');
    await writeFile(outside, 'precious');
    const real = watchedFileSystem(() => undefined);
    const rm = (async (path: string, options) => {
      await real.rm(path, options);
      if (path.endsWith('manifest.json')) await symlink(outside, path);
    }) as FileSystem['rm'];
    const draft = await archiveAt(root, { fs: { ...real, rm } }).begin(MAC, BYTES.length);
    await draft.write(0, BYTES);
    await assert.rejects(draft.commit(content(BYTES)), { code: 'archive-unwritable', hint: /writes into the archive/ });
    assert.equal(await readFile(outside, 'utf8'), 'precious');
    assert.deepEqual(await readdir(root), []);
  });
});

test('whatever is made in the archive is new, and nothing is opened through a link', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const real = watchedFileSystem(() => undefined);
  const opened: { path: string; flags: number }[] = [];
  const open = ((path: string, flags: number, mode?: number) => {
    opened.push({ path, flags });
    return real.open(path, flags, mode);
  }) as FileSystem['open'];
  for (const compression of ['none', 'gzip'] as const) {
    const archive = archiveAt(root, { compression, fs: { ...real, open } });
    await archive.checkWritable();
    const broken = await archive.begin(MAC, BYTES.length);
    await broken.write(0, BYTES);
    await broken.setAside();
    const backup = await backUp(archive, image(100_000, compression.length));
    await archive.recordSighting(MAC, SEEN);
    await (await archive.openImage(backup)).close();
    await archive.cache.write('x', 'y');
    await archive.cache.read('x');
    const from = { mac: MAC, id: ID0 };
    const done = [{ offset: 0, sizeBytes: 1, md5: '0'.repeat(32) }];
    const record = { mac: MAC, from, startedAt: T0, why: '', regions: [], done, parts: null, snapshot: null };
    await archive.beginRestore({
      ...record,
      snapshotIsNew: true,
      options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
    });
    await archive.endRestore(MAC, 'done');
    await archive.verify({});
  }
  assert.ok(opened.length > 30);
  for (const { path, flags } of opened) {
    assert.equal(typeof flags, 'number', `${path}: by a word that follows links`);
    const isFolder = flags === constants.O_RDONLY;
    if (isFolder) continue; // to fsync it
    assert.ok((flags & constants.O_NOFOLLOW) !== 0, path);
    if ((flags & constants.O_CREAT) === 0) assert.equal(flags & (constants.O_WRONLY | constants.O_RDWR), 0, path);
    else assert.ok((flags & (constants.O_EXCL | constants.O_APPEND)) !== 0, path);
    assert.equal(flags & constants.O_TRUNC, 0, path);
  }
});

test('a FIFO or a folder in the place of a file that is appended to is refused, and hangs nobody', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, BYTES);
  const path = join(archive.root, FOLDER, 'seen.jsonl');
  execFileSync('mkfifo', [path]);
  await assert.rejects(archive.recordSighting(MAC, SEEN), { code: 'archive-unwritable' });
});

test('folders that are links: of a board, of a backup, and the cache', async (t) => {
  const archive = await newArchive(t);
  const outside = join(archive.root, '..', 'outside');
  const other = archiveAt(outside);
  const backup = await backUp(other, BYTES);
  await other.cache.write('x', 'precious');
  await mkdir(archive.root);
  const board = join(archive.root, FOLDER);
  await symlink(join(outside, FOLDER), board);
  await symlink(join(outside, 'cache'), join(archive.root, 'cache'));
  const before = await snapshot(outside);
  await assert.rejects(archive.begin(MAC, 10), { code: 'archive-unwritable' });
  await assert.rejects(archive.recordSighting(MAC, SEEN));
  await assert.rejects(archive.openImage(backup), { code: 'archive-damaged', message: /symbolic link/ });
  await archive.cache.write('x', 'gone');
  assert.equal(await archive.cache.read('x'), undefined);
  const linked = await newArchive(t);
  await mkdir(join(linked.root, FOLDER), { recursive: true });
  await symlink(backup.path, join(linked.root, FOLDER, ID0));
  await assert.rejects(linked.openImage(backup), { code: 'archive-damaged', message: /symbolic link/ });
  assert.deepEqual(await snapshot(outside), before);
});

for (const compression of ['none', 'gzip'] as const) {
  test(`no file of the archive is removed while it is open, as NFS, SMB and FUSE want it (${compression})`, async (t) => {
    const root = join(await temporaryFolder(t), 'archive');
    const real = watchedFileSystem(() => undefined);
    /** Of each open file, where it is now. */
    const open = new Map<object, string>();
    const under = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`);
    const refuse = (path: string) => {
      for (const at of open.values()) assert.ok(!under(at, path), `${path} is removed while ${at} is open`);
    };
    let removed = 0;
    const fs: FileSystem = {
      ...real,
      open: (async (path: string, flags: number, mode?: number) => {
        const handle = await real.open(path, flags, mode);
        open.set(handle, path);
        return new Proxy(handle, {
          get: (target, property) => {
            if (property === 'close') open.delete(target);
            return Reflect.get(target, property) as unknown;
          },
        });
      }) as FileSystem['open'],
      rename: (async (from: string, to: string) => {
        for (const [handle, at] of open) if (under(at, from)) open.set(handle, to + at.slice(from.length));
        refuse(to);
        await real.rename(from, to);
      }) as FileSystem['rename'],
      unlink: (async (path: string) => {
        if (under(path, root)) refuse(path);
        removed++;
        await real.unlink(path);
      }) as FileSystem['unlink'],
      rm: (async (path: string, options) => {
        if (under(path, root)) refuse(path);
        removed++;
        await real.rm(path, options);
      }) as FileSystem['rm'],
    };
    const archive = archiveAt(root, { compression, fs });
    for (const end of [30_000, 60_000]) {
      const broken = await archive.begin(MAC, BYTES.length);
      await broken.write(0, BYTES.subarray(0, end));
      await broken.setAside();
    }
    const draft = await archive.begin(MAC, BYTES.length);
    await draft.leftover?.read(0, 10);
    await draft.write(0, BYTES);
    const backup = await draft.commit(content(BYTES));
    const reader = await archive.openImage(backup);
    await reader.read(0, 10);
    await reader.close();
    const again = await archive.begin(MAC, BYTES.length);
    await again.write(0, BYTES);
    await again.discard();
    await archive.recordSighting(MAC, { ...SEEN, id: backup.id });
    const candidates = await archive.candidates(MAC);
    for (const candidate of candidates.list) await candidate.read(0, 10);
    await candidates.close();
    await archive.verify({});
    assert.equal(open.size, 0);
    assert.ok(removed >= 3);
    assert.deepEqual((await readdir(join(root, FOLDER))).sort(), [backup.id, 'seen.jsonl']);
  });
}
