import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { UsbFacts } from '../../src/serial/link.ts';
import { OPCODE, demoImage } from '../../src/simulator/index.ts';
import { systemError, watchedFileSystem } from '../archive/support.ts';
import { type BoardDevice, type Device, CP2102, ESP32_C3, KIB, PACED, Workshop, macOf, reading } from './workshop.ts';

const SECTOR_BYTES = 4096;

/** The flash of a board changes as an app changes it. */
function changeFlash({ board }: BoardDevice, text = 'another password '): void {
  board.flash.erase(0x9000, SECTOR_BYTES);
  board.flash.program(0x9000, Buffer.alloc(SECTOR_BYTES, text));
}

describe('a board that is plugged in', () => {
  it('is backed up, verified, and runs its app again', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ family: 'esp8266', mac: '50:02:91:c3:37:a5' });
    const { board } = device;
    shop.plug(device);
    const line = await shop.said('Backed up and verified');
    await shop.idle();
    const backup = await shop.archived(board);
    assert.equal(line.level, 'info');
    assert.deepEqual(
      { ...line.fields, wireBytes: typeof line.fields['wireBytes'], seconds: typeof line.fields['seconds'] },
      {
        port: '/dev/ttyUSB0',
        mac: '50:02:91:c3:37:a5',
        id: backup.id,
        sizeBytes: 256 * KIB,
        flashBytesRead: backup.manifest.transfer!.flashBytesRead,
        wireBytes: 'number',
        seconds: 'number',
      },
    );
    assert.deepEqual(backup.manifest.source.port, '/dev/ttyUSB0');
    assert.equal(board.mode, 'app');
    assert.deepEqual(shop.complaints, []);
    assert.deepEqual(await shop.files(board), [backup.id]);
    const identified = await shop.said('Identified');
    assert.deepEqual(identified.fields, { port: '/dev/ttyUSB0', mac: board.mac, chip: 'ESP8266EX' });
    const plugged = await shop.said('Plugged in');
    assert.deepEqual(plugged.fields, { port: '/dev/ttyUSB0', product: CP2102.product });
  });

  it('again and unchanged gains a sighting and no second copy', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.plug(device);
    const { fields: first } = await shop.said('Backed up and verified');
    await shop.idle();
    shop.unplug(device);
    await shop.pass(5000);
    shop.plug(device);
    const { fields, level } = await shop.said('Unchanged since its last backup');
    await shop.idle();
    assert.equal(level, 'info');
    assert.deepEqual([fields['id'], fields['mac'], fields['flashBytesRead']], [first['id'], device.board.mac, 0]);
    await shop.archived(device.board, 1);
    const { sightings } = await shop.history(device.board);
    assert.deepEqual(
      sightings.map(({ id, port }) => [id, port]),
      [[first['id'], '/dev/ttyUSB0']],
    );
    assert.equal(device.board.mode, 'app');
    assert.equal(shop.opensOf('/dev/ttyUSB0'), 2);
  });

  it('again and changed gains a second backup; the first stays as it was', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    const first = await shop.archived(device.board, 1);
    shop.unplug(device);
    changeFlash(device);
    await shop.pass(5000);
    shop.plug(device);
    const { fields } = await shop.said('Backed up and verified', {}, 2);
    await shop.idle();
    const second = await shop.archived(device.board, 2);
    assert.notEqual(second.id, first.id);
    assert.equal(fields['id'], second.id);
    assert.ok(Number(fields['flashBytesRead']) <= 2 * SECTOR_BYTES, 'only the difference was read');
    assert.deepEqual((await shop.history(device.board)).backups[0]!.manifest, first.manifest);
  });

  it('is read as a whole where the settings say so', async (t) => {
    const shop = await Workshop.started(t, { settings: { full: true } });
    const device = shop.board();
    shop.plug(device);
    assert.equal((await shop.said('Backed up and verified')).fields['flashBytesRead'], 256 * KIB);
    await shop.idle();
    await shop.archived(device.board);
  });

  it('after another one at the same port, at once, is a board of its own', async (t) => {
    const shop = await Workshop.started(t);
    const devices = [1, 2, 3, 4, 5].map((seed) => shop.board({ seed }));
    for (const [index, device] of devices.entries()) {
      shop.plug(device);
      await shop.said('Backed up and verified', {}, index + 1);
      await shop.idle();
      await shop.pass(400);
      shop.unplug(device);
      await shop.pass(900);
    }
    for (const { board } of devices) await shop.archived(board);
    assert.deepEqual(shop.complaints, []);
  });

  it('in download mode by hand is read without a move of its lines where they are to be left alone', async (t) => {
    const shop = await Workshop.started(t, { settings: { reset: 'none' } });
    const native = { family: 'esp32c3', usb: 'usb-serial-jtag' } as const;
    for (const device of [shop.board({ slot: 0 }), shop.board({ slot: 1, ...native })]) {
      const { board } = device;
      board.pressBoot(true);
      board.pressReset(10);
      await shop.pass(100);
      board.pressBoot(false);
      shop.plug(device);
      await shop.said('Backed up and verified', { port: device.address });
      await shop.idle();
      await shop.archived(board);
      const moves = board.lineHistory.map(({ dtr, rts }) => [dtr, rts]);
      assert.deepEqual(
        moves,
        [
          [true, true],
          [false, false],
        ],
        'what opening and closing does',
      );
      assert.equal(board.mode, 'stub');
      // Whoever unplugs it at once has not been sent away by a reset.
      shop.unplug(device);
      await shop.pass(500);
      shop.plug(device);
      await shop.until(() => shop.opensOf(device.address) === 2, 'another look');
    }
  });

  it('and whose flash repeats itself is kept, and reported', async (t) => {
    const shop = await Workshop.started(t);
    const content = demoImage({ family: 'esp32', sizeBytes: 256 * KIB, appBytes: 40 * KIB });
    const device = shop.board({ flashSizeBytes: 512 * KIB, aliasedAtBytes: 256 * KIB, content });
    shop.plug(device);
    const { level, fields } = await shop.said('The flash repeats itself: it is smaller than it claims');
    const { id } = await shop.archived(device.board);
    assert.equal(level, 'warn');
    assert.deepEqual(fields, {
      port: '/dev/ttyUSB0',
      mac: device.board.mac,
      id,
      sizeBytes: 512 * KIB,
      aliasedAtBytes: 256 * KIB,
    });
  });

  it('and stays in download mode: the backup is kept, and the outage is an error', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ faults: [{ kind: 'stuck-in-bootloader' }] });
    shop.plug(device);
    const { fields } = await shop.said('Backed up and verified');
    await shop.idle();
    await shop.archived(device.board);
    const errors = shop.lines.filter(({ level }) => level === 'error');
    assert.equal(errors.length, 1);
    const [{ message, fields: said }] = errors as [(typeof errors)[0]];
    assert.equal(message, 'The board at /dev/ttyUSB0 did not leave download mode');
    assert.deepEqual([said['code'], said['port'], said['mac']], ['still-in-bootloader', fields['port'], fields['mac']]);
    assert.match(String(said['hint']), /RESET/);
    assert.match(shop.statuses.at(-1)!, /1 backed up, 1 failed/);
  });
});

