import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SerialPort } from 'serialport';
import { type Clock, systemClock } from '../../src/clock.ts';
import { hasCode } from '../../src/errors.ts';
import { silentLogger } from '../../src/log.ts';
import type { ControlLines } from '../../src/serial/link.ts';
import type { LinuxTty } from '../../src/serial/linux-tty.ts';
import { lockFileName } from '../../src/serial/lock.ts';
import { openLink } from '../../src/serial/open-link.ts';
import { SerialPortLink } from '../../src/serial/serialport-link.ts';
import { describeLinkConformance, readExactly } from './link-conformance.ts';
import { Inbox, listen } from './peers.ts';
import { noPty, openPty } from './pty.ts';

const lockPaths = { lockFolders: [], procFolder: '/proc' };
const options = { baudRate: 115_200, clock: systemClock, log: silentLogger, lockPaths };

if (noPty === false) {
  describeLinkConformance('a serial port (pty)', async () => {
    const pty = openPty();
    const inbox = new Inbox();
    pty.onData = inbox.push;
    const link = await openLink(pty.path, options);
    return {
      link,
      send: (data) => pty.send(data),
      received: (sizeBytes) => inbox.take(sizeBytes),
      vanish: () => pty.vanish(),
      stall: () => pty.stall(),
      dispose: () => pty.vanish(),
    };
  });
}

/** A link as `openSerialPort` makes it, over ioctls that the test gives. */
async function linkOver(path: string, tty: LinuxTty | undefined, clock: Clock = systemClock): Promise<SerialPortLink> {
  const binding = await SerialPort.binding.open({ path, baudRate: 115_200 });
  return new SerialPortLink(path, binding, tty, { release: () => Promise.resolve() }, { ...options, clock });
}

if (noPty === false) {
  describeLinkConformance('a serial port (pty) without koffi', async () => {
    const pty = openPty();
    const inbox = new Inbox();
    pty.onData = inbox.push;
    const link = await linkOver(pty.path, undefined);
    await link.prepare(false);
    return {
      link,
      send: (data) => pty.send(data),
      received: (sizeBytes) => inbox.take(sizeBytes),
      vanish: () => pty.vanish(),
      dispose: () => pty.vanish(),
    };
  });
}

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-serial-'));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('a serial port', { skip: noPty }, () => {
  test('has a baud rate and, being a pty, no control lines', async () => {
    const pty = openPty();
    const link = await openLink(pty.path, options);
    assert.deepEqual(link.capabilities, { controlLines: false, baudRate: true });
    assert.equal(link.address, pty.path);
    await link.close();
    await pty.vanish();
  });

  test('is refused while somebody has it open, without being touched', async () => {
    const pty = openPty();
    const link = await openLink(pty.path, options);
    await assert.rejects(
      openLink(pty.path, options),
      (error) => hasCode(error, 'port-busy') && error.message.includes(`(pid ${process.pid})`),
    );
    await pty.send(Buffer.from('fine'));
    assert.equal((await readExactly(link, 4)).toString(), 'fine');
    await link.close();
    await pty.vanish();
  });

  test('is refused by flock where the processes cannot be seen', async () => {
    const pty = openPty();
    const blind = { ...options, lockPaths: { lockFolders: [], procFolder: '/nonexistent' } };
    const link = await openLink(pty.path, blind);
    await assert.rejects(openLink(pty.path, blind), (error) => hasCode(error, 'port-busy'));
    await link.close();
    await pty.vanish();
  });

  test('is opened through a link, and locked under its own name', () =>
    withFolder(async (folder) => {
      const pty = openPty();
      const name = join(folder, 'by-id');
      const locks = join(folder, 'locks');
      await mkdir(locks);
      await symlink(pty.path, name);
      const link = await openLink(name, {
        ...options,
        lockPaths: { lockFolders: [locks, locks], procFolder: '/proc' },
      });
      assert.equal(link.address, name);
      assert.deepEqual(await readdir(locks), [lockFileName(pty.path)]);
      assert.equal(
        await readFile(join(locks, lockFileName(pty.path)), 'latin1'),
        `${String(process.pid).padStart(10)}\n`,
      );
      await link.close();
      assert.deepEqual(await readdir(locks), []);
      await pty.vanish();
    }));

  test('gives the lock back when the device vanishes', () =>
    withFolder(async (folder) => {
      const pty = openPty();
      const link = await openLink(pty.path, { ...options, lockPaths: { lockFolders: [folder], procFolder: '/proc' } });
      await pty.vanish();
      await assert.rejects(link.read(5000), (error) => hasCode(error, 'port-vanished'));
      await link.close();
      assert.deepEqual(await readdir(folder), []);
    }));

  test('is raw: no byte is changed or answered by the terminal', async () => {
    const pty = openPty();
    const inbox = new Inbox();
    pty.onData = inbox.push;
    const link = await openLink(pty.path, options);
    const special = Buffer.from([0x03, 0x04, 0x0a, 0x0d, 0x11, 0x13, 0x1a, 0x1c, 0x7f, 0x00, 0xff]);
    await pty.send(special);
    assert.deepEqual(await readExactly(link, special.length), special);
    await link.write(special);
    assert.deepEqual(await inbox.take(special.length), special);
    await link.close();
    await pty.vanish();
  });

  test('close returns although the device takes nothing any more', async () => {
    const pty = openPty();
    const link = await openLink(pty.path, options);
    pty.stall();
    const written = assert.rejects(link.write(Buffer.alloc(1024 * 1024)), (error) => hasCode(error, 'port-vanished'));
    await link.close();
    await written;
    await pty.vanish();
  });
});

