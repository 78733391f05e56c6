/** Against a real broker, Debian's mosquitto. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { type MqttConfig, brokerSchema } from '../../../src/config/outbound.ts';
import { EspdError } from '../../../src/errors.ts';
import { systemClock } from '../../../src/clock.ts';
import type { Mac } from '../../../src/mac.ts';
import { BoardBook } from '../../../src/outbound/board-book.ts';
import { ANSWER_LIMIT_MS } from '../../../src/outbound/mqtt/broker.ts';
import { MAX_DEVICES, Mqtt, type MqttParts, PRESS_PAUSE_MS } from '../../../src/outbound/mqtt/mqtt.ts';
import { Listener, Mosquitto, freePort, noMosquitto } from '../../support/mosquitto.ts';
import { collectingLog, failedEvent, keptEvent, macNumber, newBus, until } from '../support.ts';

const REAL = { timeout: 60_000, skip: noMosquitto };
const MAC = macNumber(1);
const STATE = 'espd/000000000001/state';
const DEVICE = 'homeassistant/device/espd/000000000001/config';

function setUp(t: TestContext, changes: Partial<MqttParts> = {}) {
  const { bus, clock } = newBus();
  const { lines, log } = collectingLog();
  const pressed: Mac[] = [];
  const mqtt = new Mqtt({
    ...{ clock, log, env: { PASSWORD: 'geheim und öffentlich' }, version: '1.2.3', instance: 'abc', random: () => 1 },
    requestBackup: (mac) => pressed.push(mac),
    ...changes,
  });
  const book = new BoardBook(mqtt.onBoard);
  bus.subscribe(book.onEvent);
  t.after(() => mqtt.stop());
  const warnings = () => lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['reason']);
  return { bus, clock, lines, mqtt, pressed, warnings };
}

const config = (url: string, changes: object = {}): MqttConfig => brokerSchema.parse({ url, ...changes });

describe('boards in Home Assistant', () => {
  it('have a device and a state, both retained, and go offline in order', REAL, async (t) => {
    const broker = await Mosquitto.start(t);
    const { bus, mqtt } = setUp(t);
    assert.equal(mqtt.isConnected, undefined);
    bus.emit(keptEvent());
    mqtt.apply(config(broker.url));
    await until(() => mqtt.isConnected === true);
    bus.emit(keptEvent({ mac: macNumber(2) }));
    const listener = await Listener.open(t, broker.url);
    await until(() => listener.retained.size === 5);
    assert.equal(listener.retained.get('espd/status'), 'online');
    assert.deepEqual(listener.json(STATE), {
      last_backup: '2026-11-23T10:00:00.000Z',
      firmware: 'tasmota 14.3.0',
      problem: 'OFF',
      why: {},
      answer: null,
    });
    const { device, components } = listener.json(DEVICE) as { device: object; components: Record<string, object> };
    assert.deepEqual(device, {
      identifiers: ['espd_000000000001'],
      name: 'ESP32-C3 00:00:00:00:00:01',
      manufacturer: 'Espressif',
      serial_number: MAC,
      model: 'ESP32-C3',
      sw_version: 'tasmota 14.3.0',
    });
    assert.deepEqual(Object.keys(components), ['last_backup', 'firmware', 'problem', 'backup', 'answer']);
    const named = () => (listener.json(DEVICE) as { device: { name: string } }).device.name;
    bus.emit({ type: 'board-described', mac: MAC, label: 'kitchen', note: null, group: null });
    await until(() => named() === 'kitchen');
    bus.emit({ type: 'board-described', mac: MAC, label: null, note: null, group: null });
    await until(() => named() === 'ESP32-C3 00:00:00:00:00:01');
    bus.emit(failedEvent());
    await until(() => listener.json(STATE)['problem'] === 'ON');
    assert.deepEqual(listener.json(STATE)['why'], {
      code: 'read-failed',
      message: 'A region could not be read',
      hint: '',
    });
    await mqtt.stop();
    await until(() => listener.retained.get('espd/status') === 'offline');
    assert.equal(listener.said.filter((line) => line === 'espd/status offline').length, 1, 'in order, so no will');
  });

  it('are unavailable when the daemon dies without a word', REAL, async (t) => {
    const broker = await Mosquitto.start(t);
    const listener = await Listener.open(t, broker.url);
    const script =
      `import('./src/outbound/mqtt/broker.ts').then(async (m) => { await m.BrokerConnection.open(await m.loadMqtt(), ` +
      `{ url: ${JSON.stringify(broker.url)}, clientId: 'x', username: null, password: null, ca: null, ` +
      `will: { topic: 'espd/status', payload: 'offline' } }, ` +
      `{ clock: (await import('./src/clock.ts')).systemClock, signal: new AbortController().signal, onMessage() {} }); ` +
      `process.kill(process.pid, 'SIGKILL'); })`;
    const root = join(import.meta.dirname, '..', '..', '..');
    const { signal, stderr } = spawnSync(process.execPath, ['--import', './scripts/tsx.mjs', '-e', script], {
      cwd: root,
    });
    assert.equal(signal, 'SIGKILL', stderr.toString());
    await until(() => listener.retained.get('espd/status') === 'offline');
  });

  it('come back by themselves when the broker was restarted and has forgotten all', REAL, async (t) => {
    const broker = await Mosquitto.start(t);
    const { bus, clock, mqtt, warnings } = setUp(t);
    bus.emit(keptEvent());
    mqtt.apply(config(broker.url));
    await until(() => mqtt.isConnected === true);
    // A message that is under way when the broker dies is waited for by the clock.
    const witness = await Listener.open(t, broker.url);
    await until(() => witness.retained.has(STATE));
    await broker.stop();
    await until(() => warnings().length === 1);
    assert.equal(mqtt.isConnected, false);
    // What happens meanwhile is not queued: the newest state is what counts.
    for (let n = 0; n < 100; n++) bus.emit(failedEvent());
    await until(() => clock.pendingTimers === 1);
    await clock.advance(2000);
    await until(() => warnings().length === 2 && clock.pendingTimers === 1);
    assert.deepEqual(warnings()[1], 'the broker cannot be reached (ECONNREFUSED)');
    await clock.advance(3999);
    assert.equal(clock.pendingTimers, 1, 'the second wait is twice as long');
    await broker.start();
    const listener = await Listener.open(t, broker.url);
    await clock.advance(1);
    await until(() => listener.json(STATE)['problem'] === 'ON' && listener.retained.has(DEVICE));
    assert.equal(listener.retained.get('espd/status'), 'online');
    const states = listener.said.filter((line) => line.startsWith(STATE));
    assert.equal(states.length, 1);
  });

  it('need the right user and password, from a file that others cannot read', REAL, async (t) => {
    const broker = await Mosquitto.start(t, { user: { name: 'espd', password: 'geheim und öffentlich' } });
    const folder = await mkdtemp(join(tmpdir(), 'espd-mqtt-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'password');
    await writeFile(file, 'falsch\n', { mode: 0o600 });
    const { clock, lines, mqtt, warnings } = setUp(t);
    mqtt.apply(config(broker.url, { username: 'espd', password: { file } }));
    await until(() => warnings().length === 1 && clock.pendingTimers === 1);
    assert.match(String(warnings()[0]), /^the broker refuses this user, password or topic \(13[45]\)$/);
    await clock.advance(2000);
    await until(() => lines.length === 2 && clock.pendingTimers === 1);
    assert.equal(lines[1]!.level, 'debug', 'the same reason is said once');
    await writeFile(file, 'geheim und öffentlich\n');
    await chmod(file, 0o644);
    await clock.advance(4000);
    await until(() => warnings().length === 2 && clock.pendingTimers === 1);
    assert.match(String(warnings()[1]), /may be read or written by everybody/);
    await chmod(file, 0o640);
    await clock.advance(8000);
    await until(() => mqtt.isConnected === true);
    mqtt.apply(config(broker.url, { username: 'espd', password: { env: 'PASSWORD' } }));
    await until(() => lines.filter(({ level }) => level === 'info').length === 2);
    assert.ok(!JSON.stringify(lines).includes('geheim') && !JSON.stringify(lines).includes('falsch'));
  });

  it('are told over TLS only to a broker whose certificate is trusted', REAL, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'espd-mqtt-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const tls = { certificate: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
    const made = spawnSync('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=broker'],
      ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', tls.key, '-out', tls.certificate],
    ]);
    if (made.error !== undefined) {
      t.skip('SKIPPED: openssl is not installed');
      return;
    }
    const broker = await Mosquitto.start(t, { tls });
    const { clock, mqtt, warnings } = setUp(t);
    mqtt.apply(config(broker.url));
    await until(() => warnings().length === 1 && clock.pendingTimers === 1);
    assert.equal(warnings()[0], 'the certificate of the broker is not trusted (DEPTH_ZERO_SELF_SIGNED_CERT)');
    mqtt.apply(config(broker.url, { ca: join(folder, 'none.pem') }));
    await until(() => warnings().length === 2);
    assert.equal(warnings()[1], 'the file of mqtt.ca cannot be read (ENOENT)');
    mqtt.apply(config(broker.url, { ca: tls.certificate }));
    await until(() => mqtt.isConnected === true);
  });
});

describe('the button', () => {
  const press = (
    listener: Listener,
    topic = 'espd/000000000001/backup',
    payload: string | Buffer = 'PRESS',
    retain = false,
  ) => listener.client.publishAsync(topic, payload, { qos: 1, retain });

  it('asks for a backup, and the answer is told', REAL, async (t) => {
    const broker = await Mosquitto.start(t);
    const { bus, clock, mqtt, pressed } = setUp(t);
    bus.emit(keptEvent());
    const listener = await Listener.open(t, broker.url);
    mqtt.apply(config(broker.url));
    await until(() => listener.retained.has(STATE));
    await press(listener);
    await until(() => listener.json(STATE)['answer'] === 'Job 1');
    assert.deepEqual(pressed, [MAC]);
    await press(listener);
    await clock.advance(PRESS_PAUSE_MS);
    await press(listener);
    await until(() => listener.json(STATE)['answer'] === 'Job 2');
    assert.equal(pressed.length, 2, 'a press right after another is none');
  });

  it('tells why there is no backup', REAL, async (t) => {
    const broker = await Mosquitto.start(t);
    const { bus, mqtt } = setUp(t, {
      requestBackup: () => {
        throw new EspdError('board-not-found', 'The board is not plugged in\x1b[2J');
      },
    });
    bus.emit(keptEvent());
    const listener = await Listener.open(t, broker.url);
    mqtt.apply(config(broker.url));
    await until(() => listener.retained.has(STATE));
    await press(listener);
    await until(() => listener.json(STATE)['answer'] === 'The board is not plugged in\\u{1b}[2J');
  });

  it('is pressed by nothing else: other texts, other boards, and presses that the broker keeps', REAL, async (t) => {
    const broker = await Mosquitto.start(t);
    const { bus, mqtt, pressed } = setUp(t);
    bus.emit(keptEvent());
    const listener = await Listener.open(t, broker.url);
    await press(listener, undefined, 'PRESS', true);
    mqtt.apply(config(broker.url));
    await until(() => listener.retained.has(STATE));
    for (const topic of ['espd/000000000009/backup', 'espd/x/backup', 'espd//backup', 'espd/00000000000A/backup']) {
      await press(listener, topic);
    }
    for (const payload of ['', 'press', 'PRESS\n', Buffer.alloc(60_000, 0xff)])
      await press(listener, undefined, payload);
    // The broker delivers in order: when this one has come, the others have.
    await press(listener);
    await until(() => pressed.length === 1);
    mqtt.apply(config(broker.url, { button: false }));
    await until(() => listener.said.filter((line) => line === 'espd/status online').length === 2);
    await until(() => !(listener.retained.get(DEVICE) ?? '').includes('command_topic'));
    await press(listener);
    assert.equal(pressed.length, 1);
  });
});

describe('MQTT without a broker that works', () => {
  it('gives up a broker that never answers, and tries again', { timeout: 60_000 }, async (t) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { clock, mqtt, warnings } = setUp(t);
    const address = server.address();
    mqtt.apply(config(`mqtt://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`));
    await until(() => sockets.length === 1);
    await clock.advance(ANSWER_LIMIT_MS);
    await until(() => warnings().length === 1 && clock.pendingTimers === 1);
    assert.equal(warnings()[0], 'the broker has not answered within 15 s');
    await clock.advance(2000);
    await until(() => sockets.length === 2);
    // It is stopped in the middle of a try.
    await mqtt.stop();
    assert.equal(mqtt.isConnected, false);
  });

  it('gives up one that speaks something else', { timeout: 60_000 }, async (t) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end(Buffer.alloc(4096, 0x48));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => server.close());
    const { mqtt, warnings } = setUp(t);
    const address = server.address();
    mqtt.apply(config(`mqtt://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`));
    await until(() => warnings().length === 1);
  });

  it('says what is missing where the package is not there, and does not try again', { timeout: 60_000 }, async (t) => {
    const { clock, lines, mqtt } = setUp(t, { load: () => Promise.reject(new Error('Cannot find package')) });
    mqtt.apply(config(`mqtt://127.0.0.1:${await freePort()}`));
    await until(() => lines.length === 1);
    assert.equal(lines[0]!.level, 'error');
    assert.match(lines[0]!.message, /The package mqtt cannot be loaded/);
    assert.deepEqual(lines[0]!.fields['code'], 'mqtt-missing');
    assert.equal(clock.pendingTimers, 0);
  });

  it('loads nothing where none is configured, however many boards there are', async (t) => {
    const { bus, clock, lines, mqtt } = setUp(t, { load: () => assert.fail('not wanted'), clock: systemClock });
    mqtt.apply(null);
    for (let n = 0; n < MAX_DEVICES + 10; n++) bus.emit(keptEvent({ mac: macNumber(n) }));
    await mqtt.stop();
    assert.deepEqual([lines.length, clock.pendingTimers], [0, 0]);
  });
});
