/** A real daemon with simulated boards, and its page: what the tests of the page look at. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BrowserContextOptions } from 'playwright-core';
import { DemoHub } from '../../src/cli/demo-hub.ts';
import { type OpenPage, newPage } from './browser.ts';
import { type PageServer, openSession, servePage } from './page-server.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
/** For what must happen on a machine that has other things to do. */
export const PATIENCE_MS = 90_000;

export class WebStation {
  readonly hub: DemoHub;
  readonly folder: string;
  readonly socketPath: string;
  /** Of the page, with a slash at its end. */
  url = '';
  #daemon: ChildProcess | undefined;
  #page: PageServer | undefined;
  #session = { name: '', value: '' };

  private constructor(folder: string, hub: DemoHub) {
    this.folder = folder;
    this.hub = hub;
    this.socketPath = join(folder, 'espd.sock');
  }

  /** To be closed. @param prepare what is done to the folder before the daemon starts */
  static async open(prepare: (hub: DemoHub) => void | Promise<void> = () => undefined): Promise<WebStation> {
    const folder = await mkdtemp(join(tmpdir(), 'espd-web-'));
    const hub = await DemoHub.open(folder);
    await prepare(hub);
    const station = new WebStation(folder, hub);
    await station.startDaemon();
    station.#page = await servePage(station.socketPath);
    station.#session = await openSession(station.#page);
    station.url = station.#page.url;
    return station;
  }

  async close(): Promise<void> {
    await this.#page?.close();
    await this.stopDaemon();
    await this.hub.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  async startDaemon(): Promise<void> {
    const child = spawn(process.execPath, [MAIN, 'daemon', '--config', this.hub.configPath], {
      env: { ...process.env, RUNTIME_DIRECTORY: this.folder, NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#daemon = child;
    let log = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        log += text;
        if (log.includes('Watching for boards')) resolve();
      });
      child.once('exit', () => reject(new Error(`the daemon has ended:\n${log}`)));
    });
  }

  async stopDaemon(): Promise<void> {
    const child = this.#daemon;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }

  /** A browser of somebody who has opened the link. */
  newPage(options: BrowserContextOptions = {}): Promise<OpenPage> {
    return newPage(options, { url: this.url, ...this.#session });
  }

  /** Reads from the API at the daemon's socket. */
  ask(path: string): Promise<Record<string, unknown>> {
    return this.#send('GET', path);
  }

  async #send(method: string, path: string): Promise<Record<string, unknown>> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ socketPath: this.socketPath, method, path }, resolve).on('error', reject).end();
    });
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('utf8');
    assert.equal(response.statusCode, 200, `${path}: ${text}`);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** The config was changed: the daemon takes it over now. */
  async reload(): Promise<void> {
    await this.#send('POST', '/v1/reload');
  }

  /** Waits until the API's answer is as wanted. */
  async until<T>(path: string, wanted: (document: T) => boolean): Promise<T> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      // What is asked for may not be there yet.
      const document = await this.ask(path).catch((error: unknown) => String(error));
      if (typeof document !== 'string' && wanted(document as T)) return document as T;
      assert.ok(performance.now() < end, `${path} never became as wanted: ${JSON.stringify(document)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  /** Plugs a board in, waits for its backup. */
  async backedUp(index: number): Promise<string> {
    const board = this.hub.boards[index];
    assert.ok(board !== undefined);
    await this.hub.plugIn(board);
    await this.until<{ ports: { mac: string; state: string }[] }>('/v1/ports', ({ ports }) =>
      ports.some(({ mac, state }) => mac === board.mac && state === 'done'),
    );
    return board.mac;
  }
}
