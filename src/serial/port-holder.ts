/** Which program has a serial port open: asked before the port is touched, since opening it would disturb that program. */

import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

/** Open files looked at before the event loop turns: well below a millisecond. */
const SLICE_LENGTH = 100;

/** A program that holds a port. */
export interface PortHolder {
  readonly pid: number;
  /** Name of the program, printable; empty where the system does not tell. {@link ESPD} for espd itself. */
  readonly name: string;
}

export const ESPD = 'espd';
/** Programs that run others: the script is the name that a person knows. */
const INTERPRETER = /^(?:node|nodejs|MainThread|bun|deno|python[\d.]*|pypy[\d.]*|perl|ruby|bash|dash|sh)$/;

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

/**
 * Name of a running program (proc(5): /proc/pid/comm), of an interpreter that of its script (/proc/pid/cmdline), made
 * printable; empty when it is not known.
 */
export async function programName(pid: number, procFolder: string): Promise<string> {
  const comm = ascii(await readFile(`${procFolder}/${pid}/comm`, 'latin1').catch(() => ''));
  if (!INTERPRETER.test(comm)) return comm;
  const [, ...words] = (await readFile(`${procFolder}/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  const script = scriptOf(words);
  if (script === undefined) return comm;
  return (await isOurs(script, `${procFolder}/${pid}/cwd`)) ? ESPD : ascii(basename(script));
}

/** The script among the arguments of an interpreter, or python's module; undefined for code on the command line. */
function scriptOf(words: readonly string[]): string | undefined {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '-c' || word === '-e' || word === '--eval') return undefined;
    if (word === '-m') return words[at + 1];
    if (TAKES_VALUE.has(word)) at++;
    else if (word !== '' && !word.startsWith('-')) return word;
  }
  return undefined;
}

/** Options of interpreters (node(1), python(1)) whose value is the word behind them. */
const TAKES_VALUE = new Set(['--import', '--require', '-r', '--loader', '-W', '-X']);

/** Whether a script is the one that this process runs, or an espd of another installation by its name. */
async function isOurs(script: string, workingFolder: string): Promise<boolean> {
  if (basename(script) === ESPD) return true;
  const own = await realpath(process.argv[1] ?? '').catch(() => undefined);
  const folder = isAbsolute(script) ? '' : await realpath(workingFolder).catch(() => '');
  const path = join(folder, script);
  const real = await realpath(path).catch(() => path);
  return real === own || /\/espd\/(?:dist\/main\.js|src\/main\.ts)$/.test(real);
}

function ascii(text: string): string {
  return text.trim().replace(/[^\x20-\x7e]/g, '?');
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
