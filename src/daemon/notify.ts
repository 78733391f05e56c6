/**
 * Talks to the service manager: sd_notify(3) and the watchdog of systemd, without libsystemd.
 *
 * Node cannot send unix datagrams, so libc's sendto is called by koffi; where koffi cannot be used, the program
 * `systemd-notify` sends (the unit needs `NotifyAccess=all` for that). Without `NOTIFY_SOCKET` nothing happens at all.
 */

import { execFile } from 'node:child_process';
import { endianness } from 'node:os';
import { getSystemErrorName, promisify } from 'node:util';
import { replaceUnprintable } from '../printable.ts';
import { type Clock, sleep } from '../clock.ts';
import { systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';

export interface NotifierOptions {
  /** `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are looked at; `PATH` for the fallback. */
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  readonly clock: Clock;
  /** Whose watchdog it is; default: this process. */
  readonly pid?: number | undefined;
  /** Opens the way to send datagrams; default: by koffi. */
  readonly openSender?: ((address: string) => Promise<DatagramSender>) | undefined;
}

/** Messages go out in the order of the calls. No call throws or waits; what cannot be sent is logged. */
export interface Notifier {
  /** The start, or a reload, is done. */
  ready(): void;
  /** One line for `systemctl status`. May hold texts from devices: cannot smuggle in other messages. */
  status(text: string): void;
  /** A reload begins; {@link Notifier.ready} ends it. */
  reloading(): void;
  stopping(): void;
  /**
   * Pings the watchdog at half its interval, as sd_watchdog_enabled(3) advises, as long as `isHealthy` says so.
   * Without a watchdog for this process nothing happens.
   */
  startWatchdog(isHealthy: () => boolean): void;
  /** Ends the pings; resolves when everything is sent. */
  close(): Promise<void>;
}

export interface DatagramSender {
  /** Throws with the system's `code`; `EAGAIN` where the receiver's queue is full. */
  send(message: Buffer): void;
  close(): void;
}

const STATUS_LIMIT_CHARACTERS = 300;
const RETRY_MS = 50;
const RETRIES = 20;
const FALLBACK_TIMEOUT_MS = 5000;

export function createNotifier(options: NotifierOptions): Notifier {
  const { env, log, clock } = options;
  const address = env['NOTIFY_SOCKET'];
  let lastStatus = '';
  let cancelPing = () => {};
  let isClosed = false;
  let sent: Promise<void> = Promise.resolve();
  const channel = address ? openChannel(address, options) : null;

  const send = (...assignments: string[]) => {
    if (channel === null || isClosed) return;
    sent = sent.then(async () => (await channel).send(assignments));
  };

  const watchdogMs = watchdogIntervalMs(env, options.pid ?? process.pid);
  const startWatchdog = (isHealthy: () => boolean) => {
    if (watchdogMs === null || channel === null || isClosed) return;
    cancelPing();
    let wasHealthy = true;
    const ping = () => {
      const healthy = isHealthy();
      if (healthy) send('WATCHDOG=1');
      else if (wasHealthy) log.error('The daemon is not healthy: the watchdog gets no more pings until it is');
      wasHealthy = healthy;
      cancelPing = clock.schedule(watchdogMs / 2, ping);
    };
    ping();
  };

  return {
    ready: () => send('READY=1'),
    status: (text) => {
      const line = replaceUnprintable(text, ' ').replace(/ +/g, ' ').slice(0, STATUS_LIMIT_CHARACTERS);
      if (line !== lastStatus) send(`STATUS=${line}`);
      lastStatus = line;
    },
    // hrtime is CLOCK_MONOTONIC on Linux (uv_hrtime of libuv), which is what systemd compares with.
    reloading: () => send('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => send('STOPPING=1'),
    startWatchdog,
    close: async () => {
      isClosed = true;
      cancelPing();
      await sent;
      (await channel)?.close();
    },
  };
}

/** `WATCHDOG_USEC` in milliseconds; null when there is no watchdog, or it is meant for another process. */
function watchdogIntervalMs(env: NodeJS.ProcessEnv, pid: number): number | null {
  const watched = env['WATCHDOG_PID'];
  if (watched && Number(watched) !== pid) return null;
  const usec = /^\d{1,15}$/.test(env['WATCHDOG_USEC'] ?? '') ? Number(env['WATCHDOG_USEC']) : 0;
  return usec > 0 ? usec / 1000 : null;
}

interface Channel {
  /** Never rejects. */
  send(assignments: readonly string[]): Promise<void>;
  close(): void;
}

async function openChannel(address: string, options: NotifierOptions): Promise<Channel> {
  const { env, log, clock, openSender = openDatagramSender } = options;
  let hasFailed = false;
  const failed = (way: string, error: unknown) => {
    const fields = { way, address, error: error instanceof Error ? error.message : String(error) };
    if (hasFailed) log.debug('systemd could not be told', fields);
    else log.warn('The daemon cannot reach systemd, which may take the service for dead', fields);
    hasFailed = true;
  };
  try {
    const sender = await openSender(address);
    return {
      send: (assignments) =>
        sendPatiently(sender, Buffer.from(assignments.join('\n')), clock).catch((error: unknown) => {
          failed('sendto', error);
        }),
      close: () => sender.close(),
    };
  } catch (error) {
    log.debug('No datagrams by koffi, systemd-notify is used', { error: String(error) });
    return {
      send: async (assignments) => {
        await promisify(execFile)('systemd-notify', assignments, { env, timeout: FALLBACK_TIMEOUT_MS }).catch(
          (failure: unknown) => failed('systemd-notify', failure),
        );
      },
      close: () => undefined,
    };
  }
}

async function sendPatiently(sender: DatagramSender, message: Buffer, clock: Clock): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      sender.send(message);
      return;
    } catch (error) {
      if (systemCode(error) !== 'EAGAIN' || tries >= RETRIES) throw error;
      await sleep(clock, RETRY_MS);
    }
  }
}

