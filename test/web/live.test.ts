/** How the page follows the station: whatever the line does to the stream, nothing is missed, or the page says so. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { session } from '../../web/api.ts';
import { about, connection, followStation, generation, missed, onEvent, trouble, view } from '../../web/live.ts';

const INSTANCE = 'first';

interface Line {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** A stream as the browser has it: bytes come when the test says so, and end or break off. */
class Stream {
  readonly query: URLSearchParams;
  readonly response: Response;
  readonly #bytes: ReadableStreamDefaultController<Uint8Array>;
  isOver = false;

  constructor(path: string, signal: AbortSignal | null | undefined) {
    this.query = new URL(path, 'http://espd').searchParams;
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (made) => void (controller = made),
      cancel: () => void (this.isOver = true),
    });
    assert.ok(controller !== undefined);
    this.#bytes = controller;
    this.response = new Response(body);
    signal?.addEventListener('abort', () => this.breakOff(signal.reason));
  }

  bytes(bytes: Uint8Array): void {
    if (!this.isOver) this.#bytes.enqueue(bytes);
  }

  lines(...lines: readonly Line[]): void {
    this.bytes(Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join('')));
  }

  hello(instance = INSTANCE): void {
    this.lines({ type: 'hello', instance });
  }

  end(): void {
    if (!this.isOver) this.#bytes.close();
    this.isOver = true;
  }

  breakOff(reason: unknown = new TypeError('network error')): void {
    if (!this.isOver) this.#bytes.error(reason);
    this.isOver = true;
  }
}

/** A server whose state and streams the test makes. */
class Server {
  status: object | number = this.state(0);
  readonly asked: string[] = [];
  readonly streams: Stream[] = [];

  state(lastSeq: number, { instance = INSTANCE, failures = 0 } = {}): object {
    return {
      ...{ version: '1.0.0', instance, lastSeq, archive: '/srv/espd', startedAt: null, isStopping: false },
      ...{ ports: [], jobs: [], attention: [], counters: { backups: 0, unchanged: 0, failures } },
    };
  }

  readonly fetch = (path: string, { signal }: RequestInit = {}): Promise<Response> => {
    this.asked.push(path);
    if (path.startsWith('/v1/events')) {
      const stream = new Stream(path, signal);
      this.streams.push(stream);
      return Promise.resolve(stream.response);
    }
    if (typeof this.status === 'object') return Promise.resolve(Response.json(this.status));
    const problem = { code: 'daemon-absent', detail: 'No daemon answers', hint: 'systemctl start espd' };
    return Promise.resolve(Response.json(problem, { status: this.status }));
  };

  get last(): Stream {
    const stream = this.streams.at(-1);
    assert.ok(stream !== undefined, 'no stream was asked for');
    return stream;
  }
}

/** A port for each event, so that each that is missing shows. */
const attached = (seq: number, name = `port ${seq}`): Line => ({
  ...{ seq, at: '2026-11-27T00:00:00.000Z', type: 'port-attached', port: name, usb: null, existing: false },
});
const ports = () => view.value.ports.map(({ port }) => port);

const real = {
  fetch: globalThis.fetch,
  addEventListener: Reflect.get(globalThis, 'addEventListener') as unknown,
  removeEventListener: Reflect.get(globalThis, 'removeEventListener') as unknown,
};
let server: Server;
let ending: AbortController;
let following: Promise<void>;

/** A server, a browser's globals, and a clock that is moved by hand. */
function setUp(t: TestContext, status?: number): void {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  server = new Server();
  if (status !== undefined) server.status = status;
  // What a browser has and Node has not: the page listens for the network to come back.
  Object.assign(globalThis, {
    fetch: server.fetch,
    addEventListener: () => undefined,
    removeEventListener: () => undefined,
  });
  session.value = { csrf: 'x', kind: 'link' };
  missed.value = null;
  trouble.value = null;
  ending = new AbortController();
  following = followStation(ending.signal);
  t.after(async () => {
    // What the page has put off is done: it must not wait for a clock that is gone.
    t.mock.timers.tick(1000);
    ending.abort();
    await following;
    Object.assign(globalThis, real);
  });
}

/** All that can be done now is done, and what the page puts off for one frame, too. */
async function settle(t: TestContext, ms = 100): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  t.mock.timers.tick(ms);
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}

/** Follows the station up to event 2. */
async function live(t: TestContext): Promise<void> {
  setUp(t);
  await settle(t);
  assert.deepEqual(Object.fromEntries(server.last.query), { since: '0', instance: INSTANCE });
  server.last.hello();
  server.last.lines(attached(1), attached(2));
  await settle(t);
  assert.deepEqual([connection.value, ports(), about.value?.archive], ['live', ['port 1', 'port 2'], '/srv/espd']);
}

test('events change the picture in their order, and each listener is told of each once', async (t) => {
  const told: number[] = [];
  const stop = onEvent(({ seq }) => told.push(seq));
  await live(t);
  stop();
  server.last.lines(attached(3));
  await settle(t);
  assert.deepEqual([told, ports().length], [[1, 2], 3]);
});

test('lines that are cut anywhere, in the middle of a letter too, are put together again', async (t) => {
  await live(t);
  const { last } = server;
  let seq = 2;
  const name = (number: number) => `Küche ☕ 😀 ${number}`;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(400), { maxLength: 12 }), async (cuts) => {
      const lines = [attached(seq + 1, name(seq + 1)), { type: 'alive' }, attached(seq + 2, name(seq + 2))];
      seq += 2;
      const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
      const places = [0, ...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length];
      for (const [index, place] of places.slice(1).entries()) last.bytes(bytes.subarray(places[index], place));
      await settle(t);
      assert.deepEqual(ports().slice(-2), [name(seq - 1), name(seq)]);
    }),
    { numRuns: 30 },
  );
  assert.deepEqual([ports().length, missed.value, server.streams.length], [seq, null, 1]);
});

