/** Images that share blocks with earlier ones: by a file system that pretends to, and on btrfs and XFS. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import * as nodeFs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { FileSystem } from '../../src/archive/disk.ts';
import { draftOwner } from '../../src/archive/owner.ts';
import { BLOCK_BYTES, SECTOR_BYTES } from '../../src/flash.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import type { Call } from './support.ts';
import { FOLDER, ID0, MAC, T0, allSound, archiveAt, backUp, content, image } from './support.ts';
import { systemError, temporaryFolder, watchedFileSystem } from './support.ts';

/** Five blocks, the last one short, and the flash of a day later, in which two sectors of one block have changed. */
const SIZE = 4 * BLOCK_BYTES + 1000;
const LATER = '2026-11-24T10:00:00.000Z';
const LATER_STILL = '2026-11-25T10:00:00.000Z';
const old = image(SIZE);
const changed = withBytes(old, BLOCK_BYTES + 5, 2 * BLOCK_BYTES - 1);

function withBytes(bytes: Buffer, ...offsets: number[]): Buffer {
  const copy = Buffer.from(bytes);
  for (const offset of offsets) copy[offset]! ^= 1;
  return copy;
}

/** Lets files share blocks, by copying them. */
function cloning(before: (call: Call) => void = () => undefined): FileSystem {
  return {
    ...watchedFileSystem(before),
    copyFile: async (from, to) => {
      before({ name: 'copyFile', path: String(to), to: undefined });
      await nodeFs.copyFile(from, to, nodeFs.constants.COPYFILE_EXCL);
    },
  };
}

const isOpening = ({ name }: Call) => name === 'copyFile';

/** Whether a call is of the clone, which is the file that is copied to. */
function ofClone(): (call: Call) => boolean {
  let clone: string | undefined;
  return (call) => {
    if (isOpening(call)) clone = call.path;
    return call.path === clone;
  };
}

async function withOld(t: TestContext): Promise<string> {
  const root = join(await temporaryFolder(t), 'archive');
  await backUp(archiveAt(root), old);
  return root;
}

const sharing = (root: string, fs: FileSystem) => archiveAt(root, { fs, reflinks: true });

async function assertKept({ path }: Backup, bytes: Buffer, message?: string): Promise<void> {
  assert.deepEqual((await nodeFs.readdir(path)).sort(), ['SHA256SUMS', 'flash.bin', 'manifest.json'], message);
  assert.ok((await nodeFs.readFile(join(path, 'flash.bin'))).equals(bytes), message);
  assert.equal((await nodeFs.lstat(join(path, 'flash.bin'))).mode & 0o777, 0o600, message);
}

test('only the sectors that differ are written, and the clone is on the disk before it takes the place of the image', async (t) => {
  const root = await withOld(t);
  const calls: Call[] = [];
  const backup = await backUp(
    sharing(
      root,
      cloning((call) => calls.push(call)),
    ),
    changed,
    LATER,
  );
  const onClone = calls.filter(ofClone());
  const clone = onClone[0]!.path;
  assert.equal(dirname(clone), join(root, FOLDER));
  const names = onClone.map(({ name }) => name);
  assert.equal(names.filter((name) => name === 'handle.write').length, 2);
  assert.ok(names.indexOf('handle.sync') > names.lastIndexOf('handle.write'));
  assert.ok(names.indexOf('handle.sync') < names.indexOf('rename'));
  assert.deepEqual(
    calls.filter(({ name, to }) => name === 'rename' && to?.endsWith('/flash.bin')).map(({ path }) => path),
    [clone],
  );
  await assertKept(backup, changed);
  assert.deepEqual((await nodeFs.readdir(join(root, FOLDER))).sort(), [ID0, backup.id]);
  assert.deepEqual(await archiveAt(root).verify({}), allSound(2));
});

