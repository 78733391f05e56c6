import assert from 'node:assert/strict';
import { mkdir, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SIGHTINGS } from '../../src/archive/sightings.ts';
import { EspdError, type ErrorCode } from '../../src/errors.ts';
import { OPCODE, seededRandom } from '../../src/simulator/index.ts';
import { systemError, watchedFileSystem } from '../archive/support.ts';
import { CP2102, PACED, Workshop, reading } from './workshop.ts';

describe('a board that goes away', () => {
  it('in the middle of a read: the failure is logged, and at another port it goes on from there', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    const elsewhere = { ...device, address: '/dev/ttyUSB7', usb: { ...CP2102, location: '1-8:1.0' } };
    shop.plug(device);
    await reading(shop, device);
    shop.unplug(device);
    await shop.idle();
    assert.deepEqual(
      shop.complaints.map(({ level, fields }) => [level, fields['code'], fields['port'], fields['mac']]),
      [['error', 'port-vanished', device.address, device.board.mac]],
    );
    assert.deepEqual(await shop.files(), []);
    assert.equal(await shop.partials(device.board), 1);
    assert.match(shop.statuses.at(-1)!, /0 backed up, 1 failed/);
    shop.plug(elsewhere);
    await shop.said('Backed up and verified', { port: '/dev/ttyUSB7' });
    await shop.idle();
    const backup = await shop.archived(device.board);
    assert.ok(backup.manifest.transfer!.explained.leftover > 0);
    assert.deepEqual(await shop.files(device.board), [backup.id]);
    assert.equal(await shop.partials(device.board), 0);
  });

  it('and is at another port before its job has ended is backed up there', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    const elsewhere = { ...device, address: '/dev/ttyUSB7', usb: { ...CP2102, location: '1-8:1.0' } };
    shop.plug(device);
    await reading(shop, device);
    shop.unplug(device);
    shop.plug(elsewhere);
    await shop.said('Backed up and verified', { port: '/dev/ttyUSB7' });
    await shop.idle();
    await shop.archived(device.board);
  });

  it('but whose link never says so has its job ended all the same', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    const before = shop.clock.now();
    device.board.addFault({ kind: 'mute' });
    shop.detach(device);
    await shop.idle();
    const [{ message, fields }] = shop.complaints.filter(({ level }) => level === 'error') as [(typeof shop.lines)[0]];
    assert.deepEqual([message, fields['code']], ['/dev/ttyUSB0 was unplugged in the middle of a job', 'port-vanished']);
    assert.ok(shop.clock.now() - before < 6000, `${shop.clock.now() - before} ms`);
    assert.deepEqual(await shop.files(), []);
  });

  it('at any moment of its job leaves nothing behind, and is backed up when it is back', async (t) => {
    const shop = await Workshop.started(t);
    let failures = 0;
    for (const [index, bytes] of [0, 1, 20, 500, 3000, 10_000, 60_000, 120_000].entries()) {
      // Nothing that the boards before have as well, or too little of it would cross the wire.
      const device = shop.board({ slot: index, content: seededRandom(index).bytes(192 * 1024) });
      device.board.addFault({ kind: 'vanish', when: { direction: 'to-host', byte: bytes } });
      shop.plug(device);
      await shop.until(() => shop.complaints.length > failures, `a failure after ${bytes} bytes`);
      failures = shop.complaints.length;
      await shop.pass(1000);
      assert.deepEqual(await shop.files(device.board), [], `after ${bytes} bytes`);
      device.board.clearFaults();
      await shop.pass(5000);
      shop.plug(device);
      await shop.said('Backed up and verified', { port: device.address });
      await shop.archived(device.board);
      failures = shop.complaints.length;
    }
    assert.ok(shop.complaints.every(({ fields }) => fields['code'] === 'port-vanished'));
  });

  it('and is back at the same port while its old job is still ending is not lost', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    shop.unplug(device);
    shop.plug(device);
    assert.equal(shop.opened.length, 1);
    await shop.said('Backed up and verified');
    await shop.idle();
    await shop.archived(device.board);
    assert.equal(shop.opened.length, 2);
  });

  it('and is back, and gone again, while its old job is still ending is not looked for', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    shop.unplug(device);
    shop.plug(device);
    shop.unplug(device);
    await shop.idle();
    await shop.pass(10_000);
    assert.equal(shop.opened.length, 1);
  });

  it('while it waits for its turn is forgotten, and back in time gets its turn', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 1 } });
    const [first, second, third] = [0, 1, 2].map((slot) => shop.board({ slot, line: PACED }));
    shop.plug(first!);
    shop.plug(second!);
    shop.plug(third!);
    await reading(shop, first!);
    shop.unplug(second!);
    shop.unplug(third!);
    await shop.pass(100);
    shop.plug(third!);
    await shop.said('Backed up and verified', { port: third!.address });
    await shop.idle();
    assert.deepEqual(shop.opened, [first!.address, third!.address]);
    assert.deepEqual(shop.complaints, []);
  });

  it('only by the words of a watcher that has learned more of it goes on being read', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    const port = shop.plug(device);
    await reading(shop, device);
    shop.fire({ kind: 'detached', port });
    shop.fire({ kind: 'attached', port: { ...port, usb: { ...CP2102, location: '1-1:1.0', product: 'CP2102N' } } });
    await shop.said('Backed up and verified');
    await shop.pass(10_000);
    assert.deepEqual([shop.opened.length, shop.complaints], [1, []]);
    await shop.archived(device.board);
  });
});

