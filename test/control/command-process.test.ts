/** Processes that do commands: how they end, and what becomes of their boards and ports. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { commandStarter } from '../../src/control/start-command.ts';
import { EspdError } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import { EspdProcess } from '../e2e/support.ts';
import { Bench, type BenchBoard, checkError, until } from '../support/cli.ts';
import { isRead } from '../support/flash-reads.ts';
import { MAIN, startRelayServer } from '../support/relay-server.ts';

const SLOW = { family: 'esp32', line: { latencyMs: 0 } } as const;
const PATIENCE_MS = 120_000;

const reads = ({ board }: BenchBoard) => isRead(board);

async function slowScene(t: TestContext, options: Parameters<typeof startRelayServer>[2] = {}) {
  const bench = await Bench.open(t);
  const slow = await bench.addBoard(SLOW, { linked: false });
  const pidFile = join(bench.folder, 'pid');
  const script = `echo $$ > '${pidFile}'; exec '${process.execPath}' '${MAIN}' relay --config '${bench.configPath}'`;
  const server = await startRelayServer(t, bench, { program: ['/bin/sh', '-c', script], ...options });
  const args = ['backup', '--full', '--port', slow.address];
  const pid = async () => Number(await readFile(pidFile, 'utf8'));
  return { bench, slow, server, args, pid };
}

/** Jobs of the API, in real processes. */
function starterOf(bench: Bench) {
  return commandStarter({
    command: {
      file: process.execPath,
      args: [MAIN, 'relay', '--config', bench.configPath],
      env: { PATH: process.env['PATH'], HOME: bench.folder },
    },
    ports: { take: () => Promise.resolve(() => undefined) },
    clock: systemClock,
    log: silentLogger,
  });
}

