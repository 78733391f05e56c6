import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { readFileSystem } from '../../../src/firmware/filesystems/index.ts';
import { findSpiffsGeometry } from '../../../src/firmware/filesystems/spiffs-geometry.ts';
import { readSpiffs } from '../../../src/firmware/filesystems/spiffs.ts';
import { fixtureImage, fixtureSeries, fixtures, listingOf } from './fixtures.ts';

const GEOMETRIES: Readonly<Record<string, readonly [pageBytes: number, blockBytes: number]>> = {
  'spiffs-esp32.bin': [256, 4096],
  'spiffs-esp8266-4096.bin': [256, 4096],
  'spiffs-esp8266-8192.bin': [256, 8192],
  'spiffs-no-magic.bin': [256, 4096],
  'spiffs-1024-65536.bin': [1024, 65536],
  'spiffs-512-16384.bin': [512, 16384],
  'spiffs-small.bin': [256, 4096],
  'spiffs-mkspiffs.bin': [256, 4096],
};

/** The number of the first page with `text` in it, for pages of 256 bytes. */
function pageWith(image: Buffer, text: string): number {
  const at = image.indexOf(text);
  assert.ok(at >= 0);
  return Math.floor(at / 256);
}

function read(image: Uint8Array) {
  const reading = readSpiffs(image);
  assert.ok(reading);
  return reading;
}

describe('SPIFFS images that SPIFFS made', () => {
  for (const fixture of fixtures('spiffs')) {
    test(`${fixture.image}: ${fixture.made}`, () => {
      const image = fixtureImage(fixture.image);
      const reading = readFileSystem(image);
      assert.ok(reading);
      assert.equal(reading.kind, 'spiffs');
      assert.deepEqual(reading.problems, []);
      assert.deepEqual(listingOf(reading), { folders: [], files: fixture.files });
      const geometry = findSpiffsGeometry(image);
      assert.ok(geometry);
      assert.deepEqual([geometry.pageBytes, geometry.blockBytes], GEOMETRIES[fixture.image]);
    });
  }

  test('after a power loss: without a problem, what SPIFFS shows; with one, nothing that SPIFFS shows differently', () => {
    interface Torn {
      readonly files: readonly { path: string; size: number; sha256: string | null }[];
    }
    const series = fixtureSeries('spiffs-power-loss');
    let withoutProblem = 0;
    for (const [index, { image, facts }] of series.entries()) {
      const reading = readFileSystem(image);
      assert.ok(reading, `image ${index}`);
      const { files } = listingOf(reading);
      const torn = facts as Torn;
      // SPIFFS lists both headers of a file that was being rewritten, and reads one of them.
      const shown = (path: string) => torn.files.filter((file) => file.path === path && file.sha256 !== null);
      for (const [path, facts] of Object.entries(files)) {
        if (typeof facts === 'string') continue;
        assert.ok(
          shown(path).some(({ size, sha256 }) => size === facts.size && sha256 === facts.sha256),
          `image ${index}: ${path}`,
        );
      }
      if (reading.problems.length > 0) continue;
      withoutProblem++;
      const paths = torn.files.filter(({ sha256 }) => sha256 !== null).map(({ path }) => path);
      assert.deepEqual(Object.keys(files), [...new Set(paths)].sort(), `image ${index}`);
    }
    assert.ok(withoutProblem > series.length / 3, `${withoutProblem} of ${series.length}`);
  });

  test('in a partition larger than the file system: the magics that count say where it ends', () => {
    for (const name of ['spiffs-mkspiffs.bin', 'spiffs-esp8266-8192.bin']) {
      const image = fixtureImage(name);
      const reading = readFileSystem(Buffer.concat([image, Buffer.alloc(0x20000, 0xff)]));
      assert.ok(reading);
      assert.deepEqual(reading.problems, []);
      assert.deepEqual(listingOf(reading), listingOf(read(image)));
    }
  });
});