test('whatever call fails, the backup is kept and nothing is left in it', async (t) => {
  const root = await withOld(t);
  const next = async (isFailing: (call: Call) => boolean, failure = 'EIO') => {
    let failed = 0;
    const isOfClone = ofClone();
    const fs = cloning((call) => {
      if (isOfClone(call) && isFailing(call)) {
        failed++;
        throw systemError(failure);
      }
    });
    const backup = await backUp(sharing(root, fs), changed, LATER);
    return { backup, failed };
  };
  const tidy = async ({ path }: Backup) => {
    await nodeFs.rm(path, { recursive: true });
    for (const name of await nodeFs.readdir(join(root, FOLDER)))
      if (draftOwner(name) !== undefined) await nodeFs.rm(join(root, FOLDER, name), { recursive: true });
  };
  let total = 0;
  const counted = await next(() => (total++, false));
  await tidy(counted.backup);
  assert.ok(total > 8, `${total} calls`);
  for (const failure of ['EIO', 'ENOSPC']) {
    for (let failing = 0; failing < total; failing++) {
      let count = 0;
      const { backup, failed } = await next(() => count++ === failing, failure);
      const message = `call ${failing} with ${failure}`;
      assert.equal(failed, 1, message);
      await assertKept(backup, changed, message);
      assert.deepEqual((await nodeFs.readdir(join(root, FOLDER))).sort(), [ID0, backup.id], message);
      assert.deepEqual(await archiveAt(root).verify({}), allSound(2), message);
      await tidy(backup);

      // What fails is not removed either: then it stays, in no backup, under a name that is no news to anybody.
      let again = 0;
      const both = await next((call) => call.name === 'rm' || again++ === failing, failure);
      await assertKept(both.backup, changed, message);
      const left = (await nodeFs.readdir(join(root, FOLDER))).filter((name) => draftOwner(name) !== undefined);
      assert.equal(left.length, failing === 0 ? 0 : 1, message);
      assert.deepEqual(await archiveAt(root).verify({}), allSound(2), message);
      await tidy(both.backup);
    }
  }
});

test('a clone that a dead process has left is cleared when the next backup begins', async (t) => {
  const root = await withOld(t);
  const isOfClone = ofClone();
  const fs = cloning((call) => {
    if (isOfClone(call) && ['rename', 'rm'].includes(call.name)) throw systemError('EIO');
  });
  await backUp(sharing(root, fs), changed, LATER);
  const board = join(root, FOLDER);
  const left = (await nodeFs.readdir(board)).filter((name) => draftOwner(name) !== undefined);
  assert.equal(left.length, 1);
  const dead = left[0]!.replace(/\.\d+\.(\d+\.[0-9a-f]{8})$/, '.4194305.$1');
  await nodeFs.rename(join(board, left[0]!), join(board, dead));
  await (await archiveAt(root).begin(MAC, SIZE)).discard();
  assert.deepEqual((await nodeFs.readdir(board)).sort(), [ID0, LATER.slice(0, 19).replaceAll(':', '-') + 'Z']);
});

test('an earlier image that has rotted is not shared, and stays as it is', async (t) => {
  const root = await withOld(t);
  const place = join(root, FOLDER, ID0, 'flash.bin');
  const rotten = withBytes(old, 5);
  await nodeFs.writeFile(place, rotten);
  const calls: Call[] = [];
  const fs = cloning((call) => calls.push(call));
  await assertKept(await backUp(sharing(root, fs), changed, LATER), changed);
  assert.equal(calls.filter(isOpening).length, 1);
  assert.ok((await nodeFs.readFile(place)).equals(rotten));
  assert.equal((await nodeFs.readdir(join(root, FOLDER))).length, 2);
});

test('a file system that refuses is asked once, one that fails again', async (t) => {
  for (const [code, expected] of [
    ...['ENOTSUP', 'EOPNOTSUPP', 'EXDEV', 'EINVAL', 'ENOTTY', 'ENOSYS'].map((each) => [each, 1] as const),
    ['EIO', 2],
    ['EPERM', 2],
  ] as const) {
    const root = await withOld(t);
    let asked = 0;
    const fs = cloning((call) => {
      if (!isOpening(call)) return;
      asked++;
      throw systemError(code);
    });
    const archive = sharing(root, fs);
    await assertKept(await backUp(archive, changed, LATER), changed);
    await assertKept(await backUp(archive, changed, LATER_STILL), changed);
    assert.equal(asked, expected, code);
  }
});

