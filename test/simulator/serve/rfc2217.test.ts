/** Bytes here are written out from RFC 2217, not made by the code under test. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Rfc2217ServeOptions } from '../../../src/simulator/serve/rfc2217.ts';
import { serveRfc2217 } from '../../../src/simulator/serve/rfc2217.ts';
import { Client, EchoBoard, HandClock, pattern } from './support.ts';

const IAC = 255;
/** The server offers binary and suppress-go-ahead for both directions. */
const GREETING = [255, 251, 0, 255, 253, 0, 255, 251, 3, 255, 253, 3];
/** The client agrees to all of it and offers COM-PORT-OPTION. */
const AGREED = [255, 253, 0, 255, 251, 0, 255, 253, 3, 255, 251, 3, 255, 251, 44];
const DO_COM_PORT = [255, 253, 44];

const sb = (...payload: number[]) => [IAC, 250, 44, ...payload, IAC, 240];
const baud = (rate: number, code = 1) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(rate);
  return sb(code, ...[...bytes].flatMap((byte) => (byte === IAC ? [IAC, IAC] : [byte])));
};
const DTR_ON = sb(5, 8);
const DTR_OFF = sb(5, 9);
const RTS_ON = sb(5, 11);
const RTS_OFF = sb(5, 12);

async function setUp(options: Rfc2217ServeOptions = {}) {
  const board = new EchoBoard();
  const served = await serveRfc2217(board, options);
  const client = await Client.open(served.address);
  assert.deepEqual([...(await client.take(GREETING.length))], GREETING);
  client.send(Buffer.from(AGREED));
  assert.deepEqual([...(await client.take(3))], DO_COM_PORT);
  board.take();

  return {
    board,
    served,
    client,
    /** Sends in one segment and compares what comes back, to the byte. */
    expect: async (request: readonly number[], answer: readonly number[]) => {
      client.send(Buffer.from(request));
      assert.deepEqual([...(await client.take(answer.length))], answer);
    },
    /** Whatever was sent has been dealt with, and nothing else was answered. */
    settle: async () => {
      client.send(Buffer.from(sb(10, 0)));
      assert.deepEqual([...(await client.take(7))], sb(110, 0));
      assert.equal(client.received.length, 0);
    },
    end: async () => {
      await served.close();
      await client.closed;
    },
  };
}

test('opening raises both lines in one step and leaving drops them, as a tty does', async () => {
  const board = new EchoBoard();
  const served = await serveRfc2217(board, { initialBaudRate: 74_880 });
  assert.match(served.address, /^rfc2217:\/\/127\.0\.0\.1:\d+$/);
  assert.deepEqual(board.take(), []);
  const client = await Client.open(served.address);
  await client.take(GREETING.length);
  assert.deepEqual(board.take(), ['baud:74880', 'lines:dtr,rts']);
  await client.leave();
  await board.until(() => board.events.includes('lines:'));
  assert.deepEqual(board.take(), ['lines:']);
  await served.close();
});

test('a server that leaves the lines alone does so', async () => {
  const { board, served, client, expect } = await setUp({ raiseLinesOnOpen: false, dropLinesOnClose: false });
  await expect(sb(5, 7), sb(105, 9));
  await expect(sb(5, 10), sb(105, 12));
  await client.leave();
  await served.close();
  assert.deepEqual(board.take(), []);
});

test('unplugging and closing drop the lines exactly once', async () => {
  const { board, served, client } = await setUp();
  served.unplug();
  await client.closed;
  await served.close();
  assert.deepEqual(board.take(), ['lines:']);
});

test('SET-BAUDRATE: sets, asks with 0, and names the rate in force when one is not taken', async () => {
  const { board, expect, end } = await setUp({ maxBaudRate: 1_000_000 });
  await expect(baud(0), baud(115_200, 101));
  await expect(baud(921_600), baud(921_600, 101));
  await expect(baud(0), baud(921_600, 101));
  await expect(baud(2_000_000), baud(921_600, 101));
  assert.deepEqual(board.take(), ['baud:921600']);
  await end();
});