describe('damaged SPIFFS', () => {
  const image = fixtureImage('spiffs-esp8266-4096.bin');
  const big = '/www/logo.png';
  const copy = () => Buffer.from(image);

  test('a page of content deleted, unfinished, of another file or of another place: the file is refused', () => {
    const content = read(image).readFile(big).bytes;
    assert.ok(content);
    const page = pageWith(image, Buffer.from(content.subarray(251 * 20, 251 * 20 + 200)).toString('latin1'));
    const sound = image[page * 256 + 4]!;
    const changes: readonly (readonly [offset: number, value: number])[] = [
      [4, sound & 0x7f],
      [4, sound | 0x02],
      [4, sound | 0x01],
      [4, sound & 0xfb],
      [0, image[page * 256]! ^ 1],
      [2, image[page * 256 + 2]! ^ 1],
    ];
    for (const [offset, value] of changes) {
      const damaged = copy();
      damaged[page * 256 + offset] = value;
      const reading = read(damaged);
      const [problem] = reading.problems.filter((text) => text.startsWith(big));
      assert.equal(problem, `${big} cannot be read: page 20 of 180 of its content is missing`);
      assert.equal(reading.readFile(big).bytes, null);
      assert.equal(reading.readFile('/cfg/wifi.json').problem, null);
    }
  });

  test('an index page gone: the file is refused', () => {
    // The first index page leads to 105 pages of content, the second to 124.
    const damaged = copy();
    let found = 0;
    for (let page = 0; page < image.length / 256; page++) {
      const at = page * 256;
      const isSecond = image.readUInt16LE(at + 2) === 1 && (image[at + 4]! & 0x87) === 0x80 && image[at]! !== 0;
      if (!isSecond || (image.readUInt16LE(at) & 0x8000) === 0) continue;
      damaged[at + 4]! &= 0x7f;
      found++;
    }
    assert.ok(found > 0);
    const reading = read(damaged);
    assert.ok(reading.problems.includes(`${big} cannot be read: its index page 1 is missing`));
  });

  test('a header gone: the pages that have no file are said', () => {
    const damaged = copy();
    damaged[pageWith(image, big) * 256 + 4]! &= 0x7f;
    let last = -1;
    for (let at = image.indexOf(big); at >= 0; at = image.indexOf(big, at + 1)) {
      last = at;
      damaged[Math.floor(at / 256) * 256 + 4]! &= 0x7f;
    }
    assert.ok(last > 0);
    const reading = read(damaged);
    assert.equal(
      reading.entries.some(({ path }) => path === big),
      false,
    );
    assert.ok(reading.problems.some((problem) => problem.startsWith('180 pages of content have no file')));
  });

  test('one block without its magic is an interrupted erase if nothing is in it, else said; so are several', () => {
    const blank = copy();
    const last = image.length - 4096;
    assert.ok(
      image.subarray(last, last + 30).every((byte) => byte === 0xff),
      'nothing is in the last block',
    );
    blank.writeUInt16LE(0xffff, last - 4096 + 252);
    assert.deepEqual(read(blank).problems, []);
    for (const [blocks, problem] of [
      [[0], 'the magic of block 0 is missing'],
      [[1, 2], 'the magic of block 1, 2 is missing'],
    ] as const) {
      const damaged = copy();
      for (const block of blocks) damaged.writeUInt16LE(0xffff, block * 4096 + 252);
      assert.deepEqual(read(damaged).problems, [problem]);
    }
  });

  test('cut short: said with the number of blocks, where the magics tell it', () => {
    const reading = read(fixtureImage('spiffs-esp32.bin').subarray(0, 12 * 4096));
    assert.equal(reading.problems.includes('SPIFFS has 40 blocks of 4096 bytes, but only 12 are here'), true);
  });

  test('cut at every byte of the first blocks and of the last: never an exception', () => {
    const small = fixtureImage('spiffs-small.bin');
    for (let length = 0; length <= small.length; length += length > 1024 && length < 11_000 ? 7 : 1) {
      const reading = readFileSystem(small.subarray(0, length));
      if (reading !== undefined) listingOf(reading);
    }
  });

  test('two versions of a file, both whole: said', () => {
    const damaged = copy();
    const header = pageWith(image, '/log.txt');
    const at = [...Array(image.length / 256).keys()].filter(
      (page) => image.subarray(page * 256 + 13, page * 256 + 21).toString('latin1') === '/log.txt',
    );
    assert.ok(at.includes(header));
    const live = at.find((page) => (image[page * 256 + 4]! & 0xc7) === 0xc0);
    assert.ok(live !== undefined);
    const block = image.length / 4096 - 1;
    const free = block * 16 + 1;
    image.copy(damaged, free * 256, live * 256, (live + 1) * 256);
    damaged.writeUInt32LE(10, free * 256 + 8);
    damaged.writeUInt16LE(image.readUInt16LE(live * 256), block * 4096);
    const reading = read(damaged);
    assert.deepEqual(reading.problems, [
      'there are two versions of /log.txt, and nothing says which is newer; the first is shown',
    ]);
    assert.deepEqual(listingOf(reading), listingOf(read(image)));
  });
});