/** How often clones were asked for. */
async function asks(work: (archive: Archive) => Promise<unknown>, root: string, reflinks = true): Promise<number> {
  let asked = 0;
  const fs = cloning((call) => void (asked += Number(isOpening(call))));
  await work(archiveAt(root, { fs, reflinks }));
  return asked;
}

test('half of the blocks may be new, and no more', async (t) => {
  const root = await withOld(t);
  const differing = (...blocks: number[]) => withBytes(old, ...blocks.map((block) => block * BLOCK_BYTES));
  assert.equal(await asks((archive) => backUp(archive, differing(0, 4), LATER), root), 1);
  const other = await withOld(t);
  assert.equal(await asks((archive) => backUp(archive, differing(0, 2, 4), LATER), other), 0);
});

test('where nothing is to be shared, nothing is asked', async (t) => {
  const commit = async (archive: Archive, bytes = changed) => backUp(archive, bytes, LATER);
  assert.equal(await asks((archive) => commit(archive), await withOld(t), false), 0, 'switched off');
  assert.equal(await asks((archive) => commit(archive, changed.subarray(0, -1)), await withOld(t)), 0, 'size');
  assert.equal(await asks((archive) => commit(archive), join(await temporaryFolder(t), 'archive')), 0, 'first');

  const compressed = join(await temporaryFolder(t), 'archive');
  await backUp(archiveAt(compressed, { compression: 'gzip' }), old);
  assert.equal(await asks((archive) => commit(archive), compressed), 0, 'compressed');

  const linked = await withOld(t);
  const place = join(linked, FOLDER, ID0, 'flash.bin');
  await nodeFs.rename(place, join(linked, '..', 'elsewhere'));
  await nodeFs.symlink(join(linked, '..', 'elsewhere'), place);
  assert.equal(await asks((archive) => commit(archive), linked), 0, 'link');
  assert.ok((await nodeFs.readFile(join(linked, '..', 'elsewhere'))).equals(old));

  const snapshot = async (archive: Archive) => {
    const draft = await archive.begin(MAC, SIZE);
    await draft.write(0, changed);
    await draft.commit({ ...content(changed, LATER), reason: 'before-restore' });
  };
  assert.equal(await asks(snapshot, await withOld(t)), 0, 'a snapshot before a restore');
});

test('a compressed backup between is passed over, and so is one that cannot be understood', async (t) => {
  const root = await withOld(t);
  await backUp(archiveAt(root, { compression: 'gzip' }), changed, LATER);
  const { path } = await backUp(archiveAt(root), changed, '2026-11-24T11:00:00.000Z');
  await nodeFs.writeFile(join(path, 'manifest.json'), '{');
  assert.equal(await asks((archive) => backUp(archive, changed, LATER_STILL), root), 1);
});

test('what has to stay free on the disk, and what others were promised, is not taken for a clone', async (t) => {
  const root = await withOld(t);
  let freeBytes = Infinity;
  const fs = (asked: () => void): FileSystem => ({
    ...cloning((call) => isOpening(call) && asked()),
    statfs: (async (path: string) => {
      const stats = await nodeFs.statfs(path);
      return Object.assign(stats, {
        bsize: 1,
        blocks: 2 ** 40,
        bavail: Math.min(freeBytes, 2 ** 40),
        files: 0,
        ffree: 0,
      });
    }) as FileSystem['statfs'],
  });
  /** One block is new; 4 MiB more are kept free beyond it, see free-space.ts. */
  const needed = BLOCK_BYTES + 4 * 1024 ** 2 + 1000;
  for (const [spare, expected] of [
    [-1, 0],
    [0, 1],
  ] as const) {
    freeBytes = Infinity;
    let asked = 0;
    const archive = archiveAt(root, { fs: fs(() => asked++), reflinks: true, minFreeBytes: 1000 });
    const draft = await archive.begin(MAC, SIZE);
    await draft.write(0, changed);
    freeBytes = needed + spare;
    await assertKept(await draft.commit(content(changed, spare === 0 ? LATER : LATER_STILL)), changed);
    assert.equal(asked, expected, `${spare} bytes`);
    await nodeFs.rm(join(root, FOLDER, spare === 0 ? '2026-11-24T10-00-00Z' : '2026-11-25T10-00-00Z'), {
      recursive: true,
    });
  }
});

