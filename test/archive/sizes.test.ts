/** What boards take on the disk, where files have several names, cannot be looked at, or share blocks. */

import assert from 'node:assert/strict';
import * as nodeFs from 'node:fs/promises';
import { link, lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { FileSystem } from '../../src/archive/disk.ts';
import { macToFolder } from '../../src/mac.ts';
import { MAC, OTHER_MAC, T0, archiveAt, backUp, image, systemError, temporaryFolder } from './support.ts';

const SIZE = 96 * 1024;
const MACS = [MAC, OTHER_MAC];
const placeOf = (root: string, mac = MAC) => join(root, macToFolder(mac));

async function filled(t: TestContext): Promise<string> {
  const root = join(await temporaryFolder(t), 'archive');
  for (const mac of MACS) await backUp(archiveAt(root), image(SIZE), T0, mac);
  return root;
}

test('a file that hard links put into two boards counts in both, and once in the total', async (t) => {
  const root = await filled(t);
  const before = await archiveAt(root).sizes.of(MACS);
  const bytes = (await lstat(join(placeOf(root), '2026-11-23T10-00-00Z', 'flash.bin'))).blocks * 512;
  assert.ok(bytes >= SIZE);
  // As a tool that looks for equal files does it.
  await link(join(placeOf(root), '2026-11-23T10-00-00Z', 'flash.bin'), join(placeOf(root, OTHER_MAC), 'equal.bin'));
  const { boards, total, isPartial } = await archiveAt(root).sizes.of(MACS);
  const grownBy = (index: number) => (boards[index]?.diskBytes ?? 0) - (before.boards[index]?.diskBytes ?? 0);
  assert.deepEqual([grownBy(0), isPartial], [0, false]);
  assert.ok(grownBy(1) >= bytes);
  const sum = boards.reduce((all, { diskBytes }) => all + (diskBytes ?? 0), 0);
  assert.equal(total.diskBytes, sum - bytes);
});

test('a board whose folder may not be read has no size, and the total is a lower bound', async (t) => {
  const root = await filled(t);
  const sound = await archiveAt(root).sizes.of([OTHER_MAC]);
  for (const [name, failing] of [
    ['readdir', placeOf(root)],
    ['lstat', placeOf(root)],
    ['readdir', join(placeOf(root), '2026-11-23T10-00-00Z')],
  ] as const) {
    const refusing = async (path: string, ...rest: unknown[]) => {
      if (path === failing) throw systemError('EACCES');
      return (nodeFs[name] as (...args: unknown[]) => Promise<unknown>)(path, ...rest);
    };
    const fs = { ...nodeFs, [name]: refusing } as unknown as FileSystem;
    const { boards, total, isPartial } = await archiveAt(root, { fs }).sizes.of(MACS);
    const [first, second] = boards;
    assert.deepEqual(
      [first?.imageBytes, first?.diskBytes, first?.otherBytes],
      [null, null, null],
      `${name} ${failing}`,
    );
    assert.match(first?.problems[0]?.problem ?? '', /may not be read by this user/);
    assert.equal(first?.problems[0]?.mac, MAC);
    assert.equal(second?.diskBytes, sound.total.diskBytes);
    assert.ok(isPartial);
    assert.ok(total.diskBytes >= sound.total.diskBytes);
    assert.equal(total.imageBytes, SIZE);
  }
});

test('only file systems whose files can share blocks are said to be such', async (t) => {
  const root = await filled(t);
  for (const [type, expected] of [
    [0x9123683e, true], // btrfs
    [0x58465342, true], // XFS
    [0xef53, false], // ext4
  ] as const) {
    const fs = {
      ...nodeFs,
      statfs: async (path: string) => Object.assign(await nodeFs.statfs(path), { type }),
    } as unknown as FileSystem;
    assert.equal((await archiveAt(root, { fs }).sizes.of(MACS)).disk?.canShareBlocks, expected);
  }
});