describe('ports that are there at the start', () => {
  const kinds = (shop: Workshop) => ({
    bridge: shop.board({ slot: 0 }),
    native: shop.board({ slot: 1, family: 'esp32c3', usb: 'usb-serial-jtag' }),
    folder: { ...shop.board({ slot: 2, address: '/ports/attic' }), usb: null, fromFolder: true },
    denied: shop.board({ slot: 3, usbFacts: { serialNumber: 'never' } }),
  });
  const settings = { rules: { allow: [], deny: [{ serialNumber: 'never' }] } };

  for (const [existing, touched] of [
    ['none', []],
    ['known', ['/dev/ttyACM1', '/ports/attic']],
    ['all', ['/dev/ttyACM1', '/dev/ttyUSB0', '/ports/attic']],
  ] as const) {
    it(`existing: ${existing} touches ${touched.length === 0 ? 'none of them' : touched.join(', ')}`, async (t) => {
      const shop = await Workshop.open(t, { settings: { ...settings, existing } });
      const devices = Object.values(kinds(shop));
      shop.present.push(...devices);
      await shop.daemon.start();
      await shop.pass(60_000);
      await shop.idle();
      assert.deepEqual([...new Set(shop.opened)].sort(), touched);
      for (const { address, board } of devices) {
        const isTouched = (touched as readonly string[]).includes(address);
        assert.equal((await shop.history(board)).backups.length, isTouched ? 1 : 0, address);
        if (!isTouched) assert.deepEqual(board.lineHistory, [], address);
      }
      assert.deepEqual(shop.complaints, []);
    });
  }

  it('are left alone with a word about why, but only where a plug-in would have counted', async (t) => {
    const shop = await Workshop.open(t, { settings });
    const { bridge, denied } = kinds(shop);
    shop.present.push(bridge, denied, { address: '/dev/ttyS0', usb: null });
    await shop.daemon.start();
    await shop.pass(1000);
    const told = shop.lines
      .filter(({ level }) => level === 'info')
      .map(({ message, fields }) => [message, fields['port']]);
    assert.deepEqual(told, [
      ['Left alone: it was there at the start and is not known to be an ESP board', '/dev/ttyUSB0'],
      ['Watching for boards', undefined],
    ]);
  });

  it('and left alone are backed up when they are plugged in anew', async (t) => {
    const shop = await Workshop.open(t);
    const { bridge } = kinds(shop);
    shop.present.push(bridge);
    await shop.daemon.start();
    await shop.pass(1000);
    shop.unplug(bridge);
    await shop.pass(1000);
    shop.plug(bridge);
    await shop.said('Backed up and verified');
    await shop.archived(bridge.board);
  });

  it("are known by a MAC as USB serial number, also of an app's own USB, if the archive has it", async (t) => {
    // The ids are those of an app, which says nothing; that the lines work as with USB-Serial/JTAG is no matter here.
    const boards = (shop: Workshop) =>
      [0, 1].map((slot) =>
        shop.board({ slot, family: 'esp32c3', usb: 'usb-serial-jtag', usbFacts: { productId: '4001' } }),
      );
    const before = await Workshop.started(t);
    const [known] = boards(before);
    before.plug(known!);
    await before.said('Backed up and verified');
    await before.daemon.stop();

    const shop = await Workshop.open(t, { root: before.archive.root });
    shop.present.push(...boards(shop));
    await shop.daemon.start();
    await shop.said('Unchanged since its last backup', { mac: known!.board.mac });
    await shop.pass(10_000);
    await shop.idle();
    assert.deepEqual([...new Set(shop.opened)], [known!.address]);
  });

  it('and gone again before they were judged are not opened', async (t) => {
    const shop = await Workshop.open(t);
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag', usbFacts: { productId: '4001' } });
    shop.present.push(device);
    const boards = shop.archive.boards.bind(shop.archive);
    t.mock.method(shop.archive, 'boards', async () => {
      shop.unplug(device);
      return { ...(await boards()), macs: [macOf(device.board)] };
    });
    await shop.daemon.start();
    await shop.pass(10_000);
    assert.deepEqual(shop.opened, []);
  });

  it('are judged without an archive that cannot be read, and the daemon goes on', async (t) => {
    const failing = { on: true };
    const fs = watchedFileSystem(({ name }) => {
      if (failing.on && name === 'readdir') throw systemError('EACCES');
    });
    const shop = await Workshop.open(t, { archive: { fs } });
    const app = shop.board({ slot: 1, family: 'esp32c3', usb: 'usb-serial-jtag', usbFacts: { productId: '4001' } });
    shop.present.push(app);
    await shop.daemon.start();
    await shop.pass(1000);
    assert.deepEqual(
      shop.complaints.map(({ fields }) => [fields['code'], fields['port']]),
      [['archive-unreadable', app.address]],
    );
    failing.on = false;
    const device = shop.board();
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.archived(device.board);
  });
});

