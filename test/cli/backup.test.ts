/** identify, backup and verify --device on simulated boards: the JSON contract, and what people read. */

import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { sha256 } from '../archive/support.ts';
import { Bench, type ErrorFields, KIB, assertPlain, checkError, until } from '../support/cli.ts';
import type { BackupJson, IdentifyJson, RestoreJson, VerifyDeviceJson } from './documents.ts';

const MAC = '50:02:91:c3:37:a5';
const OTHER = '24:0a:c4:12:45:56';
const SECTOR = 4096;

/** The board of the how-to. */
const theBoard = { family: 'esp8266', mac: MAC, jedec: [0x5e, 0x40, 0x13] } as const;

function change(board: SimulatedBoard, offset: number, sectors = 1): void {
  board.flash.erase(offset, sectors * SECTOR);
  board.flash.program(offset, Buffer.alloc(sectors * SECTOR, 'changed '));
}

describe('identify, backup, verify --device', { concurrency: 8 }, () => {
  test('identify: every field of the contract', async (t) => {
    const bench = await Bench.open(t);
    const { address } = await bench.addBoard(theBoard);
    const { status, json, stderr } = await bench.runJson<IdentifyJson>(['identify', '--port', address]);
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    const [identified] = json.boards;
    assert.ok(identified !== undefined);
    const { features, revision, ...facts } = identified;
    assert.deepEqual(facts, {
      port: address,
      chip: 'ESP8266EX',
      family: 'esp8266',
      crystalMHz: 26,
      mac: MAC,
      flash: { manufacturer: '5e', device: '4013', sizeBytes: 512 * KIB, sizeFrom: 'id' },
      security: { flashEncryption: false, secureBoot: false, secureDownload: false },
      usb: null,
    });
    assert.ok(Array.isArray(features) && features.every((feature) => typeof feature === 'string'));
    assert.equal(typeof revision, 'string');
    assert.deepEqual(json.failed, []);
  });

  test('identify for people: what esptool tells, and more', async (t) => {
    const bench = await Bench.open(t);
    const { board } = await bench.addBoard(theBoard);
    const { status, stdout, stderr } = await bench.run(['flash-id']);
    assert.deepEqual([status, stderr], [0, '']);
    assertPlain(stdout);
    for (const fact of [MAC, 'ESP8266EX', '26 MHz', '512 KB', '5e', '4013', 'open'])
      assert.ok(stdout.includes(fact), fact);
    await until(() => board.mode === 'app', 'the app runs');
  });

  test('a scan identifies all boards at once; one that is silent is named and fails nothing', async (t) => {
    const bench = await Bench.open(t);
    await bench.configure({ jobs: { connectAttempts: 1 } });
    await bench.addBoard(theBoard);
    await bench.addBoard({ family: 'esp32c3', mac: OTHER });
    const mute = await bench.addBoard({ family: 'esp32', faults: [{ kind: 'mute' }] });
    const { status, json } = await bench.runJson<IdentifyJson>(['identify']);
    assert.equal(status, 0);
    assert.deepEqual(json.boards.map(({ mac }) => mac).sort(), [OTHER, MAC]);
    assert.deepEqual(
      json.failed.map(({ port, code }) => ({ port, code })),
      [{ port: mute.address, code: 'no-answer' }],
    );
    assert.ok(json.failed.every(({ message, hint }) => message !== '' && hint !== ''));
  });

  test('backup, then unchanged, then changed: the contract of each', async (t) => {
    const bench = await Bench.open(t);
    await bench.configure({ serial: { baudRate: 921_600 } });
    const { board, address } = await bench.addBoard(theBoard);
    const run = async (...extra: string[]) => {
      const { status, json, stderr } = await bench.runJson<BackupJson>(['backup', '--port', address, ...extra]);
      assert.equal(status, 0, stderr);
      assert.deepEqual(json.failed, []);
      assert.equal(json.backups.length, 1);
      assert.equal(board.mode, 'app');
      return json.backups[0]!;
    };
    const first = await run();
    const content = board.flash.snapshot();
    assert.equal(first.mac, MAC);
    assert.match(first.id, /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$/);
    assert.equal(first.path, join(bench.archivePath, '50-02-91-c3-37-a5', first.id));
    assert.equal(first.sizeBytes, 512 * KIB);
    assert.equal(first.sha256, sha256(content));
    assert.equal(first.unchanged, false);
    const { loader, explained, recovery, phases, plan, ways, reader, ...counts } = first.transfer;
    assert.equal(reader, null);
    assert.equal(loader, 'stub');
    for (const [name, value] of Object.entries({ ...counts, ...explained, ...recovery, ...phases, ...ways })) {
      assert.ok(typeof value === 'number' && value >= 0, name);
    }
    const planned = plan.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    assert.equal(planned, 512 * KIB);
    assert.deepEqual([...new Set(plan.map(({ by }) => by))].sort(), ['blank', 'read']);
    assert.ok(
      first.transfer.flashBytesRead > 0 && first.transfer.flashBytesRead < 512 * KIB,
      'blank flash is not read',
    );
    assert.ok(first.transfer.wireBytes > first.transfer.flashBytesRead);
    assert.equal(first.transfer.baudRate, 921600);
    assert.deepEqual(await readFile(join(first.path, 'flash.bin')), content);

    const again = await run();
    assert.deepEqual([again.id, again.unchanged, again.transfer.flashBytesRead], [first.id, true, 0]);

    change(board, 0x40000);
    const changed = await run();
    assert.deepEqual([changed.unchanged, changed.transfer.flashBytesRead], [false, SECTOR]);
    assert.notEqual(changed.id, first.id);
    assert.equal(changed.sha256, sha256(board.flash.snapshot()));

    const full = await run('--full');
    assert.deepEqual([full.id, full.unchanged, full.transfer.flashBytesRead], [changed.id, true, 512 * KIB]);
  });

  test('backup of all boards, for people: one entry a board, plain text, nothing on stderr', async (t) => {
    const bench = await Bench.open(t);
    await bench.addBoard(theBoard);
    await bench.addBoard({ family: 'esp32c3', mac: OTHER });
    const { status, stdout, stderr } = await bench.run(['backup']);
    assert.deepEqual([status, stderr], [0, '']);
    assertPlain(stdout);
    for (const mac of [MAC, OTHER])
      assert.match(stdout, new RegExp(`^${mac} {2}backed up as \\S+Z, verified by the chip$`, 'm'));
    const again = await bench.run(['backup']);
    for (const mac of [MAC, OTHER]) assert.match(again.stdout, new RegExp(`^${mac} {2}unchanged since \\S+Z`, 'm'));
  });

  test('progress is for terminals; nothing of it is left when the command ends', async (t) => {
    const bench = await Bench.open(t);
    const { address } = await bench.addBoard(theBoard);
    const { status, stdout, stderr } = await bench.run(['backup', '--port', address, '--no-color'], { tty: true });
    assert.equal(status, 0);
    assertPlain(stdout);
    assert.match(stderr, /reading \[#*\.*\] +\d+ %/);
    assertPlain(stderr.replaceAll('\r', ''));
    assert.match(stderr, /\r +\r$/);
  });

  test('backup of the one board with a MAC, out of several', async (t) => {
    const bench = await Bench.open(t);
    await bench.addBoard(theBoard);
    const other = await bench.addBoard({ family: 'esp32c3', mac: OTHER });
    const { status, json } = await bench.runJson<BackupJson>(['backup', '--mac', '240AC4124556']);
    assert.equal(status, 0);
    assert.deepEqual(
      json.backups.map(({ mac }) => mac),
      [OTHER],
    );
    assert.deepEqual((await readdir(bench.archivePath)).sort(), [OTHER.replaceAll(':', '-'), 'cache']);
    assert.equal(other.board.mode, 'app');
  });

  test('--output writes the image to a new file, and never over another', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    const file = join(bench.folder, 'image.bin');
    const { status, stdout } = await bench.run(['backup', '--port', address, '--output', file]);
    assert.equal(status, 0);
    assert.match(stdout, /Image written to /);
    assert.deepEqual(await readFile(file), board.flash.snapshot());
    assert.equal((await stat(file)).mode & 0o777, 0o600);

    const resets = board.resets;
    await writeFile(file, 'mine');
    await bench.fails(['backup', '--port', address, '--output', file], 'output-exists');
    assert.equal(await readFile(file, 'utf8'), 'mine');
    const nowhere = join(bench.folder, 'no', 'such', 'folder.bin');
    await bench.fails(['backup', '--port', address, '--output', nowhere], 'output-unwritable');
    await bench.fails(['backup', '--port', address, '--output', join(file, 'x')], 'output-unwritable');
    assert.equal(board.resets, resets, 'the board was left alone');
  });

  test('--output needs one board', async (t) => {
    const bench = await Bench.open(t);
    await bench.addBoard(theBoard);
    await bench.addBoard({ family: 'esp32c3', mac: OTHER });
    await bench.fails(['backup', '--output', join(bench.folder, 'image.bin')], 'board-ambiguous');
  });

  test('verify --device: equal, different, never seen', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    await bench.fails(['verify', '--device', '--mac', MAC], 'archive-missing');
    await bench.run(['backup', '--port', address]);
    const equal = await bench.runJson<VerifyDeviceJson>(['verify', '--device']);
    assert.equal(equal.status, 0);
    assert.deepEqual([equal.json.checked, equal.json.damaged, equal.json.ok], [1, [], true]);
    assert.match((await bench.run(['verify', '--device', '--mac', MAC])).stdout, /equals its backup/);

    change(board, 0x40000);
    const content = board.flash.snapshot();
    const different = await bench.runJson<VerifyDeviceJson & { error: ErrorFields }>([
      'verify',
      '--device',
      '--mac',
      MAC,
    ]);
    assert.equal(different.status, 4);
    assert.equal(different.json.ok, false);
    assert.deepEqual(
      different.json.damaged.map(({ mac, file }) => ({ mac, file })),
      [{ mac: MAC, file: 'device' }],
    );
    assert.equal(different.json.error.code, 'digest-mismatch');
    const people = await bench.run(['verify', '--device', '--port', address]);
    checkError(people, 'digest-mismatch');
    assert.match(people.stdout, /^DIFFERS {2}\S+ is not as in its backup \S+Z$/m);
    // What to do about it, as it stands.
    const espd = `espd --config ${bench.configPath}`;
    const { id } = equal.json.devices[0]!;
    assert.equal(
      different.json.error.hint,
      `Nothing was changed. "${espd} backup --mac ${MAC}" keeps what is on it now; ` +
        `"${espd} restore --mac ${MAC} --at ${id}" puts that backup back`,
    );
    assert.deepEqual(board.flash.snapshot(), content);

    // Back in order by a restore, which has kept what was there before.
    const restored = await bench.runJson<RestoreJson>(['restore', '--yes', MAC]);
    assert.notEqual(restored.json.snapshot, null);
    const inOrder = await bench.runJson<VerifyDeviceJson>(['verify', '--device', '--mac', MAC]);
    assert.equal(inOrder.status, 0, inOrder.stdout);
    assert.deepEqual([inOrder.json.devices[0]?.id, inOrder.json.devices[0]?.matches], [id, true]);
    board.flash.load(0, content);
    const undone = await bench.runJson<VerifyDeviceJson>(['verify', '--device', '--mac', MAC]);
    assert.deepEqual([undone.status, undone.json.devices[0]?.equals], [4, { mac: MAC, id: restored.json.snapshot }]);
    const told = await bench.run(['verify', '--device', '--mac', MAC]);
    assert.match(told.stdout, new RegExp(`; it equals its backup ${restored.json.snapshot}\n`));
    await until(() => board.mode === 'app', 'the app runs');
  });

  test('a board on raw TCP, in download mode already: backed up, no reset tried', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({ family: 'esp32c3', mac: OTHER }, { as: 'socket', linked: false });
    board.pressBoot(true);
    board.powerCycle();
    const { status, json } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    assert.equal(status, 0);
    assert.equal(json.backups[0]?.sha256, sha256(board.flash.snapshot()));
    assert.deepEqual(board.lineHistory, []);
  });

  test('hostile strings of a device reach nobody', async (t) => {
    const bench = await Bench.open(t);
    const evil = '\x1b]0;owned\x07\x1b[2J\u202e';
    await bench.configure({ jobs: { connectAttempts: 1 } });
    const { board } = await bench.addBoard({
      family: 'esp32',
      mac: OTHER,
      appOutput: `I (1) boot: ${evil}\r\n`,
      faults: [{ kind: 'wrong-boot-mode' }],
    });
    await mkdir(join(bench.folder, 'x'));
    for (const extra of [[], ['--json'], ['--log-level', 'debug']]) {
      const { status, stdout, stderr } = await bench.run(['identify', ...extra]);
      assert.equal(status, 1);
      assertPlain(stdout);
      assertPlain(stderr);
    }
    await until(() => board.mode === 'app', 'the app runs');
  });
});
