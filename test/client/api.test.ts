import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { type Server as NetServer, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ApiClient } from '../../src/client/api.ts';
import { type Followed, followStation } from '../../src/client/follow.ts';
import { readStatus } from '../../src/client/status-document.ts';
import { systemClock } from '../../src/clock.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { ApiBench } from '../control/support.ts';
import { serveAt, socketFolder, stateOf } from './support.ts';

describe('the client of the API', () => {
  test('tells a daemon that is not there, a stale socket, and what is no daemon', async (t) => {
    const folder = await socketFolder(t);
    const ask = (name: string) => new ApiClient(join(folder, name), systemClock).status();
    await assert.rejects(ask('none.sock'), { code: 'daemon-absent' });
    await writeFile(join(folder, 'file'), '');
    await assert.rejects(ask('file'), { code: 'daemon-absent' });
    const server: NetServer = createServer((socket) => socket.on('data', () => socket.end('SSH-2.0-x\r\n')));
    await new Promise<void>((resolve) => server.listen(join(folder, 'ssh.sock'), resolve));
    t.after(() => server.close());
    await assert.rejects(ask('ssh.sock'), { code: 'daemon-protocol' });
    await serveAt(t, join(folder, 'other.sock'), (_, response) => response.writeHead(404).end('<html>'));
    await assert.rejects(ask('other.sock'), { code: 'daemon-protocol' });
    await serveAt(t, join(folder, 'cut.sock'), (_, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('{', () => response.destroy());
    });
    await assert.rejects(ask('cut.sock'), { code: 'daemon-gone' });
    for (const answer of ['{}', '[]', '3', '{"ports":{}}']) {
      const name = `${answer.length}.${Buffer.from(answer).toString('hex')}`;
      await serveAt(t, join(folder, name), (_, response) => response.end(answer));
      await assert.rejects(ask(name), { code: 'daemon-protocol' });
    }
  });

  test('gives the error of the daemon with code, sentence and hint', async (t) => {
    const bench = await ApiBench.open(t);
    const client = new ApiClient(bench.socketPath, systemClock);
    await assert.rejects(client.ask('/v1/jobs', { method: 'POST', body: { kind: 'backup', port: '/dev/none' } }), {
      code: 'port-missing',
    });
    await assert.rejects(client.ask('/v1/boards/cellar'), { code: 'archive-missing' });
  });

  test('takes the state of a daemon that tells less, or more, and none of a wrong type', () => {
    const port = { port: '/dev/ttyUSB0', state: 'washing', since: '2026-11-26T22:00:00.000Z', colour: 'red' };
    const read = readStatus(stateOf('a', 3, { ports: [port], more: 1 }));
    assert.deepEqual([read?.ports[0]?.mac, read?.ports[0]?.state], [null, 'washing']);
    for (const wrong of [
      { ports: [{ ...port, mac: 3 }] },
      { ports: [{ ...port, error: 'x' }] },
      { ports: [null] },
      { jobs: [{ job: 'x' }] },
      { attention: [{}] },
      { lastSeq: '3' },
    ]) {
      assert.equal(readStatus(stateOf('a', 3, wrong)), undefined, JSON.stringify(wrong));
    }
  });
});

/** The next of what a follower learns that `wanted` lets through. */
async function next(
  followed: AsyncGenerator<Followed, never>,
  wanted: (one: Followed) => boolean = () => true,
): Promise<Followed> {
  for (;;) {
    const one: Followed = (await followed.next()).value;
    if (wanted(one)) return one;
  }
}

describe('a follower', () => {
  test('has the state, then every event of a backup', async (t) => {
    const bench = await ApiBench.open(t);
    const abort = new AbortController();
    const followed = followStation(new ApiClient(bench.socketPath, systemClock), abort.signal);
    const first = await next(followed);
    assert.ok(first.kind === 'state');
    const device = bench.shop.board();
    bench.shop.plug(device);
    const seqs: number[] = [];
    await next(followed, (one) => {
      if (one.kind === 'event') seqs.push(one.event.seq);
      return one.kind === 'event' && one.event.type === 'job-ended';
    });
    const from = first.status.lastSeq;
    assert.deepEqual(
      seqs,
      seqs.map((_, index) => from + 1 + index),
    );
    abort.abort(new Error('enough'));
    await assert.rejects(followed.next(), /enough/);
  });

  test('waits for a daemon that goes, and takes the state anew from another one; what it does not know passes', async (t) => {
    const path = join(await socketFolder(t), 'espd.sock');
    const clock = new VirtualClock();
    t.after(() => clock.clear());
    const life = { instance: 'one', lines: [{ type: 'brewing-tea', seq: 5, at: 'x' }] as object[], ends: true };
    const server = await serveAt(t, path, (request, response) => {
      if (request.url?.startsWith('/v1/status') === true) {
        response.end(JSON.stringify(stateOf(life.instance, 4)));
        return;
      }
      const hello = { type: 'hello', instance: life.instance, lastSeq: 4, version: '9.9.9' };
      const text = [hello, { type: 'alive' }, ...life.lines].map((line) => `${JSON.stringify(line)}\n`).join('');
      if (life.ends) response.end(text);
      else response.write(text);
    });
    const abort = new AbortController();
    const followed = followStation(new ApiClient(path, clock), abort.signal);
    assert.equal((await next(followed)).kind, 'state');
    const event = await next(followed);
    assert.deepEqual(event.kind === 'event' && [event.event.type, event.event.seq], ['brewing-tea', 5]);
    assert.equal((await next(followed)).kind, 'gone');
    // Event 5 once more: it is known.
    life.ends = false;
    assert.equal((await next(followed)).kind, 'back');
    life.instance = 'two';
    life.lines = [];
    server.closeAllConnections();
    assert.equal((await next(followed)).kind, 'gone');
    const anew = await next(followed);
    assert.deepEqual(anew.kind === 'state' && [anew.status.instance, anew.missed], ['two', true]);
    abort.abort(new Error('enough'));
    await assert.rejects(followed.next(), /enough/);
  });
});
