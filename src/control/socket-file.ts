/** The unix socket's place in the file system: one that nobody listens at is left over and is replaced, no other is. */

import { chmod, lstat, mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Server } from 'node:http';
import { dirname } from 'node:path';
import { EspdError, systemCode } from '../errors.ts';

/** Of the user and group of the daemon: whoever can connect may do all that the API can. */
const SOCKET_MODE = 0o660;
/** Whoever listens accepts at once: the kernel does it. */
const PROBE_MS = 2000;

/**
 * Listens at `path`.
 * @returns removes the socket; to be called when the server is closed
 * @throws EspdError `daemon-running` where somebody listens there, `socket-failed`
 */
export async function listenAt(server: Server, path: string): Promise<() => Promise<void>> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    await removeLeftOver(path);
    await listen(server, path);
    await chmod(path, SOCKET_MODE);
    const { ino } = await lstat(path);
    return async () => {
      // Another daemon may have its own there by now.
      const there = await lstat(path).catch(() => undefined);
      if (there?.ino === ino) await rm(path, { force: true });
    };
  } catch (error) {
    if (error instanceof EspdError) throw error;
    const code = systemCode(error) ?? String(error);
    throw new EspdError('socket-failed', `The socket ${path} cannot be made: ${code}`, {
      cause: error,
      hint: 'Is its folder there, and may the daemon write to it? "api.socket" of the config names another place',
    });
  }
}

async function removeLeftOver(path: string): Promise<void> {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new EspdError('socket-failed', `${path} is there, and is no socket`, {
      hint: 'Move it away, or name another place by "api.socket" of the config',
    });
  }
  if (await isListening(path)) {
    throw new EspdError('daemon-running', `Another espd daemon listens at ${path}`, {
      hint: 'Stop it first, or give this one another socket by "api.socket" of the config',
    });
  }
  await rm(path, { force: true });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (value: boolean) => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(PROBE_MS, () => end(true));
    socket.once('connect', () => end(true));
    // EAGAIN: its queue is full, so somebody is there. EACCES: nobody of ours.
    socket.once('error', (error) => end(!['ECONNREFUSED', 'ENOENT'].includes(systemCode(error) ?? '')));
  });
}

/** Nobody may connect before the mode is set: the socket is made with none for others (umask applies, unix(7)). */
function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const before = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}
