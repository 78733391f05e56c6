/**
 * Everything that can be wrong with boards, ports and folders: one clear sentence, a hint, the documented status, valid
 * JSON, and nothing lost or harmed.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { isPartialName } from '../../src/archive/owner.ts';
import type { ErrorCode } from '../../src/errors.ts';
import type { BoardOptions } from '../../src/simulator/index.ts';
import { servePty } from '../../src/simulator/serve/pty.ts';
import { createBoard, seededRandom } from '../../src/simulator/index.ts';
import { image, sha256 } from '../archive/support.ts';
import { Bench, KIB, archiveEntries, checkError, until } from '../support/cli.ts';
import type { BackupJson, IdentifyJson } from './documents.ts';

const MAC = '50:02:91:c3:37:a5';

/** What comes of a command that works on one board, and what must not come of it. */
async function boardFails(
  t: TestContext,
  options: Partial<BoardOptions> & { family: BoardOptions['family'] },
  code: ErrorCode,
  command = 'backup',
): Promise<{ message: string; hint: string; bench: Bench }> {
  const bench = await Bench.open(t);
  // The first two tries use sequences for boards behind a bridge, which these are.
  await bench.configure({ jobs: { connectAttempts: 2 } });
  const { board, address } = await bench.addBoard(options);
  const before = sha256(board.flash.snapshot());
  const error = await bench.fails([command, '--port', address], code);
  assert.deepEqual(await archiveEntries(bench.archivePath), { ids: [], others: [] });
  assert.equal(sha256(board.flash.snapshot()), before);
  return { ...error, bench };
}

