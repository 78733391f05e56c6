/**
 * Ports that people put into a watched folder: terminals, links to terminals (`socat PTY,link=...`), and links whose
 * text is a network address (`ln -s rfc2217://ser2net:4000 kitchen`), which lead nowhere and plug in a remote port.
 */

import type { BigIntStats } from 'node:fs';
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { looksLikeNetworkAddress, parseAddress } from './address.ts';
import { serialTtyName, type SystemRoots } from './sysfs.ts';

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

/** A folder is for some dozens of boards; whoever names `/usr/bin` by mistake must not slow the daemon down. */
const MAX_ENTRIES = 512;

/**
 * The ports in `folder`, sorted by name; none when it does not exist (yet). Everything else in it is passed over,
 * also hidden files. Rejects with the system's error when the folder may not be read.
 */
export async function listFolder(roots: SystemRoots, folder: string): Promise<FolderPort[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
  const usable = names.filter((name) => !name.startsWith('.') && !/\p{C}/u.test(name));
  const paths = usable
    .sort()
    .slice(0, MAX_ENTRIES)
    .map((name) => join(folder, name));
  const ports = await Promise.all(paths.map((path) => portAt(roots, path)));
  return ports.filter((port) => port !== undefined);
}

async function portAt(roots: SystemRoots, path: string): Promise<FolderPort | undefined> {
  try {
    const entry = await lstat(path, { bigint: true });
    if (!entry.isSymbolicLink()) return await terminal(roots, path, entry, `${entry.ino}`);
    // A link's own time of change is when it was made; its inode alone is reused at once by many filesystems.
    const identity = `${entry.ino}.${entry.mtimeNs}`;
    const text = await readlink(path);
    if (looksLikeNetworkAddress(text)) return networkPort(path, text, identity);
    const target = await stat(path, { bigint: true });
    return await terminal(roots, path, target, `${identity}.${target.ino}`);
  } catch {
    // Gone in the meantime, a link to nothing, or a folder without access: no port.
    return undefined;
  }
}

/** Throws for a malformed address. */
function networkPort(path: string, text: string, identity: string): FolderPort | undefined {
  if (/[\p{C}\p{Z}]/u.test(text)) return undefined;
  parseAddress(text);
  return { path, target: text, ttyName: undefined, identity };
}

async function terminal(
  roots: SystemRoots,
  path: string,
  device: BigIntStats,
  identity: string,
): Promise<FolderPort | undefined> {
  // Only terminals: opening another device can do harm (closing /dev/watchdog reboots the machine).
  if (!device.isCharacterDevice()) return undefined;
  const target = await realpath(path);
  const ttyName = process.platform === 'linux' ? await serialTtyName(roots, device.rdev) : bsdTtyName(target);
  return ttyName === undefined ? undefined : { path, target, ttyName, identity };
}

/** macOS and the BSDs have no sysfs; there serial ports are `tty.*` and `cu.*`, pseudo terminals `ttys003`. */
function bsdTtyName(path: string): string | undefined {
  return /\/((?:tty|cu)\.[^/]+|ttys\d+)$/.exec(path)?.[1];
}
