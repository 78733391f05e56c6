/**
 * A station with an object store as the service it is: what its daemon does there by itself, with a store that goes away and
 * comes back, and with an end in the middle. The store is a real radosgw where there is one; what needs days to pass, or an end
 * at one request, has the fake.
 */

import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { type Server, type Socket, connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { MAC, backUp, image } from '../archive/support.ts';
import { FakeS3, type Seen } from '../store/fake-s3.ts';
import { startRealStore, whyNoRealStore } from '../store/real-store.ts';
import { clientOf } from '../store/support.ts';
import { Bench, type BenchBoard, archiveEntries, until } from '../support/cli.ts';
import { type EspdProcess, type LogLine, startDaemon } from './support.ts';

const ENV = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };
const DAY_MS = 86_400_000;
/** What happens at a minute of the clock, on a machine that has other things to do. */
const LIMIT_MS = 300_000;

const id = (day: number) => `2020-10-0${day}T10-00-00Z`;
const SIZES = 40_000;
const LOST = /missing in the object store, and no station has removed it/;

/** Before a server, so that it can be away, or take what comes and never answer. */
class Gate {
  #mode: 'open' | 'away' | 'silent' = 'open';
  #held = 0;
  readonly #target: string;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server = createServer((socket) => this.#serve(socket));

