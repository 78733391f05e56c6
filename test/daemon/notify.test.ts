import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { Logger } from '../../src/log.ts';
import {
  createNotifier,
  type DatagramSender,
  type NotifierOptions,
  openDatagramSender,
  unixSocketAddress,
} from '../../src/daemon/notify.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

/** koffi, or a reason in words why it cannot be had. Only its loading may be skipped: a wrong declaration is a fault. */
const koffi = await import('koffi').then(
  (module) => module.default,
  (error: unknown) => `koffi cannot be loaded: ${String(error)}`,
);
const libc = process.platform !== 'linux' ? 'unix datagrams are tested on Linux only' : receivingLibc();

function receivingLibc() {
  if (typeof koffi === 'string') return koffi;
  const library = koffi.load(null);
  return {
    socket: library.func('int socket(int, int, int)') as (domain: number, type: number, protocol: number) => number,
    bind: library.func('int bind(int, const void *, uint32_t)') as (fd: number, to: Buffer, length: number) => number,
    recv: library.func('long recv(int, void *, size_t, int)') as (
      fd: number,
      into: Buffer,
      length: number,
      flags: number,
    ) => number,
    close: library.func('int close(int)') as (fd: number) => number,
  };
}
const skip = typeof libc === 'string' ? libc : false;

const MSG_DONTWAIT = 0x40;

/** Binds a datagram socket; `next` takes one message out of it, undefined when none is there. */
function receiver(context: TestContext, address: string): { next: () => string | undefined; close: () => void } {
  assert.ok(typeof libc === 'object');
  const fd = libc.socket(1, 2, 0);
  assert.ok(fd >= 0);
  const name = unixSocketAddress(address);
  assert.equal(libc.bind(fd, name, name.length), 0, `bind ${address}`);
  let isOpen = true;
  const close = () => {
    if (isOpen) libc.close(fd);
    isOpen = false;
  };
  context.after(close);
  const buffer = Buffer.alloc(65_536);
  return {
    next: () => {
      const length = libc.recv(fd, buffer, buffer.length, MSG_DONTWAIT);
      return length < 0 ? undefined : buffer.toString('utf8', 0, length);
    },
    close,
  };
}

async function scratch(context: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-notify-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function recorder(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const at = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  const log: Logger = { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), child: () => log };
  return { log, lines };
}

/** A notifier whose datagrams land in `messages`; `fail` lets the next ones fail with these codes. */
function faked(env: NodeJS.ProcessEnv = {}, options: Partial<NotifierOptions> = {}) {
  const messages: string[] = [];
  const fail: string[] = [];
  const state = { closed: 0, opened: [] as string[] };
  const clock = new VirtualClock({ automatic: false });
  const { log, lines } = recorder();
  const sender: DatagramSender = {
    send: (message) => {
      const code = fail.shift();
      if (code !== undefined) throw Object.assign(new Error(`${code}: sendto`), { code });
      messages.push(message.toString());
    },
    close: () => void (state.closed += 1),
  };
  const notifier = createNotifier({
    env: { NOTIFY_SOCKET: '/run/x', ...env },
    log,
    clock,
    openSender: (address) => {
      state.opened.push(address);
      return Promise.resolve(sender);
    },
    ...options,
  });
  return { notifier, messages, fail, state, clock, lines };
}

for (const [kind, address] of [
  ['a path', (folder: string) => join(folder, 'notify')],
  ['an abstract name', () => `@espd-test/${process.pid}/notify`],
] as const) {
  test(`the life of a service reaches a socket with ${kind}`, { skip }, async (context) => {
    const socket = address(await scratch(context));
    const { next } = receiver(context, socket);
    const { log, lines } = recorder();
    const clock = new VirtualClock({ automatic: false });
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '20000000', WATCHDOG_PID: String(process.pid) };
    const notifier = createNotifier({ env, log, clock });
    notifier.ready();
    notifier.status('2 boards – idle');
    notifier.reloading();
    notifier.ready();
    notifier.startWatchdog(() => true);
    notifier.stopping();
    await notifier.close();
    const before = process.hrtime.bigint() / 1000n;
    assert.equal(next(), 'READY=1');
    assert.equal(next(), 'STATUS=2 boards – idle');
    const [, usec] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(next() ?? '') ?? [];
    assert.ok(BigInt(usec ?? 0) > 0n && BigInt(usec ?? 0) <= before);
    assert.equal(next(), 'READY=1');
    assert.equal(next(), 'WATCHDOG=1');
    assert.equal(next(), 'STOPPING=1');
    assert.equal(next(), undefined);
    assert.deepEqual(lines, []);
  });
}

