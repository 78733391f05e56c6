/** Debian's mosquitto on the loopback, where it is installed, and somebody who listens there. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import mqtt from 'mqtt';
import { until } from '../outbound/support.ts';

/** In Debian it lies in /usr/sbin, which is not in everybody's path. */
const PROGRAM = ['mosquitto', '/usr/sbin/mosquitto'].find((name) => spawnSync(name, ['-h']).error === undefined);

/** For `skip` of a test. */
export const noMosquitto = PROGRAM === undefined ? 'SKIPPED: mosquitto is not installed' : false;
if (noMosquitto !== false) process.stderr.write(`tests with an MQTT broker ${noMosquitto}\n`);

/** Nobody who lets the system choose gets such a port: it is still free when a broker is started there again. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(randomInt(10_000, 30_000), '127.0.0.1');
    const address = await once(server, 'listening').then(
      () => server.address(),
      () => null,
    );
    if (address === null || typeof address === 'string') continue;
    server.close();
    await once(server, 'close');
    return address.port;
  }
}

export interface MosquittoOptions {
  /** Who may connect; null = anybody. */
  readonly user?: { readonly name: string; readonly password: string };
  /** Paths of certificate and key: TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

export class Mosquitto {
  readonly port: number;
  readonly #config: string;
  readonly #isTls: boolean;
  #child: ChildProcess | undefined;

  private constructor(port: number, config: string, isTls: boolean) {
    this.port = port;
    this.#config = config;
    this.#isTls = isTls;
  }

  static async start(t: TestContext, { user, tls }: MosquittoOptions = {}): Promise<Mosquitto> {
    const folder = await mkdtemp(join(tmpdir(), 'espd-mosquitto-'));
    const port = await freePort();
    const lines = [`listener ${port} 127.0.0.1`, 'persistence false', `allow_anonymous ${user === undefined}`];
    // As root it would become another user, who may not read this folder.
    if (process.getuid?.() === 0) lines.push('user root');
    if (user !== undefined) {
      const file = join(folder, 'passwords');
      spawnSync('mosquitto_passwd', ['-b', '-c', file, user.name, user.password]);
      lines.push(`password_file ${file}`);
    }
    if (tls !== undefined) lines.push(`certfile ${tls.certificate}`, `keyfile ${tls.key}`);
    const config = join(folder, 'mosquitto.conf');
    await writeFile(config, `${lines.join('\n')}\n`);
    const broker = new Mosquitto(port, config, tls !== undefined);
    t.after(async () => {
      await broker.stop();
      await rm(folder, { recursive: true, force: true });
    });
    await broker.start();
    return broker;
  }

  get url(): string {
    return `${this.#isTls ? 'mqtts' : 'mqtt'}://127.0.0.1:${this.port}`;
  }

  /** Resolves when it accepts connections. */
  async start(): Promise<void> {
    const child = spawn(PROGRAM ?? '', ['-c', this.#config], { stdio: 'ignore' });
    this.#child = child;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`mosquitto ended with status ${child.exitCode}`);
      const socket = connectTcp(this.port, '127.0.0.1');
      const isUp = await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'error').then(() => false),
      ]).catch(() => false);
      socket.destroy();
      if (isUp) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** It is gone at once, as by a power cut, with all that it kept. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

/** Somebody at the broker: what is retained by topic, as a new subscriber would see it, and what was said. */
export class Listener {
  readonly retained = new Map<string, string>();
  readonly said: string[] = [];
  readonly client: mqtt.MqttClient;

  private constructor(client: mqtt.MqttClient) {
    this.client = client;
    client.on('message', (topic, payload) => {
      this.retained.set(topic, payload.toString());
      this.said.push(`${topic} ${payload.toString()}`);
    });
    client.on('error', () => undefined);
  }

  static async open(t: TestContext, url: string, options: mqtt.IClientOptions = {}): Promise<Listener> {
    const client = mqtt.connect(url, { protocolVersion: 5, reconnectPeriod: 50, ...options });
    const listener = new Listener(client);
    t.after(() => client.end(true));
    await until(() => client.connected);
    await client.subscribeAsync('#', { qos: 1 });
    return listener;
  }

  json(topic: string): Record<string, unknown> {
    return JSON.parse(this.retained.get(topic) ?? '{}') as Record<string, unknown>;
  }
}
