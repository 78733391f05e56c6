import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { readStatus } from '../../../src/client/status-document.ts';
import { statusLines } from '../../../src/cli/station/status-lines.ts';
import { serveAt, socketFolder, stateOf } from '../../client/support.ts';
import { ApiBench } from '../../control/support.ts';
import { Bench, assertPlain, checkError } from '../../support/cli.ts';

const at = '2026-11-26T22:00:00.000Z';

test('status shows a board that was backed up, and --json is the document of the API', async (t) => {
  const bench = await Bench.open(t);
  const api = await ApiBench.open(t);
  const device = api.shop.board();
  api.shop.plug(device);
  await api.shop.said('Backed up and verified');
  await api.shop.idle();
  const env = { ESPD_SOCKET: api.socketPath };
  const { stdout, status } = await bench.run(['status'], { env });
  assert.equal(status, 0);
  assert.ok(stdout.includes(`${device.address}  ${device.board.mac}`), stdout);
  assert.match(stdout, /DONE: unplug/);
  assert.match(stdout, /backed up as \S+, \d/);
  const { json } = await bench.runJson<object>(['status'], { env });
  assert.deepEqual({ ...json, now: '' }, { ...(await api.ask('/v1/status')).json, now: '' });
});

test('without a daemon, status says how to start one', async (t) => {
  const bench = await Bench.open(t);
  const env = { ESPD_SOCKET: join(bench.folder, 'none.sock') };
  const error = await bench.fails(['status'], 'daemon-absent', { env });
  assert.match(error.hint, /systemctl start espd/);
  checkError(await bench.run(['status', '--no-daemon'], { env }), 'usage');
});

test('a full station fits 80x24, and texts of devices steer no terminal', async (t) => {
  const error = { code: 'no-sync', message: `The board\x1b[2J is ${'x'.repeat(90)}`, hint: 'Press RESET' };
  const ports = Array.from({ length: 30 }, (_, index) => ({
    ...{ port: `/dev/ttyUSB${index}`, state: index % 2 === 0 ? 'failed' : 'done', since: at },
    error: index % 2 === 0 ? error : null,
  }));
  const attention = Array.from({ length: 40 }, () => ({ at, about: 'board', port: '/dev/ttyUSB0', mac: null, error }));
  const job = { kind: 'backup', state: 'failed', queuedAt: at, endedAt: at, port: '/dev/ttyUSB1', error };
  const jobs = Array.from({ length: 40 }, (_, index) => ({ ...job, job: index }));
  const document = stateOf('a', 1, { ports, jobs, attention });
  const lines = statusLines(readStatus(document)!, 23);
  assert.ok(lines.length <= 23, `${lines.length} lines`);
  assert.ok(lines.some((line) => /more/.test(line)));
  const path = join(await socketFolder(t), 'espd.sock');
  await serveAt(t, path, (_, response) => response.end(JSON.stringify(document)));
  const bench = await Bench.open(t);
  const { stdout } = await bench.run(['status'], { env: { ESPD_SOCKET: path }, tty: true });
  assertPlain(stdout);
  assert.ok(stdout.split('\n').every((line) => line.length <= 80));
});

test('other stations: when they were heard, who is silent, what cannot be read', () => {
  const fleet = {
    ...{ waiting: 0, lookedAt: at },
    stations: [
      { name: 'bench7', heardAt: at, silentDays: 3 },
      { name: 'bench8', heardAt: at, silentDays: null },
    ],
    troubles: [{ message: 'Segment 2 of the journal of bench8 is damaged' }],
  };
  const lines = statusLines(readStatus(stateOf('a', 1, { fleet }))!);
  const [, , , read, silent, trouble] = lines;
  assert.match(read ?? '', /^The journals of 2 other stations were last read at \d{4}-/);
  assert.equal(silent, 'bench7 has said nothing for 3 days');
  assert.equal(trouble, 'Segment 2 of the journal of bench8 is damaged');
  for (const strange of [null, 'x', { stations: [{}] }, { ...fleet, troubles: [null] }]) {
    assert.equal(readStatus(stateOf('a', 1, { fleet: strange }))?.fleet, null);
  }
});
