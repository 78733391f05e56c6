/**
 * The whole program against a stub, a ROM, a flash and a line that the test program makes: every command, what it refuses,
 * frames and windows, aborts, a flash that cannot be read; on the chips' processors too.
 */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { crc32, inflateRawSync } from 'node:zlib';
import { firmware, noise, pattern } from './contents.ts';
import { TARGETS, TARGET_NAMES, build, historyBytes, missing, runProgram, sizesOf, words } from './programs.ts';

const INFO = 0xe0;
const TABLE = 0xe1;
const STREAM = 0xe2;
const DICTIONARY = 1;
const PATTERN = 2;
const MEASURE = 4;
const LAST = 0x80;
/** What board.c says that was enabled before. */
const INTERRUPTS = 0x1234;
const SECTOR = 4096;

interface Command {
  readonly opcode: number;
  readonly request?: Buffer;
  /** The host acknowledges every n-th frame; 0: none. */
  readonly acknowledgeEvery?: number;
  /** How many looks at the UART later that arrives. */
  readonly latency?: number;
  /** Bytes that the line takes between two looks. */
  readonly lineSpeed?: number;
  /** After that many bytes of frames the host says this. */
  readonly say?: { readonly at: number; readonly bytes: Buffer };
  readonly spoiled?: boolean;
}

interface Answer {
  readonly status: number;
  readonly value: number;
  readonly body: Buffer;
  readonly data: Buffer;
  readonly frames: number;
  readonly last: { status: number; bytesRead: number; dataBytes: number; turns: number; md5: string } | null;
  /** What the host sent and nobody has taken. */
  readonly leftOver: number;
}

function input(command: Command): Buffer {
  const { opcode, request = Buffer.alloc(0), acknowledgeEvery = 1, latency = 3, lineSpeed = 40, say } = command;
  const said = say?.bytes ?? Buffer.alloc(0);
  return Buffer.concat([
    ...[words(opcode, request.length), request, words(acknowledgeEvery, latency, lineSpeed)],
    ...[words(say?.at ?? 0, said.length), said, words(command.spoiled === true ? 1 : 0)],
  ]);
}

/** Frames of the line, as RFC 1055 has them; the last may have been cut off by an abort, and is then left out. */
function frames(line: Buffer): Buffer[] {
  const parts = line.toString('latin1').split('\xc0');
  return parts
    .filter((_, index) => index % 2 === 1 && index + 1 < parts.length)
    .map((part) => Buffer.from(part.replaceAll('\xdb\xdc', '\xc0').replaceAll('\xdb\xdd', '\xdb'), 'latin1'));
}

function answer(line: Buffer, leftOver: number): Answer {
  const [reply, ...rest] = frames(line);
  assert.ok(reply);
  const data: Buffer[] = [];
  let last: Answer['last'] = null;
  rest.forEach((frame, index) => {
    assert.equal(last, null, 'nothing comes after the last frame');
    const payload = frame.subarray(1, -4);
    assert.equal(crc32(frame.subarray(0, -4)), frame.readUInt32LE(frame.length - 4), `CRC of frame ${index}`);
    assert.equal(frame[0]! & 0x7f, index & 0x7f, `sequence of frame ${index}`);
    if ((frame[0]! & LAST) === 0) {
      data.push(payload);
      return;
    }
    const [status, bytesRead, dataBytes, turns] = [0, 4, 8, 12].map((at) => payload.readUInt32LE(at)) as [
      ...[number, number, number, number],
    ];
    last = { status, bytesRead, dataBytes, turns, md5: payload.subarray(16).toString('hex') };
    assert.equal(payload.length, 32);
  });
  for (const payload of data.slice(0, -1)) assert.equal(payload.length, 1024);
  return {
    status: reply.readUInt16BE(reply.length - 2),
    value: reply.readUInt32LE(4),
    body: reply.subarray(8, -2),
    data: Buffer.concat(data),
    frames: rest.length,
    last,
    leftOver,
  };
}

