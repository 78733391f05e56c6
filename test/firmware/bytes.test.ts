import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { BoundedFlash, cText, hex, asciiText } from '../../src/firmware/bytes.ts';
import { filler, readerOf } from './builder.ts';

describe('BoundedFlash', () => {
  test('gives what there is, and asks the reader for nothing else', async () => {
    const bytes = filler(100);
    const reader = readerOf(bytes);
    const flash = new BoundedFlash(reader.read, 100, 1000);
    assert.deepEqual(await flash.read(0, 100), bytes);
    assert.deepEqual(await flash.read(90, 20), bytes.subarray(90));
    for (const [offset, length] of [
      [100, 1],
      [0xffffffff, 32],
      [-1, 5],
      [5, 0],
      [5, -1],
      [NaN, 4],
      [4, NaN],
    ] as const) {
      assert.equal((await flash.read(offset, length)).length, 0);
    }
    assert.equal(reader.reads, 2);
  });

  test('stops at its budget, to the byte', async () => {
    const reader = readerOf(filler(100));
    const flash = new BoundedFlash(reader.read, 100, 70);
    assert.equal((await flash.read(0, 60)).length, 60);
    assert.equal((await flash.read(0, 60)).length, 10);
    assert.equal((await flash.read(0, 60)).length, 0);
    assert.equal(reader.bytes, 70);
  });

  test('a reader that gives too much is cut', async () => {
    const flash = new BoundedFlash(() => Promise.resolve(Buffer.alloc(64)), 100, 100);
    assert.equal((await flash.read(0, 8)).length, 8);
  });
});

describe('text', () => {
  test('is asciiText ASCII, and different bytes give different text', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        assert.match(asciiText(Buffer.from(a)), /^[\x20-\x7e]*$/);
        assert.equal(asciiText(Buffer.from(a)) === asciiText(Buffer.from(b)), Buffer.compare(a, b) === 0);
      }),
    );
  });

  test('a C string ends at its first NUL or with its field', () => {
    assert.equal(cText(Buffer.from('abc\0def')), 'abc');
    assert.equal(cText(Buffer.from('abcdef')), 'abcdef');
    assert.equal(cText(Buffer.from('\0')), '');
    assert.equal(hex(0x8000), '0x8000');
  });
});
