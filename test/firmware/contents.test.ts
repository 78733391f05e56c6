import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { filePartitions, findPartition, readPartition, useOf } from '../../src/firmware/index.ts';
import { esp32App, filler, flashWith, MIB, readerOf, tableSector, type Row } from './builder.ts';

const ROWS: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x5000 },
  { label: 'otadata', type: 1, subtype: 0, offset: 0xe000, size: 0x2000 },
  { label: 'app', type: 0, subtype: 0, offset: 0x10000, size: 0x100000 },
  { label: 'spiffs', type: 1, subtype: 0x82, offset: 0x110000, size: 0x10000 },
  { label: 'twin', type: 1, subtype: 0x06, offset: 0x120000, size: 0x1000 },
  { label: 'twin', type: 0x40, subtype: 1, offset: 0x121000, size: 0x1000 },
  { label: 'core', type: 1, subtype: 3, offset: 0x130000, size: 0x10000 },
  { label: 'beyond', type: 1, subtype: 0x81, offset: 0x1f0000, size: 0x20000 },
  { label: 'nothing', type: 1, subtype: 0x81, offset: 0x140000, size: 0 },
];

function source(rows: readonly Row[] = ROWS, sizeBytes = 2 * MIB) {
  const flash = flashWith(sizeBytes, [
    [0x8000, tableSector(rows)],
    [0x10000, esp32App()],
    [0x110000, filler(0x10000)],
  ]);
  return { flash, read: readerOf(flash).read, sizeBytes, family: 'esp32' };
}

describe('a partition by its name', () => {
  test('comes with its bytes and what may be in it', async () => {
    const image = source();
    const found = await findPartition(image, 'spiffs');
    assert.ok(found.outcome === 'found');
    assert.deepEqual([found.use, found.partition.offset], ['files', 0x110000]);
    assert.ok(found.bytes.equals(filler(0x10000)));
  });

  test('that is not there, twice there, empty, or beyond the flash', async () => {
    const image = source();
    const none = await findPartition(image, 'nowhere');
    assert.ok(none.outcome === 'none');
    assert.equal(none.partitions.length, ROWS.length);
    const several = await findPartition(image, 'twin');
    assert.ok(several.outcome === 'several');
    assert.equal(several.partitions.length, 2);
    const beyond = await findPartition(image, 'beyond');
    assert.ok(beyond.outcome === 'unusable');
    assert.match(beyond.problem, /beyond the flash/);
    const empty = await findPartition(image, 'nothing');
    assert.ok(empty.outcome === 'unusable');
    assert.equal(empty.problem, 'is empty');
  });

  test('is never read where it is too large to be loaded, nor where the reader gives too little', async () => {
    const read = () => Promise.reject(new Error('must not be read'));
    const large = { read, sizeBytes: 128 * MIB, family: 'esp32' };
    const { problem } = await readPartition(large, { offset: 0, sizeBytes: 64 * MIB + 1 });
    assert.match(problem ?? '', /larger than/);
    const short = { ...large, read: () => Promise.resolve(Buffer.alloc(3)) };
    assert.match((await readPartition(short, { offset: 0, sizeBytes: 4 })).problem ?? '', /in full/);
  });

  test('of an ESP8266 without a table has the name that espd gives it', async () => {
    const blank = { read: readerOf(Buffer.alloc(MIB, 0xff)).read, sizeBytes: MIB, family: 'esp8266' };
    assert.deepEqual(await findPartition(blank, 'fs'), { outcome: 'none', partitions: [] });
  });

  test('whatever the flash holds, nothing is thrown', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 0xc00 }), fc.string(), async (table, name) => {
        const flash = flashWith(MIB, [[0x8000, Buffer.from(table)]]);
        const image = { read: readerOf(flash).read, sizeBytes: MIB, family: 'esp32' };
        const { outcome } = await findPartition(image, name);
        assert.ok(['none', 'several', 'unusable', 'found'].includes(outcome));
      }),
      { numRuns: 50 },
    );
  });
});

test('what may be in a partition goes by its type', async () => {
  const uses = new Map<string, string>();
  const found = await findPartition(source(), 'nowhere');
  assert.ok(found.outcome === 'none');
  for (const partition of found.partitions) uses.set(`${partition.name} ${partition.type}`, useOf(partition));
  assert.deepEqual(Object.fromEntries(uses), {
    'nvs data': 'nvs',
    'otadata data': 'ota',
    'app app': 'app',
    'spiffs data': 'files',
    'twin data': 'files',
    'twin 0x40': 'files',
    'core data': 'other',
    'beyond data': 'files',
    'nothing data': 'files',
  });
  assert.equal(useOf({ type: 'data', subtype: 'littlefs' }), 'files');
  assert.equal(useOf({ type: 'data', subtype: 'eeprom' }), 'other');
  assert.deepEqual(
    (await filePartitions(source())).map(({ name }) => name),
    ['spiffs', 'twin', 'twin', 'beyond', 'nothing'],
  );
});
