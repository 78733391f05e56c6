import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { findPartitionTable, isSound, parsePartitionTable, TABLE_SEARCH_BYTES } from '../../src/firmware/partitions.ts';
import { flashWith, MIB, row, tableSector, TWO_OTA, u16, type Row } from './builder.ts';

const FLASH = { sizeBytes: 4 * MIB, family: 'esp32' };
const app = (more: Partial<Row> = {}): Row => {
  return { label: 'app', type: 0, subtype: 0, offset: 0x10000, size: 0x100000, ...more };
};
const data = (more: Partial<Row> = {}): Row => {
  return { label: 'data', type: 1, subtype: 2, offset: 0x200000, size: 0x10000, ...more };
};
const parse = (rows: readonly Row[], options?: { md5?: boolean | Buffer }) =>
  parsePartitionTable(tableSector(rows, options), 0x8000, FLASH);

describe('parsePartitionTable', () => {
  test("reads the table of ESP-IDF's documentation", () => {
    const table = parse(TWO_OTA);
    assert.ok(table);
    assert.deepEqual(table.problems, []);
    assert.equal(table.md5, 'ok');
    assert.equal(table.complete, true);
    assert.deepEqual(
      table.partitions.map(({ name, type, subtype, offset, sizeBytes }) => [name, type, subtype, offset, sizeBytes]),
      [
        ['nvs', 'data', 'nvs', 0x9000, 0x4000],
        ['otadata', 'data', 'ota', 0xd000, 0x2000],
        ['phy_init', 'data', 'phy', 0xf000, 0x1000],
        ['factory', 'app', 'factory', 0x10000, 0x100000],
        ['ota_0', 'app', 'ota_0', 0x110000, 0x100000],
        ['ota_1', 'app', 'ota_1', 0x210000, 0x100000],
      ],
    );
  });

  test('names every type and subtype that ESP-IDF names, and numbers the others', () => {
    const cases: [number, number, string, string][] = [
      [0, 0x00, 'app', 'factory'],
      [0, 0x10, 'app', 'ota_0'],
      [0, 0x1f, 'app', 'ota_15'],
      [0, 0x20, 'app', 'test'],
      [0, 0x30, 'app', 'tee_0'],
      [0, 0x31, 'app', 'tee_1'],
      [0, 0x21, 'app', '0x21'],
      [1, 0x00, 'data', 'ota'],
      [1, 0x01, 'data', 'phy'],
      [1, 0x02, 'data', 'nvs'],
      [1, 0x03, 'data', 'coredump'],
      [1, 0x04, 'data', 'nvs_keys'],
      [1, 0x05, 'data', 'efuse'],
      [1, 0x06, 'data', 'undefined'],
      [1, 0x80, 'data', 'esphttpd'],
      [1, 0x81, 'data', 'fat'],
      [1, 0x82, 'data', 'spiffs'],
      [1, 0x83, 'data', 'littlefs'],
      [1, 0x90, 'data', 'tee_ota'],
      [2, 0x00, 'bootloader', 'primary'],
      [2, 0x01, 'bootloader', 'ota'],
      [2, 0x02, 'bootloader', 'recovery'],
      [3, 0x00, 'partition_table', 'primary'],
      [3, 0x01, 'partition_table', 'ota'],
      [0x40, 0x05, '0x40', '0x5'],
      [0xfe, 0xfe, '0xfe', '0xfe'],
    ];
    for (const [type, subtype, typeName, subtypeName] of cases) {
      const partition = parse([app({ type, subtype })])?.partitions[0];
      assert.deepEqual([partition?.type, partition?.subtype], [typeName, subtypeName]);
    }
  });

  test('reads the flags, and reports those it does not know', () => {
    const table = parse([
      data({ flags: 1 }),
      app({ flags: 2 }),
      data({ label: 'x', offset: 0x300000, flags: 0x80000004 }),
    ]);
    assert.deepEqual(
      table?.partitions.map(({ encrypted, readonly }) => [encrypted, readonly]),
      [
        [true, false],
        [false, true],
        [false, false],
      ],
    );
    assert.deepEqual(table.problems, ['Partition "x" has unknown flags 0x80000004']);
  });

  test('a label is 16 bytes, need not end with NUL, and cannot smuggle control characters', () => {
    const name = (label: string | Buffer) => parse([app({ label })])?.partitions[0]?.name;
    assert.equal(name('sixteen_bytes_ok'), 'sixteen_bytes_ok');
    assert.equal(name('ab\0cd'), 'ab');
    assert.equal(name('\x1b[31mred\n'), '\\x1b[31mred\\x0a');
    assert.equal(name('a\\b'), 'a\\\\b');
    assert.equal(name(Buffer.from('c3a4ff', 'hex')), '\\xc3\\xa4\\xff');
    assert.equal(name(''), '');
  });

  test('a wrong MD5 is a problem, none is not', () => {
    const wrong = parse(TWO_OTA, { md5: Buffer.alloc(16) });
    assert.equal(wrong?.md5, 'wrong');
    assert.deepEqual(wrong.problems, ['The partition table at 0x8000 does not match its own MD5']);
    const none = parse(TWO_OTA, { md5: false });
    assert.equal(none?.md5, 'absent');
    assert.deepEqual(none.problems, []);
  });

  test('any flipped bit in rows or digest is noticed', () => {
    const sector = tableSector(TWO_OTA);
    for (let bit = 0; bit < (TWO_OTA.length + 1) * 32 * 8; bit += 1) {
      const damaged = Buffer.from(sector);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const inMd5Filler = bit >> 3 >= TWO_OTA.length * 32 + 2 && bit >> 3 < TWO_OTA.length * 32 + 16;
      const table = parsePartitionTable(damaged, 0x8000, FLASH);
      assert.equal(table !== null && isSound(table), inMd5Filler, `bit ${bit}`);
    }
  });

  test('a table cut at every byte keeps its whole rows and is not sound', () => {
    const sector = tableSector(TWO_OTA);
    const used = (TWO_OTA.length + 1) * 32;
    for (let length = 0; length < used + 32; length += 1) {
      const table = parsePartitionTable(sector.subarray(0, length), 0x8000, FLASH);
      const rows = Math.min(Math.floor(length / 32), TWO_OTA.length);
      assert.equal(table?.partitions.length ?? 0, rows, `cut at ${length}`);
      if (table) assert.deepEqual(table.problems, ['The partition table at 0x8000 has no end marker']);
    }
    const whole = parsePartitionTable(sector.subarray(0, used + 32), 0x8000, FLASH);
    assert.deepEqual(whole?.problems, []);
  });

  test('95 rows and an MD5 fill the sector; what follows 0xC00 is not the table', () => {
    const rows = Array.from({ length: 94 }, (_, index) =>
      data({ label: `p${index}`, offset: 0x10000 + index * 0x1000, size: 0x1000 }),
    );
    const full = parsePartitionTable(tableSector(rows), 0x8000, FLASH);
    assert.equal(full?.partitions.length, 94);
    assert.deepEqual(full.problems, []);

    const endless = Buffer.concat(Array.from({ length: 128 }, () => row(data())));
    const table = parsePartitionTable(endless, 0x8000, FLASH);
    assert.equal(table?.partitions.length, 96);
    assert.equal(table.complete, false);
  });

  test('partitions that do not fit are problems', () => {
    const problems = (rows: readonly Row[]) => parse(rows)?.problems;
    assert.deepEqual(problems([app({ size: 0x3f0000 })]), []);
    assert.deepEqual(problems([app({ size: 0x3f0001 })]), [
      'Partition "app" at 0x10000 ends at 0x400001, beyond the flash of 0x400000 bytes',
    ]);
    assert.deepEqual(problems([app({ offset: 0xffff0000, size: 0xffffffff })]), [
      'Partition "app" at 0xffff0000 ends at 0x1fffeffff, beyond the flash of 0x400000 bytes',
    ]);
    assert.deepEqual(problems([app({ offset: 0x11000 })]), [
      'Partition "app" at 0x11000 is an app but not aligned to 0x10000',
    ]);
    assert.deepEqual(problems([app({ size: 0 })]), ['Partition "app" at 0x10000 is empty']);
    assert.deepEqual(problems([app(), data({ offset: 0x10fff0 })]), ['"data" at 0x10fff0 overlaps "app" at 0x10000']);
    assert.deepEqual(problems([app(), data({ offset: 0x110000 })]), []);
    assert.deepEqual(problems([app(), data({ offset: 0x8fff, size: 1 })]), [
      '"data" at 0x8fff overlaps "partition table" at 0x8000',
    ]);
    assert.deepEqual(problems([app(), data({ label: 'app' })]), [
      'Partition "app" at 0x200000 has the name of another one',
    ]);
    assert.deepEqual(problems([data({ subtype: 0 }), data({ subtype: 0, label: 'b', offset: 0x300000 })]), [
      'The partition table has 2 otadata partitions instead of one',
    ]);
  });

  test('an overlap with a long earlier neighbor is seen behind a short one', () => {
    const rows = [
      app({ size: 0x200000 }),
      data({ offset: 0x20000, size: 0x1000 }),
      data({ label: 'c', offset: 0x30000 }),
    ];
    assert.deepEqual(parse(rows)?.problems, [
      '"data" at 0x20000 overlaps "app" at 0x10000',
      '"c" at 0x30000 overlaps "app" at 0x10000',
    ]);
  });

  test('a table may list itself and the bootloader', () => {
    const rows: Row[] = [
      { label: 'bootloader', type: 2, subtype: 0, offset: 0x1000, size: 0x7000 },
      { label: 'part_table', type: 3, subtype: 0, offset: 0x8000, size: 0x1000 },
      app(),
    ];
    assert.deepEqual(parse(rows)?.problems, []);
  });

  test('app partitions of an ESP8266 need no alignment to 64 KiB', () => {
    const sector = tableSector([app({ offset: 0x2000, size: 0x5000 })]);
    assert.deepEqual(parsePartitionTable(sector, 0x8000, { ...FLASH, family: 'esp8266' })?.problems, []);
  });

  test('no row, no table', () => {
    for (const first of [Buffer.alloc(0), Buffer.alloc(31, 0xaa), Buffer.alloc(0xc00, 0xff), Buffer.alloc(0xc00)]) {
      assert.equal(parsePartitionTable(first, 0x8000, FLASH), null);
    }
    assert.equal(parsePartitionTable(tableSector([], { md5: true }), 0x8000, FLASH), null);
  });

  test('never throws and never invents rows, whatever the bytes', () => {
    const word = fc.oneof(fc.constant(u16(0x50aa)), fc.constant(u16(0xebeb)), fc.constant(u16(0xffff)));
    const hostileRow = fc
      .tuple(word, fc.uint8Array({ minLength: 30, maxLength: 30 }))
      .map(([magic, rest]) => Buffer.concat([magic, rest]));
    fc.assert(
      fc.property(fc.array(hostileRow, { maxLength: 130 }), fc.nat(40), fc.nat(), (rows, cut, sizeBytes) => {
        const bytes = Buffer.concat(rows);
        const table = parsePartitionTable(bytes.subarray(0, bytes.length - cut), 0x8000, {
          sizeBytes,
          family: 'esp32',
        });
        if (table === null) return;
        assert.ok(table.partitions.length <= 96);
        for (const text of [...table.problems, ...table.partitions.map(({ name }) => name)]) {
          assert.match(text, /^[\x20-\x7e]*$/);
        }
        JSON.stringify(table);
      }),
    );
  });
});

