import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';

import { demoImage, OPCODE } from '../../src/simulator/index.ts';
import type { BoardOptions, LineOptions } from '../../src/simulator/index.ts';
import { dataRequest, request, session, slipDecode, slipEncode, words } from './board-harness.ts';
import type { Session } from './board-harness.ts';

async function stub(options: Partial<Omit<BoardOptions, 'clock'>> = {}): Promise<Session> {
  const board = session({ family: 'esp32c3', ...options });
  await board.enterDownload();
  await board.sync();
  await board.startStub();
  return board;
}

const status = (frame: Buffer | undefined) => frame?.subarray(-2).toString('hex');
const md5 = (data: Uint8Array) => createHash('md5').update(data).digest();
const image = demoImage({ family: 'esp32c3', sizeBytes: 1024 * 1024 });
const ackOf = (received: number) => slipEncode(words(received));

test('SYNC: eight answers of value 0; two bytes of status', async () => {
  const board = await stub();
  assert.deepEqual(
    (await board.sync()).map((frame) => frame.toString('hex')),
    Array.from({ length: 8 }, () => '01080200000000000000'),
  );
});

test('unknown commands come back with their own opcode and ff 00', async () => {
  const board = await stub();
  assert.equal((await board.one(0x77)).toString('hex'), '0177020000000000ff00');
  const esp32 = await stub({ family: 'esp32' });
  assert.equal((await esp32.one(OPCODE.getSecurityInfo)).toString('hex'), '0114020000000000ff00');
});

test('payload lengths are checked exactly', async () => {
  const board = await stub();
  for (const [opcode, bytes] of [
    [OPCODE.readReg, 8],
    [OPCODE.spiAttach, 8],
    [OPCODE.sync, 35],
    [OPCODE.flashMd5, 8],
    [OPCODE.readFlash, 12],
    [OPCODE.changeBaudRate, 4],
  ] as const) {
    assert.equal(status(await board.one(opcode, Buffer.alloc(bytes))), 'c000', opcode.toString(16));
  }
  const wrongLength = request(OPCODE.readReg, words(0));
  wrongLength[2] = 3;
  assert.equal(status((await board.ask(wrongLength))[0]), 'c000');
});

test('the stub goes on running after the link is gone, until a reset', async () => {
  const board = await stub();
  board.board.onTransmit = undefined;
  await board.pass(60_000);
  assert.equal(board.board.mode, 'stub');
  board.board.pressReset();
  await board.pass(200);
  assert.equal(board.board.mode, 'app');
});

test('FLASH_END and RUN_USER_CODE do not leave the current stub, but the legacy one', async () => {
  for (const legacyStub of [false, true]) {
    for (const command of ['end', 'run'] as const) {
      const board = await stub({ legacyStub, content: image });
      await board.one(OPCODE.flashBegin, words(0, 0, 0x4000, 0, 0));
      if (command === 'end') await board.one(OPCODE.flashEnd, words(0));
      else assert.deepEqual(await board.ask(request(OPCODE.runUserCode)), []);
      await board.pass(100);
      assert.equal(board.board.mode, legacyStub ? 'app' : 'stub');
    }
  }
});

test('SPI_FLASH_MD5 gives 16 bytes, ERASE_* erase, misaligned regions are refused', async () => {
  const board = await stub({ content: image });
  const digest = await board.one(OPCODE.flashMd5, words(0x1001, 5000, 0, 0));
  assert.deepEqual(digest.subarray(8, 24), md5(image.subarray(0x1001, 0x1001 + 5000)));
  assert.equal(status(await board.one(OPCODE.eraseRegion, words(0x10000, 0x2000))), '0000');
  assert.ok(board.board.flash.read(0x10000, 0x2000).every((byte) => byte === 0xff));
  assert.equal(status(await board.one(OPCODE.eraseRegion, words(0x10001, 0x2000))), 'c000');
  assert.equal(status(await board.one(OPCODE.eraseFlash)), '0000');
  assert.ok(board.board.flash.snapshot().every((byte) => byte === 0xff));
});

test('a fault in writing shows in the answer to the next command, which is not carried out', async () => {
  const board = await stub();
  await board.one(OPCODE.flashDeflBegin, words(5000, 2, 0x4000, 0x1000, 0));
  const first = await board.ask(dataRequest(OPCODE.flashDeflData, 0, Buffer.from('no zlib stream')));
  assert.equal(status(first[0]), '0000');
  assert.equal(status(await board.one(OPCODE.eraseFlash)), 'c700');
  assert.equal(status(await board.one(OPCODE.readReg, words(0x40001000))), '0000');
});

