/** Whether nobody will finish what the name of a draft's maker stands in. */

import { basename, join } from 'node:path';
import type { Disk } from './disk.ts';
import { type Owner, draftOwner, ownerState, probeProcess } from './owner.ts';

/**
 * A draft whose maker cannot be seen from here (another machine, another container) counts as left behind when nothing
 * in it has changed for so long. A read of 128 MB at 115200 baud takes about 3 hours and writes all the time.
 */
const QUIET_MS = 24 * 60 * 60 * 1000;

/**
 * Whether nobody will finish a draft. Rejects with the system's error.
 * @param nowMs the time as the file system stamps it, so that no other clock matters
 * @param draft the name that tells its maker
 */
export async function isAbandoned(
  disk: Disk,
  self: Owner,
  path: string,
  nowMs: number,
  draft = basename(path),
): Promise<boolean> {
  const maker = draftOwner(draft);
  if (maker === undefined) return false;
  const state = await ownerState(maker, self, probeProcess);
  if (state !== 'unknown') return state === 'gone';
  return nowMs - (await lastChangeMs(disk, path)) >= QUIET_MS;
}

async function lastChangeMs(disk: Disk, path: string): Promise<number> {
  const stats = await disk.fs.lstat(path);
  let newest = stats.mtimeMs;
  if (stats.isDirectory()) {
    for (const name of await disk.fs.readdir(path)) {
      newest = Math.max(newest, (await disk.fs.lstat(join(path, name))).mtimeMs);
    }
  }
  return newest;
}
