/**
 * The reader's compressor: whatever goes in, zlib gets it back; with every level, every cut of the input, with
 * dictionaries; and the chips' processors make the same bytes as this machine.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { echoes, fibonacci, firmware, noise, randomWords } from './contents.ts';
import { TARGETS, TARGET_NAMES, build, historyBytes, missing, runProgram, sizesOf, words } from './programs.ts';

interface Case {
  readonly name: string;
  readonly data: Buffer;
  readonly level: number;
  readonly dictionary?: Buffer;
  /** Longest piece that the compressor is given at once. */
  readonly piece?: number;
}

function input({ data, level, dictionary = Buffer.alloc(0), piece = 1024 }: Case): Buffer {
  return Buffer.concat([words(level, dictionary.length, data.length, piece), dictionary, data]);
}

async function compress(command: readonly string[], cases: readonly Case[]): Promise<Buffer[]> {
  const output = await runProgram(command, Buffer.concat(cases.map(input)));
  const streams: Buffer[] = [];
  for (let at = 0; at < output.length;) {
    const length = output.readUInt32LE(at);
    streams.push(output.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  assert.equal(streams.length, cases.length);
  return streams;
}

const EDGES: Readonly<Record<string, Buffer>> = {
  nothing: Buffer.alloc(0),
  'one byte': Buffer.from('x'),
  'two bytes': Buffer.from('ab'),
  'three equal bytes': Buffer.from('aaa'),
  'four bytes of a match': Buffer.from('abcabc'),
  'exactly the longest match': Buffer.alloc(259, 7),
  'the longest match and one': Buffer.alloc(260, 7),
  blank: Buffer.alloc(70_000, 0xff),
  zeros: Buffer.alloc(1 << 17),
  noise: noise(50_000),
  'every byte once': Buffer.from(Array.from({ length: 256 }, (_, index) => index)),
  'two symbols': Buffer.from(Array.from({ length: 9000 }, (_, index) => (Math.imul(index, index) >> 3) & 1)),
  'codes longer than 15 bits': fibonacci(),
  'runs of growing length': Buffer.concat(Array.from({ length: 300 }, (_, index) => Buffer.alloc(index, index))),
  // What each ring can just reach, and what it just cannot: HISTORY_BYTES of 32 KB and of 4 KB, rings, powers of two.
  'echoes at the edge of the window': echoes([
    ...[
      1024, 2048, 3567, 3568, 3569, 3824, 4095, 4096, 4097, 8192, 16384, 31471, 31472, 31473, 31736, 32767, 32768,
      32769, 40000,
    ],
  ]),
  'every 65536 bytes': Buffer.concat([
    noise(3000),
    Buffer.alloc(62_536),
    noise(3000),
    Buffer.alloc(62_536),
    noise(3000),
  ]),
  firmware: firmware(200_000),
};

/** Short inputs of all kinds, cut into pieces of all kinds. */
function fuzz(count: number, history: number): Case[] {
  const next = randomWords(20_261_126);
  const source = Buffer.concat([firmware(60_000, 3), noise(4000, 5), Buffer.alloc(6000, 0xff), firmware(20_000, 11)]);
  return Array.from({ length: count }, (_, index) => {
    const length = next() % 4 === 0 ? next() % 64 : next() % 9000;
    const from = next() % (source.length - length);
    const data = Buffer.from(source.subarray(from, from + length));
    for (let spots = next() % 20; spots > 0 && length > 0; spots--) data[next() % length] = next() & 0xff;
    const before = next() % 3 === 0 ? next() % (Math.min(from, history) + 1) : 0;
    const piece = next() % 2 === 0 ? 1024 : 1 + (next() % 1024);
    const dictionary = source.subarray(from - before, from);
    return { name: `fuzz ${index}`, data, level: 1 + (next() % 3), dictionary, piece };
  });
}

function cases(history: number): Case[] {
  const levels = [1, 2, 3];
  const sample = firmware(60_000, 21);
  const dictionaries = [1, 2, 3, 4, 1023, 1024, 1025, 4096, history].filter((length) => length <= history);
  return [
    ...Object.entries(EDGES).flatMap(([name, data]) => levels.map((level) => ({ name, data, level }))),
    ...[1, 3, 264, 1000].map((piece) => ({ name: `pieces of ${piece}`, data: firmware(30_000), level: 2, piece })),
    ...dictionaries.flatMap((length) =>
      levels.map((level) => ({
        name: `dictionary of ${length}`,
        data: sample.subarray(length, length + 9000),
        dictionary: sample.subarray(0, length),
        level,
      })),
    ),
    { name: 'dictionary, then nothing', data: Buffer.alloc(0), dictionary: sample.subarray(0, 2000), level: 2 },
    ...fuzz(400, history),
  ];
}

/** Sanitizers and emulation are slow; what was made on this machine serves to compare. */
const made = new Map<string, Promise<Buffer[]>>();

for (const target of TARGET_NAMES) {
  const skip = missing(target);
  describe(`compressor on ${target}`, { skip }, () => {
    let program: Awaited<ReturnType<typeof build>>;
    let all: readonly Case[];
    let history: number;
    before(async () => {
      history = historyBytes(await sizesOf(target));
      all = cases(history);
      program = await build('encoder', target);
    });
    after(() => {
      program.remove();
    });

    test('zlib gets everything back', async () => {
      const streams = await compress(program.command, all);
      made.set(target, Promise.resolve(streams));
      for (const [index, { name, data, level, dictionary, piece }] of all.entries()) {
        const stream = streams[index]!;
        const back = inflateRawSync(stream, dictionary === undefined ? {} : { dictionary });
        assert.ok(back.equals(data), `${name}, level ${level}, pieces of ${piece}`);
        const blocks = Math.ceil(data.length / 1000);
        assert.ok(stream.length <= data.length + 5 * blocks + 5, `${name}, level ${level}: ${stream.length} bytes`);
      }
    });

    test('no match reaches farther than the history', async () => {
      // zlib refuses a distance beyond its window: so many bits, the smallest that holds the history.
      const windowBits = Math.ceil(Math.log2(history));
      const data = echoes([history - 40, history, history + 1, history + 40, 2 ** windowBits]);
      const streams = await compress(
        program.command,
        [1, 2, 3].map((level) => ({ name: 'echoes', data, level })),
      );
      for (const stream of streams) assert.ok(inflateRawSync(stream, { windowBits }).equals(data));
    });

    test('about as small as zlib', async () => {
      const data = firmware(300_000, 5);
      const streams = await compress(
        program.command,
        [1, 2, 3].map((level) => ({ name: 'firmware', data, level })),
      );
      const usual = deflateRawSync(data, { level: 6, windowBits: Math.ceil(Math.log2(history)) }).length;
      const [fast, lazy, best] = streams.map((stream) => stream.length / usual);
      // A small ring reaches less far than zlib's smallest window that holds it, and its blocks are short.
      const allowed = history > 16_384 ? 0 : 0.03;
      assert.ok(
        fast! < 1.12 + allowed && lazy! < 1.025 + allowed && best! < 1.02 + allowed,
        `${fast} ${lazy} ${best} times zlib 6`,
      );
    });

    const twin = TARGET_NAMES.find((other) => other !== target && TARGETS[other].chip === TARGETS[target].chip);
    test(`the same bytes as ${twin}`, { skip: TARGETS[target].bare ? false : 'the other way round' }, async () => {
      const here = made.get(twin!);
      assert.ok(here, 'the tests before this one have failed');
      const [own, others] = [await made.get(target), await here];
      const different = all.filter((_, index) => !own![index]!.equals(others[index]!));
      assert.deepEqual(
        different.map(({ name, level }) => `${name}, level ${level}`),
        [],
      );
    });
  });
}
