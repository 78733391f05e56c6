import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';

import { readFileSystem } from '../../../src/firmware/filesystems/index.ts';
import { readLittleFs } from '../../../src/firmware/filesystems/littlefs.ts';
import { fixtureImage, fixtureSeries, fixtures, listingOf } from './fixtures.ts';

/** Every problem of an image that must be littlefs; entries may be there or not. */
function problemsOf(image: Buffer): readonly string[] {
  const reading = readLittleFs(image);
  assert.ok(reading);
  return reading.problems;
}

interface BuiltTag {
  readonly type: number;
  readonly id: number;
  readonly data: Buffer;
}

/** One block with these commits, put together by the specification: tags with their data, then a checksum for each. */
function metadataLog(sizeBytes: number, revision: number, commits: readonly (readonly BuiltTag[])[]): Buffer {
  const block = Buffer.alloc(sizeBytes, 0xff);
  block.writeUInt32LE(revision, 0);
  let previous = 0xffffffff;
  let at = 4;
  let start = 0;
  const put = (tag: number, data: Buffer) => {
    block.writeUInt32BE((tag ^ previous) >>> 0, at);
    data.copy(block, at + 4);
    previous = tag;
    at += 4 + data.length;
  };
  for (const tags of commits) {
    for (const { type, id, data } of tags) put(((type << 20) | (id << 10) | data.length) >>> 0, data);
    put(((0x500 << 20) | (0x3ff << 10) | 4) >>> 0, Buffer.alloc(4));
    block.writeUInt32LE(~crc32(block.subarray(start, at - 4)) >>> 0, at - 4);
    start = at;
  }
  return block;
}

const metadataBlock = (sizeBytes: number, revision: number, tags: readonly BuiltTag[]) =>
  metadataLog(sizeBytes, revision, [tags]);

const u32 = (...values: number[]) => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32LE(value >>> 0, index * 4));
  return bytes;
};
const superblock = (blockBytes: number, blocks: number, version = 0x20001) => [
  { type: 0x0ff, id: 0, data: Buffer.from('littlefs') },
  { type: 0x201, id: 0, data: u32(version, blockBytes, blocks, 255, 0x7fffffff, 1022) },
];
const NOTHING = { type: 0x600, id: 0x3ff, data: u32(0xffffffff, 0xffffffff) };

/** An image of 256-byte blocks with these tags in the root folder. */
function imageOf(
  blocks: number,
  tags: Parameters<typeof metadataBlock>[2],
  others: Record<number, Buffer> = {},
): Buffer {
  const image = Buffer.alloc(blocks * 256, 0xff);
  metadataBlock(256, 1, [...superblock(256, blocks), ...tags]).copy(image, 0);
  for (const [index, block] of Object.entries(others)) block.copy(image, Number(index) * 256);
  return image;
}

describe('littlefs images that littlefs made', () => {
  for (const fixture of fixtures('littlefs')) {
    test(`${fixture.image}: ${fixture.made}`, () => {
      const reading = readFileSystem(fixtureImage(fixture.image));
      assert.ok(reading);
      assert.equal(reading.kind, 'littlefs');
      assert.deepEqual(reading.problems, []);
      assert.deepEqual(listingOf(reading), { folders: fixture.folders, files: fixture.files });
    });
  }

  test('every image after a power loss reads as what littlefs makes of it, without a problem', () => {
    const series = fixtureSeries('littlefs-power-loss');
    assert.ok(series.length >= 40);
    for (const [index, { image, facts }] of series.entries()) {
      const reading = readFileSystem(image);
      assert.ok(reading, `image ${index}`);
      assert.deepEqual(reading.problems, [], `image ${index}`);
      assert.deepEqual(listingOf(reading), facts, `image ${index}`);
    }
  });

  test('entries are sorted, and what readFile gives is a copy', () => {
    const image = fixtureImage('littlefs-2.1-128.bin');
    const reading = readLittleFs(image);
    assert.ok(reading);
    const paths = reading.entries.map((entry) => entry.path);
    assert.deepEqual(paths, [...paths].sort());
    const before = Buffer.from(image);
    for (const name of paths) reading.readFile(name).bytes?.fill(0);
    assert.ok(image.equals(before));
    assert.equal(reading.readFile('/nowhere').problem, 'there is no such file');
    assert.equal(reading.readFile('/d').problem, 'it is a folder');
  });
});

