import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBlocks, encodeBlocks } from '../../src/archive/block-file.ts';
import type { BoardBlocks } from '../../src/archive/block-file.ts';
import { macFromBytes } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';
import { ID0, MAC, OTHER_MAC, image } from './support.ts';

const board = fc
  .record({
    folderMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e14, noNaN: true })),
    sizeBytes: fc.integer({ min: 1, max: 5 * 65536 }),
    file: fc.constantFrom('flash.bin' as const, 'flash.bin.gz' as const, 'flash.bin.zst' as const),
    seed: fc.nat(),
    none: fc.boolean(),
  })
  .map(({ folderMs, sizeBytes, file, seed, none }): BoardBlocks => {
    const md5s = image(Math.ceil(sizeBytes / 65536) * 16, seed);
    return { folderMs: folderMs + 0, newest: none ? undefined : { id: ID0, sizeBytes, file, md5s } };
  });

const boards = fc
  .array(fc.tuple(fc.uint8Array({ minLength: 6, maxLength: 6 }), board), { maxLength: 8 })
  .map((entries) => new Map<Mac, BoardBlocks>(entries.map(([mac, blocks]) => [macFromBytes(mac), blocks])));

test('what was encoded is decoded', () => {
  fc.assert(
    fc.property(boards, (index) => {
      assert.deepEqual(decodeBlocks(encodeBlocks(index)), index);
    }),
  );
});

test('cut, longer, with a flipped bit, or of another version: not decoded, or at least nothing impossible', () => {
  const md5s = image(32);
  const index = new Map<Mac, BoardBlocks>([
    [MAC, { folderMs: 1.5, newest: { id: ID0, sizeBytes: 65537, file: 'flash.bin', md5s } }],
    [OTHER_MAC, { folderMs: 2, newest: undefined }],
  ]);
  const bytes = encodeBlocks(index);
  assert.deepEqual(decodeBlocks(bytes), index);
  for (let end = 0; end < bytes.length; end++) assert.equal(decodeBlocks(bytes.subarray(0, end)), undefined, `${end}`);
  assert.equal(decodeBlocks(Buffer.concat([bytes, Buffer.of(0)])), undefined);
  const body = bytes.indexOf(0x0a) + 1;
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    const decoded = decodeBlocks(flipped);
    if (bit >= body * 8) assert.equal(decoded, undefined, `bit ${bit}`);
    for (const { newest } of decoded?.values() ?? []) {
      assert.ok(newest === undefined || newest.md5s.length === 16 * Math.ceil(newest.sizeBytes / 65536));
    }
  }
  const other = Buffer.from(bytes.toString('latin1').replace('"version":2', '"version":3'), 'latin1');
  assert.equal(decodeBlocks(other), undefined);
});

test('hostile heads', () => {
  const head = { version: 2, bodyBytes: 0, crc32: 0, boards: [] as unknown[] };
  const decode = (json: unknown) => decodeBlocks(Buffer.from(JSON.stringify(json) + '\n'));
  assert.equal(decode(head)?.size, 0);
  for (const row of [
    ['../../etc', 1, ID0, 0, 0],
    ['50-02-91-c3-37-a5', 1, ID0, 0, 3],
    ['50-02-91-c3-37-a5', 1, ID0, 0, true],
    ['50-02-91-c3-37-a5', 1, '../x', 0, 0],
    ['50-02-91-c3-37-a5', 1, ID0, 1, 0],
    ['50-02-91-c3-37-a5', 1, ID0, 1e12, 0],
    ['50-02-91-c3-37-a5', 1, ID0, -1, 0],
    ['50-02-91-c3-37-a5', 'x', ID0, 0, 0],
    [],
    null,
  ]) {
    assert.equal(decode({ ...head, boards: [row] }), undefined, JSON.stringify(row));
  }
  for (const text of ['', '\n', 'null\n', '[]\n', '{}\n', '\0'.repeat(1000)]) {
    assert.equal(decodeBlocks(Buffer.from(text)), undefined, text);
  }
});