describe('a port that does not open', () => {
  /** Fails so many times, at any port. */
  function failing(shop: Workshop, code: ErrorCode, times: number): void {
    shop.beforeOpen = (address) => {
      if (shop.opened.length <= times) throw new EspdError(code, `${address}: ${code}`, { hint: 'Do something' });
    };
  }

  for (const code of ['port-denied', 'port-missing'] as const) {
    it(`is tried again for ten seconds after ${code}: udev has not set its group yet`, async (t) => {
      const shop = await Workshop.started(t);
      const device = shop.board();
      failing(shop, code, 40);
      const before = shop.clock.now();
      shop.plug(device);
      await shop.said('Backed up and verified');
      assert.equal(shop.opened.length, 41);
      assert.ok(shop.clock.now() - before < 13_000);
      assert.deepEqual(shop.complaints, []);
    });

    it(`is an error when ${code} lasts longer, once, with what can be done about it`, async (t) => {
      const shop = await Workshop.started(t);
      const device = shop.board();
      failing(shop, code, Infinity);
      const before = shop.clock.now();
      shop.plug(device);
      await shop.until(() => shop.complaints.length > 0, 'an error');
      const tookMs = shop.clock.now() - before;
      assert.ok(tookMs >= 10_000 && tookMs <= 10_500, `${tookMs} ms`);
      await shop.pass(60_000);
      const [{ level, fields }, ...more] = shop.complaints as [(typeof shop.lines)[0]];
      assert.deepEqual(
        [level, fields],
        ['error', { port: device.address, mac: undefined, code, hint: 'Do something', retry: 'in 5 s' }],
      );
      assert.deepEqual(more, []);
    });
  }

  it('because another program has it is left to that program, and looked at again while it stays: soon, then rarely', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    const looks: number[] = [];
    shop.beforeOpen = (address) => {
      looks.push(Math.round(shop.clock.now() / 1000));
      throw new EspdError('port-busy', `${address} is in use by ModemManager (pid 812)`);
    };
    shop.plug(device);
    await shop.pass(2_000_000);
    assert.deepEqual(looks, [0, 5, 20, 50, 110, 710, 1310, 1910]);
    assert.deepEqual(device.board.lineHistory, [], 'its lines are never moved');
    assert.deepEqual(
      shop.complaints.map(({ level, fields }) => [level, fields['code'], fields['retry']]),
      [['warn', 'port-busy', 'in 5 s']],
      'one line, however often it was looked at',
    );
    shop.beforeOpen = () => undefined;
    await shop.pass(600_000);
    await shop.idle();
    await shop.archived(device.board);
    assert.equal(shop.complaints.length, 1);
    assert.match(shop.statuses.at(-1)!, /1 backed up, 0 failed/);
  });

  it('for six seconds, as ModemManager holds each new port, is backed up after them', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.beforeOpen = (address) => {
      if (shop.clock.now() < 6000) throw new EspdError('port-busy', `${address} is in use by ModemManager (pid 812)`);
    };
    shop.plug(device);
    await shop.said('Backed up and verified');
    assert.ok(shop.clock.now() < 30_000, `${shop.clock.now()} ms`);
  });

  it('on the network for six seconds is backed up after them', async (t) => {
    const shop = await Workshop.started(t);
    const device = { ...shop.board({ address: '/ports/attic' }), usb: null, fromFolder: true };
    shop.beforeOpen = (address) => {
      if (shop.clock.now() < 6000) throw new EspdError('port-missing', `${address}: nothing listens there`);
    };
    shop.plug(device);
    await shop.said('Backed up and verified');
    assert.ok(shop.clock.now() < 30_000, `${shop.clock.now()} ms`);
    await shop.archived(device.board);
  });

  it('and says why anew when the reason is another one', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    const codes = ['port-busy', 'port-busy', 'port-failed', 'port-failed', 'port-busy'] as const;
    shop.beforeOpen = (address) => {
      const code = codes[shop.opened.length - 1];
      if (code !== undefined) throw new EspdError(code, `${address}: ${code}`);
    };
    shop.plug(device);
    await shop.pass(600_000);
    await shop.said('Backed up and verified');
    assert.deepEqual(
      shop.complaints.map(({ fields }) => fields['code']),
      ['port-busy', 'port-failed', 'port-busy'],
    );
  });

  it('is not tried again once it is gone, denied, or the daemon stops', async (t) => {
    const shop = await Workshop.started(t);
    const devices = [0, 1, 2].map((slot) => shop.board({ slot }));
    failing(shop, 'port-busy', Infinity);
    for (const device of devices) shop.plug(device);
    await shop.until(() => shop.complaints.length === 3, 'three refusals');
    shop.unplug(devices[0]!);
    shop.apply({ rules: { allow: [], deny: [{ path: devices[1]!.address }] } });
    await shop.pass(1000);
    await shop.daemon.stop();
    await shop.pass(700_000);
    assert.equal(shop.opened.length, 3);
    assert.equal(shop.clock.pendingTimers, 0);

    const other = await Workshop.started(t);
    const denied = other.board();
    failing(other, 'port-busy', Infinity);
    other.plug(denied);
    await other.until(() => other.complaints.length === 1, 'a refusal');
    other.apply({ rules: { allow: [], deny: [{ path: denied.address }] } });
    await other.said('Left alone', { reason: 'denied by the config' });
    await other.pass(700_000);
    assert.equal(other.opened.length, 1);
  });

  it('and is no USB device is not waited for', async (t) => {
    const shop = await Workshop.started(t);
    const device = { ...shop.board({ address: '/ports/attic' }), usb: null, fromFolder: true };
    failing(shop, 'port-denied', Infinity);
    shop.plug(device);
    await shop.until(() => shop.complaints.length > 0, 'an error');
    assert.deepEqual([shop.opened.length, shop.clock.now()], [1, 0]);
  });

  it('and is unplugged meanwhile is not tried any more', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    failing(shop, 'port-denied', Infinity);
    shop.plug(device);
    await shop.pass(600);
    const opens = shop.opened.length;
    shop.unplug(device);
    await shop.idle();
    await shop.pass(10_000);
    assert.equal(shop.opened.length, opens);
    assert.deepEqual(
      shop.complaints.map(({ fields }) => fields['code']),
      ['port-vanished'],
    );
  });

  it('on the own USB of a board that was never reset is no reset to wait for', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag' });
    failing(shop, 'port-busy', 1);
    shop.plug(device);
    await shop.until(() => shop.complaints.length > 0, 'an error');
    shop.unplug(device);
    await shop.pass(500);
    shop.plug(device);
    await shop.said('Backed up and verified');
  });
});