  constructor(target: string) {
    this.#target = target;
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.become('away');
    await new Promise((resolve) => this.#server.close(resolve));
  }

  become(mode: 'open' | 'away' | 'silent'): void {
    this.#mode = mode;
    this.#held = 0;
    if (mode === 'away') for (const socket of this.#sockets) socket.destroy();
  }

  /** Bytes that were sent to somebody who does not answer. */
  get held(): number {
    return this.#held;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    if (this.#mode === 'away') {
      socket.destroy();
      return;
    }
    const { hostname, port } = new URL(this.#target);
    const server = connect(Number(port), hostname);
    server.on('error', () => socket.destroy()).on('data', (bytes) => socket.write(bytes));
    server.on('close', () => socket.destroy());
    socket.on('close', () => server.destroy());
    socket.on('data', (bytes) => {
      if (this.#mode === 'open') server.write(bytes);
      else this.#held += bytes.length;
    });
  }
}

interface StationOptions {
  readonly endpoint: string;
  readonly prefix: string;
  /** Of the fleet: the same at all stations. */
  readonly key: string;
  readonly archive?: object;
  readonly store?: object;
  /** Whether the daemon can be asked. */
  readonly hasApi?: boolean;
}

async function stationOf(
  t: TestContext,
  { endpoint, prefix, key, archive, store, hasApi = false }: StationOptions,
): Promise<Bench> {
  const bench = await Bench.open(t);
  const file = join(bench.folder, 'fleet-key');
  await writeFile(file, `${key}\n`, { mode: 0o600 });
  await bench.configure({
    log: { format: 'json', level: 'debug' },
    archive: { statePath: join(bench.folder, 'state'), ...archive },
    schedule: { prune: '* * * * *' },
    ...(hasApi ? { api: { socket: join(bench.folder, 'espd.sock') } } : {}),
    store: { endpoint, bucket: 'boards', prefix, encryption: { file }, look: '10s', ...store },
  });
  return bench;
}

async function run(bench: Bench, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await bench.run(args, { env: ENV });
  assert.equal(status, 0, `espd ${args.join(' ')}:\n${stdout}${stderr}`);
  return stdout;
}

const daemonOf = (t: TestContext, bench: Bench) => startDaemon(t, bench, { env: ENV });

/** A person has said yes to the policy. Backups of five days, all in the store: the second one is pinned, and the third one goes from there by `keepLast: 2`. */
async function fill(bench: Bench): Promise<void> {
  await mkdir(bench.archivePath, { recursive: true });
  await run(bench, 'prune', '--store', '--yes');
  for (let day = 1; day <= 5; day++) await backUp(bench.archive, image(SIZES, day), `2020-10-0${day}T10:00:00.000Z`);
  await run(bench, 'pin', `${MAC}@${id(2)}`);
  await run(bench, 'push');
}

function linesOf(daemon: EspdProcess): readonly LogLine[] {
  return daemon.stderr.split('\n').flatMap((text) => {
    try {
      return [JSON.parse(text) as LogLine];
    } catch {
      return [];
    }
  });
}

async function logged(daemon: EspdProcess, message: string, has: (line: LogLine) => boolean = () => true) {
  const find = () => linesOf(daemon).find((line) => line.message === message && has(line));
  await until(
    () => {
      assert.equal(daemon.child.exitCode, null, `it has ended:\n${daemon.stderr}`);
      return find() !== undefined;
    },
    `"${message}" in the log:\n${daemon.stderr.slice(-3000)}`,
    LIMIT_MS,
  );
  return find() ?? assert.fail();
}

const here = (bench: Bench) => bench.archive.backupIds(MAC);

/** Nothing half lies in archive and state, all that is here is sound, and so is all that is in the store. */
async function assertWhole(bench: Bench): Promise<void> {
  const { others } = await archiveEntries(bench.archivePath);
  assert.deepEqual(
    others.filter((name) => /draft|partial|tmp/.test(name)),
    [],
  );
  const state = await readdir(join(bench.folder, 'state'), { recursive: true });
  assert.deepEqual(
    state.filter((name) => name.endsWith('.partial')),
    [],
  );
  await run(bench, 'verify');
  await run(bench, 'verify', '--store');
}

function plugIn(bench: Bench, { board, address }: BenchBoard): Promise<void> {
  return symlink(address, join(bench.portsPath, board.mac.replaceAll(':', '-')));
}

const why = whyNoRealStore();
if (why !== undefined) process.stderr.write(`test/e2e/store-daemon.test.ts: with the fake store alone. ${why}\n`);

describe('the daemon and its store', { concurrency: 4, timeout: 900_000 }, () => {
  test('it pushes, hears, compares, announces and releases by itself, whenever the store is there; another station sees it all', async (t) => {
    const fake = new FakeS3();
    const real = why === undefined ? await startRealStore() : undefined;
    t.after(() => real?.stop());
    const target = real?.endpoint ?? (await fake.start());
    if (real === undefined) t.after(() => fake.stop());
    const client = clientOf(target);
    t.after(() => client.close());
    if (real !== undefined) await client.http.send({ method: 'PUT', key: '', signal: undefined });
    const gate = new Gate(target);
    const endpoint = await gate.start();
    t.after(() => gate.stop());
    const common = { prefix: 'upkeep', key: '3c'.repeat(32) };
    const one = await stationOf(t, {
      ...{ ...common, endpoint, archive: { local: 'newest 1' }, store: { retention: { keepLast: 2 }, grace: '1d' } },
    });
    await fill(one);
    const namesIn = async () => (await client.store.list({ prefix: 'upkeep/' })).objects.map(({ key }) => key);
    const completeIn = async () =>
      (await namesIn()).flatMap((key) => /^upkeep\/([^/]+\/[^/]+)\/SHA256SUMS$/.exec(key)?.[1] ?? []).sort();

    gate.become('away');
    const first = await daemonOf(t, one);
    const board = await one.addBoard({ family: 'esp32c3' }, { linked: false });
    await plugIn(one, board);
    const { id: boardId = '' } = await logged(first, 'Backed up and verified');
    await until(
      () => linesOf(first).some(({ code }) => code === 'store-unreachable'),
      'the outage is told of',
      LIMIT_MS,
    );
    assert.deepEqual(await here(one), [1, 2, 3, 4, 5].map(id), 'nothing goes on the word of nobody');

    gate.become('open');
    await logged(first, 'In the object store', ({ mac }) => mac === board.board.mac);
    await logged(first, 'All that should be in the object store is there');
    for (const day of [1, 4]) {
      await logged(first, 'Local copy removed: it is in the object store', (line) => line.id === id(day));
    }
    const left = await here(one);
    assert.ok(
      [2, 5].every((day) => left.includes(id(day))),
      left.join(),
    );
    assert.ok(![1, 4].some((day) => left.includes(id(day))), left.join());
    await logged(first, 'Object store pruned');
    const names = await namesIn();
    assert.ok(
      names.some((key) => key.startsWith('upkeep/removals/') && key.includes(id(3))),
      names.join('\n'),
    );
    const complete = [...[1, 2, 3, 4, 5].map((day) => `${MAC.replaceAll(':', '-')}/${id(day)}`)];
    complete.push(`${board.board.mac.replaceAll(':', '-')}/${boardId}`);
    assert.deepEqual(await completeIn(), complete.sort());

    const two = await stationOf(t, { ...common, endpoint: target });
    const second = await daemonOf(t, two);
    await logged(second, 'News of other stations');
    const listed = JSON.parse(await run(two, 'list', '--json')) as { boards: { mac: string; backups: number }[] };
    assert.deepEqual(listed.boards.map(({ mac }) => mac).sort(), [MAC, board.board.mac].sort());
    for (const day of [1, 4]) {
      await run(two, 'pull', `${MAC}@${id(day)}`);
      const bytes = await readFile(join(two.archivePath, MAC.replaceAll(':', '-'), id(day), 'flash.bin'));
      assert.ok(bytes.equals(image(SIZES, day)), id(day));
    }
    await logged(second, 'All that should be in the object store is there');

    // The server takes what comes, and does not answer any more.
    gate.become('silent');
    const late = await one.addBoard({ family: 'esp8266' }, { linked: false });
    await plugIn(one, late);
    await logged(first, 'Backed up and verified', ({ mac }) => mac === late.board.mac);
    await until(() => gate.held > 0, 'something is sent', LIMIT_MS);
    for (const daemon of [first, second]) {
      daemon.kill('SIGTERM');
      assert.equal(await daemon.status(), 0);
    }
    gate.become('open');
    await run(one, 'push');
    assert.equal((await completeIn()).length, complete.length + 1);
    await assertWhole(one);
    await assertWhole(two);
  });

  test('what was announced goes when its time has come; what is lost there meanwhile is told of, and put there again', async (t) => {
    const fake = new FakeS3();
    const endpoint = await fake.start();
    t.after(() => fake.stop());
    const bench = await stationOf(t, {
      ...{ endpoint, prefix: '', key: '4d'.repeat(32), store: { retention: { keepLast: 2 }, grace: '1d' } },
    });
    await fill(bench);
    const complete = () => fake.names.flatMap((name) => /^[^/]+\/([^/]+)\/SHA256SUMS$/.exec(name)?.[1] ?? []);
    const daemon = await daemonOf(t, bench);
    await logged(daemon, 'Object store pruned');
    assert.deepEqual(complete(), [1, 2, 3, 4, 5].map(id));
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
    // Two days pass; the state says so of the comparison, and the server of everything else.
    fake.quirks.aheadMs = 2 * DAY_MS;
    const states = await readdir(join(bench.folder, 'state'), { recursive: true });
    const scanned = states.filter((name) => name.endsWith('/scanned.json'));
    assert.equal(scanned.length, 1);
    await writeFile(join(bench.folder, 'state', scanned[0] ?? ''), '{"at":"2020-01-01T00:00:00.000Z"}');
    for (const name of fake.names.filter((each) => each.includes(`/${id(4)}/`))) fake.objects.delete(name);

    const again = await daemonOf(t, bench);
    await until(
      () => linesOf(again).some(({ level, message }) => level === 'error' && LOST.test(message)),
      'the loss is told of',
      LIMIT_MS,
    );
    await logged(again, 'In the object store', (line) => line.id === id(4));
    await logged(again, 'Removed from the object store', (line) => line.id === id(3));
    await until(() => complete().length === 4, 'it is gone', LIMIT_MS);
    assert.deepEqual(complete(), [1, 2, 4, 5].map(id));
    again.kill('SIGTERM');
    assert.equal(await again.status(), 0);
    assert.deepEqual(await here(bench), [1, 2, 3, 4, 5].map(id), 'archive.local is "all"');
    await assertWhole(bench);
  });

  test('another policy than that of the bucket: nothing goes, it is told once and needs attention, until a person has said which one counts', async (t) => {
    const fake = new FakeS3();
    const endpoint = await fake.start();
    t.after(() => fake.stop());
    const common = { endpoint, prefix: '', key: '6f'.repeat(32) };
    const owner = await stationOf(t, { ...common, store: { retention: { keepLast: 20 } } });
    await fill(owner);
    const bench = await stationOf(t, { ...common, hasApi: true, store: { retention: { keepLast: 2 } } });
    await mkdir(bench.archivePath, { recursive: true });
    const daemon = await daemonOf(t, bench);
    const looks = () => fake.seen.filter(({ method, key }) => method === 'GET' && key === 'leases/policy.json').length;
    const attention = async () => {
      const told = JSON.parse(await run(bench, 'status', '--json')) as {
        readonly attention: readonly { readonly error: { readonly code: string } }[];
      };
      return told.attention.map(({ error }) => error.code);
    };
    const refused = (line: LogLine) => line.code === 'store-policy';
    await logged(daemon, 'The object store is not pruned', refused);
    const before = looks();
    await until(() => looks() > before + 1, 'it looks again at the next times', LIMIT_MS);
    assert.equal(linesOf(daemon).filter(refused).length, 1, 'it is told once');
    assert.deepEqual(await attention(), ['store-policy']);
    assert.ok(!fake.names.some((name) => name.startsWith('removals/')), fake.names.join('\n'));

    await run(bench, 'prune', '--store', '--set-policy', '--yes');
    await logged(daemon, 'Object store pruned');
    assert.deepEqual(await attention(), []);
    assert.ok(fake.names.some((name) => name.startsWith('removals/') && name.includes(id(3))));
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
  });

  const moments: Readonly<Record<string, (seen: Seen) => boolean>> = {
    'while a backup is read back before its copy goes': ({ method, key }) =>
      method === 'GET' && key.endsWith('/flash.bin.enc'),
    'while a removal is announced': ({ method, key }) => method === 'PUT' && key.startsWith('removals/'),
    'while the store is listed': ({ method, key }) => method === 'GET' && key === '',
    'while an image goes up': ({ method, key }) => method === 'PUT' && key.endsWith('/flash.bin.enc'),
  };
  for (const [moment, is] of Object.entries(moments)) {
    test(`SIGTERM ${moment}: it ends at once, nothing half is left, and the next one goes on`, async (t) => {
      const fake = new FakeS3();
      const endpoint = await fake.start();
      t.after(() => fake.stop());
      const bench = await stationOf(t, {
        ...{ endpoint, prefix: '', key: '5e'.repeat(32), archive: { local: 'newest 1' } },
        store: { retention: { keepLast: 2 }, grace: '1d' },
      });
      await fill(bench);
      await backUp(bench.archive, image(SIZES, 6), '2020-10-06T10:00:00.000Z');
      let isReached = false;
      fake.hold = (seen) => {
        if (!is(seen)) return undefined;
        isReached = true;
        return new Promise(() => undefined);
      };
      const daemon = await daemonOf(t, bench);
      await until(() => isReached, `${moment}\n${daemon.stderr}`, LIMIT_MS);
      const killedMs = performance.now();
      daemon.kill('SIGTERM');
      assert.equal(await daemon.status(), 0);
      t.diagnostic(`ended after ${Math.round(performance.now() - killedMs)} ms`);
      fake.hold = () => undefined;
      await assertWhole(bench);
      for (const each of [1, 2, 3, 4, 5, 6].map(id)) {
        const isHere = (await here(bench)).includes(each);
        assert.ok(isHere || fake.names.some((name) => name.endsWith(`/${each}/SHA256SUMS`)), each);
      }
      const next = await daemonOf(t, bench);
      await logged(next, 'Object store pruned');
      await until(
        async () => !(await here(bench)).some((each) => [1, 5].map(id).includes(each)),
        'what may go is released',
        LIMIT_MS,
      );
      next.kill('SIGTERM');
      assert.equal(await next.status(), 0);
      await assertWhole(bench);
      assert.equal(fake.names.filter((name) => name.endsWith('/SHA256SUMS')).length, 6);
    });
  }
});
