import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';

import { hasCode } from '../../src/errors.ts';
import { createBoard, demoImage, memoryLink, OPCODE, VirtualClock } from '../../src/simulator/index.ts';
import type { BoardOptions } from '../../src/simulator/index.ts';
import { request, session, slipDecode, slipEncode, words } from './board-harness.ts';
import type { Session } from './board-harness.ts';

const content = demoImage({ family: 'esp32c3', sizeBytes: 1024 * 1024 });
const readMagic = request(OPCODE.readReg, words(0x40001000));

async function download(options: Partial<Omit<BoardOptions, 'clock'>> = {}): Promise<Session> {
  const board = session({ family: 'esp32c3', content, ...options });
  await board.enterDownload();
  await board.sync();
  return board;
}

/** What arrives, byte by byte, for one READ_REG. */
async function raw(board: Session): Promise<Buffer> {
  board.take();
  board.board.receive(slipEncode(readMagic));
  await board.pass(5000);
  return board.take();
}

test('drop, flip and duplicate the byte N of a direction, counted from when the fault was added', async () => {
  const board = await download();
  const good = await raw(board);
  board.board.addFault({ kind: 'drop', direction: 'to-host', byte: 3 });
  assert.deepEqual(await raw(board), Buffer.concat([good.subarray(0, 3), good.subarray(4)]));
  assert.deepEqual(await raw(board), good);
  board.board.addFault({ kind: 'duplicate', direction: 'to-host', byte: good.length + 1 });
  assert.deepEqual(await raw(board), good);
  assert.deepEqual(await raw(board), Buffer.concat([good.subarray(0, 2), good.subarray(1)]));
  const remove = board.board.addFault({ kind: 'flip', direction: 'to-host', byte: 5, count: 2, every: good.length });
  for (let round = 0; round < 2; round++) {
    const bad = await raw(board);
    assert.equal(bad.length, good.length);
    const differing = [...bad.keys()].filter((index) => bad[index] !== good[index]);
    assert.deepEqual(differing, [5, 6]);
  }
  remove();
  assert.deepEqual(await raw(board), good);
});

test('damage on the way to the board', async () => {
  const board = await download();
  board.board.addFault({ kind: 'drop', direction: 'to-board', byte: 0 });
  assert.equal((await raw(board)).length, 0);
});

test('stall: at once, at a byte, at a command; nothing is lost', async () => {
  const board = await download();
  const good = await raw(board);
  for (const when of [undefined, { direction: 'to-host', byte: 4 }, { opcode: OPCODE.readReg }] as const) {
    board.board.addFault({ kind: 'stall', durationMs: 3000, ...(when === undefined ? {} : { when }) });
    board.take();
    board.board.receive(slipEncode(readMagic));
    await board.pass(2999);
    const early = board.take();
    assert.equal(early.length, when !== undefined && 'byte' in when ? 4 : 0);
    await board.pass(10);
    assert.deepEqual(Buffer.concat([early, board.take()]), good);
  }
});

test('reset in the middle: the app runs, what was not sent is gone', async () => {
  const board = await download();
  board.board.addFault({ kind: 'reset', when: { direction: 'to-host', byte: 6 } });
  const bytes = await raw(board);
  assert.equal(board.board.mode, 'app');
  assert.match(bytes.subarray(6).toString('latin1'), /^ESP-ROM/);
});

test('vanish at a byte: what came before it arrives, then the link is gone', async () => {
  const clock = new VirtualClock();
  const board = createBoard({ family: 'esp32', clock, content: demoImage({ family: 'esp32' }) });
  const link = memoryLink(board, { clock });
  board.pressBoot(true);
  board.pressReset(10);
  for (let chunk = await link.read(100); chunk !== null;) chunk = await link.read(100);
  board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: 7 } });
  await link.write(
    slipEncode(request(OPCODE.sync, Buffer.concat([Buffer.from('07071220', 'hex'), Buffer.alloc(32, 0x55)]))),
  );
  assert.equal((await link.read(1000))?.length, 7);
  await assert.rejects(link.read(1000), (error) => hasCode(error, 'port-vanished'));
  assert.equal(link.isOpen, false);
  assert.equal(board.attached, false);
});

test('the n-th command of an opcode', async () => {
  const board = await download();
  board.board.addFault({ kind: 'mute', when: { opcode: OPCODE.readReg, nth: 3 } });
  assert.ok((await raw(board)).length > 0);
  assert.ok((await raw(board)).length > 0);
  assert.equal((await raw(board)).length, 0);
  board.board.clearFaults();
  assert.ok((await raw(board)).length > 0);
});

test('mute at a byte lets through what came before', async () => {
  const board = await download();
  const remove = board.board.addFault({ kind: 'mute', when: { direction: 'to-host', byte: 2 } });
  assert.equal((await raw(board)).length, 2);
  assert.equal((await raw(board)).length, 0);
  remove();
  assert.ok((await raw(board)).length > 2);
});

