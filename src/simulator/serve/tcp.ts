/** A board behind a raw TCP port, as ser2net's `raw` and esp-link offer it: bytes only, no lines, no baud rate. */

import type { BoardPort } from '../port.ts';
import type { ServedBoard } from './served.ts';
import type { SocketServeOptions } from './socket-server.ts';
import { serveSocket } from './socket-server.ts';

export interface TcpServeOptions extends SocketServeOptions {
  /** The rate that the far end's serial port is fixed to, in baud. Default 115200. */
  readonly baudRate?: number;
}

/** Serves `board` at `socket://127.0.0.1:PORT`; see {@link serveSocket} for what happens to clients. */
export async function serveTcp(board: BoardPort, options: TcpServeOptions = {}): Promise<ServedBoard> {
  board.setBaudRate(options.baudRate ?? 115_200);
  return serveSocket(board, 'socket', options, (outbox) => ({
    start: () => undefined,
    receive: (bytes) => board.receive(bytes),
    transmit: (bytes) => outbox.sendData(bytes),
    end: () => undefined,
  }));
}
