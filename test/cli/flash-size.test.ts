/** --flash-size: a flash whose id does not tell its size, on simulated boards. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Bench, KIB } from '../support/cli.ts';
import type { BackupJson, RestoreJson } from './documents.ts';

const MAC = '50:02:91:c3:37:a5';
const theBoard = {
  family: 'esp8266',
  mac: MAC,
  flashSizeBytes: 512 * KIB,
  faults: [{ kind: 'flash-id', id: [0x5e, 0x40, 0x99] }],
} as const;

describe('--flash-size', { concurrency: 4 }, () => {
  test('backup, show and restore: who told the size is shown', async (t) => {
    const bench = await Bench.open(t);
    const { board } = await bench.addBoard({ ...theBoard, faults: [...theBoard.faults] });
    const before = board.flash.snapshot();
    assert.match((await bench.fails(['backup', '--mac', MAC], 'flash-unknown')).hint, /--flash-size/);
    const kept = await bench.runJson<BackupJson>(['backup', '--mac', MAC, '--flash-size', '512K']);
    assert.equal(kept.status, 0, kept.stderr);
    assert.equal(kept.json.backups[0]?.sizeBytes, 512 * KIB);
    const again = await bench.run(['backup', '--flash-size', '512kb']);
    assert.match(again.stdout, /unchanged since/);
    assert.match(again.stderr, /told by a person/);
    assert.match((await bench.run(['show', MAC])).stdout, /^ {4}the size of the flash was told by a person/m);
    const shown = await bench.runJson<{ backups: { flash: object }[] }>(['show', MAC]);
    assert.deepEqual(shown.json.backups[0]?.flash, {
      manufacturer: '5e',
      device: '4099',
      sizeBytes: 512 * KIB,
      aliasedAtBytes: null,
      sizeFrom: 'person',
    });

    board.flash.erase(0x40000, 4096);
    board.flash.program(0x40000, Buffer.alloc(4096, 'changed '));
    await bench.fails(['restore', '--mac', MAC, '--yes'], 'flash-unknown');
    const people = await bench.run(['restore', '--mac', MAC, '--flash-size', '512K', '--dry-run']);
    assert.match(
      people.stdout.replace(/\s+/g, ' '),
      /The flash size of the backup and of the board is what a person said/,
    );
    const done = await bench.runJson<RestoreJson>(['restore', '--mac', MAC, '--flash-size', '512K', '--yes']);
    assert.equal(done.status, 0, done.stderr);
    assert.equal(done.json.verified, true);
    assert.ok(board.flash.snapshot().equals(before));
  });

  test('sizes that no flash has, and uses that make no sense: usage errors, nothing is touched', async (t) => {
    const bench = await Bench.open(t);
    const { board } = await bench.addBoard({ family: 'esp8266', mac: MAC });
    for (const size of ['', '4', '3M', '128K', '256M', '4G', '-4M', '4 M', '0x400000', 'four', '4.0M', '1e6']) {
      for (const command of ['backup', 'restore']) {
        const { message } = await bench.fails([command, '--mac', MAC, `--flash-size=${size}`], 'usage');
        assert.match(message, /--flash-size|flash/);
      }
    }
    await bench.fails(['restore', '--from', MAC, '--many', '--yes', '--flash-size', '4M'], 'usage');
    assert.equal(board.commands.length, 0);
    const { message } = await bench.fails(['backup', '--mac', MAC, '--flash-size', '128M'], 'usage');
    assert.match(message, /and --flash-size says 134217728/);
  });

  test('is of one board: with several, name it', async (t) => {
    const bench = await Bench.open(t);
    const { board } = await bench.addBoard({ family: 'esp8266', mac: MAC });
    await bench.addBoard({ family: 'esp32', mac: '24:0a:c4:12:45:56' });
    await bench.fails(['backup', '--flash-size', '4M'], 'board-ambiguous');
    assert.equal(board.commands.length, 0);
  });
});