describe('bad input', { concurrency: 12 }, () => {
  test('no board at all', async (t) => {
    const bench = await Bench.open(t);
    await mkdir(bench.archivePath);
    for (const args of [['identify'], ['backup'], ['backup', '--mac', MAC], ['verify', '--device']]) {
      await bench.fails(args, 'board-not-found');
    }
  });

  test('none of the boards is the one asked for', async (t) => {
    const bench = await Bench.open(t);
    await bench.addBoard({ family: 'esp32' });
    await bench.fails(['backup', '--mac', MAC], 'board-not-found');
    await bench.fails(['restore', '--yes', '--mac', MAC], 'archive-missing');
    await mkdir(bench.archivePath);
    await bench.fails(['restore', '--yes', '--mac', MAC], 'archive-unknown-board');
  });

  test('the board at the port is another one than asked for', async (t) => {
    const bench = await Bench.open(t);
    const { address } = await bench.addBoard({ family: 'esp32' });
    await bench.fails(['backup', '--mac', MAC, '--port', address], 'other-mac', { hint: false });
    assert.deepEqual(await archiveEntries(bench.archivePath), { ids: [], others: [] });
  });

  test('two boards answer with one MAC', async (t) => {
    const bench = await Bench.open(t);
    const first = await bench.addBoard({ family: 'esp8266', mac: MAC }, { name: 'a' });
    const second = await bench.addBoard({ family: 'esp8266', mac: MAC }, { name: 'b' });
    const { message } = await bench.fails(['backup', '--mac', MAC], 'board-ambiguous');
    for (const { address } of [first, second]) assert.ok(message.includes(address));
    // Without a MAC the first is kept, and the other is named.
    const { status, json } = await bench.runJson<BackupJson>(['backup']);
    assert.equal(status, 3);
    assert.deepEqual([json.backups.length, json.failed.length], [1, 1]);
    assert.equal(json.failed[0]?.code, 'board-ambiguous');
    assert.equal(json.failed[0].mac, MAC);
    assert.equal((await archiveEntries(bench.archivePath)).ids.length, 1);
    await bench.fails(['restore', '--yes', '--mac', MAC], 'board-ambiguous');
  });

  test('one board fails, the others are backed up: status 1, and both are told', async (t) => {
    const bench = await Bench.open(t);
    await bench.addBoard({ family: 'esp8266', mac: MAC });
    const broken = await bench.addBoard({ family: 'esp32', faults: [{ kind: 'flash-id', id: [0, 0, 0] }] });
    const { status, json } = await bench.runJson<BackupJson>(['backup']);
    assert.equal(status, 1);
    assert.deepEqual(
      [json.backups.map(({ mac }) => mac), json.failed.map(({ mac, code }) => ({ mac, code })), json.error?.code],
      [[MAC], [{ mac: broken.board.mac, code: 'flash-unknown' }], 'flash-unknown'],
    );
    const people = await bench.run(['backup']);
    checkError(people, 'flash-unknown');
    assert.match(people.stdout, new RegExp(`^${MAC} {2}unchanged since`, 'm'));
  });

  test('a network port that another client has open', async (t) => {
    const bench = await Bench.open(t);
    const { address } = await bench.addBoard({ family: 'esp32' });
    const socket = connect(Number(new URL(address).port), '127.0.0.1');
    t.after(() => socket.destroy());
    await once(socket, 'data');
    // A server that only hangs up does not tell why.
    await bench.fails(['backup', '--port', address], 'port-failed');

    const says = createServer((client) => client.end('Port already in use\r\n'));
    says.listen(0, '127.0.0.1');
    t.after(() => says.close());
    await once(says, 'listening');
    const { port } = says.address() as AddressInfo;
    await bench.fails(['backup', '--port', `rfc2217://127.0.0.1:${port}`], 'port-busy');
  });

  test('a terminal that another program has open', async (t) => {
    const bench = await Bench.open(t);
    const served = await servePty(createBoard({ family: 'esp32' }), { linkPath: join(bench.folder, 'tty') });
    t.after(() => served.close());
    const cat = execFile('sh', ['-c', 'exec cat < "$0"', served.address]);
    t.after(() => cat.kill());
    await until(async () => {
      const { stderr } = await bench.run(['identify', '--port', served.address, '--log-level', 'error']);
      return stderr.includes('(port-busy)');
    }, 'cat has the terminal open');
    const { message } = await bench.fails(['backup', '--port', served.address], 'port-busy');
    assert.match(message, /cat \(pid \d+\)/);
  });

  test('ports that are not there, or are no ports', async (t) => {
    const bench = await Bench.open(t);
    // Not one that was closed just now: another process soon gets the same number.
    await bench.fails(['backup', '--port', '/dev/pts/1000000'], 'port-missing');
    await bench.fails(['backup', '--port', '/dev/ttyUSB_nothing'], 'port-missing');
    await bench.fails(['identify', '--port', 'COM8'], 'port-missing');
    await bench.fails(['identify', '--port', bench.configPath], 'port-failed');
    await bench.fails(['identify', '--port', bench.folder], 'port-failed');
    await bench.fails(['identify', '--port', '/dev/null'], 'port-failed');
    await bench.fails(['identify', '--port', '-'], 'port-missing');
  });

  test('the cable is pulled in the middle of the read', async (t) => {
    const bench = await Bench.open(t);
    for (const [seed, args] of [['backup'], ['backup', '--json']].entries()) {
      const fault = { kind: 'vanish', when: { direction: 'to-host', byte: 60_000 } } as const;
      const { board, address, served } = await bench.addBoard(
        { family: 'esp8266', seed, faults: [fault], content: seededRandom(seed).bytes(256 * KIB) },
        { linked: false },
      );
      const { status, stdout, stderr } = await bench.run([...args, '--port', address]);
      assert.equal(status, 1);
      assert.match(stdout + stderr, /port-vanished/);
      assert.ok((await archiveEntries(bench.archivePath)).others.every(isPartialName));
      board.plug();
      served.plug();
      const again = await bench.runJson<BackupJson>(['backup', '--port', address]);
      assert.equal(again.json.backups[0]?.sha256, sha256(board.flash.snapshot()));
    }
  });

  test('the chip resets in the middle of the read: read to the end all the same', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({
      family: 'esp32',
      faults: [{ kind: 'reset', when: { direction: 'to-host', byte: 60_000 } }],
    });
    const { status, json } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    assert.equal(status, 0);
    assert.equal(json.backups[0]?.sha256, sha256(board.flash.snapshot()));
    assert.ok(json.backups[0].transfer.retries > 0);
  });

  test('a device that never answers', async (t) => {
    await boardFails(t, { family: 'esp32', faults: [{ kind: 'mute' }] }, 'no-answer');
  });

  test('something that answers garbage', async (t) => {
    const bench = await Bench.open(t);
    const noise = createServer((client) => {
      client.on('error', () => undefined);
      client.on('data', (bytes) => client.write(Buffer.from(bytes.map((byte, index) => byte * 7 + index * 13))));
    });
    noise.listen(0, '127.0.0.1');
    t.after(() => noise.close());
    await once(noise, 'listening');
    const { port } = noise.address() as AddressInfo;
    await bench.fails(['backup', '--port', `socket://127.0.0.1:${port}`], 'no-answer');
    // A board whose answers are garbled: its boot log tells that it is one.
    await boardFails(t, { family: 'esp32', faults: [{ kind: 'garbage' }] }, 'no-sync');
  });

  test('a board that starts its app instead of download mode', async (t) => {
    const { hint } = await boardFails(t, { family: 'esp32', faults: [{ kind: 'wrong-boot-mode' }] }, 'boot-mode');
    assert.match(hint, /BOOT/);
  });

  test('a board in download mode that hears nothing', async (t) => {
    await boardFails(t, { family: 'esp32', faults: [{ kind: 'no-sync' }] }, 'no-sync');
  });

  test('a chip that is not known', async (t) => {
    const registerPresets = new Map([[0x40001000, 0x12345678]]);
    await boardFails(t, { family: 'esp32', registerPresets }, 'chip-unsupported');
  });

  test('download mode switched off, and secure download mode', async (t) => {
    await boardFails(t, { family: 'esp32', security: { downloadDisabled: true } }, 'download-disabled');
    await boardFails(t, { family: 'esp32c3', security: { secureDownload: true } }, 'secure-download');
  });

  for (const id of [
    [0, 0, 0],
    [0xff, 0xff, 0xff],
    [0x5e, 0x40, 0x99],
  ] as const) {
    test(`a flash that says ${Buffer.from(id).toString('hex')}`, async (t) => {
      const { bench } = await boardFails(
        t,
        { family: 'esp8266', mac: MAC, faults: [{ kind: 'flash-id', id }] },
        'flash-unknown',
      );
      // Who the board is can be told all the same.
      const { status, json } = await bench.runJson<IdentifyJson>(['identify']);
      assert.equal(status, 0);
      assert.equal(json.boards[0]?.['mac'], MAC);
      assert.equal(json.boards[0]['flash'], null);
      assert.match(JSON.stringify(json.boards[0]['flashProblem']), /"code":"flash-unknown","message":"\S/);
    });
  }

  test('a stub that does not start: the ROM of an ESP8266 cannot read', async (t) => {
    await boardFails(t, { family: 'esp8266', faults: [{ kind: 'no-stub' }] }, 'no-stub-read');
  });

  test('a stub that does not start: the ROM of an ESP32 reads, and says that it is slow', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({
      family: 'esp32',
      content: image(KIB),
      faults: [{ kind: 'no-stub' }],
    });
    const { status, json, stderr } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /Reading through the ROM, which is slow/);
    assert.equal(json.backups[0]?.sha256, sha256(board.flash.snapshot()));
  });

  test('a board that stays in download mode: status 1, but its backup is kept and told', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({
      family: 'esp8266',
      mac: MAC,
      faults: [{ kind: 'stuck-in-bootloader' }],
    });
    const { status, json } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    assert.equal(status, 1);
    assert.equal(json.error?.code, 'still-in-bootloader');
    assert.equal(json.backups[0]?.sha256, sha256(board.flash.snapshot()));
    assert.deepEqual(
      json.failed.map(({ mac, code }) => ({ mac, code })),
      [{ mac: MAC, code: 'still-in-bootloader' }],
    );
    const people = await bench.run(['backup', '--port', address]);
    checkError(people, 'still-in-bootloader');
    assert.match(people.stderr, /RESET button/);
  });

  test('an archive folder that cannot be written', async (t) => {
    const bench = await Bench.open(t);
    const { address } = await bench.addBoard({ family: 'esp8266', mac: MAC });
    const file = join(bench.folder, 'file');
    await writeFile(file, 'mine');
    await bench.fails(['backup', '--port', address, '--archive', join(file, 'archive')], 'archive-unwritable');
    await bench.fails(['daemon', '--archive', join(file, 'archive')], 'archive-unwritable');
    if (process.getuid?.() === 0) {
      t.diagnostic('skipped for root: an archive without write permission');
      return;
    }
    await mkdir(bench.archivePath);
    await chmod(bench.archivePath, 0o500);
    await bench.fails(['backup', '--port', address], 'archive-unwritable');
  });

  test('a full disk', async (t) => {
    const bench = await Bench.open(t);
    await mkdir(bench.archivePath);
    try {
      await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'espd-test', bench.archivePath]);
    } catch {
      t.skip('only root may mount a small file system');
      return;
    }
    try {
      const { board, address } = await bench.addBoard({ family: 'esp8266', mac: MAC });
      await bench.fails(['backup', '--port', address], 'disk-full');
      assert.deepEqual(await archiveEntries(bench.archivePath), { ids: [], others: [] });
      await until(() => board.mode === 'app', 'the app runs');
      const output = join(bench.archivePath, 'image.bin');
      const elsewhere = ['--archive', join(bench.folder, 'elsewhere')];
      const { status, json } = await bench.runJson<BackupJson>([
        'backup',
        '--port',
        address,
        '--output',
        output,
        ...elsewhere,
      ]);
      assert.equal(status, 1);
      assert.equal(json.error?.code, 'output-unwritable');
      assert.equal(json.backups.length, 1, 'the backup itself is kept, and told');
      assert.deepEqual(await archiveEntries(join(bench.folder, 'elsewhere')), {
        ids: [json.backups[0]!.id],
        others: [],
      });
    } finally {
      await promisify(execFile)('umount', [bench.archivePath]);
    }
  });
});

// By itself: the noise is made in this process, and keeps it busy.
test('a device that floods', async (t) => {
  const faults = [{ kind: 'flood', durationMs: 60_000, bytesPerSecond: 1_000_000 }, { kind: 'no-sync' }] as const;
  await boardFails(t, { family: 'esp32', faults }, 'port-flooded', 'identify');
});
