/** Commands as processes of their own: signals, terminals, pipes, and two at once on one port. */

import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createBoard, type SimulatedBoard } from '../../src/simulator/index.ts';
import { servePty } from '../../src/simulator/serve/pty.ts';
import { backUp, image } from '../archive/support.ts';
import { Bench, KIB, archiveEntries, checkError, parseJson, until } from '../support/cli.ts';
import { isRead } from '../support/flash-reads.ts';
import { EspdProcess, assertOnlyPartial } from './support.ts';

/** A line at 115200 baud: reading the flash takes so long that something can happen in the middle of it. */
const slow = { line: { latencyMs: 0 } } as const;

function reads(board: SimulatedBoard): boolean {
  return isRead(board);
}

describe('commands', { concurrency: 4, timeout: 180_000 }, () => {
  test('two backups at once on one terminal: one works, the other finds the port busy', async (t) => {
    const bench = await Bench.open(t);
    const board = createBoard({ family: 'esp32c3', flashSizeBytes: 256 * KIB, content: image(64 * KIB), ...slow });
    board.pressBoot(true);
    board.powerCycle();
    const served = await servePty(board, { linkPath: join(bench.folder, 'tty') });
    t.after(() => served.close());
    const first = new EspdProcess(t, bench, ['backup', '--port', served.address, '--json']);
    await until(() => board.commands.length > 0, 'the first one works', 60_000);
    const second = new EspdProcess(t, bench, ['backup', '--port', served.address, '--json']);
    assert.equal(await second.status(), 1, second.stdout);
    const { error } = parseJson<{ error: { code: string; message: string } }>(second.stdout);
    assert.equal(error.code, 'port-busy');
    assert.match(error.message, new RegExp(`\\(pid ${first.child.pid ?? 0}\\)`));
    assert.equal(await first.status(), 0, first.stdout + first.stderr);
    assert.equal((await archiveEntries(bench.archivePath)).ids.length, 1);
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    test(`${signal} in the middle of a backup: status 130, board in its app, what was read kept for the next backup`, async (t) => {
      const bench = await Bench.open(t);
      const { board, address } = await bench.addBoard({ family: 'esp8266', ...slow });
      const backup = new EspdProcess(t, bench, ['backup', '--port', address, '--json']);
      await until(() => reads(board), 'the board is read', 60_000);
      backup.kill(signal);
      assert.equal(await backup.status(), 130, backup.stderr);
      assert.equal(parseJson<{ error: { code: string } }>(backup.stdout).error.code, 'interrupted');
      await assertOnlyPartial(bench);
      await until(() => board.mode === 'app', 'the app runs');
    });
  }

  test('a reader that goes away (espd list | head -1) is no failure', async (t) => {
    const bench = await Bench.open(t);
    await backUp(bench.archive, image(4096));
    const list = new EspdProcess(t, bench, ['list', '--json']);
    list.child.stdout?.destroy();
    assert.equal(await list.status(), 0);
    assert.equal(list.stderr, '');
  });

  test('a port without permission', async (t) => {
    const bench = await Bench.open(t);
    const served = await servePty(createBoard({ family: 'esp32' }), { linkPath: join(bench.folder, 'tty') });
    t.after(() => served.close());
    await chmod(served.address, 0);
    const denied = new EspdProcess(t, bench, ['identify', '--port', served.address], { isBoundByPermissions: true });
    checkError({ status: await denied.status(), stderr: denied.stderr }, 'port-denied');
    assert.match(denied.stderr, /usermod|udev/);
  });
});
