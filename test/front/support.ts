/** The server for browsers at a free port of the loopback, and requests to it as a browser, or somebody else, sends them. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Backend } from '../../src/front/backend.ts';
import { Front, type FrontParts } from '../../src/front/front.ts';
import { LinkGate } from '../../src/front/gate.ts';
import { StaticFiles } from '../../src/front/static-files.ts';
import { silentLogger } from '../../src/log.ts';
import { HandClock } from '../simulator/serve/support.ts';

export interface FrontAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: Record<string, unknown>;
}

export interface FrontQuestion {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export const PAGE = {
  'index.html': '<!doctype html><title>espd</title>',
  'assets/page-1a2b.js': 'export {};',
  'icon.svg': '<svg/>',
  'secret.map': 'not served',
};

export async function pageFolder(t: TestContext, files: Readonly<Record<string, string>> = PAGE): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-page-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, 'page', name)), { recursive: true });
    await writeFile(join(folder, 'page', name), text);
  }
  await writeFile(join(folder, 'outside.txt'), 'nobody may read this');
  return join(folder, 'page');
}

export class FrontBench {
  readonly port: number;
  readonly clock: HandClock;
  readonly link: LinkGate;
  /** What came through to the API: method and path. */
  readonly asked: string[];
  cookie = '';
  csrf = '';

  private constructor(facts: { port: number; clock: HandClock; link: LinkGate; asked: string[] }) {
    this.port = facts.port;
    this.clock = facts.clock;
    this.link = facts.link;
    this.asked = facts.asked;
  }

  static async open(t: TestContext, parts: Partial<FrontParts> = {}): Promise<FrontBench> {
    const clock = new HandClock();
    const link = new LinkGate();
    const asked: string[] = [];
    const echo: Backend = (incoming, response) => {
      asked.push(`${incoming.method} ${incoming.url}`);
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"answered":true}');
      return Promise.resolve();
    };
    const front = new Front({
      ...{ clock, log: silentLogger, gate: link, backend: echo, names: [] },
      files: await StaticFiles.read(await pageFolder(t)),
      ...parts,
    });
    t.after(() => front.close());
    const { port } = await front.listen('127.0.0.1', 0);
    return new FrontBench({ port, clock, link, asked });
  }

  /** As it is said, and nothing else. */
  async ask(path: string, { method = 'GET', headers = {}, body }: FrontQuestion = {}): Promise<FrontAnswer> {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const length = text === undefined ? {} : { 'content-length': String(Buffer.byteLength(text)) };
      const asking = request(
        { host: '127.0.0.1', port: this.port, path, method, headers: { ...length, ...headers }, agent: false },
        resolve,
      );
      asking.on('error', reject);
      asking.end(text);
    });
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const all = Buffer.concat(chunks).toString('utf8');
    const isJson = /json/.test(response.headers['content-type'] ?? '');
    return {
      ...{ status: response.statusCode ?? 0, headers: response.headers, text: all },
      json: isJson && all !== '' ? (JSON.parse(all) as Record<string, unknown>) : {},
    };
  }

  /** As the page asks, that has a session. */
  askAsPage(path: string, { method = 'GET', headers = {}, body }: FrontQuestion = {}): Promise<FrontAnswer> {
    return this.ask(path, {
      ...{ method, body },
      headers: {
        cookie: `other=1; ${this.cookie}`,
        'sec-fetch-site': 'same-origin',
        ...(method === 'GET' ? {} : { 'x-espd-csrf': this.csrf, origin: `http://127.0.0.1:${this.port}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
    });
  }

  /** Keeps the cookie of an answer, and asks for the token that goes with it. */
  async enter(answer: FrontAnswer): Promise<void> {
    this.cookie = cookieOf(answer);
    this.csrf = String((await this.askAsPage('/web/session')).json['csrf']);
  }

  async openLink(): Promise<FrontAnswer> {
    const answer = await this.ask(`/?token=${this.link.token}`);
    await this.enter(answer);
    return answer;
  }
}

export function cookieOf({ headers }: FrontAnswer): string {
  return (headers['set-cookie']?.[0] ?? '').split(';')[0] ?? '';
}
