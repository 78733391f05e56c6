/** `espd run` through a daemon, both as processes: the port is kept, signals go through, and a kill gives it back. */

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { ApiClient } from '../../src/client/api.ts';
import { systemClock } from '../../src/clock.ts';
import { Bench, until } from '../support/cli.ts';
import { EspdProcess, startDaemon } from './support.ts';

async function station(t: TestContext) {
  const bench = await Bench.open(t);
  await bench.configure({ log: { format: 'json' } });
  const folder = join(bench.folder, 'run');
  await mkdir(folder);
  const socket = join(folder, 'espd.sock');
  const daemon = await startDaemon(t, bench, { env: { RUNTIME_DIRECTORY: folder } });
  const device = await bench.addBoard({ family: 'esp32' });
  await daemon.message('Backed up and verified');
  const client = new ApiClient(socket, systemClock);
  const env = { ESPD_SOCKET: socket, ESPD_NO_DAEMON: '0' };
  const port = async () => (await client.status()).ports[0]!;
  const run = async (script: string) => {
    const args = ['run', '--mac', device.board.mac, '--', 'sh', '-c', script];
    const running = new EspdProcess(t, bench, args, { env });
    await until(() => running.stdout.includes('ready'), 'that the command runs', 60_000);
    return running;
  };
  return { daemon, device, port, run };
}

describe('espd run through a daemon', { concurrency: 2, timeout: 180_000 }, () => {
  test('keeps the port while the command runs, passes SIGTERM on, and tells how it ended', async (t) => {
    const { device, port, run } = await station(t);
    const running = await run('trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done');
    const { heldBy, state } = await port();
    assert.deepEqual([state, heldBy], ['held', 'espd run sh']);
    running.kill('SIGTERM');
    assert.equal(await running.status(), 9);
    assert.match(running.stdout, /changed nothing/);
    assert.equal((await port()).heldBy, null);
    assert.equal(device.board.mode, 'app');
  });

  test('a kill gives the port back, and the daemon looks at what is on the board', async (t) => {
    const { daemon, device, port, run } = await station(t);
    const running = await run('echo ready; exec sleep 5');
    device.board.flash.erase(0x7_f000, 4096);
    device.board.flash.program(0x7_f000, Buffer.alloc(4096, 0x5a));
    running.kill('SIGKILL');
    await daemon.message('Released');
    await daemon.message('Backed up and verified');
    assert.equal((await port()).heldBy, null);
    assert.equal(device.board.mode, 'app');
  });
});
