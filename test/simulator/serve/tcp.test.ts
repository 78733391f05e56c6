import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { serveTcp } from '../../../src/simulator/serve/tcp.ts';
import { Client, EchoBoard, HandClock, pattern } from './support.ts';

test('a megabyte there and back is the same', async () => {
  const board = new EchoBoard();
  const served = await serveTcp(board);
  assert.match(served.address, /^socket:\/\/127\.0\.0\.1:\d+$/);
  const client = await Client.open(served.address);
  const data = pattern(1024 * 1024);
  client.send(data);
  assert.ok((await client.take(data.length)).equals(data));
  assert.equal(served.droppedBytes, 0);
  await client.leave();
  await served.close();
});

test('the far end has one fixed rate and no lines', async () => {
  const board = new EchoBoard();
  const served = await serveTcp(board, { baudRate: 460_800 });
  const client = await Client.open(served.address);
  client.send(Buffer.of(0, 13, 0, 255, 255));
  await client.take(5);
  await served.close();
  await client.closed;
  assert.deepEqual(board.take(), ['baud:460800', 'data:000d00ffff']);
});

test('a second client is closed at once, without harm to the first', async () => {
  const served = await serveTcp(new EchoBoard());
  const first = await Client.open(served.address);
  first.send(Buffer.from('a'));
  await first.take(1);
  const second = await Client.open(served.address);
  second.send(Buffer.from('intruder'));
  await second.closed;
  assert.equal(second.received.length, 0);
  first.send(Buffer.from('still here'));
  assert.equal((await first.take(10)).toString(), 'still here');
  await served.close();
});

test('who closes and opens again at once finds the place free, every time', async () => {
  const served = await serveTcp(new EchoBoard());
  for (let round = 0; round < 30; round++) {
    const client = await Client.open(served.address);
    client.send(pattern(5000));
    await client.take(5000);
    if (round % 3 === 0) client.socket.destroy();
    else if (round % 3 === 1) client.socket.resetAndDestroy();
    else await client.leave();
  }
  await served.close();
});

test('what the board sends to nobody is lost', async () => {
  const board = new EchoBoard();
  const served = await serveTcp(board);
  assert.equal(board.onTransmit, undefined);
  const client = await Client.open(served.address);
  client.send(Buffer.from('x'));
  await client.take(1);
  await client.leave();
  const next = await Client.open(served.address);
  next.send(Buffer.from('new'));
  assert.equal((await next.take(3)).toString(), 'new');
  await served.close();
  assert.equal(board.onTransmit, undefined);
  assert.equal(board.onVanish, undefined);
});

test('unplugged: the client is dropped, new ones are refused, and plugging in brings the same address back', async () => {
  const board = new EchoBoard();
  const served = await serveTcp(board);
  const client = await Client.open(served.address);
  client.send(Buffer.from('x'));
  await client.take(1);
  served.unplug();
  assert.equal(board.onTransmit, undefined);
  await client.closed;
  for (let round = 0; round < 3; round++) {
    const refused = await Client.open(served.address);
    refused.send(Buffer.from('anyone?'));
    await refused.closed;
    assert.equal(refused.received.length, 0);
  }
  served.unplug();
  served.plug();
  served.plug();
  const back = await Client.open(served.address);
  back.send(Buffer.from('back'));
  assert.equal((await back.take(4)).toString(), 'back');
  assert.equal(board.receivedBytes, 5);
  await served.close();
});

test('a board that vanishes takes its client along and comes back after a while', async () => {
  const board = new EchoBoard();
  const clock = new HandClock();
  const served = await serveTcp(board, { clock, reappearAfterMs: 250 });
  const client = await Client.open(served.address);
  client.send(Buffer.from('x'));
  await client.take(1);
  board.onVanish?.();
  await client.closed;
  clock.advance(249);
  await (
    await Client.open(served.address)
  ).closed;
  clock.advance(1);
  const back = await Client.open(served.address);
  back.send(Buffer.from('y'));
  await back.take(1);
  await served.close();
  assert.equal(clock.pending, 0);
});

test('a vanished board does not come back while the cable is out, nor ever when so configured', async () => {
  const board = new EchoBoard();
  const clock = new HandClock();
  const served = await serveTcp(board, { clock });
  board.onVanish?.();
  served.unplug();
  clock.advance(1_000_000);
  await (
    await Client.open(served.address)
  ).closed;
  await served.close();

  const stays = await serveTcp(board, { clock, reappearAfterMs: null });
  board.onVanish?.();
  board.onVanish?.();
  assert.equal(clock.pending, 0);
  await (
    await Client.open(stays.address)
  ).closed;
  stays.plug();
  const back = await Client.open(stays.address);
  back.send(Buffer.from('y'));
  await back.take(1);
  await stays.close();
});

test('closing while a vanished board is away leaves no timer behind', async () => {
  const board = new EchoBoard();
  const clock = new HandClock();
  const served = await serveTcp(board, { clock });
  board.onVanish?.();
  assert.equal(clock.pending, 1);
  await served.close();
  assert.equal(clock.pending, 0);
});

test('a client that does not read costs bounded memory: the board goes on, the overrun is dropped and counted', async () => {
  const board = new EchoBoard();
  const limit = 64 * 1024;
  const served = await serveTcp(board, { queueLimitBytes: limit });
  const { port } = new URL(served.address);
  const socket = connect(Number(port), '127.0.0.1');
  socket.pause();
  await once(socket, 'connect');
  socket.write('go');
  await board.until(() => board.receivedBytes === 2);

  const chunkBytes = 1024;
  const sent = 64 * 1024;
  for (let number = 0; number < sent; number++) {
    const chunk = Buffer.alloc(chunkBytes);
    chunk.writeUInt32BE(number);
    board.onTransmit?.(chunk);
    if (number % 64 === 0) await new Promise(setImmediate);
  }
  assert.ok(served.droppedBytes > 0);
  assert.equal(served.droppedBytes % chunkBytes, 0);

  const expected = 2 + sent * chunkBytes - served.droppedBytes;
  const pieces: Buffer[] = [];
  let length = 0;
  socket.on('data', (piece: Buffer) => {
    pieces.push(piece);
    length += piece.length;
    if (length >= expected) socket.end();
  });
  socket.resume();
  await once(socket, 'close');
  const all = Buffer.concat(pieces).subarray(2);
  assert.equal(all.length, expected - 2);
  let last = -1;
  for (let offset = 0; offset < all.length; offset += chunkBytes) {
    const number = all.readUInt32BE(offset);
    assert.ok(number > last, 'whole chunks, in order, none twice');
    last = number;
  }
  await served.close();
});

test('closing ends the client, refuses the next one, and may be repeated', async () => {
  const served = await serveTcp(new EchoBoard());
  const client = await Client.open(served.address);
  await Promise.all([served.close(), served.close(), client.closed]);
  served.plug();
  await served.close();
  await assert.rejects(Client.open(served.address), { code: 'ECONNREFUSED' });
});

test('a TCP port that is taken is an error', async () => {
  const served = await serveTcp(new EchoBoard());
  const tcpPort = Number(new URL(served.address).port);
  await assert.rejects(serveTcp(new EchoBoard(), { tcpPort }), { code: 'EADDRINUSE' });
  await served.close();
});
