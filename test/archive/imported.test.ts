/** Images out of files among the backups of a board: where they stand, and what they do not disturb. */

import assert from 'node:assert/strict';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { chipChanges } from '../../src/archive/chip-change.ts';
import type { ManifestContent } from '../../src/archive/manifest.ts';
import { isBackupId } from '../../src/archive/ids.ts';
import { isPartialName } from '../../src/archive/owner.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import {
  FOLDER,
  ID0,
  MAC,
  T0,
  allSound,
  archiveAt,
  backUp,
  content,
  image,
  newArchive,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

function importedContent(bytes: Uint8Array, at: string): ManifestContent {
  const { flash, ...others } = content(bytes, at);
  return {
    ...others,
    reason: 'imported',
    flash: { ...flash, manufacturer: null, device: null },
    security: null,
    efuses: {},
    confirmed: null,
    source: { port: null, file: 'old.bin', usb: null, host: 'bench' },
    transfer: null,
  };
}

async function importAt(archive: Archive, bytes: Uint8Array, at: string): Promise<Backup> {
  const draft = await archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  return draft.commit(importedContent(bytes, at));
}

test('an old dump becomes the first, and never the latest', async (t) => {
  const archive = await newArchive(t);
  const newest = await backUp(archive, image(5000, 1));
  const old = await importAt(archive, image(5000, 2), '2020-01-02T03:04:05.678Z');
  assert.equal(old.id, '2020-01-02T03-04-05Z');
  assert.equal(old.manifest.formatVersion, 2);
  assert.equal((await archive.latest(MAC)).backup?.id, newest.id);
  assert.equal((await archive.resolveBackup(MAC, 'latest')).id, newest.id);
  assert.equal((await archive.resolveBackup(MAC, 'first')).id, old.id);
  assert.equal((await archive.resolveBackup(MAC, '2021-01-01')).id, old.id);
  assert.deepEqual(
    (await archive.history(MAC)).backups.map(({ id }) => id),
    [old.id, newest.id],
  );
  const list = await archive.candidates(MAC);
  assert.deepEqual(
    list.list.map(({ kind, id }) => [kind, id]),
    [
      ['newest', newest.id],
      ['older', old.id],
    ],
  );
  await list.close();
  const [board] = (await archive.overview()).boards;
  assert.equal(board?.newest?.id, newest.id);
  assert.deepEqual(await archive.verify({}), allSound(2));
});

test('what other boards hold is still taken from the newest', async (t) => {
  const archive = await newArchive(t);
  const newest = await backUp(archive, image(5000, 1));
  await importAt(archive, image(5000, 2), '2020-01-02T03:04:05Z');
  const other = await archive.candidates('24:0a:c4:00:01:02' as typeof MAC);
  assert.deepEqual(
    other.list.map(({ id }) => id),
    [newest.id],
  );
  await other.close();
});

test('a backup of the board comes behind all, an import at its second or the next one that is free', async (t) => {
  const archive = await newArchive(t);
  const ids = [
    (await backUp(archive, image(5000, 1))).id,
    (await importAt(archive, image(5000, 2), T0)).id,
    (await importAt(archive, image(5000, 3), T0)).id,
    (await backUp(archive, image(5000, 4), T0)).id,
    (await importAt(archive, image(5000, 5), '2026-11-23T09:59:59.999Z')).id,
  ];
  assert.deepEqual(ids, [
    ID0,
    '2026-11-23T10-00-01Z',
    '2026-11-23T10-00-02Z',
    '2026-11-23T10-00-03Z',
    '2026-11-23T09-59-59Z',
  ]);
});

test('two at once for one second get two ids, and both are whole', async (t) => {
  const archive = await newArchive(t);
  const made = await Promise.all([1, 2, 3].map((seed) => importAt(archive, image(5000, seed), T0)));
  assert.deepEqual(made.map(({ id }) => id).sort(), [ID0, '2026-11-23T10-00-01Z', '2026-11-23T10-00-02Z']);
  assert.deepEqual(await archive.verify({}), allSound(3));
});

