/** Commands on a board that goes away at each of its resets: on its own USB, behind a server that hangs up meanwhile. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Bench } from '../support/cli.ts';

const NATIVE = { family: 'esp32c3', usb: 'usb-serial-jtag', reenumerates: true } as const;

describe('a board that goes away when it is reset', { concurrency: 2, timeout: 120_000 }, () => {
  test('is identified, backed up, verified and restored like any other', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(NATIVE);
    const at = ['--port', address];
    const identified = await bench.runJson<{ boards: { mac: string }[] }>(['identify', ...at]);
    assert.deepEqual(
      identified.json.boards.map(({ mac }) => mac),
      [board.mac],
      identified.stderr,
    );
    const saved = await bench.runJson<{ backups: { mac: string }[]; failed: unknown[] }>(['backup', ...at]);
    assert.deepEqual([saved.status, saved.json.backups.length, saved.json.failed], [0, 1, []], saved.stderr);
    const verified = await bench.run(['verify', '--device', ...at]);
    assert.equal(verified.status, 0, verified.stderr);
    const before = board.flash.snapshot();
    board.flash.erase(0x9000, 4096);
    const restored = await bench.run(['restore', '--mac', board.mac, '--yes', ...at]);
    assert.equal(restored.status, 0, restored.stderr);
    assert.ok(board.flash.snapshot().equals(before));
    assert.ok(!restored.stderr.includes('port-vanished'), restored.stderr);
  });

  test('and stays away is told of in a sentence', async (t) => {
    const bench = await Bench.open(t);
    const { board, served, address } = await bench.addBoard(NATIVE);
    const { onVanish } = board;
    board.onVanish = () => {
      onVanish?.();
      served.unplug();
    };
    const { status, stderr } = await bench.run(['backup', '--port', address]);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /went away when it was reset into download mode, and did not come back within 5 s/);
    assert.match(stderr, /port-vanished/);
  });
});
