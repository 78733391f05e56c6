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
  for (const family of ['esp8266', 'esp32c3'] as const) {
    test(`SIGKILL in the middle of writing an ${family}: daemon and commands know, the same command finishes it`, async (t) => {
      const bench = await Bench.open(t);
      await bench.configure({ log: { format: 'json' } });
      // Erasing takes its time, so that something can happen in the middle of it.
      const speeds = { eraseSectorMs: 150, eraseBlockMs: 600 };
      const { board, address } = await bench.addBoard({ family, mac: MAC, speeds }, { linked: false });
      const { json: kept } = await bench.runJson<BackupJson>(['backup', '--port', address]);
      const id = kept.backups[0]?.id ?? '';
      const image = board.flash.snapshot();
      for (let at = 0x20000; at < 0x50000; at += 0x2000) board.flash.load(at, Buffer.alloc(4096, 'other '));
      const before = board.flash.snapshot();

      const restore = ['restore', '--mac', MAC, '--port', address, '--yes', '--json'];
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
    assert.match(stopped.stderr, /is half restored to \S+, since .*\n {2}Finish with: espd restore --mac /);
    await until(() => board.mode === 'app', 'the app runs');
    const finished = new EspdProcess(t, bench, restore);
    assert.equal(await finished.status(), 0, finished.stderr);
    assert.match(finished.stdout, /restore finished: \d+ sectors written, whole flash verified by the chip/);
    assert.match(finished.stderr, /unfinished +an earlier restore of this board was interrupted/);
    assert.ok(board.flash.snapshot().equals(image));
  });
});
