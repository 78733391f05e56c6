import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import type { Socket } from 'node:net';
import { type Clock, systemClock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { openLink } from '../../src/serial/open-link.ts';
import { describeLinkConformance } from './link-conformance.ts';
import { Inbox, listen, sendAll } from './peers.ts';

const options = { baudRate: 115_200, clock: systemClock, log: silentLogger };

describeLinkConformance('a raw socket', async () => {
  const inbox = new Inbox();
  const peer = await listen((socket) => socket.on('data', inbox.push));
  const link = await openLink(`socket://127.0.0.1:${peer.port}`, options);
  const socket: Socket = await peer.socket;
  return {
    link,
    send: (data) => sendAll(socket, data),
    received: (sizeBytes) => inbox.take(sizeBytes),
    vanish: () => void socket.destroy(),
    stall: () => void socket.pause(),
    dispose: () => peer.close(),
  };
});

describe('a raw socket', () => {
  test('has neither control lines nor a baud rate', async () => {
    const peer = await listen(() => undefined);
    const link = await openLink(`socket://127.0.0.1:${peer.port}`, options);
    assert.deepEqual(link.capabilities, { controlLines: false, baudRate: false });
    assert.equal(link.baudRate, 115_200);
    await link.close();
    await peer.close();
  });

  test('says port-missing where nobody listens', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    server.close();
    await once(server, 'close');
    const opened = openLink(`socket://127.0.0.1:${address.port}`, options);
    await assert.rejects(opened, (error) => hasCode(error, 'port-missing') && /nothing listens/.test(error.message));
  });

  test('is not opened when the signal is aborted already', async () => {
    const reason = new Error('stop');
    const opened = openLink('socket://127.0.0.1:9', { ...options, signal: AbortSignal.abort(reason) });
    await assert.rejects(opened, (error) => error === reason);
  });

  test('gives a write up that the other side never takes', async () => {
    const timers = new Map<() => void, number>();
    const clock: Clock = {
      ...systemClock,
      schedule(delayMs, callback) {
        timers.set(callback, delayMs);
        return () => timers.delete(callback);
      },
    };
    const peer = await listen((socket) => socket.pause());
    const link = await openLink(`socket://127.0.0.1:${peer.port}`, { ...options, clock });
    const data = Buffer.alloc(32 * 1024 * 1024);
    const written = assert.rejects(link.write(data), (error) => hasCode(error, 'port-vanished'));
    const [[expire, delayMs] = []] = timers;
    assert.ok(delayMs !== undefined && delayMs > (data.length * 10_000) / 115_200, 'slow is not stuck');
    expire?.();
    await written;
    assert.equal(link.isOpen, false);
    await link.close();
    await peer.close();
  });
});
