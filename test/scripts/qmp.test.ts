import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { Qmp } from '../system/guest/qmp.ts';

async function connected(context: TestContext, onLine: (socket: Socket) => void): Promise<Socket> {
  const server = createServer((socket) => socket.once('data', () => onLine(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
  context.after(() => socket.destroy());
  return socket;
}

test('a QEMU that ends before it answers is an error, not a wait for ever', async (context) => {
  const socket = await connected(context, (peer) => peer.destroy());
  await assert.rejects(Qmp.open(socket), /closed its control channel: qmp_capabilities/);
});

test('nothing is asked of a QEMU that has ended', async (context) => {
  const socket = await connected(context, (peer) => peer.end('{"return": {}, "id": 1}\n'));
  const qmp = await Qmp.open(socket);
  socket.destroy();
  await once(socket, 'close');
  await assert.rejects(qmp.execute('stop'), /closed its control channel: stop/);
});