/** A tty with modem lines, which a pty has not. */
class FakeTty implements LinuxTty {
  readonly calls: unknown[] = [];
  /** What TIOCMSET does. */
  onSet: () => Promise<void> = () => Promise.resolve();
  queuedBytes = 0;

  modemBits(): Promise<number> {
    return Promise.resolve(0x4026);
  }

  setControlLines(_: number, base: number, lines: ControlLines): Promise<void> {
    this.calls.push([base, lines]);
    return this.onSet();
  }

  setExclusive(_: number, exclusive: boolean): void {
    this.calls.push(exclusive ? 'exclusive' : 'shared');
  }

  outputQueueBytes(): number {
    return this.queuedBytes;
  }

  discardInput(): void {
    this.calls.push('discard input');
  }

  discardOutput(): void {
    this.calls.push('discard output');
    this.queuedBytes = 0;
  }
}

const RELEASED = { dtr: false, rts: false };

describe('a serial port with control lines', { skip: noPty }, () => {
  test('is made exclusive, and both lines are released in one step', async () => {
    const pty = openPty();
    const tty = new FakeTty();
    const link = await linkOver(pty.path, tty);
    await link.prepare(false);
    assert.deepEqual(link.capabilities, { controlLines: true, baudRate: true });
    await link.setControlLines({ dtr: false, rts: true });
    await link.close();
    assert.deepEqual(tty.calls, ['exclusive', [0x4026, RELEASED], [0x4026, { dtr: false, rts: true }], 'shared']);
    await pty.vanish();
  });

  test('keeps the lines where that is asked for', async () => {
    const pty = openPty();
    const tty = new FakeTty();
    const link = await linkOver(pty.path, tty);
    await link.prepare(true);
    assert.equal(link.capabilities.controlLines, true);
    assert.deepEqual(tty.calls, ['exclusive']);
    await link.close();
    await pty.vanish();
  });

  test('is closed only when no call uses its descriptor any more, and close does not wait for that', async () => {
    const pty = openPty();
    const tty = new FakeTty();
    const hurried: Clock = {
      ...systemClock,
      schedule: (delayMs, callback) => systemClock.schedule(delayMs / 50, callback),
    };
    const link = await linkOver(pty.path, tty, hurried);
    await link.prepare(false);
    let answer: () => void = () => undefined;
    tty.onSet = () => new Promise((resolve) => (answer = resolve));
    await assert.rejects(link.setControlLines(RELEASED), (error) => hasCode(error, 'port-failed'));
    await link.close();
    assert.ok(!tty.calls.includes('shared'), 'the descriptor is still in use');
    answer();
    await link.close();
    assert.equal(tty.calls.at(-1), 'shared');
    await pty.vanish();
  });

  test('ends when its driver says that the device is gone', async () => {
    const pty = openPty();
    const tty = new FakeTty();
    const link = await linkOver(pty.path, tty);
    await link.prepare(false);
    tty.onSet = () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }));
    await assert.rejects(link.setControlLines(RELEASED), (error) => hasCode(error, 'port-vanished'));
    assert.equal(link.isOpen, false);
    await link.close();
    await pty.vanish();
  });

  test('asks the driver what it makes of a rate, and leaves the rate in force', async () => {
    const pty = openPty();
    const binding = await SerialPort.binding.open({ path: pty.path, baudRate: 115_200 });
    const updates: number[] = [];
    /** As cp210x with a CP2102: 1 Mbaud, whatever more is asked for. */
    const clamped = new Proxy(binding, {
      get(target, name): unknown {
        if (name === 'getBaudRate')
          return () => Promise.resolve({ baudRate: Math.min(updates.at(-1) ?? 0, 1_000_000) });
        if (name === 'update') {
          return ({ baudRate }: { baudRate: number }) => {
            updates.push(baudRate);
            return baudRate > 4_000_000 ? Promise.reject(new Error('Invalid argument')) : Promise.resolve();
          };
        }
        const member: unknown = Reflect.get(target, name);
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
    const link = new SerialPortLink(pty.path, clamped, undefined, { release: () => Promise.resolve() }, options);
    await link.prepare(false);
    for (const [baudRate, can] of [
      [921_600, true],
      [1_000_000, true],
      [1_500_000, false],
      [5_000_000, false],
    ] as const) {
      assert.equal(await link.canDoBaudRate(baudRate), can, String(baudRate));
      assert.deepEqual(updates.slice(-2), [baudRate, 115_200]);
      assert.equal(link.baudRate, 115_200);
    }
    await link.close();
    await pty.vanish();
  });

  test('forgets at close what a stuck device does not take, and what is read is flushed by a purge only', async () => {
    const pty = openPty();
    const tty = new FakeTty();
    const link = await linkOver(pty.path, tty);
    await link.prepare(false);
    tty.calls.length = 0;
    await link.purge();
    tty.queuedBytes = 1;
    await link.close();
    assert.deepEqual(tty.calls, ['discard input', 'discard output', 'shared']);
    await pty.vanish();
  });
});

describe('opening what is no serial port', () => {
  const rejects = (address: string, code: 'port-missing' | 'port-failed' | 'usage', message: RegExp) =>
    assert.rejects(openLink(address, options), (error) => {
      assert.ok(hasCode(error, code), String(error));
      assert.match(error.message, message);
      return true;
    });

  test('names the kind of thing', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'file');
      await writeFile(file, 'content');
      await rejects(join(folder, 'none'), 'port-missing', /does not exist/);
      await rejects(join(file, 'below'), 'port-missing', /does not exist/);
      await rejects(folder, 'port-failed', /is a folder, not a serial port/);
      await rejects(file, 'port-failed', /is a file, not a serial port/);
      await rejects('/dev/null', 'port-failed', /is no terminal device, not a serial port/);
      assert.equal(await readFile(file, 'utf8'), 'content');
    }));

  test('says port-missing for a dangling link', () =>
    withFolder(async (folder) => {
      await symlink('/dev/ttyNONE', join(folder, 'link'));
      await rejects(join(folder, 'link'), 'port-missing', /does not exist/);
    }));
});

describe('a link in a folder that names a network port', () => {
  test('opens that port under its own name', () =>
    withFolder(async (folder) => {
      const peer = await listen((socket) => socket.write('hello'));
      const name = join(folder, 'lab-7');
      await symlink(`socket://127.0.0.1:${peer.port}`, name);
      const link = await openLink(name, options);
      assert.equal(link.address, name);
      assert.equal((await readExactly(link, 5)).toString(), 'hello');
      await link.close();
      await peer.close();
    }));

  test('says usage when the text is malformed', () =>
    withFolder(async (folder) => {
      await symlink('rfc2217://nowhere', join(folder, 'x'));
      await assert.rejects(openLink(join(folder, 'x'), options), (error) => hasCode(error, 'usage'));
    }));
});
