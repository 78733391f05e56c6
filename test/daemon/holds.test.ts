import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EspdError, hasCode } from '../../src/errors.ts';
import { CP2102, PACED, Workshop, macOf, reading } from './workshop.ts';

describe('a port that is held', () => {
  it('is not touched when a board is plugged in, and worked on when it is released', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.daemon.hold(device.address, { by: 'Ada' });
    shop.plug(device);
    await shop.pass(60_000);
    assert.deepEqual(shop.opened, []);
    assert.deepEqual(shop.daemon.holds, [{ port: device.address, by: 'Ada', until: null }]);
    assert.equal(shop.daemon.release(device.address), true);
    await shop.said('Backed up and verified');
    await shop.idle();
    await shop.archived(device.board);
    assert.equal(shop.daemon.release(device.address), false);
  });

  it('is released by itself when its time is over', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.daemon.hold(device.address, { by: 'Ada', forMs: 30_000 });
    shop.plug(device);
    await shop.pass(29_000);
    assert.deepEqual(shop.opened, []);
    await shop.said('Backed up and verified');
    assert.deepEqual(
      shop.told.flatMap((event) => (/^port-(held|released)$/.test(event.type) ? [event.type] : [])),
      ['port-held', 'port-released'],
    );
  });

  it('belongs to one holder, who may change how long', async (t) => {
    const shop = await Workshop.started(t);
    shop.daemon.hold('/dev/ttyUSB0', { by: 'Ada', forMs: 1000 });
    assert.throws(
      () => shop.daemon.hold('/dev/ttyUSB0', { by: 'Grace' }),
      (error: unknown) => hasCode(error, 'port-busy') && error.message.includes('Ada'),
    );
    shop.daemon.hold('/dev/ttyUSB0', { by: 'Ada' });
    await shop.pass(60_000);
    assert.equal(shop.daemon.holds.length, 1);
  });

  it('is nobody else’s job, not even one that is asked for', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.daemon.hold(device.address, { by: 'Ada' });
    shop.plug(device);
    await shop.pass(100);
    assert.throws(
      () => shop.daemon.requestBackup({ port: device.address }, { full: false, allowHalfRestored: false }),
      (error: unknown) => hasCode(error, 'port-busy'),
    );
  });

  it('stays held when a reset gives the board another address, and is looked at there once it is released', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag' });
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    const opens = shop.opened.length;
    shop.daemon.hold(device.address, { by: 'Ada' });
    shop.unplug(device);
    shop.plug(device, { address: '/dev/ttyACM9' });
    await shop.pass(60_000);
    assert.equal(shop.opened.length, opens);
    assert.throws(
      () => shop.daemon.requestBackup({ port: '/dev/ttyACM9' }, { full: false, allowHalfRestored: false }),
      (error: unknown) => hasCode(error, 'port-busy'),
    );
    shop.daemon.release(device.address);
    const { port } = shop.daemon.requestBackup({ port: '/dev/ttyACM9' }, { full: false, allowHalfRestored: false });
    assert.equal(port.address, '/dev/ttyACM9');
    await shop.said('Unchanged since its last backup', { port: '/dev/ttyACM9' });
    await shop.idle();
  });

  it('is meant by any of its names, also by one that was said before it was there', async (t) => {
    const shop = await Workshop.started(t);
    const byId = '/dev/serial/by-id/usb-1';
    const port = { address: '/dev/ttyUSB0', key: 'a', usb: CP2102, fromFolder: false, aliases: [byId] };
    shop.daemon.hold(byId, { by: 'Ada' });
    shop.fire({ kind: 'attached', port });
    await shop.pass(60_000);
    assert.deepEqual(shop.opened, []);
    assert.equal(shop.daemon.release(byId), true);
    shop.daemon.hold(byId, { by: 'Ada' });
    assert.deepEqual(
      shop.daemon.holds.map(({ port: held }) => held),
      [port.address],
    );
    assert.equal(shop.daemon.release(port.address), true);
  });
});

