/** `watch.afterRelease`: a board that another program has had is looked at when that has closed its port. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createUseLook } from '../../src/serial/port-use.ts';
import { Workshop } from './workshop.ts';

describe('after another program', () => {
  it('a board is looked at once its port stays closed, and only once', async (t) => {
    const shop = await Workshop.started(t, { settings: { afterRelease: true } });
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    // Opened and closed, as flashers do.
    for (let times = 0; times < 3; times++) {
      shop.inUse.add(device.address);
      await shop.pass(20_000);
      shop.inUse.clear();
      await shop.pass(4000);
    }
    assert.equal(shop.opensOf(device.address), 1);
    await shop.said('Unchanged since its last backup');
    await shop.idle();
    assert.equal(shop.linesOf('Another program has closed the port').length, 1);
    await shop.pass(600_000);
    assert.equal(shop.opensOf(device.address), 2);
  });

  it('nothing is touched without it, at a port where no board was found, and at one that was unplugged', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    const silent = { ...shop.board({ slot: 1 }), board: undefined };
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    const use = async (address: string) => {
      shop.inUse.add(address);
      await shop.pass(20_000);
      shop.inUse.clear();
      await shop.pass(60_000);
    };
    await use(device.address);
    assert.equal(shop.opensOf(device.address), 1);
    shop.apply({ afterRelease: true });
    shop.fire({ kind: 'attached', port: { ...silent, key: 's', fromFolder: false } });
    await shop.pass(3_600_000);
    const opens = shop.opensOf(silent.address);
    await use(silent.address);
    shop.inUse.add(device.address);
    await shop.pass(20_000);
    shop.unplug(device);
    shop.inUse.clear();
    await shop.pass(60_000);
    assert.deepEqual([shop.opensOf(device.address), shop.opensOf(silent.address) - opens <= 1], [1, true]);
    assert.equal(shop.linesOf('Another program has closed the port').length, 0);
  });
});

it('a program that uses a port is seen in /proc, which is asked only where something has happened', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'espd-use-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const [proc, device] = [join(folder, 'proc'), join(folder, 'ttyUSB0')];
  await mkdir(join(proc, '4711', 'fd'), { recursive: true });
  await writeFile(device, '');
  const port = { address: device, key: 'a', usb: null, fromFolder: false };
  const look = createUseLook(proc);
  const used = async () => [...(await look([port, { ...port, address: '/dev/none', key: 'b' }]))];
  const stamp = (seconds: number) => utimes(device, seconds, seconds);
  assert.deepEqual(await used(), []);
  await symlink(device, join(proc, '4711', 'fd', '3'));
  // Open, and nothing was sent: nobody looks.
  assert.deepEqual(await used(), []);
  await stamp(1000);
  assert.deepEqual(await used(), [device]);
  assert.deepEqual(await used(), [device]);
  await rm(join(proc, '4711', 'fd', '3'));
  assert.deepEqual(await used(), []);
  // Our own work stamps it as well.
  await mkdir(join(proc, String(process.pid), 'fd'), { recursive: true });
  await symlink(device, join(proc, String(process.pid), 'fd', '3'));
  await stamp(2000);
  assert.deepEqual(await used(), []);
});