/** Values of Linux on every architecture that Node is built for: include/linux/socket.h, include/linux/net.h. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/**
 * A socket that sends to `address`: an absolute path, or `@name` for the abstract namespace.
 * Rejects where koffi or libc cannot be used, and for an address of another kind (`vsock:...`).
 */
export async function openDatagramSender(address: string): Promise<DatagramSender> {
  if (process.platform !== 'linux') throw new Error(`no systemd on ${process.platform}`);
  const target = unixSocketAddress(address);
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  const socket = libc.func('int socket(int domain, int type, int protocol)');
  const close = libc.func('int close(int fd)');
  const sendto = libc.func(
    'long sendto(int fd, const void *message, size_t length, int flags, const void *address, uint32_t addressLength)',
  );
  const check = (result: unknown, call: string): number => {
    if (typeof result === 'number' && result >= 0) return result;
    const code = getSystemErrorName(-koffi.errno());
    throw Object.assign(new Error(`${code}: ${call}`), { code, syscall: call });
  };
  const fd = check(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 'socket');
  return {
    send: (message) => {
      check(sendto(fd, message, message.length, MSG_DONTWAIT | MSG_NOSIGNAL, target, target.length), 'sendto');
    },
    close: () => void close(fd),
  };
}

/**
 * A `struct sockaddr_un` (unix(7)), cut to its used length: the family in the machine's byte order and a path that ends
 * with NUL, or NUL and an abstract name that is as long as the length says. Throws RangeError for anything else.
 */
export function unixSocketAddress(address: string): Buffer {
  const isAbstract = address.startsWith('@');
  const name = Buffer.from(isAbstract ? `\0${address.slice(1)}` : `${address}\0`);
  if ((!isAbstract && !address.startsWith('/')) || name.length > 108) {
    throw new RangeError(`not the address of a unix socket: ${address}`);
  }
  const family = Buffer.alloc(2);
  family[endianness() === 'LE' ? 0 : 1] = AF_UNIX;
  return Buffer.concat([family, name]);
}
