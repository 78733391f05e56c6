import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { EspdError } from '../../../src/errors.ts';
import { ApiBench } from '../../control/support.ts';
import { ESP32_C3, macOf } from '../../daemon/workshop.ts';
import { Bench, type RunOptions, type RunResult, checkError, until } from '../../support/cli.ts';

async function station(t: TestContext) {
  const bench = await Bench.open(t);
  const api = await ApiBench.open(t);
  const env = { ESPD_SOCKET: api.socketPath };
  const wait = (args: readonly string[], options: RunOptions = {}) => bench.run(['wait', ...args], { env, ...options });
  /** Begins, and lets the test go on once the command waits. */
  const begin = async (args: readonly string[]): Promise<{ readonly ended: Promise<RunResult> }> => {
    let stderr = '';
    const ended = wait(args, { onOutput: (soFar) => (stderr = soFar.stderr) });
    await until(() => stderr.includes('Waiting'), 'that it waits');
    return { ended };
  };
  return { bench, api, shop: api.shop, env, wait, begin };
}

test('wait ends when the daemon has backed the board up, and at once where it has done so already', async (t) => {
  const { bench, env, shop, begin } = await station(t);
  const device = shop.board();
  const { ended } = await begin(['--mac', device.board.mac]);
  shop.plug(shop.board({ slot: 5 }));
  shop.plug(device);
  const { status, stdout, stderr } = await ended;
  assert.equal(status, 0, stderr);
  assert.match(
    stdout,
    new RegExp(`^${macOf(device.board)}  backed up as \\S+, .* on the wire, at ${device.address}\n$`),
  );
  await shop.idle();
  const { json } = await bench.runJson<{ mac: string; port: string; backup: { id: string; unchanged: boolean } }>(
    ['wait', '--backup', '--mac', device.board.mac],
    { env },
  );
  const { backups } = await shop.history(device.board);
  assert.deepEqual([json.mac, json.port, json.backup.id], [macOf(device.board), device.address, backups[0]?.id]);
  assert.equal(json.backup.unchanged, false);
});

test('wait knows labels, and a board that was unplugged must come again', async (t) => {
  const { shop, begin, wait } = await station(t);
  const device = shop.board();
  shop.plug(device);
  await shop.said('Backed up and verified');
  await shop.idle();
  await shop.archive.marks.describe(macOf(device.board), { label: 'kitchen' });
  shop.unplug(device);
  const { ended } = await begin(['--mac', 'kitchen']);
  shop.plug(device);
  const { status, stdout } = await ended;
  assert.equal(status, 0);
  assert.match(stdout, /unchanged since/);
  checkError(await wait(['--mac', 'cellar']), 'archive-unknown-board');
});

test('wait --plugged ends when the daemon knows where the board is, also by its own USB alone', async (t) => {
  const { bench, env, shop, begin } = await station(t);
  const bridge = shop.board();
  const waiting = await begin(['--plugged', '--mac', bridge.board.mac]);
  shop.plug(bridge);
  const first = await waiting.ended;
  assert.deepEqual([first.status, first.stdout], [0, `${macOf(bridge.board)}  is plugged in, at ${bridge.address}\n`]);
  // Never asked: it says so by itself.
  shop.plug({ address: '/dev/ttyACM7', usb: { ...ESP32_C3, serialNumber: '7C:DF:A1:BE:EF:07' } });
  const { json } = await bench.runJson(['wait', '--plugged', '--mac', '7C-DF-A1-BE-EF-07'], { env });
  assert.deepEqual(json, { mac: '7c:df:a1:be:ef:07', port: '/dev/ttyACM7', backup: null });
});

test('wait ends with the error of a backup that is not tried again, while it waits and at once', async (t) => {
  const { shop, begin, wait } = await station(t);
  const device = shop.board({ jedec: [0xff, 0xff, 0xff] });
  const { ended } = await begin(['--mac', device.board.mac]);
  shop.plug(device);
  checkError(await ended, 'flash-unknown');
  await shop.idle();
  checkError(await wait(['--mac', device.board.mac]), 'flash-unknown');
  // It is plugged in all the same.
  assert.equal((await wait(['--plugged', '--mac', device.board.mac])).status, 0);
});

test('wait goes on while a failure is tried again', async (t) => {
  const { shop, begin } = await station(t);
  const device = shop.board();
  let failures = 1;
  shop.beforeOpen = () => {
    if (failures-- > 0) throw new EspdError('port-busy', 'another program has it', { hint: 'close it' });
  };
  const { ended } = await begin(['--mac', device.board.mac]);
  shop.plug(device);
  const { status, stderr } = await ended;
  assert.equal(status, 0, stderr);
  assert.equal(shop.opensOf(device.address), 2);
});

test('wait gives up when its time is over: never seen, or seen and not backed up', async (t) => {
  const { bench, env, shop, wait } = await station(t);
  const device = shop.board();
  const never = await wait(['--mac', device.board.mac, '--timeout', '1s']);
  checkError(never, 'board-not-found');
  assert.match(never.stderr, /within 1 s/);
  shop.plug({ address: '/dev/ttyACM7', usb: { ...ESP32_C3, serialNumber: '7C:DF:A1:BE:EF:07' } });
  shop.daemon.hold('/dev/ttyACM8', { by: 'Ada' });
  shop.plug({ address: '/dev/ttyACM8', usb: { ...ESP32_C3, location: '1-9:1.0', serialNumber: '7C:DF:A1:BE:EF:08' } });
  checkError(await wait(['--mac', '7c:df:a1:be:ef:08', '--timeout', '1']), 'wait-timeout');
  const script = await bench.runJson(['wait', '--mac', '7c:df:a1:be:ef:08', '--timeout', '1'], { env });
  assert.deepEqual([script.status, script.json.error.code], [1, 'wait-timeout']);
});

test('wait without a daemon, with wrong options, and interrupted', async (t) => {
  const { bench, shop, wait } = await station(t);
  const mac = ['--mac', '50:02:91:c3:37:a5'];
  const none = { env: { ESPD_SOCKET: join(bench.folder, 'none.sock') } };
  await bench.fails(['wait', ...mac], 'daemon-absent', none);
  await bench.fails(['wait', ...mac, '--no-daemon'], 'usage', none);
  for (const args of [
    [],
    ['--mac', 'a/b'],
    [...mac, '--timeout', '10x'],
    [...mac, '--backup', '--plugged'],
    [...mac, 'x'],
  ]) {
    await bench.fails(['wait', ...args], 'usage', none);
  }
  const abort = new AbortController();
  const waiting = wait(mac, { signal: abort.signal, onOutput: () => abort.abort() });
  checkError(await waiting, 'interrupted');
  assert.deepEqual(shop.opened, []);
});