describe('findPartitionTable', () => {
  const search = (parts: readonly (readonly [number, Buffer])[]) =>
    findPartitionTable(flashWith(TABLE_SEARCH_BYTES, parts), FLASH);
  const moved = (by: number) => tableSector(TWO_OTA.map((entry) => ({ ...entry, offset: entry.offset + by })));

  test('finds the table wherever CONFIG_PARTITION_TABLE_OFFSET can reasonably put it', () => {
    for (const offset of [
      0x2000, 0x8000, 0x9000, 0xa000, 0xb000, 0xc000, 0xd000, 0xe000, 0xf000, 0x10000, 0x18000, 0x20000,
    ]) {
      const table = search([[offset, moved(0x20000)]]);
      assert.equal(table?.offset, offset);
      assert.deepEqual(table.problems, []);
    }
  });

  test('prefers the default place to a copy elsewhere, and a sound table to a damaged one', () => {
    const other = tableSector([app({ label: 'other', offset: 0x20000 })]);
    assert.equal(
      search([
        [0x8000, moved(0)],
        [0x10000, other],
      ])?.offset,
      0x8000,
    );
    const damaged = tableSector(TWO_OTA, { md5: Buffer.alloc(16) });
    assert.equal(
      search([
        [0x8000, damaged],
        [0x9000, other],
      ])?.offset,
      0x9000,
    );
    assert.equal(search([[0x8000, damaged]])?.md5, 'wrong');
  });

  test('away from the default place only a sound table counts', () => {
    assert.equal(search([[0x9000, tableSector(TWO_OTA, { md5: Buffer.alloc(16) })]]), null);
    assert.equal(search([[0x9000, tableSector([data()])]]), null);
    assert.equal(search([[0x9010, tableSector(TWO_OTA)]]), null);
  });

  test('takes no notice of ciphertext that begins like a row', () => {
    const noise = Buffer.from('aa50' + 'd3'.repeat(0xbfe), 'hex');
    assert.equal(search([[0x8000, noise]]), null);
  });

  test('a start shorter than the search is searched as far as it goes', () => {
    const start = flashWith(TABLE_SEARCH_BYTES, [[0x8000, tableSector(TWO_OTA)]]);
    for (const length of [0, 1, 0x1000, 0x7fff, 0x8000, 0x801f]) {
      assert.equal(findPartitionTable(start.subarray(0, length), FLASH), null);
    }
    assert.equal(findPartitionTable(start.subarray(0, 0x8020), FLASH)?.partitions.length, 1);
  });
});
