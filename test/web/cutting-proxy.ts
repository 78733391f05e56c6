/** A proxy between a browser and the page, as bad as a network can be: it cuts what comes down wherever it likes. */

import { type Server, type Socket, connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';

export interface CuttingProxy {
  readonly url: string;
  /** How often it has cut a connection. */
  readonly cuts: () => number;
  /** From now on each connection is cut after so many bytes of what comes down; null = it is left alone. */
  cutAfter(bytes: number | null): void;
  close(): Promise<void>;
}

/** @param port of the page at this machine */
export async function cuttingProxy(port: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let limit: number | null = null;
  let cuts = 0;
  const server: Server = createServer((down) => {
    const up = connect(port, '127.0.0.1');
    for (const socket of [down, up]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        sockets.delete(socket);
        down.destroy();
        up.destroy();
      });
    }
    down.pipe(up);
    let left: number | undefined;
    up.on('data', (chunk: Buffer) => {
      if (limit === null) {
        down.write(chunk);
        return;
      }
      left = (left ?? limit) - chunk.length;
      down.write(left < 0 ? chunk.subarray(0, chunk.length + left) : chunk, () => {
        if ((left ?? 0) >= 0 || down.destroyed) return;
        cuts++;
        down.destroy();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    cuts: () => cuts,
    cutAfter: (bytes) => (limit = bytes),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
