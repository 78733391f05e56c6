import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';

import { demoImage, OPCODE } from '../../src/simulator/index.ts';
import type { BoardOptions } from '../../src/simulator/index.ts';
import { dataRequest, request, session, slipEncode, SYNC_PAYLOAD, words } from './board-harness.ts';
import type { Session } from './board-harness.ts';

async function rom(options: Omit<BoardOptions, 'clock'>): Promise<Session> {
  const board = session(options);
  await board.enterDownload();
  await board.sync();
  return board;
}

const status = (frame: Buffer, bytes = 4) => frame.subarray(-bytes).toString('hex');
const value = (frame: Buffer) => frame.readUInt32LE(4);

test('SYNC is answered eight times, with two or four bytes of status', async () => {
  for (const [family, hex] of [
    ['esp8266', '01080200070712200000'],
    ['esp32', '010804000707122000000000'],
    ['esp32c6', '010804000707122000000000'],
  ] as const) {
    const board = session({ family });
    await board.enterDownload();
    assert.deepEqual(
      (await board.sync()).map((frame) => frame.toString('hex')),
      Array.from({ length: 8 }, () => hex),
    );
  }
});

test('nobody answers while the app runs', async () => {
  const board = session({ family: 'esp32', content: demoImage({ family: 'esp32' }) });
  await board.pass(100);
  assert.equal(board.board.mode, 'app');
  assert.deepEqual(await board.sync(), []);
});

test('what the ROM does not know is answered with the last opcode that it did', async () => {
  const board = await rom({ family: 'esp32' });
  const afterSync = await board.ask(request(0xd2, words(0, 0, 0, 0)));
  assert.deepEqual(
    afterSync.map((frame) => frame.toString('hex')),
    Array.from({ length: 8 }, () => '010804000707122001050000'),
  );
  await board.one(OPCODE.readReg, words(0x40001000));
  assert.equal((await board.one(0xd0)).toString('hex'), '010a0400831df00001050000');
});

test('the ESP8266 knows nine commands, the ESP32 more, the others GET_SECURITY_INFO too', async () => {
  const known = async (family: 'esp8266' | 'esp32' | 'esp32s2', opcode: number) => {
    const board = await rom({ family });
    await board.one(OPCODE.readReg, words(0x40001000));
    return (await board.one(opcode, Buffer.alloc(24)))[1] === opcode;
  };
  for (const opcode of [OPCODE.spiAttach, OPCODE.flashMd5, OPCODE.changeBaudRate, OPCODE.flashDeflBegin]) {
    assert.equal(await known('esp8266', opcode), false);
    assert.equal(await known('esp32', opcode), true);
  }
  assert.equal(await known('esp32', OPCODE.getSecurityInfo), false);
  assert.equal(await known('esp32s2', OPCODE.getSecurityInfo), true);
});

test('a short READ_REG hangs the ROM until the reset', async () => {
  const board = await rom({ family: 'esp32c3' });
  assert.deepEqual(await board.ask(request(OPCODE.readReg, Buffer.alloc(2))), []);
  assert.deepEqual(await board.sync(), []);
  await board.enterDownload();
  assert.equal((await board.sync()).length, 8);
});

test('a cut frame spoils the next command, not the one after', async () => {
  const board = await rom({ family: 'esp32' });
  board.board.receive(slipEncode(request(OPCODE.readReg, words(0x40001000))).subarray(0, 9));
  const first = await board.sync();
  assert.ok(first.every((frame) => status(frame) === '01050000'));
  assert.ok((await board.sync()).some((frame) => status(frame) === '00000000'));
});

test('the value of a response stays that of the last READ_REG', async () => {
  const board = await rom({ family: 'esp32' });
  await board.one(OPCODE.readReg, words(0x40001000));
  assert.equal(value(await board.one(OPCODE.spiAttach, words(0, 0))), 0x00f01d83);
});

test('WRITE_REG writes under its mask; eFuses cannot be written', async () => {
  const board = await rom({ family: 'esp32' });
  await board.one(OPCODE.writeReg, words(0x3ff42080, 0xffffffff, 0xffffffff, 0));
  await board.one(OPCODE.writeReg, words(0x3ff42080, 0x12345678, 0x00ff0000, 0));
  assert.equal(value(await board.one(OPCODE.readReg, words(0x3ff42080))), 0xff34ffff);
  await board.one(OPCODE.writeReg, words(0x3ff5a004, 0, 0xffffffff, 0));
  assert.notEqual(value(await board.one(OPCODE.readReg, words(0x3ff5a004))), 0);
});