describe('ports that are not to be touched', () => {
  const DENIED: readonly [what: string, usb: Partial<UsbFacts>][] = [
    ['denied by the config', { serialNumber: 'never' }],
    ['of gadgets with the same bridge', { product: 'Sonoff Zigbee 3.0 USB Dongle Plus' }],
    ['of Arduinos', { vendorId: '2341', productId: '0043' }],
    ['of anything else', { vendorId: 'dead', productId: 'beef' }],
  ];
  for (const [what, usbFacts] of DENIED) {
    it(`${what} are never opened, and their lines never move`, async (t) => {
      const shop = await Workshop.started(t, { settings: { rules: { allow: [], deny: [{ serialNumber: 'never' }] } } });
      const device = shop.board({ usbFacts });
      for (let plugs = 0; plugs < 3; plugs++) {
        shop.plug(device);
        await shop.pass(5000);
        shop.unplug(device);
        await shop.pass(5000);
      }
      assert.deepEqual([shop.opened, device.board.lineHistory], [[], []]);
      const told = shop.linesOf('Left alone', { port: device.address });
      assert.equal(told.length, 3);
      assert.ok(told.every(({ level, fields }) => level === 'info' && typeof fields['reason'] === 'string'));
      assert.deepEqual(shop.complaints, []);
    });
  }

  it('are touched once the rules that are in force say so', async (t) => {
    const settings = { rules: { allow: [], deny: [{ serialNumber: '0001' }] } };
    const shop = await Workshop.started(t, { settings });
    const device = shop.board();
    shop.plug(device);
    await shop.pass(1000);
    shop.apply({ rules: { allow: [], deny: [] } });
    shop.unplug(device);
    await shop.pass(1000);
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    shop.apply(settings);
    shop.unplug(device);
    await shop.pass(5000);
    shop.plug(device);
    await shop.pass(5000);
    assert.equal(shop.opensOf(device.address), 1);
  });

  it('are touched as soon as the rules that forbid it are gone, also ports that are there', async (t) => {
    const settings = { rules: { allow: [], deny: [{ serialNumber: '0001' }] } };
    const shop = await Workshop.open(t, { settings });
    const there = shop.board({
      slot: 1,
      family: 'esp32c3',
      usb: 'usb-serial-jtag',
      usbFacts: { serialNumber: '0001' },
    });
    const unknown = shop.board({ slot: 2 });
    const device = shop.board();
    shop.present.push(there, unknown);
    await shop.daemon.start();
    shop.plug(device);
    await shop.pass(60_000);
    shop.apply({ ...settings, parallel: 4 });
    await shop.pass(60_000);
    assert.deepEqual([shop.opened, shop.linesOf('Left alone', { port: device.address }).length], [[], 1]);
    shop.apply({ rules: { allow: [], deny: [] } });
    await shop.said('Backed up and verified', { port: device.address });
    await shop.said('Backed up and verified', { port: there.address });
    await shop.pass(60_000);
    assert.equal(shop.opensOf(unknown.address), 0, 'what was there at the start is touched as the policy says');
    assert.equal(shop.linesOf('Left alone: it was there at the start and is not known to be an ESP board').length, 1);
    shop.apply({ existing: 'all' });
    await shop.said('Backed up and verified', { port: unknown.address });
    await shop.idle();
    assert.deepEqual([shop.opened.length, shop.complaints], [3, []]);
  });

  it('are not opened when the rules changed while they waited for their turn', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 1 } });
    const [first, second] = [shop.board({ slot: 0, line: PACED }), shop.board({ slot: 1 })];
    shop.plug(first);
    shop.plug(second);
    await reading(shop, first);
    shop.apply({ parallel: 1, rules: { allow: [], deny: [{ path: second.address }] } });
    await shop.said('Backed up and verified');
    await shop.idle();
    assert.deepEqual([shop.opened, second.board.lineHistory], [[first.address], []]);
    assert.equal((await shop.said('Left alone')).fields['reason'], 'denied by the config');
  });
});

