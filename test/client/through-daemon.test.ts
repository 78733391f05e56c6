/** Which daemon a command asks, whether it asks one at all, and what it says when that fails. */

import assert from 'node:assert/strict';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createSocketServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { type ToPerson, encodeMessage } from '../../src/control/contract/session-messages.ts';
import { EspdProcess } from '../e2e/support.ts';
import { Bench, checkError, parseJson } from '../support/cli.ts';
import { startRelayServer } from '../support/relay-server.ts';

const UPGRADED =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: espd-session/1\r\nespd-archive: %2Felsewhere\r\n\r\n';

/** A bench whose config is where it is looked for, with a backup in its archive. */
async function benchOf(t: TestContext): Promise<Bench> {
  const bench = await Bench.open(t);
  await mkdir(join(bench.folder, '.config/espd'), { recursive: true });
  await symlink(bench.configPath, join(bench.folder, '.config/espd/config.yaml'));
  await mkdir(bench.archivePath);
  return bench;
}

/** Somebody else at a socket, who does what the test says. */
async function fakeDaemon(t: TestContext, bench: Bench, serve: (socket: Duplex) => void): Promise<string> {
  const path = join(bench.folder, 'fake.sock');
  const server = createServer((_, response) => response.writeHead(404).end('no such page'));
  server.on('upgrade', (_, socket) => {
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return path;
}

const environment = (path: string | undefined): NodeJS.ProcessEnv => ({
  ESPD_CONFIG: '',
  ESPD_NO_DAEMON: undefined,
  ESPD_SOCKET: path,
});

describe('which daemon does a command', () => {
  test('none where nobody listens: missing, stale, no socket, --no-daemon, api.socket: null', async (t) => {
    const bench = await benchOf(t);
    const stale = join(bench.folder, 'stale.sock');
    const server = createSocketServer();
    await new Promise<void>((resolve) => server.listen(stale, resolve));
    // As SIGKILL leaves it: the name without anybody behind it. Node removes the name of a server that it closes.
    const kept = join(bench.folder, 'kept.sock');
    await symlink(stale, kept);
    await new Promise((resolve) => server.close(resolve));
    const file = join(bench.folder, 'file');
    await writeFile(file, '');
    const byItself = await bench.run(['list'], { env: { ESPD_CONFIG: '' } });
    for (const path of [join(bench.folder, 'missing.sock'), kept, file, join(file, 'below.sock')]) {
      assert.deepEqual(await bench.run(['list'], { env: environment(path) }), byItself, path);
    }
    const refusing = await fakeDaemon(t, bench, () => assert.fail('asked'));
    assert.deepEqual(await bench.run(['list', '--no-daemon'], { env: environment(refusing) }), byItself);
    assert.deepEqual(
      await bench.run(['list', '--archive', bench.archivePath], { env: environment(refusing) }),
      await bench.run(['list', '--archive', bench.archivePath]),
    );
    await bench.configure({ api: { socket: null } });
    assert.deepEqual(await bench.run(['list'], { env: environment(undefined) }), byItself);
  });

  test("the config's, if the config names no other archive than that daemon's", async (t) => {
    const bench = await benchOf(t);
    const server = await startRelayServer(t, bench);
    const asked = () => server.logged.length;
    await bench.configure({ api: { socket: server.socketPath } });
    assert.equal((await bench.run(['list'], { env: environment(undefined) })).status, 0);
    assert.equal(asked(), 1, 'the same archive');
    const other = join(bench.folder, 'other');
    await mkdir(other);
    const own = join(bench.folder, '.config/own.yaml');
    await writeFile(own, JSON.stringify({ archive: { path: other }, api: { socket: server.socketPath } }));
    assert.equal((await bench.run(['list'], { env: { ...environment(undefined), ESPD_CONFIG: own } })).status, 0);
    assert.equal(asked(), 1, 'another archive is meant');
    await writeFile(own, JSON.stringify({ api: { socket: server.socketPath } }));
    assert.equal((await bench.run(['list'], { env: { ...environment(undefined), ESPD_CONFIG: own } })).status, 0);
    assert.equal(asked(), 2, 'no archive is named');
    await writeFile(own, JSON.stringify({ archive: { path: other } }));
    const named = { ...environment(server.socketPath), ESPD_CONFIG: own };
    assert.equal((await bench.run(['list'], { env: named })).status, 0);
    assert.equal(asked(), 3, 'the daemon itself is named');
  });

  test('none of another protocol: by itself if it can, else it says why', async (t) => {
    const bench = await benchOf(t);
    const byItself = await bench.run(['list'], { env: { ESPD_CONFIG: '' } });
    const answers = [
      'HTTP/1.1 426 Upgrade Required\r\nespd-version: 9.0.0\r\nContent-Length: 0\r\n\r\n',
      UPGRADED.replace('espd-session/1', 'espd-session/2'),
      'HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}',
      'SSH-2.0-OpenSSH\r\n',
    ];
    let answer = '';
    const path = await fakeDaemon(t, bench, (socket) => socket.end(answer));
    for (answer of answers) assert.deepEqual(await bench.run(['list'], { env: environment(path) }), byItself, answer);
  });

  test('a daemon that says why it refuses is believed', async (t) => {
    const bench = await benchOf(t);
    const body = JSON.stringify({ code: 'daemon-busy', detail: 'full\u001b[2J', hint: 'later' });
    const path = await fakeDaemon(t, bench, (socket) =>
      socket.end(`HTTP/1.1 503 Service Unavailable\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
    );
    const refused = await bench.run(['list'], { env: environment(path) });
    checkError(refused, 'daemon-busy');
    assert.ok(!refused.stderr.includes('\u001b[2J'));
  });

  test('who may neither speak to it nor read the archive is told how to get in', async (t) => {
    const bench = await benchOf(t);
    const server = await startRelayServer(t, bench);
    await chmod(server.socketPath, 0o000);
    const run = (...args: string[]) =>
      new EspdProcess(t, bench, args, {
        env: { ESPD_NO_DAEMON: '', ESPD_SOCKET: server.socketPath },
        isBoundByPermissions: true,
      });
    assert.equal(await run('list').status(), 0, 'the archive is open to this user');
    await chmod(bench.archivePath, 0o000);
    const denied = run('list');
    const status = await denied.status().finally(() => chmod(bench.archivePath, 0o700));
    checkError({ status, stderr: denied.stderr }, 'daemon-denied');
    assert.match(denied.stderr, /^espd: You are not in group espd[^]*sudo usermod -aG espd \$USER/m);
    assert.deepEqual(server.logged, []);
  });
});

describe('a daemon that misbehaves', () => {
  const talking = (t: TestContext, bench: Bench, ...messages: (ToPerson | string)[]) =>
    fakeDaemon(t, bench, (socket) => {
      const lines = messages.map((message) => (typeof message === 'string' ? message : encodeMessage(message)));
      socket.end(UPGRADED + lines.join(''));
    });

  test('gone in the middle: what it said is seen, and the error is clear', async (t) => {
    const bench = await benchOf(t);
    const path = await talking(t, bench, { type: 'output', stream: 'stderr', data: 'half a no' });
    const people = await bench.run(['list'], { env: environment(path) });
    checkError({ ...people, stderr: people.stderr.replace('half a no', '') }, 'daemon-gone');
    assert.match(people.stderr, /^half a no/);
    const script = await bench.runJson(['list'], { env: environment(path) });
    assert.equal(script.json.error.code, 'daemon-gone');
  });

  test('gone within a document: the document stays the only thing on stdout', async (t) => {
    const bench = await benchOf(t);
    const path = await talking(t, bench, { type: 'output', stream: 'stdout', data: '{"boards": [' });
    const { stdout, stderr, status } = await bench.run(['list', '--json'], { env: environment(path) });
    assert.equal(stdout, '{"boards": [');
    checkError({ status, stderr }, 'daemon-gone');
  });

  test('no message of the protocol, or a line without end', async (t) => {
    for (const words of ['{"type":"port"}\n', 'nonsense\n', 'x'.repeat(700_000)]) {
      const bench = await benchOf(t);
      checkError(await bench.run(['list'], { env: environment(await talking(t, bench, words)) }), 'daemon-protocol');
    }
  });

  test('files that the command line does not name are not touched', async (t) => {
    const bench = await benchOf(t);
    const secret = join(bench.folder, 'secret');
    await writeFile(secret, 'secret');
    const replies: unknown[] = [];
    const path = await fakeDaemon(t, bench, (socket) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const lines = text
          .split('\n')
          .slice(0, -1)
          .map((line) => parseJson<{ type: string }>(line));
        replies.splice(0, replies.length, ...lines.filter(({ type }) => type === 'file-reply'));
        if (replies.length === 2) socket.end(encodeMessage({ type: 'end', status: 0 }));
      });
      socket.write(UPGRADED);
      socket.write(
        encodeMessage({ type: 'file', id: 1, request: { op: 'open', file: 1, path: secret, followLinks: true } }),
      );
      socket.write(
        encodeMessage({ type: 'file', id: 2, request: { op: 'create', file: 2, path: join(bench.folder, 'x') } }),
      );
    });
    assert.equal((await bench.run(['import', bench.archivePath], { env: environment(path) })).status, 0);
    for (const reply of replies) assert.match(JSON.stringify(reply), /daemon-protocol/);
    assert.equal(replies.length, 2);
  });
});
