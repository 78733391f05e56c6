/**
 * Two daemons on one archive, each at a socket of its own: the service, and one that somebody has started by hand. Neither
 * knows of the other, so nothing may depend on that.
 */

import assert from 'node:assert/strict';
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { parseMac } from '../../src/mac.ts';
import { Bench, type BenchBoard, archiveEntries, until } from '../support/cli.ts';
import { isRead } from '../support/flash-reads.ts';
import { type EspdProcess, startDaemon } from './support.ts';

const SECTOR = 4096;

async function twoDaemons(t: TestContext): Promise<{ bench: Bench; daemons: readonly [EspdProcess, EspdProcess] }> {
  const bench = await Bench.open(t);
  await bench.configure({ log: { format: 'json' }, retention: { keepLast: 1 } });
  const start = (name: string) => startDaemon(t, bench, { env: { RUNTIME_DIRECTORY: join(bench.folder, name) } });
  return { bench, daemons: [await start('one'), await start('two')] };
}

const plugIn = (bench: Bench, { board, address }: BenchBoard) =>
  symlink(address, join(bench.portsPath, board.mac.replaceAll(':', '-')));

/** The newest backup of each board is what is on it, and nothing is damaged or half there. */
async function checkArchive(bench: Bench, boards: readonly BenchBoard[]): Promise<void> {
  for (const { board } of boards) {
    const mac = parseMac(board.mac) ?? assert.fail();
    const { id } = await bench.archive.resolveBackup(mac, 'latest');
    const image = await readFile(join(bench.archivePath, board.mac.replaceAll(':', '-'), id, 'flash.bin'));
    assert.ok(image.equals(board.flash.snapshot()), board.mac);
  }
  const { damaged, unreadable } = await bench.archive.verify({});
  assert.deepEqual([damaged, unreadable], [[], []]);
}

async function areKept(bench: Bench, boards: readonly BenchBoard[]): Promise<boolean> {
  const { macs } = await bench.archive.boards().catch(() => ({ macs: [] }));
  const known = new Set<string>(macs);
  for (const { board } of boards) {
    const mac = parseMac(board.mac);
    if (mac === undefined || !known.has(mac) || (await bench.archive.backupIds(mac)).length === 0) return false;
  }
  return true;
}

describe('two daemons on one archive', { timeout: 300_000 }, () => {
  test('boards that both see are backed up, and run their apps; both end in order', async (t) => {
    const { bench, daemons } = await twoDaemons(t);
    const families = ['esp8266', 'esp32', 'esp32c3', 'esp32s3'] as const;
    const boards = await Promise.all(families.map((family) => bench.addBoard({ family }, { linked: false })));
    await Promise.all(boards.map((board) => plugIn(bench, board)));
    await until(() => areKept(bench, boards), 'a backup of each board', 180_000);
    // By hand, beside both of them.
    for (const { board, address } of boards) {
      board.flash.erase(0x1000, SECTOR);
      await until(
        async () => (await bench.run(['backup', '--port', address])).status === 0,
        'a backup by hand',
        120_000,
      );
    }
    const prunes = await Promise.all([1, 2, 3].map(() => bench.run(['prune', '--yes'])));
    for (const { status, stderr } of prunes) assert.equal(status, 0, stderr);
    for (const daemon of daemons) daemon.kill('SIGTERM');
    for (const daemon of daemons) assert.equal(await daemon.status(), 0);
    for (const { board } of boards) await until(() => board.mode === 'app', 'the app runs');
    await checkArchive(bench, boards);
    assert.deepEqual((await archiveEntries(bench.archivePath)).others, []);
    for (const { stderr } of daemons) assert.doesNotMatch(stderr, /"code":"internal"/);
  });

  test('one is killed while a board is read: it is backed up all the same', async (t) => {
    const { bench, daemons } = await twoDaemons(t);
    const board = await bench.addBoard({ family: 'esp8266', line: { latencyMs: 0 } }, { linked: false });
    await plugIn(bench, board);
    await until(() => isRead(board.board), 'a read under way', 60_000);
    daemons[0].kill('SIGKILL');
    await daemons[0].exited();
    await until(() => areKept(bench, [board]), 'a backup', 180_000);
    daemons[1].kill('SIGTERM');
    assert.equal(await daemons[1].status(), 0);
    await checkArchive(bench, [board]);
  });
});