describe('a device that never answers', () => {
  it('is left alone after a few tries, quietly, until it is plugged in again', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ faults: [{ kind: 'mute' }] });
    shop.plug(device);
    await shop.said('Left alone until it is plugged in again', { port: device.address });
    await shop.idle();
    const said = shop.lines.filter(({ level, fields }) => level !== 'debug' && fields['code'] === 'no-answer');
    assert.deepEqual(
      said.map(({ level, fields }) => [level, fields['port'], fields['mac'], fields['retry']]),
      [
        ['info', device.address, undefined, 'in 5 s'],
        ['info', device.address, undefined, undefined],
      ],
    );
    assert.match(String(said[0]!.fields['hint']), /BOOT/);
    assert.ok(shop.clock.now() > 20_000 && shop.clock.now() < 60_000, `${shop.clock.now()} ms`);
    await shop.pass(100);
    const opens = shop.opensOf(device.address);
    const { resets } = device.board;
    await shop.pass(3_600_000);
    assert.deepEqual([shop.opensOf(device.address), device.board.resets], [opens, resets]);
    assert.deepEqual(shop.complaints, []);
    assert.match(shop.statuses.at(-1)!, /0 failed/, 'silence of what may be no board is no failure');
    assert.deepEqual(device.board.lineHistory.at(-1)!.rts, false, 'its reset line is released');

    shop.unplug(device);
    device.board.clearFaults();
    await shop.pass(1000);
    shop.plug(device);
    await shop.said('Backed up and verified');
  });

  it('for lack of auto-reset is found when a person presses BOOT and RESET 8 s after it was plugged in', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ autoReset: false });
    shop.plug(device);
    await shop.pass(8000);
    device.board.pressBoot(true);
    device.board.pressReset(10);
    await shop.pass(100);
    device.board.pressBoot(false);
    const { fields } = await shop.said('Backed up and verified');
    assert.equal(fields['mac'], device.board.mac);
    assert.ok(shop.clock.now() < 40_000, `${shop.clock.now()} ms`);
  });

  it('and runs its app is looked at without a reset, so that a person may press BOOT and RESET', async (t) => {
    for (const helps of [true, false]) {
      const shop = await Workshop.started(t);
      const device = shop.board({ faults: [{ kind: 'wrong-boot-mode' }] });
      shop.plug(device);
      const { level, fields } = await shop.said(
        'The board at /dev/ttyUSB0 ran its app instead of download mode; it says "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"',
      );
      assert.deepEqual([level, fields['code'], fields['retry']], ['error', 'boot-mode', 'in 5 s']);
      await shop.idle();
      await shop.pass(100);
      const { resets } = device.board;
      if (helps) {
        device.board.clearFaults();
        device.board.pressBoot(true);
        device.board.pressReset(10);
        await shop.pass(100);
        device.board.pressBoot(false);
        await shop.said('Backed up and verified');
        continue;
      }
      await shop.said('Left alone until it is plugged in again');
      await shop.pass(3_600_000);
      assert.deepEqual([device.board.resets, device.board.mode, shop.opened.length], [resets, 'app', 3]);
      assert.equal(shop.complaints.length, 1);
    }
  });

  it('although it is an ESP chip without doubt is an error', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ family: 'esp32c3', usb: 'usb-serial-jtag', faults: [{ kind: 'mute' }] });
    shop.plug(device);
    await shop.until(() => shop.complaints.length > 0, 'an error');
    const [{ level, fields }] = shop.complaints as [(typeof shop.complaints)[0]];
    assert.deepEqual([level, fields['code'], fields['port']], ['error', 'no-answer', device.address]);
    assert.match(shop.statuses.at(-1)!, /1 failed/);
  });

  it('is tried as often as the settings say', async (t) => {
    const moves: number[] = [];
    for (const connectAttempts of [1, 5]) {
      const shop = await Workshop.started(t, { settings: { connectAttempts } });
      const device = shop.board({ faults: [{ kind: 'mute' }] });
      shop.plug(device);
      await shop.until(() => shop.lines.some(({ fields }) => fields['code'] === 'no-answer'), 'the verdict');
      moves.push(shop.linesOf('reset into download mode').length);
    }
    assert.deepEqual(moves, [1, 5]);
  });

  it('and floods the line is an error, and soon over', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ faults: [{ kind: 'flood', durationMs: 10_000_000 }, { kind: 'no-sync' }] });
    const began = shop.clock.now();
    shop.plug(device);
    await shop.until(() => shop.complaints.length > 0, 'an error');
    assert.deepEqual(
      shop.complaints.map(({ fields }) => [fields['code'], fields['port']]),
      [['port-flooded', device.address]],
    );
    assert.ok(shop.clock.now() - began < 30_000, `${shop.clock.now() - began} ms`);
    device.board.unplug();
  });
});

