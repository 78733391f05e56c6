/** When a board that was plugged in is worked on: grace, quiet hours, and whether it is due. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseQuietHours } from '../../src/config/quiet-hours.ts';
import { Station } from '../../src/daemon/station.ts';
import { AT_ONCE, type TimingSettings } from '../../src/daemon/timing.ts';
import { Workshop, macOf } from './workshop.ts';

const HOUR_MS = 3_600_000;
const timing = (settings: Partial<TimingSettings>) => ({ timing: { ...AT_ONCE, timezone: 'UTC', ...settings } });
/** Hours that are quiet now, and end so many minutes from now. */
function quietFor(shop: Workshop, minutes: number): TimingSettings['quietHours'] {
  const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);
  const nowMs = shop.clock.date().getTime();
  return parseQuietHours(`${clock(nowMs - 60_000)}-${clock(nowMs + minutes * 60_000)}`);
}

describe('a grace after a plug-in', () => {
  it('passes before the board is touched', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ graceMs: 20_000 }) });
    const device = shop.board();
    shop.plug(device);
    await shop.pass(19_000);
    assert.deepEqual(shop.opened, []);
    assert.deepEqual(
      shop.eventsOf('port-postponed').map(({ port, why }) => [port, why]),
      [[device.address, 'grace']],
    );
    await shop.said('Backed up and verified');
    await shop.idle();
  });

  it('begins anew at each plug-in, and is over with the board', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ graceMs: 20_000 }) });
    const device = shop.board();
    shop.plug(device);
    await shop.pass(15_000);
    shop.unplug(device);
    await shop.pass(60_000);
    shop.plug(device);
    await shop.pass(15_000);
    assert.deepEqual(shop.opened, []);
    await shop.said('Backed up and verified');
    await shop.idle();
    assert.equal(shop.opensOf(device.address), 1);
  });

  it('is cut short by who asks for a backup, and by another program that takes the port', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ graceMs: 20_000 }) });
    const [asked, held] = [shop.board(), shop.board({ slot: 1 })];
    for (const device of [asked, held]) shop.plug(device);
    shop.daemon.hold(held.address, { by: 'Ada' });
    shop.daemon.requestBackup({ port: asked.address }, { full: false, allowHalfRestored: false });
    await shop.said('Backed up and verified', { port: asked.address });
    await shop.pass(60_000);
    assert.deepEqual([shop.opensOf(asked.address), shop.opensOf(held.address)], [1, 0]);
    shop.daemon.release(held.address);
    await shop.said('Backed up and verified', { port: held.address });
    await shop.idle();
  });

  it('does not keep a board in download mode waiting', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ graceMs: 20_000 }) });
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag', reenumerates: true });
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    assert.equal(shop.eventsOf('port-postponed').length, 1);
  });

  it('follows a reload', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ graceMs: 3 * HOUR_MS }) });
    shop.plug(shop.board());
    await shop.pass(HOUR_MS);
    assert.deepEqual(shop.opened, []);
    shop.apply(timing({ graceMs: HOUR_MS }));
    await shop.said('Backed up and verified');
    await shop.idle();
  });
});

describe('quiet hours', () => {
  it('let boards wait for their end; who asks is served', async (t) => {
    const shop = await Workshop.open(t);
    const quietHours = quietFor(shop, 30);
    shop.apply(timing({ quietHours }));
    const station = new Station();
    shop.events.subscribe(station.onEvent);
    await shop.daemon.start();
    const [device, asked] = [shop.board(), shop.board({ slot: 1 })];
    for (const each of [device, asked]) shop.plug(each);
    await shop.pass(60_000);
    assert.deepEqual(shop.opened, []);
    const [view] = station.view.ports;
    assert.deepEqual([view?.state, view?.reason], ['idle', 'quiet hours']);
    assert.equal(shop.linesOf('Waits for the end of the quiet hours').length, 2);
    shop.daemon.requestBackup({ port: asked.address }, { full: false, allowHalfRestored: false });
    await shop.said('Backed up and verified', { port: asked.address });
    assert.equal(shop.opensOf(device.address), 0);
    await shop.pass(30 * 60_000);
    await shop.said('Backed up and verified', { port: device.address });
    await shop.idle();
    assert.equal(shop.opensOf(asked.address), 1);
  });

  it('that are lifted by a reload end at once', async (t) => {
    const shop = await Workshop.open(t);
    shop.apply(timing({ quietHours: quietFor(shop, 600) }));
    await shop.daemon.start();
    shop.plug(shop.board());
    await shop.pass(60_000);
    assert.deepEqual(shop.opened, []);
    shop.apply(timing({}));
    await shop.said('Backed up and verified');
    await shop.idle();
  });
});