test('flood: more than is read ends in port-flooded', async () => {
  const clock = new VirtualClock();
  const board = createBoard({ family: 'esp32', clock });
  const link = memoryLink(board, { clock });
  board.addFault({ kind: 'flood', durationMs: 2000, bytesPerSecond: 1_000_000 });
  await new Promise<void>((resolve) => clock.schedule(1500, resolve));
  await assert.rejects(
    async () => {
      for (;;) if ((await link.read(0)) === null) return;
    },
    (error) => hasCode(error, 'port-flooded'),
  );
  await new Promise<void>((resolve) => clock.schedule(1000, resolve));
  await link.purge();
  assert.equal(await link.read(10), null);
});

test('no stub: MEM_END is answered, then silence', async () => {
  const board = await download({ faults: [{ kind: 'no-stub' }] });
  await assert.rejects(board.startStub());
  assert.deepEqual(await board.sync(), []);
});

test('wrong digests, of reads and of SPI_FLASH_MD5', async () => {
  const digest = createHash('md5').update(content.subarray(0, 100)).digest();
  for (const of of ['read', 'md5', undefined] as const) {
    const board = await download();
    await board.startStub();
    board.board.addFault({ kind: 'wrong-digest', ...(of === undefined ? {} : { of }) });
    const md5 = (await board.one(OPCODE.flashMd5, words(0, 100, 0, 0))).subarray(8, 24);
    assert.equal(md5.equals(digest), of === 'read');
    await board.ask(request(OPCODE.readFlash, words(0, 100, 4096, 1)));
    const ended = await board.ask(words(100));
    assert.equal(ended[0]!.equals(digest), of === 'md5');
  }
});

test('read-flip: the byte differs on the wire and in the digest of the read, not in SPI_FLASH_MD5', async () => {
  const board = await download();
  await board.startStub();
  board.board.addFault({ kind: 'read-flip', address: 50 });
  const packet = (await board.ask(request(OPCODE.readFlash, words(0, 100, 4096, 1))))[1]!;
  assert.equal(packet[50], 0xff ^ content[50]!);
  assert.deepEqual((await board.ask(words(100)))[0], createHash('md5').update(packet).digest());
  const md5 = (await board.one(OPCODE.flashMd5, words(0, 100, 0, 0))).subarray(8, 24);
  assert.deepEqual(md5, createHash('md5').update(content.subarray(0, 100)).digest());
});

test('stuck in the bootloader, and never into it', async () => {
  const stuck = await download({ faults: [{ kind: 'stuck-in-bootloader' }] });
  stuck.board.pressReset();
  await stuck.pass(500);
  assert.equal(stuck.board.mode, 'download');
  const never = session({ family: 'esp32', content, faults: [{ kind: 'wrong-boot-mode' }] });
  await never.enterDownload();
  assert.equal(never.board.mode, 'app');
});

test('in download mode but deaf', async () => {
  const board = session({ family: 'esp32', faults: [{ kind: 'no-sync' }] });
  board.board.pressBoot(true);
  board.board.pressReset(10);
  await board.pass(100);
  assert.match(board.take().toString('latin1'), /DOWNLOAD_BOOT/);
  assert.deepEqual(await board.sync(), []);
  board.board.clearFaults();
  assert.equal((await board.sync()).length, 8);
});

test('flash ids of no flash', async () => {
  for (const id of [
    [0, 0, 0],
    [0xff, 0xff, 0xff],
  ] as const) {
    const board = await download({ faults: [{ kind: 'flash-id', id }] });
    await board.one(OPCODE.spiAttach, words(0, 0));
    const write = (offset: number, word: number) =>
      board.one(OPCODE.writeReg, words(0x60002000 + offset, word, 0xffffffff, 0));
    await write(0x28, 23);
    await write(0x18, 0x90000000);
    await write(0x20, 0x7000009f);
    await write(0, 1 << 18);
    const answer = await board.one(OPCODE.readReg, words(0x60002058));
    assert.deepEqual([...answer.subarray(4, 7)], [...id]);
  }
});

test('garbage answers have no frame in them', async () => {
  const board = await download({ faults: [{ kind: 'garbage', when: { opcode: OPCODE.readReg } }] });
  const bytes = await raw(board);
  assert.ok(bytes.length > 8);
  assert.ok(slipDecode(bytes).frames.every((frame) => frame[0] !== 1 || frame[1] !== OPCODE.readReg));
});

test('a bridge that loses bytes above its rate', async () => {
  const board = await download();
  board.board.addFault({ kind: 'loses-above', baudRate: 460800, every: 10 });
  const good = await raw(board);
  await board.one(OPCODE.changeBaudRate, words(921600, 0));
  board.board.setBaudRate(921600);
  assert.ok((await raw(board)).length < good.length);
});

test('native USB: a frame that ends on 64 bytes comes only with the next one', async () => {
  const board = await download({ usb: 'usb-serial-jtag' });
  await board.startStub();
  board.board.addFault({ kind: 'usb-64-stall' });
  const plain = Buffer.alloc(4096, 0x55);
  board.board.flash.load(0x10000, plain);
  // 62 bytes and two delimiters.
  const first = await board.ask(request(OPCODE.readFlash, words(0x10000, 124, 62, 1)));
  assert.equal(first.length, 1);
  const again = await board.ask(Buffer.from('stop!'));
  assert.equal(again.length, 2); // the packet and the digest
  assert.equal((await board.ask(request(OPCODE.readFlash, words(0x10000, 124, 61, 1)))).length, 2);
});
