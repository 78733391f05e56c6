/** What root writes into a state folder that is not root's. */

import assert from 'node:assert/strict';
import { chown, link, lstat, mkdir, mkdtemp, open, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { giveAllToOwner, giveFileToOwner, giveToOwner, makeStateFolder } from '../../src/archive/state-owner.ts';
import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { BlockLibrary } from '../../src/replication/blocks/block-library.ts';
import { takeLock } from '../../src/replication/journal/lock.ts';
import { appendLines, replaceFile } from '../../src/replication/state-file.ts';
import { MAC, archiveAt, backUp, image } from './support.ts';

const SERVICE = { uid: 4242, gid: 4243 };
const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : 'SKIPPED: only root can write as one and give to another';

async function stateFolder(t: TestContext, owner: { uid: number; gid: number } | null = SERVICE): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-owner-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const state = join(folder, 'state');
  await mkdir(state, { mode: 0o700 });
  if (owner !== null) await chown(state, owner.uid, owner.gid);
  return state;
}

async function ownersBelow(folder: string, ...paths: readonly string[]): Promise<unknown[]> {
  const facts = await Promise.all(paths.map((path) => lstat(join(folder, path))));
  return facts.map(({ uid, gid }) => ({ uid, gid }));
}

test('queue, lock and library of a station are of the owner of the state, folders and all', { skip }, async (t) => {
  const state = await stateFolder(t);
  await replaceFile(join(state, 'replication/station.json'), '{}');
  await appendLines(join(state, 'replication/store/done.jsonl'), ['{}']);
  const lock = await takeLock(join(state, 'replication/store/journal.lock'), systemClock, new AbortController().signal);
  const library = new BlockLibrary(join(state, 'replication/store/blocks'), silentLogger);
  await library.add({ mac: '50:02:91:c3:37:a5', id: '2026-01-01T00-00-00Z', blocksMd5: ['ab'.repeat(16)] } as never);
  await library.flush();
  const paths = [
    'replication',
    'replication/station.json',
    'replication/store',
    'replication/store/done.jsonl',
    'replication/store/journal.lock',
    'replication/store/blocks',
  ];
  assert.deepEqual(
    await ownersBelow(state, ...paths),
    paths.map(() => SERVICE),
  );
  await lock?.release();
});

test('a backup, and what is noted of the board, are of the owner of the archive', { skip }, async (t) => {
  const root = await stateFolder(t);
  const archive = archiveAt(root);
  await backUp(archive, image(100));
  await archive.marks.describe(MAC, { label: 'kitchen' });
  const all = (await readdir(root, { recursive: true })).filter((path) => !path.includes('draft'));
  assert.ok(all.length > 5, all.join());
  assert.deepEqual(
    await ownersBelow(root, ...all),
    all.map(() => SERVICE),
    all.join(),
  );
});

test('notes of restores, and the folders on their way', { skip }, async (t) => {
  const state = await stateFolder(t);
  await mkdir(join(state, 'restores/board'), { recursive: true });
  await writeFile(join(state, 'restores/board/restoring.json'), '{}');
  await giveAllToOwner(state, 'restores', 'board');
  const paths = ['restores', 'restores/board', 'restores/board/restoring.json'];
  assert.deepEqual(
    await ownersBelow(state, ...paths),
    paths.map(() => SERVICE),
  );
});

test('a link that the user of the service has put there gives away nothing of root', { skip }, async (t) => {
  const state = await stateFolder(t);
  const secret = join(state, '..', 'secret');
  await writeFile(secret, 'of root');
  await symlink(secret, join(state, 'link'));
  await giveToOwner(join(state, 'link'));
  await giveAllToOwner(state);
  assert.deepEqual(await ownersBelow(state, '../secret', 'link'), [{ uid: 0, gid: 0 }, SERVICE]);
});

test('a folder that is there is left as it is, what is missing is made closed', async (t) => {
  const state = await stateFolder(t, null);
  const before = await lstat(state);
  await makeStateFolder(state);
  assert.deepEqual([(await lstat(state)).mode, (await lstat(state)).uid], [before.mode, before.uid]);
  await makeStateFolder(join(state, 'a/b'));
  for (const path of ['a', 'a/b']) assert.equal((await lstat(join(state, path))).mode & 0o777, 0o700);
  await giveToOwner(join(state, 'missing'));
  await giveAllToOwner(state, 'missing', 'more');
  await replaceFile(join(state, 'a/file'), 'x');
  assert.equal(await readFile(join(state, 'a/file'), 'utf8'), 'x');
});

test(
  'a file of root with another name is given to nobody: what that name leads to would go with it',
  { skip },
  async (t) => {
    const state = await stateFolder(t);
    for (const name of ['alone', 'by-path', 'secret']) await writeFile(join(state, name), '');
    await link(join(state, 'secret'), join(state, 'linked'));
    for (const name of ['alone', 'linked']) {
      const handle = await open(join(state, name));
      await giveFileToOwner(handle, join(state, name)).finally(() => handle.close());
    }
    for (const name of ['by-path', 'linked']) await giveToOwner(join(state, name));
    assert.deepEqual(await ownersBelow(state, 'alone', 'by-path', 'secret'), [SERVICE, SERVICE, { uid: 0, gid: 0 }]);
  },
);
