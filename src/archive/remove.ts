/** Removing one backup: all of it or nothing, at whatever moment the machine stops. Who may be removed is not decided here. */

import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { judgeBackup } from './board-folder.ts';
import type { Disk } from './disk.ts';
import type { MarkStore } from './marks/store.ts';
import { trashName } from './owner.ts';

export interface RemovalParts {
  readonly root: string;
  readonly disk: Disk;
  readonly log: Logger;
  readonly marks: Pick<MarkStore, 'noteRemoval'>;
  readonly createdBy: string;
}

/**
 * The note that it was removed is on the disk first; then one rename takes its name away, and only what has no name is
 * deleted. What a crash leaves of that is removed by the next backup of the board.
 *
 * @param why in words, for `show`
 * @returns false where there is no such backup (any more)
 * Rejects with the system's error; a link, or a file in the place of a backup, is `ENOTDIR`.
 */
export async function removeBackup(parts: RemovalParts, mac: Mac, id: string, why: string): Promise<boolean> {
  const { root, disk, log, marks, createdBy } = parts;
  const boardFolder = join(root, macToFolder(mac));
  const path = join(boardFolder, id);
  const stats = await disk.lstat(path);
  if (stats === undefined) return false;
  if (!stats.isDirectory()) throw Object.assign(new Error(`${path} is no folder`), { code: 'ENOTDIR' });
  const sha256 = (await judgeBackup(disk, root, mac, id))?.backup?.manifest.image.sha256 ?? null;
  await marks.noteRemoval(mac, { id, sha256, why, createdBy });
  const trash = join(boardFolder, trashName());
  try {
    await disk.fs.rename(path, trash);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false; // another process was faster
    throw error;
  }
  await disk.syncFolder(boardFolder);
  try {
    await disk.fs.rm(trash, { recursive: true, force: true });
  } catch (error) {
    log.warn('what was removed still takes space', { path: trash, error: String(error) });
  }
  return true;
}