test('GET_SECURITY_INFO: flags, count, key purposes, chip id', async () => {
  const board = await rom({
    family: 'esp32s3',
    security: { secureBoot: true, flashEncryption: true },
    keyPurposes: [4, 9, 0, 0, 0, 0, 0],
  });
  const info = (await board.one(OPCODE.getSecurityInfo)).subarray(8, -4);
  assert.equal(info.toString('hex'), '01000000' + '01' + '04090000000000' + '09000000' + '00000000');
  const s2 = await rom({ family: 'esp32s2' });
  assert.equal((await s2.one(OPCODE.getSecurityInfo)).length, 8 + 12 + 4);
});

test('READ_FLASH_SLOW: 64 bytes whatever was asked, limits, unaligned addresses', async () => {
  const content = Buffer.from(Array.from({ length: 8192 }, (_, index) => (index * 7) & 0xff));
  const board = await rom({ family: 'esp32', content, flashSizeBytes: 1024 * 1024 });
  assert.equal(status(await board.one(OPCODE.readFlashSlow, words(0, 64))), '01090000'); // not attached
  await board.one(OPCODE.spiAttach, words(0, 0));
  await board.one(OPCODE.spiSetParams, words(0, 1024 * 1024, 65536, 4096, 256, 0xffff));
  const some = await board.one(OPCODE.readFlashSlow, words(1001, 10));
  assert.deepEqual(some.subarray(8, 72), content.subarray(1001, 1065));
  assert.equal(status(await board.one(OPCODE.readFlashSlow, words(0, 65))), '010a0000');
  assert.equal(status(await board.one(OPCODE.readFlashSlow, words(1024 * 1024 - 63, 64))), '01090000');
  assert.equal(status(await board.one(OPCODE.readFlashSlow, words(1024 * 1024 - 64, 64))), '00000000');
});

test('SPI_FLASH_MD5 gives 32 characters', async () => {
  const content = Buffer.from('some flash');
  const board = await rom({ family: 'esp32c3', content });
  await board.one(OPCODE.spiAttach, words(0, 0));
  const frame = await board.one(OPCODE.flashMd5, words(0, 10, 0, 0));
  assert.equal(frame.subarray(8, -4).toString(), createHash('md5').update(content).digest('hex'));
});

test('FLASH_DATA goes where its sequence number says; a wrong checksum writes nothing', async () => {
  const board = await rom({ family: 'esp32', content: Buffer.alloc(0x4000) });
  await board.one(OPCODE.spiAttach, words(0, 0));
  await board.one(OPCODE.flashBegin, words(2048, 2, 1024, 0x1000));
  assert.ok(board.board.flash.read(0x1000, 4096).every((byte) => byte === 0xff));
  const second = Buffer.alloc(1024, 2);
  assert.equal(status((await board.ask(dataRequest(OPCODE.flashData, 1, second)))[0]!), '00000000');
  const bad = dataRequest(OPCODE.flashData, 0, Buffer.alloc(1024, 1));
  bad[4]! ^= 1;
  assert.equal(status((await board.ask(bad))[0]!), '01070000');
  assert.ok(board.board.flash.read(0x1000, 1024).every((byte) => byte === 0xff));
  assert.deepEqual(board.board.flash.read(0x1400, 1024), second);
  assert.equal(board.board.flash.read(0x2000, 1)[0], 0);
});

test('FLASH_DEFL writes what comes out; a broken stream gives 01 0b', async () => {
  const board = await rom({ family: 'esp32' });
  await board.one(OPCODE.spiAttach, words(0, 0));
  const source = Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * index) & 0xff));
  const deflated = deflateSync(source);
  const blocks = Math.ceil(deflated.length / 1024);
  await board.one(OPCODE.flashDeflBegin, words(source.length, blocks, 1024, 0x2000));
  for (let block = 0; block < blocks; block++) {
    const data = deflated.subarray(block * 1024, block * 1024 + 1024);
    assert.equal(status((await board.ask(dataRequest(OPCODE.flashDeflData, block, data)))[0]!), '00000000');
  }
  assert.deepEqual(board.board.flash.read(0x2000, source.length), source);
  await board.one(OPCODE.flashDeflBegin, words(source.length, blocks, 1024, 0x2000));
  const rubbish = await board.ask(dataRequest(OPCODE.flashDeflData, 0, Buffer.from('no zlib at all')));
  assert.equal(status(rubbish[0]!), '010b0000');
});

