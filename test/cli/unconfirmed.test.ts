/** Images that no chip has confirmed: what a restore asks for, and what confirms them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseMac } from '../../src/mac.ts';
import { Bench, type ErrorFields } from '../support/cli.ts';
import { importImage } from '../transfer/support.ts';
import type { BackupJson, RestoreJson, VerifyDeviceJson } from './documents.ts';

const MAC = '24:0a:c4:12:45:56';
const mac = parseMac(MAC)!;
const SECTOR = 4096;

interface DeviceJson {
  readonly id: string;
  readonly matches: boolean;
  readonly confirmed: boolean;
  readonly confirmedNow: boolean;
  readonly chipChange: object | null;
}

async function sceneOf(bench: Bench) {
  const { board, address } = await bench.addBoard({ family: 'esp32c3', mac: MAC });
  const image = board.flash.snapshot();
  const backup = await importImage(bench.archive, image, { mac, family: 'esp32c3' });
  const change = () => {
    board.flash.erase(0x20000, SECTOR);
    board.flash.program(0x20000, Buffer.alloc(SECTOR, 'changed '));
  };
  const verify = async () => {
    const { json, status } = await bench.runJson<VerifyDeviceJson>(['verify', '--device', '--port', address]);
    return { status, device: json.devices[0] as unknown as DeviceJson };
  };
  return { board, address, image, backup, change, verify };
}

describe('an imported image', { concurrency: 3 }, () => {
  test('is restored with --unconfirmed where nobody is asked; the plan and the document say it', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, image, change } = await sceneOf(bench);
    change();
    const own = board.flash.snapshot();
    const restore = ['restore', MAC, '--at', 'first', '--port', address];
    const resets = board.resets;
    await bench.fails([...restore, '--yes'], 'unconfirmed');
    const { json, status } = await bench.runJson<{ error: ErrorFields }>([...restore, '--yes']);
    assert.deepEqual([status, json.error.code], [5, 'unconfirmed']);
    assert.equal(board.resets, resets, 'no port was opened');
    await bench.fails(['restore', '--from', MAC, '--many', '--yes', '--at', 'first'], 'unconfirmed');
    const dry = await bench.run([...restore, '--dry-run']);
    assert.equal(dry.status, 0, dry.stderr);
    assert.match(
      dry.stdout.replace(/\n +/g, ' '),
      /at risk +No chip has confirmed this image: it was imported from fw-backup-4M\.bin\./,
    );
    assert.ok(board.flash.snapshot().equals(own));
    const done = await bench.runJson<RestoreJson>([...restore, '--yes', '--unconfirmed']);
    assert.deepEqual([done.status, done.json.plan.backup.confirmed], [0, false]);
    assert.ok(board.flash.snapshot().equals(image));
  });

  test('is confirmed by verify --device, which says so; then it is as any other', async (t) => {
    const bench = await Bench.open(t);
    const { address, backup, change, verify } = await sceneOf(bench);
    const first = await verify();
    assert.deepEqual(
      [first.status, first.device.matches, first.device.confirmed, first.device.confirmedNow, first.device.chipChange],
      [0, true, true, true, null],
    );
    const again = await verify();
    assert.deepEqual([again.device.confirmed, again.device.confirmedNow], [true, false]);
    change();
    const done = await bench.runJson<RestoreJson>(['restore', `${MAC}@${backup.id}`, '--port', address, '--yes']);
    assert.deepEqual([done.status, done.json.plan.backup.confirmed], [0, true]);
  });

  test('that differs is said to be confirmed by nobody; a backup of the board stands beside it', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, image, backup, change, verify } = await sceneOf(bench);
    change();
    const people = await bench.run(['verify', '--device', '--port', address]);
    assert.equal(people.status, 4);
    assert.match(people.stdout, /^DIFFERS .*\n {2}That backup was imported, and no chip has confirmed it\n/);
    const different = await verify();
    assert.deepEqual([different.device.matches, different.device.confirmed], [false, false]);
    board.flash.load(0, image);
    const kept = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const [made] = kept.json.backups;
    assert.equal(made?.unchanged, false);
    assert.notEqual(made.id, backup.id);
    assert.equal((await verify()).device.confirmed, true);
  });
});
