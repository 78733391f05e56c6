/** Drafts that nobody will finish: found and removed when a new one for the same board begins. */

import { join } from 'node:path';
import type { Logger } from '../log.ts';
import type { Disk } from './disk.ts';
import { draftOwner, isTrashName, ownerState, probeProcess, trashName } from './owner.ts';
import type { Owner } from './owner.ts';
import { systemCode } from '../errors.ts';

/**
 * A draft whose maker cannot be seen from here (another machine, another container) counts as left behind when nothing
 * in it has changed for so long. A read of 128 MB at 115200 baud takes about 3 hours and writes all the time.
 */
const QUIET_MS = 24 * 60 * 60 * 1000;

/**
 * Removes what dead processes left in a board's folder. A failure is logged and never in the way of a backup.
 *
 * Each draft is first renamed: should its maker be alive after all, its commit then finds nothing to rename and fails,
 * and a folder that is half removed can never become a backup.
 *
 * @param nowMs the time as the file system stamps it, so that no other clock matters
 */
export async function clearLeftovers(
  parts: { disk: Disk; log: Logger; owner: Owner },
  boardFolder: string,
  nowMs: number,
): Promise<void> {
  const { disk, log, owner } = parts;
  const names = await disk.fs.readdir(boardFolder);
  for (const name of names) {
    try {
      const maker = draftOwner(name);
      if (maker !== undefined) {
        const state = await ownerState(maker, owner, probeProcess);
        if (state === 'alive') continue;
        if (state === 'unknown' && nowMs - (await lastChangeMs(disk, join(boardFolder, name))) < QUIET_MS) continue;
        const trash = join(boardFolder, trashName());
        await disk.fs.rename(join(boardFolder, name), trash);
        await disk.fs.rm(trash, { recursive: true, force: true });
        log.info('removed a draft that was left behind', { path: join(boardFolder, name) });
      } else if (isTrashName(name)) {
        await disk.fs.rm(join(boardFolder, name), { recursive: true, force: true });
      }
    } catch (error) {
      if (systemCode(error) === 'ENOENT') continue; // another process clears as well
      log.warn('a draft that was left behind cannot be removed', {
        path: join(boardFolder, name),
        error: String(error),
      });
    }
  }
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