test('the ESP8266 erases more than it is asked for, up to the next block twice', async () => {
  const erased = async (offset: number, sizeBytes: number) => {
    const board = await rom({ family: 'esp8266', content: Buffer.alloc(1024 * 1024) });
    await board.one(OPCODE.flashBegin, words(sizeBytes, 1, 1024, offset));
    let sectors = 0;
    while (board.board.flash.read(offset + sectors * 4096, 1)[0] === 0xff) sectors++;
    return sectors;
  };
  assert.equal(await erased(0, 4096 * 3), 6);
  assert.equal(await erased(0, 4096 * 20), 36);
  assert.equal(await erased(4096 * 14, 4096 * 10), 12);
});

test('FLASH_END with 0 runs the app, with 1 stays', async () => {
  const board = await rom({ family: 'esp8266', content: demoImage({ family: 'esp8266' }) });
  await board.one(OPCODE.flashEnd, words(1));
  assert.equal(board.board.mode, 'download');
  await board.one(OPCODE.flashEnd, words(0));
  assert.equal(board.board.mode, 'app');
});

test('secure download: the list of what is refused', async () => {
  const board = await rom({ family: 'esp32c3', security: { secureDownload: true } });
  await board.one(OPCODE.spiAttach, words(0, 0));
  for (const opcode of [
    OPCODE.readReg,
    OPCODE.writeReg,
    OPCODE.memBegin,
    OPCODE.memEnd,
    OPCODE.readFlashSlow,
    OPCODE.flashMd5,
  ]) {
    const frame = await board.one(opcode, Buffer.alloc(16));
    assert.equal(frame[1], OPCODE.spiAttach);
    assert.equal(status(frame), '01050000');
  }
  assert.equal(status(await board.one(OPCODE.getSecurityInfo)), '00000000');
  assert.equal(status(await board.one(OPCODE.flashBegin, words(0, 0, 1024, 0, 0))), '00000000');
});

test('download disabled: the log says so, and nothing answers', async () => {
  const board = session({ family: 'esp32', security: { downloadDisabled: true } });
  board.board.pressBoot(true);
  board.board.pressReset(10);
  await board.pass(100);
  assert.match(board.take().toString('latin1'), /Download mode is disabled/);
  assert.deepEqual(await board.sync(), []);
});

test('SPI commands through the registers: id, nothing before attaching, ESP8266 lengths', async () => {
  const esp32 = await rom({ family: 'esp32', jedec: [0xc8, 0x40, 0x16] });
  const readId = async (
    board: Session,
    base: number,
    usr: number,
    usr2: number,
    length: [number, number],
    w0: number,
  ) => {
    const write = (offset: number, word: number) =>
      board.one(OPCODE.writeReg, words(base + offset, word, 0xffffffff, 0));
    await write(length[0], length[1]);
    await write(usr, 0x90000000);
    await write(usr2, 0x7000009f);
    await write(w0, 0);
    await write(0, 1 << 18);
    assert.equal(value(await board.one(OPCODE.readReg, words(base))), 0);
    return value(await board.one(OPCODE.readReg, words(base + w0)));
  };
  assert.equal(await readId(esp32, 0x3ff42000, 0x1c, 0x24, [0x2c, 23], 0x80), 0);
  await esp32.one(OPCODE.spiAttach, words(0, 0));
  assert.equal(await readId(esp32, 0x3ff42000, 0x1c, 0x24, [0x2c, 23], 0x80), 0x1640c8);
  assert.equal(await readId(esp32, 0x3ff42000, 0x1c, 0x24, [0x2c, 15], 0x80), 0x40c8);
  const esp8266 = await rom({ family: 'esp8266', jedec: [0x5e, 0x40, 0x16] });
  await esp8266.one(OPCODE.flashBegin, words(0, 0, 1024, 0));
  assert.equal(await readId(esp8266, 0x60000200, 0x1c, 0x24, [0x20, 23 << 8], 0x40), 0x16405e);
});

test('MEM_END runs only what has wholly arrived, and only if it jumps there', async () => {
  const upload = async (bytes: number, entry: number) => {
    const board = await rom({ family: 'esp32' });
    await board.ask(request(OPCODE.memBegin, words(100, 1, 0x1800, 0x40080000)));
    await board.ask(dataRequest(OPCODE.memData, 0, Buffer.alloc(bytes)));
    return (await board.ask(request(OPCODE.memEnd, words(0, entry)))).map((frame) => frame.toString('latin1')).at(-1);
  };
  assert.equal(await upload(100, 0x40080000), 'OHAI');
  assert.equal(await upload(100, 0x40080063), 'OHAI');
  assert.notEqual(await upload(100, 0x40080064), 'OHAI');
  assert.notEqual(await upload(99, 0x40080000), 'OHAI');
});

