/** The daemon as a process of its own: plug-ins, signals, crashes, and its config changed under it. */

import assert from 'node:assert/strict';
import { readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createBoard, demoImage } from '../../src/simulator/index.ts';
import { servePty } from '../../src/simulator/serve/pty.ts';
import { Bench, type BenchBoard, KIB, archiveEntries, until } from '../support/cli.ts';
import { isRead } from '../support/flash-reads.ts';
import { EspdProcess, assertOnlyPartial, startDaemon } from './support.ts';

const BACKED_UP = 'Backed up and verified';

async function daemonBench(t: Parameters<typeof Bench.open>[0], sections: Record<string, object> = {}): Promise<Bench> {
  const bench = await Bench.open(t);
  await bench.configure({ log: { format: 'json' }, ...sections });
  return bench;
}

/** A line at 115200 baud: reading the flash takes so long that something can happen in the middle of it. */
const slow = { line: { latencyMs: 0 } } as const;

function plugIn(bench: Bench, { board, address }: BenchBoard): Promise<void> {
  return symlink(address, join(bench.portsPath, board.mac.replaceAll(':', '-')));
}

function reads({ board }: BenchBoard): boolean {
  return isRead(board);
}

async function archivedImage(bench: Bench, mac: string, id: string | undefined): Promise<Buffer> {
  return readFile(join(bench.archivePath, mac.replaceAll(':', '-'), id ?? '', 'flash.bin'));
}