test('compressed and plain writing, end before all is there, too much of it', async () => {
  const board = await stub({ content: Buffer.alloc(0x10000) });
  const source = image.subarray(0x10000, 0x10000 + 30_000);
  const deflated = deflateSync(source);
  await board.one(OPCODE.flashDeflBegin, words(source.length, 1, 0x4000, 0x1000, 0));
  const half = deflated.subarray(0, deflated.length >> 1);
  await board.ask(dataRequest(OPCODE.flashDeflData, 0, half));
  assert.equal(status(await board.one(OPCODE.flashDeflEnd, words(1))), 'c000');
  await board.ask(dataRequest(OPCODE.flashDeflData, 1, deflated.subarray(half.length)));
  assert.equal(status((await board.ask(dataRequest(OPCODE.flashDeflData, 2, half)))[0]), 'c900');
  assert.equal(status(await board.one(OPCODE.flashDeflEnd, words(1))), '0000');
  assert.equal(status(await board.one(OPCODE.flashDeflEnd, words(1))), 'c600');
  assert.deepEqual(board.board.flash.read(0x1000, source.length), source);
  // Erased by whole sectors and not beyond.
  assert.equal(board.board.flash.read(0x0fff, 1)[0], 0);
  assert.equal(board.board.flash.read(0x9000, 1)[0], 0);

  const plain = Buffer.alloc(100, 0x5a);
  await board.one(OPCODE.flashBegin, words(100, 1, 0x4000, 0x9000, 0));
  const bad = dataRequest(OPCODE.flashData, 0, plain);
  bad[4]! ^= 1;
  assert.equal(status((await board.ask(bad))[0]), 'c100');
  await board.ask(dataRequest(OPCODE.flashData, 0, plain));
  assert.deepEqual(board.board.flash.read(0x9000, 101), Buffer.concat([plain, Buffer.from([0xff])]));
});

/** Reads like a host that acknowledges each packet when it is complete. */
async function readAll(board: Session, address: number, length: number, packet = 4096): Promise<Buffer[]> {
  const frames = await board.ask(request(OPCODE.readFlash, words(address, length, packet, 64)));
  assert.equal(status(frames.shift()), '0000');
  let received = frames.reduce((sum, frame) => sum + frame.length, 0);
  while (received < length) {
    board.take();
    board.board.receive(ackOf(received));
    await board.pass(2000);
    const more = slipDecode(board.take()).frames;
    assert.equal(more.length, 1);
    frames.push(...more);
    received += more[0]!.length;
  }
  board.take();
  board.board.receive(ackOf(received));
  await board.pass(100);
  frames.push(...slipDecode(board.take()).frames);
  return frames;
}

test('READ_FLASH: packets one by one, then the digest of all', async () => {
  const board = await stub({ content: image });
  for (const [address, length, packet] of [
    [0, 0x10000, 4096],
    [3, 5001, 1000],
    [0x8000, 1, 4096],
  ] as const) {
    const frames = await readAll(board, address, length, packet);
    const digest = frames.pop()!;
    const data = Buffer.concat(frames);
    assert.deepEqual(data, image.subarray(address, address + length));
    assert.deepEqual(digest, md5(data));
    assert.ok(frames.every((frame) => frame.length <= packet));
  }
});

test('the read goes on only after the acknowledgement, of whatever value; the last must name all', async () => {
  const board = await stub({ content: image });
  assert.equal((await board.ask(request(OPCODE.readFlash, words(0, 8192, 4096, 64)))).length, 2);
  await board.pass(60_000);
  assert.equal(board.take().length, 0);
  board.board.receive(ackOf(1));
  await board.pass(10);
  assert.deepEqual(slipDecode(board.take()).frames[0], image.subarray(4096, 8192));
  board.board.receive(ackOf(8191));
  await board.pass(10);
  assert.equal(board.take().length, 0);
  board.board.receive(ackOf(8192));
  await board.pass(10);
  assert.deepEqual(slipDecode(board.take()).frames, [md5(image.subarray(0, 8192))]);
});

test('a frame of another length ends the read with the digest of what was sent; an empty one is ignored', async () => {
  const board = await stub({ content: image });
  await board.ask(request(OPCODE.readFlash, words(0, 8192, 4096, 64)));
  board.board.receive(Buffer.from('c0c0', 'hex'));
  await board.pass(10);
  assert.equal(board.take().length, 0);
  board.board.receive(slipEncode(Buffer.from('abcde')));
  await board.pass(10);
  assert.deepEqual(slipDecode(board.take()).frames, [md5(image.subarray(0, 4096))]);
  assert.equal((await board.sync()).length, 8);
});

test('packets of more than 4096 bytes: the refusal comes with the next command', async () => {
  const board = await stub();
  assert.equal(status((await board.ask(request(OPCODE.readFlash, words(0, 8192, 4097, 1))))[0]), '0000');
  assert.equal(status(await board.one(OPCODE.readReg, words(0))), 'c000');
});

const wire: LineOptions = { chunkMs: 0.1 };

