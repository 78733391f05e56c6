import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readStatus } from '../../../src/client/status-document.ts';
import { watchLayout } from '../../../src/cli/station/watch-layout.ts';
import { renderLine } from '../../../src/cli/text.ts';
import { serveAt, socketFolder, stateOf } from '../../client/support.ts';
import { ApiBench } from '../../control/support.ts';
import { Bench, checkError } from '../../support/cli.ts';
import { join } from 'node:path';

const since = '2026-11-26T22:00:00.000Z';
/** 14:03:07 wherever the test runs. */
const NOW = new Date(2026, 10, 26, 14, 3, 7);
const MAC = '50:02:91:c3:37:a5';
const error = { code: 'no-sync', message: 'The board does not answer SYNC', hint: 'Hold BOOT, press RESET' };
const result = {
  id: '2026-11-26T13-58-01Z',
  unchanged: false,
  seconds: 41.3,
  wireBytes: 900 * 1024,
  flashBytesRead: 1,
};
const PORTS = [
  {
    port: '/dev/ttyUSB0',
    state: 'working',
    since,
    mac: MAC,
    chip: 'ESP32',
    phase: 'reading',
    doneBytes: 2642412,
    totalBytes: 4194304,
  },
  { port: '/dev/ttyUSB1', state: 'done', since, mac: '24:0a:c4:00:00:01', chip: 'ESP8266', result },
  { port: '/dev/ttyUSB10', state: 'failed', since, error },
];

function picture(ports: readonly object[], width: number, height: number, isGone = false): string[] {
  const view = readStatus(stateOf('a', 1, { ports }))!;
  const rates = new Map([['/dev/ttyUSB0', 80_000]]);
  return watchLayout({ view, isGone, rates }, { width, height }, NOW).map((line) => renderLine(line, false).trimEnd());
}

test('what somebody has to do stands in full where there is a line for it', () => {
  const hint = 'If this is an ESP board without auto-reset: hold BOOT, press RESET, and try again';
  const failed = { port: '/dev/ttyUSB10', state: 'failed', since, error: { ...error, hint }, retryAt: since };
  const lines = picture([failed, failed], 79, 24);
  assert.equal(lines.length, 9);
  const [, band, one = '', two = '', name] = lines;
  assert.deepEqual([band, name], [' FAILED: The board does not answer SYNC', ' /dev/ttyUSB10']);
  assert.match(`${one}${two}`, /^ Tried again at \S+\. If this is/);
  assert.ok(`${one}${two}`.endsWith(hint.slice(-20)) && one.length <= 79, one);
  const short = picture([failed, failed], 79, 7);
  assert.equal(short.length, 7);
  assert.match(short[2] ?? '', /…$/);
});

test('the screen: marks first, a bar, rate and time left', () => {
  assert.deepEqual(picture(PORTS, 79, 24), [
    'espd watch   1 working, 1 done, 1 failed                               14:03:07',
    ' WORKING 63 %: reading',
    ' [#########################..............] 2.5 MB of 4 MB, 78.1 KB/s, 0:20 left',
    ' /dev/ttyUSB0  50:02:91:c3:37:a5  ESP32',
    '',
    ' DONE: unplug',
    ' backed up as 2026-11-26T13-58-01Z, 41.3 s, 900 KB on the wire',
    ' /dev/ttyUSB1  24:0a:c4:00:00:01  ESP8266',
    '',
    ' FAILED: The board does not answer SYNC',
    ' Hold BOOT, press RESET',
    ' /dev/ttyUSB10',
    '',
  ]);
});

test('a short screen has a line each, a shorter one what is urgent, and a daemon that is gone is said', () => {
  assert.deepEqual(picture(PORTS, 40, 4), [
    'espd watch   1 working, 1 done, 1 failed',
    ' WORKING 63 %: reading  /dev/ttyUSB0  5…',
    ' DONE: unplug  /dev/ttyUSB1  24:0a:c4:0…',
    ' FAILED: The board does not answer SYNC…',
  ]);
  assert.deepEqual(picture(PORTS, 40, 3, true), [
    ' DAEMON IS GONE, waiting for it   14:03…',
    ' FAILED: The board does not answer SYNC…',
    '... 2 more ports: make the window taller',
  ]);
});

