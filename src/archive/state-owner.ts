/**
 * What root writes into the archive or the state folder of a service belongs to the service: `sudo espd backup` while the
 * daemon is stopped must not leave files there that the daemon cannot read. Links are never followed: the service's user could make some.
 * A file system that knows no owners is none the worse for it, so nothing here rejects but for a folder that cannot be made.
 */

import type { Stats } from 'node:fs';
import { lchown, lstat, mkdir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A file or folder, by its path or open. */
interface Made {
  stat(): Promise<Stats>;
  chown(uid: number, gid: number): Promise<void>;
}

const isRoot = () => process.getuid?.() === 0;

/** As `mkdir -p`, closed to others. Rejects with the system's error. */
export async function makeStateFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  const made: string[] = [];
  for (let path = folder; path !== dirname(first); path = dirname(path)) made.unshift(path);
  for (const path of made) await giveToOwner(path);
}

/** What was just made gets the owner of the folder in which it lies. */
export function giveToOwner(path: string): Promise<void> {
  return give(path, { stat: () => lstat(path), chown: (uid, gid) => lchown(path, uid, gid) });
}

/** The same for a file that is open: by whatever name it is found now, no other one is given away. */
export function giveFileToOwner(handle: Made, path: string): Promise<void> {
  return give(path, handle);
}

/** Only what is root's, and a file only if it has no other name: what else that name has led to would go with it. */
async function give(path: string, made: Made): Promise<void> {
  if (!isRoot()) return;
  try {
    const { uid, gid } = await lstat(dirname(path));
    if (uid === 0) return;
    const stats = await made.stat();
    if (stats.uid === 0 && (stats.isDirectory() || stats.nlink === 1)) await made.chown(uid, gid);
  } catch {
    // Root's, as it was made.
  }
}

/** The folders on the way from `folder` along `names`, and all that is in the last of them. */
export async function giveAllToOwner(folder: string, ...names: readonly string[]): Promise<void> {
  if (!isRoot()) return;
  let path = folder;
  for (const name of names) await giveToOwner((path = join(path, name)));
  for (const name of await readdir(path).catch(() => [])) await giveToOwner(join(path, name));
}
