/** Drafts that nobody will finish: found when a new one for the same board begins, and removed or set aside. */

import { join } from 'node:path';
import type { Logger } from '../log.ts';
import { isAbandoned } from './abandoned.ts';
import type { Disk } from './disk.ts';
import { returnHolding } from './holding.ts';
import { draftOwner, isTrashName, trashName } from './owner.ts';
import type { Owner } from './owner.ts';
import { turnIntoPartial } from './partials.ts';
import { systemCode } from '../errors.ts';

/**
 * Clears a folder of what dead processes left in it; a backup that one was about to remove gets its name back. A failure is logged and never in the way of a backup.
 *
 * Each draft is first renamed: should its maker be alive after all, its commit then finds nothing to rename and fails,
 * and a folder that is half removed can never become a backup.
 *
 * @param nowMs the time as the file system stamps it, so that no other clock matters
 * @param keepBytes a draft of an image of this size becomes a partial instead
 */
export async function clearLeftovers(
  parts: { disk: Disk; log: Logger; owner: Owner },
  folder: string,
  nowMs: number,
  keepBytes?: number,
): Promise<void> {
  const { disk, log, owner } = parts;
  const names = await disk.fs.readdir(folder);
  for (const name of names) {
    try {
      if (draftOwner(name) !== undefined) {
        if (!(await isAbandoned(disk, owner, join(folder, name), nowMs))) continue;
        if (await returnHolding(parts, folder, name)) continue;
        if (keepBytes !== undefined && (await turnIntoPartial(parts, folder, join(folder, name), keepBytes))) {
          log.info('a backup was broken off: its bytes are kept for the next one', { path: join(folder, name) });
          continue;
        }
        const trash = join(folder, trashName());
        await disk.fs.rename(join(folder, name), trash);
        await disk.fs.rm(trash, { recursive: true, force: true });
        log.info('removed a draft that was left behind', { path: join(folder, name) });
      } else if (isTrashName(name)) {
        await disk.fs.rm(join(folder, name), { recursive: true, force: true });
      }
    } catch (error) {
      if (systemCode(error) === 'ENOENT') continue; // another process clears as well
      log.warn('a draft that was left behind cannot be removed', {
        path: join(folder, name),
        error: String(error),
      });
    }
  }
}
