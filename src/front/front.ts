/**
 * The page and the API for browsers, over TCP: who may ask, and what is asked. `espd web` and `api.listen` of the daemon
 * are both this, and differ in their gate and their backend alone.
 */

import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock } from '../clock.ts';
import { HttpError, PROBLEM_TYPE, problemOf } from '../control/problem.ts';
import { type ErrorCode, EspdError, systemCode, toEspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { VERSION } from '../version.ts';
import type { Backend } from './backend.ts';
import { type Gate, LimitedError } from './gate.ts';
import { secure } from './headers.ts';
import { isOwnHost, isOwnOrigin } from './origin.ts';
import { type Session, Sessions, isSame } from './sessions.ts';
import type { StaticFiles } from './static-files.ts';

export interface FrontParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly gate: Gate;
  readonly backend: Backend;
  readonly files: StaticFiles;
  /** By which it may be reached besides `localhost` and addresses; lower-case. */
  readonly names: readonly string[];
  /** A connection on which nothing moves for so long is closed; default 2 minutes. The event stream has a heartbeat. */
  readonly idleMs?: number;
}

/** Of browsers: a page has a handful. */
const MAX_CONNECTIONS = 256;
const MAX_URL_CHARACTERS = 8192;
const MAX_LOGIN_BYTES = 8192;
/** Until the headers, and until the whole request, have come. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const IDLE_MS = 120_000;

/** How often it is looked whether whoever listens to events may still do so. */
const RECHECK_MS = 30_000;

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
/** Of the daemon behind this server. */
const UNREACHABLE: readonly ErrorCode[] = ['daemon-absent', 'daemon-denied', 'daemon-gone'];
const CSRF_HEADER = 'x-espd-csrf';

export class Front {
  readonly server: Server;
  readonly #parts: FrontParts;
  readonly #sessions: Sessions;

