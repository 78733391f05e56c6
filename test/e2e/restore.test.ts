/** A restore that is killed in the middle, as a process of its own: the board's state is known, and finished. */

import assert from 'node:assert/strict';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseMac } from '../../src/mac.ts';
import { OPCODE } from '../../src/simulator/index.ts';
import type { BackupJson, RestoreJson } from '../cli/documents.ts';
import { Bench, parseJson, until } from '../support/cli.ts';
import { EspdProcess, startDaemon } from './support.ts';

const MAC = '24:0a:c4:12:45:56';

describe('restore', { concurrency: 2, timeout: 300_000 }, () => {
  for (const [family, own] of [
    ['esp8266', null],
    ['esp32c3', null],
    // Where the settings are: nvs of the demo image.
    ['esp32', { name: 'nvs', offset: 0x9000, sizeBytes: 0x5000 }],
  ] as const) {
    const keeping = own === null ? '' : `, keeping ${own.name},`;
    test(`SIGKILL in the middle of writing an ${family}${keeping}: daemon and commands know, the same command finishes it`, async (t) => {
      const bench = await Bench.open(t);
      await bench.configure({ log: { format: 'json' } });
      // Erasing takes its time, so that something can happen in the middle of it.
      const speeds = { eraseSectorMs: 150, eraseBlockMs: 600 };
      const { board, address } = await bench.addBoard({ family, mac: MAC, speeds }, { linked: false });
      const { json: kept } = await bench.runJson<BackupJson>(['backup', '--port', address]);
      const id = kept.backups[0]?.id ?? '';
      const image = board.flash.snapshot();
      for (let at = 0x20000; at < 0x50000; at += 0x2000) board.flash.load(at, Buffer.alloc(4096, 'other '));
      if (own !== null) board.flash.load(own.offset, Buffer.alloc(own.sizeBytes, 'own settings '));
      const before = board.flash.snapshot();
      if (own !== null) before.copy(image, own.offset, own.offset, own.offset + own.sizeBytes);

      const keep = own === null ? [] : ['--keep', own.name];
      const restore = ['restore', '--mac', MAC, '--port', address, '--yes', '--json', ...keep];
      const killed = new EspdProcess(t, bench, restore);
      const begun = () => board.commands.filter(({ opcode }) => opcode === OPCODE.flashDeflBegin).length > 3;
      await until(begun, 'it writes', 60_000);
      killed.kill('SIGKILL');
      await killed.exited();
      const flash = board.flash.snapshot();
      assert.ok(!flash.equals(image) && !flash.equals(before));
      const half = await bench.archive.halfRestored(parseMac(MAC)!);
      assert.equal(half?.record?.from.id, id);
      const { backups } = await bench.archive.history(parseMac(MAC)!);
      assert.equal(backups.at(-1)?.id, half.record.snapshot, 'what was there before is kept');

      // Killed, it let nobody go: the board is in download mode, as if somebody had pressed its buttons.
      board.powerCycle();
      const daemon = await startDaemon(t, bench);
      await symlink(address, join(bench.portsPath, 'board'));
      const line = await daemon.line(({ code }) => code === 'half-restored', 'the daemon says so');
      assert.equal(line.level, 'warn');
      assert.match(line.message, /is half restored to/);
      daemon.kill('SIGTERM');
      await daemon.status();
      assert.equal((await bench.archive.history(parseMac(MAC)!)).backups.length, backups.length);

      const finished = new EspdProcess(t, bench, restore);
      assert.equal(await finished.status(), 0, finished.stdout + finished.stderr);
      const json = parseJson<RestoreJson>(finished.stdout);
      assert.deepEqual([json.id, json.finished, json.verified, json.snapshot], [id, true, true, null]);
      assert.ok(board.flash.snapshot().equals(image));
      assert.equal(await bench.archive.halfRestored(parseMac(MAC)!), null);
    });
  }

  test('from a read-only mount: --no-snapshot works, list and show know the half restored board, the same archive finishes', async (t) => {
    const bench = await Bench.open(t);
    const within = readOnlyMount(bench.archivePath);
    const { board, address, served } = await bench.addBoard({ family: 'esp32c3', mac: MAC }, { linked: false });
    // Compressed, it is unpacked somewhere else.
    await bench.configure({ archive: { compression: 'gzip' } });
    await bench.run(['backup', '--port', address]);
    const image = board.flash.snapshot();
    for (let at = 0x20000; at < 0x50000; at += 0x2000) board.flash.load(at, Buffer.alloc(4096, 'other '));
    const run = async (...args: string[]) => {
      const espd = new EspdProcess(t, bench, args, { within });
      return { status: await espd.status(), stdout: espd.stdout, stderr: espd.stderr };
    };
    if ((await run('list').catch(() => null))?.status !== 0) {
      t.skip('this system lets nobody mount anything read-only in a namespace of their own (unshare --mount)');
      return;
    }
    const restore = ['restore', MAC, '--port', address, '--yes'];
    const refused = await run(...restore);
    assert.equal(refused.status, 1, refused.stderr);
    assert.match(
      refused.stderr,
      /read-only file system, and cannot take a snapshot.*\n.*--no-snapshot restores without one/,
    );

    const removeFault = board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 3 } });
    const broken = await run(...restore, '--no-snapshot');
    assert.equal(broken.status, 1, broken.stderr);
    removeFault();
    board.plug();
    served.plug();
    for (const args of [['list'], ['show', MAC]]) {
      const { stdout } = await run(...args);
      assert.match(stdout, /is half restored to \S+, since .*\n +Finish with: espd .*--archive \S+ restore --mac/);
    }
    const { hint } = await bench.fails(['backup', '--port', address], 'half-restored');
    assert.match(hint, /--half-restored/);
    const finished = await run(...restore);
    assert.equal(finished.status, 0, finished.stderr);
    assert.match(finished.stdout, /restore finished: \d+ sectors written, whole flash verified by the chip/);
    assert.ok(board.flash.snapshot().equals(image));
    assert.doesNotMatch((await run('list')).stdout, /half restored/);
  });

  test('SIGINT in the middle of writing: status 130, the board in its app, and what finishes it', async (t) => {
    const bench = await Bench.open(t);
    const speeds = { eraseSectorMs: 150, eraseBlockMs: 600 };
    const { board, address } = await bench.addBoard({ family: 'esp32', mac: MAC, speeds }, { linked: false });
    await bench.run(['backup', '--port', address]);
    const image = board.flash.snapshot();
    for (let at = 0x20000; at < 0x50000; at += 0x2000) board.flash.load(at, Buffer.alloc(4096, 'other '));
    const restore = ['restore', '--mac', MAC, '--port', address, '--yes'];
    const stopped = new EspdProcess(t, bench, restore);
    const begun = () => board.commands.filter(({ opcode }) => opcode === OPCODE.flashDeflBegin).length > 3;
    await until(begun, 'it writes', 60_000);
    stopped.kill('SIGINT');
    assert.equal(await stopped.status(), 130, stopped.stderr);
    assert.match(stopped.stderr, /is half restored to \S+, since .*\n {2}Finish with: espd .*restore --mac /);
    await until(() => board.mode === 'app', 'the app runs');
    const finished = new EspdProcess(t, bench, restore);
    assert.equal(await finished.status(), 0, finished.stderr);
    assert.match(finished.stdout, /restore finished: \d+ sectors written, whole flash verified by the chip/);
    assert.match(finished.stderr, /unfinished +an earlier restore of this board was interrupted/);
    assert.ok(board.flash.snapshot().equals(image));
  });
});

/** Runs a command where `folder` is mounted read-only, for root and for everybody else. */
function readOnlyMount(folder: string): string[] {
  const script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"';
  return ['unshare', '--mount', '--map-root-user', 'sh', '-c', script, folder];
}
