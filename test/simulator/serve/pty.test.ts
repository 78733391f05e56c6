import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { ReadStream } from 'node:tty';
import { SerialPort } from 'serialport';
import { systemClock } from '../../../src/clock.ts';
import { servePty } from '../../../src/simulator/serve/pty.ts';
import { EchoBoard, HandClock, pattern } from './support.ts';

const skip = process.platform !== 'linux' && 'ptys are made on Linux only';
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'espd-pty-'));
after(() => fs.rmSync(folder, { recursive: true }));
let links = 0;
const newLink = () => path.join(folder, `ttyBOARD${links++}`);

async function openPort(address: string, baudRate = 115_200): Promise<SerialPort> {
  const port = new SerialPort({ path: address, baudRate, autoOpen: false });
  await new Promise<void>((resolve, reject) => port.open((error) => (error ? reject(error) : resolve())));
  return port;
}

async function closePort(port: SerialPort): Promise<void> {
  await new Promise<void>((resolve) => port.close(() => resolve()));
}

async function readExactly(port: SerialPort, length: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let have = 0;
  await new Promise<void>((resolve) => {
    const take = (piece: Buffer) => {
      pieces.push(piece);
      have += piece.length;
      if (have < length) return;
      port.off('data', take);
      port.pause();
      resolve();
    };
    port.on('data', take);
    port.resume();
  });
  return Buffer.concat(pieces);
}

const openDescriptors = () => fs.readdirSync('/proc/self/fd').length;

test('a megabyte each way through serialport is the same', { skip }, async () => {
  const board = new EchoBoard();
  const linkPath = newLink();
  const served = await servePty(board, { linkPath });
  assert.equal(served.address, linkPath);
  const port = await openPort(linkPath);
  const data = pattern(1024 * 1024);
  const echoed = readExactly(port, data.length);
  port.write(data);
  assert.ok((await echoed).equals(data));
  assert.equal(board.receivedBytes, data.length);
  assert.equal(served.droppedBytes, 0);
  await closePort(port);
  await served.close();
});

