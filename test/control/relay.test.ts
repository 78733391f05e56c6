/** Commands that a daemon does: over a real socket, in real processes, and what comes out is what they say without it. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { type MarkMessage, encodeMessage } from '../../src/control/contract/session-messages.ts';
import { EspdError } from '../../src/errors.ts';
import { parseMac } from '../../src/mac.ts';
import { parseRecording } from '../../src/transfer/record/format.ts';
import {
  Bench,
  type BenchBoard,
  type RunOptions,
  type RunResult,
  checkError,
  parseJson,
  screenOf,
  until,
} from '../support/cli.ts';
import { isRead } from '../support/flash-reads.ts';
import { type RelayServer, startRelayServer } from '../support/relay-server.ts';

const MAC = '50:02:91:c3:37:a5';
const BOARD = { family: 'esp8266', mac: MAC } as const;
/** At 115200 baud reading takes so long that something can happen in the middle of it. */
const SLOW_LINE = { line: { latencyMs: 0 } } as const;

interface Scene {
  readonly bench: Bench;
  readonly device: BenchBoard;
  readonly server: RelayServer;
  /** Without a daemon, as whoever has the config where it is looked for. */
  readonly direct: (args: readonly string[], options?: RunOptions) => Promise<RunResult>;
  readonly relayed: (args: readonly string[], options?: RunOptions) => Promise<RunResult>;
}

async function sceneOf(t: TestContext, options: Parameters<typeof startRelayServer>[2] = {}): Promise<Scene> {
  const bench = await Bench.open(t);
  const device = await bench.addBoard(BOARD, { linked: false });
  const server = await startRelayServer(t, bench, options);
  await mkdir(join(bench.folder, '.config/espd'), { recursive: true });
  await symlink(bench.configPath, join(bench.folder, '.config/espd/config.yaml'));
  const runWith =
    (env: NodeJS.ProcessEnv) =>
    (args: readonly string[], more: RunOptions = {}) =>
      bench.run(args, { ...more, env: { ESPD_CONFIG: '', ...env, ...more.env } });
  return { bench, device, server, direct: runWith({}), relayed: runWith(server.env) };
}

/** What differs from one run of the same to the next. */
function masked(text: string): string {
  return (
    text
      .replace(/\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:-\d+)?/g, 'ID')
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'DATE')
      .replace(/127\.0\.0\.1:\d+/g, 'ADDRESS')
      .replace(/\d+\.\d s\b/g, 'N s')
      .replace(/[\d.]+ [KM]?B on the wire/g, 'N on the wire')
      .replace(/\d+(?:\.\d+)? [KM]?B read/g, 'N read')
      // What was asked, and read instead, goes by measured times.
      .replace(/^( *)"(transfer|estimate)": \{[^]*?^\1\}/gm, '"$2": {}')
      .replace(/"ageSeconds": \d+/g, '"ageSeconds": N')
      .replace(/about \d+ s\b/g, 'about N s')
      .replace(/espd-cli-\w+/g, 'BENCH')
  );
}

const shown = ({ status, stdout, stderr }: RunResult) => ({
  status,
  stdout: masked(screenOf(stdout)),
  stderr: masked(screenOf(stderr)),
});

function change({ board }: BenchBoard, offset: number, value = 0x42): void {
  board.flash.load(offset, Buffer.alloc(4096, value));
}

const reads = ({ board }: BenchBoard) => isRead(board);