test('no screen has more lines or columns than there are', () => {
  const states = fc.constantFrom('idle', 'working', 'done', 'failed', 'held', 'waiting', 'left-alone', 'of-tomorrow');
  const bytes = fc.option(fc.double({ min: -1, max: 2 ** 40, noNaN: true }));
  const port = fc.record({
    ...{ state: states, reason: fc.option(fc.string()), heldBy: fc.option(fc.string()), phase: fc.option(fc.string()) },
    ...{
      doneBytes: bytes,
      totalBytes: bytes,
      error: fc.constantFrom(null, error),
      result: fc.constantFrom(null, result),
    },
  });
  fc.assert(
    fc.property(fc.array(port, { maxLength: 12 }), fc.nat(120), fc.nat(60), fc.boolean(), (ports, w, h, isGone) => {
      const named = ports.map((one, index) => ({ ...one, since, port: `/dev/ttyUSB${index}` }));
      const lines = picture(named, w + 1, h + 1, isGone);
      assert.ok(lines.length <= h + 1);
      for (const line of lines) assert.ok(line.length <= w + 1, line);
    }),
    { numRuns: 300 },
  );
});

test('on a pipe watch writes a line for each event that matters, with --json each event', async (t) => {
  const bench = await Bench.open(t);
  const api = await ApiBench.open(t);
  const env = { ESPD_SOCKET: api.socketPath };
  const device = api.shop.board();
  const plain = new AbortController();
  const running = bench.run(['watch'], {
    env,
    signal: plain.signal,
    onOutput: ({ stdout }) => /DONE/.test(stdout) && plain.abort(),
  });
  const json = new AbortController();
  const events = bench.run(['watch', '--json'], {
    env,
    signal: json.signal,
    onOutput: ({ stdout }) => {
      if (/"type":"state"/.test(stdout) && !api.shop.isPlugged(device)) setImmediate(() => plug());
      if (/"job-ended"/.test(stdout)) json.abort();
    },
  });
  let plugs = 0;
  const plug = () => plugs++ === 0 && api.shop.plug(device);
  const [people, script] = await Promise.all([running, events]);
  assert.deepEqual([people.status, script.status], [0, 0], people.stderr + script.stderr);
  assert.match(people.stdout, new RegExp(`${device.address}  ${device.board.mac}  DONE: backed up as \\S+\\n`));
  const types = script.stdout
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { type: string }).type);
  assert.equal(types[0], 'state');
  assert.ok(types.includes('backup-kept') && types.at(-1) === 'job-ended', types.join(' '));
});

test('at a terminal the screen is taken, drawn without blanks, and given back; a daemon that goes is said', async (t) => {
  const path = join(await socketFolder(t), 'espd.sock');
  let connections = 0;
  await serveAt(t, path, (request, response) => {
    if (request.url === '/v1/status') response.end(JSON.stringify(stateOf('a', 1, { ports: PORTS })));
    else if (++connections === 1) response.end('{"type":"hello","instance":"a","lastSeq":1}\n');
    else response.destroy();
  });
  const bench = await Bench.open(t);
  const abort = new AbortController();
  const { stdout, status } = await bench.run(['watch', '--bell'], {
    ...{ env: { ESPD_SOCKET: path }, tty: true, signal: abort.signal },
    onOutput: (said) => /DAEMON IS GONE/.test(said.stdout) && abort.abort(),
  });
  assert.equal(status, 0);
  assert.ok(stdout.startsWith('\x1b[?1049h\x1b[?25l\x1b[H'));
  assert.ok(stdout.endsWith('\x1b[?25h\x1b[?1049l'));
  assert.doesNotMatch(stdout, /\x1b\[2[JK]/);
  assert.match(stdout, /\x1b\[32m\x1b\[7m DONE: unplug/);
  checkError(await bench.run(['watch'], { env: { ESPD_SOCKET: `${path}.none` }, tty: true }), 'daemon-absent');
});