describe('many boards', () => {
  it('are worked on at once, never more than allowed, each on its own', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 3 } });
    const families = ['esp32', 'esp8266', 'esp32c3', 'esp32s3', 'esp32', 'esp32c6', 'esp8266', 'esp32s2'] as const;
    const devices = families.map((family, slot) => shop.board({ family, slot, line: PACED }));
    for (const device of devices) shop.plug(device);
    // Told at the end of the step.
    await Promise.resolve();
    assert.equal(shop.statuses.at(-1), 'Working on 3 boards, 5 waiting; 0 backed up, 0 failed since the start');
    await shop.said('Backed up and verified', {}, 8);
    await shop.idle();
    assert.equal(shop.mostOpen, 3);
    for (const { board } of devices) {
      await shop.archived(board);
      assert.equal(board.mode, 'app');
    }
    assert.deepEqual(shop.complaints, []);
    assert.equal(shop.statuses.at(-1), 'Waiting for boards; 8 backed up, 0 failed since the start');
    assert.equal((await shop.archive.boards()).macs.length, 8);
  });

  it('are not harmed by one that hangs, one that floods, one that vanishes and one that talks garbage', async (t) => {
    const shop = await Workshop.started(t);
    const good = [0, 1, 2].map((slot) => shop.board({ slot, line: PACED }));
    const when = { opcode: OPCODE.readFlash };
    const bad = {
      hangs: shop.board({ slot: 3, line: PACED, faults: [{ kind: 'mute', when }] }),
      floods: shop.board({ slot: 4, line: PACED, faults: [{ kind: 'flood', durationMs: 3_600_000, when }] }),
      vanishes: shop.board({ slot: 5, line: PACED, faults: [{ kind: 'vanish', when }] }),
      babbles: shop.board({ slot: 6, line: PACED, faults: [{ kind: 'garbage', when }] }),
    };
    for (const device of [...Object.values(bad), ...good]) shop.plug(device);
    await shop.said('Backed up and verified', {}, good.length);
    for (const { board } of good) await shop.archived(board);
    await shop.until(() => /, 4 failed/.test(shop.statuses.at(-1)!), 'four failures');
    await shop.idle();
    const errors = shop.lines.filter(({ level }) => level === 'error');
    for (const [name, { address, board }] of Object.entries(bad)) {
      const own = errors.filter(({ fields }) => fields['port'] === address);
      assert.equal(own.length, 1, name);
      assert.equal(own[0]!.fields['mac'], board.mac, name);
      assert.deepEqual(await shop.files(board), [], name);
      assert.equal(board.mode, name === 'vanishes' ? 'off' : 'app', name);
    }
    bad.floods.board.unplug();
  });

  it('of which two answer with the same MAC: one is backed up, the other refused, and both run their apps', async (t) => {
    const shop = await Workshop.started(t);
    const mac = '24:0a:c4:11:22:33';
    const twins = [0, 1].map((slot) => shop.board({ slot, mac, line: PACED }));
    for (const device of twins) shop.plug(device);
    await shop.said('Backed up and verified', { mac });
    await shop.idle();
    const done = twins.find(({ address }) => shop.linesOf('Backed up and verified', { port: address }).length > 0)!;
    const refused = twins.find((device) => device !== done)!;
    assert.deepEqual(
      shop.complaints.map(({ level, fields }) => [level, fields['code'], fields['port'], fields['mac']]),
      [['error', 'port-busy', refused.address, mac]],
    );
    await shop.archived(done.board);
    assert.deepEqual(
      twins.map(({ board }) => board.mode),
      ['app', 'app'],
    );
  });

  it('follow a change of how many are allowed', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 1 } });
    const devices = [0, 1, 2, 3].map((slot) => shop.board({ slot, line: PACED }));
    for (const device of devices) shop.plug(device);
    await reading(shop, devices[0]!);
    assert.equal(shop.mostOpen, 1);
    shop.apply({ parallel: 4 });
    await shop.said('Backed up and verified', {}, 4);
    await shop.idle();
    assert.equal(shop.mostOpen, 4);
    assert.deepEqual(shop.complaints, []);
  });
});

