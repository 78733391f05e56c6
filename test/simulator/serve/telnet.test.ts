import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TelnetEvent } from '../../../src/simulator/serve/telnet.ts';
import {
  TelnetDecoder,
  TelnetOptions,
  VERB,
  encodeData,
  encodeSubnegotiation,
} from '../../../src/simulator/serve/telnet.ts';

/** Everything that `segments` mean, with neighboring data joined. */
function decode(segments: readonly Uint8Array[], binary = true): TelnetEvent[] {
  const decoder = new TelnetDecoder();
  decoder.binary = binary;
  const events: TelnetEvent[] = [];
  for (const segment of segments) {
    for (const event of decoder.decode(Buffer.from(segment))) {
      const last = events.at(-1);
      if (event.kind === 'data' && last?.kind === 'data') {
        events[events.length - 1] = { kind: 'data', bytes: Buffer.concat([last.bytes, event.bytes]) };
      } else events.push(event);
    }
  }
  return events;
}

const data = (...bytes: number[]): TelnetEvent => ({ kind: 'data', bytes: Buffer.from(bytes) });

/** Bytes that matter to telnet come often. */
const hostileBytes = fc.uint8Array({ maxLength: 64 }).chain((plain) =>
  fc.array(fc.constantFrom(255, 250, 240, 13, 10, 0, 251), { maxLength: 32 }).map((special) => {
    const mixed = [...plain, ...special];
    return Buffer.from(mixed.map((byte, index) => mixed[(index * 7 + 3) % mixed.length] ?? byte));
  }),
);

test('any data survives the way there, in both modes, cut anywhere', () => {
  fc.assert(
    fc.property(hostileBytes, fc.boolean(), fc.nat(), (bytes, binary, cutSeed) => {
      const encoded = encodeData(bytes, binary);
      const cut = encoded.length === 0 ? 0 : cutSeed % encoded.length;
      const expected = bytes.length === 0 ? [] : [data(...bytes)];
      assert.deepEqual(decode([encoded], binary), expected);
      assert.deepEqual(decode([encoded.subarray(0, cut), encoded.subarray(cut)], binary), expected);
      assert.deepEqual(
        decode(
          Array.from(encoded, (byte) => Uint8Array.of(byte)),
          binary,
        ),
        expected,
      );
    }),
  );
});

test('data, commands and subnegotiations keep their order when cut at every byte', () => {
  const stream = Buffer.concat([
    Buffer.of(1, 255, 255, 2),
    Buffer.of(255, 251, 44),
    encodeSubnegotiation(44, Buffer.of(1, 0, 0, 255, 255)),
    Buffer.of(3, 255, 241, 4),
    Buffer.of(255, 254, 0),
  ]);
  const expected: TelnetEvent[] = [
    data(1, 255, 2),
    { kind: 'negotiation', verb: VERB.will, option: 44 },
    { kind: 'subnegotiation', option: 44, payload: Buffer.of(1, 0, 0, 255, 255) },
    data(3, 4),
    { kind: 'negotiation', verb: VERB.dont, option: 0 },
  ];
  assert.deepEqual(decode([stream]), expected);
  for (let cut = 0; cut <= stream.length; cut++) {
    assert.deepEqual(decode([stream.subarray(0, cut), stream.subarray(cut)]), expected, `cut at ${cut}`);
  }
});

test('garbage never throws and never stops the decoder for good', () => {
  fc.assert(
    fc.property(fc.array(hostileBytes, { maxLength: 8 }), (segments) => {
      // Ends whatever was open: a verb's option, a subnegotiation.
      const end = Buffer.of(0, 255, 240, 255, 240);
      const events = decode([...segments, end, Buffer.from('alive')]);
      const last = events.at(-1);
      assert.ok(last?.kind === 'data' && last.bytes.toString('latin1').endsWith('alive'));
    }),
  );
});

test('a subnegotiation without end is void, and the command behind it counts', () => {
  assert.deepEqual(decode([Buffer.of(255, 250, 44, 5, 8, 255, 251, 0, 9)]), [
    { kind: 'negotiation', verb: VERB.will, option: 0 },
    data(9),
  ]);
});

test('an endless subnegotiation is neither kept nor taken for a command', () => {
  const long = Buffer.concat([Buffer.of(255, 250, 44), Buffer.alloc(2_000_000, 7), Buffer.of(255, 240, 1)]);
  assert.deepEqual(decode([long]), [data(1)]);
  const longest = encodeSubnegotiation(44, Buffer.alloc(1023, 7));
  assert.deepEqual(decode([longest]), [{ kind: 'subnegotiation', option: 44, payload: Buffer.alloc(1023, 7) }]);
});

test('an empty subnegotiation is passed over', () => {
  assert.deepEqual(decode([Buffer.of(255, 250, 255, 240, 5)]), [data(5)]);
});

test('outside binary mode a bare CR travels as CR NUL, and CR LF as it is', () => {
  assert.deepEqual([...encodeData(Buffer.of(13, 10, 13, 65, 13), false)], [13, 10, 13, 0, 65, 13, 0]);
  assert.deepEqual([...encodeData(Buffer.of(13, 65), true)], [13, 65]);
  assert.deepEqual(decode([Buffer.of(13, 0, 0, 13, 10)], false), [data(13, 0, 13, 10)]);
  assert.deepEqual(decode([Buffer.of(13, 0)], true), [data(13, 0)]);
});

test('options: asked for and agreed without a loop', () => {
  const options = new TelnetOptions([0], [0, 44]);
  assert.deepEqual([...options.request('here', 0)], [255, VERB.will, 0]);
  assert.equal(options.isInForce('here', 0), false);
  assert.equal(options.receive(VERB.do, 0), undefined);
  assert.equal(options.isInForce('here', 0), true);
  assert.equal(options.receive(VERB.do, 0), undefined);
  assert.equal(options.isInForce('there', 0), false);

  assert.deepEqual([...(options.receive(VERB.will, 44) ?? [])], [255, VERB.do, 44]);
  assert.equal(options.receive(VERB.will, 44), undefined);
  assert.deepEqual([...(options.receive(VERB.wont, 44) ?? [])], [255, VERB.dont, 44]);
  assert.equal(options.receive(VERB.wont, 44), undefined);
  assert.equal(options.isInForce('there', 44), false);
});

test('options: what is not offered here is refused, and a refusal of ours is taken', () => {
  const options = new TelnetOptions([0], [0]);
  assert.deepEqual([...(options.receive(VERB.do, 44) ?? [])], [255, VERB.wont, 44]);
  assert.deepEqual([...(options.receive(VERB.will, 44) ?? [])], [255, VERB.dont, 44]);
  options.request('there', 0);
  assert.equal(options.receive(VERB.wont, 0), undefined);
  assert.equal(options.isInForce('there', 0), false);
});