  constructor(parts: FrontParts) {
    this.#parts = parts;
    this.#sessions = new Sessions(parts.clock);
    this.server = createServer(
      { headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, maxHeaderSize: 16 * 1024, keepAliveTimeout: 5000 },
      (request, response) => void this.#serve(request, response),
    );
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.timeout = parts.idleMs ?? IDLE_MS;
    // Sessions of commands are for the socket alone.
    this.server.on('upgrade', (_request, socket) => socket.destroy());
    this.server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      else socket.destroy();
    });
  }

  /**
   * @param port 0 = any that is free
   * @returns where it listens
   * @throws EspdError `listen-refused`
   */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.server.once('error', (error) => reject(listenError(host, port, error)));
      this.server.listen({ host, port }, () => {
        this.server.removeAllListeners('error');
        this.server.on('error', ({ message }) => this.#parts.log.error('The page has a fault', { reason: message }));
        resolve(this.server.address() as AddressInfo);
      });
    });
  }

  /** Never rejects. */
  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
    this.server.closeAllConnections();
    return closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A client that vanishes is no news.
    response.on('error', () => undefined);
    secure(response);
    response.setHeader('Cache-Control', 'no-store');
    try {
      await this.#route(request, response);
    } catch (error) {
      this.#fail(request, response, toEspdError(error));
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = '/', method = 'GET', headers } = request;
    if (!isOwnHost(headers.host, this.#parts.names)) {
      const names = 'Open it by its address in numbers, or name it in api.names of the config';
      throw new EspdError('forbidden', 'This page is not known by the name in the address', { hint: names });
    }
    if (!METHODS.has(method)) throw new HttpError(501, 'Not a method of this server');
    if (!url.startsWith('/')) throw new HttpError(400, 'Not a path');
    if (url.length > MAX_URL_CHARACTERS) throw new HttpError(414, 'The path is too long');
    const [path = '/', query = ''] = url.split(/\?(.*)/s);
    if (path === '/' && method === 'GET' && query !== '') {
      const token = new URLSearchParams(query).get('token');
      if (token !== null) return this.#takeLink(token, request, response);
    }
    if (!/^\/(v1|web|metrics)(?=\/|$)/.test(path)) {
      this.#parts.files.send(path, request, response);
      return;
    }
    if (!isOwnOrigin(headers)) {
      throw new EspdError('forbidden', 'The request comes from another page', {
        hint: 'Open espd in a tab of its own',
      });
    }
    if (path.startsWith('/web/')) return this.#web(path, request, response);
    await this.#authorize(request);
    const forget = this.#recheck(request, response);
    try {
      await this.#parts.backend(request, response);
    } finally {
      forget();
    }
  }

  /** An answer without end (events) ends soon after its session: by logging out, or another password. */
  #recheck(request: IncomingMessage, response: ServerResponse): () => void {
    const { clock } = this.#parts;
    const again = () => {
      cancel = clock.schedule(RECHECK_MS, again);
      this.#authorize(request).catch(() => response.destroy());
    };
    let cancel = clock.schedule(RECHECK_MS, again);
    const forget = () => cancel();
    response.once('close', forget);
    return forget;
  }

  /** The token leaves the address bar, and with it the history. */
  async #takeLink(token: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const credential = await this.#parts.gate.credential();
    if (this.#parts.gate.takeLink(token) && credential !== null) {
      response.setHeader('Set-Cookie', this.#cookie(request, this.#sessions.open(credential)));
    } else if ((await this.#sessionOf(request)) === undefined) {
      throw new EspdError('login-refused', 'This link was used already, or is not one of this page', {
        hint: 'Run espd web again: each link opens the page once',
      });
    }
    response.writeHead(303, { Location: '/', 'Content-Length': 0 }).end();
  }

  async #web(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { gate } = this.#parts;
    switch (`${request.method} ${path}`) {
      case 'GET /web/session': {
        const session = await this.#sessionOf(request);
        if (session === undefined) throw loginNeeded(gate.kind);
        json(response, 200, { csrf: session.csrf, kind: gate.kind, version: VERSION });
        return;
      }
      case 'POST /web/login': {
        const credential = await gate.credential();
        const password = await passwordOf(request);
        await gate.login(password, addressOf(request));
        if (credential === null) throw loginNeeded(gate.kind);
        response.setHeader('Set-Cookie', this.#cookie(request, this.#sessions.open(credential)));
        response.writeHead(204).end();
        this.#parts.log.info('Somebody has logged in to the page', { from: addressOf(request) });
        return;
      }
      case 'POST /web/logout':
        await this.#authorize(request);
        this.#sessions.close(this.#cookieOf(request));
        response.setHeader('Set-Cookie', `${this.#cookie(request, '')}; Max-Age=0`);
        response.writeHead(204).end();
        return;
      default:
        throw new HttpError(404, 'There is no such path');
    }
  }

  /** @throws EspdError `login-needed`, `forbidden` without the token of the session, and those of the gate */
  async #authorize(request: IncomingMessage): Promise<void> {
    const { gate } = this.#parts;
    const bearer = /^Bearer +([\w.~+/=-]{1,512})$/i.exec(request.headers.authorization ?? '')?.[1];
    // No browser adds this header by itself, so no foreign page can have it sent.
    if (bearer !== undefined) return gate.checkBearer(bearer, addressOf(request));
    const session = await this.#sessionOf(request);
    if (session === undefined) throw loginNeeded(gate.kind);
    if (request.method === 'GET' || request.method === 'HEAD') return;
    const said = request.headers[CSRF_HEADER];
    if (typeof said === 'string' && isSame(said, session.csrf)) return;
    throw new EspdError('forbidden', 'The request does not carry the token of its session', {
      hint: 'Load the page again',
    });
  }

  async #sessionOf(request: IncomingMessage): Promise<Session | undefined> {
    return this.#sessions.find(this.#cookieOf(request), await this.#parts.gate.credential());
  }

  /** Cookies are for all ports of a host, so the name tells which page it is of. */
  #cookieName(request: IncomingMessage): string {
    return `espd-${request.socket.localPort ?? 0}`;
  }

  #cookie(request: IncomingMessage, value: string): string {
    // Behind a proxy that speaks TLS the browser says so.
    const secured = request.headers.origin?.startsWith('https:') === true ? '; Secure' : '';
    return `${this.#cookieName(request)}=${value}; Path=/; HttpOnly; SameSite=Strict${secured}`;
  }

  #cookieOf(request: IncomingMessage): string | undefined {
    const name = `${this.#cookieName(request)}=`;
    const found = (request.headers.cookie ?? '').split(';').find((part) => part.trim().startsWith(name));
    return found?.trim().slice(name.length) || undefined;
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: EspdError): void {
    if (error.code === 'internal') {
      this.#parts.log.error('A request of the page failed', { reason: error.message });
    }
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (error.code === 'login-refused' || error.code === 'login-limited') {
      this.#parts.log.warn('A login to the page was refused', { from: addressOf(request), code: error.code });
    }
    if (error instanceof HttpError)
      for (const [key, value] of Object.entries(error.headers)) response.setHeader(key, value);
    if (error instanceof LimitedError) response.setHeader('Retry-After', Math.ceil(error.waitMs / 1000));
    // What is still to come of a request that was refused is not read.
    if (!request.complete) response.setHeader('Connection', 'close');
    const told = problemOf(error);
    const status = UNREACHABLE.includes(error.code) ? 502 : told.status;
    const problem = { ...told, status, kind: error.code === 'login-needed' ? this.#parts.gate.kind : undefined };
    // A person who has typed the address, or opened a link, reads it.
    if (request.headers['sec-fetch-dest'] === 'document') {
      text(response, status, `${error.message}.\n${error.hint}\n`);
    } else json(response, status, problem, PROBLEM_TYPE);
  }
}

