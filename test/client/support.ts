/** What answers at a socket and is no daemon, or one that the test steers. */

import { mkdtemp, rm } from 'node:fs/promises';
import { type RequestListener, type Server, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export async function socketFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-client-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function serveAt(t: TestContext, path: string, listener: RequestListener): Promise<Server> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

export function stateOf(instance: string, lastSeq: number, others: object = {}): object {
  return {
    ...{ version: '9.9.9', instance, lastSeq, now: '2026-11-26T22:00:00.000Z', archive: '/var/lib/espd' },
    ...{ startedAt: null, isStopping: false, ports: [], jobs: [], attention: [] },
    counters: { backups: 0, unchanged: 0, failures: 0 },
    ...others,
  };
}
