/** One request over HTTP, bounded in time wherever it may stand still, and in what is read. Redirects are not followed. */

import { setMaxListeners } from 'node:events';
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Clock } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';

/** Without a byte in either direction, or a connection, for so long, a request has failed. */
export const IDLE_LIMIT_MS = 30_000;
/** A body goes out in such pieces: each may have to wait for its share of the bandwidth. */
const SLICE_BYTES = 64 * 1024;

export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** More of an answer is a fault. */
  readonly maxAnswerBytes: number;
  readonly signal: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface HttpParts {
  readonly clock: Clock;
  /** Waited for before so many bytes are sent. */
  readonly pace: (bytes: number, signal?: AbortSignal) => Promise<void>;
}

/** Connections are kept between requests; {@link close} ends them. */
export class HttpClient {
  readonly #parts: HttpParts;
  readonly #plain = new HttpAgent({ keepAlive: true, maxSockets: 16 });
  readonly #secure = new HttpsAgent({ keepAlive: true, maxSockets: 16 });

  constructor(parts: HttpParts) {
    this.#parts = parts;
  }

  close(): void {
    this.#plain.destroy();
    this.#secure.destroy();
  }

  /**
   * The answer, whatever its status.
   * @throws EspdError `store-unreachable`, `store-failed` for an answer that is too long; the signal's reason
   */
  async send(message: HttpRequest): Promise<HttpAnswer> {
    const { url, method, headers, body, signal } = message;
    signal?.throwIfAborted();
    const isSecure = url.protocol === 'https:';
    const request = (isSecure ? httpsRequest : httpRequest)(url, {
      ...{ method, agent: isSecure ? this.#secure : this.#plain },
      headers: { ...headers, 'content-length': body.length },
    });
    const watch = new Watch(this.#parts.clock, () => request.destroy(new IdleError()));
    const onAbort = () => request.destroy();
    let isWhole = false;
    // Many requests at once may listen to one signal; each takes its listener away in the end.
    if (signal !== undefined) setMaxListeners(0, signal);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const response = answerOf(request);
      // Whoever sends meets the same fault as whoever waits for the answer.
      response.catch(() => undefined);
      watch.start();
      await this.#sendBody(request, body, response, watch, signal);
      const answer = await readAnswer(await response, message.maxAnswerBytes, watch);
      isWhole = request.writableFinished;
      return answer;
    } catch (error) {
      signal?.throwIfAborted();
      throw error instanceof EspdError ? error : unreachable(url, error);
    } finally {
      watch.stop();
      signal?.removeEventListener('abort', onAbort);
      request.on('error', () => undefined);
      // A connection on which something is under way cannot serve the next request.
      if (!isWhole) request.destroy();
    }
  }

  /** Ends early where the server has answered already: it wants no more of it. */
  async #sendBody(
    request: ClientRequest,
    body: Uint8Array,
    response: Promise<IncomingMessage>,
    watch: Watch,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const answer = { hasCome: false };
    const note = () => void (answer.hasCome = true);
    const answered = response.then(note, note);
    for (let at = 0; at < body.length; at += SLICE_BYTES) {
      const slice = body.subarray(at, at + SLICE_BYTES);
      watch.stop(); // to wait for one's turn is no fault of the server
      await this.#parts.pace(slice.length, signal);
      watch.start();
      if (answer.hasCome) return;
      if (!request.write(slice)) await Promise.race([answered, drained(request)]);
      watch.touch();
    }
    request.end();
  }
}

class IdleError extends Error {
  readonly code = 'ETIMEDOUT';
}

/** Calls `onIdle` when it was not touched for {@link IDLE_LIMIT_MS}. */
class Watch {
  readonly #clock: Clock;
  readonly #onIdle: () => void;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, onIdle: () => void) {
    this.#clock = clock;
    this.#onIdle = onIdle;
  }

  start(): void {
    this.stop();
    this.#cancel = this.#clock.schedule(IDLE_LIMIT_MS, this.#onIdle);
  }

  touch(): void {
    if (this.#cancel !== undefined) this.start();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }
}

function answerOf(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
    request.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
  });
}

function drained(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      request.off('drain', finish).off('close', finish);
      resolve();
    };
    request.on('drain', finish).on('close', finish);
  });
}

function readAnswer(response: IncomingMessage, maxBytes: number, watch: Watch): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    response.on('data', (chunk: Buffer) => {
      watch.touch();
      length += chunk.length;
      chunks.push(chunk);
      if (length <= maxBytes) return;
      reject(
        new EspdError('store-failed', `The object store sends more than the ${maxBytes} bytes that were asked for`),
      );
      response.destroy();
    });
    response.on('end', () => {
      const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
      resolve({
        status: response.statusCode ?? 0,
        headers: Object.fromEntries(headers) as Record<string, string>,
        body: Buffer.concat(chunks),
      });
    });
    response.on('error', reject);
    response.on('close', () => reject(Object.assign(new Error('cut off'), { code: 'ECONNRESET' })));
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name cannot be looked up',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
  ETIMEDOUT: 'it does not answer',
  EHOSTUNREACH: 'there is no way to it',
  ENETUNREACH: 'there is no network',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not signed by a known authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not signed by a known authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is not signed by a known authority',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
  EPROTO: 'it does not speak TLS there',
};

function unreachable(url: URL, error: unknown): EspdError {
  const code = systemCode(error) ?? 'unknown fault';
  const isCertificate = code.includes('CERT') || code.includes('VERIFY');
  return new EspdError(
    'store-unreachable',
    `The object store ${url.host} cannot be reached: ${REASONS[code] ?? code}`,
    {
      hint: isCertificate
        ? 'Is it the right host? The certificate of an authority of your own is named by the variable NODE_EXTRA_CA_CERTS'
        : 'Is the network there, and is store.endpoint right? The daemon tries again by itself; what is not there yet stays here',
      cause: error,
    },
  );
}
