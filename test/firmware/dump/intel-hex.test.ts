import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { IntelHexReader, intelHexText, type HexReading, type HexRun } from '../../../src/firmware/dump/intel-hex.ts';
import { filler } from '../builder.ts';

const LIMIT = 0x100000;

function read(text: string | Buffer, limit = LIMIT, pieceBytes = 7): HexReading {
  const reader = new IntelHexReader(limit);
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += pieceBytes) if (!reader.push(bytes.subarray(at, at + pieceBytes))) break;
  return reader.finish();
}

/** A second opinion on the format, by hand. */
function record(type: number, address: number, data: string): string {
  const bytes = [data.length / 2, address >> 8, address & 0xff, type, ...Buffer.from(data, 'hex')];
  const sum = (256 - (bytes.reduce((total, byte) => total + byte, 0) & 0xff)) & 0xff;
  return `:${Buffer.from([...bytes, sum]).toString('hex')}\n`;
}
const END = ':00000001FF\n';

async function written(pieces: readonly HexRun[]): Promise<string> {
  let text = '';
  for await (const part of intelHexText(pieces)) text += part;
  return text;
}

describe('Intel HEX', () => {
  test('the example of the standard', () => {
    // Record of Intel's "Hexadecimal Object File Format Specification", as every description of it repeats.
    const { runs, problem } = read(`:10010000214601360121470136007EFE09D2190140\n${END}`);
    assert.equal(problem, null);
    assert.deepEqual(
      runs.map(({ offset, bytes }) => [offset, bytes.toString('hex')]),
      [[0x100, '214601360121470136007efe09d21901']],
    );
  });

  test('addresses: linear and segmented halves, starts passed over, any order, line ends of all systems', () => {
    const text =
      record(4, 0, '0001') +
      record(0, 0xfffe, 'aabbccdd') + // goes on in the next 64 KiB
      record(5, 0, '40081234') +
      record(2, 0, '1000') +
      record(0, 0x10, '0102') +
      record(3, 0, '12345678') +
      record(4, 0, '0000') +
      record(0, 0, 'ff');
    for (const end of ['\n', '\r\n', '\r']) {
      const { runs } = read(`${text.replaceAll('\n', end)}${END}${end}`);
      assert.deepEqual(
        runs?.map(({ offset, bytes }) => [offset, bytes.toString('hex')]),
        [
          [0, 'ff'],
          [0x10010, '0102'],
          [0x1fffe, 'aabbccdd'],
        ],
        JSON.stringify(end),
      );
    }
  });

  test('runs that touch become one, whatever their order', () => {
    const { runs } = read(record(0, 4, '0405') + record(0, 0, '00010203') + END);
    assert.deepEqual(
      runs?.map(({ offset, bytes }) => [offset, bytes.toString('hex')]),
      [[0, '000102030405']],
    );
  });

  for (const [what, text, problem] of [
    ['no end record', record(0, 0, '00'), /cut off/],
    ['nothing', '', /cut off/],
    ['no data', END, /no data/],
    ['no colon', `hello\n${END}`, /line 1 does not begin with ":"/],
    ['a wrong checksum', `:0100000000FE\n${END}`, /line 1 has a wrong checksum/],
    ['a length that lies', `:0200000000FE\n${END}`, /line 1 has another length/],
    ['a digit that is none', `:01000000zzFF\n${END}`, /hex digits/],
    ['half a byte', `:010000000\n${END}`, /pairs of hex digits/],
    ['a type of no meaning', record(6, 0, '00') + END, /has type 6/],
    ['an upper half of one byte', record(4, 0, '00') + END, /has type 4/],
    ['an address beyond every flash', record(4, 0, '4008') + record(0, 0, '00') + END, /0x40080000, beyond/],
    ['an address just beyond', record(4, 0, '000f') + record(0, 0xffff, '0000') + END, /beyond/],
    ['a segment run over', record(2, 0, '0000') + record(0, 0xffff, '0000') + END, /end of its segment/],
    ['an address twice', record(0, 0, '0000') + record(0, 1, '01') + END, /has 0x1 twice/],
    ['something behind the end', END + record(0, 0, '00'), /behind the end record/],
    ['a line without end', `:${'0'.repeat(10_000)}`, /longer than a record/],
    ['binary', Buffer.from([0xe9, 0, 2, 0x20, 0xff, 0xff]), /line 1|cut off/],
  ] as const) {
    test(`refused: ${what}`, () => {
      const reading = read(text);
      assert.equal(reading.runs, null);
      assert.match(reading.problem, problem);
    });
  }

  test('the last byte below the limit is taken', () => {
    assert.equal(read(record(4, 0, '000f') + record(0, 0xffff, 'aa') + END).problem, null);
  });

  test('a file that says the same again and again is refused before it takes memory', () => {
    const twice = record(0, 0, 'aa'.repeat(255)) + record(0, 0x1000, 'bb');
    const reading = read(twice.repeat(10) + END, 2048 * 4, 4096);
    assert.match(reading.problem ?? '', /for the second time|twice/);
  });

  test('what is scattered without end is refused', () => {
    let text = '';
    for (let at = 0; at <= 65_536; at++) {
      if (at % 0x8000 === 0) text += record(4, 0, (at >> 15).toString(16).padStart(4, '0'));
      text += record(0, (at % 0x8000) * 2, 'aa');
    }
    assert.match(read(text + END, LIMIT, 65_536).problem ?? '', /65537th run/);
  });

  test('written: 32 bytes a record, upper halves where they change, and blank flash too', async () => {
    const text = await written([{ offset: 0x1fff0, bytes: Buffer.alloc(64, 0xff) }]);
    const lines = text.trimEnd().split('\n');
    assert.equal(lines[0], ':020000040001F9');
    assert.match(lines[1] ?? '', /^:10FFF000F{32}/);
    assert.equal(lines[2], ':020000040002F8');
    assert.match(lines[3] ?? '', /^:20000000F{64}/);
    assert.match(lines[4] ?? '', /^:10002000F{32}/);
    assert.equal(lines[5], ':00000001FF');
    assert.equal(lines.length, 6);
  });

  test('law: what is written is read again, however the text is cut', async () => {
    const pieces = fc.array(fc.tuple(fc.nat(0x2000), fc.uint8Array({ minLength: 1, maxLength: 300 })), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(pieces, fc.integer({ min: 1, max: 500 }), async (gaps, pieceBytes) => {
        let at = 0xf000;
        const runs = gaps.map(([gap, data]) => {
          const run = { offset: at + gap + 1, bytes: Buffer.from(data) };
          at = run.offset + data.length;
          return run;
        });
        const { runs: again, problem } = read(await written(runs), LIMIT, pieceBytes);
        assert.equal(problem, null);
        assert.deepEqual(again, runs);
      }),
    );
  });

  test('law: no text whatever throws, and none cut off is taken', async () => {
    const whole = await written([{ offset: 0xfff0, bytes: filler(100) }]);
    const lineFeed = whole.length - 1;
    for (let length = 0; length < lineFeed; length++) assert.notEqual(read(whole.slice(0, length)).problem, null);
    assert.equal(read(whole.slice(0, lineFeed)).problem, null, 'the last line feed may be missing');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, isHexLike) => {
        const text = isHexLike ? `:${Buffer.from(bytes).toString('hex')}\n${END}` : Buffer.from(bytes);
        const { runs, problem } = read(text);
        assert.ok((runs === null) !== (problem === null));
      }),
    );
  });
});