describe('an archive that fails', () => {
  const CASES: readonly [what: string, code: ErrorCode, call: string, error: string][] = [
    ['is full when a draft is written', 'disk-full', 'handle.write', 'ENOSPC'],
    ['is full when a draft is made', 'disk-full', 'mkdir', 'ENOSPC'],
    ['breaks when a backup is synced', 'archive-unwritable', 'handle.sync', 'EIO'],
    ['is read-only', 'archive-unwritable', 'access', 'EROFS'],
    ['breaks at the very rename', 'archive-unwritable', 'rename', 'EIO'],
  ];
  for (const [what, code, name, error] of CASES) {
    it(`because it ${what}: a clear error, the board runs on, and the next plug-in works`, async (t) => {
      const failing = { on: false, except: '' };
      const fs = watchedFileSystem((call) => {
        // The folder of the archive is there already.
        if (failing.on && call.name === name && call.path !== failing.except) throw systemError(error);
      });
      const shop = await Workshop.started(t, { archive: { fs } });
      failing.except = name === 'mkdir' ? shop.archive.root : '';
      await shop.archive.checkWritable(); // as the service does at its start
      failing.on = true;
      const device = shop.board();
      shop.plug(device);
      await shop.until(() => shop.complaints.some(({ level }) => level === 'error'), 'an error');
      await shop.idle();
      const [failure] = shop.complaints.filter(({ level }) => level === 'error');
      const { message, fields } = failure!;
      assert.deepEqual(
        [fields['code'], fields['port'], fields['mac']],
        // Where the archive itself is the reason, the board was not asked at all.
        [code, device.address, name === 'access' ? undefined : device.board.mac],
        message,
      );
      await shop.until(() => device.board.mode === 'app', 'its app runs');
      failing.on = false;
      assert.deepEqual((await shop.history(device.board)).backups, []);
      await shop.pass(10_000);
      // What was no fault of the board's is tried again while it is there.
      if (name !== 'access') {
        shop.unplug(device);
        await shop.pass(1000);
        shop.plug(device);
      }
      await shop.said('Backed up and verified');
      await shop.idle();
      const backup = await shop.archived(device.board);
      assert.deepEqual(await shop.files(device.board), [backup.id]);
      assert.match(shop.statuses.at(-1)!, /1 backed up, 1 failed/);
    });
  }

  it('to take the sighting of an unchanged board: an error, and no harm to its backup', async (t) => {
    const failing = { on: true };
    const fs = watchedFileSystem(({ name, path }) => {
      if (failing.on && name === 'open' && path.endsWith(SIGHTINGS)) throw systemError('ENOSPC');
    });
    const shop = await Workshop.started(t, { archive: { fs } });
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    shop.unplug(device);
    await shop.pass(5000);
    shop.plug(device);
    await shop.until(() => shop.complaints.length > 0, 'an error');
    failing.on = false;
    assert.equal(shop.complaints[0]!.fields['code'], 'disk-full');
    await shop.idle();
    await shop.archived(device.board, 1);
    assert.equal(device.board.mode, 'app');
  });
});