describe('a board that is not due', () => {
  it('is left alone if its USB says who it is, until it is due or the reload says so', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ dueMs: 12 * HOUR_MS }) });
    const native = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag' });
    const bridge = shop.board({ slot: 1 });
    for (const device of [native, bridge]) {
      shop.plug(device);
      await shop.said('Backed up and verified', { port: device.address });
      await shop.idle();
      shop.unplug(device);
      await shop.pass(60_000);
      shop.plug(device);
    }
    await shop.pass(HOUR_MS);
    // Who a board behind a bridge is shows only when it is asked.
    assert.deepEqual([shop.opensOf(native.address), shop.opensOf(bridge.address)], [1, 2]);
    const left = shop.eventsOf('port-left-alone');
    assert.deepEqual(
      left.map(({ port, by }) => [port, by]),
      [
        [native.address, 'due'],
        [bridge.address, 'due'],
      ],
    );
    assert.equal(shop.eventsOf('backup-unchanged').length, 0);
    shop.apply(timing({ dueMs: HOUR_MS / 2 }));
    await shop.said('Unchanged since its last backup', { mac: macOf(native.board) });
    await shop.idle();
  });

  it('is asked who it is behind a bridge, let go at once, and told of; nothing of its flash is read', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ dueMs: 12 * HOUR_MS }) });
    const station = new Station();
    shop.events.subscribe(station.onEvent);
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    shop.unplug(device);
    await shop.pass(60_000);
    const sent = device.board.wireBytes.toHost;
    shop.plug(device);
    await shop.pass(10_000);
    await shop.idle();
    assert.equal(device.board.mode, 'app');
    assert.ok(device.board.wireBytes.toHost - sent < 4096, `${device.board.wireBytes.toHost - sent} bytes`);
    const [view] = station.view.ports;
    assert.deepEqual([view?.state, view?.mac], ['left-alone', macOf(device.board)]);
    assert.match(view?.reason ?? '', /younger than 12 h \(watch\.due\)/);
    assert.equal(shop.eventsOf('job-ended').at(-1)?.result, 'dropped');
    assert.deepEqual([shop.eventsOf('job-failed').length, shop.openLinks], [0, 0]);
    // Who asks is not kept waiting, and nor is another board at that bridge.
    shop.daemon.requestBackup({ port: device.address }, { full: false, allowHalfRestored: false });
    await shop.said('Unchanged since its last backup', { port: device.address });
    await shop.idle();
    shop.unplug(device);
    await shop.pass(60_000);
    const other = shop.board({ mac: '24:0a:c4:00:00:77' });
    shop.plug(other);
    await shop.said('Backed up and verified', { mac: macOf(other.board) });
    await shop.idle();
    shop.unplug(other);
    await shop.pass(12 * HOUR_MS);
    shop.plug(device);
    await shop.said('Unchanged since its last backup', { port: device.address });
    await shop.idle();
  });

  it('is due all the same where a restore was broken off on it', async (t) => {
    const shop = await Workshop.started(t, { settings: timing({ dueMs: 12 * HOUR_MS }) });
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    shop.unplug(device);
    await shop.pass(60_000);
    const folder = join(shop.archive.root, macOf(device.board).replaceAll(':', '-'));
    await writeFile(join(folder, 'restoring.json'), '{');
    device.board.flash.program(0x20000, Buffer.alloc(4096));
    shop.plug(device);
    await shop.pass(20_000);
    await shop.idle();
    assert.equal(shop.eventsOf('half-restored').length, 1);
    assert.equal(device.board.mode, 'app');
  });

  it('is due when another program has had its port', async (t) => {
    const settings = { ...timing({ dueMs: 12 * HOUR_MS }), afterRelease: true };
    const shop = await Workshop.started(t, { settings });
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag' });
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    shop.unplug(device);
    await shop.pass(60_000);
    shop.plug(device);
    await shop.pass(60_000);
    assert.equal(shop.eventsOf('port-left-alone').length, 1);
    shop.inUse.add(device.address);
    await shop.pass(20_000);
    shop.inUse.clear();
    await shop.said('Unchanged since its last backup');
    await shop.idle();
    assert.equal(shop.opensOf(device.address), 2);
  });
});