test('the id of a backup that was removed is not given away: what is noted of it would be believed of another', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(5000, 1));
  await archive.recordSighting(MAC, { id: ID0, at: T0, port: '/dev/ttyUSB0' });
  const removal = { at: T0, id: ID0, sha256: null, why: 'not needed', createdBy: 'espd 0.0.0-test' };
  await writeFile(join(archive.root, FOLDER, 'removed.jsonl'), `${JSON.stringify(removal)}\n`);
  await rm(join(archive.root, FOLDER, ID0), { recursive: true });
  assert.equal((await importAt(archive, image(5000, 2), T0)).id, '2026-11-23T10-00-01Z');
});

test('what an interrupted backup has left is kept by an import, and removed by a backup', async (t) => {
  const archive = await newArchive(t);
  const interrupted = await archive.begin(MAC, 5000);
  await interrupted.write(0, image(100, 9));
  await interrupted.setAside();
  const partials = async () => (await readdir(join(archive.root, FOLDER))).filter(isPartialName).length;
  assert.equal(await partials(), 1);
  await importAt(archive, image(5000, 2), T0);
  assert.equal(await partials(), 1);
  await backUp(archive, image(5000, 3));
  assert.equal(await partials(), 0);
});

test('a change of chip is seen across an import, which tells nothing of its chip', async (t) => {
  const archive = await newArchive(t);
  const before = await backUp(archive, image(5000, 1), '2026-11-20T10:00:00Z');
  const between = await importAt(archive, image(5000, 2), '2026-11-21T10:00:00Z');
  const draft = await archive.begin(MAC, 5000);
  await draft.write(0, image(5000, 3));
  const other = content(image(5000, 3));
  const after = await draft.commit({ ...other, flash: { ...other.flash, device: '4018' } });
  const changes = chipChanges([before, between, after]);
  assert.deepEqual([...changes.keys()], [after.id]);
  assert.equal(changes.get(after.id)?.since, before.id);
  assert.equal(changes.get(after.id)?.kind, 'flash');
});

for (const compression of ['none', 'gzip'] as const) {
  test(`the machine stops before any of an import's calls to the file system: all of it or nothing (${compression})`, async (t) => {
    const root = join(await temporaryFolder(t), 'archive');
    const before = await backUp(archiveAt(root), image(70_000, 1));
    const bytes = image(70_000, 2);
    let calls = 0;
    let made = 0;
    for (let stopAt = 1; ; stopAt++) {
      calls = 0;
      const fs = watchedFileSystem(() => {
        if (++calls >= stopAt) throw systemError('EIO');
      });
      const done = await importAt(archiveAt(root, { fs, compression }), bytes, '2020-01-02T03:04:05Z').catch(
        () => undefined,
      );
      const archive = archiveAt(root);
      const { damaged, unreadable } = await archive.verify({});
      assert.deepEqual([damaged, unreadable], [[], []], `stopped before call ${stopAt}`);
      const ids = (await readdir(join(root, FOLDER))).filter(isBackupId);
      assert.ok(ids.includes(before.id));
      if (ids.length === 2) made++;
      if (done !== undefined) assert.ok(ids.includes(done.id), 'what was told is there');
      if (calls < stopAt) break; // it came to its end
      const imported = ids.find((id) => id !== before.id);
      if (imported !== undefined) await rm(join(root, FOLDER, imported), { recursive: true });
      // The next backup of the board finds nothing that is in its way.
      await (await archive.begin(MAC, 10)).discard();
    }
    assert.ok(calls > 30 && made >= 1, `${calls} calls`);
  });
}

test('before an import has its id, all that it consists of is on the disk; before it is told, the id is', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const unsynced = new Set<string>();
  const order: string[] = [];
  const fs = watchedFileSystem(({ name, path, to }) => {
    if (name === 'handle.write') unsynced.add(path);
    if (name === 'handle.sync') {
      unsynced.delete(path);
      order.push(`sync ${path}`);
    }
    if (name !== 'rename' || to === undefined) return;
    assert.deepEqual(
      [...unsynced].filter((file) => file.startsWith(path)),
      [],
      'written, and not on the disk',
    );
    assert.equal(order.at(-1), `sync ${path}`, 'the names in its folder');
    assert.ok(order.includes(`sync ${root}`), 'the board');
    order.push('rename');
  });
  await importAt(archiveAt(root, { fs }), image(70_000, 2), '2020-01-02T03:04:05Z');
  assert.deepEqual(order.slice(-2), ['rename', `sync ${join(root, FOLDER)}`]);
});
