/** A port that the daemon keeps off for as long as a connection is open. */

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { ApiClient } from '../../src/client/api.ts';
import { leasePort } from '../../src/client/lease.ts';
import { systemClock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { ApiBench } from '../control/support.ts';
import { PACED, reading } from '../daemon/workshop.ts';
import { until } from '../support/cli.ts';

const NEVER = new AbortController().signal;

function lease(
  bench: ApiBench,
  port: string,
  by = 'espd run esptool',
  onLost: (why: string) => void = () => undefined,
) {
  const client = new ApiClient(bench.socketPath, systemClock);
  return leasePort(client, { port, by, now: false, signal: NEVER, onLost });
}

test('a lease keeps the daemon off until it is released, and what comes of that is no plug-in', async (t) => {
  const bench = await ApiBench.open(t);
  const { shop } = bench;
  const device = shop.board();
  const lost: string[] = [];
  const held = await lease(bench, device.address, 'espd run esptool', (why) => lost.push(why));
  assert.deepEqual(shop.daemon.holds, [{ port: device.address, by: 'espd run esptool', until: null }]);
  shop.plug(device);
  await shop.pass(60_000);
  assert.deepEqual(shop.opened, []);
  await assert.rejects(lease(bench, device.address, 'another'), (error) => hasCode(error, 'port-busy'));
  await held.release();
  assert.deepEqual(shop.daemon.holds, []);
  // It was plugged in meanwhile.
  await shop.said('Backed up and verified');
  await shop.idle();
  const again = await lease(bench, device.address);
  await again.release();
  await shop.pass(60_000);
  assert.equal(shop.opensOf(device.address), 1);
  assert.deepEqual(lost, []);
});

test('a client that is killed gives the port back at once, and the daemon looks at the board', async (t) => {
  const bench = await ApiBench.open(t);
  const { shop } = bench;
  const device = shop.board();
  shop.plug(device);
  await shop.said('Backed up and verified');
  await shop.idle();
  const path = `/v1/ports/${encodeURIComponent(device.address)}/lease`;
  const killed = request({ socketPath: bench.socketPath, path, method: 'POST' });
  killed.on('error', () => undefined);
  killed.end('{"by": "esptool"}');
  await until(() => shop.daemon.holds.length === 1, 'a hold');
  device.board.pressBoot(true);
  device.board.pressReset(10);
  killed.destroy();
  await shop.said('Unchanged since its last backup');
  await shop.idle();
  assert.deepEqual(shop.daemon.holds, []);
});

test('a lease waits for the job at its port; whoever gives up waiting has nothing', async (t) => {
  const bench = await ApiBench.open(t);
  const { shop } = bench;
  const device = shop.board({ line: PACED });
  shop.plug(device);
  await reading(shop, device);
  const held = await lease(bench, device.address);
  assert.equal(shop.openLinks, 0);
  assert.equal(shop.linesOf('Backed up and verified').length, 1);
  await held.release();
  assert.deepEqual(shop.daemon.holds, []);
});

test('a lease that somebody else releases is told of', async (t) => {
  const bench = await ApiBench.open(t);
  const { shop } = bench;
  const lost: string[] = [];
  const held = await lease(bench, '/dev/ttyUSB0', 'espd run esptool', (why) => lost.push(why));
  shop.daemon.release('/dev/ttyUSB0');
  await until(() => lost.length > 0, 'that it is told');
  assert.deepEqual(lost, ['/dev/ttyUSB0 was released by somebody']);
  await held.release();
});
