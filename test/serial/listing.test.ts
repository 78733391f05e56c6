import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { hasCode } from '../../src/errors.ts';
import { createPortLister, listPorts, type SerialPortFacts } from '../../src/serial/listing.ts';
import { deviceText } from '../../src/serial/sysfs.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { CP2102, ESP32_C3, FakeSystem, recordingLogger } from './fake-system.ts';
import { noPty, openPty } from './pty.ts';

const noList = () => Promise.reject(new Error('spawn udevadm ENOENT'));
const emptyList = () => Promise.resolve([]);

describe('USB ports from sysfs', () => {
  test('a bridge and a native port with all their facts, sorted', async () => {
    using system = new FakeSystem();
    system.plug(CP2102);
    system.plug(ESP32_C3);
    const ports = await listPorts({ ...system.roots, serialList: emptyList });
    assert.deepEqual(
      ports.map(({ address, usb, fromFolder }) => ({ address, usb, fromFolder })),
      [
        {
          address: join(system.devRoot, 'ttyACM0'),
          usb: {
            vendorId: '303a',
            productId: '1001',
            serialNumber: '7C:DF:A1:B2:C3:D4',
            manufacturer: 'Espressif',
            product: 'USB JTAG/serial debug unit',
            location: '1-2:1.0',
          },
          fromFolder: false,
        },
        {
          address: join(system.devRoot, 'ttyUSB0'),
          usb: {
            vendorId: '10c4',
            productId: 'ea60',
            serialNumber: '0001',
            manufacturer: 'Silicon Labs',
            product: 'CP2102 USB to UART Bridge Controller',
            location: '1-1.4:1.0',
          },
          fromFolder: false,
        },
      ],
    );
    assert.deepEqual(ports[1]?.aliases, [
      join(system.devRoot, 'serial/by-id/usb-Silicon_Labs_CP2102_USB_to_UART_Bridge_Controller_0001-if00-port0'),
    ]);
  });

  test('a bridge without strings', async () => {
    using system = new FakeSystem();
    system.plug({ name: 'ttyUSB3', device: '2-1', portNumber: 0, vendorId: '1A86', productId: '7523' });
    const [port] = await listPorts({ ...system.roots, serialList: emptyList });
    assert.equal(port?.usb?.vendorId, '1a86');
    assert.equal(port.usb.serialNumber, null);
    assert.equal(port.usb.manufacturer, null);
    assert.equal(port.usb.product, null);
    assert.deepEqual(port.aliases, [join(system.devRoot, 'serial/by-id/usb-1a86_7523-if00-port0')]);
  });

  test('the ports of one adapter have places of their own', async () => {
    using system = new FakeSystem();
    const ft2232 = { device: '1-3', portNumber: 0, vendorId: '0403', productId: '6010' };
    system.plug({ ...ft2232, name: 'ttyUSB0', interfaceNumber: 0 });
    system.plug({ ...ft2232, name: 'ttyUSB1', interfaceNumber: 1 });
    system.plug({ name: 'ttyUSB2', device: '1-4', portNumber: 0, vendorId: '1a86', productId: '55d5' });
    system.plug({ name: 'ttyUSB3', device: '1-4', portNumber: 1, vendorId: '1a86', productId: '55d5' });
    const ports = await listPorts({ ...system.roots, serialList: emptyList });
    assert.deepEqual(
      ports.map((port) => port.usb?.location),
      ['1-3:1.0', '1-3:1.1', '1-4:1.0', '1-4:1.0-port1'],
    );
  });

  test('UARTs of the machine, Bluetooth ports and ttys without a node are no ports', async () => {
    using system = new FakeSystem();
    system.addUart('ttyS0');
    system.addUart('ttyAMA0');
    system.plug({ ...CP2102, name: 'rfcomm0' });
    system.plug({ ...ESP32_C3, node: false });
    assert.deepEqual(await listPorts({ ...system.roots, serialList: emptyList }), []);
  });

  test('ids that are none hide nothing but the port itself', async () => {
    using system = new FakeSystem();
    system.plug({ ...CP2102, vendorId: '../../etc' });
    system.plug({ ...ESP32_C3, productId: '' });
    system.plug({ ...CP2102, name: 'ttyUSB7', device: '1-7' });
    const ports = await listPorts({ ...system.roots, serialList: emptyList });
    assert.deepEqual(
      ports.map((port) => port.address),
      [join(system.devRoot, 'ttyUSB7')],
    );
  });
});

