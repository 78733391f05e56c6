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
  const lines = statusLines(readStatus(document)!, { rows: 23, columns: 80 });
  assert.ok(lines.length <= 23, `${lines.length} lines`);
  assert.ok(lines.some((line) => /more/.test(line)));
  const path = join(await socketFolder(t), 'espd.sock');
  await serveAt(t, path, (_, response) => response.end(JSON.stringify(document)));
  const bench = await Bench.open(t);
  const { stdout } = await bench.run(['status'], { env: { ESPD_SOCKET: path }, tty: true });
  assertPlain(stdout);
  assert.ok(stdout.split('\n').every((line) => line.length <= 80));
});

test('at 80 and at 60 columns nothing is cut that somebody needs', () => {
  const error = {
    code: 'no-sync',
    message: 'Nothing at rfc2217://127.0.0.1:36805 answers as an ESP board does',
    hint: 'If this is an ESP board without auto-reset: hold BOOT, press RESET, and try again',
  };
  const far = { since: at, chip: 'ESP32-D0WD-V3' };
  const ports = [
    { ...far, port: 'rfc2217://127.0.0.1:37001', mac: '24:0a:c4:12:45:56', state: 'done' },
    { ...far, port: 'rfc2217://127.0.0.1:36805', chip: null, state: 'failed', error, retryAt: at },
  ];
  const attention = [{ at, about: 'port', port: 'rfc2217://127.0.0.1:36805', mac: null, error }];
  const result = { id: '2026-11-26T22-00-00Z', unchanged: false, seconds: 4.02, wireBytes: 360_000, flashBytesRead: 1 };
  const job = { kind: 'backup', queuedAt: at, endedAt: at, port: 'rfc2217://127.0.0.1:37001' };
  const jobs = [
    { ...job, job: 1, state: 'done', mac: '24:0a:c4:12:45:56', result },
    { ...job, job: 2, state: 'failed', error },
  ];
  const status = readStatus(stateOf('a', 1, { ports, attention, jobs }))!;
  for (const columns of [79, 60]) {
    const lines = statusLines(status, { rows: 40, columns });
    const shown = lines.map((line) => line.slice(0, columns)).join('\n');
    const words = shown.replace(/\s+/g, ' ');
    assert.ok(words.includes(`${error.message} (no-sync)`), shown);
    assert.ok(words.includes(error.hint), shown);
    assert.match(shown, /DONE: unplug/);
    if (columns === 79) assert.match(shown, /FAILED, again at \d\d:\d\d:\d\d/);
    assert.match(shown, /backed up, 4\.0 s/);
  }
  const wide = statusLines(status, { rows: 40, columns: 200 }).join('\n');
  assert.match(wide, /ESP32-D0WD-V3 +DONE: unplug/);
  assert.match(wide, /backed up as 2026-11-26T22-00-00Z, 4\.0 s, .* on the wire/);
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
