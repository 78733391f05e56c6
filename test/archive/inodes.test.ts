/** A disk with bytes left, but no inode: freeing space would not help, so that is not what is said. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
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
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

const NO_INODES = { code: 'disk-full', message: /No inodes left/, hint: /df -i/ };
const FULL = { code: 'disk-full', message: /No space left/, hint: /Free some space/ };
const BYTES = image(10_000);

/** A file system that says of itself what `stats` has, and cannot make files any more once `full` is set. */
function fileSystemWith(stats: { files: number; ffree: number }) {
  const state = { full: false, stats };
  const fs = watchedFileSystem(({ name, path }) => {
    const makes = name === 'mkdir' || (name === 'open' && /\.jsonl?$/.test(path));
    if (state.full && makes) throw systemError('ENOSPC');
  });
  const statfs = (() => Promise.resolve({ bavail: 1e9, bsize: 4096, blocks: 1e9, ...state.stats })) as unknown;
  return { state, fs: { ...fs, statfs: statfs as FileSystem['statfs'] } };
}

test('is asked before a backup begins', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const { fs } = fileSystemWith({ files: 1000, ffree: 5 });
  await assert.rejects(archiveAt(root, { fs }).begin(MAC, 10), NO_INODES);
  assert.deepEqual(await readdir(root), []);
});

test('file systems that count none are not asked', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const { fs, state } = fileSystemWith({ files: 0, ffree: 0 });
  const archive = archiveAt(root, { fs });
  await backUp(archive, BYTES);
  state.full = true;
  await assert.rejects(archive.recordSighting(MAC, { id: ID0, at: T0, port: 'x' }), FULL);
});

for (const ffree of [0, 100]) {
  test(`a disk that is full with ${ffree} inodes left says what it lacks`, async (t) => {
    const root = join(await temporaryFolder(t), 'archive');
    const { fs, state } = fileSystemWith({ files: 1000, ffree: 100 });
    const archive = archiveAt(root, { fs });
    const draft = await archive.begin(MAC, BYTES.length);
    await draft.write(0, BYTES);
    state.full = true;
    state.stats = { files: 1000, ffree };
    const expected = ffree === 0 ? NO_INODES : FULL;
    await assert.rejects(draft.commit(content(BYTES)), expected);
    state.full = true;
    await assert.rejects(archive.checkWritable(), expected);
  });
}

test('on a real file system without inodes', async (t) => {
  const archive = await newArchive(t);
  await mkdir(archive.root);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m,nr_inodes=24', 'espd-test', archive.root], {
      stdio: 'ignore',
    });
  } catch {
    t.skip('only root may mount a small file system');
    return;
  }
  try {
    await backUp(archive, BYTES);
    const draft = await archive.begin(MAC, BYTES.length);
    await draft.write(0, image(10_000, 2));
    const fill = async () => {
      for (let count = 0; ; count++) await writeFile(join(archive.root, FOLDER, `x${count}`), '');
    };
    await assert.rejects(fill(), { code: 'ENOSPC' });
    await assert.rejects(draft.commit(content(image(10_000, 2))), NO_INODES);
    await assert.rejects(archive.begin(MAC, 10), NO_INODES);
    assert.deepEqual((await archive.verify({})).damaged, []);
  } finally {
    execFileSync('umount', [archive.root]);
  }
});