describe('keys', () => {
  test('the same plug-in keeps its key when udev changes the node and SerialPort.list() comes and goes', async () => {
    using system = new FakeSystem();
    system.plug(CP2102);
    const before = await listPorts({ ...system.roots, serialList: emptyList });
    chmodSync(join(system.devRoot, 'ttyUSB0'), 0o660);
    writeFileSync(join(system.devRoot, 'ttyUSB0'), 'a transfer');
    const after = await listPorts({ ...system.roots, serialList: noList });
    assert.equal(after[0]?.key, before[0]?.key);
  });

  test('a new device number, node or slot is a new key', async () => {
    using system = new FakeSystem();
    const keys = new Set<string>();
    const look = async () => keys.add((await listPorts({ ...system.roots, serialList: emptyList }))[0]?.key ?? '');
    system.plug(CP2102);
    await look();
    system.unplug(CP2102);
    system.plug({ ...CP2102, deviceNumber: 6 });
    await look();
    system.unplug(CP2102);
    system.plug({ ...CP2102, deviceNumber: 6, device: '1-1.3' });
    await look();
    // Only the node, as udev's static nodes or a container may have it; both exist at once, so no inode is reused.
    writeFileSync(join(system.devRoot, 'new'), '');
    renameSync(join(system.devRoot, 'new'), join(system.devRoot, 'ttyUSB0'));
    await look();
    assert.equal(keys.size, 4);
  });
});