/** What comes at the host when it acknowledges after the first bytes of each packet: `ahead` packets early. */
async function earlyRead(
  board: Session,
  length: number,
  acks: (packet: number) => number,
): Promise<{ ms: number; data: Buffer }> {
  board.take();
  const started = board.clock.now();
  board.board.receive(slipEncode(request(OPCODE.readFlash, words(0, length, 4096, 64))));
  let stream = Buffer.alloc(0);
  let seen = 0;
  for (let idle = 0; idle < 200;) {
    await board.pass(1);
    const bytes = board.take();
    idle = bytes.length === 0 ? idle + 1 : 0;
    stream = Buffer.concat([stream, bytes]);
    const { frames } = slipDecode(Buffer.concat([stream, Buffer.from([0xc0])]));
    // frames[0] is the response; the last may be a packet under way.
    const begun = frames.length - 1;
    for (; seen < Math.min(begun, length / 4096); seen++) {
      for (let ack = 0; ack < acks(seen); ack++) board.board.receive(ackOf(Math.min(length, (seen + 1) * 4096)));
    }
  }
  const { frames } = slipDecode(stream);
  return { ms: board.clock.now() - started - 200, data: Buffer.concat(frames.slice(1)) };
}

test('an early acknowledgement counts: the next packet follows without a gap', async () => {
  const noise = Buffer.from(Array.from({ length: 0x8000 }, (_, index) => (index * 31) % 0xc0));
  const board = await stub({ content: noise, line: wire });
  const { ms, data } = await earlyRead(board, 0x8000, () => 1);
  assert.deepEqual(data, Buffer.concat([noise, md5(noise)]));
  const fullWireMs = ((0x8000 + 16 + 2 * 9) * 10_000) / 115200;
  assert.ok(ms < fullWireMs * 1.02, `${ms} ms of at least ${fullWireMs}`);
});

test('a second acknowledgement ahead is lost', async () => {
  const board = await stub({ content: image, line: wire });
  // Two for the first packet and none for the second: a host that thinks that it is one ahead waits for ever.
  const { data } = await earlyRead(board, 0x4000, (packet) => (packet === 0 ? 2 : packet === 1 ? 0 : 1));
  assert.equal(data.length, 2 * 4096);
});

test('an acknowledgement before the first packet has begun stops the read for ever', async () => {
  for (const line of [undefined, wire]) {
    const board = await stub({ content: image, ...(line === undefined ? {} : { line }) });
    board.take();
    board.board.receive(Buffer.concat([slipEncode(request(OPCODE.readFlash, words(0, 8192, 4096, 64))), ackOf(4096)]));
    await board.pass(5000);
    assert.equal(slipDecode(board.take()).frames.length, 1); // the response alone
    board.board.receive(ackOf(4096));
    await board.pass(5000);
    assert.equal(board.take().length, 0);
  }
});

test('legacy stub: an acknowledgement of more than was sent ends the read', async () => {
  const board = await stub({ content: image, legacyStub: true });
  await board.ask(request(OPCODE.readFlash, words(0, 0x4000, 4096, 64)));
  board.board.receive(ackOf(8192));
  await board.pass(10);
  assert.deepEqual(slipDecode(board.take()).frames, [md5(image.subarray(0, 4096))]);
});

test('work takes its time on the clock', async () => {
  const board = await stub({
    content: image,
    speeds: { digestBytesPerSecond: 1_000_000, eraseSectorMs: 50, eraseBlockMs: 200, programPageMs: 1 },
  });
  const took = async (frame: Buffer) => {
    board.take();
    const started = board.clock.now();
    board.board.receive(slipEncode(frame));
    for (let ms = 0; ms < 100_000; ms++) {
      if (board.take().length > 0) break;
      await board.pass(1);
    }
    return board.clock.now() - started;
  };
  assert.equal(Math.round(await took(request(OPCODE.flashMd5, words(0, 500_000, 0, 0)))), 500);
  assert.equal(await took(request(OPCODE.eraseRegion, words(0xf000, 0x12000))), 50 + 200 + 50);
  await board.one(OPCODE.flashBegin, words(4096, 1, 4096, 0, 0));
  // Answered at once, written then: the time shows in the next command.
  assert.equal(await took(dataRequest(OPCODE.flashData, 0, Buffer.alloc(4096))), 0);
  assert.equal(await took(request(OPCODE.readReg, words(0))), 50 + 16);
});

test('a packet waits for the flash and its MD5, by its size, and the wire is idle meanwhile', async () => {
  const arrivals = async (packetBytes: number, packetBytesPerSecond: number) => {
    const board = session({ family: 'esp32', line: {}, speeds: { packetBytesPerSecond } });
    await board.enterDownload();
    await board.sync();
    await board.startStub();
    const startedAt = board.clock.now();
    board.board.receive(slipEncode(request(OPCODE.readFlash, words(0, packetBytes, packetBytes, 1))));
    let seen = 0;
    // The response is 12 bytes long: what comes after it is the packet.
    while (seen < packetBytes + 14) {
      await board.pass(0.01);
      seen += board.take().length;
    }
    return board.clock.now() - startedAt;
  };
  for (const packetBytes of [4096, 1024]) {
    const gap = (await arrivals(packetBytes, 4_000_000)) - (await arrivals(packetBytes, 0));
    assert.ok(Math.abs(gap - packetBytes / 4000) < 0.05, `${gap} ms for ${packetBytes} bytes`);
  }
});