test('the rate of the first SYNC is the one spoken; afterwards another one is noise', async () => {
  const board = session({ family: 'esp8266' });
  await board.enterDownload();
  board.board.setBaudRate(230400);
  assert.equal((await board.sync()).length, 8);
  board.board.setBaudRate(115200);
  assert.deepEqual(
    (await board.sync()).filter((frame) => frame.toString('hex').startsWith('0108')),
    [],
  );
  board.board.setBaudRate(230400);
  await board.sync();
  assert.equal((await board.sync()).length, 8);
  assert.ok(SYNC_PAYLOAD.length === 36);
});

test('CHANGE_BAUDRATE answers at the old rate, then speaks the new one', async () => {
  const board = await rom({ family: 'esp32' });
  await board.one(OPCODE.changeBaudRate, words(921600, 0));
  board.board.setBaudRate(921600);
  assert.equal((await board.sync()).length, 8);
  assert.equal(value(await board.one(OPCODE.readReg, words(0x3ff40014))), Math.floor(40e6 / 921600));
});

test('the ROM of a C2 with 26 MHz reckons with 40', async () => {
  const board = await rom({ family: 'esp32c2', crystalMHz: 26 });
  await board.one(OPCODE.changeBaudRate, words(Math.floor((460800 * 40) / 26), 0));
  board.board.setBaudRate(460800);
  assert.equal((await board.sync()).length, 8);
});

test('a flash above 16 MiB wraps at 24 bits: reads, digests, erasing and programming, whatever size was told', async () => {
  const MIB = 1024 * 1024;
  for (const family of ['esp32', 'esp32s3', 'esp32c5', 'esp32p4'] as const) {
    const board = await rom({ family, flashSizeBytes: 32 * MIB });
    const { flash } = board.board;
    flash.load(0x1000, Buffer.from('the lower half'));
    flash.load(16 * MIB + 0x1000, Buffer.from('the upper half'));
    flash.load(16 * MIB + 0x3000, Buffer.from('not to be reached'));
    await board.one(OPCODE.spiAttach, words(0, 0));
    await board.one(OPCODE.spiSetParams, words(0, 32 * MIB, 65536, 4096, 256, 0xffff));

    const read = await board.one(OPCODE.readFlashSlow, words(16 * MIB + 0x1000, 14));
    assert.equal(read.subarray(8, 22).toString(), 'the lower half');
    const digest = async (offset: number, length: number) =>
      (await board.one(OPCODE.flashMd5, words(offset, length, 0, 0))).subarray(8, 40).toString();
    assert.equal(await digest(16 * MIB + 0x1000, 4096), flash.md5(0x1000, 4096).toString('hex'));
    assert.notEqual(await digest(16 * MIB + 0x1000, 4096), flash.md5(16 * MIB + 0x1000, 4096).toString('hex'));
    // Over the end of 24 bits it goes on at the beginning.
    const over = Buffer.concat([flash.read(16 * MIB - 4096, 4096), flash.read(0, 8192)]);
    assert.equal(await digest(16 * MIB - 4096, 12288), createHash('md5').update(over).digest('hex'));

    const encrypt = family === 'esp32' ? [] : [0];
    await board.one(OPCODE.flashBegin, words(4096, 4, 1024, 16 * MIB + 0x1000, ...encrypt));
    assert.ok(
      flash.read(0x1000, 4096).every((byte) => byte === 0xff),
      'the lower sector is erased',
    );
    await board.ask(dataRequest(OPCODE.flashData, 0, Buffer.alloc(1024, 0x5a)));
    assert.ok(
      flash.read(0x1000, 1024).every((byte) => byte === 0x5a),
      'the lower sector is programmed',
    );
    assert.equal(flash.read(16 * MIB + 0x1000, 14).toString(), 'the upper half');

    const source = Buffer.alloc(4096, 0x33);
    const deflated = deflateSync(source);
    await board.one(OPCODE.flashDeflBegin, words(4096, 1, 1024, 16 * MIB + 0x3000, ...encrypt));
    await board.ask(dataRequest(OPCODE.flashDeflData, 0, deflated));
    assert.ok(flash.read(0x3000, 4096).equals(source));
    assert.equal(flash.read(16 * MIB + 0x3000, 17).toString(), 'not to be reached');
  }
});

test('the stub of these chips reaches all of it', async () => {
  const MIB = 1024 * 1024;
  const board = await rom({ family: 'esp32s3', flashSizeBytes: 32 * MIB });
  board.board.flash.load(16 * MIB, Buffer.from('the upper half'));
  await board.startStub();
  const digest = await board.one(OPCODE.flashMd5, words(16 * MIB, 4096, 0, 0));
  assert.deepEqual(digest.subarray(8, 24), board.board.flash.md5(16 * MIB, 4096));
  assert.notDeepEqual(digest.subarray(8, 24), board.board.flash.md5(0, 4096));
});
