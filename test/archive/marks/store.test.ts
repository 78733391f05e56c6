import assert from 'node:assert/strict';
import { mkdir, readdir, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasCode } from '../../../src/errors.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, allSound, backUp, image, md5, newArchive, snapshot } from '../support.ts';

const LATER = '2026-11-24T10:00:00.000Z';

test('marks lie beside the backups, which they do not change', async (t) => {
  const archive = await newArchive(t);
  const { path } = await backUp(archive, image(10));
  const before = await snapshot(path);
  await archive.marks.describe(MAC, { label: 'kitchen', group: 'home' });
  await archive.marks.describe(MAC, { note: 'behind the fridge', group: null });
  await archive.marks.pin(MAC, ID0, { pinned: true, note: 'works' });
  const confirmation = { at: LATER, id: ID0, md5: md5(image(10)), by: 'stub' as const, port: '/dev/ttyUSB0' };
  await archive.marks.confirm(MAC, confirmation);
  const marks = await archive.marks.of(MAC);
  assert.deepEqual(marks.about, { label: 'kitchen', note: 'behind the fridge', group: null });
  assert.deepEqual(
    marks.pins.map(({ id, note }) => [id, note]),
    [[ID0, 'works']],
  );
  assert.deepEqual(marks.confirmations, [confirmation]);
  assert.deepEqual(await snapshot(path), before);
  for (const name of ['labels.jsonl', 'pins.jsonl', 'confirmed.jsonl']) {
    assert.equal((await stat(join(archive.root, FOLDER, name))).mode & 0o777, 0o600);
  }
  assert.deepEqual(await archive.verify({}), allSound(1));
  const history = await archive.history(MAC);
  assert.deepEqual(history.marks, marks);
  assert.deepEqual([history.problems, history.foreign], [[], []]);
  assert.deepEqual((await archive.overview()).boards[0]?.about, marks.about);
});

test('a label stands for the MAC', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  await backUp(archive, image(11), LATER, OTHER_MAC);
  await archive.marks.describe(MAC, { label: 'kitchen' });
  assert.equal(await archive.resolveBoard('Kitchen'), MAC);
  assert.equal(await archive.resolveBoard(MAC), MAC);
  await assert.rejects(archive.resolveBoard('kitchn'), (error) => hasCode(error, 'archive-unknown-board'));
  await archive.marks.describe(OTHER_MAC, { label: 'kitchen' });
  await assert.rejects(archive.resolveBoard('kitchen'), (error) => hasCode(error, 'label-ambiguous'));
  await archive.marks.describe(MAC, { label: null });
  assert.equal(await archive.resolveBoard('kitchen'), OTHER_MAC);
});

test('a board that is not in the archive has no marks and gets none', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  assert.deepEqual((await archive.marks.of(OTHER_MAC)).pins, []);
  await assert.rejects(archive.marks.describe(OTHER_MAC, { label: 'x' }), (error) =>
    hasCode(error, 'archive-unknown-board'),
  );
  assert.deepEqual((await readdir(archive.root)).sort(), [FOLDER, 'cache'].sort());
});

test('a line that cannot be understood is counted, and the next one stands apart from it', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  const file = join(archive.root, FOLDER, 'pins.jsonl');
  await writeFile(file, '{"at":"2026-11-24T10:00:00.000Z","id":"20');
  await archive.marks.pin(MAC, ID0, { pinned: true, note: null });
  const marks = await archive.marks.of(MAC);
  assert.deepEqual(
    marks.pins.map(({ id }) => id),
    [ID0],
  );
  assert.deepEqual(marks.strangePinLines, [1]);
});

test('marks that cannot be read are a problem of the board, and hide none of its backups', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  const file = join(archive.root, FOLDER, 'pins.jsonl');
  await mkdir(file);
  await assert.rejects(archive.marks.of(MAC), (error) => hasCode(error, 'archive-damaged'));
  const history = await archive.history(MAC);
  assert.equal(history.backups.length, 1);
  assert.match(history.problems[0]?.problem ?? '', /pins\.jsonl is no regular file/);
});

test('a folder behind a link is not read for marks', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  await rename(join(archive.root, FOLDER), join(archive.root, 'elsewhere'));
  await symlink('elsewhere', join(archive.root, FOLDER));
  await assert.rejects(archive.marks.of(MAC), (error) => hasCode(error, 'archive-damaged'));
});