describe('a stop', () => {
  const STOP_LIMIT_MS = 5000;

  const KINDS = {
    'an ESP32 behind a bridge': { family: 'esp32' },
    'an ESP8266': { family: 'esp8266' },
    'an ESP32-C3 on its own USB': { family: 'esp32c3', usb: 'usb-serial-jtag' },
  } as const;
  for (const [kind, options] of Object.entries(KINDS)) {
    it(`in the middle of reading ${kind} ends in time, the board in its app, the archive clean`, async (t) => {
      const shop = await Workshop.started(t);
      const devices = [0, 1, 2].map((slot) => shop.board({ slot, line: PACED, ...options }));
      for (const device of devices) shop.plug(device);
      await Promise.all(devices.map((device) => reading(shop, device)));
      const before = shop.clock.now();
      await shop.daemon.stop();
      const tookMs = shop.clock.now() - before;
      assert.ok(tookMs < STOP_LIMIT_MS, `${tookMs} ms`);
      assert.equal(shop.openLinks, 0);
      await shop.pass(100);
      for (const { board, address } of devices) {
        assert.equal(board.mode, 'app', address);
        const [line] = shop.linesOf('Stopped in the middle of a job; nothing incomplete was kept', { port: address });
        assert.deepEqual([line?.level, line?.fields['code'], line?.fields['mac']], ['info', 'interrupted', board.mac]);
      }
      assert.deepEqual(await shop.files(), []);
      assert.equal(shop.portsClosed, 1);
      assert.deepEqual(shop.complaints, []);
      assert.match(shop.statuses.at(-1)!, /0 failed/);
    });
  }

  it('at any moment of a job leaves the board in its app and the archive clean', async (t) => {
    for (const afterMs of [1, 60, 130, 200, 300, 500, 700, 900, 1200, 2500, 3500, 4300, 4800, 5200]) {
      const shop = await Workshop.started(t);
      const device = shop.board({ line: PACED });
      shop.plug(device);
      await shop.pass(afterMs);
      const before = shop.clock.now();
      await shop.daemon.stop();
      const tookMs = shop.clock.now() - before;
      assert.ok(tookMs < STOP_LIMIT_MS, `after ${afterMs} ms: ${tookMs} ms`);
      await shop.pass(200);
      assert.equal(device.board.mode, 'app', `after ${afterMs} ms`);
      const { backups, problems } = await shop.history(device.board);
      assert.deepEqual(problems, []);
      assert.deepEqual(
        await shop.files(device.board),
        backups.map(({ id }) => id),
        `after ${afterMs} ms`,
      );
      if (backups.length > 0) await shop.archived(device.board);
      assert.deepEqual(shop.complaints, [], `after ${afterMs} ms`);
    }
  });

  it('does not wait for ever for a link that never opens', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    let release: () => void = () => undefined;
    shop.beforeOpen = () => new Promise((resolve) => (release = resolve));
    shop.plug(device);
    await shop.pass(100);
    const before = shop.clock.now();
    await shop.daemon.stop();
    assert.ok(shop.clock.now() - before < STOP_LIMIT_MS);
    const { level, fields } = await shop.said('Some jobs did not stop in time');
    assert.deepEqual([level, fields['ports']], ['warn', [device.address]]);
    release();
    await shop.pass(1000);
    assert.deepEqual(device.board.lineHistory, []);
  });

  it('does not wait for ever for a board that answers no more', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ line: PACED });
    shop.plug(device);
    await reading(shop, device);
    device.board.addFault({ kind: 'mute' });
    const before = shop.clock.now();
    await shop.daemon.stop();
    assert.ok(shop.clock.now() - before < STOP_LIMIT_MS, `${shop.clock.now() - before} ms`);
    await shop.pass(100);
    assert.equal(device.board.mode, 'app');
    assert.deepEqual(await shop.files(), []);
  });

  it('starts nothing any more: not what waits, not what is plugged in or comes back', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 1 } });
    const [first, second, third] = [0, 1, 2].map((slot) => shop.board({ slot, line: PACED }));
    shop.plug(first!);
    shop.plug(second!);
    await reading(shop, first!);
    const stopped = shop.daemon.stop();
    shop.plug(third!);
    shop.unplug(first!);
    shop.plug(first!);
    await stopped;
    const lines = shop.lines.length;
    const statuses = shop.statuses.length;
    shop.unplug(third!);
    shop.plug(third!);
    shop.plug(third!, { existing: true });
    shop.fire({ kind: 'detached', port: { address: 'never seen', key: '', usb: null, fromFolder: false } });
    shop.apply({ parallel: 8 });
    await shop.pass(60_000);
    assert.deepEqual(shop.opened, [first!.address]);
    assert.deepEqual([shop.lines.length, shop.statuses.length], [lines, statuses]);
  });

  it('right after a plug-in opens nothing', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.plug(device);
    await shop.daemon.stop();
    await shop.pass(10_000);
    assert.deepEqual([shop.opened, device.board.lineHistory], [[], []]);
  });

  it('before the start, twice, and with nothing to do is no matter', async (t) => {
    const shop = await Workshop.open(t);
    await Promise.all([shop.daemon.stop(), shop.daemon.stop()]);
    await shop.daemon.stop();
    assert.deepEqual([shop.portsClosed, shop.complaints, shop.clock.pendingTimers], [1, [], 0]);
  });

  it('is not followed by a start that took longer', async (t) => {
    const shop = await Workshop.open(t);
    const started = shop.daemon.start();
    await shop.daemon.stop();
    await started;
    assert.deepEqual([shop.lines, shop.statuses], [[], []]);
  });

  it('is not held up by a watcher that fails to close', async (t) => {
    const shop = await Workshop.started(t);
    shop.closePorts = () => Promise.reject(new Error('stuck'));
    const before = shop.clock.now();
    await shop.daemon.stop();
    assert.equal(shop.clock.now(), before);
  });
});