describe('a board on its own USB', () => {
  const reset = { family: 'esp32c3', usb: 'usb-serial-jtag', reenumerates: true } as const;

  it("that goes away at each reset is backed up once, and no loop comes of the daemon's own resets", async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board(reset);
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.pass(600_000);
    await shop.idle();
    await shop.archived(device.board);
    assert.equal(device.board.mode, 'app');
    assert.equal(shop.linesOf("Came back after espd's own reset").length, 1);
    assert.equal(shop.linesOf('Unchanged since its last backup').length, 0);
    assert.deepEqual(shop.complaints, []);
    assert.match(shop.statuses.at(-1)!, /1 backed up, 0 failed/);
  });

  it('that comes back under another tty number each time is no other board', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board(reset);
    let number = 0;
    device.board.onAppear = () =>
      shop.clock.schedule(100, () => shop.plug(device, { address: `/dev/ttyACM${++number}` }));
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.pass(600_000);
    await shop.archived(device.board);
    assert.equal(device.board.mode, 'app');
    assert.deepEqual(shop.opened, ['/dev/ttyACM0', '/dev/ttyACM1']);
    assert.equal(number, 2);
  });

  it('that is plugged in again by a person is looked at again', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board(reset);
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.pass(30_000);
    shop.unplug(device);
    await shop.pass(3000);
    shop.plug(device);
    await shop.said('Unchanged since its last backup');
    await shop.pass(30_000);
    assert.equal(device.board.mode, 'app');
    assert.deepEqual(shop.complaints, []);
  });

  it('that stays on the bus at its resets is backed up like any other', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ ...reset, reenumerates: false });
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.pass(60_000);
    assert.deepEqual([shop.opensOf(device.address), device.board.mode], [1, 'app']);
  });

  it('that is held in download mode over USB-OTG comes back as its app, which is left alone', async (t) => {
    const shop = await Workshop.started(t);
    const rom: UsbFacts = { ...ESP32_C3, productId: '0002', serialNumber: '0', location: '1-4:1.0' };
    const app: UsbFacts = { ...rom, productId: '4001', serialNumber: '123456', location: '1-4:1.2' };
    const { board } = shop.board({ family: 'esp32s2', usb: 'usb-otg', reenumerates: true });
    const device: Device = {
      address: '/dev/ttyACM0',
      board,
      get usb() {
        return board.mode === 'app' ? app : rom;
      },
    };
    board.onAppear = () => shop.clock.schedule(100, () => shop.plug(device));
    board.unplug();
    board.pressBoot(true);
    board.onAppear = undefined;
    board.plug();
    board.pressBoot(false);
    await shop.pass(100);
    assert.equal(board.mode, 'download');
    board.onAppear = () => shop.clock.schedule(100, () => shop.plug(device));
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.pass(600_000);
    await shop.archived(board);
    assert.equal(board.mode, 'app');
    assert.equal(shop.opened.length, 1);
    assert.equal(shop.linesOf("Came back after espd's own reset").length, 1);
    assert.deepEqual(shop.complaints, []);
  });

  for (const [family, otgApp] of [
    ['esp32s2', 'esp-idf'],
    ['esp32s3', 'esp-idf'],
    ['esp32s2', 'arduino'],
    ['esp32s3', 'arduino'],
  ] as const) {
    for (const reenumerates of [true, false]) {
      it(`over USB-OTG of an ${family} with an app of ${otgApp} that ${reenumerates ? 'goes away' : 'stays'} at its resets is backed up once`, async (t) => {
        const shop = await Workshop.started(t);
        const { board } = shop.board({ family, usb: 'usb-otg', otgApp, reenumerates });
        const app: UsbFacts = { ...ESP32_C3, productId: '8001', serialNumber: '123456', location: '1-4:1.2' };
        const rom: UsbFacts = { ...app, productId: '0002', serialNumber: '0', location: '1-4:1.0' };
        const jtag: UsbFacts = { ...rom, productId: '1001', serialNumber: board.mac.toUpperCase() };
        const device: Device = {
          address: '/dev/ttyACM0',
          board,
          get usb() {
            return board.mode === 'app' ? app : board.usb === 'usb-serial-jtag' ? jtag : rom;
          },
        };
        board.onAppear = () => shop.clock.schedule(100, () => shop.plug(device));
        await shop.pass(100);
        shop.plug(device);
        await shop.said('Backed up and verified');
        await shop.pass(600_000);
        await shop.idle();
        await shop.archived(board);
        assert.equal(board.mode, 'app');
        assert.deepEqual(shop.complaints, []);
        assert.ok(shop.opened.length <= 2, `opened ${shop.opened.length} times`);
        assert.match(shop.statuses.at(-1)!, /1 backed up, 0 failed/);
      });
    }
  }

  it('that is reset into download mode and does not come back is an error; one that is pulled later is none', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board(reset);
    device.board.onAppear = undefined;
    shop.plug(device);
    device.board.onAppear = undefined;
    const { level, fields } = await shop.said(
      'The board at /dev/ttyACM0 went away when it was reset into download mode, and did not come back within 10 s',
    );
    assert.deepEqual([level, fields['code'], fields['port']], ['error', 'port-vanished', device.address]);
    await shop.idle();
    assert.match(shop.statuses.at(-1)!, /0 backed up, 1 failed/);
    assert.ok(shop.clock.now() < 15_000);
    await shop.pass(600_000);
    assert.equal(shop.complaints.length, 1);
  });

  it('that does not come back from the reset into its app is warned of, and its backup kept', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board(reset);
    let appearances = 0;
    device.board.onAppear = () => {
      if (++appearances === 1) shop.clock.schedule(100, () => shop.plug(device));
    };
    shop.plug(device);
    device.board.onAppear = () => {
      if (++appearances === 1) shop.clock.schedule(100, () => shop.plug(device));
    };
    await shop.said('Backed up and verified');
    const { level, fields } = await shop.said(
      'The board at /dev/ttyACM0 has not come back within 10 s of the reset into its app',
    );
    assert.deepEqual([level, fields['mac'], typeof fields['hint']], ['warn', device.board.mac, 'string']);
    assert.match(shop.statuses.at(-1)!, /1 backed up, 0 failed/);
  });

  it('that a person pulls out right after its backup is not missed', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ ...reset, reenumerates: false });
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.idle();
    await shop.pass(500);
    shop.unplug(device);
    await shop.pass(60_000);
    assert.deepEqual(shop.complaints, []);
  });

  it('that loses its power in the middle of a read is read again, although its port closes slowly', async (t) => {
    const shop = await Workshop.started(t);
    shop.closeMs = 500;
    const device = shop.board(reset);
    device.board.addFault({ kind: 'vanish', when: { opcode: OPCODE.readFlash } });
    shop.afterDetach = () => {
      if (device.board.mode === 'off') shop.clock.schedule(100, () => shop.plug(device));
    };
    shop.plug(device);
    await shop.said('Backed up and verified');
    await shop.pass(10_000);
    await shop.archived(device.board);
    assert.equal(device.board.mode, 'app');
    assert.deepEqual(
      shop.complaints.map(({ fields }) => fields['code']),
      ['port-vanished'],
    );
  });

  it('that never stays is left alone after a few rounds, with a warning', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board(reset);
    // Its power breaks down whenever the stub is uploaded.
    shop.beforeOpen = () => void device.board.addFault({ kind: 'vanish', when: { opcode: OPCODE.memBegin } });
    shop.afterDetach = () => {
      if (device.board.mode === 'off') shop.clock.schedule(600, () => shop.plug(device));
    };
    shop.plug(device);
    const { level, fields } = await shop.said('Left alone for some minutes: it comes and goes by itself');
    assert.deepEqual([level, fields['port']], ['warn', device.address]);
    const opens = shop.opened.length;
    await shop.pass(200_000);
    assert.deepEqual([shop.opened.length, opens <= 6], [opens, true]);
  });

  it('that goes on flapping gets one warning for each rest, and one try after it', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board();
    shop.beforeOpen = () => void device.board.addFault({ kind: 'vanish', when: { opcode: OPCODE.memBegin } });
    const flapping = { on: true };
    // A loose cable: a second there, half a second away, whoever uses it.
    const flap = () => {
      if (!flapping.on) return;
      if (shop.isPlugged(device)) shop.unplug(device);
      else shop.plug(device);
      shop.clock.schedule(shop.isPlugged(device) ? 1000 : 500, flap);
    };
    flap();
    const resting = 'Left alone for some minutes: it comes and goes by itself';
    await shop.said(resting);
    const before = shop.opened.length;
    const hour = 3_600_000;
    await shop.pass(hour);
    const rests = shop.linesOf(resting).length;
    assert.ok(rests >= 10 && rests <= 13, `${rests} rests in an hour`);
    assert.equal(shop.opened.length - before, rests - 1, 'one try after each');
    flapping.on = false;
    if (!shop.isPlugged(device)) shop.plug(device);
    device.board.clearFaults();
    shop.beforeOpen = () => undefined;
    await shop.said('Backed up and verified');
    await shop.archived(device.board);
  });
});

