/** The daemon's ear: the API on its unix socket, and the sessions of commands that people have it do. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from '../log.ts';
import { type ApiParts, apiRoutes } from './api.ts';
import { ApiServer } from './server.ts';
import { listenAt } from './socket-file.ts';

/** Serves people's commands: {@link Sessions} of session.ts. */
export interface SessionServer {
  serve(socket: Duplex, head: Buffer, protocol: string | undefined): Promise<void>;
  close(): Promise<void>;
}

export interface ControlParts extends ApiParts {
  readonly log: Logger;
  /** Path of the unix socket. */
  readonly socketPath: string;
  readonly sessions: SessionServer;
}

export interface Control {
  /** Answers a request of the API that came by another way than the socket; its sender has been checked. Never rejects. */
  serve(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Commands that run are ended as Ctrl-C does, clients are sent away, the socket is gone. Never rejects. */
  close(): Promise<void>;
}

/** @throws EspdError `daemon-running`, `socket-failed` */
export async function openControl(parts: ControlParts): Promise<Control> {
  const { commands, log, readings, sessions, socketPath } = parts;
  const api = new ApiServer({
    ...{ log, routes: apiRoutes(parts) },
    onUpgrade: (socket, head, protocol) => sessions.serve(socket, head, protocol),
  });
  const remove = await listenAt(api.server, socketPath);
  api.server.on('error', (error) => log.error('The API has a fault', { reason: error.message }));
  log.debug('Can be asked', { socket: socketPath });
  return {
    serve: (request, response) => api.serve(request, response),
    close: async () => {
      // The socket is gone first: whoever comes now does without a daemon.
      await remove().catch(() => undefined);
      await Promise.allSettled([sessions.close(), commands.close(), readings.close()]);
      await api.close();
    },
  };
}