describe('a port that is taken', () => {
  it('is given when the daemon’s own job has ended', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    const taken = await shop.daemon.take(device.address, { by: 'espd restore' });
    assert.equal(shop.openLinks, 0);
    assert.equal(shop.eventsOf('backup-kept').length, 1);
    taken.giveBack();
    await shop.pass(60_000);
    assert.equal(shop.opensOf(device.address), 1, 'the board was backed up already');
    // And it is still known where that board is.
    const job = shop.daemon.requestBackup({ mac: macOf(device.board) }, { full: false, allowHalfRestored: false });
    assert.equal((await job.ended)?.outcome?.value.unchanged, true);
  });

  it('now, ends that job: the board is released, and backed up afterwards', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    const taken = await shop.daemon.take(device.address, { by: 'espd restore', now: true });
    assert.deepEqual([shop.openLinks, device.board.mode], [0, 'app']);
    const [failed] = shop.eventsOf('job-failed');
    assert.deepEqual([failed?.failure, failed?.error.code, failed?.retryInMs], ['stopped', 'interrupted', null]);
    assert.equal(shop.complaints.length, 0);
    taken.giveBack();
    await shop.said('Backed up and verified');
    await shop.idle();
    await shop.archived(device.board);
  });

  it('comes and goes as its holder resets the board, and that is no plug-in', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag' });
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    const opens = shop.opened.length;
    const taken = await shop.daemon.take(device.address, { by: 'espd restore' });
    for (let times = 0; times < 6; times++) {
      shop.detach(device);
      await shop.pass(400);
      shop.plug(device);
      await shop.pass(400);
    }
    taken.giveBack();
    // The last reset of the holder shows only now.
    shop.detach(device);
    await shop.pass(400);
    shop.plug(device);
    await shop.pass(60_000);
    assert.equal(shop.opened.length, opens);
    assert.equal(shop.eventsOf('port-flapping').length, 0);
    // And what a person does later is.
    shop.unplug(device);
    await shop.pass(20_000);
    shop.plug(device);
    await shop.said('Unchanged since its last backup');
  });

  it('is not, where whoever asked no longer waits', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    const abort = new AbortController();
    const taking = shop.daemon.take(device.address, { by: 'espd restore', signal: abort.signal });
    abort.abort(new EspdError('interrupted', 'Interrupted'));
    await assert.rejects(taking, (error: unknown) => hasCode(error, 'interrupted'));
    assert.deepEqual(shop.daemon.holds, []);
    await shop.said('Backed up and verified');
  });

  it('waits its turn: a job that has not begun is put off', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 1 } });
    const [one, two] = [shop.board({ slot: 0, line: PACED }), shop.board({ slot: 1 })];
    shop.plug(one);
    shop.plug(two);
    await reading(shop, one);
    const taken = await shop.daemon.take(two.address, { by: 'espd identify' });
    assert.equal(shop.opensOf(two.address), 0);
    await shop.said('Backed up and verified');
    taken.giveBack();
    await shop.said('Backed up and verified', { port: two.address });
  });
});

describe('a port that is lost with its holder', () => {
  it('is visited, so that its board leaves download mode', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    const taken = await shop.daemon.take(device.address, { by: 'espd restore' });
    taken.giveBack('lost');
    await shop.said('Unchanged since its last backup');
    await shop.idle();
    assert.equal(device.board.mode, 'app');
  });
});

describe('a backup that is asked for', () => {
  const PLAIN = { full: false, allowHalfRestored: false };

  it('joins the job that is at it', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    const job = shop.daemon.requestBackup({ port: device.address }, PLAIN);
    const result = await job.ended;
    assert.equal(result?.outcome?.value.unchanged, false);
    assert.equal(shop.opensOf(device.address), 1);
  });

  it('is made at a port that the rules leave alone, by hand', async (t) => {
    const shop = await Workshop.started(t, { settings: { rules: { allow: [], deny: [{ vendorId: '10c4' }] } } });
    const device = shop.board();
    shop.plug(device);
    await shop.said('Left alone');
    const job = shop.daemon.requestBackup({ port: device.address }, PLAIN);
    assert.equal((await job.ended)?.error, undefined);
    await shop.idle();
    assert.equal((await shop.archived(device.board)).manifest.reason, 'by-hand');
  });

  it('finds a board by its MAC where it was seen', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    const mac = macOf(device.board);
    assert.throws(
      () => shop.daemon.requestBackup({ mac }, PLAIN),
      (error: unknown) => hasCode(error, 'board-not-found'),
    );
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    const job = shop.daemon.requestBackup({ mac }, { ...PLAIN, full: true });
    assert.equal((await job.ended)?.outcome?.value.unchanged, true);
  });

  it('that fails is told once, and not tried again', async (t) => {
    const shop = await Workshop.started(t, { settings: { existing: 'none' } });
    const device = shop.board();
    shop.present.push(device);
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    device.board.addFault({ kind: 'mute' });
    const job = shop.daemon.requestBackup({ port: device.address }, PLAIN);
    assert.notEqual((await job.ended)?.error, undefined);
    const opens = shop.opened.length;
    await shop.pass(1_000_000);
    assert.equal(shop.opened.length, opens);
    assert.equal(shop.eventsOf('job-failed').length, 1);
  });

  it('can be cancelled, while it waits and in the middle', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 1 } });
    const [one, two] = [shop.board({ slot: 0, line: PACED }), shop.board({ slot: 1 })];
    shop.plug(one);
    shop.plug(two);
    await reading(shop, one);
    const [running, waiting] = shop.daemon.jobs;
    assert.equal(shop.daemon.cancel(waiting!.id), true);
    assert.equal(await waiting!.ended, undefined);
    assert.equal(shop.daemon.cancel(running!.id), true);
    assert.equal((await running!.ended)?.error?.code, 'interrupted');
    assert.deepEqual([shop.openLinks, one.board.mode], [0, 'app']);
    assert.equal(shop.daemon.cancel(99), false);
    assert.deepEqual(
      shop.eventsOf('job-ended').map(({ result }) => result),
      ['dropped', 'failed'],
    );
  });

  it('of a port that is not there names those that are', async (t) => {
    const shop = await Workshop.started(t);
    assert.throws(
      () => shop.daemon.requestBackup({ port: '/dev/ttyUSB9' }, PLAIN),
      (error: unknown) => hasCode(error, 'port-missing'),
    );
  });
});