function loginNeeded(kind: Gate['kind']): EspdError {
  const hint =
    kind === 'link' ? 'Run espd web again, and open the link that it prints' : 'Say the password of the page';
  return new EspdError('login-needed', 'Nobody has logged in here', { hint });
}

/** Whoever is behind a proxy shares its address, and its limit: what a header says of it can be made up. */
function addressOf(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? '';
}

/** @throws HttpError 400, 413, 415 */
async function passwordOf(request: IncomingMessage): Promise<string> {
  // A form of a foreign page cannot send this type.
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new HttpError(415, 'The body must be JSON', 'Content-Type: application/json');
  }
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_LOGIN_BYTES) throw new HttpError(413, `The body is longer than ${MAX_LOGIN_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { password?: unknown } | null;
    if (typeof body?.password === 'string') return body.password;
  } catch {
    // Told below.
  }
  throw new HttpError(400, 'The body is not {"password": "..."}');
}

function json(response: ServerResponse, status: number, document: object, type = 'application/json'): void {
  send(response, status, `${type}; charset=utf-8`, `${JSON.stringify(document)}\n`);
}

function text(response: ServerResponse, status: number, content: string): void {
  send(response, status, 'text/plain; charset=utf-8', content);
}

function send(response: ServerResponse, status: number, type: string, content: string): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(content) });
  response.end(response.req.method === 'HEAD' ? '' : content);
}

function listenError(host: string, port: number, error: Error): EspdError {
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const code = systemCode(error);
  const [why, hint] =
    code === 'EADDRINUSE'
      ? ['another program listens there', 'Choose another port']
      : code === 'EACCES' || code === 'EPERM'
        ? ['it is not allowed', 'Ports below 1024 are for root. The service needs a drop-in: espd doctor']
        : code === 'EADDRNOTAVAIL'
          ? ['this machine has no such address', 'See its addresses: ip address']
          : code === 'EAFNOSUPPORT'
            ? ['the service may not use the network', 'It needs a drop-in: espd doctor names it']
            : [code ?? error.message, ''];
  return new EspdError('listen-refused', `The page cannot be served at ${place}: ${why}`, { hint, cause: error });
}