describe('a process that does a command', () => {
  test("the person's process is killed: the board is released, the port given back", async (t) => {
    const { bench, slow, server, args, pid } = await slowScene(t);
    const client = new EspdProcess(t, bench, args, { env: { ESPD_NO_DAEMON: '', ESPD_SOCKET: server.socketPath } });
    await until(() => reads(slow), 'the board is read', PATIENCE_MS);
    client.kill('SIGKILL');
    await until(() => server.sessions.count === 0, 'the session ends', PATIENCE_MS);
    await until(() => slow.board.mode === 'app', 'the board runs its app', PATIENCE_MS);
    assert.deepEqual(
      server.ports.map(({ what }) => what),
      ['take', 'closed'],
    );
    const child = await pid();
    assert.throws(() => process.kill(child, 0), { code: 'ESRCH' });
  });

  test('it is killed itself: the person is told, and the daemon that a board may need help', async (t) => {
    const { bench, slow, server, args, pid } = await slowScene(t);
    const running = bench.run(args, { env: server.env });
    await until(() => reads(slow), 'the board is read', PATIENCE_MS);
    process.kill(await pid(), 'SIGKILL');
    const ended = await running;
    checkError(ended, 'daemon-gone');
    assert.match(ended.stderr, /SIGKILL/);
    assert.deepEqual(
      server.ports.map(({ what }) => what),
      ['take', 'lost'],
    );
    await until(() => server.sessions.count === 0, 'the session ends');
  });

  test('the daemon is killed: its pipes end, and the board is released all the same', async (t) => {
    const { bench, slow, args } = await slowScene(t);
    const child = spawn(process.execPath, [MAIN, 'relay', '--config', bench.configPath], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: process.env['PATH'], HOME: bench.folder },
    });
    t.after(() => child.kill('SIGKILL'));
    const exited = once(child, 'exit');
    const stream = { isTTY: false, columns: null, rows: null };
    const terminal = { stdout: stream, stderr: stream, canAsk: false };
    child.stdin.write(`${JSON.stringify({ type: 'begin', args, cwd: '/', terminal, env: {} })}\n`);
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      const request = /\{"type":"port","id":(\d+)/.exec(chunk.toString());
      if (request === null) continue;
      child.stdin.write(`{"type":"port-reply","id":${request[1] ?? ''}}\n`);
      break;
    }
    await until(() => reads(slow), 'the board is read', PATIENCE_MS);
    child.stdout.destroy();
    child.stdin.destroy();
    assert.deepEqual(await exited, [130, null]);
    await until(() => slow.board.mode === 'app', 'the board runs its app', PATIENCE_MS);
  });

  test('it waits for the port as long as the daemon works there, and says so; --now is handed on', async (t) => {
    const bench = await Bench.open(t);
    const device = await bench.addBoard({ family: 'esp8266' }, { linked: false });
    let give: (() => void) | undefined;
    const server = await startRelayServer(t, bench, {
      take: (_, { now }, _signal, onWait) => {
        if (now) return Promise.resolve(() => undefined);
        onWait('backup');
        return new Promise((resolve) => (give = () => resolve(() => undefined)));
      },
    });
    const waiting = bench.run(['identify', '--port', device.address], {
      env: server.env,
      onOutput: ({ stderr }) => {
        if (!stderr.includes('Waiting for') || give === undefined) return;
        assert.equal(device.board.mode, 'app');
        assert.equal(device.board.commands.length, 0, 'the board was not touched');
        give();
        give = undefined;
      },
    });
    const { stderr, status } = await waiting;
    assert.equal(status, 0, stderr);
    assert.equal(stderr, `Waiting for the daemon's backup of ${device.address}\n`);
    assert.equal((await bench.run(['backup', '--now', '--port', device.address], { env: server.env })).status, 0);
    assert.deepEqual(
      server.ports.filter(({ what }) => what === 'take').map(({ command, now }) => [command, now]),
      [
        ['identify', false],
        ['backup', true],
      ],
    );
  });

  test('a port that the daemon does not give, and one that nobody waits for any more', async (t) => {
    const bench = await Bench.open(t);
    const device = await bench.addBoard({ family: 'esp8266' }, { linked: false });
    const interruption = new AbortController();
    let isGivenUp = false;
    const server = await startRelayServer(t, bench, {
      take: (_, { command }, signal, onWait) => {
        if (command !== 'backup') throw new EspdError('port-busy', 'held by hand', { hint: 'espd release' });
        onWait('verification');
        return new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => {
            isGivenUp = true;
            reject(signal.reason as Error);
          }),
        );
      },
    });
    const refused = await bench.run(['identify', '--port', device.address], { env: server.env });
    checkError(refused, 'port-busy');
    assert.match(refused.stderr, /held by hand/);
    const { status } = await bench.run(['backup', '--port', device.address], {
      env: server.env,
      signal: interruption.signal,
      onOutput: ({ stderr }) => stderr.includes('Waiting') && interruption.abort(),
    });
    assert.equal(status, 130);
    await until(() => isGivenUp, 'the daemon is told');
    assert.equal(device.board.commands.length, 0);
    assert.deepEqual(server.ports, []);
  });

  test('for the API: one image on many boards is agreed to once, and each board is told as it is done', async (t) => {
    const bench = await Bench.open(t);
    const family = 'esp8266';
    const source = await bench.addBoard({ family, mac: '50:02:91:c3:37:a5' }, { linked: false });
    await bench.run(['backup', '--port', source.address]);
    const twin = await bench.addBoard({ family, mac: '50:02:91:c3:37:a6' }, { linked: false });
    const other = await bench.addBoard({ family: 'esp32', mac: '50:02:91:c3:37:a7' }, { linked: false });
    twin.board.flash.load(0x40000, Buffer.alloc(4096, 0x42));
    const events: unknown[] = [];
    const port = async ({ address }: BenchBoard, name: string) => symlink(address, join(bench.portsPath, name));
    const verdicts = () => events.map((event) => (event as { board?: { verdict: string } }).board?.verdict);
    const run = starterOf(bench)(['restore', `--from=${source.board.mac}`, '--many'], {
      onProgress: () => undefined,
      onPlan: () => undefined,
      onResult: () => undefined,
      onEvent: (event) => void events.push(event),
      onAsk: (id, question) => {
        assert.match(question, /^Every ESP8266/);
        run.answer(id, 'yes');
        // Those that are plugged in before it looks are left alone: it tells nobody when it has.
        void plugUntilSeen();
      },
    });
    const isTold = () => events.length > 0;
    const plugUntilSeen = async () => {
      for (let name = 0; !isTold(); name++) {
        await port(other, `other-${name}`);
        await until(isTold, 'the first board is told', 5000).catch(() => undefined);
        if (!isTold()) await rm(join(bench.portsPath, `other-${name}`), { force: true });
      }
    };
    await until(isTold, 'a board of another kind is told', PATIENCE_MS);
    await port(twin, 'twin');
    await until(() => events.length > 1, 'the twin is told', PATIENCE_MS);
    run.interrupt();
    await run.ended;
    assert.deepEqual(verdicts(), ['skip', 'pass', undefined]);
    assert.equal((events[2] as { report: { passed: number } }).report.passed, 1);
    assert.ok(twin.board.flash.snapshot().equals(source.board.flash.snapshot()));
  });

  test('for the API: plan, question and document are told, and only a yes writes', async (t) => {
    const bench = await Bench.open(t);
    const device = await bench.addBoard({ family: 'esp8266' }, { linked: false });
    const { mac } = device.board;
    await bench.run(['backup', '--port', device.address]);
    device.board.flash.load(0x40000, Buffer.alloc(4096, 0x42));
    const start = starterOf(bench);
    for (const [answer, status] of [
      ['n', 5],
      ['y', 0],
    ] as const) {
      const told: { plans: unknown[]; documents: unknown[]; questions: string[] } = {
        plans: [],
        documents: [],
        questions: [],
      };
      const run = start(['restore', mac, '--port', device.address], {
        onProgress: () => undefined,
        onPlan: (plan) => void told.plans.push(plan),
        onResult: (document) => void told.documents.push(document),
        onEvent: () => undefined,
        onAsk: (id, question) => {
          told.questions.push(question);
          assert.equal(told.plans.length, 1, 'the plan comes before the question');
          run.answer(id, answer);
        },
      });
      assert.equal((await run.ended).status, status);
      assert.match(told.questions.join(), /^1 sector of flash differs/m);
      assert.equal(told.documents.length, 1);
      assert.match(JSON.stringify(told.documents), status === 0 ? /"sectorsWritten":1/ : /"code":"declined"/);
    }
    const refused = start(['export', mac, '/tmp/x'], {
      onProgress: () => undefined,
      onPlan: () => undefined,
      onResult: () => undefined,
      onEvent: () => undefined,
      onAsk: () => undefined,
    });
    assert.equal((await refused.ended).status, 2, 'it has no files');
  });

  test('one that cannot be started, or is none', async (t) => {
    const bench = await Bench.open(t);
    const missing = await startRelayServer(t, bench, { program: ['/nonexistent/espd'] });
    checkError(await bench.run(['list'], { env: missing.env }), 'daemon-gone');
    const other = await startRelayServer(t, bench, { program: ['/bin/sh', '-c', 'echo noise >&2; echo hello'] });
    checkError(await bench.run(['list'], { env: other.env }), 'daemon-protocol');
    assert.ok(other.logged.some((line) => line.includes('noise')));
    const silent = await startRelayServer(t, bench, { program: ['/bin/sh', '-c', 'exit 3'] });
    const ended = await bench.run(['list'], { env: silent.env });
    checkError(ended, 'daemon-gone');
    assert.match(ended.stderr, /status 3/);
  });
});