test('a full receiver gives EAGAIN, a gone one ECONNREFUSED, a missing one ENOENT', { skip }, async (context) => {
  const socket = join(await scratch(context), 'notify');
  const { next, close } = receiver(context, socket);
  const sender = await openDatagramSender(socket);
  context.after(() => sender.close());
  let taken = 0;
  assert.throws(
    () => {
      for (; taken < 100_000; taken += 1) sender.send(Buffer.from('WATCHDOG=1'));
    },
    { code: 'EAGAIN' },
  );
  assert.ok(taken > 0);
  assert.equal(next(), 'WATCHDOG=1');
  sender.send(Buffer.from('again'));
  close();
  assert.throws(() => sender.send(Buffer.from('x')), { code: 'ECONNREFUSED' });
  const nowhere = await openDatagramSender(`${socket}-missing`);
  assert.throws(() => nowhere.send(Buffer.from('x')), { code: 'ENOENT' });
  nowhere.close();
});

test('addresses: paths and abstract names up to their limits, nothing else', () => {
  assert.equal(unixSocketAddress('/run/x').toString('hex', 2), '2f72756e2f7800');
  assert.equal(unixSocketAddress('@x').toString('hex', 2), '0078');
  assert.equal(unixSocketAddress(`/${'x'.repeat(106)}`).length, 110);
  assert.throws(() => unixSocketAddress(`/${'x'.repeat(107)}`), RangeError);
  assert.equal(unixSocketAddress(`@${'x'.repeat(107)}`).length, 110);
  assert.throws(() => unixSocketAddress(`@${'x'.repeat(108)}`), RangeError);
  for (const bad of ['vsock:2:1234', 'relative', '']) assert.throws(() => unixSocketAddress(bad), RangeError);
});

test('without NOTIFY_SOCKET nothing happens', async () => {
  for (const env of [{ NOTIFY_SOCKET: undefined }, { NOTIFY_SOCKET: '' }]) {
    const { notifier, state, clock, lines } = faked({ WATCHDOG_USEC: '1000000', ...env });
    notifier.ready();
    notifier.status('x');
    notifier.startWatchdog(() => assert.fail('not asked'));
    notifier.stopping();
    await notifier.close();
    assert.deepEqual([state.opened, lines, clock.pendingTimers], [[], [], 0]);
  }
});

test('a status cannot smuggle in other messages, is bounded, and is sent once', async () => {
  const { notifier, messages } = faked();
  notifier.status('reading CP2102\nMAINPID=1\r\u0000\u2028\u001b[2J');
  notifier.status('reading CP2102\nMAINPID=1\r\u0000\u2028\u001b[2J');
  notifier.status('x'.repeat(10_000));
  notifier.status('');
  await notifier.close();
  assert.deepEqual(messages, ['STATUS=reading CP2102 MAINPID=1 [2J', `STATUS=${'x'.repeat(300)}`, 'STATUS=']);
});

test('the watchdog is pinged at half its interval', async () => {
  const { notifier, messages, clock } = faked({ WATCHDOG_USEC: '30000000' });
  notifier.startWatchdog(() => true);
  await clock.advance(14_999);
  assert.deepEqual(messages, ['WATCHDOG=1']);
  await clock.advance(1);
  await clock.advance(15_000);
  await clock.advance(15_000);
  assert.equal(messages.length, 4);
  await notifier.close();
  await clock.advance(100_000);
  assert.deepEqual([messages.length, clock.pendingTimers], [4, 0]);
});

test('no ping while the daemon is not healthy; it says so once', async () => {
  const { notifier, messages, clock, lines } = faked({ WATCHDOG_USEC: '20000000' });
  let healthy = true;
  notifier.startWatchdog(() => healthy);
  await clock.advance(10_000);
  healthy = false;
  await clock.advance(10_000);
  await clock.advance(10_000);
  assert.equal(messages.length, 2);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /^error The daemon is not healthy/);
  healthy = true;
  await clock.advance(10_000);
  assert.equal(messages.length, 3);
  await notifier.close();
});

