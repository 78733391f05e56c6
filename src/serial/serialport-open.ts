/** Opening a device path so that no other program is disturbed and the board on it keeps running. */

import { constants } from 'node:fs';
import { access, readlink, realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { withTimeout } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';
import type { Link } from './link.ts';
import { type LinkOptions, unlessAborted } from './link-common.ts';
import { loadLinuxTty } from './linux-tty.ts';
import { heldBy, type LockPaths, lockPort, portBusy, SYSTEM_LOCK_PATHS } from './lock.ts';
import { deviceNumber, findHolder } from './port-holder.ts';
import { type BindingPort, SerialPortLink } from './serialport-link.ts';

export interface SerialPortOptions extends LinkOptions {
  /**
   * Leaves DTR and RTS as the system's open makes them (both asserted) instead of releasing both.
   * @default false
   */
  readonly keepControlLines?: boolean;
  /** @default SYSTEM_LOCK_PATHS */
  readonly lockPaths?: LockPaths;
}

/** A USB device that does not answer its driver holds `open` for 5 s or more. */
const OPEN_TIMEOUT_MS = 10_000;

/**
 * Opens `path` (a device or a link to one) with 8N1 and no flow control, exclusively: UUCP lock file, flock, TIOCEXCL.
 *
 * The kernel raises DTR and RTS at every open. Both asserted moves neither EN nor GPIO0 of the usual two-transistor
 * circuit; both are then released in one step, which moves neither of them as well and lets the board run, also one
 * that is wired without transistors. Released one after the other, the step between would be a reset.
 *
 * @param address what the link and its errors call the port
 * @throws EspdError `port-missing`, `port-denied`, `port-busy` (naming the program), `port-failed`; the signal's reason
 */
export async function openSerialPort(address: string, path: string, options: SerialPortOptions): Promise<Link> {
  const { clock, log, signal } = options;
  signal?.throwIfAborted();
  const device = process.platform === 'win32' ? path : await checkDevice(address, path);
  const lockPaths = options.lockPaths ?? SYSTEM_LOCK_PATHS;
  const lock = await lockPort(device, lockPaths, log);
  try {
    signal?.throwIfAborted();
    const tty = await loadLinuxTty(log);
    const { SerialPort: port } = await import('serialport');
    // HUPCL stays on: when the last program closes the port, even one that was killed in the middle of a reset, the
    // kernel releases both lines in one step, so no board is left in reset or download mode. (The binding could
    // only set the flag anyway: `hupcl: false` does not clear it.)
    const opening: Promise<BindingPort> = port.binding.open({
      path: device,
      baudRate: options.baudRate,
      lock: true,
      hupcl: true,
    });
    const discard = (late: BindingPort) => void late.close().catch(() => undefined);
    let abandoned = false;
    opening.then(
      (late) => abandoned && discard(late),
      () => undefined,
    );
    const limited = withTimeout(clock, OPEN_TIMEOUT_MS, opening, () => {
      abandoned = true;
      return new EspdError('port-failed', `${address} does not open: its driver does not answer`, {
        hint: 'Unplug the device and plug it in again',
      });
    });
    const binding = await unlessAborted(signal, limited, discard);
    const link = new SerialPortLink(address, binding, tty, lock, options);
    try {
      await unlessAborted(signal, link.prepare(options.keepControlLines ?? false), () => undefined);
    } catch (error) {
      await link.close();
      throw error;
    }
    return link;
  } catch (error) {
    await lock.release();
    if (error instanceof EspdError || signal?.aborted) throw error;
    throw await openError(address, device, lockPaths, error);
  }
}

/** The device behind `path`, all links resolved; throws for what cannot be a serial port. */
async function checkDevice(address: string, path: string): Promise<string> {
  try {
    const device = await realpath(path);
    const facts = await stat(device);
    if (facts.isDirectory()) throw notAPort(address, 'a folder');
    if (facts.isFile()) throw notAPort(address, 'a file');
    if (!facts.isCharacterDevice() || (await isForeignClass(facts.rdev))) throw notAPort(address, 'no terminal device');
    await access(device, constants.R_OK | constants.W_OK);
    return device;
  } catch (error) {
    if (error instanceof EspdError) throw error;
    throw systemError(address, systemCode(error) ?? '', error);
  }
}

/** Whether sysfs knows the character device and says that it is none of the tty class (it does not list ptys). */
async function isForeignClass(rdev: number): Promise<boolean> {
  const { major, minor } = deviceNumber(rdev);
  const subsystem = await readlink(`/sys/dev/char/${major}:${minor}/subsystem`).catch(() => undefined);
  return subsystem !== undefined && basename(subsystem) !== 'tty';
}

/**
 * serialport's binding puts strerror() of the fault into the message and no code beside it
 * (bindings-cpp, src/serialport_unix.cpp).
 */
const MESSAGES: readonly (readonly [RegExp, string])[] = [
  [/no such (?:file|device)|file not found/i, 'ENOENT'],
  [/permission denied|access denied|operation not permitted/i, 'EACCES'],
  [/resource temporarily unavailable|cannot lock|resource busy/i, 'EBUSY'],
  [/inappropriate ioctl/i, 'ENOTTY'],
];

async function openError(address: string, device: string, paths: LockPaths, error: unknown): Promise<EspdError> {
  const message = error instanceof Error ? error.message : String(error);
  const code = MESSAGES.find(([pattern]) => pattern.test(message))?.[1] ?? '';
  if (code !== 'EBUSY') return systemError(address, code, error);
  const holder = await findHolder(device, paths.procFolder).catch(() => undefined);
  return holder === undefined ? portBusy(address, 'another program') : heldBy(address, holder);
}

function systemError(address: string, code: string, cause: unknown): EspdError {
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENXIO':
    case 'ENODEV':
      return new EspdError('port-missing', `${address} does not exist`, {
        cause,
        hint: 'Is the board plugged in? "espd identify" without --port looks at all ports',
      });
    case 'EACCES':
    case 'EPERM':
      return new EspdError('port-denied', `No permission to open ${address}`, {
        cause,
        hint: 'Add yourself to the group of the port (sudo usermod -aG dialout $USER, then log in again) or install the udev rules',
      });
    case 'ENOTTY':
      return notAPort(address, 'no terminal device');
    default: {
      const message = cause instanceof Error ? cause.message.replace(/^Error:?\s*/, '') : String(cause);
      return new EspdError('port-failed', `${address} cannot be opened: ${message}`, { cause });
    }
  }
}

function notAPort(address: string, what: string): EspdError {
  return new EspdError('port-failed', `${address} is ${what}, not a serial port`, {
    hint: 'Serial ports are called /dev/ttyUSB0, /dev/ttyACM0 or /dev/serial/by-id/...',
  });
}