describe('whatever people do with their cables', () => {
  const LONG_MS = 60_000;
  const action = fc.record({
    board: fc.nat({ max: 2 }),
    slot: fc.nat({ max: 3 }),
    waitMs: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 4000 })),
    /** So late the watcher tells that a board is gone. */
    lateMs: fc.constantFrom(0, 0, 50, 900),
  });

  it('every board that is left plugged in ends up in the archive, once, running its app', async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 10 }), async (actions) => {
        const shop = await Workshop.started(t, { settings: { parallel: 2 } });
        const boards = [
          shop.board({ slot: 0, line: PACED }),
          shop.board({ slot: 1, line: PACED, family: 'esp8266' }),
          shop.board({ slot: 2, line: PACED, family: 'esp32c3', usb: 'usb-serial-jtag', reenumerates: true }),
        ];
        for (const { board: index, slot, waitMs, lateMs } of actions) {
          const device = boards[index]!;
          if (device.board.mode === 'off' || !shop.isPlugged(device)) {
            if (shop.isFree(slot)) shop.plug(shop.moveTo(device, slot));
          } else {
            shop.unplug(device, { unnoticed: true });
            await shop.pass(lateMs);
            shop.detach(device);
          }
          await shop.pass(waitMs);
        }
        for (const device of boards) shop.unplug(device);
        await shop.pass(LONG_MS);
        await shop.idle();
        for (const [slot, device] of boards.entries()) shop.plug(shop.moveTo(device, slot));
        await shop.pass(LONG_MS);
        await shop.idle();
        for (const { board } of boards) {
          const backup = await shop.archived(board);
          assert.deepEqual(
            (await shop.files(board)).filter((name) => name !== SIGHTINGS),
            [backup.id],
          );
          assert.equal(board.mode, 'app');
        }
        assert.ok(shop.mostOpen <= 2);
        assert.deepEqual(
          shop.complaints.filter(({ level, fields }) => level === 'error' && fields['code'] !== 'port-vanished'),
          [],
        );
        await shop.daemon.stop();
      }),
      { numRuns: 4 },
    );
  });
});

describe('an archive that is taken away under the daemon', () => {
  it('is told, no board is touched for it, and when it is back the board is backed up', async (t) => {
    const shop = await Workshop.started(t);
    const known = shop.board({});
    shop.plug(known);
    await shop.said('Backed up and verified', { port: known.address });
    await shop.idle();
    const { root } = shop.archive;
    const away = `${root}-unmounted`;
    await rename(root, away);
    t.after(() => rm(away, { recursive: true, force: true }));
    await mkdir(root);

    const device = shop.board({ slot: 1 });
    const { resets } = device.board;
    shop.plug(device);
    await shop.until(() => shop.complaints.length > 0, 'a complaint');
    assert.equal(shop.complaints[0]?.fields['code'], 'archive-missing');
    await shop.idle();
    await shop.pass(60_000);
    assert.equal(device.board.resets, resets, 'it runs its app all the time');
    assert.equal(shop.complaints.length, 1, 'told once');
    assert.deepEqual(await readdir(root), [], 'nothing was begun in the mount point');

    await rmdir(root);
    await rename(away, root);
    await shop.pass(700_000);
    await shop.said('Backed up and verified', { port: device.address });
    await shop.archived(device.board);
  });
});
