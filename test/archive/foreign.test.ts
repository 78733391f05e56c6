/** What others leave in an archive: told, left alone, and in nobody's way. Foreign is not damaged. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, readdir, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { foreignEntries, isRemovedWhileOpen } from '../../src/archive/foreign.ts';
import { currentOwner, draftName, partialName } from '../../src/archive/owner.ts';
import type { Archive } from '../../src/archive/types.ts';
import {
  FOLDER,
  ID0,
  MAC,
  OTHER_MAC,
  allSound,
  archiveAt,
  backUp,
  image,
  newArchive,
  snapshot,
  systemError,
  watchedFileSystem,
} from './support.ts';

const BYTES = image(100_000);
const T1 = '2026-11-24T10:00:00.000Z';
const ID1 = '2026-11-24T10-00-00Z';

/** As a person's other programs leave them. */
const NAMES = [
  '.DS_Store',
  '._flash.bin',
  '@eaDir',
  'Thumbs.db',
  'desktop.ini',
  '.directory',
  'lost+found',
  'notes.txt',
  'manifest.json.bak',
  'flash.bin.gz',
  'SHA256SUMS.asc',
  '2026-11-23T10-00-00Z copy',
  'draft.old',
  'partial.1',
  'evil\u001b[2J\nname',
];

const KINDS: Record<string, (path: string) => Promise<unknown>> = {
  'a file': (path) => writeFile(path, 'x'),
  'a folder with something in it': (path) => mkdir(path).then(() => writeFile(join(path, 'x'), 'x')),
  'a link to itself': (path) => symlink(path, path),
  'a link to a folder outside': (path) => symlink('/etc', path),
  'a FIFO': (path) => Promise.resolve(execFileSync('mkfifo', [path])),
};

async function filled(archive: Archive): Promise<void> {
  await backUp(archive, BYTES);
  await backUp(archive, image(100_000, 2), T1);
  await backUp(archive, image(50), T1, OTHER_MAC);
}

