/** A copy of an encrypted bucket, opened as a folder: nothing is wrong with it, and nothing of it can be read. */

import assert from 'node:assert/strict';
import { readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FOLDER, ID0, MAC, T0, archiveAt, content, image, temporaryFolder } from './support.ts';

async function encryptedCopy(root: string): Promise<string> {
  const archive = archiveAt(root);
  const bytes = image(100_000);
  const draft = await archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  await draft.commit(content(bytes, T0, MAC));
  const path = join(root, FOLDER, ID0);
  const zeros = '0'.repeat(64);
  for (const file of ['manifest.json', 'flash.bin']) await rename(join(path, file), join(path, `${file}.enc`));
  await writeFile(join(path, 'SHA256SUMS'), `${zeros}  flash.bin.enc\n${zeros}  manifest.json.enc\n`);
  return path;
}

test('it is not damaged: one sentence says that it is encrypted, and nothing is called foreign', async (t) => {
  const root = join(await temporaryFolder(t), 'copy');
  const path = await encryptedCopy(root);
  const before = await readdir(path);
  const report = await archiveAt(root).verify({});
  assert.deepEqual(
    [report.damaged, report.foreign, report.unreadable.map(({ file, problem }) => `${file} ${problem}`)],
    [[], [], [`${FOLDER}/${ID0} is encrypted, as in a bucket`]],
  );
  for (const { error } of report.unreadable) {
    assert.equal(error.code, 'archive-unreadable');
    assert.match(error.hint, /espd pull/);
  }
  const { backups, problems } = await archiveAt(root).history(MAC);
  assert.deepEqual([backups.length, problems.length], [0, 1]);
  assert.deepEqual(await readdir(path), before);
});

test('a stray encrypted manifest beside a plain one makes no difference; without either the manifest is missing', async (t) => {
  const root = join(await temporaryFolder(t), 'copy');
  const path = await encryptedCopy(root);
  for (const file of ['manifest.json', 'flash.bin']) await rename(join(path, `${file}.enc`), join(path, file));
  await rm(join(path, 'SHA256SUMS'));
  await writeFile(join(path, 'manifest.json.enc'), 'x');
  const stray = await archiveAt(root).verify({});
  assert.ok(stray.damaged.some(({ file, problem }) => file.endsWith('SHA256SUMS') && problem === 'is missing'));
  assert.ok(stray.foreign.some(({ file }) => file.endsWith('manifest.json.enc')));
  await rm(join(path, 'manifest.json'));
  await rm(join(path, 'manifest.json.enc'));
  const { damaged } = await archiveAt(root).verify({});
  assert.ok(damaged.some(({ file, problem }) => file.endsWith('manifest.json') && problem === 'is missing'));
});
