import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, deflateSync } from 'node:zlib';

import fc from 'fast-check';

import { demoImage } from '../../src/simulator/index.ts';
import { Inflater } from '../../src/simulator/inflater.ts';
import { seededRandom } from '../../src/simulator/random.ts';

function inflate(data: Buffer, blockBytes: number): Buffer {
  const inflater = new Inflater();
  const out: Buffer[] = [];
  for (let at = 0; at < data.length; at += blockBytes) out.push(inflater.push(data.subarray(at, at + blockBytes)));
  return Buffer.concat(out);
}

test('inflates what zlib deflates, in blocks of any size', () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 3000 }),
    fc.array(fc.constantFrom(0, 0xff, 7), { maxLength: 3000 }).map((bytes) => Uint8Array.from(bytes)),
  );
  const strategy = fc.constantFrom(
    constants.Z_DEFAULT_STRATEGY,
    constants.Z_FIXED,
    constants.Z_HUFFMAN_ONLY,
    constants.Z_RLE,
  );
  fc.assert(
    fc.property(content, strategy, fc.nat(9), fc.integer({ min: 1, max: 40 }), (bytes, how, level, blockBytes) => {
      const source = Buffer.from(bytes);
      const deflated = deflateSync(source, { strategy: how, level });
      assert.ok(inflate(deflated, blockBytes).equals(source));
    }),
    { numRuns: 150 },
  );
});

test('stored blocks, long distances, and a whole image', () => {
  const noise = seededRandom(5).bytes(100_000);
  assert.ok(inflate(deflateSync(noise), 1024).equals(noise));
  const far = Buffer.concat([noise.subarray(0, 32000), Buffer.alloc(600, 1), noise.subarray(0, 32000)]);
  assert.ok(inflate(deflateSync(far, { level: 9 }), 100).equals(far));
  const image = demoImage({ family: 'esp32c3', sizeBytes: 1024 * 1024 });
  assert.ok(inflate(deflateSync(image), 0x4000).equals(image));
});

test('gives each byte as soon as it can be known', () => {
  const source = Buffer.from('abcabcabcabc-the-end');
  const inflater = new Inflater();
  const deflated = deflateSync(source, { flush: constants.Z_SYNC_FLUSH });
  const first = inflater.push(deflated.subarray(0, -6));
  assert.ok(source.subarray(0, first.length).equals(first));
  assert.ok(first.length > 10);
});

test('rubbish throws', () => {
  for (const hex of ['0102030405', '789c07', '789c010200fffe', '78bb0000']) {
    assert.throws(() => new Inflater().push(Buffer.from(hex, 'hex')), RangeError, hex);
  }
});
