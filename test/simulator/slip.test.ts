import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { FrameReceiver, frameOf } from '../../src/simulator/slip.ts';
import type { EmptyFrames } from '../../src/simulator/slip.ts';
import { slipDecode, slipEncode } from './board-harness.ts';

function receive(stream: Buffer, cuts: readonly number[] = [], maxBytes = 1000, empty: EmptyFrames = 'end'): string[] {
  const frames: string[] = [];
  const receiver = new FrameReceiver(maxBytes, empty, (frame) => frames.push(frame.toString('hex')));
  let from = 0;
  for (const cut of [...cuts, stream.length]) {
    receiver.push(stream.subarray(from, cut));
    from = cut;
  }
  return frames;
}

const nasty = fc.array(fc.oneof(fc.constantFrom(0xc0, 0xdb, 0xdc, 0xdd), fc.nat(255)), { minLength: 1, maxLength: 60 });

test('encodes and decodes as the book says, cut anywhere', () => {
  fc.assert(
    fc.property(fc.array(nasty, { maxLength: 5 }), (contents) => {
      const frames = contents.map((content) => Buffer.from(content));
      const stream = Buffer.concat(frames.map(frameOf));
      assert.deepEqual(stream, Buffer.concat(frames.map(slipEncode)));
      assert.deepEqual(slipDecode(stream).frames, frames);
      const expected = frames.map((frame) => frame.toString('hex'));
      for (let cut = 0; cut <= stream.length; cut++) assert.deepEqual(receive(stream, [cut]), expected);
    }),
    { numRuns: 40 },
  );
});

test('noise before a frame, empty frames and wrong escapes', () => {
  assert.deepEqual(receive(Buffer.from('0102c00304c005', 'hex')), ['0304']);
  // An empty frame is none; what stands between the two delimiters after it is outside.
  assert.deepEqual(receive(Buffer.from('c0c0c001c0', 'hex')), ['01']);
  assert.deepEqual(receive(Buffer.from('c0c001c0', 'hex')), []);
  assert.deepEqual(receive(Buffer.from('c0c001c0', 'hex'), [], 1000, 'begin'), ['01']);
  // A wrong escape drops the frame up to the next delimiter, which then opens one.
  assert.deepEqual(receive(Buffer.from('c001db02c0c003c0', 'hex')), []);
  assert.deepEqual(receive(Buffer.from('c001db02c003c0', 'hex')), ['03']);
});

test('a frame longer than the buffer is dropped', () => {
  assert.deepEqual(receive(frameOf(Buffer.alloc(10, 1)), [], 10), ['01'.repeat(10)]);
  assert.deepEqual(receive(frameOf(Buffer.alloc(11, 1)), [], 10), []);
});
