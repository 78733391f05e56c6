/** The daemon and an archive on a disk that takes 9 s for each fsync. */

import assert from 'node:assert/strict';
import { type TestContext, describe, it } from 'node:test';
import { SLOW_MS, SlowDisk } from '../support/slow-disk.ts';
import { PACED, Workshop, macOf, reading } from './workshop.ts';

const STOP_LIMIT_MS = 5000;

async function slowShop(t: TestContext): Promise<{ shop: Workshop; disk: SlowDisk }> {
  const disk = new SlowDisk();
  const shop = await Workshop.started(t, { archive: { fs: disk.fs } });
  disk.clock = shop.clock;
  disk.slow = 'fsync';
  return { shop, disk };
}

describe('a daemon with a slow disk', () => {
  it('releases each board before its backup is kept, and keeps it', async (t) => {
    const { shop } = await slowShop(t);
    const device = shop.board();
    shop.plug(device);
    await shop.until(() => shop.openLinks > 0, 'an open link');
    while (shop.openLinks > 0) await shop.pass(50);
    assert.equal(device.board.mode, 'app');
    assert.deepEqual((await shop.history(device.board)).backups, []);
    const releasedAtMs = shop.clock.now();
    await shop.said('Backed up and verified');
    assert.ok(shop.clock.now() - releasedAtMs >= 3 * SLOW_MS);
    await shop.archived(device.board);
  });

  it('keeps the backup of a board that is pulled out while it is kept', async (t) => {
    const { shop } = await slowShop(t);
    const device = shop.board();
    shop.plug(device);
    await shop.until(() => shop.openLinks > 0, 'an open link');
    while (shop.openLinks > 0) await shop.pass(50);
    shop.unplug(device);
    await shop.said('Backed up and verified');
    await shop.archived(device.board);
    assert.deepEqual(shop.complaints, []);
  });

  it('takes a board at another port for busy until its backup is kept', async (t) => {
    const { shop } = await slowShop(t);
    const device = shop.board();
    shop.plug(device);
    await shop.until(() => shop.openLinks > 0, 'an open link');
    while (shop.openLinks > 0) await shop.pass(50);
    const twin = shop.board({ slot: 1, mac: device.board.mac });
    shop.plug(twin);
    await shop.said(`${macOf(device.board)} is being worked on at another port`);
    await shop.said('Backed up and verified');
    await shop.archived(device.board);
  });

  it('stops in 5 s: a board that is read and one whose backup is being kept run their apps', async (t) => {
    const { shop, disk } = await slowShop(t);
    const [kept, read] = [shop.board(), shop.board({ slot: 1, line: PACED })];
    shop.plug(kept);
    await shop.until(() => shop.openLinks > 0, 'an open link');
    while (shop.openLinks > 0) await shop.pass(50);
    shop.plug(read);
    await reading(shop, read);
    const before = shop.clock.now();
    await shop.daemon.stop();
    assert.ok(shop.clock.now() - before < STOP_LIMIT_MS, `${shop.clock.now() - before} ms`);
    assert.equal(shop.openLinks, 0);
    await shop.pass(100);
    assert.deepEqual([kept.board.mode, read.board.mode], ['app', 'app']);
    assert.deepEqual(
      shop.complaints.map(({ message }) => message),
      ['Not waiting for the disk of the archive any longer: the next backup goes on from what is there'],
    );
    // What goes on behind it here ends with the process elsewhere.
    disk.slow = 'nothing';
    await shop.pass(10 * SLOW_MS);
    await shop.archived(kept.board);
    assert.equal(await shop.partials(read.board), 1);
  });
});
