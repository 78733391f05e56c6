import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { type MappedImage, mapLines } from '../../src/cli/map-text.ts';
import { renderLine } from '../../src/cli/text.ts';
import { BLOCK_BYTES } from '../../src/flash.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const BLANK = sha256(Buffer.alloc(BLOCK_BYTES, 0xff));
const DATA = 'aa'.repeat(32);
const OTHER = 'bb'.repeat(32);

/** Blocks by signs: `.` blank, `#` and `%` two kinds of data. */
const digestsOf = (signs: string) => Array.from(signs, (sign) => ({ '.': BLANK, '#': DATA })[sign] ?? OTHER);
const textOf = (image: MappedImage, styled = false) => mapLines(image).map((line) => renderLine(line, styled));
const part = (name: string, offset: number, sizeBytes: number) => ({ name, offset, sizeBytes });

describe('the map of a flash', () => {
  test('4 MiB: one row, the names of partitions below it, and what the signs mean', () => {
    const digests = digestsOf(`##${'#'.repeat(10)}${'.'.repeat(4)}${'#'.repeat(16)}${'.'.repeat(32)}`);
    const old = digestsOf(`%#${'#'.repeat(10)}#...${'%'.repeat(16)}${'.'.repeat(32)}`);
    const partitions = [
      part('nvs', 0x9000, 0x5000),
      part('otadata', 0xe000, 0x2000),
      part('app0', 0x10000, 0xf0000),
      part('app1', 0x100000, 0x100000),
      part('spiffs', 0x200000, 0x170000),
    ];
    assert.deepEqual(
      textOf({ sizeBytes: 4 * MIB, digests, before: { id: '2026-11-23T10-00-00Z', digests: old }, partitions }),
      [
        `    0x000000  *###########_...****************................................`,
        `              ||app0          |app1           |spiffs                |`,
        `    64 KB:  # data  . blank  * changed  _ erased  since 2026-11-23T10-00-00Z`,
      ],
    );
  });

  test('the first backup has nothing to be compared with; a block that is shorter is blank, too', () => {
    const digests = [DATA, sha256(Buffer.alloc(4096, 0xff))];
    assert.deepEqual(textOf({ sizeBytes: BLOCK_BYTES + 4096, digests, before: null, partitions: [] }), [
      '    0x00000  #.',
      '    64 KB:  # data  . blank',
    ]);
  });

  test('rows that are like the one above are counted', () => {
    const digests = digestsOf(`${'#'.repeat(64)}${'.'.repeat(64 * 30)}${'.'.repeat(63)}#`);
    const image = { sizeBytes: 128 * MIB, digests, before: null, partitions: [part('data', 0x400000, 0x7000000)] };
    assert.deepEqual(textOf(image), [
      `    0x0000000  ${'#'.repeat(64)}`,
      `    0x0400000  ${'.'.repeat(64)}`,
      `               |data`,
      `          ...  27 rows more like this`,
      `    0x7400000  ${'.'.repeat(64)}`,
      `               |`,
      `          ...  1 row more like this`,
      `    0x7c00000  ${'.'.repeat(63)}#`,
      '    64 KB:  # data  . blank',
    ]);
  });

  test('in colour the signs are the same', () => {
    const image = {
      sizeBytes: 2 * BLOCK_BYTES,
      digests: digestsOf('#.'),
      before: { id: 'x', digests: digestsOf('%.') },
      partitions: [],
    };
    const styled = textOf(image, true);
    assert.match(styled[0] ?? '', /\x1b\[33m\*\x1b\[39m\x1b\[2m\.\x1b\[22m$/);
    assert.deepEqual(
      styled.map((line) => line.replace(/\x1b\[\d+m/g, '')),
      textOf(image),
    );
  });

  test('every size and every table fits 80 columns; a cell for each block that is not in a row that is counted', () => {
    const images = fc
      .record({
        blocks: fc.constantFrom(4, 8, 64, 65, 256, 2048),
        kinds: fc.array(fc.constantFrom('.', '#', '%'), { minLength: 1, maxLength: 300 }),
        partitions: fc.array(
          fc.record({
            name: fc.string({ maxLength: 40 }),
            offset: fc.nat({ max: 0xffffffff }),
            sizeBytes: fc.nat({ max: 0xffffffff }),
          }),
          { maxLength: 96 },
        ),
        old: fc.option(fc.array(fc.constantFrom('.', '#'), { maxLength: 300 })),
      })
      .map(({ blocks, kinds, partitions, old }): MappedImage => {
        const signs = Array.from({ length: blocks }, (_, index) => kinds[index % kinds.length] ?? '.').join('');
        const before = old === null ? null : { id: '2026-11-23T10-00-00Z', digests: digestsOf(old.join('')) };
        return { sizeBytes: blocks * BLOCK_BYTES, digests: digestsOf(signs), before, partitions };
      });
    fc.assert(
      fc.property(images, (image) => {
        const lines = textOf(image);
        for (const line of lines) {
          assert.ok(line.length < 80, line);
          assert.doesNotMatch(line, /[\p{C}]/u);
        }
        const cells = lines.flatMap((line) => /^ +0x[0-9a-f]+ {2}([.#*_]+)$/.exec(line)?.[1] ?? []).join('');
        const folded = lines.reduce((sum, line) => sum + Number(/(\d+) rows? more/.exec(line)?.[1] ?? 0), 0);
        const count = image.digests.length;
        assert.ok(cells.length + folded * 64 >= count && cells.length <= count);
      }),
      { numRuns: 200 },
    );
  });
});
