import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SlipDecoder, encodeFrame } from '../../src/esp/slip.ts';

interface Decoded {
  frames: Buffer[];
  noise: Buffer;
}

/** Decodes `stream`, delivered in pieces that end at `cuts`. */
function decode(stream: Buffer, cuts: readonly number[] = [], maxFrameBytes = 8192): Decoded {
  const frames: Buffer[] = [];
  const noise: Buffer[] = [];
  const decoder = new SlipDecoder(maxFrameBytes, {
    frame: (content) => frames.push(content),
    noise: (bytes) => noise.push(Buffer.from(bytes)),
  });
  let from = 0;
  for (const cut of [...cuts, stream.length].sort((a, b) => a - b)) {
    decoder.push(stream.subarray(from, cut));
    from = cut;
  }
  return { frames, noise: Buffer.concat(noise) };
}

const content = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes));
/** Bytes of which half are special: the interesting ones. */
const nasty = fc
  .array(fc.oneof(fc.constantFrom(0xc0, 0xdb, 0xdc, 0xdd), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 200,
  })
  .map((bytes) => Buffer.from(bytes));

describe('SLIP', () => {
  it('escapes as the serial protocol page says', () => {
    assert.equal(encodeFrame(Buffer.from([0x01, 0xc0, 0xdb, 0x02])).toString('hex'), 'c001dbdcdbdd02c0');
  });

  it('never makes an empty frame', () => {
    assert.throws(() => encodeFrame(Buffer.alloc(0)), RangeError);
  });

  it('gives back every content, however often it is cut', () => {
    fc.assert(
      fc.property(fc.array(nasty, { minLength: 1, maxLength: 5 }), fc.array(fc.nat(2000)), (contents, cuts) => {
        const stream = Buffer.concat(contents.map((bytes) => encodeFrame(bytes)));
        const { frames, noise } = decode(
          stream,
          cuts.map((cut) => cut % (stream.length + 1)),
        );
        assert.deepEqual(frames, contents);
        assert.equal(noise.length, 0);
      }),
    );
  });

  it('is cut at every single byte without a difference', () => {
    const stream = Buffer.concat([
      Buffer.from('boot log\r\n'),
      encodeFrame(Buffer.from('c0dbc0', 'hex')),
      Buffer.from('x'),
    ]);
    for (let cut = 0; cut <= stream.length; cut++) {
      const { frames, noise } = decode(stream, [cut]);
      assert.deepEqual(frames, [Buffer.from('c0dbc0', 'hex')], `cut at ${cut}`);
      assert.equal(noise.toString(), 'boot log\r\nx');
    }
  });

  it('hands on what is outside of frames, in order', () => {
    fc.assert(
      fc.property(content, content, content, (before, inside, after) => {
        const clean = (bytes: Buffer) => Buffer.from(bytes.filter((byte) => byte !== 0xc0));
        const { frames, noise } = decode(Buffer.concat([clean(before), encodeFrame(inside), clean(after)]));
        assert.deepEqual(frames, [inside]);
        assert.deepEqual(noise, Buffer.concat([clean(before), clean(after)]));
      }),
    );
  });

  it('loses at most one frame to a delimiter too many', () => {
    fc.assert(
      fc.property(content, content, content, (first, second, third) => {
        const stream = Buffer.concat([
          Buffer.of(0xc0, 0x55),
          ...[first, second, third].map((bytes) => encodeFrame(bytes)),
        ]);
        const { frames } = decode(stream);
        assert.deepEqual(frames.slice(-2), [second, third]);
      }),
    );
  });

  it('drops a frame with an invalid escape, and only that one', () => {
    const bad = Buffer.from([0xc0, 0x01, 0xdb, 0x00, 0x02, 0xc0]);
    const { frames } = decode(Buffer.concat([bad, encodeFrame(Buffer.of(7))]));
    assert.deepEqual(frames, [Buffer.of(7)]);
  });

  it('keeps frames of exactly the limit and drops longer ones', () => {
    for (const length of [63, 64, 65, 4095, 4096, 4097]) {
      const bytes = Buffer.alloc(length, 0xdb);
      assert.deepEqual(decode(encodeFrame(bytes), [], 4096).frames, length <= 4096 ? [bytes] : []);
    }
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(nasty, fc.array(fc.nat(200)), (stream, cuts) => {
        const whole = decode(stream, [], 64);
        const cut = decode(
          stream,
          cuts.map((at) => at % (stream.length + 1)),
          64,
        );
        assert.deepEqual(cut, whole);
      }),
    );
  });

  it('knows when a frame has begun', () => {
    const decoder = new SlipDecoder(64, { frame: () => undefined, noise: () => undefined });
    const steps: [number, boolean][] = [
      [0x41, false],
      [0xc0, false],
      [0xc0, false],
      [0x01, true],
      [0xc0, false],
      [0xc0, false],
      [0xdb, true],
    ];
    for (const [byte, begun] of steps) {
      decoder.push(Buffer.of(byte));
      assert.equal(decoder.frameHasBegun, begun, `after ${byte.toString(16)}`);
    }
  });
});