describe('SerialPort.list()', () => {
  test('is asked once as long as the kernel shows no change, and again after one', async () => {
    using system = new FakeSystem();
    let asked = 0;
    const serialList = () => {
      asked++;
      return Promise.resolve([]);
    };
    const list = createPortLister({ ...system.roots, serialList });
    system.plug(CP2102);
    for (let look = 0; look < 5; look++) assert.equal((await list()).length, 1);
    assert.equal(asked, 1);
    system.plug(ESP32_C3);
    assert.equal((await list()).length, 2);
    assert.equal(asked, 2);
    system.unplug(CP2102);
    assert.equal((await list()).length, 1);
    assert.equal(asked, 3);
    system.addUart('ttyXYZ0');
    await list();
    assert.equal(asked, 4, 'a driver with an unknown name may have a port');
  });

  test('a tty that comes while it is asked waits for the next look, which has all facts', async () => {
    using system = new FakeSystem();
    const facts = [{ path: join(system.devRoot, 'ttyUSB0'), vendorId: '10c4', productId: 'ea60' }];
    const list = createPortLister({
      ...system.roots,
      serialList: () => {
        system.plug(CP2102);
        return Promise.resolve(facts);
      },
    });
    assert.deepEqual(await list(), []);
    const [port] = await list();
    assert.equal(port?.usb?.product, 'CP2102 USB to UART Bridge Controller');
  });

  test('missing udevadm degrades to sysfs and is logged once, and so is its return', async () => {
    using system = new FakeSystem();
    const { log, at } = recordingLogger();
    let works = false;
    const list = createPortLister({ ...system.roots, log, serialList: () => (works ? emptyList() : noList()) });
    system.plug(CP2102);
    assert.equal((await list()).length, 1);
    system.plug(ESP32_C3);
    assert.equal((await list()).length, 2);
    assert.equal(at('debug').length, 1, 'a container without udev is no fault');
    assert.match(at('debug')[0] ?? '', /SerialPort\.list\(\)/);
    works = true;
    system.unplug(CP2102);
    assert.equal((await list()).length, 1);
    assert.equal(at('debug').length, 2);
    assert.deepEqual([...at('info'), ...at('warn')], []);
  });

  test('a PATH with a folder that is closed to this user is no more of a fault', async () => {
    using system = new FakeSystem();
    const { log, at } = recordingLogger();
    const serialList = () => Promise.reject(new Error('spawn udevadm EACCES'));
    await createPortLister({ ...system.roots, log, serialList })();
    assert.deepEqual([at('debug').length, at('info').length, at('warn').length], [1, 0, 0]);
  });

  test('one that never answers is given up', async () => {
    using system = new FakeSystem();
    system.plug(CP2102);
    const { log, at } = recordingLogger();
    const clock = new VirtualClock();
    const ports = await listPorts({ ...system.roots, clock, log, serialList: () => new Promise(() => undefined) });
    assert.equal(ports.length, 1);
    assert.deepEqual([at('debug').length, at('warn')], [1, []], 'a busy machine is no fault: sysfs has told the port');
  });

  test('one that never answers is warned of where there is no sysfs', async () => {
    using system = new FakeSystem();
    const { log, at } = recordingLogger();
    const clock = new VirtualClock();
    const serialList = () => new Promise<never>(() => undefined);
    await listPorts({ ...system.roots, sysRoot: join(system.devRoot, 'none'), clock, log, serialList });
    assert.equal(at('warn').length, 1);
  });

  test('adds ports of drivers that sysfs names differ for, without stale ones and UARTs', async () => {
    using system = new FakeSystem();
    system.addUart('ttyODD0');
    system.addUart('ttyS0');
    const facts: SerialPortFacts[] = [
      {
        path: join(system.devRoot, 'ttyODD0'),
        vendorId: '1A86',
        productId: '7523',
        manufacturer: '\u001b[31mQinHeng',
        locationId: undefined,
      },
      { path: join(system.devRoot, 'ttyS0') },
      { path: join(system.devRoot, 'ttyUSB9'), vendorId: '10c4', productId: 'ea60' },
    ];
    const ports = await listPorts({ ...system.roots, serialList: () => Promise.resolve(facts) });
    assert.deepEqual(
      ports.map((port) => [port.address, port.usb?.vendorId, port.usb?.manufacturer]),
      [[join(system.devRoot, 'ttyODD0'), '1a86', 'QinHeng']],
    );
  });

  test(
    'without sysfs: its facts, and bare nodes that it does not know yet',
    { skip: process.platform !== 'linux' },
    async () => {
      using system = new FakeSystem({ sysfs: false });
      for (const name of ['ttyUSB0', 'ttyUSB1', 'ttyS0', 'null']) writeFileSync(join(system.devRoot, name), '');
      const facts = [{ path: join(system.devRoot, 'ttyUSB0'), vendorId: '10c4', productId: 'ea60' }];
      const ports = await listPorts({ ...system.roots, serialList: () => Promise.resolve(facts) });
      assert.deepEqual(
        ports.map((port) => [port.address, port.usb?.vendorId]),
        [
          [join(system.devRoot, 'ttyUSB0'), '10c4'],
          [join(system.devRoot, 'ttyUSB1'), undefined],
        ],
      );
      const bare = await listPorts({ ...system.roots, serialList: noList });
      assert.equal(bare.length, 2);
      assert.deepEqual(
        bare.map((port) => port.key),
        ports.map((port) => port.key),
        'the key does not depend on what udev knows',
      );
    },
  );

  test('a system that tells nothing at all is an error', async () => {
    using system = new FakeSystem({ sysfs: false });
    rmSync(system.devRoot, { recursive: true });
    await assert.rejects(listPorts({ ...system.roots, serialList: noList }), (error) => hasCode(error, 'port-failed'));
  });

  test('the real one does not disturb', async () => {
    using system = new FakeSystem();
    system.plug(CP2102);
    assert.equal(
      (await listPorts({ ...system.roots })).filter((port) => port.address.startsWith(system.devRoot)).length,
      1,
    );
  });
});

describe('hostile strings', () => {
  test('escape sequences, line breaks, direction marks and great length do not get through', async () => {
    using system = new FakeSystem();
    system.plug({
      ...CP2102,
      product: `\u001b[2J\u001b]0;title\u0007CP2102\r\nroot: all is well\u202e\u200b\u0000${'A'.repeat(10_000)}`,
      manufacturer: '\u009b31mred\u2028line',
      serialNumber: '\u202e\u200f\u0007',
    });
    const [port] = await listPorts({ ...system.roots, serialList: emptyList });
    assert.equal(port?.usb?.product, `CP2102 root: all is well${'A'.repeat(40)}`);
    assert.equal(port.usb.product.length, 64);
    assert.equal(port.usb.manufacturer, 'red line');
    assert.equal(port.usb.serialNumber, null);
    assert.doesNotMatch(JSON.stringify([port.key, port.aliases]), /[\p{C}\u2028]/u);
  });

  test('deviceText() is bounded, clean and stable for every text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ maxLength: 300 })), (text) => {
        const clean = deviceText(text);
        if (clean === null) return;
        assert.ok(Array.from(clean).length <= 64 && clean !== '');
        assert.doesNotMatch(clean, /\p{C}|[\u2028\u2029]/u);
        assert.equal(deviceText(clean), clean);
      }),
    );
    assert.equal(deviceText(undefined), null);
    assert.equal(deviceText(' \t '), null);
    assert.equal(deviceText('Grüße 你好'), 'Grüße 你好');
  });
});

