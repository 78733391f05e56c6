/** Which program has a serial port open: asked before the port is touched, since opening it would disturb that program. */

import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';

/** Open files looked at before the event loop turns: well below a millisecond. */
const SLICE_LENGTH = 100;

/** A program that holds a port. */
export interface PortHolder {
  readonly pid: number;
  /** Name of the program, printable; empty where the system does not tell. */
  readonly name: string;
}

/** `minicom (pid 4711)`. */
export function describeHolder(holder: PortHolder): string {
  return holder.name === '' ? `pid ${holder.pid}` : `${holder.name} (pid ${holder.pid})`;
}

/**
 * The program that has the device open or locked, this one included; undefined when none is found. Finds what the
 * system lets us see: open files of our own user's processes (all of them as root), flock locks of everybody.
 *
 * @param devicePath the device itself, all links resolved
 * @param procFolder `/proc`, or what stands for it in a test; a missing one finds nothing
 */
export async function findHolder(devicePath: string, procFolder: string): Promise<PortHolder | undefined> {
  const pid = (await lockOwner(devicePath, procFolder)) ?? (await openFileOwner(devicePath, procFolder));
  return pid === undefined ? undefined : { pid, name: await programName(pid, procFolder) };
}

/** Name of a running program (proc(5): /proc/pid/comm), made printable; empty when it is not known. */
export async function programName(pid: number, procFolder: string): Promise<string> {
  const comm = await readFile(`${procFolder}/${pid}/comm`, 'latin1').catch(() => '');
  return comm.trim().replace(/[^\x20-\x7e]/g, '?');
}

/** The two halves of `st_dev` or `st_rdev` (Linux: new_encode_dev() in include/linux/kdev_t.h). */
export function deviceNumber(dev: number): { major: number; minor: number } {
  return { major: (dev >>> 8) & 0xfff, minor: (dev & 0xff) | ((dev >>> 12) & 0xfff00) };
}

/** Owner of a flock on the device's inode (proc(5): /proc/locks, `1: FLOCK ADVISORY WRITE pid major:minor:inode ..`). */
async function lockOwner(devicePath: string, procFolder: string): Promise<number | undefined> {
  const locks = await readFile(`${procFolder}/locks`, 'latin1').catch(() => '');
  if (!locks.includes('FLOCK')) return undefined;
  const facts = await stat(devicePath).catch(() => undefined);
  if (facts === undefined) return undefined;
  const { dev, ino } = facts;
  const { major, minor } = deviceNumber(dev);
  const hex = (value: number) => value.toString(16).padStart(2, '0');
  const inode = `${hex(major)}:${hex(minor)}:${ino}`;
  for (const line of locks.split('\n')) {
    const [, kind, , , pid, where] = line.trim().split(/\s+/);
    // A pid of 0 or less is one of another pid namespace.
    if (kind === 'FLOCK' && where === inode && Number(pid) > 0) return Number(pid);
  }
  return undefined;
}

/**
 * A process with an open file descriptor on the device. The calls are synchronous, in slices between which the event
 * loop turns: /proc never waits for a disk, and through the thread pool the same takes ten times as long.
 */
async function openFileOwner(devicePath: string, procFolder: string): Promise<number | undefined> {
  let looked = 0;
  for (const pid of namesIn(procFolder)) {
    if (!/^\d+$/.test(pid)) continue;
    const folder = `${procFolder}/${pid}/fd`;
    for (const descriptor of namesIn(folder)) {
      const isOpen = linkText(`${folder}/${descriptor}`) === devicePath;
      if (isOpen && !holdsMaster(devicePath, `${procFolder}/${pid}`)) return Number(pid);
      looked += 1;
      if (looked % SLICE_LENGTH === 0) await setImmediate();
    }
  }
  return undefined;
}

/**
 * Whether a process has the other end of a pty. It made the pty and is the device, not another user of it: emulators
 * and the like keep the slave open so that it does not hang up between two sessions.
 * (proc(5): `tty-index` in /proc/pid/fdinfo, Linux 4.11 and later.)
 */
function holdsMaster(devicePath: string, processFolder: string): boolean {
  const index = /^\/dev\/pts\/(\d+)$/.exec(devicePath)?.[1];
  if (index === undefined) return false;
  return namesIn(`${processFolder}/fd`).some((descriptor) => {
    if (!linkText(`${processFolder}/fd/${descriptor}`).endsWith('/ptmx')) return false;
    return new RegExp(`^tty-index:\\s*${index}$`, 'm').test(textOf(`${processFolder}/fdinfo/${descriptor}`));
  });
}

/** Processes come and go meanwhile, and not all may be looked into: a fault means "nothing here". */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function linkText(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