describe('damaged littlefs', () => {
  const image = fixtureImage('littlefs-2.1-4096.bin');
  const copy = () => Buffer.from(image);

  test('the older superblock is enough to go on, and the newer one alone loses nothing', () => {
    const [fixture] = fixtures('littlefs');
    assert.equal(fixture?.image, 'littlefs-2.1-4096.bin');
    const newer = image.readUInt32LE(0) > image.readUInt32LE(4096) ? 0 : 1;
    const damaged = copy();
    damaged.fill(0xff, (1 - newer) * 4096, (2 - newer) * 4096);
    const reading = readLittleFs(damaged);
    assert.ok(reading);
    assert.deepEqual(listingOf(reading), { folders: fixture.folders, files: fixture.files });

    const older = copy();
    older.fill(0xff, newer * 4096, (newer + 1) * 4096);
    assert.equal(readLittleFs(older)?.kind, 'littlefs');
  });

  test('both blocks of the root gone: said, with their numbers', () => {
    const damaged = copy();
    for (const block of [0, 1]) damaged.fill(0, block * 4096 + 20, (block + 1) * 4096);
    assert.deepEqual(problemsOf(damaged), ['both superblocks of littlefs (blocks 0 and 1) are damaged']);
  });

  test('both blocks of a folder gone: said, with the folder and the block numbers, and the rest is read', () => {
    const root = [
      { type: 0x002, id: 1, data: Buffer.from('dir') },
      { type: 0x200, id: 1, data: u32(4, 5) },
    ];
    const file = [
      { type: 0x001, id: 2, data: Buffer.from('file') },
      { type: 0x201, id: 2, data: Buffer.from('text') },
    ];
    const reading = readLittleFs(imageOf(8, [...root, ...file, { type: 0x600, id: 0x3ff, data: u32(4, 5) }]));
    assert.ok(reading);
    assert.deepEqual(reading.problems, [
      'both blocks of metadata pair {4, 5} are damaged: entries of folder /dir are missing',
    ]);
    assert.deepEqual(Object.keys(listingOf(reading).files), ['/file']);
  });

  test('a flip in a commit with others behind it is said; in the last one it is a torn write, and the state before counts', () => {
    const name = (id: number, text: string) => [
      { type: 0x001, id, data: Buffer.from(text) },
      { type: 0x201, id, data: Buffer.from('content') },
    ];
    const commits = [superblock(256, 8), name(1, 'first'), name(2, 'second'), name(3, 'third')];
    const sound = Buffer.alloc(8 * 256, 0xff);
    metadataLog(256, 1, commits).copy(sound, 0);
    assert.equal(readLittleFs(sound)?.entries.length, 3);
    for (const [commit, text] of ['first', 'second', 'third'].entries()) {
      const at = sound.indexOf(text);
      assert.ok(at > 0);
      for (let bit = 0; bit < text.length * 8; bit++) {
        const flipped = Buffer.from(sound);
        flipped[at + (bit >> 3)]! ^= 1 << (bit & 7);
        const reading = readLittleFs(flipped);
        assert.ok(reading);
        assert.equal(reading.entries.length, commit);
        const expected = commit < 2 ? ['metadata block 0 is damaged: folder / may be an older one than it was'] : [];
        assert.deepEqual(reading.problems, expected);
      }
    }
  });

  test('a block of a file that points elsewhere: the file is refused, the others are read', () => {
    const file = '/www/img/logo.png';
    const sound = readLittleFs(image);
    assert.ok(sound);
    const content = sound.readFile(file).bytes;
    assert.ok(content);
    // Block 4 of the content begins with pointers to blocks 3, 2 and 0; find it by what follows them.
    const start = 4 * 4096 - 4 * (1 + 2 + 1);
    const at = image.indexOf(content.subarray(start, start + 64)) - 12;
    assert.equal(at % 4096, 0);
    for (const offset of [0, 4, 8]) {
      const damaged = copy();
      damaged.writeUInt32LE(damaged.readUInt32LE(at + offset) ^ 1, at + offset);
      const reading = readLittleFs(damaged);
      assert.ok(reading);
      assert.ok(reading.problems.some((problem) => problem.startsWith(`${file} cannot be read: its block`)));
      assert.equal(reading.readFile(file).bytes, null);
      assert.equal(reading.readFile('/www/index.html').problem, null);
    }
  });

  test('cut short: said, with the number of blocks', () => {
    const problems = problemsOf(image.subarray(0, 10 * 4096));
    assert.equal(problems[0], 'littlefs has 64 blocks of 4096 bytes, but only 10 are here');
  });

  test('cut at every byte: never an exception', () => {
    const small = fixtureImage('littlefs-2.1-128.bin');
    for (let length = 0; length <= small.length; length++) {
      const reading = readFileSystem(small.subarray(0, length));
      if (reading !== undefined) listingOf(reading);
    }
  });
});

