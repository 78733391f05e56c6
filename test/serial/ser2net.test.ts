/** Against Debian's ser2net, where it is installed: a server that others wrote. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
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
  stop(): Promise<void>;
}

async function startSer2net(): Promise<Server> {
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
      `  accepter: telnet(rfc2217),tcp,127.0.0.1,${port}`,
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
    return { pty, link, stop: () => (stopped ??= stop()) };
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
});
