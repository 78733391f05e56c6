/** Against Debian's ser2net, where it is installed: a server that others wrote. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as realSleep } from 'node:timers/promises';
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import type { Link } from '../../src/serial/link.ts';
import { openLink } from '../../src/serial/open-link.ts';
import { describeLinkConformance } from './link-conformance.ts';
import { Inbox } from './peers.ts';
import { noPty, openPty, type Pty } from './pty.ts';

const installed = spawnSync('ser2net', ['-v']).error === undefined;
const skip = noPty !== false ? noPty : installed ? false : 'SKIPPED: ser2net is not installed';
if (skip !== false) process.stderr.write(`ser2net tests ${skip}\n`);

const options = { baudRate: 115_200, clock: systemClock, log: silentLogger };

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

interface Server {
  readonly pty: Pty;
  readonly link: Link;
  /** Whether ser2net has its device open now. */
  hasDevice(): Promise<boolean>;
  stop(): Promise<void>;
}

async function startSer2net(accepter = 'telnet(rfc2217),tcp'): Promise<Server> {
  const pty = openPty();
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'espd-ser2net-'));
  const config = join(folder, 'ser2net.yaml');
  await writeFile(
    config,
    [
      '%YAML 1.1',
      '---',
      'connection: &board',
      `  accepter: ${accepter},127.0.0.1,${port}`,
      `  connector: serialdev,${pty.path},115200n81,local`,
      '',
    ].join('\n'),
  );
  const child = spawn('ser2net', ['-n', '-u', '-c', config], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    child.kill('SIGKILL');
    await ended;
    await pty.vanish();
    await rm(folder, { recursive: true });
  };
  try {
    const link = await openWhenUp(`rfc2217://127.0.0.1:${port}`);
    const hasDevice = async () => {
      const folder = `/proc/${child.pid ?? 0}/fd`;
      const targets = (await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => ''));
      return (await Promise.all(targets)).includes(pty.path);
    };
    return { pty, link, hasDevice, stop: () => (stopped ??= stop()) };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** ser2net needs a moment until it listens. */
async function openWhenUp(address: string): Promise<Link> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openLink(address, options);
    } catch (error) {
      if (attempt === 50 || !hasCode(error, 'port-missing')) throw error;
      await realSleep(50);
    }
  }
}

if (skip === false) {
  describeLinkConformance('RFC 2217 with ser2net on a pty', async () => {
    const server = await startSer2net();
    const inbox = new Inbox();
    server.pty.onData = inbox.push;
    return {
      link: server.link,
      send: (data) => server.pty.send(data),
      received: (sizeBytes) => inbox.take(sizeBytes),
      vanish: () => server.stop(),
      dispose: () => server.stop(),
    };
  });
}

describe('ser2net', { skip }, () => {
  test('gives both capabilities, and refuses a second client as busy', async () => {
    const server = await startSer2net();
    const { link } = server;
    assert.deepEqual(link.capabilities, { controlLines: true, baudRate: true });
    await assert.rejects(openLink(link.address, options), (error) => hasCode(error, 'port-busy'));
    await link.close();
    await server.stop();
  });

  // Why the daemon and the doctor connect to no remote only to see whether it is there.
  test('opens its device for a client that says nothing, and closes it when the client is gone', async () => {
    const server = await startSer2net();
    // A pty whose last user has closed it is gone: it is kept.
    const keeper = openSync(server.pty.path, constants.O_RDWR | constants.O_NOCTTY);
    await server.link.close();
    await until(async () => !(await server.hasDevice()), 'the device is closed');
    const socket = connect(Number(new URL(server.link.address).port), '127.0.0.1');
    await until(() => server.hasDevice(), 'the device is open');
    socket.destroy();
    await until(async () => !(await server.hasDevice()), 'the device is closed again');
    closeSync(keeper);
    await server.stop();
  });

  test('without RFC 2217: a remote of the config is told apart, and its device gets no byte', async () => {
    for (const accepter of ['telnet,tcp', 'tcp']) {
      const server = await startSer2net(accepter);
      const keeper = openSync(server.pty.path, constants.O_RDWR | constants.O_NOCTTY);
      await server.link.close();
      await until(async () => !(await server.hasDevice()), 'the device is closed');
      const got: Buffer[] = [];
      server.pty.onData = (chunk) => got.push(chunk);
      await assert.rejects(
        openLink(server.link.address, { ...options, mustSpeakRfc2217: true }),
        (error) => hasCode(error, 'no-rfc2217'),
        accepter,
      );
      await until(async () => !(await server.hasDevice()), 'the device is closed again');
      // Of a raw server the offers of Telnet are data: there is no way to ask it without them.
      if (accepter !== 'tcp') assert.equal(Buffer.concat(got).length, 0, accepter);
      else assert.ok(Buffer.concat(got).length <= 18, `${Buffer.concat(got).length} bytes`);
      closeSync(keeper);
      await server.stop();
    }
  });
});

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  for (let look = 0; !(await condition()); look++) {
    assert.ok(look < 600, `never: ${what}`);
    await realSleep(50);
  }
}