describe('hostile littlefs', () => {
  const folder = (id: number, name: string, pair: readonly [number, number]) => [
    { type: 0x002, id, data: Buffer.from(name) },
    { type: 0x200, id, data: u32(...pair) },
  ];
  const file = (id: number, name: string, head: number, sizeBytes: number) => [
    { type: 0x001, id, data: Buffer.from(name) },
    { type: 0x202, id, data: u32(head, sizeBytes) },
  ];

  test('a folder in itself', () => {
    const reading = readLittleFs(imageOf(8, folder(1, 'loop', [0, 1])));
    assert.deepEqual(reading?.problems, [
      'folder /loop leads to metadata pair {0, 1}, which belongs to something else too',
    ]);
  });

  test('tails in a circle', () => {
    const problems = problemsOf(imageOf(8, [{ type: 0x600, id: 0x3ff, data: u32(0, 1) }]));
    assert.deepEqual(problems, ['the list of metadata pairs runs in a circle at {0, 1}']);
    const hard = problemsOf(imageOf(8, [{ type: 0x601, id: 0x3ff, data: u32(0, 1) }]));
    assert.ok(hard.length > 0);
  });

  test('blocks outside, sizes beyond, blocks of two files', () => {
    const problems = problemsOf(
      imageOf(8, [
        ...file(1, 'far', 99, 200),
        ...file(2, 'huge', 2, 0xfffffff0),
        ...file(3, 'one', 3, 200),
        ...file(4, 'two', 3, 200),
      ]),
    );
    assert.deepEqual(problems, [
      '/far cannot be read: its block 0 is said to be block 99, which is outside',
      '/huge cannot be read: it claims 4294967280 bytes, more than the file system has',
      '/two cannot be read: its block 0 is block 3, which belongs to something else too',
    ]);
  });

  test('names that lead elsewhere, and names twice', () => {
    const inline = (id: number, name: string) => [
      { type: 0x001, id, data: Buffer.from(name) },
      { type: 0x201, id, data: Buffer.from('x') },
    ];
    const reading = readLittleFs(
      imageOf(8, [
        ...inline(1, '..'),
        ...inline(2, 'a/b'),
        ...inline(3, ''),
        ...inline(4, 'same'),
        ...inline(5, 'same'),
      ]),
    );
    assert.ok(reading);
    assert.deepEqual(reading.problems, [
      'an entry with the impossible name ".." in folder /',
      'an entry with the impossible name "a/b" in folder /',
      'an entry with the impossible name "" in folder /',
      'several files or folders are called /same',
    ]);
    assert.equal(reading.readFile('/same').problem, 'several files have this name');
  });

  test('two pairs that share a block with the same tags are walked once', () => {
    const inner = metadataBlock(256, 1, folder(0, 'x', [6, 7]));
    const reading = readLittleFs(
      imageOf(8, [...folder(1, 'one', [4, 5]), ...folder(2, 'two', [4, 6])], { 4: inner, 6: inner }),
    );
    assert.ok(reading);
    assert.ok(reading.entries.length < 10);
    assert.ok(reading.problems.length > 0);
  });

  test('what a half move has left is not shown', () => {
    const inline = (id: number, name: string) => [
      { type: 0x001, id, data: Buffer.from(name) },
      { type: 0x201, id, data: Buffer.from('x') },
    ];
    const move = { type: 0x7ff, id: 0x3ff, data: u32(((0x4ff << 20) | (1 << 10)) >>> 0, 0, 1) };
    const reading = readLittleFs(imageOf(8, [...inline(1, 'moved'), ...inline(2, 'stays'), move]));
    assert.ok(reading);
    assert.deepEqual(reading.problems, []);
    assert.deepEqual(
      reading.entries.map((entry) => entry.path),
      ['/stays'],
    );
  });

  test('the newer block wins, also when the revision has run over', () => {
    const withName = (revision: number, name: string) =>
      metadataBlock(256, revision, [
        ...superblock(256, 8),
        { type: 0x001, id: 1, data: Buffer.from(name) },
        { type: 0x201, id: 1, data: Buffer.from('x') },
        NOTHING,
      ]);
    for (const [one, other, expected] of [
      [1, 2, '/second'],
      [3, 2, '/first'],
      [0xffffffff, 0, '/second'],
      [0, 0xffffffff, '/first'],
      [0x7fffffff, 0x80000000, '/second'],
    ] as const) {
      const image = Buffer.alloc(8 * 256, 0xff);
      withName(one, 'first').copy(image, 0);
      withName(other, 'second').copy(image, 256);
      assert.equal(readLittleFs(image)?.entries[0]?.path, expected);
    }
  });

  test('versions that espd does not know are said', () => {
    for (const [version, shown] of [
      [0x20002, '2.2'],
      [0x30000, '3.0'],
    ] as const) {
      const image = Buffer.alloc(8 * 256, 0xff);
      metadataBlock(256, 1, superblock(256, 8, version)).copy(image, 0);
      assert.deepEqual(problemsOf(image), [`littlefs version ${shown} is not supported; espd reads 2.0 and 2.1`]);
    }
  });
});
