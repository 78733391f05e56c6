/** Remotes at a real daemon: away, back, held open for no longer than a job, and a config that changes under it. */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { createBoard, demoImage } from '../../src/simulator/index.ts';
import { servePty } from '../../src/simulator/serve/pty.ts';
import { Bench, type BenchBoard, KIB, parseJson, until } from '../support/cli.ts';
import { EspdProcess, startDaemon } from './support.ts';

/** Between espd and the server of a board: counts connections, and can be away. */
class Wire {
  readonly port: number;
  /** Since the start, and now. */
  connections = 0;
  readonly #open = new Set<Socket>();
  readonly #target: number;
  #server: Server | undefined;

  private constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
  }

  /** Nothing listens yet. */
  static async to(t: TestContext, { address }: BenchBoard): Promise<Wire> {
    const wire = new Wire(await freePort(), Number(new URL(address).port));
    t.after(() => wire.close());
    return wire;
  }

  get openNow(): number {
    return this.#open.size;
  }

  async listen(): Promise<void> {
    const server = createServer((socket) => {
      this.connections++;
      this.#open.add(socket);
      const far = connect(this.#target, '127.0.0.1');
      for (const each of [socket, far]) each.on('error', () => undefined);
      socket.on('close', () => {
        this.#open.delete(socket);
        far.destroy();
      });
      far.on('close', () => socket.destroy());
      socket.pipe(far).pipe(socket);
    });
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.close();
    await once(server, 'close');
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Debian's ser2net with a port on `device`. */
async function startSer2net(t: TestContext, bench: Bench, device: string) {
  const port = await freePort();
  const config = join(bench.folder, 'ser2net.yaml');
  const accepter = `telnet(rfc2217),tcp,127.0.0.1,${port}`;
  const connector = `serialdev,${device},115200n81,local`;
  await writeFile(config, `%YAML 1.1\n---\nconnection: &board\n  accepter: ${accepter}\n  connector: ${connector}\n`);
  const child = spawn('ser2net', ['-n', '-u', '-c', config], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  const folder = `/proc/${child.pid ?? 0}/fd`;
  const hasDevice = async () => {
    const targets = (await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => ''));
    return (await Promise.all(targets)).includes(device);
  };
  return { port, hasDevice };
}

const noSer2net = spawnSync('ser2net', ['-v']).error === undefined ? false : 'SKIPPED: ser2net is not installed';
if (noSer2net !== false) process.stderr.write(`remotes at a real ser2net ${noSer2net}\n`);

function flood(socket: Socket): void {
  const block = Buffer.alloc(64 * KIB, 0x55);
  const more = () => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', more);
  more();
}

interface StatusJson {
  readonly ports: readonly {
    readonly port: string;
    readonly name: string | null;
    readonly state: string;
    readonly mac: string | null;
    readonly retryAt: string | null;
    readonly error: { readonly code: string } | null;
  }[];
}

describe('remotes at a daemon', { timeout: 240_000 }, () => {
  test('away, then there; renamed; taken out: as the config says, and no connection without a job', async (t) => {
    const bench = await Bench.open(t);
    const board = await bench.addBoard({ family: 'esp32c3' }, { linked: false });
    const wire = await Wire.to(t, board);
    const address = `rfc2217://127.0.0.1:${wire.port}`;
    const socket = join(bench.folder, 'espd.sock');
    const configure = (remotes: object[]) =>
      bench.configure({ log: { format: 'json' }, api: { socket }, watch: { remotes } });
    await configure([{ name: 'desk', url: address }]);
    const daemon = await startDaemon(t, bench);
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
    const ask = async <T>(...args: string[]): Promise<{ status: number; json: T }> => {
      const env = { ESPD_SOCKET: socket, ESPD_NO_DAEMON: '' };
      const asking = new EspdProcess(t, bench, [...args, '--json'], { env });
      const status = await asking.status();
      return { status, json: parseJson<T>(asking.stdout) };
    };
    const portOf = async () => (await ask<StatusJson>('status')).json.ports[0];

    // Away: said once, with the reason, and the doctor says it as well without a connection.
    const failure = await daemon.line(({ code }) => code === 'port-missing', 'the failure');
    assert.match(failure.message, /nothing listens/);
    const away = await portOf();
    assert.deepEqual([away?.name, away?.port, away?.error?.code], ['desk', address, 'port-missing']);
    const { json } = await ask<{ checks: { id: string; status: string; title: string }[] }>('doctor');
    const found = json.checks.filter(({ id }) => id === 'remotes');
    assert.deepEqual(
      found.map(({ status }) => status),
      ['problem'],
      JSON.stringify(found),
    );
    assert.match(found[0]?.title ?? '', /^desk: .*nothing listens/);
    assert.equal(board.board.resets, 0);

    // There: the next try is the look at its board.
    await wire.listen();
    const { mac } = await daemon.message('Backed up and verified');
    assert.equal(mac, board.board.mac);
    await until(() => wire.openNow === 0 && board.board.mode === 'app', 'the link is closed and the app runs');
    assert.equal(daemon.stderr.split('port-missing').length - 1, 1, daemon.stderr);

    // A doctor, a status and another name connect to nothing.
    const connections = wire.connections;
    const { resets } = board.board;
    const well = await ask<typeof json>('doctor');
    assert.deepEqual(
      well.json.checks.filter(({ id }) => id === 'remotes').map(({ status }) => status),
      ['ok'],
    );
    await configure([{ name: 'bench', url: `${address}/?ign_set_control` }]);
    await daemon.message('Config reloaded');
    await until(async () => (await portOf())?.name === 'bench', 'the new name');
    assert.deepEqual([wire.connections, board.board.resets], [connections, resets]);

    // A command by that name, which the daemon does: one connection.
    const backup = await ask<{ backups: { port: string; unchanged: boolean }[] }>('backup', '--port', 'bench');
    assert.deepEqual(
      backup.json.backups.map(({ port, unchanged }) => [port, unchanged]),
      [[address, true]],
    );
    assert.equal(wire.connections, connections + 1);

    // Taken out.
    await configure([]);
    await daemon.message('Config reloaded');
    await until(async () => (await ask<StatusJson>('status')).json.ports.length === 0, 'the port is gone');
    assert.deepEqual([wire.connections, wire.openNow], [connections + 1, 0]);
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
  });

  test('among servers that mean no good: each is told of once and gets nothing but offers; the board is backed up', async (t) => {
    const bench = await Bench.open(t);
    const board = await bench.addBoard({ family: 'esp32c3' }, { linked: false });
    const garbage = Buffer.from(Array.from({ length: 8192 }, (_, at) => (at * 97) & 255));
    const hostile: Record<string, { readonly code: string; readonly talk: (socket: Socket) => void }> = {
      garbage: { code: 'no-rfc2217', talk: (socket) => socket.write(garbage) },
      banner: { code: 'no-rfc2217', talk: (socket) => socket.write('SSH-2.0-OpenSSH_9.2p1\r\n') },
      silent: { code: 'no-rfc2217', talk: () => undefined },
      flood: { code: 'no-rfc2217', talk: flood },
      escapes: { code: 'port-failed', talk: (socket) => socket.end('\x1b]0;owned\x07\x1b[2J\r\n') },
      ends: { code: 'port-failed', talk: (socket) => socket.destroy() },
    };
    const got = new Map<string, Buffer[]>();
    const remotes = [{ name: 'good', url: board.address }];
    for (const [name, { talk }] of Object.entries(hostile)) {
      const bytes: Buffer[] = [];
      got.set(name, bytes);
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.on('data', (chunk: Buffer) => bytes.push(chunk));
        talk(socket);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => {
        server.close();
      });
      remotes.push({ name, url: `rfc2217://127.0.0.1:${(server.address() as AddressInfo).port}` });
    }
    await bench.configure({ log: { format: 'json' }, watch: { remotes } });
    const daemon = await startDaemon(t, bench);
    const waiting = new Map(
      Object.entries(hostile).map(([name, { code }]) => [remotes.find((each) => each.name === name)?.url, code]),
    );
    let isBackedUp = false;
    while (waiting.size > 0 || !isBackedUp) {
      const { message, mac, port, code } = await daemon.line(
        (line) => line.message === 'Backed up and verified' || line.code !== undefined,
        'what comes of each',
      );
      if (message === 'Backed up and verified') isBackedUp = mac === board.board.mac;
      else {
        // Told once, though it is tried again.
        assert.equal(waiting.get(port), code, `${port ?? ''} ${message}`);
        waiting.delete(port);
      }
    }
    assert.doesNotMatch(daemon.stderr, /\x1b|\x07/);
    for (const [name, bytes] of got) {
      const all = Buffer.concat(bytes);
      for (let at = 0; at < all.length; at += 3) {
        assert.ok(all[at] === 255 && (all[at + 1] ?? 0) >= 251, `${name} got ${all.toString('hex')}`);
      }
    }
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
  });

  test(
    'at a real ser2net: backed up, its device open for the job alone, and no other client disturbed',
    { skip: noSer2net },
    async (t) => {
      const bench = await Bench.open(t);
      const flashSizeBytes = 256 * KIB;
      const content = demoImage({ family: 'esp32c3', sizeBytes: flashSizeBytes, appBytes: 40 * KIB });
      const board = createBoard({ family: 'esp32c3', flashSizeBytes, content });
      // No control lines on a pseudo-terminal: somebody has held BOOT and pressed RESET.
      board.pressBoot(true);
      board.powerCycle();
      const linkPath = join(bench.folder, 'tty');
      const served = await servePty(board, { linkPath });
      t.after(() => served.close());
      const ser2net = await startSer2net(t, bench, await readlink(linkPath));
      const socket = join(bench.folder, 'espd.sock');
      await bench.configure({
        ...{ log: { format: 'json' }, api: { socket } },
        watch: { remotes: [{ name: 'desk', url: `rfc2217://127.0.0.1:${ser2net.port}` }] },
      });
      const daemon = await startDaemon(t, bench);
      // Where ser2net does not listen yet, it is tried again.
      const { mac } = await daemon.message('Backed up and verified');
      assert.equal(mac, board.mac);
      await until(async () => !(await ser2net.hasDevice()), 'ser2net has closed its device');

      // Somebody else has it: the daemon says so, and not a byte of it reaches them or the device.
      const other = connect(ser2net.port, '127.0.0.1');
      const heard: Buffer[] = [];
      other.on('data', (chunk: Buffer) => heard.push(chunk));
      await until(() => ser2net.hasDevice(), 'the other client has the device');
      await until(() => heard.length > 0, 'the offers of ser2net');
      const { length } = Buffer.concat(heard);
      const env = { ESPD_SOCKET: socket, ESPD_NO_DAEMON: '' };
      const commands = board.commands.length;
      const asking = new EspdProcess(t, bench, ['backup', '--port', 'desk', '--json'], { env });
      assert.equal(await asking.status(), 1);
      assert.match(asking.stdout, /"port-busy"/);
      assert.deepEqual([Buffer.concat(heard).length, board.commands.length], [length, commands]);
      other.destroy();
      await until(async () => !(await ser2net.hasDevice()), 'ser2net has closed its device again');
      daemon.kill('SIGTERM');
      assert.equal(await daemon.status(), 0);
      assert.equal(await ser2net.hasDevice(), false);
    },
  );
});
