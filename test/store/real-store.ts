/** Real servers with the S3 interface for tests, from Debian: Ceph's radosgw, and OpenStack's Swift. */

import { spawn } from 'node:child_process';
import { accessSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

interface Kind {
  /** Beside this file; its arguments are a folder and the first of its ports. */
  readonly script: string;
  readonly ports: number;
  readonly programs: readonly string[];
  readonly packages: string;
}

const CEPH: Kind = {
  script: 'ceph.sh',
  ports: 2,
  programs: ['ceph-mon', 'ceph-mgr', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph', 'monmaptool'],
  packages: 'ceph-mon ceph-mgr ceph-osd radosgw ceph-common',
};

const SWIFT: Kind = {
  script: 'swift.sh',
  ports: 5,
  programs: [...['proxy', 'account', 'container', 'object'].map((kind) => `swift-${kind}-server`), 'memcached'],
  packages: 'swift-proxy swift-account swift-container swift-object memcached',
};

/** Why it cannot be started here; undefined where it can. */
export const whyNoRealStore = () => whyNot(CEPH);
export const whyNoSwift = () => whyNot(SWIFT);

function whyNot({ programs, packages }: Kind): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const has = (name: string) =>
    folders.some((folder) => {
      try {
        accessSync(join(folder, name));
        return true;
      } catch {
        return false;
      }
    });
  const missing = programs.filter((name) => !has(name));
  return missing.length === 0 ? undefined : `SKIPPED: no ${missing.join(', ')} (apt-get install ${packages})`;
}

/** Below the ports that the system hands out by itself: another test may be given one of those at any moment. */
const PORTS = { from: 20_000, to: 32_000 };

/** The first of so many ports beside each other that nobody has. */
async function freePorts(count: number): Promise<number> {
  const isFree = (port: number) =>
    new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    const free = await Promise.all(Array.from({ length: count }, (_, index) => isFree(port + index)));
    if (free.every(Boolean)) return port;
  }
}

export interface RealStore {
  readonly endpoint: string;
  stop(): Promise<void>;
}

/** Longer than it takes on a machine under load; whoever took its ports in between keeps it waiting for ever. */
const START_LIMIT_MS = 90_000;

/** Users: writer, reader, small (a quota of 1 MiB), each with the secret `NAME-secret`. */
export const startRealStore = () => start(CEPH, 2);

/** One user: `espd:writer`, with the secret `writer-secret`. */
export const startSwift = () => start(SWIFT, 2);

async function start(kind: Kind, tries: number): Promise<RealStore> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-store-'));
  const port = await freePorts(kind.ports);
  // A group of its own, so that what waits inside it can be ended.
  const child = spawn('bash', [join(import.meta.dirname, kind.script), folder, String(port)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    child.stdin.end();
    await ended;
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  const limit = setTimeout(() => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
  }, START_LIMIT_MS);
  const isReady = await Promise.race([
    new Promise<boolean>((resolve) => child.stdout.once('data', () => resolve(true))),
    ended.then(() => false),
  ]);
  clearTimeout(limit);
  if (isReady) return { endpoint: `http://127.0.0.1:${port}`, stop };
  const log = await readFile(join(folder, 'log', 'start.log'), 'utf8').catch(() => '');
  await stop();
  if (tries > 1) return start(kind, tries - 1);
  throw new Error(`${kind.script} did not start:\n${log.slice(-2000)}`);
}
