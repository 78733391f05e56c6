import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import { webhookSchema, type WebhookConfig } from '../../src/config/outbound.ts';
import { silentLogger } from '../../src/log.ts';
import { MAX_SPOOLED, Spool } from '../../src/outbound/spool.ts';
import { messageOf } from '../../src/outbound/templates.ts';
import { MAX_AGE_MS, Webhooks } from '../../src/outbound/webhooks.ts';
import type { ServiceEvent } from '../../src/daemon/event-types.ts';
import { collectingLog, failedEvent, keptEvent, newBus, until } from './support.ts';

const LIMIT = { timeout: 60_000 };

interface Request {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A server on the loopback that answers as the test says. */
async function serve(t: TestContext, answer: (response: ServerResponse, n: number) => void) {
  const requests: Request[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      requests.push({ path: request.url ?? '', headers: request.headers, body });
      answer(response, requests.length);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/in` };
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'espd-webhooks-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

function setUp(path: string | null, webhooks: readonly WebhookConfig[], env: NodeJS.ProcessEnv = {}) {
  const { bus, clock } = newBus();
  const { lines, log } = collectingLog();
  const outcomes: string[] = [];
  const sender = new Webhooks(
    {
      ...{ clock, log, env, instance: 'instance', folder: path, random: () => 1 },
      onEnd: (outcome) => outcomes.push(outcome),
    },
    webhooks,
  );
  bus.subscribe(sender.onEvent);
  return { bus, clock, lines, outcomes, sender };
}

const webhook = (url: string, changes: object = {}) =>
  webhookSchema.parse({ on: ['job-failed', 'backup-kept'], url, ...changes });

describe('webhooks', () => {
  it('send the event, signed as Standard Webhooks say', LIMIT, async (t) => {
    const { requests, url } = await serve(t, (response) => response.end('ok'));
    const config = webhook(url, { secret: { env: 'KEY' }, token: { env: 'TOKEN' } });
    const { bus, outcomes, sender } = setUp(await folder(t), [config], { KEY: 'geheim', TOKEN: 'abc' });
    bus.emit(keptEvent());
    bus.emit({ type: 'port-detached', port: 'x' });
    await until(() => outcomes.length === 1);
    const [{ headers, body, path }] = requests as [Request];
    assert.equal(path, '/in');
    assert.equal(headers['authorization'], 'Bearer abc');
    const id = headers['webhook-id'] as string;
    const at = headers['webhook-timestamp'] as string;
    assert.equal(id, 'instance-1');
    assert.equal(Number(at), Date.parse('2026-11-23T10:00:00.000Z') / 1000);
    const wanted = createHmac('sha256', 'geheim').update(`${id}.${at}.${body}`).digest('base64');
    assert.equal(headers['webhook-signature'], `v1,${wanted}`);
    const event = JSON.parse(body) as { type: string; seq: number; instance: string };
    assert.deepEqual([event.type, event.seq, event.instance], ['backup-kept', 1, 'instance']);
    assert.equal(sender.waiting, 0);
    await sender.stop();
  });

  it('are never sent without the signature that is wanted', LIMIT, async (t) => {
    const { requests, url } = await serve(t, (response) => response.end());
    const { bus, lines, sender } = setUp(null, [webhook(url, { secret: { file: '/nonexistent/x' } })]);
    bus.emit(keptEvent());
    await until(() => lines.length === 1);
    assert.equal(lines[0]!.fields['reason'], 'the file of its secret cannot be read (ENOENT)');
    await sender.stop();
    assert.deepEqual([requests.length, sender.waiting], [0, 1]);
  });

  it('wait longer each time while a server answers 500, and give up after a day', LIMIT, async (t) => {
    const { requests, url } = await serve(t, (response, n) => {
      response.statusCode = n <= 3 || n > 4 ? 500 : 204;
      response.end();
    });
    const { bus, clock, outcomes, lines, sender } = setUp(await folder(t), [webhook(url)]);
    bus.emit(keptEvent());
    for (const [index, waitMs] of [2000, 4000, 8000].entries()) {
      await until(() => requests.length === index + 1 && lines.length === index + 1 && clock.pendingTimers === 1);
      await clock.advance(waitMs - 1);
      assert.equal(requests.length, index + 1);
      await clock.advance(1);
    }
    await until(() => outcomes.length === 1);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn', 'debug', 'debug'],
    );
    bus.emit(failedEvent());
    await until(() => requests.length === 5 && clock.pendingTimers === 1 && lines.length === 4);
    await clock.advance(MAX_AGE_MS + 1);
    while (outcomes.length < 2) {
      await clock.advance(600_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.deepEqual(outcomes, ['done', 'failed']);
    await sender.stop();
    assert.equal(clock.pendingTimers, 0);
  });

  it('follow no redirect, and drop what a server refuses for good', LIMIT, async (t) => {
    const { requests, url } = await serve(t, (response, n) => {
      response.writeHead(n === 1 ? 302 : 404, { location: 'file:///etc/passwd' });
      response.end();
    });
    const { bus, lines, outcomes, sender } = setUp(null, [webhook(url)]);
    bus.emit(keptEvent());
    bus.emit(keptEvent());
    await until(() => outcomes.length === 2);
    assert.equal(requests.length, 2);
    assert.match(String(lines[0]!.fields['reason']), /redirects \(302\)/);
    assert.match(String(lines[1]!.fields['reason']), /404/);
    assert.ok(!JSON.stringify(lines).includes('/in'), 'the path of the URL may be a secret');
    await sender.stop();
  });

  it('do not wait for a server that never answers, nor read one that never ends', LIMIT, async (t) => {
    const silent = await serve(t, () => undefined);
    const { bus, clock, lines, sender } = setUp(null, [webhook(silent.url)]);
    bus.emit(keptEvent());
    await until(() => silent.requests.length === 1);
    await clock.advance(15_000);
    await until(() => lines.length === 1);
    assert.equal(lines[0]!.fields['reason'], 'no whole answer within 15 s');
    await sender.stop();

    const endless = await serve(t, (response) => {
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', more);
      more();
    });
    const other = setUp(null, [webhook(endless.url)]);
    other.bus.emit(keptEvent());
    await until(() => other.outcomes.length === 1);
    assert.deepEqual(other.outcomes, ['done']);
    await other.sender.stop();
  });

  it('survive a restart, in order; what is no delivery is left alone', LIMIT, async (t) => {
    const path = join(await folder(t), 'spool');
    const { requests, url } = await serve(t, (response) => response.end());
    // Nobody listens at port 1 of the loopback.
    const before = setUp(path, [webhook('http://127.0.0.1:1/')]);
    for (let n = 0; n < 3; n++) before.bus.emit(keptEvent({ id: `id ${n}` }));
    await until(() => before.lines.length === 1);
    await before.sender.stop();
    assert.equal((await readdir(path)).length, 3);
    await mkdir(join(path, '000000000000001-000000.json'));
    await writeFile(join(path, '000000000000002-000000.json'), '{');
    const after = setUp(path, [webhook('http://127.0.0.1:1/')]);
    await until(() => after.sender.waiting === 3);
    await after.sender.stop();
    // A webhook that is gone from the config has nothing left.
    const other = setUp(path, [webhook(url)]);
    other.bus.emit(keptEvent({ id: 'new' }));
    await until(() => other.outcomes.length === 1);
    await other.sender.stop();
    assert.equal(requests.length, 1);
    assert.deepEqual((await readdir(path)).sort(), ['000000000000001-000000.json', '000000000000002-000000.json']);
  });

  it('keep a bounded number, the newest, and go on where the disk refuses', LIMIT, async (t) => {
    const file = join(await folder(t), 'file');
    await writeFile(file, '');
    const { lines, log } = collectingLog();
    const spool = new Spool(join(file, 'spool'), log);
    const delivery = { webhook: 'w', id: 'i', path: '', query: '', headers: {}, body: '' };
    for (let n = 0; n < MAX_SPOOLED; n++) assert.deepEqual(spool.add({ ...delivery, atMs: n }), []);
    assert.equal(spool.add({ ...delivery, atMs: MAX_SPOOLED })[0]?.delivery.atMs, 0);
    const large = new Spool(null, silentLogger);
    const body = 'x'.repeat(3 << 20);
    large.add({ ...delivery, atMs: 0, body });
    assert.equal(large.add({ ...delivery, atMs: 1, body }).length, 1);
    await spool.settled();
    assert.equal(spool.entries.length, MAX_SPOOLED);
    assert.equal(lines.length, 1);
  });

  it('speak to ntfy and Healthchecks as these want it', () => {
    const at = { seq: 5, at: '2026-11-23T10:00:00.000Z' };
    const failed: ServiceEvent = { ...failedEvent(), ...at };
    const ntfy = messageOf('ntfy', failed, 'i');
    assert.deepEqual([ntfy.headers['title'], ntfy.headers['priority']], ['espd: job failed', '4']);
    assert.match(ntfy.body, /A region could not be read \(read-failed\)/);
    const start = messageOf('healthchecks', { type: 'job-started', job: 1, kind: 'backup', port: 'x', ...at }, 'i');
    const fail = messageOf('healthchecks', failed, 'i');
    const done = messageOf('healthchecks', { ...keptEvent(), ...at }, 'i');
    assert.deepEqual([start.path, fail.path, done.path], ['/start', '/fail', '']);
    assert.match(start.query, /^rid=[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(start.query, fail.query);
    assert.notEqual(messageOf('healthchecks', failed, 'other').query, fail.query);
  });

  it('reach ntfy and Healthchecks as their documents say', LIMIT, async (t) => {
    const { requests, url } = await serve(t, (response) => response.end('ok'));
    const on = ['job-started', 'job-failed', 'backup-kept'];
    const hooks = ['ntfy', 'healthchecks'].map((template) => webhookSchema.parse({ on, url, template }));
    const { bus, outcomes, sender } = setUp(null, hooks);
    bus.emit({ type: 'job-started', job: 1, kind: 'backup', port: 'x' });
    bus.emit(keptEvent());
    bus.emit(failedEvent());
    await until(() => outcomes.length === 6);
    await sender.stop();
    const ntfy = requests.filter(({ headers }) => 'title' in headers);
    assert.deepEqual(
      ntfy.map(({ path, headers: { title, priority, tags } }) => [path, title, priority, tags]),
      [
        ['/in', 'espd: job started', '3', 'floppy_disk'],
        ['/in', 'espd: backup kept', '3', 'floppy_disk'],
        ['/in', 'espd: job failed', '4', 'warning'],
      ],
    );
    assert.ok(ntfy[2]?.body.startsWith('job failed, A region could not be read (read-failed)'));
    const pings = requests.filter(({ headers }) => !('title' in headers)).map(({ path }) => path.split('?'));
    assert.deepEqual(
      pings.map(([path]) => path),
      ['/in/start', '/in', '/in/fail'],
    );
    const runs = new Set(pings.map(([, query]) => query));
    assert.equal(runs.size, 1, 'start and end of one job have one id');
    assert.match([...runs][0] ?? '', /^rid=[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it('are not signed with what everybody may read', LIMIT, async (t) => {
    const { requests, url } = await serve(t, (response) => response.end());
    const file = join(await folder(t), 'secret');
    await writeFile(file, 'geheim\n', { mode: 0o600 });
    await chmod(file, 0o604);
    const { bus, clock, lines, outcomes, sender } = setUp(null, [webhook(url, { secret: { file } })]);
    bus.emit(keptEvent());
    await until(() => lines.length === 1 && clock.pendingTimers === 1);
    assert.match(String(lines[0]!.fields['reason']), /may be read or written by everybody: chmod o=/);
    await chmod(file, 0o640);
    await clock.advance(2000);
    await until(() => outcomes.length === 1);
    await sender.stop();
    assert.equal(requests.length, 1);
  });

  it('refuse URLs of other kinds', () => {
    for (const url of ['file:///etc/passwd', 'ftp://x/', 'http://a:b@x/', 'x']) {
      assert.equal(webhookSchema.safeParse({ on: ['pruned'], url }).success, false, url);
    }
  });
});