describe('foreign entries', () => {
  for (const [kind, make] of Object.entries(KINDS)) {
    test(`${kind}, of any name, in the archive, a board's and a backup's folder`, async (t) => {
      const archive = await newArchive(t);
      await filled(archive);
      const places = [
        ['', NAMES.filter((name) => name !== 'lost+found')],
        [FOLDER, NAMES],
        [join(FOLDER, ID1), NAMES],
      ] as const;
      for (const [place, names] of places) for (const name of names) await make(join(archive.root, place, name));
      const before = await snapshot(archive.root);

      const history = await archive.history(MAC);
      assert.deepEqual(
        history.backups.map(({ id }) => id),
        [ID0, ID1],
      );
      assert.deepEqual(history.problems, []);
      const report = await archive.verify({});
      assert.deepEqual({ ...report, foreign: [] }, allSound(3));
      const count = places.reduce((sum, [, names]) => sum + names.length, 0);
      assert.equal(report.foreign.length, count);
      for (const { file, problem } of report.foreign) {
        assert.match(problem, /^is foreign/);
        assert.doesNotMatch(file, /\p{C}/u);
      }
      assert.equal(history.foreign.length, 2 * NAMES.length);
      assert.deepEqual((await archive.boards()).macs, [OTHER_MAC, MAC]);
      assert.deepEqual((await archive.boards()).problems, []);
      const latest = await archive.resolveBackup(MAC, 'latest');
      assert.equal(latest.id, ID1);
      const reader = await archive.openImage(latest);
      assert.ok((await reader.read(0, 100_000)).equals(image(100_000, 2)));
      await reader.close();
      const candidates = await archive.candidates(MAC);
      assert.deepEqual(
        candidates.list.map(({ id }) => id),
        [ID1, ID0, ID1],
      );
      await candidates.close();
      const after = await snapshot(archive.root);
      for (const path of Object.keys(before)) if (!path.includes('cache')) assert.equal(after[path], before[path]);

      // And backups go on.
      const next = await backUp(archive, image(100_000, 3), '2026-11-25T10:00:00Z');
      await archive.recordSighting(MAC, { id: next.id, at: T1, port: 'x' });
      assert.equal((await archive.verify({})).checked, 4);
    });
  }

  test('who leaves such files is said where it is known', () => {
    const told = foreignEntries(['notes.txt', '.DS_Store', 'thumbs.DB', '@eaDir'], {
      mac: MAC,
      id: ID0,
      folder: join(FOLDER, ID0),
    });
    assert.deepEqual(
      told.map(({ file, problem }) => `${file.slice(FOLDER.length + ID0.length + 2)} ${problem}`),
      [
        '.DS_Store is foreign (left by macOS)',
        '@eaDir is foreign (left by a Synology NAS)',
        'notes.txt is foreign',
        'thumbs.DB is foreign (left by Windows)',
      ],
    );
    assert.deepEqual([told[0]?.mac, told[0]?.id], [MAC, ID0]);
  });

  test('of a folder with very many a few are named and the others counted', async (t) => {
    const names = Array.from({ length: 100_000 }, (_, index) => `file ${index}`);
    const told = foreignEntries(names, { mac: null, id: null, folder: '' });
    assert.equal(told.length, 21);
    assert.deepEqual(told.at(-1), { mac: null, id: null, file: '', problem: 'holds 99980 more foreign entries' });
    const archive = await newArchive(t);
    const { path } = await backUp(archive, BYTES);
    for (const name of names.slice(0, 300)) await writeFile(join(path, name), '');
    const report = await archive.verify({});
    assert.deepEqual({ ...report, foreign: [] }, allSound(1));
    assert.equal(report.foreign.at(-1)?.problem, 'holds 280 more foreign entries');
  });

  test('what a network file system keeps of files that were removed while open is not even told', async (t) => {
    const names = [
      `.nfs0123456789abcdef0000002a`,
      '.nfs000000000a1b2c3d',
      '.fuse_hidden0000001f00000003',
      '.smb0000002a',
      '.smbdeleteAAA1f2c.4',
      '.__afs1A2B',
    ];
    for (const name of names) assert.ok(isRemovedWhileOpen(name), name);
    for (const name of [
      '.nfs',
      '.nfsx',
      '.nfs_config',
      'nfs0123456789abcdef',
      '.fuse_hidden',
      '.smb.conf',
      '.smbdelete',
    ]) {
      assert.ok(!isRemovedWhileOpen(name), name);
    }
    const archive = await newArchive(t);
    await filled(archive);
    for (const place of ['', FOLDER, join(FOLDER, ID0)]) {
      for (const name of names) await writeFile(join(archive.root, place, name), 'x');
    }
    assert.deepEqual(await archive.verify({}), allSound(3));
  });

  test('beside a partial, and in the draft of a process that is gone: the bytes are used, and nothing is in the way', async (t) => {
    for (const name of ['.DS_Store', 'notes.txt', '.nfs000000000a1b2c3d0000002a']) {
      const archive = await newArchive(t);
      const dead = draftName({ ...(await currentOwner()), startTicks: '1' });
      for (const folder of [dead, partialName()]) {
        const path = join(archive.root, FOLDER, folder);
        await mkdir(path, { recursive: true });
        await writeFile(join(path, 'flash.bin'), BYTES);
        await writeFile(join(path, name), 'x');
      }
      const draft = await archive.begin(MAC, BYTES.length);
      assert.ok((await draft.leftover?.read(0, BYTES.length))?.equals(BYTES), name);
      await draft.discard();
    }
  });

  test('a foreign file beside a partial that cannot be removed does not make its bytes useless', async (t) => {
    const archive = await newArchive(t);
    const path = join(archive.root, FOLDER, partialName());
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'flash.bin'), BYTES);
    await writeFile(join(path, 'x'), 'x');
    const fs = watchedFileSystem((call) => {
      if (call.name === 'rm' && call.path === join(path, 'x')) throw systemError('EBUSY');
    });
    const draft = await archiveAt(archive.root, { fs }).begin(MAC, BYTES.length);
    assert.ok((await draft.leftover?.read(0, BYTES.length))?.equals(BYTES));
    await draft.discard();
  });
});

describe('what is not foreign but damage', () => {
  test('a backup whose manifest is gone is judged by its list of digests, with two images there', async (t) => {
    for (const compression of ['none', 'gzip'] as const) {
      const archive = await newArchive(t, { compression });
      const { path, manifest } = await backUp(archive, BYTES);
      await writeFile(join(path, manifest.image.file === 'flash.bin' ? 'flash.bin.gz' : 'flash.bin'), 'x');
      await unlink(join(path, 'manifest.json'));
      const problems = await archive.verifyBackup(MAC, ID0);
      assert.deepEqual(
        problems.map(({ file, problem }) => `${file} ${problem}`),
        [`${join(FOLDER, ID0, 'manifest.json')} is missing`],
      );
    }
  });

  test('files of a backup that are something else', async (t) => {
    const archive = await newArchive(t);
    const { path } = await backUp(archive, BYTES);
    const keep = join(archive.root, '..', 'keep');
    await cp(path, keep, { recursive: true });
    for (const [kind, make] of Object.entries(KINDS)) {
      if (kind === 'a file') continue;
      for (const file of await readdir(keep)) {
        await rm(join(path, file));
        await make(join(path, file));
        const [problem] = await archive.verifyBackup(MAC, ID0);
        assert.equal(problem?.error.code, 'archive-damaged', `${kind} ${file}`);
        await rm(path, { recursive: true });
        await cp(keep, path, { recursive: true });
      }
    }
    assert.deepEqual(await archive.verify({}), allSound(1));
    assert.ok((await readFile(join(path, 'flash.bin'))).equals(BYTES));
  });
});
