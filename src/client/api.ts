/** The daemon's API over its unix socket: one request, one JSON document, or espd's error. */

import { type IncomingMessage, request } from 'node:http';
import { type Clock, sleep } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';
import { ANSWER_MS, BACKLOG, problemError } from './connect.ts';
import { absent, busy, denied, foreign, gone, silent } from './daemon-errors.ts';
import { type StatusDocument, readStatus } from './status-document.ts';

export interface ApiQuestion {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly body?: object;
  readonly signal?: AbortSignal | undefined;
  /** The answer may take as long as a job of the daemon. */
  readonly isSlow?: boolean;
}

/** The largest answer that is taken: the documents of hundreds of jobs are far smaller. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export class ApiClient {
  readonly path: string;
  readonly clock: Clock;

  /** @param path of the daemon's unix socket */
  constructor(path: string, clock: Clock) {
    this.path = path;
    this.clock = clock;
  }

  /**
   * @returns the JSON document of the answer; undefined where the answer has none
   * @throws EspdError the daemon's own; `daemon-absent`, `daemon-denied`, `daemon-gone`, `daemon-busy`,
   *   `daemon-protocol`; the signal's reason
   */
  async ask(path: string, question: ApiQuestion = {}): Promise<unknown> {
    const response = await this.open(path, question);
    const text = await this.#textOf(response, question.signal);
    if (text === '') return undefined;
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw foreign(this.path, 'does not answer in JSON', error);
    }
  }

  /** The station now. @throws EspdError as {@link ask} */
  async status(signal?: AbortSignal): Promise<StatusDocument> {
    const status = readStatus(await this.ask('/v1/status', { signal }));
    if (status === undefined) throw foreign(this.path, 'does not tell the state as a daemon of espd does');
    return status;
  }

  /** An answer whose body is still to come; errors as {@link ask}. */
  async open(path: string, question: ApiQuestion = {}): Promise<IncomingMessage> {
    const { signal } = question;
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#openOnce(path, question);
        if ((response.statusCode ?? 0) < 400) return response;
        throw await this.#errorOf(response, signal);
      } catch (error) {
        signal?.throwIfAborted();
        if (systemCode(error) !== 'EAGAIN') throw this.errorFrom(error);
        if (attempt === BACKLOG.attempts) throw busy(error);
        await sleep(this.clock, BACKLOG.waitMs, signal);
      }
    }
  }

  /** What went wrong with the connection, in espd's words. */
  errorFrom(error: unknown): EspdError {
    if (error instanceof EspdError) return error;
    const code = systemCode(error) ?? '';
    if (['ENOENT', 'ECONNREFUSED', 'ENOTDIR'].includes(code)) return absent(this.path, error);
    if (['EACCES', 'EPERM'].includes(code)) return denied(this.path, error);
    // Of llhttp: https://nodejs.org/api/errors.html
    if (code.startsWith('HPE_') || code === 'ENOTSOCK') return foreign(this.path, 'is no daemon of espd', error);
    return gone(this.path, error);
  }

  #openOnce(path: string, { method = 'GET', body, signal, isSlow }: ApiQuestion): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const asking = request({
        ...{ socketPath: this.path, path, method, agent: false },
        headers: {
          host: 'espd',
          ...(text !== undefined && { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }),
        },
        ...(signal !== undefined && { signal }),
        ...(isSlow === true ? {} : { timeout: ANSWER_MS }),
      });
      asking.on('timeout', () => asking.destroy(silent(this.path)));
      asking.on('error', reject);
      asking.on('response', (response) => {
        response.socket.setTimeout(0);
        resolve(response);
      });
      asking.end(text);
    });
  }

  async #errorOf(response: IncomingMessage, signal: AbortSignal | undefined): Promise<EspdError> {
    const told = problemError(await this.#textOf(response, signal));
    return told ?? foreign(this.path, `answers with status ${response.statusCode ?? 0}, as no daemon of espd does`);
  }

  async #textOf(response: IncomingMessage, signal: AbortSignal | undefined): Promise<string> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const silence = new AbortController();
    let cancel: () => void = () => undefined;
    const wait = () => {
      cancel();
      cancel = this.clock.schedule(ANSWER_MS, () => {
        silence.abort();
        response.destroy();
      });
    };
    wait();
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        wait();
        sizeBytes += chunk.length;
        if (sizeBytes > MAX_ANSWER_BYTES) throw foreign(this.path, 'answers without end');
        chunks.push(chunk);
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw silence.signal.aborted ? silent(this.path) : this.errorFrom(error);
    } finally {
      cancel();
    }
    return Buffer.concat(chunks).toString('utf8');
  }
}
