import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { demoImage, seededRandom } from '../../../src/simulator/index.ts';
import { deflateRaw } from '../../../src/simulator/reader/deflater.ts';
import { huffmanCode, huffmanLengths } from '../../../src/simulator/reader/huffman.ts';

const KIB = 1024;

/** Bytes as flash has them: runs, repeats of what came before, and noise. */
const flashLike = fc
  .array(
    fc.oneof(
      fc.record({ kind: fc.constant('run'), byte: fc.nat(255), length: fc.integer({ min: 1, max: 700 }) }),
      fc.record({ kind: fc.constant('repeat'), byte: fc.nat(4000), length: fc.integer({ min: 1, max: 400 }) }),
      fc.record({ kind: fc.constant('noise'), byte: fc.nat(1000), length: fc.integer({ min: 1, max: 300 }) }),
    ),
    { maxLength: 40 },
  )
  .map((parts) => {
    let bytes = Buffer.alloc(0);
    for (const { kind, byte, length } of parts) {
      const from = Math.max(0, bytes.length - byte - 1);
      if (kind === 'run') bytes = Buffer.concat([bytes, Buffer.alloc(length, byte)]);
      else if (kind === 'repeat') bytes = Buffer.concat([bytes, bytes.subarray(from, from + length)]);
      else bytes = Buffer.concat([bytes, seededRandom(byte).bytes(length)]);
    }
    return bytes;
  });

describe('the DEFLATE of the simulated chip', () => {
  it('is what zlib inflates to the same bytes, for any window', () => {
    const windows = fc.constantFrom(1, 100, 2800, 15088, 31472, 32768);
    fc.assert(
      fc.property(flashLike, windows, (bytes, windowBytes) => {
        const { bytes: stream, blocks } = deflateRaw(bytes, { windowBytes });
        assert.ok(inflateRawSync(stream).equals(bytes));
        assert.equal(blocks.at(-1)?.inputEnd, bytes.length);
      }),
      { numRuns: 150 },
    );
  });

  it('says where each block ends: what was sent by then inflates that far', () => {
    const image = demoImage({ family: 'esp32', appBytes: 200 * KIB }).subarray(0, 200 * KIB);
    const { bytes, blocks } = deflateRaw(image, { windowBytes: 32768 });
    assert.ok(blocks.length > 5);
    for (const { inputEnd, outputEnd } of blocks.slice(0, -1)) {
      // Up to seven bits of the last symbol are in the byte behind it.
      const begun = inflateRawSync(bytes.subarray(0, outputEnd + 1), { finishFlush: 2 });
      assert.ok(begun.length >= inputEnd - 1, `${begun.length} of ${inputEnd}`);
      assert.ok(begun.equals(image.subarray(0, begun.length)));
    }
  });

  it('makes firmware smaller by a third, blank flash a thousandth, and noise no larger than the protocol allows', () => {
    const ratio = (bytes: Buffer) => deflateRaw(bytes, { windowBytes: 31472 }).bytes.length / bytes.length;
    assert.ok(ratio(demoImage({ family: 'esp32' }).subarray(0x10000, 0x10000 + 300 * KIB)) < 0.7);
    assert.ok(ratio(Buffer.alloc(256 * KIB, 0xff)) < 0.002);
    assert.ok(ratio(seededRandom(1).bytes(256 * KIB)) < 1.005);
  });

  it('never looks further back than its window', () => {
    const noise = seededRandom(3).bytes(3000);
    const twice = Buffer.concat([noise, noise]);
    assert.ok(deflateRaw(twice, { windowBytes: 3000 }).bytes.length < 3100);
    assert.ok(deflateRaw(twice, { windowBytes: 2900 }).bytes.length > 5900);
  });
});

describe('Huffman codes', () => {
  it('are complete, and no longer than they may be', () => {
    const counts = fc.array(fc.nat(100_000), { minLength: 2, maxLength: 286 });
    fc.assert(
      fc.property(counts, fc.constantFrom(9, 15), (frequencies, maxBits) => {
        const lengths = huffmanLengths(Uint32Array.from(frequencies), maxBits);
        const used = frequencies.filter((each) => each > 0).length;
        assert.ok(lengths.every((length) => length <= maxBits));
        assert.ok(frequencies.every((each, symbol) => each > 0 === (lengths[symbol] ?? 0) > 0));
        const kraft = lengths.reduce((sum, length) => sum + (length > 0 ? 2 ** -length : 0), 0);
        assert.equal(kraft, used === 0 ? 0 : used === 1 ? 0.5 : 1);
        const codes = huffmanCode(lengths);
        const texts = new Set(
          [...lengths.entries()]
            .filter(([, length]) => length > 0)
            .map(([at, length]) => `${length}/${codes.codes[at]}`),
        );
        assert.equal(texts.size, used);
      }),
    );
  });
});
