/**
 * The few tty ioctls that Node and serialport do not offer, on Linux, by koffi. Without koffi (musl, an odd CPU) they
 * are missing and `serialport-link.ts` falls back to what serialport can do.
 */

import { getSystemErrorName } from 'node:util';
import type { Logger } from '../log.ts';
import type { ControlLines } from './link.ts';

/** Request numbers: include/uapi/asm-generic/ioctls.h of Linux; the same on every architecture in the list below. */
const REQUEST = {
  TCFLSH: 0x540b,
  TIOCEXCL: 0x540c,
  TIOCNXCL: 0x540d,
  TIOCOUTQ: 0x5411,
  TIOCMGET: 0x5415,
  TIOCMSET: 0x5418,
} as const;
const GENERIC_IOCTL_ARCHITECTURES = new Set(['x64', 'arm64', 'arm', 'ia32', 'riscv64', 'loong64']);

/** Arguments of TCFLSH: include/uapi/asm-generic/termbits-common.h. */
const TCIFLUSH = 0;
const TCOFLUSH = 1;

/** Modem bits: include/uapi/asm-generic/termios.h. */
const TIOCM_DTR = 0x002;
const TIOCM_RTS = 0x004;

/** All calls throw (or reject with) an Error that has the system's name as `code`: `ENOTTY`, `EIO`, ... */
export interface LinuxTty {
  /** TIOCMGET: the modem bits. `ENOTTY` or `EINVAL` on a tty without modem lines, such as a pty. */
  modemBits(fd: number): Promise<number>;
  /** TIOCMSET: `base`, which {@link modemBits} gave, with both lines replaced in one step. */
  setControlLines(fd: number, base: number, lines: ControlLines): Promise<void>;
  /** TIOCEXCL or TIOCNXCL: whether further opens fail with EBUSY (those of root succeed all the same). */
  setExclusive(fd: number, exclusive: boolean): void;
  /** TIOCOUTQ: bytes that were written and have not left the computer. */
  outputQueueBytes(fd: number): number;
  /** TCFLSH: forgets what has arrived and is not read; nothing that is on its way out. */
  discardInput(fd: number): void;
  /** TCFLSH: forgets what has not left yet. */
  discardOutput(fd: number): void;
}

/** `modem bits` with DTR and RTS as in `lines`, everything else kept. */
export function withControlLines(bits: number, lines: ControlLines): number {
  return (bits & ~(TIOCM_DTR | TIOCM_RTS)) | (lines.dtr ? TIOCM_DTR : 0) | (lines.rts ? TIOCM_RTS : 0);
}

let loading: Promise<LinuxTty | undefined> | undefined;

/** The calls, or undefined where they cannot be made. The library is loaded once (24 ms), when the first port opens. */
export function loadLinuxTty(log: Logger): Promise<LinuxTty | undefined> {
  loading ??= load().catch((error: unknown) => {
    log.debug('koffi cannot be used: no TIOCEXCL, and control lines only as far as serialport sets them', {
      error: String(error),
    });
    return undefined;
  });
  return loading;
}

async function load(): Promise<LinuxTty | undefined> {
  if (process.platform !== 'linux' || !GENERIC_IOCTL_ARCHITECTURES.has(process.arch)) return undefined;
  const { default: koffi } = await import('koffi');
  const libc = koffi.load(null);
  // Declared without "...": koffi cannot make variadic calls in the background, and on Linux both are called alike.
  const withNumber = libc.func('int ioctl(int fd, unsigned long request, long argument)');
  const withPointer = libc.func('int ioctl(int fd, unsigned long request, _Inout_ int *argument)');

  const check = (result: unknown, request: keyof typeof REQUEST) => {
    if (result !== 0) throw lastError(koffi.errno(), request);
  };
  const call = (fd: number, request: keyof typeof REQUEST, argument: number) => {
    check(withNumber(fd, REQUEST[request], argument), request);
  };
  // TIOCMGET and TIOCMSET talk to the USB device, for up to 5 s if it hangs: never on the event loop.
  const callInBackground = (fd: number, request: keyof typeof REQUEST, value: number) =>
    new Promise<number>((resolve, reject) => {
      const argument = [value];
      withPointer.async(fd, REQUEST[request], argument, (error: Error | null, result: unknown) => {
        if (error !== null) reject(error);
        else if (result !== 0) reject(lastError(koffi.errno(), request));
        else resolve(argument[0] ?? 0);
      });
    });

  return {
    modemBits: (fd) => callInBackground(fd, 'TIOCMGET', 0),
    async setControlLines(fd, base, lines) {
      await callInBackground(fd, 'TIOCMSET', withControlLines(base, lines));
    },
    setExclusive: (fd, exclusive) => call(fd, exclusive ? 'TIOCEXCL' : 'TIOCNXCL', 0),
    outputQueueBytes(fd) {
      const argument = [0];
      check(withPointer(fd, REQUEST.TIOCOUTQ, argument), 'TIOCOUTQ');
      return argument[0] ?? 0;
    },
    discardInput: (fd) => call(fd, 'TCFLSH', TCIFLUSH),
    discardOutput: (fd) => call(fd, 'TCFLSH', TCOFLUSH),
  };
}

function lastError(errno: number, request: string): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(`${code}: ioctl ${request}`), { code, errno: -errno, syscall: 'ioctl' });
}