describe('the daemon', { concurrency: 4, timeout: 180_000 }, () => {
  test('a terminal appears in the watched folder: its board is backed up', async (t) => {
    const bench = await daemonBench(t, { watch: { deny: [{ path: '/dev/tty*' }] } });
    const daemon = await startDaemon(t, bench);
    const board = createBoard({
      family: 'esp32c3',
      flashSizeBytes: 512 * KIB,
      content: demoImage({ family: 'esp32c3', sizeBytes: 512 * KIB, appBytes: 60 * KIB }),
    });
    // No control lines on a pseudo-terminal: somebody has held BOOT and pressed RESET.
    board.pressBoot(true);
    board.powerCycle();
    const served = await servePty(board, { linkPath: join(bench.portsPath, 'board') });
    t.after(() => served.close());
    const { id, mac } = await daemon.message(BACKED_UP);
    assert.equal(mac, board.mac);
    assert.deepEqual(await archivedImage(bench, board.mac, id), board.flash.snapshot());
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
    assert.equal(daemon.stdout, '');
  });

  test('three boards at once, each backed up and running its app again; one that is silent harms none', async (t) => {
    const bench = await daemonBench(t);
    const daemon = await startDaemon(t, bench);
    const boards = await Promise.all(
      (['esp8266', 'esp32', 'esp32c3'] as const).map((family) => bench.addBoard({ family }, { linked: false })),
    );
    const mute = await bench.addBoard({ family: 'esp32s3', faults: [{ kind: 'mute' }] }, { linked: false });
    await Promise.all([mute, ...boards].map((board) => plugIn(bench, board)));
    const ids = new Map<string, string>();
    while (ids.size < boards.length) {
      const { mac = '', id = '' } = await daemon.message(BACKED_UP);
      ids.set(mac, id);
    }
    for (const { board } of boards) {
      assert.deepEqual(await archivedImage(bench, board.mac, ids.get(board.mac)), board.flash.snapshot());
      await until(() => board.mode === 'app', 'the app runs');
    }
    assert.deepEqual((await archiveEntries(bench.archivePath)).others, []);
    daemon.kill('SIGINT');
    assert.equal(await daemon.status(), 0);
  });

  test('SIGTERM in the middle of a read: stopped, board in its app, what was read kept for the next backup', async (t) => {
    const bench = await daemonBench(t);
    const daemon = await startDaemon(t, bench);
    const read = await bench.addBoard({ family: 'esp8266', ...slow }, { linked: false });
    await plugIn(bench, read);
    await until(() => reads(read), 'the board is read', 60_000);
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0, daemon.stderr);
    assert.doesNotMatch(daemon.stderr, /did not stop in time|"level":"error"/);
    await assertOnlyPartial(bench);
    await until(() => read.board.mode === 'app', 'the app runs');
  });

  test('SIGKILL in the middle of a backup: nothing half-made counts, and the next start makes it good', async (t) => {
    const bench = await daemonBench(t, { serial: { baudRate: 460_800 } });
    const read = await bench.addBoard({ family: 'esp8266', ...slow });
    const killed = await startDaemon(t, bench);
    await until(
      async () => reads(read) && (await archiveEntries(bench.archivePath)).others.length > 0,
      'a draft',
      60_000,
    );
    killed.kill('SIGKILL');
    await killed.exited();
    const left = await archiveEntries(bench.archivePath);
    assert.deepEqual(left.ids, []);
    assert.equal(left.others.length, 1);
    assert.match(left.others[0] ?? '', /^draft\./);
    assert.equal((await bench.run(['verify'])).status, 0, 'a draft is no damage');

    const daemon = await startDaemon(t, bench);
    const { id } = await daemon.message(BACKED_UP);
    assert.deepEqual(await archivedImage(bench, read.board.mac, id), read.board.flash.snapshot());
    assert.deepEqual(await archiveEntries(bench.archivePath), { ids: [id], others: [] });
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
  });

  test('the config changes: taken over; broken: the old one stays, and the log names the place', async (t) => {
    const bench = await daemonBench(t);
    const daemon = await startDaemon(t, bench);
    const sound = await readFile(bench.configPath, 'utf8');

    await writeFile(bench.configPath, 'jobs:\n  parallel: 8\n  paralel: 2\n');
    const { level, problem } = await daemon.line((line) => line.problem !== undefined, 'the fault');
    assert.equal(level, 'error');
    assert.match(problem ?? '', /config\.yaml:3:3: .*paralel/);
    // The folder of the old config is still watched.
    const first = await bench.addBoard({ family: 'esp8266' }, { linked: false });
    await plugIn(bench, first);
    assert.equal((await daemon.message(BACKED_UP)).mac, first.board.mac);

    const second = await bench.addBoard({ family: 'esp32' }, { linked: false });
    await bench.configure({ log: { format: 'json' }, watch: { deny: [{ path: '/dev/*' }, { path: second.address }] } });
    await daemon.message('Config reloaded');
    await plugIn(bench, second);
    const { port, reason } = await daemon.message('Left alone');
    assert.deepEqual([port, reason], [second.address, 'denied by the config']);
    assert.equal(second.board.resets, 0);

    await writeFile(bench.configPath, 'log: { level: info\n');
    daemon.kill('SIGHUP');
    const fault = await daemon.line((line) => line.problem !== undefined, 'the fault');
    assert.match(fault.problem ?? '', /config\.yaml:\d+:\d+: not YAML/);
    await writeFile(bench.configPath, sound);
    daemon.kill('SIGHUP');
    await daemon.message('Config reloaded');
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
  });

  test('--log-level is stronger than the config, also when that is loaded again', async (t) => {
    const bench = await daemonBench(t);
    const daemon = new EspdProcess(t, bench, ['daemon', '--log-level', 'info']);
    await daemon.message('Watching for boards');
    await bench.configure({ log: { format: 'json', level: 'error' }, jobs: { parallel: 3 } });
    // It is told after the config is in force.
    await daemon.message('Config reloaded');
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
  });

  test('--json: the log as one JSON object a line on stdout', async (t) => {
    const bench = await Bench.open(t);
    const daemon = new EspdProcess(t, bench, ['daemon', '--json']);
    await until(() => daemon.stdout.includes('Watching for boards'), 'the daemon watches', 60_000);
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0);
    const lines = daemon.stdout.trimEnd().split('\n');
    for (const line of lines) assert.equal(typeof (JSON.parse(line) as { message: unknown }).message, 'string');
    assert.match(daemon.stdout, /"message":"Stopping"/);
    assert.deepEqual(await readdir(bench.archivePath), ['cache'], 'its marker, and nothing else');
  });
});
