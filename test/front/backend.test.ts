/** The way from a browser over the page's server to the daemon's socket: a real daemon's API behind it, and none. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, type Server, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { socketBackend } from '../../src/front/backend.ts';
import { ApiBench } from '../control/support.ts';
import { FrontBench } from './support.ts';

interface Daemon {
  readonly path: string;
  readonly start: (answer: Parameters<typeof createServer>[1]) => Promise<Server>;
}

/** The place of a daemon's socket, at which whoever is started answers. */
async function daemonAt(t: TestContext): Promise<Daemon> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-front-'));
  const path = join(folder, 'espd.sock');
  t.after(() => rm(folder, { recursive: true, force: true }));
  return {
    path,
    start: async (answer) => {
      const server = createServer(answer);
      await new Promise<void>((resolve) => server.listen(path, resolve));
      t.after(() => stop(server));
      return server;
    },
  };
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function pageOf(t: TestContext, path: string): Promise<FrontBench> {
  const bench = await FrontBench.open(t, { backend: socketBackend(path) });
  await bench.openLink();
  return bench;
}

/** An answer that goes on: what has come of it so far, piece by piece. */
async function follow(bench: FrontBench, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { cookie: bench.cookie, accept: 'text/event-stream' };
    const asking = request({ host: '127.0.0.1', port: bench.port, path, headers, agent: false }, resolve);
    asking.on('error', reject);
    asking.end();
  });
}

