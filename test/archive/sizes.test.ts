/** What boards take on the disk, where files have several names, cannot be looked at, or share blocks. */

import assert from 'node:assert/strict';
import * as nodeFs from 'node:fs/promises';
import { fstatSync } from 'node:fs';
import { link, lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { FileSystem } from '../../src/archive/disk.ts';
import { parseMap } from '../../src/archive/fiemap.ts';
import { type Extent, savedBytes } from '../../src/archive/shared-bytes.ts';
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

test('each backup by itself; one that cannot be looked at is missing, and the others are told', async (t) => {
  const root = await filled(t);
  await backUp(archiveAt(root), image(SIZE, 2), '2026-11-24T10:00:00Z', MAC);
  const [sound] = (await archiveAt(root).sizes.of([MAC])).boards;
  const [first, second] = ['2026-11-23T10-00-00Z', '2026-11-24T10-00-00Z'];
  assert.deepEqual([...(sound?.backups.keys() ?? [])].sort(), [first, second]);
  const sum = [...(sound?.backups.values() ?? [])].reduce((all, bytes) => all + bytes, 0);
  assert.ok(sum >= 2 * SIZE && sum <= (sound?.diskBytes ?? 0), String(sum));
  const refusing = async (path: string) => {
    if (path === join(placeOf(root), second, 'flash.bin')) throw systemError('EACCES');
    return nodeFs.lstat(path);
  };
  const fs = { ...nodeFs, lstat: refusing } as unknown as FileSystem;
  const [board] = (await archiveAt(root, { fs }).sizes.of([MAC])).boards;
  assert.deepEqual([...(board?.backups ?? [])], [[first, sound?.backups.get(first)]]);
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

test('what images share counts once less, however many names they have, and is unknown if one is not told', async (t) => {
  const root = await filled(t);
  const flash = join(placeOf(root), '2026-11-23T10-00-00Z', 'flash.bin');
  const { ino } = await lstat(flash);
  let answers: (fd: number) => Promise<readonly Extent[] | null> = () => Promise.resolve(null);
  const sharing = (type: number) =>
    archiveAt(root, {
      fs: {
        ...nodeFs,
        statfs: async (path: string) => Object.assign(await nodeFs.statfs(path), { type }),
        sharedExtents: (fd: number) => answers(fd),
      } as unknown as FileSystem,
    }).sizes.of(MACS);
  const XFS = 0x58465342;
  assert.equal((await sharing(XFS)).sharedBytes, null);
  answers = () => Promise.resolve([{ offset: 8192, sizeBytes: 4096 }]);
  assert.equal((await sharing(XFS)).sharedBytes, 4096);
  assert.equal((await sharing(0xef53)).sharedBytes, null);
  answers = (fd) => Promise.resolve(fstatSync(fd).ino === ino ? null : []);
  assert.equal((await sharing(XFS)).sharedBytes, null);
  // The second board's image is the first one's under another name.
  const other = join(placeOf(root, OTHER_MAC), '2026-11-23T10-00-00Z', 'flash.bin');
  await nodeFs.rm(other);
  await link(flash, other);
  answers = () => Promise.resolve([{ offset: 8192, sizeBytes: 4096 }]);
  assert.equal((await sharing(XFS)).sharedBytes, 0);
  // An image that cannot be opened leaves only this unknown.
  await nodeFs.rm(other);
  await nodeFs.symlink(flash, other);
  const { sharedBytes, isPartial } = await sharing(XFS);
  assert.equal(sharedBytes, null);
  assert.deepEqual(isPartial, (await sharing(0xef53)).isPartial);
});

test('bytes that extents share: as if each byte of the disk were counted', () => {
  const extent = fc.record({ offset: fc.nat(40), sizeBytes: fc.nat(12) });
  fc.assert(
    fc.property(fc.array(extent), (extents) => {
      const bytes = extents.flatMap(({ offset, sizeBytes }) =>
        Array.from({ length: sizeBytes }, (_, at) => offset + at),
      );
      assert.equal(savedBytes(extents), bytes.length - new Set(bytes).size);
    }),
  );
});

test('a map of extents says which are shared and where to ask on, and a count that lies is bounded', () => {
  const map = (count: number, ...extents: [logical: number, physical: number, length: number, flags: number][]) => {
    const bytes = Buffer.alloc(32 + extents.length * 56);
    bytes.writeUInt32LE(count, 20);
    for (const [index, [logical, physical, length, flags]] of extents.entries()) {
      const at = 32 + index * 56;
      for (const [field, value] of [logical, physical, length].entries())
        bytes.writeBigUInt64LE(BigInt(value), at + field * 8);
      bytes.writeUInt32LE(flags, at + 40);
    }
    return bytes;
  };
  assert.deepEqual(parseMap(map(0)), { found: [], next: null });
  assert.deepEqual(parseMap(map(2, [0, 900, 10, 0x2000], [10, 500, 5, 0])), {
    found: [{ offset: 900, sizeBytes: 10 }],
    next: 15n,
  });
  // Not yet on the disk, and compressed: where it lies is not told.
  assert.deepEqual(parseMap(map(9, [0, 900, 10, 0x2004], [10, 500, 5, 0x2009])), { found: [], next: null });
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 400 }), (bytes) => {
      assert.ok(parseMap(Buffer.from(bytes)).found.length <= 6);
    }),
  );
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