test('SET-BAUDRATE: a rate with a byte 255 in it is escaped both ways', async () => {
  const { board, expect, end } = await setUp();
  const rate = 0x0001ff00;
  await expect([255, 250, 44, 1, 0, 1, 255, 255, 0, 255, 240], [255, 250, 44, 101, 0, 1, 255, 255, 0, 255, 240]);
  assert.deepEqual(board.take(), [`baud:${rate}`]);
  await end();
});

test('data size, parity and stop size: set, asked, and nonsense is answered with what is in force', async () => {
  const { expect, end } = await setUp();
  await expect(sb(2, 0), sb(102, 8));
  await expect(sb(3, 0), sb(103, 1));
  await expect(sb(4, 0), sb(104, 1));
  await expect(sb(2, 7), sb(102, 7));
  await expect(sb(2, 9), sb(102, 7));
  await expect(sb(3, 3), sb(103, 3));
  await expect(sb(3, 200), sb(103, 3));
  await expect(sb(4, 2), sb(104, 2));
  await expect(sb(4, 0), sb(104, 2));
  await end();
});

test('SET-CONTROL: each line on, off and asked', async () => {
  const { board, expect, end } = await setUp();
  await expect(sb(5, 7), sb(105, 8));
  await expect(sb(5, 10), sb(105, 11));
  assert.deepEqual(board.take(), []);
  await expect(DTR_OFF, sb(105, 9));
  await expect(sb(5, 7), sb(105, 9));
  await expect(RTS_OFF, sb(105, 12));
  await expect(sb(5, 10), sb(105, 12));
  await expect(DTR_ON, sb(105, 8));
  await expect(RTS_ON, sb(105, 11));
  assert.deepEqual(board.take(), ['lines:rts', 'lines:', 'lines:dtr', 'lines:dtr,rts']);
  await end();
});

test('SET-CONTROL: break and flow control are kept and answered, unknown values are not', async () => {
  const { board, expect, settle, end } = await setUp();
  await expect(sb(5, 0), sb(105, 1));
  await expect(sb(5, 3), sb(105, 3));
  await expect(sb(5, 0), sb(105, 3));
  await expect(sb(5, 4), sb(105, 6));
  await expect(sb(5, 5), sb(105, 5));
  await expect(sb(5, 4), sb(105, 5));
  await expect(sb(5, 13), sb(105, 14));
  await expect(sb(5, 15), sb(105, 15));
  await expect([...sb(5, 99), ...sb(5), ...sb(77, 1), ...sb(1, 2)], []);
  await settle();
  assert.deepEqual(board.take(), []);
  await end();
});

test('both lines in one segment reach the board in one step', async () => {
  const { board, expect, end } = await setUp();
  await expect([...DTR_OFF, ...RTS_ON], [...sb(105, 9), ...sb(105, 11)]);
  assert.deepEqual(board.take(), ['lines:rts']);
  await expect([...RTS_OFF, ...sb(5, 7), ...DTR_ON], [...sb(105, 12), ...sb(105, 9), ...sb(105, 8)]);
  assert.deepEqual(board.take(), ['lines:dtr']);
  await end();
});

test('a group of lines ends where data, a rate, or the same line again comes between', async () => {
  const { board, expect, end } = await setUp();
  await expect(
    [...DTR_OFF, 0x41, ...RTS_OFF, ...baud(9600), ...RTS_ON, ...RTS_OFF, ...DTR_ON],
    [...sb(105, 9), 0x41, ...sb(105, 12), ...baud(9600, 101), ...sb(105, 11), ...sb(105, 12), ...sb(105, 8)],
  );
  assert.deepEqual(board.take(), ['lines:rts', 'data:41', 'lines:', 'baud:9600', 'lines:rts', 'lines:dtr']);
  await end();
});

test('edges in segments of their own are never joined', async () => {
  const { board, expect, end } = await setUp();
  await expect(DTR_OFF, sb(105, 9));
  await expect(RTS_OFF, sb(105, 12));
  assert.deepEqual(board.take(), ['lines:rts', 'lines:']);
  await end();
});

