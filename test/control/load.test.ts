/** Many clients at once beside boards at work: each hears everything, whatever the others do. */

import assert from 'node:assert/strict';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { PACED } from '../daemon/workshop.ts';
import { ApiBench } from './support.ts';

const READERS = 70;
const DEAF = 15;
const FLEETING = 15;
const QUESTIONS = 1000;
const ASKING_AT_ONCE = 20;

/** A client of the event stream, and what it heard. */
class Client {
  readonly asking: ClientRequest;
  readonly response: IncomingMessage;
  readonly types: string[] = [];
  readonly seqs: number[] = [];
  isClosed = false;
  onEvent: () => void = () => undefined;

  private constructor(asking: ClientRequest, response: IncomingMessage) {
    this.asking = asking;
    this.response = response;
    response.once('close', () => (this.isClosed = true));
    response.on('error', () => undefined);
    asking.on('error', () => undefined);
  }

  static async open(t: TestContext, socketPath: string, headers: Record<string, string> = {}): Promise<Client> {
    const client = await new Promise<Client>((resolve, reject) => {
      const asking = request({ socketPath, path: '/v1/events', headers, agent: false }, (response) =>
        resolve(new Client(asking, response)),
      );
      asking.once('error', reject);
      asking.end();
    });
    t.after(() => client.asking.destroy());
    return client;
  }

  listen(): void {
    const lines = createInterface({ input: this.response });
    // Its end is that of the response.
    lines.on('error', () => undefined);
    lines.on('line', (line) => {
      const json = line.startsWith('data: ') ? line.slice(6) : line;
      if (!json.startsWith('{')) return;
      const { type, seq } = JSON.parse(json) as { type: string; seq?: number };
      if (type === 'alive') return;
      this.types.push(type);
      if (seq !== undefined) this.seqs.push(seq);
      this.onEvent();
    });
  }

  async hasHeard(seq: number): Promise<void> {
    if ((this.seqs.at(-1) ?? 0) >= seq) return;
    await new Promise<void>((resolve) => {
      this.onEvent = () => {
        if ((this.seqs.at(-1) ?? 0) >= seq) resolve();
      };
    });
  }
}

test('a hundred event streams, deaf and fleeting ones among them, and 1,000 questions, beside eight boards', async (t) => {
  const bench = await ApiBench.open(t);
  const { shop, socketPath } = bench;
  const sse = { accept: 'text/event-stream' };
  const readers = await Promise.all(
    Array.from({ length: READERS }, (_, index) => Client.open(t, socketPath, index % 2 === 0 ? {} : sse)),
  );
  for (const client of readers) client.listen();
  // Their sockets fill up, and nobody empties them.
  const deaf = await Promise.all(Array.from({ length: DEAF }, () => Client.open(t, socketPath)));
  for (const { response } of deaf) response.pause();
  const fleeting = await Promise.all(Array.from({ length: FLEETING }, () => Client.open(t, socketPath, sse)));

  const boards = Array.from({ length: 8 }, (_, slot) => shop.board({ slot, line: PACED }));
  for (const device of boards) shop.plug(device);
  const backedUp = Promise.all(boards.map(({ address }) => shop.said('Backed up and verified', { port: address })));

  const agent = new Agent({ keepAlive: true, maxSockets: ASKING_AT_ONCE });
  t.after(() => agent.destroy());
  const statuses = new Map<number, number>();
  const ask = async () => {
    const status = await new Promise<number>((resolve, reject) => {
      const asking = request({ socketPath, path: '/v1/status', agent }, (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode ?? 0));
        response.once('error', reject);
      });
      asking.once('error', reject);
      asking.end();
    });
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  };
  let asked = 0;
  const askOn = async () => {
    while (asked < QUESTIONS) {
      asked++;
      if (asked % 50 === 0) fleeting.pop()?.asking.destroy();
      await ask();
    }
  };
  await Promise.all([...Array.from({ length: ASKING_AT_ONCE }, askOn), backedUp]);
  await shop.idle();

  assert.deepEqual([...statuses], [[200, QUESTIONS]]);
  for (const { board } of boards) {
    await shop.archived(board);
    assert.equal(board.mode, 'app');
  }
  const last = shop.events.lastSeq;
  assert.ok(last > 50, `${last} events`);
  await Promise.all(readers.map((client) => client.hasHeard(last)));
  const all = Array.from({ length: last }, (_, index) => index + 1);
  for (const client of readers) {
    assert.equal(client.types[0], 'hello');
    assert.ok(!client.types.includes('gap'), 'nobody has missed anything');
    assert.deepEqual(client.seqs, all.slice(-client.seqs.length));
    assert.ok(client.seqs[0] !== undefined && client.seqs[0] <= 2, `from ${client.seqs[0]} on`);
  }
  // A deaf one that listens at last gets all of it as well: the ring still has it.
  const [late] = deaf;
  late!.listen();
  late!.response.resume();
  await late!.hasHeard(last);
  assert.deepEqual(late!.seqs, all.slice(-late!.seqs.length));

  await bench.control.close();
  for (const client of [...readers, ...deaf]) {
    if (!client.isClosed) await new Promise((resolve) => client.response.resume().once('close', resolve));
  }
});
