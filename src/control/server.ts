/** The API's server: HTTP on a unix socket. Everything that comes in is bounded: bodies, headers, connections, time. */

import { type IncomingMessage, Server, type ServerResponse, createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { EspdError, toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { VERSION } from '../version.ts';
import { contentFor } from './compression.ts';
import { HttpError, PROBLEM_TYPE, problemOf } from './problem.ts';
import { type Route, matchRoute } from './router.ts';

/** What a handler gets. */
export interface ApiRequest {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted when the client has gone, or the server closes. */
  readonly signal: AbortSignal;
  /** The body as JSON; undefined where there is none. @throws HttpError 400, 413 or 415 */
  readonly body: () => Promise<unknown>;
}

/** What is sent back: a document in JSON, or its text where it is made for many who ask. */
export type ApiAnswer = { readonly status: number; readonly headers?: Readonly<Record<string, string>> } & (
  { readonly document: unknown } | { readonly text: string }
);

/** Undefined: it has answered by itself. */
export type ApiHandler = (request: ApiRequest) => Promise<ApiAnswer | undefined>;

export interface ApiServerParts {
  readonly routes: readonly Route<ApiHandler>[];
  readonly log: Logger;
  /** Serves a connection that asks for another protocol; never rejects. */
  readonly onUpgrade: (socket: Duplex, head: Buffer, protocol: string | undefined) => Promise<void>;
}

const MAX_BODY_BYTES = 64 * 1024;
const MAX_URL_CHARACTERS = 8192;
const MAX_CONNECTIONS = 1024;
/** Until the headers, and until the whole request, have come. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;

export class ApiServer {
  readonly #parts: ApiServerParts;
  readonly #closing = new AbortController();
  readonly #upgraded = new Set<Duplex>();
  readonly server: Server;

  constructor(parts: ApiServerParts) {
    this.#parts = parts;
    this.server = createServer(
      { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, maxHeaderSize: 16 * 1024, keepAliveTimeout: 5000 },
      (request, response) => void this.serve(request, response),
    );
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#upgraded.add(socket);
      socket.once('close', () => this.#upgraded.delete(socket));
      void parts.onUpgrade(socket, head, request.headers.upgrade);
    });
    this.server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      else socket.destroy();
    });
  }

  /** Takes no more, and ends what is open. */
  close(): Promise<void> {
    this.#closing.abort(new EspdError('interrupted', 'The daemon is stopping'));
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
    this.server.closeAllConnections();
    for (const socket of this.#upgraded) socket.destroy();
    return closed;
  }

  /** Never rejects. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new EspdError('interrupted', 'The client has gone')));
    // A client that vanishes is no news.
    response.on('error', () => undefined);
    response.setHeader('Server', `espd/${VERSION}`);
    response.setHeader('Cache-Control', 'no-store');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    const signal = AbortSignal.any([gone.signal, this.#closing.signal]);
    try {
      const { url = '/', method = 'GET' } = request;
      if (url.length > MAX_URL_CHARACTERS) throw new HttpError(414, 'The path is too long');
      const [path = '/', query = ''] = url.split(/\?(.*)/s);
      const { value: handler, params } = matchRoute(this.#parts.routes, method, path);
      const body = () => readBody(request);
      const answer = await handler({
        ...{ params, query: new URLSearchParams(query), request, response, signal, body },
      });
      if (answer !== undefined) {
        const text = 'text' in answer ? answer.text : textOf(answer.document);
        const { bytes, headers } = await contentFor(request.headers['accept-encoding'], text, answer.headers);
        send(response, answer.status, 'application/json', bytes, headers);
      }
    } catch (error) {
      this.#fail(request, response, signal.aborted ? toEspdError(signal.reason) : toEspdError(error));
    }
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: EspdError): void {
    if (error.code === 'internal') {
      const stack = error.cause instanceof Error ? error.cause.stack : undefined;
      this.#parts.log.error('A request of the API failed', { path: request.url?.slice(0, 200), reason: error.message });
      this.#parts.log.debug('internal', { stack });
    }
    if (response.headersSent) {
      // Whatever has been sent is not all: the client must see that.
      response.destroy();
      return;
    }
    const problem = problemOf(error);
    // What is still to come of a request that was refused is not read.
    if (!request.complete) response.setHeader('Connection', 'close');
    send(response, problem.status, PROBLEM_TYPE, textOf(problem), error instanceof HttpError ? error.headers : {});
  }
}

function textOf(document: unknown): string {
  return document === undefined ? '' : `${JSON.stringify(document)}\n`;
}

/** RFC 9110, 8.6: an answer that never has content says nothing of its length. */
const WITHOUT_CONTENT: readonly number[] = [204, 304];

function send(
  response: ServerResponse,
  status: number,
  type: string,
  text: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    ...headers,
    ...(text.length === 0 ? {} : { 'Content-Type': `${type}; charset=utf-8` }),
    ...(WITHOUT_CONTENT.includes(status) ? {} : { 'Content-Length': Buffer.byteLength(text) }),
  });
  response.end(response.req.method === 'HEAD' ? '' : text);
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  const tooLong = () => new HttpError(413, `The body is longer than ${MAX_BODY_BYTES} bytes`);
  // Whoever announces too much is told so at once.
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) throw tooLong();
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_BODY_BYTES) throw tooLong();
    chunks.push(chunk);
  }
  if (sizeBytes === 0) return undefined;
  const type = request.headers['content-type'] ?? 'application/json';
  // curl says this where -H is not given.
  if (!/^application\/(json|x-www-form-urlencoded)\b/i.test(type)) {
    throw new HttpError(415, 'The body must be JSON', 'Content-Type: application/json');
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw new HttpError(400, 'The body is no JSON');
  }
}