describe('a command that the daemon does', () => {
  test('reading the archive: byte for byte what it says by itself, in each form', async (t) => {
    const { device, server, direct, relayed } = await sceneOf(t);
    const { address } = device;
    await direct(['backup', '--port', address]);
    change(device, 0x40000);
    await direct(['backup', '--port', address]);
    await direct(['label', MAC, 'kitchen', '--note', 'by the \u{1f6aa} \u00fcber']);
    let sessions = 0;
    const wide = { tty: true, columns: 80 };
    for (const [args, how] of [
      [['list'], wide],
      [['list', '--json'], {}],
      [['list', '--sizes', '--csv'], {}],
      [['show', 'kitchen'], wide],
      [['show', 'nobody'], { tty: true, columns: 50 }],
      [['diff', 'kitchen', '--sectors'], wide],
      [['verify'], wide],
      [['prune', '--keep-last', '1', '--dry-run'], wide],
      [['export', 'kitchen', '-', '--offset', '0', '--size', '0x10000'], {}],
      [['undo', 'kitchen', '--dry-run', '--port', '/nonexistent/tty'], {}],
    ] as const) {
      const [a, b] = [await direct(args, how), await relayed(args, how)];
      assert.deepEqual(b, a, args.join(' '));
      sessions++;
    }
    const styled = await relayed(['show', 'kitchen'], { tty: true, env: { NO_COLOR: '1' } });
    assert.doesNotMatch(styled.stdout, /\x1b\[/);
    assert.match((await relayed(['show', 'kitchen'], { tty: true })).stdout, /\x1b\[/);
    assert.equal(server.logged.filter((line) => line.startsWith('A session begins')).length, sessions + 2);
  });

  test('what is noted of a board or a backup is told to the daemon, once, and only if it is new', async (t) => {
    const marks: MarkMessage[] = [];
    const { device, direct, relayed } = await sceneOf(t, { onMark: (mark) => marks.push(mark) });
    await direct(['backup', '--port', device.address]);
    // The first and the newest are never removed.
    for (const word of ['one', 'two']) {
      device.board.flash.erase(0x7000, 0x1000);
      device.board.flash.program(0x7000, Buffer.alloc(0x1000, word));
      await direct(['backup', '--port', device.address]);
    }
    const about = { type: 'board-described', mac: MAC, label: 'kitchen', note: null, group: null };
    for (const [args, wanted] of [
      [['label', MAC, 'kitchen'], [about]],
      [['label', MAC, 'kitchen'], []],
      [['label', 'kitchen', '--note', 'by the \u{1f6aa}'], [{ ...about, note: 'by the \u{1f6aa}' }]],
      [['label', 'nobody', 'x'], []],
      [['pin', 'kitchen'], ['pinned']],
      [['unpin', 'kitchen'], ['unpinned']],
      [['unpin', 'kitchen'], []],
      [['show', 'kitchen'], []],
      [['prune', '--keep-last', '1', '--yes'], ['backup-removed']],
    ] as const) {
      await relayed(args);
      const said = marks.splice(0).map((mark) => {
        if (mark.type === 'board-described') return mark;
        if (mark.type !== 'backup-pinned') return mark.type;
        assert.equal(mark.mac, MAC);
        assert.match(mark.id, /^\d{4}-/);
        return mark.pinned ? 'pinned' : 'unpinned';
      });
      assert.deepEqual(said, wanted, args.join(' '));
    }
  });

  test('what it has done to a board is told to the daemon: a backup, a restore, one that was broken off', async (t) => {
    const marks: MarkMessage[] = [];
    const { device, relayed } = await sceneOf(t, { onMark: (mark) => marks.push(mark) });
    const port = device.address;
    const told = () => marks.splice(0).map((mark) => mark.type);
    await relayed(['backup', '--port', port]);
    const [made] = marks.filter((mark) => mark.type === 'backup-kept');
    assert.deepEqual([made?.job, made?.port, made?.mac, made?.chip], [null, port, MAC, 'ESP8266EX']);
    const [first] = marks.filter((mark) => mark.type === 'new-board').map(({ id }) => id);
    assert.deepEqual(told(), ['backup-kept', 'new-board']);
    await relayed(['backup', '--port', port]);
    assert.deepEqual(told(), ['backup-unchanged']);
    for (const offset of [0x20000, 0x40000, 0x60000]) change(device, offset);
    const restore = ['restore', '--mac', MAC, '--port', port, '--yes'];
    await relayed([...restore, '--dry-run']);
    assert.deepEqual(told(), []);
    await relayed(restore);
    assert.deepEqual(marks, [{ type: 'board-restored', port, mac: MAC, from: MAC, id: first, sectors: 3 }]);
    told();
    for (const offset of [0x20000, 0x40000, 0x60000]) change(device, offset);
    const interruption = new AbortController();
    const erase = device.board.flash.erase.bind(device.board.flash);
    device.board.flash.erase = (...args) => {
      interruption.abort();
      erase(...args);
    };
    assert.equal((await relayed(restore, { signal: interruption.signal })).status, 130);
    device.board.flash.erase = erase;
    const [mark] = marks;
    assert.equal(mark?.type, 'half-restored');
    assert.match(mark.error.message, /is half restored to/);
    assert.match(mark.error.hint, new RegExp(`^Finish with: espd restore --mac ${MAC} --at ${first}`));
    assert.deepEqual(told(), ['half-restored']);
    assert.equal(device.board.mode, 'app');
    assert.equal((await relayed(restore)).status, 0);
    assert.deepEqual(told(), ['board-restored']);
  });

  test('wrong usage is told without the daemon', async (t) => {
    const { server, relayed } = await sceneOf(t);
    checkError(await relayed(['list', '--bogus']), 'usage');
    assert.match((await relayed(['list', '--help'])).stdout, /^Usage: espd list/);
    assert.deepEqual(server.logged, []);
  });

  test('working on a board: the same words, documents and exit statuses; ports are taken and given back', async (t) => {
    const { bench, device, server, direct, relayed } = await sceneOf(t);
    const other = await sceneOf(t);
    let step = 0;
    const at = (scene: { device: BenchBoard }) => ['--port', scene.device.address];
    for (const args of [
      ['identify'],
      ['backup', '--json'],
      ['backup', '--full'],
      ['verify', '--device'],
      ['restore', MAC, '--yes'],
      ['undo', MAC, '--yes', '--json'],
      ['diff', MAC, '--device'],
    ]) {
      const [a, b] = [await other.direct([...args, ...at(other)]), await relayed([...args, ...at({ device })])];
      assert.deepEqual(shown(b), shown(a), args.join(' '));
      step++;
      change(device, 0x30000, step);
      change(other.device, 0x30000, step);
    }
    assert.equal(device.board.mode, 'app');
    assert.equal(await bench.archive.history(parseMac(MAC)!).then(({ backups }) => backups.length > 2), true);
    const taken = server.ports.filter(({ what }) => what === 'take');
    assert.equal(taken.length, server.ports.filter(({ what }) => what === 'closed').length);
    assert.deepEqual(new Set(taken.map(({ address }) => address)), new Set([device.address]));
    assert.deepEqual(
      [...new Set(taken.map(({ command }) => command))],
      ['identify', 'backup', 'verify', 'restore', 'undo', 'diff'],
    );
    // Whatever is missing is missing in the same words.
    await direct(['label', MAC, 'kitchen']);
    assert.deepEqual(await relayed(['pin', 'kitchen', '--note', 'x']), await direct(['pin', 'kitchen', '--note', 'x']));
    assert.deepEqual(await relayed(['unpin', 'kitchen@first']), await direct(['unpin', 'kitchen@first']));
    assert.equal((await relayed(['label', 'kitchen', '--clear'])).stdout, `${MAC}  has no label\n`);
    assert.equal((await direct(['label', MAC, '--clear'])).stdout, `${MAC}  has still no label\n`);
  });

  test('what progress shows comes as it happens, in the width of the person', async (t) => {
    const { device, relayed } = await sceneOf(t);
    const { stderr } = await relayed(['backup', '--full', '--port', device.address], { tty: true, columns: 60 });
    assert.match(stderr, /reading/);
    assert.ok(
      stderr.split('\r').every((frame) => frame.length < 60),
      JSON.stringify(stderr),
    );
  });

  test('a question is asked at the terminal of the person; only yes writes', async (t) => {
    const { device, direct, relayed } = await sceneOf(t);
    const { address, board } = device;
    await direct(['backup', '--port', address]);
    const kept = board.flash.snapshot();
    change(device, 0x40000);
    const changed = board.flash.snapshot();
    const restore = ['restore', MAC, '--port', address];
    for (const answer of ['n', '']) {
      const declined = await relayed(restore, { tty: true, answer });
      assert.deepEqual(shown(declined), shown(await direct(restore, { tty: true, answer })));
      checkError(declined, 'declined');
    }
    // The person's process runs in the background, and may not ask.
    const background = new EspdError('declined', 'espd runs in the background', { hint: 'Add --yes' });
    checkError(await relayed(restore, { tty: true, answer: () => Promise.reject(background) }), 'declined');
    assert.deepEqual(board.flash.snapshot(), changed);
    const interruption = new AbortController();
    const interrupted = await relayed(restore, {
      tty: true,
      signal: interruption.signal,
      answer: () => {
        interruption.abort();
        return Promise.reject(interruption.signal.reason as Error);
      },
    });
    assert.equal(interrupted.status, 130);
    assert.deepEqual(board.flash.snapshot(), changed);
    assert.equal(board.mode, 'app');
    const questions: string[] = [];
    const answer = (question: string) => {
      questions.push(question);
      return Promise.resolve('yes');
    };
    assert.equal((await relayed(restore, { tty: true, answer })).status, 0);
    assert.match(questions.join(), /^1 sector of flash differs \(4 KB\)\.[^]*\[y\/N\] $/);
    assert.ok(board.flash.snapshot().equals(kept));
  });

  test('files are those of the person: export, backup --output, diff, import', async (t) => {
    const { bench, device, direct, relayed } = await sceneOf(t);
    const { address, board } = device;
    const home = join(bench.folder, 'person');
    await mkdir(home);
    const written = join(home, 'by-backup.bin');
    assert.equal((await relayed(['backup', '--port', address, '--output', written])).status, 0);
    assert.ok((await readFile(written)).equals(board.flash.snapshot()));
    checkError(await relayed(['backup', '--port', address, '--output', written]), 'output-exists');
    const recording = join(bench.folder, 'identify.jsonl');
    assert.equal((await relayed(['identify', '--port', address, '--record', recording])).status, 0);
    assert.ok(parseRecording(await readFile(recording, 'utf8')).lines.some(({ kind }) => kind === 'rsp'));
    for (const [name, ...options] of [
      ['whole.bin'],
      ['flash.hex', '--format', 'hex'],
      ['nvs.bin', '--partition', 'eeprom'],
    ]) {
      const [a, b] = [join(home, `a-${name}`), join(home, `b-${name}`)];
      const [said, relayedSaid] = [
        await direct(['export', MAC, a, ...options]),
        await relayed(['export', MAC, b, ...options]),
      ];
      const asA = ({ status, stdout, stderr }: RunResult) => ({
        status,
        stdout: stdout.replaceAll(b, a),
        stderr: stderr.replaceAll(b, a),
      });
      assert.deepEqual(asA(relayedSaid), asA(said));
      if (said.status === 0) assert.ok((await readFile(b)).equals(await readFile(a)), name);
    }
    const raw = await relayed(['export', MAC, '-']);
    assert.ok(raw.bytes.equals(board.flash.snapshot()));
    change(device, 0x50000);
    await writeFile(join(home, 'other.bin.gz'), gzipSync(board.flash.snapshot()));
    for (const args of [
      ['diff', MAC, join(home, 'other.bin.gz')],
      ['diff', MAC, join(home, 'missing.bin')],
      ['import', home, '--dry-run'],
      ['export', MAC, join(home, 'nowhere', 'x.bin')],
    ]) {
      assert.deepEqual(await relayed(args), await direct(args), args.join(' '));
    }
    const dumps = join(home, 'dumps');
    await mkdir(dumps);
    const image = gunzipSync(await readFile(join(home, 'other.bin.gz')));
    await writeFile(join(dumps, '240ac4000001_2024-01-02.bin'), image);
    await writeFile(join(dumps, 'notes.txt'), 'no dump');
    const imported = await relayed(['import', dumps]);
    assert.equal(imported.status, 0, imported.stderr);
    assert.match(imported.stdout, /24:0a:c4:00:00:01 {2}imported as 2024-01-02/);
    assert.deepEqual(
      (await readdir(home)).filter((name) => name.includes('.part')),
      [],
    );
  });

  test('Ctrl-C in the middle of a backup releases the board, and what was said is seen', async (t) => {
    const { bench, relayed, server } = await sceneOf(t);
    const slow = await bench.addBoard({ family: 'esp32', ...SLOW_LINE }, { linked: false });
    const interruption = new AbortController();
    const running = relayed(['backup', '--full', '--port', slow.address], { signal: interruption.signal });
    await until(() => reads(slow), 'the board is read');
    interruption.abort();
    const { status, stderr } = await running;
    assert.equal(status, 130);
    assert.match(stderr, /^espd: Interrupted \(interrupted\)$/m);
    assert.equal(slow.board.mode, 'app');
    assert.deepEqual(
      server.ports.map(({ what }) => what),
      ['take', 'closed'],
    );
    await until(() => server.sessions.count === 0, 'the session ends');
  });
});

/** A client by hand: what it sends after the upgrade, and all that comes back until the daemon hangs up. */
async function byHand(server: RelayServer, ...lines: string[]): Promise<string> {
  const socket = connect(server.socketPath);
  socket.write(
    `GET /v1/session HTTP/1.1\r\nHost: espd\r\nConnection: Upgrade\r\nUpgrade: espd-session/1\r\n\r\n${lines.join('')}`,
  );
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await new Promise((resolve) => socket.on('close', resolve).on('error', () => undefined));
  return text;
}

const begin = (args: readonly string[]) =>
  encodeMessage({
    type: 'begin',
    args: [...args],
    cwd: '/',
    terminal: {
      stdout: { isTTY: false, columns: null, rows: null },
      stderr: { isTTY: false, columns: null, rows: null },
      canAsk: false,
    },
    env: {},
    report: false,
  });

describe('a session', () => {
  test('is refused to who does not keep to the protocol, or wants another config', async (t) => {
    const { server } = await sceneOf(t);
    for (const lines of [
      ['GET / HTTP/1.1\r\n\r\n'],
      ['{"type":"signal"}\n'],
      [begin(['daemon'])],
      [begin(['list', '--config', '/etc/passwd'])],
      [begin(['--archive=/elsewhere', 'list'])],
      ['x'.repeat(600 * 1024)],
      [begin(['list']), begin(['list'])],
    ]) {
      const text = await byHand(server, ...lines);
      assert.match(text, /^HTTP\/1\.1 101 /);
      const last = text.trimEnd().split('\n').at(-1) ?? '';
      assert.match(last, /"type":"end","status":1,"error":\{"code":"daemon-protocol"/, lines[0]?.slice(0, 60));
    }
    await until(() => server.sessions.count === 0, 'all sessions end');
  });

  test('32 at once, and the next is told to come back', async (t) => {
    const { server, relayed } = await sceneOf(t);
    const waiting = Array.from({ length: 32 }, () => byHand(server));
    await until(() => server.sessions.count === 32, '32 sessions');
    const refused = await relayed(['list']);
    checkError(refused, 'daemon-busy');
    await server.sessions.close();
    for (const text of await Promise.all(waiting)) assert.match(text, /^HTTP\/1\.1 101 /);
    assert.equal(server.sessions.count, 0);
  });

  test('of somebody who does not read costs the daemon a bounded part, and loses nothing', async (t) => {
    const { bench, direct, server } = await sceneOf(t);
    const big = await bench.addBoard(
      { family: 'esp32', mac: '24:0a:c4:00:00:09', flashSizeBytes: 4 * 1024 * 1024 },
      { linked: false },
    );
    await direct(['backup', '--port', big.address]);
    let most = 0;
    server.server.on('upgrade', (_, socket) => {
      const timer = setInterval(() => (most = Math.max(most, socket.writableLength)), 5);
      socket.on('close', () => clearInterval(timer));
    });
    const socket = connect(server.socketPath);
    socket.write(`GET /v1/session HTTP/1.1\r\nHost: espd\r\nConnection: Upgrade\r\nUpgrade: espd-session/1\r\n\r\n`);
    socket.write(begin(['export', '24:0a:c4:00:00:09', '-']));
    socket.pause();
    await until(() => most > 0, 'something waits for the reader');
    // Now the whole image is there to be written, and only a part of it may be on its way.
    const before = most;
    await until(() => server.sessions.count === 1 && most >= before, 'still there');
    const chunks: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      if (chunks.length % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const text = Buffer.concat(chunks).toString('utf8');
    const messages = text
      .slice(text.indexOf('\r\n\r\n') + 4)
      .trimEnd()
      .split('\n')
      .map((line) => parseJson<{ base64?: string; type: string }>(line));
    const bytes = Buffer.concat(messages.map(({ base64 = '' }) => Buffer.from(base64, 'base64')));
    const digest = (content: Buffer) => createHash('sha256').update(content).digest('hex');
    assert.equal(digest(bytes), digest(big.board.flash.snapshot()));
    assert.deepEqual(messages.at(-1), { type: 'end', status: 0 });
    assert.ok(most < 2 * 1024 * 1024, `${most} bytes`);
  });

  test('whose person vanishes: the board is released', async (t) => {
    const { bench, server } = await sceneOf(t);
    const slow = await bench.addBoard({ family: 'esp32', ...SLOW_LINE }, { linked: false });
    const socket = connect(server.socketPath);
    socket.write(`GET /v1/session HTTP/1.1\r\nHost: espd\r\nConnection: Upgrade\r\nUpgrade: espd-session/1\r\n\r\n`);
    socket.write(begin(['backup', '--full', '--port', slow.address]));
    socket.resume();
    await until(() => reads(slow), 'the board is read', 60_000);
    socket.destroy();
    await until(() => server.sessions.count === 0, 'the session ends', 60_000);
    assert.equal(slow.board.mode, 'app');
    assert.deepEqual(
      server.ports.map(({ what }) => what),
      ['take', 'closed'],
    );
  });

  test('ends in order when the daemon is stopped', async (t) => {
    const { bench, server, relayed } = await sceneOf(t);
    const slow = await bench.addBoard({ family: 'esp32', ...SLOW_LINE }, { linked: false });
    const running = relayed(['backup', '--full', '--port', slow.address]);
    await until(() => reads(slow), 'the board is read', 60_000);
    await server.sessions.close();
    assert.equal(slow.board.mode, 'app');
    assert.equal((await running).status, 130);
    checkError(await relayed(['list']), 'daemon-busy');
  });
});