test('the watchdog of another process, or none, is not pinged', async () => {
  for (const env of [
    {},
    { WATCHDOG_USEC: '0' },
    { WATCHDOG_USEC: '-5' },
    { WATCHDOG_USEC: 'soon' },
    { WATCHDOG_USEC: '1e9' },
    { WATCHDOG_USEC: '20000000', WATCHDOG_PID: '1' },
  ]) {
    const { notifier, clock } = faked(env, { pid: 4242 });
    notifier.startWatchdog(() => assert.fail('not asked'));
    await notifier.close();
    assert.equal(clock.pendingTimers, 0);
  }
  const mine = faked({ WATCHDOG_USEC: '20000000', WATCHDOG_PID: '4242' }, { pid: 4242 });
  mine.notifier.startWatchdog(() => true);
  await mine.notifier.close();
  assert.deepEqual(mine.messages, ['WATCHDOG=1']);
});

test('starting the watchdog twice leaves one', async () => {
  const { notifier, clock } = faked({ WATCHDOG_USEC: '20000000' });
  notifier.startWatchdog(() => true);
  notifier.startWatchdog(() => true);
  assert.equal(clock.pendingTimers, 1);
  await notifier.close();
});

test('a full receiver is waited for, and order is kept', async () => {
  const { notifier, messages, fail, state, lines } = faked({}, { clock: new VirtualClock() });
  fail.push('EAGAIN', 'EAGAIN', 'EAGAIN');
  notifier.ready();
  notifier.status('x');
  await notifier.close();
  assert.deepEqual([messages, state.closed, lines], [['READY=1', 'STATUS=x'], 1, []]);
});

test('what cannot be sent is a warning once, and the rest is still tried', async () => {
  const { notifier, messages, fail, lines } = faked({}, { clock: new VirtualClock() });
  fail.push(...Array<string>(21).fill('EAGAIN'), 'ECONNREFUSED');
  notifier.ready();
  notifier.status('lost');
  notifier.status('kept');
  await notifier.close();
  assert.deepEqual(messages, ['STATUS=kept']);
  assert.deepEqual(
    lines.map((line) => line.split(' ')[0]),
    ['warn', 'debug'],
  );
});

test('after close nothing is sent', async () => {
  const { notifier, messages, clock } = faked({ WATCHDOG_USEC: '20000000' });
  await notifier.close();
  notifier.ready();
  notifier.startWatchdog(() => true);
  await clock.advance(60_000);
  assert.deepEqual(messages, []);
});

const noKoffi = () => Promise.reject(new Error('koffi: no such module'));

test('without koffi and without systemd-notify: one warning, no harm', async (context) => {
  const folder = await scratch(context);
  const { notifier, lines } = faked({ PATH: folder }, { openSender: noKoffi });
  notifier.ready();
  notifier.status('x');
  await notifier.close();
  assert.equal(lines.filter((line) => line.startsWith('warn ')).length, 1);
});

function systemdNotifyMissing(): string | false {
  try {
    execFileSync('systemd-notify', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return 'the program systemd-notify is not installed';
  }
}

test('without koffi the program systemd-notify sends', { skip: skip || systemdNotifyMissing() }, async (context) => {
  const socket = join(await scratch(context), 'notify');
  const { next } = receiver(context, socket);
  const { notifier, lines } = faked({ NOTIFY_SOCKET: socket, PATH: process.env['PATH'] }, { openSender: noKoffi });
  notifier.ready();
  notifier.status('--help me; $(x) "y"');
  notifier.reloading();
  let isDone = false;
  const done = notifier.close().then(() => (isDone = true));
  const seen: string[] = [];
  // systemd-notify waits until its message has been taken out of the socket (sd_notify_barrier).
  while (!isDone) {
    for (let message = next(); message !== undefined; message = next()) seen.push(message);
    await pause(10);
  }
  await done;
  const told = seen.filter((message) => message !== 'BARRIER=1');
  assert.equal(told[0], 'READY=1');
  assert.equal(told[1], 'STATUS=--help me; $(x) "y"');
  assert.match(told[2] ?? '', /^RELOADING=1\nMONOTONIC_USEC=\d+$/);
  assert.deepEqual(
    lines.filter((line) => line.startsWith('warn ')),
    [],
  );
});