test('PURGE-DATA, masks and signature', async () => {
  const { expect, settle, end } = await setUp();
  for (const which of [1, 2, 3]) await expect(sb(12, which), sb(112, which));
  await expect(sb(10, 16), sb(110, 16));
  await expect(sb(11, 255, 255), sb(111, 255, 255));
  const signature = [...Buffer.from('espd simulated board')];
  await expect(sb(0), sb(100, ...signature));
  await expect(sb(0, 0x41, 0x42), []);
  await settle();
  await end();
});

test('a megabyte there and back is the same, whatever bytes it has', async () => {
  const { board, client, end } = await setUp();
  const plain = Buffer.concat([pattern(1024 * 1024), Buffer.alloc(1000, 255), Buffer.of(13, 0, 13, 10, 13)]);
  const escaped = Buffer.from(
    plain.toString('hex').replace(/../g, (byte) => (byte === 'ff' ? 'ffff' : byte)),
    'hex',
  );
  client.send(escaped);
  assert.ok((await client.take(escaped.length)).equals(escaped));
  assert.equal(board.receivedBytes, plain.length);
  await end();
});

test('a whole conversation means the same cut at every byte', async () => {
  const request = Buffer.from([...baud(0x00ff_ff80), 1, 255, 255, 13, 0, ...DTR_OFF, 2, ...sb(12, 3), ...RTS_OFF]);
  const answer = [...baud(0x00ff_ff80, 101), 1, 255, 255, 13, 0, ...sb(105, 9), 2, ...sb(112, 3), ...sb(105, 12)];
  const { board, client, end } = await setUp();
  for (const byte of request) {
    client.send(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  assert.deepEqual([...(await client.take(answer.length))], answer);
  assert.deepEqual(board.take(), ['baud:16777088', 'data:01ff0d00', 'lines:rts', 'data:02', 'lines:']);
  await end();
});

test('before binary is agreed on, a bare CR is stuffed in both directions', async () => {
  const board = new EchoBoard();
  const served = await serveRfc2217(board);
  const client = await Client.open(served.address);
  await client.take(GREETING.length);
  board.take();
  client.send(Buffer.of(13, 0, 65, 13, 10));
  assert.deepEqual([...(await client.take(5))], [13, 0, 65, 13, 10]);
  assert.deepEqual(board.take(), ['data:0d410d0a']);
  client.send(Buffer.from([255, 253, 0, 255, 251, 0, 13, 0, 13]));
  assert.deepEqual([...(await client.take(3))], [13, 0, 13]);
  assert.deepEqual(board.take(), ['data:0d000d']);
  await served.close();
});

test('options that it does not know are refused, and nothing loops', async () => {
  const { expect, settle, end } = await setUp();
  await expect([255, 253, 1, 255, 251, 24], [255, 252, 1, 255, 254, 24]);
  await expect([255, 253, 44], [255, 252, 44]);
  await expect([...AGREED, ...AGREED], []);
  await settle();
  await end();
});

test('commands before COM-PORT-OPTION is agreed on are not heard', async () => {
  const board = new EchoBoard();
  const served = await serveRfc2217(board, { raiseLinesOnOpen: false });
  const client = await Client.open(served.address);
  await client.take(GREETING.length);
  client.send(Buffer.from([...baud(9600), ...DTR_ON, 0x41]));
  assert.deepEqual([...(await client.take(1))], [0x41]);
  assert.deepEqual(board.take(), ['baud:115200', 'data:41']);
  await served.close();
});

test('refuseComPort: the option is refused, data still flows', async () => {
  const board = new EchoBoard();
  const served = await serveRfc2217(board, { refuseComPort: true });
  const client = await Client.open(served.address);
  await client.take(GREETING.length);
  board.take();
  client.send(Buffer.from([...AGREED, ...baud(9600), ...DTR_OFF, 7]));
  assert.deepEqual([...(await client.take(4))], [255, 254, 44, 7]);
  assert.deepEqual(board.take(), ['data:07']);
  await served.close();
});

test('neverConfirmControl: lines are set, only SET-CONTROL stays unanswered', async () => {
  const { board, expect, end } = await setUp({ neverConfirmControl: true });
  await expect([...DTR_OFF, ...RTS_ON, ...sb(5, 7), ...baud(9600)], baud(9600, 101));
  assert.deepEqual(board.take(), ['lines:rts', 'baud:9600']);
  await end();
});

test('confirmDelayMs: done at once, answered later, in order', async () => {
  const clock = new HandClock();
  const board = new EchoBoard();
  const served = await serveRfc2217(board, { clock, confirmDelayMs: 100 });
  const client = await Client.open(served.address);
  await client.take(GREETING.length);
  client.send(Buffer.from(AGREED));
  await client.take(3);
  board.take();
  client.send(Buffer.from([...baud(9600), ...DTR_OFF, 7]));
  // The echo overtakes the answers.
  assert.deepEqual([...(await client.take(1))], [7]);
  assert.deepEqual(board.take(), ['baud:9600', 'lines:rts', 'data:07']);
  clock.advance(99);
  client.send(Buffer.of(8));
  assert.deepEqual([...(await client.take(1))], [8]);
  clock.advance(1);
  const answer = [...baud(9600, 101), ...sb(105, 9)];
  assert.deepEqual([...(await client.take(answer.length))], answer);
  client.send(Buffer.from([...DTR_ON, 9]));
  await client.take(1);
  await served.close();
  assert.equal(clock.pending, 0);
});

test('cuts: every segment has one byte, the stream is the same', async () => {
  const { client, end } = await setUp({ cuts: true });
  client.send(Buffer.from([...baud(9600), 255, 255, 1, ...DTR_OFF]));
  const answer = [...baud(9600, 101), 255, 255, 1, ...sb(105, 9)];
  while (client.received.length < answer.length) await new Promise(setImmediate);
  assert.deepEqual([...client.received], answer);
  const longest = Math.max(...client.segments.map((segment) => segment.length));
  assert.ok(longest < answer.length / 2, `a segment of ${longest} bytes`);
  await end();
});

test('FLOWCONTROL-SUSPEND holds data and answers back, RESUME lets them go, PURGE-DATA forgets the data', async () => {
  const { board, client, expect, end } = await setUp();
  client.send(Buffer.from([...sb(8), 1, 2, ...DTR_OFF, 3]));
  await board.until(() => board.receivedBytes === 3);
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  assert.equal(client.received.length, 0);
  await expect(sb(9), [1, 2, ...sb(105, 9), 3]);

  client.send(Buffer.from([...sb(8), 4, 5, ...RTS_OFF, 6, ...sb(12, 2), ...sb(12, 1), 7]));
  await expect(sb(9), [...sb(105, 12), ...sb(112, 2), ...sb(112, 1), 7]);
  await end();
});

test('data for a suspended client is bounded; escapes are never torn', async () => {
  const { served, board, client, end } = await setUp({ queueLimitBytes: 1000 });
  client.send(Buffer.from([...sb(8), 1]));
  await board.until(() => board.receivedBytes === 1);
  for (let index = 0; index < 5000; index++) board.onTransmit?.(Buffer.of(255, index % 251));
  const kept = 1 + 3 * 333;
  assert.equal(served.droppedBytes, (5000 - 333) * 3);
  client.send(Buffer.from(sb(9)));
  const received = await client.take(kept);
  assert.equal(received[0], 1);
  for (let index = 0; index < 333; index++) {
    assert.deepEqual([...received.subarray(1 + 3 * index, 4 + 3 * index)], [255, 255, index % 251]);
  }
  await end();
});

test('a client that keeps asking and never takes the answers is cut off', async () => {
  const { client, served } = await setUp({ queueLimitBytes: 1000 });
  client.send(Buffer.from([...sb(8), ...Array.from({ length: 1000 }, () => DTR_ON).flat()]));
  await client.closed;
  const next = await Client.open(served.address);
  await next.take(GREETING.length);
  await served.close();
});

test('a board that vanishes at an edge of a line drops the client and hears no more of it', async () => {
  const clock = new HandClock();
  const { board, client, served } = await setUp({ clock, dropLinesOnClose: false });
  const vanish = board.onVanish;
  const setControlLines = board.setControlLines.bind(board);
  board.setControlLines = (lines) => {
    setControlLines(lines);
    vanish?.();
  };
  client.send(Buffer.from([...DTR_OFF, 1, 2, 3, ...RTS_OFF]));
  await client.closed;
  assert.deepEqual(board.take(), ['lines:rts']);
  await served.close();
});
