import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import ts from 'typescript';
import { isBackupId } from '../../src/archive/ids.ts';
import { draftOwner } from '../../src/archive/owner.ts';
import { macToFolder } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';
import { MAC, OTHER_MAC, archiveAt, temporaryFolder } from './support.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** `committer.ts` and what it needs as JavaScript: a process of it then starts three times as fast as through tsx. */
async function compileCommitter(folder: string): Promise<string> {
  const archive = (await readdir(join(PROJECT, 'src/archive'))).map((name) => `src/archive/${name}`);
  const open = ['clock', 'errors', 'log', 'mac'].map((name) => `src/${name}.ts`);
  const compilerOptions = {
    module: ts.ModuleKind.ESNext,
    target: ts.ScriptTarget.ES2023,
    verbatimModuleSyntax: true,
    rewriteRelativeImportExtensions: true,
  };
  for (const file of [...archive, ...open, 'test/archive/support.ts', 'test/archive/committer.ts']) {
    const { outputText } = ts.transpileModule(await readFile(join(PROJECT, file), 'utf8'), { compilerOptions });
    const target = join(folder, file.replace(/\.ts$/, '.js'));
    await mkdir(join(target, '..'), { recursive: true });
    await writeFile(target, outputText);
  }
  await writeFile(join(folder, 'package.json'), '{"type": "module"}');
  await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'test/archive/committer.js');
}

function startCommitter(
  script: string,
  root: string,
  mac: Mac,
  compression: 'none' | 'gzip',
  count: number,
  seed: number,
) {
  const args = [script, root, mac, compression, String(count), String(seed)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  return { child, exited, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

test('kill -9 at random moments: everything visible is complete, and what it told is there', async (t) => {
  const folder = await temporaryFolder(t);
  const script = await compileCommitter(join(folder, 'compiled'));
  const root = join(folder, 'archive');
  const archive = archiveAt(root);
  const told: { mac: Mac; id: string }[] = [];
  let kills = 0;
  let amidst = 0;
  // Three at a time, two of them for the same board.
  const victim = async (mac: Mac, compression: 'none' | 'gzip', round: number) => {
    const { child, exited, lines } = startCommitter(script, root, mac, compression, 1_000_000, round);
    assert.equal((await lines.next()).value, 'ready');
    for (let commits = round % 3; commits > 0; commits--) told.push({ mac, id: String((await lines.next()).value) });
    await wait(Math.random() * 25);
    assert.ok(child.kill('SIGKILL'));
    for (let line = await lines.next(); line.done !== true; line = await lines.next())
      told.push({ mac, id: line.value });
    assert.deepEqual((await exited)[1], 'SIGKILL');
    kills++;
    const left = (await readdir(join(root, macToFolder(mac))).catch(() => [])).map(draftOwner);
    if (left.some((owner) => owner?.pid === child.pid)) amidst++;
    assert.deepEqual((await archive.verify({})).damaged, []);
  };
  const series = async (mac: Mac, compression: 'none' | 'gzip', offset: number) => {
    for (let round = 0; round < 8; round++) await victim(mac, compression, round + offset);
  };
  await Promise.all([series(MAC, 'none', 0), series(MAC, 'gzip', 100), series(OTHER_MAC, 'gzip', 200)]);

  assert.equal(kills, 24);
  const { checked, damaged } = await archive.verify({});
  assert.deepEqual(damaged, []);
  assert.ok(checked >= told.length);
  for (const { mac, id } of told) assert.equal((await archive.resolveBackup(mac, id)).id, id);

  for (const mac of [MAC, OTHER_MAC]) {
    const board = join(root, macToFolder(mac));
    const others = (await readdir(board)).filter((name) => !isBackupId(name));
    for (const name of others) assert.ok(draftOwner(name), name);
    await (await archive.begin(mac, 10)).discard();
    assert.deepEqual(
      (await readdir(board)).filter((name) => !isBackupId(name)),
      [],
      'the next begin has cleared them',
    );
  }
  t.diagnostic(`${checked} backups complete, ${amidst} of ${kills} kills left a draft`);
});

test('three processes at once, the same board, the same second: every backup has an id of its own', async (t) => {
  const folder = await temporaryFolder(t);
  const script = await compileCommitter(join(folder, 'compiled'));
  const root = join(folder, 'archive');
  const committers = [1, 2, 3].map((seed) => startCommitter(script, root, MAC, seed === 3 ? 'gzip' : 'none', 15, seed));
  const ids: string[] = [];
  await Promise.all(
    committers.map(async ({ lines, exited }) => {
      await lines.next();
      for (let line = await lines.next(); line.done !== true; line = await lines.next()) ids.push(line.value);
      assert.deepEqual((await exited)[0], 0);
    }),
  );
  assert.equal(new Set(ids).size, 45);
  const archive = archiveAt(root);
  assert.deepEqual(await archive.verify({}), { checked: 45, damaged: [] });
  const { backups, problems } = await archive.history(MAC);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    backups.map(({ id }) => id),
    ids.sort(),
  );
  assert.equal(new Set(backups.map(({ manifest }) => manifest.image.sha256)).size, 45);
  assert.deepEqual((await readdir(join(root, macToFolder(MAC)))).length, 45);
});
