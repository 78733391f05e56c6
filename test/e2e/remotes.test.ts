/** Remotes at a real daemon: away, back, held open for no longer than a job, and a config that changes under it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Bench, type BenchBoard, parseJson, until } from '../support/cli.ts';
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
  static async to(t: { after: (end: () => Promise<void>) => void }, { address }: BenchBoard): Promise<Wire> {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    const wire = new Wire(port, Number(new URL(address).port));
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
});
