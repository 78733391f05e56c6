/**
 * The recipes of docs/copies.md, run as they stand there against an archive at work: the copy is sound, holds nothing that
 * was not complete, and a board is restored from it.
 */

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { chmod, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { isBackupId } from '../../src/archive/ids.ts';
import type { Mac } from '../../src/mac.ts';
import { macToFolder, parseMac } from '../../src/mac.ts';
import { content, image } from '../archive/support.ts';
import type { BackupJson, RestoreJson } from '../cli/documents.ts';
import { readPage } from '../docs/pages.ts';
import { Bench, type BenchBoard, KIB } from '../support/cli.ts';

const run = promisify(execFile);
const BOARD = '50:02:91:c3:37:a5';
const OTHER = parseMac('24:0a:c4:12:45:56')!;
const HOUR_MS = 60 * 60 * 1000;

/** The page's blocks of shell commands that have `command` in them, in order. */
function recipes(command: string): string[] {
  const blocks = [...readPage('docs/copies.md').matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
  const found = blocks.filter((block) => block.includes(command));
  assert.ok(found.length > 0, `docs/copies.md has no commands with ${command}`);
  return found;
}

function isMissing(t: TestContext, program: string): boolean {
  if (spawnSync(program, ['--version']).error === undefined && spawnSync(program, ['version']).error === undefined) {
    return false;
  }
  t.skip(`${program} is not installed`);
  return true;
}

interface Workstation {
  readonly bench: Bench;
  readonly board: BenchBoard;
  /** Stands for `/` in the commands of the page. */
  readonly root: string;
  readonly archivePath: string;
  /** Runs commands of the page; what its `espd` printed is in the result. */
  sh(commands: string, env?: NodeJS.ProcessEnv): Promise<string>;
}

/** An archive at the place that the page speaks of, with the backup of a board and all that is no backup beside it. */
async function workstation(t: TestContext): Promise<Workstation> {
  const bench = await Bench.open(t);
  const root = join(bench.folder, 'root');
  const archivePath = join(root, 'var/lib/espd');
  await mkdir(join(root, 'var/lib'), { recursive: true });
  await mkdir(join(root, 'mnt/backup'), { recursive: true });
  await mkdir(join(root, 'srv'), { recursive: true });
  await mkdir(join(root, 'etc/espd'), { recursive: true });
  await symlink(archivePath, bench.archivePath);
  await mkdir(archivePath, { mode: 0o700 });
  const board = await bench.addBoard({ family: 'esp8266', mac: BOARD });
  const { json } = await bench.runJson<BackupJson>(['backup', '--port', board.address]);
  assert.equal(json.backups.length, 1);
  await bench.archive.marks.describe(parseMac(BOARD)!, { label: 'kitchen' });
  for (const name of ['draft.host.0.0.0.1.0.00000000', 'partial.0123456789abcdef', 'trash.0123456789abcdef']) {
    const folder = join(archivePath, macToFolder(parseMac(BOARD)!), name);
    await mkdir(folder);
    await writeFile(join(folder, 'flash.bin'), 'not complete');
  }
  const espd = join(bench.folder, 'espd');
  const main = join(import.meta.dirname, '../../dist/main.js');
  await writeFile(espd, `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`);
  await chmod(espd, 0o755);
  const sh = async (commands: string, env: NodeJS.ProcessEnv = {}) => {
    const placed = commands.replaceAll(/(?<![\w.:/-])\/(?=(?:var|mnt|srv|etc)\/)/g, `${root}/`);
    const path = `${bench.folder}:${process.env['PATH'] ?? ''}`;
    const all = { ...process.env, HOME: bench.folder, PATH: path, ESPD_CONFIG: bench.configPath, ...env };
    const { stdout, stderr } = await run('sh', ['-euc', placed], { env: all });
    return stdout + stderr;
  };
  return { bench, board, root, archivePath, sh };
}

/** Keeps backups of another board, one after the other, until the test says that it is enough. */
function keepBackingUp({ bench }: Workstation): () => Promise<number> {
  const enough = new AbortController();
  const work = (async () => {
    let made = 0;
    for (; !enough.signal.aborted || made < 3; made++) {
      const bytes = image(64 * KIB, made);
      const at = new Date(Date.parse('2026-01-01T00:00:00Z') + made * HOUR_MS).toISOString();
      const draft = await bench.archive.begin(OTHER, bytes.length);
      await draft.write(0, bytes);
      await draft.commit(content(bytes, at, OTHER));
    }
    return made;
  })();
  return () => {
    enough.abort();
    return work;
  };
}

/** Only backups and the files beside them, and `verify` finds every one as it was written. */
async function checkCopy({ bench, archivePath }: Workstation, copy: string, expected: readonly Mac[]): Promise<void> {
  assert.deepEqual((await readdir(copy)).filter((name) => name !== 'cache').sort(), expected.map(macToFolder).sort());
  for (const mac of expected) {
    const names = await readdir(join(copy, macToFolder(mac)));
    assert.deepEqual(
      names.filter((name) => !isBackupId(name) && !name.endsWith('.jsonl')),
      [],
    );
    assert.ok(names.some(isBackupId));
    const there = await readdir(join(archivePath, macToFolder(mac)));
    for (const name of names) assert.ok(there.includes(name), name);
  }
  const { status, stdout, stderr } = await bench.run(['--archive', copy, 'verify']);
  assert.equal(status, 0, stdout + stderr);
  assert.doesNotMatch(stderr, /foreign/);
}

async function checkRestore({ bench, board }: Workstation, copy: string): Promise<void> {
  const { flash } = board.board;
  const before = flash.snapshot();
  flash.load(0x20000, Buffer.alloc(64 * KIB, 'other'));
  const restore = ['--archive', copy, 'restore', 'kitchen', '--port', board.address, '--yes'];
  const { status, json, stderr } = await bench.runJson<RestoreJson>(restore);
  assert.equal(status, 0, stderr);
  assert.equal(json.verified, true);
  assert.ok(flash.snapshot().equals(before));
}

describe('a copy of an archive at work', { timeout: 300_000 }, () => {
  test('by rsync', async (t) => {
    if (isMissing(t, 'rsync')) return;
    const station = await workstation(t);
    const copy = join(station.root, 'mnt/backup/espd');
    const [command = ''] = recipes('rsync --archive');
    const stop = keepBackingUp(station);
    for (let round = 0; round < 3; round++) await station.sh(command);
    await stop();
    await station.sh(command);
    assert.match(
      await station.sh(recipes('--archive /mnt/backup/espd verify')[0] ?? ''),
      /every file is as it was written/,
    );
    await checkCopy(station, copy, [parseMac(BOARD)!, OTHER]);
    await checkRestore(station, copy);
  });

  test('by rclone', async (t) => {
    if (isMissing(t, 'rclone')) return;
    const station = await workstation(t);
    // A remote that is a folder here; what the store is does not matter to the recipe.
    const env = {
      RCLONE_CONFIG: join(station.bench.folder, 'rclone.conf'),
      RCLONE_CONFIG_BACKUP_TYPE: 'alias',
      RCLONE_CONFIG_BACKUP_REMOTE: join(station.root, 'mnt/backup'),
    };
    await writeFile(env.RCLONE_CONFIG, '');
    const [there = ''] = recipes('rclone copy --exclude');
    const [back = ''] = recipes('rclone copy backup:espd');
    const stop = keepBackingUp(station);
    for (let round = 0; round < 2; round++) await station.sh(there, env);
    await stop();
    await station.sh(there, env);
    assert.match(await station.sh(back, env), /every file is as it was written/);
    const copy = join(station.root, 'srv/espd-from-copy');
    await checkCopy(station, copy, [parseMac(BOARD)!, OTHER]);
    await checkRestore(station, copy);
  });

  test('by restic', async (t) => {
    if (isMissing(t, 'restic')) return;
    const station = await workstation(t);
    await writeFile(join(station.root, 'etc/espd/restic-password'), 'a password of a test\n', { mode: 0o600 });
    const [there = ''] = recipes('restic backup');
    const [all = '', one = ''] = recipes('restic restore');
    const stop = keepBackingUp(station);
    for (let round = 0; round < 2; round++) await station.sh(there);
    await stop();
    await station.sh(there);
    // The page's paths are those of this test by now, and restic puts a file under the path that it had.
    const target = join(station.root, 'srv/from-restic');
    const inside = join(target, station.archivePath);
    const placed = all.replace('/srv/from-restic/var/lib/espd', inside);
    assert.match(await station.sh(placed), /every file is as it was written/);
    await checkCopy(station, inside, [parseMac(BOARD)!, OTHER]);
    await checkRestore(station, inside);
    const exported = all.split('\n')[0] ?? '';
    const single = join(station.root, 'srv/one-board');
    await station.sh(`${exported}\n${one.replace('/srv/from-restic', '/srv/one-board')}`);
    await checkCopy(station, join(single, station.archivePath), [parseMac(BOARD)!]);
  });
});
