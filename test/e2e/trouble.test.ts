/** Boards are released whatever becomes of the process: a disk that hangs for ever, and a fault that nobody caught. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { Bench, type BenchBoard, KIB, archiveEntries, until } from '../support/cli.ts';
import { isRead } from '../support/flash-reads.ts';
import { EspdProcess, startDaemon } from './support.ts';

const PRELOAD = new URL('./trouble.mjs', import.meta.url).href;
/** At 115200 baud reading takes so long that something can happen in the middle of it. */
const SLOW_LINE = { line: { latencyMs: 0 } } as const;

interface Scene {
  readonly bench: Bench;
  /** See `trouble.mjs`. */
  readonly trouble: string;
  readonly env: NodeJS.ProcessEnv;
}

async function sceneOf(t: TestContext): Promise<Scene> {
  const bench = await Bench.open(t);
  await bench.configure({ log: { format: 'json' }, serial: { baudRate: 115_200 } });
  const trouble = join(bench.portsPath, '..', 'trouble');
  await mkdir(trouble);
  execFileSync('mkfifo', [join(trouble, 'pipe')]);
  return { bench, trouble, env: { NODE_OPTIONS: `--import ${PRELOAD}`, ESPD_TEST_TROUBLE: trouble } };
}

function plugIn(bench: Bench, { board, address }: BenchBoard): Promise<void> {
  return symlink(address, join(bench.portsPath, board.mac.replaceAll(':', '-')));
}

function reads({ board }: BenchBoard): boolean {
  return isRead(board);
}

function isReleased(device: BenchBoard): boolean {
  return device.board.mode === 'app' && reads(device);
}

describe('espd in trouble', { concurrency: 2, timeout: 240_000 }, () => {
  test('the disk hangs: boards run their apps, SIGTERM ends the process, the next start finishes', async (t) => {
    const { bench, trouble, env } = await sceneOf(t);
    const daemon = await startDaemon(t, bench, { env });
    await writeFile(join(trouble, 'stuck'), '');
    const kept = await bench.addBoard({ family: 'esp32' }, { linked: false });
    await plugIn(bench, kept);
    await until(() => isReleased(kept), 'the first board is read and runs its app', 90_000);
    const read = await bench.addBoard({ family: 'esp8266', ...SLOW_LINE }, { linked: false });
    await plugIn(bench, read);
    await until(() => reads(read), 'the second board is read', 90_000);
    daemon.kill('SIGTERM');
    assert.equal(await daemon.status(), 0, daemon.stderr);
    await until(() => read.board.mode === 'app', 'the second board runs its app');
    assert.equal(kept.board.mode, 'app');

    // Without trouble: the drafts of the dead process are gone on from.
    const next = await startDaemon(t, bench);
    const macs = [await next.message('Backed up and verified'), await next.message('Backed up and verified')];
    assert.deepEqual(macs.map(({ mac }) => mac).sort(), [kept.board.mac, read.board.mac].sort());
    next.kill('SIGTERM');
    assert.equal(await next.status(), 0, next.stderr);
    assert.equal((await bench.run(['verify'])).status, 0);
  });

  for (const [what, args, status] of [
    ['the daemon', ['daemon'], 0],
    ['a backup', ['backup'], 130],
  ] as const) {
    test(`a thread of its own is stuck in the disk: ${what} ends all the same`, async (t) => {
      const { bench, trouble, env } = await sceneOf(t);
      // A smaller flash is hashed without the thread.
      const device = await bench.addBoard({ family: 'esp32', flashSizeBytes: 1024 * KIB });
      await writeFile(join(trouble, 'thread'), '');
      const espd = new EspdProcess(t, bench, args, { env });
      await until(() => existsSync(join(trouble, 'thread-is-stuck')), 'the image is hashed', 90_000);
      espd.kill('SIGTERM');
      assert.equal(await espd.status(), status, espd.stderr);
      await until(() => device.board.mode === 'app', 'the board runs its app');
      assert.deepEqual((await archiveEntries(bench.archivePath)).ids, []);
      await rm(join(trouble, 'thread'));
      assert.equal((await bench.run(['backup'])).status, 0);
    });
  }

  for (const [what, args] of [
    ['the daemon', ['daemon']],
    ['a backup', ['backup']],
  ] as const) {
    test(`something is thrown where nobody catches it: ${what} releases its board, says so and fails`, async (t) => {
      const { bench, trouble, env } = await sceneOf(t);
      const device = await bench.addBoard({ family: 'esp8266', ...SLOW_LINE });
      const espd = new EspdProcess(t, bench, args, { env });
      await until(() => reads(device), 'the board is read', 90_000);
      await writeFile(join(trouble, 'fault'), '');
      assert.equal(await espd.status(), 1, espd.stderr);
      assert.match(espd.stderr, /A fault inside espd: thrown in a native callback/);
      await until(() => device.board.mode === 'app', 'the board runs its app');
      assert.equal((await bench.run(['verify'])).status, 0);
    });
  }
});