describe('what the daemon says', () => {
  it('of its state is one line, told when it changes', async (t) => {
    const shop = await Workshop.started(t, { settings: { parallel: 2 } });
    const devices = [0, 1, 2].map((slot) => shop.board({ slot, line: PACED }));
    devices[0]!.board.addFault({ kind: 'vanish', when: { opcode: OPCODE.readFlash } });
    for (const device of devices) shop.plug(device);
    await shop.said('Backed up and verified', {}, 2);
    await shop.idle();
    const since = (backups: number, failures: number) => `; ${backups} backed up, ${failures} failed since the start`;
    assert.deepEqual(shop.statuses, [
      `Waiting for boards${since(0, 0)}`,
      // What happens in one step is told as one.
      `Working on 2 boards, 1 waiting${since(0, 0)}`,
      `Working on 2 boards${since(0, 1)}`,
      `Working on 1 board${since(1, 1)}`,
      `Waiting for boards${since(2, 1)}`,
    ]);
  });

  it('at its start names the archive', async (t) => {
    const shop = await Workshop.started(t);
    assert.deepEqual((await shop.said('Watching for boards')).fields, { archive: shop.archive.root });
  });

  it('of chips that it cannot read has a code of its own, once, and no loop', async (t) => {
    const shop = await Workshop.started(t);
    const device = shop.board({ family: 'esp32c3', security: { secureDownload: true } });
    shop.plug(device);
    await shop.until(() => shop.complaints.length > 0, 'an error');
    await shop.pass(600_000);
    assert.deepEqual(
      shop.complaints.map(({ level, fields }) => [level, fields['code'], fields['port']]),
      [['error', 'secure-download', device.address]],
    );
    assert.deepEqual([shop.opened.length, device.board.mode], [1, 'app']);
  });
});
