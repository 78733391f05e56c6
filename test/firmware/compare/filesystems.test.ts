/** Whole images with file systems that other programs made, compared: the files by what those programs say of them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { compareFlash, type FilesContent, type PartComparison } from '../../../src/firmware/compare/index.ts';
import { readFileSystem } from '../../../src/firmware/filesystems/index.ts';
import { esp32App, flashWith, MIB, readerOf, tableSector } from '../builder.ts';
import { fixture } from '../nvs-builder.ts';
import { type Fixture, fixtureImage, fixtures } from '../filesystems/fixtures.ts';

const PLACE = { offset: 0x110000, size: 0xf0000 };
const TABLE = tableSector([
  { label: 'app', type: 0, subtype: 0, offset: 0x10000, size: 0x100000 },
  { label: 'storage', type: 1, subtype: 0x82, ...PLACE },
]);

/** The partition that holds it is as large as its image: what lies behind belongs to nobody. */
function flashOf(image: Buffer): Buffer {
  const table = tableSector([
    { label: 'app', type: 0, subtype: 0, offset: 0x10000, size: 0x100000 },
    { label: 'storage', type: 1, subtype: 0x82, offset: PLACE.offset, size: image.length },
  ]);
  return flashWith(2 * MIB, [
    [0x8000, image.length > PLACE.size ? TABLE : table],
    [0x10000, esp32App()],
    [PLACE.offset, image],
  ]);
}

async function storageOf(before: Buffer, after: Buffer): Promise<PartComparison | undefined> {
  const [one, other] = [flashOf(before), flashOf(after)].map((flash) => {
    return { read: readerOf(flash).read, sizeBytes: flash.length, family: 'esp32', encrypted: false };
  });
  assert.ok(one !== undefined && other !== undefined);
  const { contents } = await compareFlash(one, other);
  return contents?.parts.find(({ name }) => name === 'storage');
}

/** What must be told, by the listings beside the images. */
function expected(before: Fixture, after: Fixture) {
  const named = ({ files, folders }: Fixture) =>
    new Map([
      ...Object.entries(files).map(([path, { sha256 }]) => [path, sha256] as const),
      ...folders.map((path) => [path, ''] as const),
    ]);
  const [old, now] = [named(before), named(after)];
  return {
    added: [...now.keys()].filter((path) => !old.has(path)).sort(),
    changed: [...now]
      .filter(([path, digest]) => old.has(path) && old.get(path) !== digest)
      .map(([path]) => path)
      .sort(),
    removed: [...old.keys()].filter((path) => !now.has(path)).sort(),
  };
}

const pathsOf = ({ added, changed, removed }: FilesContent) => {
  const paths = (list: FilesContent['added']) => list.map(({ path }) => path).sort();
  return { added: paths(added), changed: paths(changed), removed: paths(removed) };
};

describe('file systems in partitions', () => {
  const all = [...fixtures('spiffs'), ...fixtures('littlefs')].map((fixture) => {
    return { fixture, image: fixtureImage(fixture.image) };
  });
  const fitting = all.filter(({ image }) => image.length <= PLACE.size);

  test('every pair of fixtures: what came, changed and went', async () => {
    assert.ok(fitting.length >= 8, `${fitting.length}`);
    let compared = 0;
    for (const { fixture: before, image: one } of fitting) {
      for (const { fixture: after, image: other } of fitting) {
        const part = await storageOf(one, other);
        const title = `${before.image} to ${after.image}`;
        if (before === after) {
          assert.equal(part, undefined, title);
          continue;
        }
        assert.ok(part?.content?.kind === 'files', title);
        assert.deepEqual(part.problems, [], title);
        assert.deepEqual(part.content.unknown, [], title);
        assert.deepEqual(pathsOf(part.content), expected(before, after), title);
        compared++;
      }
    }
    assert.equal(compared, fitting.length * (fitting.length - 1));
  });

  test('one byte of a file: that file changed, with its size', async () => {
    const image = fixtureImage('spiffs-esp32.bin');
    const changed = Buffer.from(image);
    const content = readFileSystem(image)?.readFile('/www/logo.png').bytes;
    const text = changed.indexOf(content?.subarray(10, 42) ?? 'none');
    assert.ok(text > 0);
    changed.writeUInt8(changed.readUInt8(text) ^ 1, text);
    const part = await storageOf(image, changed);
    assert.ok(part?.content?.kind === 'files');
    assert.equal(part.sectors, 1);
    const { added, changed: files, removed } = part.content;
    assert.deepEqual([added.length, removed.length], [0, 0]);
    assert.deepEqual(files, [{ path: '/www/logo.png', isFolder: false, sizeBytes: { before: 45000, after: 45000 } }]);
  });

  test('FAT, with and without wear levelling: all files came, with their sizes', async () => {
    for (const name of ['fat-fatfsgen-wl.bin.gz', 'fat-mkfs-12.bin.gz', 'fat-wl-moved.bin.gz']) {
      const image = fixture(name);
      assert.ok(image.length <= PLACE.size, `${name}: ${image.length}`);
      const part = await storageOf(Buffer.alloc(image.length, 0xff), image);
      assert.ok(part?.content?.kind === 'files', name);
      assert.deepEqual(part.content.fileSystem, { before: null, after: 'fat' }, name);
      const expectedFiles = readFileSystem(image)?.entries.map(({ path, sizeBytes }) => [path, sizeBytes]);
      assert.ok(expectedFiles !== undefined && expectedFiles.length > 0, name);
      assert.deepEqual(
        part.content.added.map(({ path, sizeBytes }) => [path, sizeBytes.after]),
        expectedFiles,
        name,
      );
    }
  });

  test('damaged: a sentence, whatever could be read, and the sectors all the same', async () => {
    for (const name of ['spiffs-esp32.bin', 'littlefs-2.1-4096.bin']) {
      const image = fixtureImage(name);
      const torn = Buffer.from(image);
      // All but the beginning, where the file system is recognized.
      torn.fill(0x00, 0x2000);
      const part = await storageOf(image, torn);
      assert.ok(part !== undefined, name);
      assert.ok(part.sectors > 10, name);
      const told = part.content?.kind === 'files' ? part.content : null;
      const isTold = part.problems.some((problem) => problem.startsWith('after: its '));
      assert.ok(isTold || told?.fileSystem.after === null, `${name}: ${JSON.stringify(part.problems)}`);
    }
  });
});