/** A file system of its own in a file; undefined, and the test says why it skips, where that cannot be had. */
async function mounted(t: TestContext, make: readonly string[], sizeBytes: number): Promise<string | undefined> {
  const folder = await nodeFs.mkdtemp(join(tmpdir(), 'espd-archive-'));
  const [disk, at] = [join(folder, 'disk'), join(folder, 'mnt')];
  let isMounted = false;
  t.after(async () => {
    if (isMounted) execFileSync('umount', [at]);
    await nodeFs.rm(folder, { recursive: true });
  });
  await nodeFs.writeFile(disk, '');
  await nodeFs.truncate(disk, sizeBytes);
  await nodeFs.mkdir(at);
  const [program = '', ...args] = make;
  const attempt = (name: string, ...rest: string[]) => {
    const { status, error, stderr } = spawnSync(name, rest, { encoding: 'utf8' });
    if (status === 0) return true;
    t.skip(`SKIPPED: ${name} does not do it here: ${error?.message ?? stderr.trim()}`);
    return false;
  };
  if (!attempt(program, ...args, disk)) return undefined;
  if (!attempt('mount', '-o', 'loop', disk, at)) return undefined;
  isMounted = true;
  return at;
}

async function usedBytes(at: string): Promise<number> {
  execFileSync('sync', ['-f', at]);
  const { blocks, bfree, bsize } = await nodeFs.statfs(at);
  return (blocks - bfree) * bsize;
}

const MIB = 1024 ** 2;
for (const [name, make, sizeBytes] of [
  ['btrfs', ['mkfs.btrfs', '-q'], 128 * MIB],
  ['XFS', ['mkfs.xfs', '-q', '-m', 'reflink=1'], 320 * MIB],
] as const) {
  test(`on ${name} a second backup takes what is new in it`, async (t) => {
    const at = await mounted(t, make, sizeBytes);
    if (at === undefined) return;
    const root = join(at, 'archive');
    const empty = await usedBytes(at);
    const flash = image(4 * MIB);
    const archive = archiveAt(root, { reflinks: true });
    await backUp(archive, flash, T0);
    const before = await usedBytes(at);
    const grown = withBytes(flash, 5, 3 * MIB + SECTOR_BYTES);
    const shared = await backUp(archive, grown, LATER);
    const taken = (await usedBytes(at)) - before;
    await assertKept(shared, grown);
    const { sharedBytes, total } = await archive.sizes.of([MAC]);
    assert.ok(sharedBytes !== null && sharedBytes > 3 * MIB && sharedBytes < 4 * MIB, `${sharedBytes} bytes saved`);
    // What is in use is what the files seem to take, less what they share: but for what the file system keeps of its own.
    assert.ok(Math.abs(before + taken - empty - (total.diskBytes - sharedBytes)) < MIB, `${total.diskBytes} bytes`);
    assert.ok((await nodeFs.readFile(join(root, FOLDER, ID0, 'flash.bin'))).equals(flash));
    assert.deepEqual(await archive.verify({}), allSound(2));
    const own = await backUp(archiveAt(root), grown, LATER_STILL);
    const takenAlone = (await usedBytes(at)) - before - taken;
    await assertKept(own, grown);
    t.diagnostic(`4 MiB of flash, two sectors new: ${taken} bytes more in use; without sharing ${takenAlone}`);
    assert.ok(taken < MIB, `${taken} bytes`);
    assert.ok(takenAlone > 3 * MIB, `${takenAlone} bytes`);
    assert.equal((await archive.sizes.of([MAC])).sharedBytes, sharedBytes, 'a third image shares nothing');
    if (name === 'btrfs')
      t.diagnostic(spawnSync('btrfs', ['filesystem', 'du', '-s', root], { encoding: 'utf8' }).stdout);
  });
}
