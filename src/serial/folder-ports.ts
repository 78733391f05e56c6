/**
 * Ports that people put into a watched folder: terminals, links to terminals (`socat PTY,link=...`), and links whose
 * text is a network address (`ln -s rfc2217://ser2net:4000 kitchen`), which lead nowhere and plug in a remote port.
 */

import type { BigIntStats } from 'node:fs';
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode, toEspdError } from '../errors.ts';
import { printable } from '../printable.ts';
import { parseAddress } from './address.ts';
import { serialTtyName, type SystemRoots } from './sysfs.ts';

const UNPRINTABLE_NAME = /\p{C}/u;

export interface FolderPort {
  /** The entry in the folder. */
  readonly path: string;
  /** Two entries with the same target are the same port: the network address or the path of the terminal itself. */
  readonly target: string;
  /** The kernel's name of the terminal; undefined for a network address. */
  readonly ttyName: string | undefined;
  /** Changes when the entry or the terminal is made anew. */
  readonly identity: string;
}

/** What a folder holds: its ports, sorted by name, and what a person most likely put there by mistake. */
export interface FolderContent {
  readonly ports: readonly FolderPort[];
  /** One sentence each, ready to be printed; the same mistake gives the same sentence. */
  readonly mistakes: readonly string[];
}

/** A folder is for some dozens of boards; whoever names `/usr/bin` by mistake must not slow the daemon down. */
const MAX_ENTRIES = 512;
/** Mistakes that are told of one folder; a folder full of other things is one mistake. */
const MAX_MISTAKES = 8;

/** The reason why an entry is no port: it is told. */
class Mistake extends Error {}

/**
 * The ports in `folder`. Hidden files and links to what is not there (a board that is unplugged) are passed over in
 * silence, everything else that is no port is a mistake, and so is a folder that is none.
 * Rejects with the system's error when the folder may not be read.
 */
export async function listFolder(roots: SystemRoots, folder: string): Promise<FolderContent> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return { ports: [], mistakes: [`The watched folder ${folder} does not exist`] };
    if (code === 'ENOTDIR') return { ports: [], mistakes: [`The watched folder ${folder} is not a folder`] };
    throw error;
  }
  const visible = names.filter((name) => !name.startsWith('.')).sort();
  const mistakes: string[] = [];
  if (visible.length > MAX_ENTRIES) {
    mistakes.push(`The watched folder ${folder} has more than ${MAX_ENTRIES} entries: the rest is not looked at`);
  }
  const ports: FolderPort[] = [];
  const entries = visible.slice(0, MAX_ENTRIES).map((name) => portAt(roots, join(folder, name)));
  for (const found of await Promise.all(entries)) {
    if (typeof found === 'string') mistakes.push(found);
    else if (found !== undefined) ports.push(found);
  }
  const rest = mistakes.length - MAX_MISTAKES;
  if (rest > 0) mistakes.splice(MAX_MISTAKES, Infinity, `The watched folder ${folder} holds ${rest} more such entries`);
  return { ports, mistakes };
}

/** The port, or why there is none, or undefined where nothing needs to be said. */
async function portAt(roots: SystemRoots, path: string): Promise<FolderPort | string | undefined> {
  try {
    if (UNPRINTABLE_NAME.test(path)) throw new Mistake('has a name with control characters');
    const entry = await lstat(path, { bigint: true });
    if (!entry.isSymbolicLink()) return await terminal(roots, path, entry, `${entry.ino}`);
    // A link's own time of change is when it was made; its inode alone is reused at once by many filesystems.
    const identity = `${entry.ino}.${entry.mtimeNs}`;
    const text = await readlink(path);
    if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return networkPort(path, text, identity);
    const target = await stat(path, { bigint: true });
    return await terminal(roots, path, target, `${identity}.${target.ino}`);
  } catch (error) {
    if (error instanceof Mistake) return printable(`${path} in a watched folder ${error.message}`);
    // Gone in the meantime, a link to a device that is not plugged in, or one behind a folder without access: no port.
    return undefined;
  }
}

function networkPort(path: string, text: string, identity: string): FolderPort {
  if (/[\p{C}\p{Z}]/u.test(text)) throw new Mistake('is a link to an address with blanks or control characters');
  try {
    parseAddress(text);
  } catch (error) {
    throw new Mistake(`is a link that leads nowhere: ${toEspdError(error).message}`);
  }
  return { path, target: text, ttyName: undefined, identity };
}

async function terminal(roots: SystemRoots, path: string, device: BigIntStats, identity: string): Promise<FolderPort> {
  // Only terminals: opening another device can do harm (closing /dev/watchdog reboots the machine).
  if (!device.isCharacterDevice()) throw new Mistake('is no serial port');
  const target = await realpath(path);
  const ttyName = process.platform === 'linux' ? await serialTtyName(roots, device.rdev) : bsdTtyName(target);
  if (ttyName === undefined) throw new Mistake('is a device, but no serial port');
  return { path, target, ttyName, identity };
}

/** macOS and the BSDs have no sysfs; there serial ports are `tty.*` and `cu.*`, pseudo terminals `ttys003`. */
function bsdTtyName(path: string): string | undefined {
  return /\/((?:tty|cu)\.[^/]+|ttys\d+)$/.exec(path)?.[1];
}
