import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  comPortCommand,
  escapeIac,
  OPTION,
  OptionNegotiator,
  setBaudRateCommand,
  TelnetParser,
  VERB,
  type Verb,
} from '../../src/serial/rfc2217-codec.ts';

type Event = { data: string } | { negotiation: [Verb, number] } | { sub: [number, string] };

interface Item {
  wire: Buffer;
  event: Event;
}

/** What the parser makes of `pieces`, neighboring data joined. */
function parse(pieces: readonly Buffer[]): Event[] {
  const events: Event[] = [];
  const parser = new TelnetParser({
    data(chunk) {
      const last = events.at(-1);
      if (last !== undefined && 'data' in last) last.data += chunk.toString('hex');
      else events.push({ data: chunk.toString('hex') });
    },
    negotiation: (verb, option) => events.push({ negotiation: [verb, option] }),
    subnegotiation: (option, payload) => events.push({ sub: [option, payload.toString('hex')] }),
  });
  for (const piece of pieces) parser.push(Buffer.from(piece));
  return events;
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...sorted].map((from, index) => bytes.subarray(from, sorted[index] ?? bytes.length));
}

/** Bytes with many 0xff, as blank flash has. */
const bytes = () =>
  fc
    .array(fc.oneof(fc.constant(0xff), fc.integer({ min: 0, max: 255 })), { maxLength: 300 })
    .map((all) => Buffer.from(all));

describe('the telnet stream of RFC 2217', () => {
  test('carries any bytes, however the stream is cut', () => {
    fc.assert(
      fc.property(bytes(), fc.array(fc.nat()), (data, places) => {
        const events = parse(cut(Buffer.from(escapeIac(data)), places));
        assert.deepEqual(events, data.length === 0 ? [] : [{ data: data.toString('hex') }]);
      }),
    );
  });

  test('keeps commands and data in order, however the stream is cut', () => {
    const item = fc.oneof(
      bytes().map((data): Item => ({ wire: Buffer.from(escapeIac(data)), event: { data: data.toString('hex') } })),
      fc
        .tuple(fc.constantFrom(VERB.will, VERB.wont, VERB.do, VERB.dont), fc.integer({ min: 0, max: 255 }))
        .map(([verb, option]): Item => ({
          wire: Buffer.of(255, verb, option),
          event: { negotiation: [verb, option] },
        })),
      fc.tuple(fc.integer({ min: 0, max: 254 }), bytes()).map(([command, value]): Item => ({
        wire: comPortCommand(command, value),
        event: { sub: [44, Buffer.of(command, ...value).toString('hex')] },
      })),
      fc
        .constantFrom(241, 242, 249, 7)
        .map((command): Item => ({ wire: Buffer.of(255, command), event: { data: '' } })),
    );
    fc.assert(
      fc.property(fc.array(item, { maxLength: 12 }), fc.array(fc.nat()), (items, places) => {
        const expected: Event[] = [];
        for (const { event } of items) {
          const last = expected.at(-1);
          if ('data' in event && event.data === '') continue;
          if ('data' in event && last !== undefined && 'data' in last) last.data += event.data;
          else expected.push({ ...event });
        }
        assert.deepEqual(parse(cut(Buffer.concat(items.map(({ wire }) => wire)), places)), expected);
      }),
    );
  });

  test('survives a cut at every byte', () => {
    const stream = Buffer.concat([
      Buffer.from('a'),
      setBaudRateCommand(0xff_00_ff),
      Buffer.from([98, 255, 255, 255, 253, 44, 99]),
    ]);
    const whole = parse([stream]);
    assert.deepEqual(whole, [
      { data: '61' },
      { sub: [44, '0100ff00ff'] },
      { data: '62ff' },
      { negotiation: [VERB.do, 44] },
      { data: '63' },
    ]);
    for (let at = 0; at <= stream.length; at++)
      assert.deepEqual(parse([stream.subarray(0, at), stream.subarray(at)]), whole);
    assert.deepEqual(parse(Array.from(stream, (byte) => Buffer.of(byte))), whole);
  });

  test('survives any stream at all, in bounded memory', () => {
    fc.assert(
      fc.property(bytes(), (stream) => {
        let total = 0;
        const parser = new TelnetParser({
          data: (chunk) => (total += chunk.length),
          negotiation: () => undefined,
          subnegotiation: (_, payload) => (total += payload.length),
        });
        parser.push(Buffer.from(stream));
        assert.ok(total <= stream.length);
      }),
    );
  });

  test('does not copy what needs no escape', () => {
    const plain = Buffer.from('plain');
    assert.equal(escapeIac(plain), plain);
  });
});

describe('the negotiation of telnet options', () => {
  test('accepts what it asked for without a further word', () => {
    const negotiator = new OptionNegotiator();
    negotiator.start();
    for (const option of [OPTION.binary, OPTION.suppressGoAhead]) {
      assert.equal(negotiator.answer(VERB.do, option), undefined);
      assert.equal(negotiator.answer(VERB.will, option), undefined);
    }
    assert.equal(negotiator.binary, true);
    assert.equal(negotiator.comPort, false);
    assert.equal(negotiator.answer(VERB.do, OPTION.comPort), undefined);
    assert.equal(negotiator.comPort, true);
  });

  test('refuses foreign options', () => {
    const negotiator = new OptionNegotiator();
    assert.deepEqual(negotiator.answer(VERB.will, 1), Buffer.of(255, 254, 1));
    assert.deepEqual(negotiator.answer(VERB.do, 24), Buffer.of(255, 252, 24));
    assert.equal(negotiator.answer(VERB.dont, 24), undefined);
  });

  test('two of them come to rest, whoever begins', () => {
    const verbs = fc.constantFrom(VERB.will, VERB.wont, VERB.do, VERB.dont);
    const first = fc.array(fc.tuple(verbs, fc.integer({ min: 0, max: 50 })), { maxLength: 20 });
    fc.assert(
      fc.property(first, fc.boolean(), (words, started) => {
        const [one, two] = [new OptionNegotiator(), new OptionNegotiator()];
        if (started) one.start();
        const queue = words.map(([verb, option]) => ({ to: one, from: two, verb, option }));
        for (let count = 0; queue.length > 0; count++) {
          assert.ok(count < 1000, 'a loop of answers');
          const { to, from, verb, option } = queue.shift()!;
          const answer = to.answer(verb, option);
          if (answer !== undefined) queue.push({ to: from, from: to, verb: answer[1] as Verb, option: answer[2]! });
        }
      }),
      // Words that cross, once answered for ever.
      {
        examples: [
          [
            [
              [VERB.do, 3],
              [VERB.dont, 3],
            ],
            false,
          ],
        ],
      },
    );
  });
});
