/** A daemon's socket with nothing behind it but sessions: each command is done by a real process. */

import { mkdtemp, rm } from 'node:fs/promises';
import { type Server, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/clock.ts';
import type { PortKeeper, PortRelease } from '../../src/control/command-process.ts';
import { Sessions, type SessionsOptions } from '../../src/control/session.ts';
import type { Logger } from '../../src/log.ts';
import type { Bench } from './cli.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** As it is built: a process that compiles first would take most of the time of these tests. */
const MAIN = join(ROOT, 'dist', 'main.js');

export interface PortEvent {
  readonly what: 'take' | 'closed' | 'lost';
  readonly address: string;
  readonly command: string;
  readonly now: boolean;
}

export interface RelayServer {
  readonly socketPath: string;
  readonly sessions: Sessions;
  readonly server: Server;
  /** What happened to ports, in order. */
  readonly ports: PortEvent[];
  /** What the daemon logged. */
  readonly logged: string[];
  /** Environment of a person who has that socket, and the bench's config. */
  readonly env: NodeJS.ProcessEnv;
}

export interface RelayServerOptions extends Partial<Omit<SessionsOptions, 'command'>> {
  /** What keeps ports, in the place of one that gives each at once. */
  readonly take?: PortKeeper['take'];
  readonly command?: readonly string[];
  /** Mode of the folder that the socket is in. */
  readonly env?: NodeJS.ProcessEnv;
}

export async function startRelayServer(
  t: TestContext,
  bench: Bench,
  options: RelayServerOptions = {},
): Promise<RelayServer> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-relay-'));
  const socketPath = join(folder, 'espd.sock');
  const ports: PortEvent[] = [];
  const logged: string[] = [];
  const { take = () => Promise.resolve(() => undefined), command, env = {}, ...others } = options;
  const keeper: PortKeeper = {
    take: async (address, purpose, signal, onWait) => {
      const inner: PortRelease = await take(address, purpose, signal, onWait);
      ports.push({ what: 'take', address, ...purpose });
      return (how) => {
        ports.push({ what: how, address, ...purpose });
        inner(how);
      };
    },
  };
  const sessions = new Sessions({
    command: {
      file: process.execPath,
      args: command ?? [MAIN, 'relay', '--config', bench.configPath],
      env: {
        PATH: process.env['PATH'],
        TMPDIR: process.env['TMPDIR'],
        HOME: bench.folder,
        NODE_NO_WARNINGS: '1',
        ...env,
      },
    },
    archivePath: bench.archivePath,
    ports: keeper,
    clock: systemClock,
    log: logInto(logged),
    ...others,
  });
  const server = createServer((_, response) => response.writeHead(404).end());
  server.on('upgrade', (request, socket, head) => void sessions.serve(socket, head, request.headers.upgrade));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  t.after(async () => {
    await sessions.close();
    server.close();
    server.closeAllConnections();
    await rm(folder, { recursive: true, force: true });
  });
  return {
    ...{ socketPath, sessions, server, ports, logged },
    env: { ESPD_SOCKET: socketPath, ESPD_NO_DAEMON: undefined },
  };
}

function logInto(lines: string[]): Logger {
  const line = (message: string, fields?: object) => void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const log: Logger = { error: line, warn: line, info: line, debug: line, child: () => log };
  return log;
}
