/** An archive that is taken away under a process that runs for months. */

import assert from 'node:assert/strict';
import { cp, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import type { FileSystem } from '../../src/archive/disk.ts';
import type { Archive } from '../../src/archive/types.ts';
import { ID0, MAC, archiveAt, backUp, image, temporaryFolder, watchedFileSystem } from './support.ts';

/** The archive of a service that has begun and kept a backup. */
async function inService(t: TestContext): Promise<{ folder: string; root: string; archive: Archive }> {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'archive');
  const archive = archiveAt(root);
  await archive.checkWritable();
  await backUp(archive, image(4096));
  return { folder, root, archive };
}

async function refuses(archive: Archive, what: RegExp): Promise<void> {
  for (const use of [
    () => archive.begin(MAC, 4096),
    () => archive.recordSighting(MAC, { at: '2026-11-24T10:00:00.000Z', id: ID0, port: '/dev/ttyUSB0' }),
    () => archive.checkWritable(),
    () => archive.boards(),
    () => archive.verify({}),
  ]) {
    await assert.rejects(use, { code: 'archive-missing', message: what });
  }
}

describe('the archive of a service', () => {
  test('is gone: nothing is begun anew in its place', async (t) => {
    const { folder, root, archive } = await inService(t);
    await rename(root, join(folder, 'away'));
    await refuses(archive, /is gone$/);
    assert.deepEqual(await readdir(folder), ['away'], 'no new folder');
    await rename(join(folder, 'away'), root);
    await (await archive.begin(MAC, 4096)).discard();
  });

  test('is unmounted: the bare mount point, or another archive, is not taken for it', async (t) => {
    const { folder, root, archive } = await inService(t);
    await rename(root, join(folder, 'disk'));
    await mkdir(root);
    await refuses(archive, /is another folder than at the start$/);
    assert.deepEqual(await readdir(root), []);
    await rm(root, { recursive: true });
    await archiveAt(root).checkWritable();
    await refuses(archive, /is another folder than at the start$/);
  });

  test('is mounted anew, with other numbers: its marker is enough', async (t) => {
    const { folder, root, archive } = await inService(t);
    await cp(root, join(folder, 'copy'), { recursive: true });
    await rm(root, { recursive: true });
    await rename(join(folder, 'copy'), root);
    await (await archive.begin(MAC, 4096)).discard();
    // And from then on it is known by its new numbers.
    await rm(join(root, 'cache'), { recursive: true });
    await (await archive.begin(MAC, 4096)).discard();
  });

  test('loses its cache: its numbers are enough, and it gets its marker back', async (t) => {
    const { root, archive } = await inService(t);
    const marker = await readFile(join(root, 'cache', 'identity'));
    await rm(join(root, 'cache'), { recursive: true });
    await (await archive.begin(MAC, 4096)).discard();
    await archive.checkWritable();
    assert.deepEqual(await readFile(join(root, 'cache', 'identity')), marker);
    await writeFile(join(root, 'cache', 'identity'), 'no marker');
    await (await archive.begin(MAC, 4096)).discard();
  });

  test('cannot be looked at for a moment: that is no other archive', async (t) => {
    const root = join(await temporaryFolder(t), 'archive');
    let fails = false;
    const real = watchedFileSystem(() => undefined);
    const fs: FileSystem = {
      ...real,
      stat: ((path: string) =>
        fails
          ? Promise.reject(Object.assign(new Error('EIO: i/o error, stat'), { code: 'EIO' }))
          : stat(path)) as unknown as typeof real.stat,
    };
    const archive = archiveAt(root, { fs });
    await archive.checkWritable();
    fails = true;
    await assert.rejects(archive.begin(MAC, 4096), { code: 'archive-unwritable' });
    await assert.rejects(archive.boards(), { code: 'archive-unreadable' });
    fails = false;
    await (await archive.begin(MAC, 4096)).discard();
  });
});

test('a command that only reads leaves no marker', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  await mkdir(root);
  await archiveAt(root).boards();
  assert.deepEqual(await readdir(root), []);
});