const md5 = (...parts: readonly Buffer[]) => {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

const FLASH = Buffer.concat([
  firmware(300_000),
  ...[
    Buffer.alloc(3000, 0xc0),
    Buffer.alloc(3000, 0xdb),
    Buffer.alloc(40_000, 0xff),
    noise(60_000),
    firmware(10_064, 12),
  ],
]);

for (const target of TARGET_NAMES) {
  describe(`program on ${target}`, { skip: missing(target) }, () => {
    let program: Awaited<ReturnType<typeof build>>;
    let history: number;
    let maxRuns: number;
    before(async () => {
      const sizes = await sizesOf(target);
      history = historyBytes(sizes);
      maxRuns = sizes.MAX_RUNS;
      program = await build('board', target);
    });
    after(() => {
      program.remove();
    });

    async function session(commands: readonly Command[]): Promise<Answer[]> {
      const whole = Buffer.concat([words(FLASH.length), FLASH, ...commands.map(input)]);
      const output = await runProgram(program.command, whole);
      const answers: Answer[] = [];
      for (let at = 0; at < output.length;) {
        const end = at + 4 + output.readUInt32LE(at);
        assert.equal(output.readUInt32LE(end), INTERRUPTS, 'the interrupts of the stub are enabled again');
        answers.push(answer(output.subarray(at + 4, end), output.readUInt32LE(end + 4)));
        at = end + 8;
      }
      assert.equal(answers.length, commands.length);
      return answers;
    }

    const stream = (level: number, window: number, flags: number, ...runs: readonly number[]): Command => ({
      opcode: STREAM,
      request: words(level, window, flags, runs.length / 2, ...runs),
    });
    const part = (address: number, length: number) => FLASH.subarray(address, address + length);

    test('INFO', async () => {
      const [info, spoiled, again] = await session([
        { opcode: INFO },
        { opcode: INFO, spoiled: true },
        { ...stream(1, 8, 0, 0, 4096), spoiled: true },
      ]);
      assert.equal(info!.status, 0);
      assert.equal(info!.value.toString(16), '31445245');
      const numbers = [0, 1, 2, 3, 4, 5, 6].map((index) => info!.body.readUInt32LE(4 * index));
      assert.deepEqual(numbers.toSpliced(2, 1), [1, 0x12345678, history, maxRuns, 64, 1024]);
      // The three words before text_end, and the two constants, of board.c.
      const image = words(0x11111111, 0x22222222, 0x33333333, 0x44444444, 0x55555555);
      assert.equal(numbers[2], crc32(image));
      assert.equal(spoiled!.status, 0xc100);
      assert.deepEqual([again!.status, again!.frames], [0xc100, 0]);
    });

    test('STREAM: each level, several runs, of any length', async () => {
      const runs = [4096, 100_000, 0, 0, 299_000, 50_004, FLASH.length - 20_000, 20_000, 8, 4];
      const want = Buffer.concat([part(4096, 100_000), part(299_000, 50_004), FLASH.subarray(-20_000), part(8, 4)]);
      const answers = await session([0, 1, 2, 3].map((level) => stream(level, 16, 0, ...runs)));
      for (const [level, { status, value, data, last, leftOver }] of answers.entries()) {
        assert.deepEqual([status, value], [0, history]);
        assert.ok((level === 0 ? data : inflateRawSync(data)).equals(want), `level ${level}`);
        const { turns, ...rest } = last!;
        assert.deepEqual(rest, { status: 0, bytesRead: want.length, dataBytes: data.length, md5: md5(want) });
        assert.ok(turns > 0, 'the line is slow here');
        assert.ok(leftOver <= 16, 'late acknowledgements only');
      }
    });

    test('STREAM: nothing at all', async () => {
      const answers = await session([0, 2].map((level) => stream(level, 1, 0, 4096, 0)));
      for (const [index, { data, last }] of answers.entries()) {
        assert.equal(inflateRawSync(index === 0 ? Buffer.from([3, 0]) : data).length, 0);
        assert.equal(last!.md5, md5());
      }
      assert.equal(answers[0]!.data.length, 0);
    });

    test('STREAM: a dictionary goes on where a stream broke off', async () => {
      const commands = [4, 1020, 1024, history].map((length) => stream(2, 8, DICTIONARY, 4096, length, 65_536, 20_000));
      const answers = await session(commands);
      for (const [index, { data, last }] of answers.entries()) {
        const dictionary = part(4096, [4, 1020, 1024, history][index]!);
        assert.ok(inflateRawSync(data, { dictionary }).equals(part(65_536, 20_000)));
        assert.deepEqual([last!.bytesRead, last!.md5], [20_000, md5(part(65_536, 20_000))]);
      }
    });

    test('STREAM: the test pattern, without the flash', async () => {
      const [whole, far] = await session([stream(2, 8, PATTERN, 0, 16_384), stream(0, 8, PATTERN, 0xfff000, 4096)]);
      assert.ok(inflateRawSync(whole!.data).equals(pattern(0, 16_384)));
      assert.ok(far!.data.equals(pattern(0xfff000, 4096)));
      assert.ok(whole!.data.length > 4096 && whole!.data.length < 8192, 'noise and repetitions both');
    });

    test('STREAM: MEASURE sends only the last frame, with the size of what it left out', async () => {
      const [sent, measured] = await session([0, MEASURE].map((flags) => stream(2, 8, flags, 0, 200_000)));
      assert.deepEqual([measured!.frames, measured!.data.length], [1, 0]);
      assert.deepEqual({ ...measured!.last, turns: 0 }, { ...sent!.last, turns: 0 });
    });

    test('TABLE', async () => {
      const sectors = Math.floor(FLASH.length / SECTOR) - 2;
      const [some, one] = await session([
        { opcode: TABLE, request: words(2 * SECTOR, sectors, 4) },
        { opcode: TABLE, request: words(0, 1, 1) },
      ]);
      const digests = Array.from({ length: sectors }, (_, index) =>
        createHash('md5')
          .update(part((index + 2) * SECTOR, SECTOR))
          .digest(),
      );
      assert.ok(some!.data.equals(Buffer.concat(digests.map((digest) => digest.subarray(0, 8)))));
      const { turns, ...last } = some!.last!;
      assert.ok(turns >= 0);
      const want = { status: 0, bytesRead: sectors * SECTOR, dataBytes: 8 * sectors, md5: md5(...digests) };
      assert.deepEqual(last, want);
      assert.equal(one!.data.toString('hex'), md5(part(0, SECTOR)).slice(0, 16));
    });

    test('a flash that cannot be read to its end is said', async () => {
      const at = FLASH.length - 8192 - (FLASH.length % SECTOR);
      const answers = await session([
        stream(0, 8, 0, at, 65_536),
        stream(2, 8, 0, at, 65_536),
        stream(2, 8, DICTIONARY, at + 16_384, 1024, 0, 4096),
        { opcode: TABLE, request: words(at, 16, 8) },
        stream(1, 8, 0, 0, 4096),
      ]);
      assert.deepEqual(
        answers.map(({ last }) => last?.status),
        [3, 3, 3, 3, 0],
      );
      assert.equal(answers[3]!.last!.bytesRead, 8192);
      assert.equal(answers[3]!.data.length, 16);
      assert.ok(answers[0]!.data.equals(part(at, answers[0]!.data.length)));
    });

    test('any window, any latency, acknowledgements for several frames at once', async () => {
      const answers = await session([
        { ...stream(0, 1, 0, 0, 30_000), latency: 50 },
        { ...stream(0, 64, 0, 0, 200_000), latency: 2000, lineSpeed: 1 },
        { ...stream(2, 16, 0, 0, 200_000), acknowledgeEvery: 16 },
        { ...stream(0, 64, 0, 0, 200_000), acknowledgeEvery: 63, lineSpeed: 120 },
        { ...stream(2, 3, 0, 0, 64_000), latency: 0, lineSpeed: 7 },
      ]);
      for (const { last } of answers) assert.equal(last?.status, 0);
      assert.ok(answers[1]!.data.equals(part(0, 200_000)), 'more than 128 frames');
    });

    test('noise in place of an acknowledgement is ignored', async () => {
      // 64 more than what was sent, and bytes that are no numbers.
      const noisy = { at: 3000, bytes: Buffer.from([0x60, 0x80, 0x9a, 0xdb, 0xfe, 0x02]) };
      const [it] = await session([{ ...stream(0, 8, 0, 0, 100_000), say: noisy }]);
      assert.ok(it!.data.equals(part(0, 100_000)));
    });

    test('FF stops it, and the next command finds everything in order', async () => {
      const abort = (at: number): Command => ({
        ...stream(2, 16, 0, 0, 300_000),
        say: { at, bytes: Buffer.from([0xff, 0x01, 0x02]) },
      });
      const table = { opcode: TABLE, request: words(0, 64, 8), say: { at: 20, bytes: Buffer.of(0xff) } };
      const answers = await session([...[1, 2, 700, 1030, 5000].map(abort), table, stream(2, 16, 0, 0, 100_000)]);
      const good = answers.pop()!;
      assert.ok(inflateRawSync(good.data).equals(part(0, 100_000)));
      for (const { last, leftOver, frames: count } of answers) {
        assert.deepEqual([last, leftOver], [null, 0]);
        assert.ok(count < 10);
      }
    });

    test('a command of a new session stops it, and is eaten to its end', async () => {
      const sync = Buffer.from([0xc0, 0x00, 0x08, 0x24, 0x00, 0xff, 0xc0]);
      const [stopped] = await session([{ ...stream(0, 16, 0, 0, 300_000), say: { at: 2000, bytes: sync } }]);
      assert.deepEqual([stopped!.last, stopped!.leftOver], [null, 0]);
      assert.ok(stopped!.frames < 4);
    });

    // Millions of turns: once is enough.
    const slow = TARGETS[target].bare || TARGETS[target].chip === 'esp8266';
    test(
      'without acknowledgements it stops at the window, and gives up',
      { skip: slow && 'tried elsewhere' },
      async () => {
        const [lost, good] = await session([
          { ...stream(0, 4, 0, 0, 65_536), acknowledgeEvery: 0 },
          stream(0, 4, 0, 0, 65_536),
        ]);
        assert.deepEqual([lost!.frames, lost!.last], [4, null]);
        assert.equal(good!.last?.status, 0);
      },
    );

    test('what is out of range is refused, and nothing is sent', async () => {
      const tooMany = Array.from({ length: 2 * (maxRuns + 1) }, () => 0);
      const most = Array.from({ length: 2 * maxRuns }, (_, index) => (index % 2 === 0 ? 4096 : 4));
      const refused: [number, Command][] = [
        ...[0, 65, 0xffffffff].map((window): [number, Command] => [0xc200, stream(1, window, 0, 0, 4)]),
        [0xc200, stream(4, 8, 0, 0, 4)],
        [0xc200, stream(0xffffffff, 8, 0, 0, 4)],
        [0xc200, stream(1, 8, 8, 0, 4)],
        [0xc200, stream(1, 8, 0)],
        [0xc200, stream(1, 8, 0, 2, 4)],
        [0xc200, stream(1, 8, 0, 0, 6)],
        [0xc200, stream(1, 8, 0, 0x1000000, 4)],
        [0xc200, stream(1, 8, 0, 0xffffff00, 0x200)],
        [0xc200, stream(1, 8, 0, 0, 0xfffffffc)],
        [0xc200, stream(0, 8, DICTIONARY, 0, 4, 0, 4)],
        [0xc200, stream(1, 8, DICTIONARY, 0, history + 4, 0, 4)],
        [0xc000, stream(1, 8, 0, ...tooMany)],
        [0xc000, { opcode: STREAM, request: words(1, 8, 0) }],
        [0xc000, { opcode: STREAM, request: words(1, 8, 0, 1, 0) }],
        [0xc000, { opcode: STREAM, request: words(1, 8, 0, 0xffffffff, 0, 4) }],
        [0xc000, { opcode: STREAM, request: words(1, 8, 0, 0x80000001, 0, 4) }],
        [0xc000, { opcode: STREAM, request: Buffer.concat([words(1, 8, 0, 1, 0, 4), Buffer.of(0)]) }],
        [0xc000, { opcode: STREAM, request: Buffer.alloc(16_000) }],
        [0xc000, { opcode: INFO, request: words(1) }],
        [0xc000, { opcode: TABLE, request: words(0, 1) }],
        [0xc000, { opcode: TABLE, request: words(0, 1, 8, 0) }],
        [0xc000, { opcode: TABLE }],
        [0xc200, { opcode: TABLE, request: words(0, 0, 8) }],
        [0xc200, { opcode: TABLE, request: words(0, 4097, 8) }],
        [0xc200, { opcode: TABLE, request: words(4096, 4096, 8) }],
        [0xc200, { opcode: TABLE, request: words(0x1000000, 1, 8) }],
        [0xc200, { opcode: TABLE, request: words(2048, 1, 8) }],
        [0xc200, { opcode: TABLE, request: words(0, 1, 0) }],
        [0xc200, { opcode: TABLE, request: words(0, 1, 65) }],
      ];
      const answers = await session([...refused.map(([, command]) => command), stream(0, 8, 0, ...most)]);
      const last = answers.pop()!;
      assert.equal(last.data.length, 4 * maxRuns);
      answers.forEach(({ status, frames: count }, index) => {
        const [want, { opcode, request }] = refused[index]!;
        const text = `${opcode.toString(16)} ${request?.subarray(0, 40).toString('hex')}`;
        assert.deepEqual([status, count], [want, 0], text);
      });
    });
  });
}
