/** Images out of files among the backups of a board: where they stand, and what they do not disturb. */

import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { chipChanges } from '../../src/archive/chip-change.ts';
import type { ManifestContent } from '../../src/archive/manifest.ts';
import { isPartialName } from '../../src/archive/owner.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { FOLDER, ID0, MAC, T0, allSound, backUp, content, image, newArchive } from './support.ts';

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
  await archive.remove(MAC, ID0, 'not needed');
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
