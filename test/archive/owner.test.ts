import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readdir, rename, symlink, utimes, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { isBackupId } from '../../src/archive/ids.ts';
import {
  currentOwner,
  draftName,
  draftOwner,
  isTrashName,
  ownerState,
  probeProcess,
  trashName,
} from '../../src/archive/owner.ts';
import type { Owner, ProcessProbe } from '../../src/archive/owner.ts';
import { FOLDER, MAC, backUp, content, image, newArchive } from './support.ts';

const self: Owner = {
  host: 'bench',
  machine: '0a0b0c0d',
  boot: '11112222',
  pidNamespace: '4026531836',
  pid: 100,
  startTicks: '5000',
};
const probe =
  (alive: Record<number, string>): ProcessProbe =>
  (pid) =>
    Promise.resolve(pid in alive ? { gone: false, startTicks: alive[pid]! } : { gone: true });

test("a draft's name gives its owner back, and is no backup id", () => {
  const hex = fc.stringMatching(/^[0-9a-f]{8}$/);
  const digits = fc.bigInt({ min: 0n, max: 10n ** 19n }).map(String);
  const owners = fc.record(
    {
      host: fc.stringMatching(/^[A-Za-z0-9_-]{1,63}$/),
      machine: fc.oneof(hex, fc.constant('0')),
      boot: fc.oneof(hex, fc.constant('0')),
      pidNamespace: digits,
      pid: fc.integer({ min: 1, max: 4194304 }),
      startTicks: digits,
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(owners, (owner) => {
      const name = draftName(owner);
      assert.deepEqual(draftOwner(name), owner);
      assert.notEqual(draftName(owner), name);
      assert.equal(isBackupId(name) || isTrashName(name), false);
      assert.ok(Buffer.byteLength(name) <= 255);
    }),
  );
  for (const name of [
    'draft',
    'draft.txt',
    'draft.a.b.c.d.e.f.g',
    `${draftName(self)}x`,
    `x${draftName(self)}`,
    `${draftName(self)}\n`,
    trashName(),
  ]) {
    assert.equal(draftOwner(name), undefined, name);
  }
});

test('whether an owner is gone', async () => {
  const state = (change: Partial<Owner>, alive: Record<number, string> = {}, as: Partial<Owner> = {}) =>
    ownerState({ ...self, pid: 7, startTicks: '42', ...change }, { ...self, ...as }, probe(alive));
  assert.equal(await state({}), 'gone');
  assert.equal(await state({}, { 7: '42' }), 'alive');
  assert.equal(await state({}, { 7: '43' }), 'gone', 'the number is used by another process now');
  assert.equal(await state({ startTicks: '0' }, { 7: '43' }), 'alive');
  assert.equal(await state({}, { 7: '0' }), 'alive');
  assert.equal(await state({ boot: '33334444' }, { 7: '42' }), 'gone', 'the machine was started anew');
  assert.equal(await state({ boot: '0' }), 'unknown');
  assert.equal(await state({ boot: '33334444', machine: '0' }, {}, { machine: '0' }), 'unknown');
  assert.equal(await state({ pidNamespace: '1' }), 'unknown', 'another container');
  assert.equal(await state({ host: 'other' }), 'unknown', 'another machine');
  assert.equal(await state({ machine: 'ffffffff' }), 'unknown', 'another machine of the same name');
  const bare = { machine: '0', boot: '0', pidNamespace: '0' };
  assert.equal(await state({ ...bare, startTicks: '0' }, {}, bare), 'gone', 'a system without /proc');
  assert.equal(await state({ ...bare, startTicks: '0' }, { 7: '0' }, bare), 'alive');
});

test('this process is alive, one that has ended is gone', async () => {
  const owner = await currentOwner();
  assert.equal(owner.pid, process.pid);
  assert.deepEqual(draftOwner(draftName(owner)), owner);
  assert.equal(await ownerState(owner, owner, probeProcess), 'alive');
  const child = spawn(process.execPath, ['-e', '']);
  const { pid } = child;
  assert.ok(pid);
  await once(child, 'exit');
  assert.deepEqual(await probeProcess(pid), { gone: true });
});

test('begin clears what dead processes left for this board, and nothing else', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(100));
  const board = join(archive.root, FOLDER);
  const me = await currentOwner();
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  const dead = draftName({ ...me, pid: child.pid!, startTicks: '1' });
  const quiet = draftName({ ...me, host: 'elsewhere' });
  const busy = draftName({ ...me, host: 'elsewhere' });
  const link = draftName({ ...me, pid: child.pid!, startTicks: '2' });
  const trash = trashName();
  for (const name of [dead, quiet, busy, trash]) {
    await mkdir(join(board, name));
    await writeFile(join(board, name, 'flash.bin'), 'half');
  }
  await symlink(archive.root, join(board, link));
  const long = new Date(Date.now() - 25 * 3600 * 1000);
  await utimes(join(board, quiet, 'flash.bin'), long, long);
  await utimes(join(board, quiet), long, long);
  await utimes(join(board, busy), long, long); // its folder is old, its image is not
  await writeFile(join(board, 'draft.txt'), 'a note');

  const mine = await archive.begin(MAC, 100);
  const second = await archive.begin(MAC, 100);
  const left = (await readdir(board)).filter((name) => !isBackupId(name));
  const names = [mine, second].map((draft) => draft.imagePath.split('/').at(-2)!);
  assert.deepEqual(left.sort(), [busy, 'draft.txt', ...names].sort());
  assert.ok((await readdir(archive.root)).includes(FOLDER), 'the link was not followed');
  await mine.discard();
  await second.discard();
});

test('a draft that was taken away while its owner still lived cannot become half a backup', async (t) => {
  const archive = await newArchive(t);
  const bytes = image(70_000);
  const draft = await archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  const folder = join(draft.imagePath, '..');
  await rename(folder, join(folder, '..', trashName()));
  await assert.rejects(draft.commit(content(bytes)), { code: 'archive-unwritable' });
  assert.deepEqual((await archive.history(MAC)).backups, []);
  assert.deepEqual((await archive.history(MAC)).problems, []);
});