describe('watched folders', () => {
  test('links whose text is a network address plug in a network port', async () => {
    using system = new FakeSystem();
    const folder = system.folder('ports');
    symlinkSync('rfc2217://ser2net.example:4000', join(folder, 'kitchen'));
    symlinkSync('socket://[::1]:3333', join(folder, 'lab'));
    const ports = await listPorts({ ...system.roots, folders: [folder], serialList: emptyList });
    assert.deepEqual(
      ports.map(({ address, usb, fromFolder, aliases }) => ({ address, usb, fromFolder, aliases })),
      [
        { address: 'rfc2217://ser2net.example:4000', usb: null, fromFolder: true, aliases: [join(folder, 'kitchen')] },
        { address: 'socket://[::1]:3333', usb: null, fromFolder: true, aliases: [join(folder, 'lab')] },
      ],
    );
  });

  test('everything else in a folder is passed over, and what is a mistake is told once', async () => {
    using system = new FakeSystem();
    const { log, at } = recordingLogger();
    const folder = system.folder('ports');
    writeFileSync(join(folder, 'notes.txt'), 'rfc2217://host:1');
    mkdirSync(join(folder, 'more'));
    symlinkSync('nowhere', join(folder, 'dangling'));
    symlinkSync('loop', join(folder, 'loop'));
    symlinkSync('rfc2217://host', join(folder, 'no-port'));
    symlinkSync('rfc2217://host:99999', join(folder, 'bad-port'));
    symlinkSync('rfc2217://ho\u001bst:1', join(folder, 'escape'));
    symlinkSync('http://host:80', join(folder, 'web'));
    symlinkSync('rfc2217://host:1', join(folder, '.hidden'));
    symlinkSync('rfc2217://host:1', join(folder, 'line\nbreak'));
    // A character device that is no terminal: opening one may do harm.
    symlinkSync('/dev/null', join(folder, 'null'));
    const list = createPortLister({ ...system.roots, folders: [folder], log, serialList: emptyList });
    assert.deepEqual(await list(), []);
    assert.deepEqual(
      at('warn').map((line) => line.replaceAll(`${folder}/`, '')),
      [
        'bad-port in a watched folder is a link that leads nowhere: rfc2217://host:99999 is not a valid network address',
        'escape in a watched folder is a link to an address with blanks or control characters',
        'line\\u{a}break in a watched folder has a name with control characters',
        'more in a watched folder is no serial port',
        'no-port in a watched folder is a link that leads nowhere: rfc2217://host is not a valid network address',
        'notes.txt in a watched folder is no serial port',
        'null in a watched folder is a device, but no serial port',
        'web in a watched folder is a link that leads nowhere: http://host:80 has the unknown scheme http://',
      ],
    );
    await list();
    assert.equal(at('warn').length, 8, 'once');
    rmSync(join(folder, 'notes.txt'));
    await list();
    writeFileSync(join(folder, 'notes.txt'), 'again');
    await list();
    assert.equal(at('warn').length, 9, 'again, when it was away in between');
  });

  test('a folder full of other things is told in a few lines', async () => {
    using system = new FakeSystem();
    const folder = system.folder('ports');
    for (let index = 0; index < 600; index++) writeFileSync(join(folder, `file${index}`), '');
    const { log, at } = recordingLogger();
    await listPorts({ ...system.roots, folders: [folder], log, serialList: emptyList });
    assert.equal(at('warn').length, 9);
    assert.match(at('warn')[0] ?? '', /has more than 512 entries/);
    assert.match(at('warn')[8] ?? '', /holds 505 more such entries/);
  });

  test('folders that do not exist, or are none, hold no ports and are told once', async () => {
    using system = new FakeSystem();
    const { log, lines, at } = recordingLogger();
    const file = join(system.folder('x'), 'file');
    writeFileSync(file, '');
    const folders = [join(system.root, 'not/yet'), file];
    const list = createPortLister({ ...system.roots, folders, log, serialList: emptyList });
    for (let look = 0; look < 2; look++) assert.deepEqual(await list(), []);
    assert.deepEqual(at('warn'), [
      `The watched folder ${folders[0]} does not exist`,
      `The watched folder ${file} is not a folder`,
    ]);
    assert.equal(lines.length, 2);
  });

  test(
    'a terminal, even a built-in UART, is listed under the name of its link',
    { skip: process.platform !== 'linux' },
    async () => {
      using system = new FakeSystem();
      system.addTerminalNumber('1:3', 'ttyS0');
      const folder = system.folder('ports');
      symlinkSync('/dev/null', join(folder, 'board'));
      const [port, ...others] = await listPorts({ ...system.roots, folders: [folder], serialList: emptyList });
      assert.deepEqual(others, []);
      assert.equal(port?.address, join(folder, 'board'));
      assert.equal(port.fromFolder, true);
      assert.deepEqual(port.aliases, ['/dev/null']);
    },
  );

  test('virtual consoles are nobody’s port', { skip: process.platform !== 'linux' }, async () => {
    using system = new FakeSystem();
    system.addTerminalNumber('1:3', 'tty1');
    const folder = system.folder('ports');
    symlinkSync('/dev/null', join(folder, 'console'));
    assert.deepEqual(await listPorts({ ...system.roots, folders: [folder], serialList: emptyList }), []);
  });

  test(
    'a USB port that is also linked is one port, found in a folder',
    { skip: process.platform !== 'linux' },
    async () => {
      using system = new FakeSystem();
      system.plug({ ...CP2102, node: '/dev/null' });
      system.addTerminalNumber('1:3', 'ttyUSB0');
      const folder = system.folder('ports');
      const options = { ...system.roots, folders: [folder], serialList: emptyList };
      const [before] = await listPorts(options);
      symlinkSync(join(system.devRoot, 'ttyUSB0'), join(folder, 'bench'));
      symlinkSync(join(system.devRoot, 'ttyUSB0'), join(folder, 'workbench'));
      const ports = await listPorts(options);
      assert.equal(ports.length, 1);
      assert.equal(ports[0]?.address, join(system.devRoot, 'ttyUSB0'));
      assert.equal(ports[0].usb?.vendorId, '10c4');
      assert.equal(ports[0].fromFolder, true);
      assert.equal(ports[0].key, before?.key);
      assert.deepEqual(ports[0].aliases?.slice(1), [join(folder, 'bench'), join(folder, 'workbench')]);
    },
  );

  test('two links to the same address are one port', async () => {
    using system = new FakeSystem();
    const folders = [system.folder('a'), system.folder('b')];
    for (const folder of folders) symlinkSync('socket://127.0.0.1:1', join(folder, 'board'));
    const ports = await listPorts({ ...system.roots, folders, serialList: emptyList });
    assert.equal(ports.length, 1);
    assert.equal(ports[0]?.aliases?.length, 2);
  });

  test('a link made anew is a new plug-in, one left alone is the same', async () => {
    using system = new FakeSystem();
    const folder = system.folder('ports');
    const key = async () => (await listPorts({ ...system.roots, folders: [folder], serialList: emptyList }))[0]?.key;
    symlinkSync('socket://127.0.0.1:1', join(folder, 'board'));
    const first = await key();
    assert.equal(await key(), first);
    rmSync(join(folder, 'board'));
    symlinkSync('socket://127.0.0.1:1', join(folder, 'board'));
    assert.notEqual(await key(), first);
  });

  test('a pseudo terminal behind a link (socat PTY,link=...)', { skip: noPty }, async () => {
    using system = new FakeSystem();
    const folder = system.folder('ports');
    const pty = openPty();
    try {
      symlinkSync(pty.path, join(folder, 'simulated'));
      const ports = await listPorts({ ...system.roots, folders: [folder], serialList: emptyList });
      assert.deepEqual(
        ports.map((port) => [port.address, port.aliases, port.fromFolder]),
        [[join(folder, 'simulated'), [pty.path], true]],
      );
    } finally {
      await pty.vanish();
    }
    assert.deepEqual(await listPorts({ ...system.roots, folders: [folder], serialList: emptyList }), []);
  });
});
