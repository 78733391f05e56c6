/** Where requests for the API go: over the daemon's unix socket, with the rights of whoever runs this process. */

import { type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse, request as ask } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { absent, busy, denied, gone, silent } from '../client/daemon-errors.ts';
import type { EspdError } from '../errors.ts';
import { systemCode } from '../errors.ts';
import { HttpError } from '../control/problem.ts';

/**
 * Answers a request of the API whose sender has been checked. What it rejects with is for the client, if nothing has
 * been sent yet.
 */
export type Backend = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** What of a request matters to the API; cookies and the like stay here. */
const REQUEST_HEADERS = [
  ...['accept', 'content-type', 'content-length', 'range', 'if-range', 'if-none-match', 'last-event-id'],
];
const RESPONSE_HEADERS = [
  ...['content-type', 'content-length', 'content-range', 'content-disposition', 'accept-ranges'],
  ...['etag', 'location', 'allow', 'retry-after', 'cache-control'],
];
/** As the API's own limit: the body is refused before all of it has come. */
const MAX_BODY_BYTES = 64 * 1024;

/**
 * Nothing is kept back: what comes is handed on piece by piece, as fast as the slower side takes it.
 * @param path of the daemon's socket
 */
export function socketBackend(path: string): Backend {
  return async (request, response) => {
    if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLong();
    const answer = await open(path, request, response);
    response.writeHead(answer.statusCode ?? 502, picked(answer.headers, RESPONSE_HEADERS));
    response.flushHeaders();
    // A client that has gone, or a daemon that ends in the middle: each side is closed with the other.
    await pipeline(answer, response).catch(() => undefined);
  };
}

function open(path: string, request: IncomingMessage, response: ServerResponse): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asking = ask({
      socketPath: path,
      path: request.url ?? '/',
      method: request.method ?? 'GET',
      headers: { ...picked(request.headers, REQUEST_HEADERS), host: 'espd' },
    });
    asking.once('error', (error) => reject(relayError(path, error)));
    asking.once('response', (answer) => {
      // Later faults are those of the answer.
      asking.on('error', () => undefined);
      resolve(answer);
    });
    response.once('close', () => asking.destroy());
    let sizeBytes = 0;
    request.on('data', (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes <= MAX_BODY_BYTES) {
        asking.write(chunk);
        return;
      }
      request.pause();
      reject(tooLong());
      asking.destroy();
    });
    request.once('end', () => asking.end());
    request.once('error', () => asking.destroy());
  });
}

function picked(headers: NodeJS.Dict<string | string[]>, names: readonly string[]): OutgoingHttpHeaders {
  return Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]]])));
}

function tooLong(): HttpError {
  return new HttpError(413, `The body is longer than ${MAX_BODY_BYTES} bytes`);
}

/** What keeps the daemon from answering, as every command tells it. */
function relayError(path: string, error: Error): EspdError {
  switch (systemCode(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return absent(path, error);
    case 'EACCES':
    case 'EPERM':
      return denied(path, error);
    case 'EAGAIN':
      return busy(error);
    case 'ETIMEDOUT':
      return silent(path);
    default:
      return gone(path, error);
  }
}
