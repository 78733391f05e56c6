/** A board behind a TCP port of this machine, one client at a time: what raw TCP and RFC 2217 share. */

import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { BoardPort } from '../port.ts';
import { Outbox } from './outbox.ts';
import type { ServedBoard, ServeOptions } from './served.ts';
import { DEFAULT_QUEUE_LIMIT_BYTES, Plug } from './served.ts';

export interface SocketServeOptions extends ServeOptions {
  /** TCP port on 127.0.0.1; 0 (the default) takes a free one. */
  readonly tcpPort?: number;
}

/** One client's conversation. */
export interface Session {
  /** Called first, when the board's bytes already reach {@link Session.transmit}. */
  start(): void;
  /** Bytes from the client, one call for what arrived at once. */
  receive(bytes: Buffer): void;
  /** Bytes from the board. */
  transmit(bytes: Buffer): void;
  /** The client is gone or dropped; called once. */
  end(): void;
}

/**
 * Serves `board` on 127.0.0.1. As ser2net does, a second client is accepted and closed at once, and so is any client
 * while the board is unplugged: the TCP port stays ours, so that {@link ServedBoard.plug} finds it free.
 * What the board sends while no client is there is lost.
 *
 * @param openSession makes the conversation of each client that is let in
 */
export async function serveSocket(
  board: BoardPort,
  scheme: string,
  options: SocketServeOptions & { readonly oneByteSegments?: boolean },
  openSession: (outbox: Outbox) => Session,
): Promise<ServedBoard> {
  let client: { readonly leave: () => void } | undefined;
  let droppedBytes = 0;

  const letIn = (socket: Socket) => {
    const outbox = new Outbox(socket, {
      limitBytes: options.queueLimitBytes ?? DEFAULT_QUEUE_LIMIT_BYTES,
      oneByteSegments: options.oneByteSegments ?? false,
      onDropped: (bytes) => (droppedBytes += bytes),
    });
    const session = openSession(outbox);
    const self = {
      leave: () => {
        if (client !== self) return;
        client = undefined;
        board.onTransmit = undefined;
        socket.destroy();
        session.end();
      },
    };
    client = self;
    board.onTransmit = (bytes) => session.transmit(bytes);
    socket.on('data', (bytes) => {
      if (client === self) session.receive(bytes);
    });
    // At `end`, not only at `close`: a host that closes and opens again at once must find the place free.
    socket.once('end', self.leave);
    socket.once('close', self.leave);
    socket.resume();
    session.start();
  };

  const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
    // A reset by the client is a way of leaving like any other; `close` follows.
    socket.on('error', () => undefined);
    const decide = () => {
      if (client !== undefined || !plug.isIn) socket.destroy();
      else if (!socket.destroyed) letIn(socket);
    };
    // The end of the client before may be waiting in the same turn of the event loop, behind this connection.
    if (client === undefined) decide();
    else setImmediate(() => setImmediate(decide));
  });
  server.listen(options.tcpPort ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const plug = new Plug(
    board,
    options,
    () => client?.leave(),
    () => undefined,
  );
  let closed: Promise<void> | undefined;

  return {
    address: `${scheme}://127.0.0.1:${port}`,
    get droppedBytes() {
      return droppedBytes;
    },
    unplug: () => plug.out(),
    plug: () => {
      if (closed === undefined) plug.in();
    },
    close() {
      closed ??= new Promise((resolve) => {
        plug.end();
        server.close(() => resolve());
      });
      return closed;
    },
  };
}
