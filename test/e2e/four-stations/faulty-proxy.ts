/**
 * Ways to a store, one for each station, as bad as they are told to be. It shares no code with the client; what it passes on
 * it leaves as it is, but for the ages of what no test can wait for.
 */

import { type IncomingMessage, type Server, type ServerResponse, createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Half of the request is passed on; half of the answer comes; the answer is lost; an answer of a store that is too busy. */
export type Trouble = 'cut-request' | 'cut-answer' | 'cut-after' | 'busy';

interface Way {
  readonly server: Server;
  /** Requests that the store has not answered yet. */
  underWay: number;
}

export class FaultyProxy {
  /** Asked for each request. */
  trouble: () => Trouble | undefined = () => undefined;
  /** How much older than it is the object is said to be. */
  olderByMs: (key: string, etag: string) => number = () => 0;
  readonly troubles = new Map<Trouble, number>();
  readonly #target: URL;
  readonly #ways: Way[] = [];

  /** @param endpoint of the store itself */
  constructor(endpoint: string) {
    this.#target = new URL(endpoint);
  }

  /** A way of its own; the endpoint of the store by it. */
  async open(): Promise<{ readonly endpoint: string; quiet(): Promise<void> }> {
    const way: Way = {
      server: createServer((down, answer) => {
        void this.#pass(way, down, answer).catch(() => answer.destroy());
      }),
      underWay: 0,
    };
    this.#ways.push(way);
    await new Promise<void>((resolve) => way.server.listen(0, '127.0.0.1', resolve));
    return {
      endpoint: `http://127.0.0.1:${(way.server.address() as AddressInfo).port}`,
      quiet: async () => {
        while (way.underWay > 0) await delay(5);
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#ways.map(({ server }) => {
        server.closeAllConnections();
        return new Promise((resolve) => server.close(resolve));
      }),
    );
  }

  async #pass(way: Way, down: IncomingMessage, answer: ServerResponse): Promise<void> {
    way.underWay++;
    try {
      const parts: Buffer[] = [];
      const isWhole = await new Promise<boolean>((resolve) => {
        down.on('data', (part: Buffer) => parts.push(part));
        down.once('end', () => resolve(true));
        down.once('close', () => resolve(down.complete));
        down.once('error', () => resolve(false));
      });
      const body = Buffer.concat(parts);
      const trouble = isWhole ? this.trouble() : undefined;
      if (trouble !== undefined) this.troubles.set(trouble, (this.troubles.get(trouble) ?? 0) + 1);
      if (trouble === 'busy') {
        answer.writeHead(503, { 'content-type': 'application/xml' });
        answer.end('<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>later</Message></Error>');
        return;
      }
      // What a station that was killed had sent until then goes on to the store all the same.
      const isCut = !isWhole || trouble === 'cut-request';
      const reply = await this.#ask(down, isCut ? body.subarray(0, body.length / 2) : body, isCut && body.length > 0);
      if (reply === undefined || trouble === 'cut-after') {
        answer.destroy();
        return;
      }
      const { status, headers, bytes } = reply;
      answer.writeHead(status, this.#aged(down.url ?? '', headers));
      if (trouble !== 'cut-answer') {
        answer.end(bytes);
        return;
      }
      answer.write(bytes.subarray(0, bytes.length / 2), () => answer.destroy());
      answer.flushHeaders();
    } finally {
      way.underWay--;
    }
  }

  /** Undefined: the connection has ended before there was an answer. */
  #ask(
    { method, url, headers }: IncomingMessage,
    body: Buffer,
    isCut: boolean,
  ): Promise<{ status: number; headers: IncomingMessage['headers']; bytes: Buffer } | undefined> {
    const { hostname, port } = this.#target;
    let hasAnswer = false;
    return new Promise((resolve) => {
      const up = request({ hostname, port, method, path: url, headers, agent: false }, (reply) => {
        hasAnswer = true;
        const parts: Buffer[] = [];
        reply.on('data', (part: Buffer) => parts.push(part));
        reply.once('close', () => {
          if (!reply.complete) resolve(undefined);
          else resolve({ status: reply.statusCode ?? 502, headers: reply.headers, bytes: Buffer.concat(parts) });
        });
      });
      up.once('error', () => resolve(undefined));
      up.once('close', () => {
        if (!hasAnswer) resolve(undefined);
      });
      if (isCut) up.write(body, () => up.destroy());
      else up.end(body);
    });
  }

  #aged(url: string, headers: IncomingMessage['headers']): IncomingMessage['headers'] {
    const modified = headers['last-modified'];
    if (modified === undefined) return headers;
    const key = decodeURIComponent(url.replace(/\?.*$/, ''));
    const olderMs = this.olderByMs(key, (headers.etag ?? '').replaceAll('"', ''));
    return { ...headers, 'last-modified': new Date(Date.parse(modified) - olderMs).toUTCString() };
  }
}