test('every byte passes untouched, and nothing is echoed by the system', { skip }, async () => {
  const board = new EchoBoard();
  board.echo = false;
  const served = await servePty(board, { linkPath: newLink() });
  // Not through serialport, which would make the pty raw itself.
  const fd = fs.openSync(served.address, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
  const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
  fs.writeSync(fd, every);
  await board.until(() => board.receivedBytes === 256);
  assert.deepEqual(
    board.take().filter((event) => event.startsWith('data:')),
    [`data:${every.toString('hex')}`],
  );
  assert.throws(() => fs.readSync(fd, Buffer.alloc(16)), { code: 'EAGAIN' });
  board.onTransmit?.(every);
  const got = Buffer.alloc(1000);
  assert.equal(await readSome(fd, got), 256);
  assert.ok(got.subarray(0, 256).equals(every));
  fs.closeSync(fd);
  await served.close();
});

/** One read of a non-blocking descriptor, as soon as it gives something. */
async function readSome(fd: number, buffer: Buffer): Promise<number> {
  for (;;) {
    try {
      return fs.readSync(fd, buffer);
    } catch {
      await new Promise(setImmediate);
    }
  }
}

test('the board learns the baud rate that a program sets, odd ones included', { skip }, async () => {
  const board = new EchoBoard();
  const served = await servePty(board, { linkPath: newLink() });
  assert.deepEqual(board.take(), ['baud:115200']);
  const port = await openPort(served.address, 115_200);
  port.write('a');
  await readExactly(port, 1);
  assert.deepEqual(board.take(), ['data:61']);
  for (const baudRate of [921_600, 74_880, 2_000_000]) {
    await new Promise((resolve) => port.update({ baudRate }, resolve));
    port.write('b');
    await readExactly(port, 1);
    assert.deepEqual(board.take(), [`baud:${baudRate}`, 'data:62']);
  }
  await closePort(port);
  await served.close();
});

test('unplugging hangs up on the program and takes the link away; plugging in makes a new one', { skip }, async () => {
  const board = new EchoBoard();
  const served = await servePty(board, { linkPath: newLink() });
  for (let round = 0; round < 3; round++) {
    const port = await openPort(served.address);
    port.write('ping');
    assert.equal((await readExactly(port, 4)).toString(), 'ping');
    // Stock serialport does not notice a hang-up while it reads: a second descriptor does.
    const fd = fs.openSync(served.address, fs.constants.O_RDONLY | fs.constants.O_NOCTTY);
    const watcher = new ReadStream(fd);
    watcher.resume();
    const hangUp = once(watcher, 'close');
    served.unplug();
    assert.equal(board.onTransmit, undefined);
    assert.equal(fs.lstatSync(served.address, { throwIfNoEntry: false }), undefined);
    await hangUp;
    port.on('error', () => undefined);
    const failure = await new Promise((resolve) => port.write('anyone?', resolve));
    assert.ok(failure instanceof Error);
    await closePort(port);
    served.unplug();
    served.plug();
    served.plug();
  }
  assert.ok(fs.lstatSync(served.address).isSymbolicLink());
  await served.close();
});

test('a board that vanishes hangs up and comes back under the same name', { skip }, async () => {
  const board = new EchoBoard();
  const clock = new HandClock();
  const served = await servePty(board, { linkPath: newLink(), clock, reappearAfterMs: 400 });
  board.onVanish?.();
  assert.equal(fs.existsSync(served.address), false);
  clock.advance(399);
  assert.equal(fs.existsSync(served.address), false);
  clock.advance(1);
  assert.ok(fs.existsSync(served.address));
  await served.close();
  assert.equal(clock.pending, 0);
});

test('a program may close and open again; what the board sent to nobody is lost', { skip }, async () => {
  const board = new EchoBoard();
  const served = await servePty(board, { linkPath: newLink() });
  for (let round = 0; round < 5; round++) {
    const fd = fs.openSync(served.address, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
    const word = Buffer.from(`round ${round}`);
    fs.writeSync(fd, word);
    const got = Buffer.alloc(100);
    const length = await readSome(fd, got);
    assert.equal(got.toString('latin1', 0, length), `round ${round}`);
    board.onTransmit?.(Buffer.from('left unread'));
    fs.closeSync(fd);
    while (board.onTransmit !== undefined) await new Promise(setImmediate);
  }
  await served.close();
});

test('what a program writes before the board has noticed it is not lost', { skip }, async () => {
  const board = new EchoBoard();
  const clock = new HandClock();
  const served = await servePty(board, { linkPath: newLink(), clock });
  const fd = fs.openSync(served.address, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
  fs.writeSync(fd, 'early');
  clock.advance(5);
  fs.writeSync(fd, 'late');
  await board.until(() => board.receivedBytes === 9);
  assert.deepEqual(board.take(), ['baud:115200', `data:${Buffer.from('earlylate').toString('hex')}`]);
  fs.closeSync(fd);
  await served.close();
});

test('a program that does not read blocks nothing; memory is bounded and the overrun counted', { skip }, async () => {
  const board = new EchoBoard();
  board.echo = false;
  const limit = 100_000;
  const served = await servePty(board, { linkPath: newLink(), queueLimitBytes: limit });
  const fd = fs.openSync(served.address, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
  fs.writeSync(fd, 'x');
  await board.until(() => board.receivedBytes === 1);
  const data = pattern(1000);
  const chunks = 2000;
  for (let count = 0; count < chunks; count++) board.onTransmit?.(data);
  assert.ok(served.droppedBytes > 0);
  const expected = chunks * 1000 - served.droppedBytes;
  assert.ok(expected >= limit, 'the limit is made use of');
  fs.writeSync(fd, 'y');
  await board.until(() => board.receivedBytes === 2);

  const all: Buffer[] = [];
  let length = 0;
  while (length < expected) {
    const buffer = Buffer.alloc(65_536);
    const got = await readSome(fd, buffer);
    all.push(buffer.subarray(0, got));
    length += got;
  }
  assert.equal(length, expected);
  assert.ok(Buffer.concat(all).equals(Buffer.concat(Array.from({ length: expected / 1000 }, () => data))));
  fs.closeSync(fd);
  await served.close();
});

test('unplugging while bytes wait on both sides is clean', { skip }, async () => {
  const board = new EchoBoard();
  const served = await servePty(board, { linkPath: newLink() });
  const fd = fs.openSync(served.address, fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK);
  fs.writeSync(fd, 'x');
  await board.until(() => board.receivedBytes === 1);
  for (let count = 0; count < 500; count++) board.onTransmit?.(pattern(1000));
  fs.writeSync(fd, 'unheard');
  served.unplug();
  assert.throws(() => fs.writeSync(fd, 'z'), { code: 'EIO' });
  fs.closeSync(fd);
  await served.close();
  assert.equal(board.receivedBytes, 1);
});

test('descriptors do not pile up', { skip }, async () => {
  const board = new EchoBoard();
  const round = async () => {
    const served = await servePty(board, { linkPath: newLink() });
    const port = await openPort(served.address);
    port.write('x');
    await readExactly(port, 1);
    await closePort(port);
    served.unplug();
    served.plug();
    await served.close();
    await new Promise((resolve) => systemClock.schedule(0, () => resolve(undefined)));
  };
  await round();
  const before = openDescriptors();
  for (let count = 0; count < 5; count++) await round();
  assert.ok(openDescriptors() <= before + 1, `${openDescriptors()} descriptors, ${before} before`);
});

test('an old link is replaced, any other file is not', { skip }, async () => {
  const linkPath = newLink();
  fs.symlinkSync('/nowhere', linkPath);
  const served = await servePty(new EchoBoard(), { linkPath });
  assert.match(fs.readlinkSync(linkPath), /^\/dev\/pts\/\d+$/);
  await served.close();
  assert.equal(fs.lstatSync(linkPath, { throwIfNoEntry: false }), undefined);
  await served.close();

  const precious = newLink();
  fs.writeFileSync(precious, 'keep me');
  await assert.rejects(servePty(new EchoBoard(), { linkPath: precious }), { code: 'EEXIST' });
  assert.equal(fs.readFileSync(precious, 'utf8'), 'keep me');
});

test('a link that somebody replaced meanwhile is left alone', { skip }, async () => {
  const linkPath = newLink();
  const served = await servePty(new EchoBoard(), { linkPath });
  fs.unlinkSync(linkPath);
  fs.writeFileSync(linkPath, 'mine');
  await served.close();
  assert.equal(fs.readFileSync(linkPath, 'utf8'), 'mine');
});