describe('the API over the page', () => {
  it('answers, refuses and hands out as at the socket', async (t) => {
    const api = await ApiBench.open(t);
    const device = api.shop.board();
    api.shop.plug(device);
    await api.shop.said('Backed up and verified');
    await api.shop.idle();
    const page = await pageOf(t, api.socketPath);
    const status = await page.askAsPage('/v1/status');
    assert.deepEqual([status.status, status.json['counters']], [200, { backups: 1, unchanged: 0, failures: 0 }]);
    const missing = await page.askAsPage('/v1/boards/nobody');
    assert.deepEqual([missing.status, missing.json['code']], [404, 'archive-unknown-board']);
    const image = `/v1/boards/${device.board.mac}/backups/latest/image`;
    const range = await page.askAsPage(image, { headers: { range: 'bytes=0-99' } });
    assert.deepEqual([range.status, range.headers['content-length']], [206, '100']);
    assert.match(range.headers['content-disposition'] ?? '', /^attachment/);
    assert.match(String(range.headers['content-security-policy']), /default-src 'self'/);
    const label = await page.askAsPage(`/v1/boards/${device.board.mac}`, {
      method: 'PATCH',
      body: { label: 'kitchen' },
    });
    assert.deepEqual([label.status, label.json['label']], [200, 'kitchen']);
    const wrong = await page.askAsPage('/v1/jobs', { method: 'POST', body: '{' });
    assert.deepEqual([wrong.status, wrong.json['code']], [400, 'usage']);
  });

  it('events come as they happen, and end with the page, or with the daemon', async (t) => {
    const api = await ApiBench.open(t);
    const page = await pageOf(t, api.socketPath);
    const stream = await follow(page, '/v1/events');
    assert.match(stream.headers['content-type'] ?? '', /^text\/event-stream/);
    let heard = '';
    const until = async (wanted: RegExp) => {
      for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        heard += chunk.toString('utf8');
        if (wanted.test(heard)) return;
      }
      throw new Error(`the stream has ended: ${heard}`);
    };
    await until(/"hello"/);
    api.shop.events.emit({ type: 'port-held', port: '/dev/ttyUSB9', by: 'ada', until: null });
    await until(/"port-held".*"ada"/);
    api.shop.events.emit({ type: 'port-released', port: '/dev/ttyUSB9', by: 'ada' });
    await until(/"port-released"/);
    const ended = new Promise<void>((resolve) => stream.once('close', () => resolve()));
    stream.resume();
    stream.on('error', () => undefined);
    await api.control.close();
    await ended;
    const gone = await page.askAsPage('/v1/status');
    assert.deepEqual([gone.status, gone.json['code']], [502, 'daemon-absent']);
  });

  it('where no daemon is it says so; the daemon may be started again beneath', async (t) => {
    const daemon = await daemonAt(t);
    const page = await pageOf(t, daemon.path);
    const none = await page.askAsPage('/v1/status');
    assert.deepEqual([none.status, none.json['code']], [502, 'daemon-absent']);
    assert.match(String(none.json['hint']), /systemctl start espd/);
    for (const answer of ['one', 'two']) {
      const server = await daemon.start((_request, response) => response.end(JSON.stringify({ answer })));
      assert.match((await page.askAsPage('/v1/status')).text, new RegExp(answer));
      await stop(server);
      assert.equal((await page.askAsPage('/v1/status')).status, 502);
    }
  });

  it('a daemon that hangs up, or breaks off, is told as such, and the page goes on', async (t) => {
    const daemon = await daemonAt(t);
    await daemon.start((incoming, response) => {
      if (incoming.url === '/v1/nothing') incoming.socket.destroy();
      else if (incoming.url === '/v1/half') {
        response.writeHead(200, { 'Content-Length': 1000 });
        response.write('half', () => incoming.socket.destroy());
      } else response.end('{}');
    });
    const page = await pageOf(t, daemon.path);
    const nothing = await page.askAsPage('/v1/nothing');
    assert.deepEqual([nothing.status, nothing.json['code']], [502, 'daemon-gone']);
    await assert.rejects(page.askAsPage('/v1/half'), /aborted|hang up|ECONNRESET/);
    assert.equal((await page.askAsPage('/v1/whole')).status, 200);
  });

  it('neither cookies nor tokens reach the daemon, and none of its other headers the page', async (t) => {
    const daemon = await daemonAt(t);
    let seen: Record<string, unknown> = {};
    await daemon.start((incoming, response) => {
      seen = incoming.headers;
      response
        .writeHead(200, { 'Set-Cookie': 'a=b', 'Content-Security-Policy': 'default-src *', ETag: '"1"' })
        .end('{}');
    });
    const page = await pageOf(t, daemon.path);
    const { headers } = await page.askAsPage('/v1/jobs', {
      method: 'POST',
      body: {},
      headers: { 'x-forwarded-for': '1' },
    });
    assert.deepEqual(Object.keys(seen).sort(), ['connection', 'content-length', 'content-type', 'host']);
    assert.deepEqual([headers['set-cookie'], headers.etag], [undefined, '"1"']);
    assert.doesNotMatch(String(headers['content-security-policy']), /\*/);
  });

  it('a body that is too long is refused, whether it says so or not', async (t) => {
    const daemon = await daemonAt(t);
    let bytes = 0;
    await daemon.start((incoming, response) => {
      incoming.on('data', (chunk: Buffer) => (bytes += chunk.length));
      incoming.on('end', () => response.end('{}'));
      incoming.on('error', () => undefined);
    });
    const page = await pageOf(t, daemon.path);
    const body = 'x'.repeat(100_000);
    const told = await page.askAsPage('/v1/jobs', { method: 'POST', body }).catch(() => undefined);
    assert.ok(told === undefined || told.status === 413);
    const headers = { 'transfer-encoding': 'chunked', 'content-length': '' };
    const untold = await page.askAsPage('/v1/jobs', { method: 'POST', body, headers }).catch(() => undefined);
    assert.ok(untold === undefined || [400, 413].includes(untold.status), String(untold?.status));
    assert.ok(bytes <= 64 * 1024, String(bytes));
    assert.equal((await page.askAsPage('/v1/jobs', { method: 'POST', body: {} })).status, 200);
  });

  it('a client that goes away ends what was asked for it', async (t) => {
    const daemon = await daemonAt(t);
    let onClose: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => (onClose = resolve));
    await daemon.start((_incoming, response) => {
      response.writeHead(200);
      response.write('first\n');
      response.on('close', onClose);
    });
    const page = await pageOf(t, daemon.path);
    const stream = await follow(page, '/v1/events');
    stream.on('error', () => undefined);
    await new Promise((resolve) => stream.once('data', resolve));
    stream.destroy();
    await closed;
  });
});