test('an event that comes twice counts once', async (t) => {
  await live(t);
  const told: number[] = [];
  const stop = onEvent(({ seq }) => told.push(seq));
  server.last.lines(attached(2), attached(1), attached(3), attached(3));
  await settle(t);
  stop();
  assert.deepEqual([told, ports().length, missed.value], [[3], 3, null]);
});

for (const [what, lines] of [
  ['a number is left out', [attached(4)]],
  ['the daemon says that some are gone', [{ type: 'gap', from: 9 }]],
] as const) {
  test(`${what}: the state is read anew, and the page says so`, async (t) => {
    await live(t);
    const before = generation.value;
    server.status = server.state(9, { failures: 3 });
    server.last.lines(...lines);
    await settle(t);
    assert.match(missed.value ?? '', /Events were missed.*read anew/);
    assert.deepEqual([generation.value, view.value.counters.failures, ports()], [before + 1, 3, []]);
    assert.equal(server.last.query.get('since'), '9');
    assert.ok(server.streams[0]?.isOver, 'the stream with the gap is let go');
    server.last.hello();
    server.last.lines(attached(10));
    await settle(t);
    assert.deepEqual([connection.value, ports()], ['live', ['port 10']]);
  });
}

test('another instance of the daemon: its numbers mean nothing of the old ones', async (t) => {
  await live(t);
  server.last.end();
  await settle(t, 1000);
  // It is asked where the old one was left, and says that it is another.
  assert.deepEqual(Object.fromEntries(server.last.query), { since: '2', instance: INSTANCE });
  server.status = server.state(1, { instance: 'second' });
  server.last.hello('second');
  await settle(t);
  assert.match(missed.value ?? '', /started again/);
  assert.deepEqual(Object.fromEntries(server.last.query), { since: '1', instance: 'second' });
});

for (const [what, fault] of [
  ['ends', (stream: Stream) => stream.end()],
  ['breaks off', (stream: Stream) => stream.breakOff()],
  [
    'breaks off in the middle of a line',
    (stream: Stream) => {
      stream.bytes(Buffer.from(JSON.stringify(attached(3)).slice(0, 40)));
      stream.breakOff();
    },
  ],
  [
    'ends in the middle of a line',
    (stream: Stream) => {
      stream.bytes(Buffer.from(JSON.stringify(attached(3)).slice(0, 40)));
      stream.end();
    },
  ],
  ['becomes something else', (stream: Stream) => stream.bytes(Buffer.from('<html>502 Bad Gateway</html>\n'))],
] as const) {
  test(`a stream that ${what} is gone on with where it was left; nothing was missed, and nothing is said`, async (t) => {
    await live(t);
    const before = generation.value;
    fault(server.last);
    await settle(t, 0);
    assert.equal(connection.value, 'lost');
    assert.equal(server.streams.length, 1, 'it is not asked at once');
    await settle(t, 1000);
    assert.equal(server.streams.length, 2);
    assert.equal(server.last.query.get('since'), '2');
    server.last.hello();
    server.last.lines(attached(3));
    await settle(t);
    assert.deepEqual([connection.value, ports().length, missed.value, generation.value], ['live', 3, null, before]);
  });
}

test('silence longer than the signs of life is a dead line; signs of life keep it', async (t) => {
  await live(t);
  for (let count = 0; count < 5; count++) {
    await settle(t, 20_000);
    server.last.lines({ type: 'alive' });
    await settle(t, 0);
  }
  assert.deepEqual([connection.value, server.streams.length], ['live', 1]);
  await settle(t, 41_000);
  assert.equal(connection.value, 'lost');
  assert.ok(server.streams[0]?.isOver, 'the dead line is let go');
  await settle(t, 1000);
  assert.equal(server.streams.length, 2);
  server.last.hello();
  await settle(t);
  assert.deepEqual([connection.value, missed.value], ['live', null]);
});

test('no daemon: why is told, it is asked again ever more slowly, and the page goes on by itself', async (t) => {
  setUp(t, 502);
  await settle(t, 0);
  assert.deepEqual([connection.value, trouble.value?.code], ['lost', 'daemon-absent']);
  assert.match(trouble.value?.hint ?? '', /systemctl/);
  for (let count = 0; count < 60; count++) await settle(t, 500);
  assert.ok(server.asked.length >= 5 && server.asked.length <= 12, `${server.asked.length} times in 30 s`);
  server.status = server.state(5);
  await settle(t, 5000);
  server.last.hello();
  await settle(t);
  assert.deepEqual([connection.value, trouble.value, missed.value], ['live', null, null]);
});

test('events that this page does not know yet are counted and passed over', async (t) => {
  await live(t);
  server.last.lines({ seq: 3, at: '2030-01-01T00:00:00.000Z', type: 'from-the-future' }, attached(4), {
    type: 'pulse',
  });
  await settle(t);
  assert.deepEqual([ports().length, missed.value, server.streams.length], [3, null, 1]);
});

test('ended by its signal, it asks nobody any more', async (t) => {
  await live(t);
  ending.abort();
  await settle(t, 60_000);
  await following;
  assert.equal(server.streams.length, 1);
});
