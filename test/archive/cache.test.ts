import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, readdir, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { currentOwner, draftName, draftOwner } from '../../src/archive/owner.ts';
import {
  MAC,
  allSound,
  archiveAt,
  backUp,
  image,
  newArchive,
  snapshot,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

test('what was written is read, the last one wins, and no archive is made for it', async (t) => {
  const archive = await newArchive(t);
  const { cache, root } = archive;
  assert.equal(await cache.read('lines.json'), undefined);
  await cache.write('lines.json', '{}');
  await assert.rejects(readdir(root), { code: 'ENOENT' });
  await archive.checkWritable();
  await cache.write('lines.json', '{"é": 1}');
  assert.equal(String(await cache.read('lines.json')), '{"é": 1}');
  await cache.write('lines.json', Uint8Array.of(1, 2));
  assert.deepEqual([...(await cache.read('lines.json'))!], [1, 2]);
  await cache.write('empty', '');
  assert.equal((await cache.read('empty'))?.length, 0);
  assert.deepEqual((await readdir(join(root, 'cache'))).sort(), ['empty', 'identity', 'lines.json']);
  await rm(join(root, 'cache'), { recursive: true });
  assert.equal(await cache.read('lines.json'), undefined);
  await cache.write('lines.json', 'again');
  assert.equal(String(await cache.read('lines.json')), 'again');
});

test('names that are none neither read nor write anything', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  const before = await snapshot(archive.root);
  const names = ['', '.', '..', '../x', 'a/b', 'A', 'ä', '-x', '.x', 'a\n', 'a\0', 'x'.repeat(101)];
  for (const name of [...names, draftName(await currentOwner()), 'draft.x']) {
    await archive.cache.write(name, 'x');
    assert.equal(await archive.cache.read(name), undefined, name);
  }
  assert.deepEqual(Object.keys(await snapshot(archive.root)), Object.keys(before));
});

test('readers of the archive do not see it; a link or a file in its place is foreign, and not followed', async (t) => {
  const archive = await newArchive(t);
  await archive.checkWritable();
  await archive.cache.write('x', 'x');
  await writeFile(join(archive.root, 'cache', 'foreign'), 'whatever');
  assert.deepEqual(await archive.boards(), { macs: [], problems: [], foreign: [] });
  assert.deepEqual(await archive.verify({}), allSound(0));
  const outside = join(archive.root, '..', 'outside');
  await mkdir(outside);
  await writeFile(join(outside, 'x'), 'secret');
  for (const make of [
    (path: string) => symlink(outside, path),
    (path: string) => writeFile(path, 'x'),
    (path: string) => symlink('nowhere', path),
  ]) {
    await rm(join(archive.root, 'cache'), { recursive: true });
    await make(join(archive.root, 'cache'));
    await archive.cache.write('x', 'y');
    assert.equal(await archive.cache.read('x'), undefined);
    assert.deepEqual(
      (await archive.boards()).foreign.map(({ file }) => file),
      ['cache'],
    );
  }
  assert.deepEqual(await readdir(outside), ['x']);
  assert.equal(await readFile(join(outside, 'x'), 'utf8'), 'secret');
});

test('hostile files: links, folders and what is too large are not read; writing replaces a link', async (t) => {
  const archive = await newArchive(t);
  const folder = join(archive.root, 'cache');
  await mkdir(folder, { recursive: true });
  const secret = join(archive.root, '..', 'secret');
  await writeFile(secret, 'secret');
  await symlink(secret, join(folder, 'link'));
  await mkdir(join(folder, 'folder'));
  await writeFile(join(folder, 'large'), '');
  await truncate(join(folder, 'large'), 256 * 1024 * 1024 + 1);
  for (const name of ['link', 'folder', 'large']) assert.equal(await archive.cache.read(name), undefined);
  // As the index of 100,000 boards.
  await truncate(join(folder, 'large'), 106 * 1024 * 1024);
  assert.equal((await archive.cache.read('large'))?.length, 106 * 1024 * 1024);
  for (const name of ['link', 'folder']) await archive.cache.write(name, 'new');
  assert.equal(String(await archive.cache.read('link')), 'new');
  assert.equal(await readFile(secret, 'utf8'), 'secret');
  assert.deepEqual((await readdir(folder)).sort(), ['folder', 'large', 'link']);
});

test('modes are those of the archive', async (t) => {
  const previous = process.umask(0);
  t.after(() => process.umask(previous));
  for (const modes of [{}, { directoryMode: 0o750, fileMode: 0o640 }]) {
    const archive = await newArchive(t, modes);
    await archive.checkWritable();
    await archive.cache.write('x', 'x');
    assert.equal((await stat(join(archive.root, 'cache'))).mode & 0o777, modes.directoryMode ?? 0o700);
    assert.equal((await stat(join(archive.root, 'cache', 'x'))).mode & 0o777, modes.fileMode ?? 0o600);
  }
});

test('temporary files of dead writers go, those of living ones stay', async (t) => {
  const archive = await newArchive(t);
  const folder = join(archive.root, 'cache');
  await mkdir(folder, { recursive: true });
  const owner = await currentOwner();
  const living = draftName(owner);
  await writeFile(join(folder, living), 'x');
  await writeFile(join(folder, draftName({ ...owner, startTicks: '1' })), 'x');
  await writeFile(join(folder, draftName({ ...owner, host: 'elsewhere' })), 'x');
  await archive.cache.write('x', 'x');
  const names = await readdir(folder);
  assert.ok(names.includes(living) && names.includes('x'));
  assert.equal(names.length, 3, 'whose writer cannot be seen stays for a day');
});

test('a fault at any call: nothing is thrown, and the file is the old one or the new one', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const sound = archiveAt(root);
  await sound.checkWritable();
  for (const fresh of [true, false]) {
    for (let failing = 0, count = Infinity; count > failing; failing++) {
      if (fresh) await rm(join(root, 'cache'), { recursive: true, force: true });
      else await sound.cache.write('x', 'old');
      count = 0;
      const fs = watchedFileSystem(() => {
        if (count++ === failing) throw systemError('EIO');
      });
      const { cache } = archiveAt(root, { fs });
      await cache.write('x', 'new');
      await cache.read('x');
      const text = String(await sound.cache.read('x'));
      assert.ok([fresh ? 'undefined' : 'old', 'new'].includes(text), text);
      const left = await readdir(join(root, 'cache')).catch(() => []);
      // What its removal failed for is that of a living process.
      assert.ok(left.filter((name) => name !== 'x').every((name) => draftOwner(name) !== undefined));
      for (const name of left) if (name !== 'x') await rm(join(root, 'cache', name));
    }
  }
});

test('an archive that may only be read has no cache, and nobody minds', async (t) => {
  const archive = await newArchive(t);
  await archive.checkWritable();
  if (process.getuid?.() === 0) {
    t.diagnostic('skipped for root: an archive without write permission');
    return;
  }
  await rm(join(archive.root, 'cache'), { recursive: true });
  await chmod(archive.root, 0o500);
  await archive.cache.write('x', 'x');
  assert.equal(await archive.cache.read('x'), undefined);
  await archive.candidates(MAC);
  await chmod(archive.root, 0o700);
});
