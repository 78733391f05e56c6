import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiBench } from '../../control/support.ts';
import { macOf } from '../../daemon/workshop.ts';
import { Bench, checkError } from '../../support/cli.ts';

test('hold keeps the daemon off a port, by address or MAC, until release', async (t) => {
  const bench = await Bench.open(t);
  const api = await ApiBench.open(t);
  const env = { ESPD_SOCKET: api.socketPath };
  const device = api.shop.board();
  api.shop.plug(device);
  await api.shop.said('Backed up and verified');
  await api.shop.idle();
  const { stdout, status } = await bench.run(['hold', device.board.mac, '--by', 'a flasher', '--for', '600'], { env });
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`^${device.address} is yours until \\d\\d:\\d\\d:\\d\\d\n$`));
  // The clock of the workshop goes on by itself: the hold ends.
  await api.shop.pass(601_000);
  assert.deepEqual(api.shop.daemon.holds, []);
  assert.equal((await bench.run(['hold', device.address, '--by', 'a flasher'], { env })).status, 0);
  assert.deepEqual(
    api.shop.daemon.holds.map(({ port, by }) => [port, by]),
    [[device.address, 'a flasher']],
  );
  checkError(await bench.run(['hold', device.address], { env }), 'port-busy');
  assert.equal((await bench.run(['release', device.address], { env })).status, 0);
  assert.deepEqual(api.shop.daemon.holds, []);
  checkError(await bench.run(['hold', '00:00:00:00:00:01'], { env }), 'board-not-found');
});

test('hold takes labels, times with a unit, and every name of a port', async (t) => {
  const bench = await Bench.open(t);
  const api = await ApiBench.open(t);
  const env = { ESPD_SOCKET: api.socketPath };
  const device = api.shop.board();
  api.shop.plug(device);
  await api.shop.said('Backed up and verified');
  await api.shop.idle();
  await api.shop.archive.marks.describe(macOf(device.board), { label: 'kitchen' });
  const held = await bench.runJson<{ port: string; until: string }>(['hold', 'kitchen', '--for', '10m'], { env });
  assert.equal(held.status, 0, held.stderr);
  assert.equal(held.json.port, device.address);
  const [told] = api.shop.eventsOf('port-held');
  assert.equal(Date.parse(held.json.until) - Date.parse(told!.at), 600_000);
  // The clock of the workshop goes on by itself: the hold ends.
  await api.shop.pass(601_000);
  assert.equal((await bench.run(['hold', 'Kitchen'], { env })).status, 0);
  const released = await bench.run(['release', 'Kitchen'], { env });
  assert.equal(released.status, 0, released.stderr);
  assert.deepEqual(api.shop.daemon.holds, []);
  checkError(await bench.run(['hold', 'cellar'], { env }), 'archive-unknown-board');
  for (const time of ['0', '10x', '1.5m', '-1', '25d', '']) {
    checkError(await bench.run(['hold', device.address, '--for', time], { env }), 'usage');
  }
});
