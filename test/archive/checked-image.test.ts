import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkedImage } from '../../src/archive/checked-image.ts';
import { BLOCK_BYTES } from '../../src/flash.ts';
import { backUp, image, newArchive } from './support.ts';

const BYTES = image(20 * BLOCK_BYTES + 100);

test('bytes come as they are, from anywhere, across blocks, and each block is read once while it is kept', async (t) => {
  const archive = await newArchive(t);
  const backup = await backUp(archive, BYTES);
  let reads = 0;
  const checked = checkedImage(backup, async () => {
    const reader = await archive.openImage(backup);
    const read = (offset: number, length: number) => {
      reads++;
      return reader.read(offset, length);
    };
    return { sizeBytes: reader.sizeBytes, read, close: () => reader.close() };
  });
  assert.equal(checked.sizeBytes, BYTES.length);
  for (const [offset, length] of [
    [0, 1],
    [BLOCK_BYTES - 1, 2],
    [3, 3 * BLOCK_BYTES],
    [BYTES.length - 7, 7],
    [5, 0],
  ] as const) {
    assert.ok((await checked.read(offset, length)).equals(BYTES.subarray(offset, offset + length)), `${offset}`);
  }
  assert.equal(reads, 5);
  assert.ok((await checked.read(0, BYTES.length)).equals(BYTES));
  await assert.rejects(checked.read(BYTES.length, 1), RangeError);
  await checked.close();
});

test('a block that has rotted is told where it is read, and nowhere else', async (t) => {
  const archive = await newArchive(t);
  const backup = await backUp(archive, BYTES);
  const path = join(backup.path, 'flash.bin');
  const rotten = await readFile(path);
  rotten.writeUInt8(rotten.readUInt8(2 * BLOCK_BYTES + 5) ^ 1, 2 * BLOCK_BYTES + 5);
  await writeFile(path, rotten);
  const checked = checkedImage(backup, (one) => archive.openImage(one));
  assert.equal((await checked.read(0, 2 * BLOCK_BYTES)).length, 2 * BLOCK_BYTES);
  for (const offset of [2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 6, 3 * BLOCK_BYTES - 1]) {
    await assert.rejects(checked.read(offset, 1), { code: 'archive-damaged', message: /flash\.bin at 0x20000$/ });
  }
  await checked.close();
});

test('nothing is opened that nobody reads', async (t) => {
  const archive = await newArchive(t);
  const backup = await backUp(archive, BYTES);
  const checked = checkedImage(backup, () => assert.fail('opened'));
  await checked.close();
});
