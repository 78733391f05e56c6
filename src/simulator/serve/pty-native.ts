/** The few calls of the C library that make a pseudo-terminal, through koffi; Linux only. */

import fs from 'node:fs';
import { EspdError } from '../../errors.ts';

/** Opens, in the calls below, without becoming anybody's controlling terminal and without ever blocking. */
const OPEN_FLAGS = fs.constants.O_RDWR | fs.constants.O_NOCTTY | fs.constants.O_NONBLOCK;

/** `fcntl` command of Linux, <fcntl.h>. Without close-on-exec a child process would keep a closed master alive. */
const F_DUPFD_CLOEXEC = 1030;
/** `tcsetattr` and `tcflush` arguments of Linux, <asm-generic/termbits.h>. */
const TCSANOW = 0;
const TCIFLUSH = 0;
const B115200 = 0o10002;
/** `struct termios` has 60 bytes in glibc and musl; the calls know its layout, not this file. */
const TERMIOS_BYTES = 128;
/** _IOR('T', 0x2A, struct termios2), <asm-generic/ioctls.h>: the rate as a plain number at offset 40. */
const TCGETS2 = 0x802c542a;
const TERMIOS2_BYTES = 44;
const TERMIOS2_OSPEED_OFFSET = 40;

export interface PtySystem {
  /**
   * A new pseudo-terminal: its slave is raw (nothing echoed or translated), at 115200 baud and closed, so that a read
   * of the master fails with EIO until somebody opens the slave.
   * @throws EspdError `port-failed`
   */
  open(): { masterFd: number; slavePath: string };
  /** Another descriptor of the same master. */
  duplicate(masterFd: number): number;
  /** The rate that the slave is set to, in baud; undefined where the system does not say. */
  baudRate(masterFd: number): number | undefined;
  /** Forgets what was sent to the slave and not read by anybody. */
  discardUnread(slavePath: string): void;
}

type CFunction = (...args: unknown[]) => number;

/** @throws EspdError `port-failed` where koffi or the calls are missing */
export async function loadPtySystem(): Promise<PtySystem> {
  const c = await bindLibc();

  const failed = (call: string, cause?: unknown) =>
    new EspdError('port-failed', `Cannot make a pseudo-terminal: ${call} failed`, { cause });
  const check = (call: string, result: number) => {
    if (result < 0) throw failed(call);
    return result;
  };
  const openMaster = () => {
    try {
      return fs.openSync('/dev/ptmx', OPEN_FLAGS);
    } catch (error) {
      throw failed('opening /dev/ptmx', error);
    }
  };
  const withSlave = (slavePath: string, work: (slaveFd: number) => void) => {
    const slaveFd = fs.openSync(slavePath, OPEN_FLAGS);
    try {
      work(slaveFd);
    } finally {
      fs.closeSync(slaveFd);
    }
  };
  const makeRaw = (slaveFd: number) => {
    const termios = Buffer.alloc(TERMIOS_BYTES);
    check('tcgetattr', c.tcgetattr(slaveFd, termios));
    c.cfmakeraw(termios);
    check('cfsetspeed', c.cfsetspeed(termios, B115200));
    check('tcsetattr', c.tcsetattr(slaveFd, TCSANOW, termios));
  };

  return {
    open() {
      const masterFd = openMaster();
      try {
        check('unlockpt', c.unlockpt(masterFd));
        const name = Buffer.alloc(128);
        if (c.ptsname_r(masterFd, name, name.length) !== 0) throw failed('ptsname_r');
        const slavePath = name.toString('latin1', 0, name.indexOf(0));
        withSlave(slavePath, makeRaw);
        return { masterFd, slavePath };
      } catch (error) {
        fs.closeSync(masterFd);
        throw error;
      }
    },
    duplicate: (masterFd) => check('fcntl', c.fcntl(masterFd, F_DUPFD_CLOEXEC, 'int', 0)),
    baudRate(masterFd) {
      const termios = Buffer.alloc(TERMIOS2_BYTES);
      if (c.ioctl(masterFd, TCGETS2, 'uint8_t *', termios) !== 0) return undefined;
      return termios.readUInt32LE(TERMIOS2_OSPEED_OFFSET);
    },
    discardUnread: (slavePath) => withSlave(slavePath, (slaveFd) => void c.tcflush(slaveFd, TCIFLUSH)),
  };
}

async function bindLibc() {
  try {
    const { default: koffi } = await import('koffi');
    const libc = koffi.load(null);
    const bind = (prototype: string) => libc.func(prototype) as CFunction;
    return {
      unlockpt: bind('int unlockpt(int fd)'),
      ptsname_r: bind('int ptsname_r(int fd, _Out_ uint8_t *name, size_t size)'),
      tcgetattr: bind('int tcgetattr(int fd, _Inout_ uint8_t *termios)'),
      tcsetattr: bind('int tcsetattr(int fd, int actions, _In_ uint8_t *termios)'),
      cfmakeraw: bind('void cfmakeraw(_Inout_ uint8_t *termios)'),
      cfsetspeed: bind('int cfsetspeed(_Inout_ uint8_t *termios, unsigned int speed)'),
      tcflush: bind('int tcflush(int fd, int queue)'),
      fcntl: bind('int fcntl(int fd, int command, ...)'),
      ioctl: bind('int ioctl(int fd, unsigned long request, ...)'),
    };
  } catch (cause) {
    throw new EspdError('port-failed', 'Pseudo-terminals cannot be made on this system', {
      hint: 'Serve the simulated board over TCP or RFC 2217 instead',
      cause,
    });
  }
}
