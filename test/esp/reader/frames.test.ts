import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crc32, deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { ReaderFault } from '../../../src/esp/reader/fault.ts';
import { FRAME_BYTES, FrameSequence, type StreamEnd } from '../../../src/esp/reader/frames.ts';
import { inflateBegun, inflateWhole } from '../../../src/esp/reader/inflate.ts';
import { testPattern } from '../../../src/esp/reader/pattern.ts';
import { windowFor } from '../../../src/esp/reader/stream.ts';
import { seededRandom } from '../../../src/simulator/index.ts';
import { crcOf, patternAt } from '../../../src/simulator/reader/checks.ts';

function frame(sequence: number, payload: Uint8Array): Buffer {
  const content = Buffer.concat([Buffer.of(sequence), payload]);
  const check = Buffer.alloc(4);
  check.writeUInt32LE(crc32(content));
  return Buffer.concat([content, check]);
}

function lastFrame(sequence: number, status = 0): Buffer {
  const end = Buffer.alloc(32, 7);
  [status, 5000, 2048, 12].forEach((word, index) => end.writeUInt32LE(word, 4 * index));
  return frame(0x80 | sequence, end);
}

const FULL = Buffer.alloc(FRAME_BYTES, 0x5a);

describe('the frames of the reader', () => {
  it('come in order, more than 128 of them, and end with what the last one says', () => {
    const sequence = new FrameSequence(1e6);
    for (let number = 0; number < 300; number++) {
      assert.ok(FULL.equals(sequence.take(frame(number % 128, FULL)) as Buffer));
    }
    assert.equal((sequence.take(frame(300 % 128, Buffer.of(1, 2))) as Buffer).length, 2);
    assert.deepEqual([sequence.frames, sequence.bytes], [301, 300 * FRAME_BYTES + 2]);
    const end = sequence.take(lastFrame(301 % 128)) as StreamEnd;
    assert.deepEqual(end, { bytesRead: 5000, bytesSent: 2048, turns: 12, digest: Buffer.alloc(16, 7) });
  });

  it('are refused when one is missing, doubled, too long, too much, or follows one that was not full', () => {
    const after = (frames: readonly Buffer[], last: Buffer, maxBytes = 1e6) => {
      const sequence = new FrameSequence(maxBytes);
      for (const each of frames) sequence.take(each);
      assert.throws(() => sequence.take(last), ReaderFault);
    };
    after([frame(0, FULL)], frame(2, FULL));
    after([frame(0, FULL)], frame(0, FULL));
    after([frame(0, FULL)], lastFrame(2));
    after([], frame(0, Buffer.alloc(FRAME_BYTES + 1)));
    after([frame(0, Buffer.alloc(10))], frame(1, FULL));
    after([frame(0, FULL)], frame(1, FULL), 2 * FRAME_BYTES - 1);
    after([], frame(0x80, Buffer.alloc(31)));
    after([], lastFrame(0, 3));
  });

  it('are refused when they are cut at any byte or one bit of them flips', () => {
    for (const whole of [frame(0, seededRandom(4).bytes(40)), lastFrame(0)]) {
      for (let length = 0; length < whole.length; length++) {
        assert.throws(() => new FrameSequence(1e6).take(whole.subarray(0, length)), ReaderFault);
      }
      for (let bit = 0; bit < 8 * whole.length; bit++) {
        const flipped = Buffer.from(whole);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        assert.throws(() => new FrameSequence(1e6).take(flipped), ReaderFault);
      }
    }
  });

  it('are refused, never worse, whatever comes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => {
        assert.throws(() => new FrameSequence(100).take(Buffer.from(bytes)), ReaderFault);
      }),
    );
  });
});

describe('inflating what a chip sends', () => {
  const content = Buffer.concat([Buffer.alloc(3000, 1), seededRandom(9).bytes(3000), Buffer.alloc(2192, 0xff)]);
  const stream = deflateRawSync(content);

  it('gives the bytes that were asked for, or a fault', () => {
    assert.ok(inflateWhole(stream, content.length).equals(content));
    assert.throws(() => inflateWhole(stream, content.length - 1), ReaderFault);
    assert.throws(() => inflateWhole(stream, content.length + 1), ReaderFault);
    assert.throws(() => inflateWhole(Buffer.alloc(0), 4), ReaderFault);
  });

  it('is bounded: a stream that would fill the memory is a fault', () => {
    const bomb = deflateRawSync(Buffer.alloc(64 * 1024 * 1024));
    assert.throws(() => inflateWhole(bomb, 4096), ReaderFault);
    assert.equal(inflateBegun(bomb, 4096).length, 0);
  });

  it('of a stream that was cut at any byte gives a true beginning', () => {
    let longest = 0;
    for (let length = 0; length < stream.length; length++) {
      assert.throws(() => inflateWhole(stream.subarray(0, length), content.length), ReaderFault);
      const begun = inflateBegun(stream.subarray(0, length), content.length);
      assert.ok(begun.equals(content.subarray(0, begun.length)));
      longest = Math.max(longest, begun.length);
    }
    assert.ok(longest > 6000, `${longest}`);
  });

  it('of rubbish gives a fault, and nothing of it counts as begun', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        const begun = inflateBegun(Buffer.from(bytes), 1000);
        assert.ok(begun.length <= 1000);
        try {
          assert.equal(inflateWhole(Buffer.from(bytes), 77).length, 77);
        } catch (error) {
          assert.ok(error instanceof ReaderFault);
        }
      }),
    );
  });
});

describe('what both sides know', () => {
  it('the test pattern and the check are the same, although written twice', () => {
    const pattern = testPattern(16384);
    assert.ok(pattern.equals(patternAt(0, 16384)));
    assert.equal(crcOf(pattern), crc32(pattern));
    assert.equal(pattern.readUInt32LE(0x300), 0xffffffff);
    // Worked out by hand from the formula of reader/PROTOCOL.md: h(0) and h(16 & 15) are 0.
    assert.deepEqual([pattern.readUInt32LE(0), pattern.readUInt32LE(0x100)], [0, 0]);
  });

  it('the window fills the line, and no more than the protocol allows', () => {
    assert.equal(windowFor(11.52, 4), 8);
    assert.ok(windowFor(300, 18) * FRAME_BYTES > 300 * 18);
    assert.equal(windowFor(500, 1000), 64);
  });
});
