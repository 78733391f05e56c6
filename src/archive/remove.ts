/**
 * Removing one backup: all of it or nothing under its name, at whatever moment the machine stops. Which may be removed is
 * decided in prune.ts.
 *
 * It goes in two steps, so that whoever takes an interest in it at the same moment is heard: first its name is taken away;
 * then the marks are read once more; and only then it is deleted, or else gets its name back. Whoever marks a backup (a
 * pin, the record of a restore) does it the other way round: first the mark, then a look whether the backup is there. So
 * at least one of the two sees the other.
 */

import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { judgeBackup } from './board-folder.ts';
import type { Disk } from './disk.ts';
import { returnHolding } from './holding.ts';
import { isAbandoned } from './abandoned.ts';
import type { MarkStore } from './marks/store.ts';
import { draftName, draftOwner, isTrashName, trashName } from './owner.ts';
import type { Owner } from './owner.ts';

export interface RemovalParts {
  readonly root: string;
  readonly disk: Disk;
  readonly log: Logger;
  readonly marks: Pick<MarkStore, 'noteRemoval' | 'of'>;
  readonly createdBy: string;
  readonly self: () => Promise<Owner>;
}

/** A backup without its name. Nobody else touches it while this process lives: it is a draft of this one. */
export interface Holding {
  readonly mac: Mac;
  readonly id: string;
  readonly path: string;
}

/**
 * Notes that a backup is removed, and takes its name away; the caller then fsyncs the board's folder.
 * @param why in words, for `show`; null: it is no removal, and nothing is noted
 * @returns undefined where there is no such backup (any more)
 * Rejects with the system's error; a link, or a file in the place of a backup, is `ENOTDIR`.
 */
export async function takeAway(
  parts: RemovalParts,
  mac: Mac,
  id: string,
  why: string | null,
): Promise<Holding | undefined> {
  const { root, disk, marks, createdBy } = parts;
  const boardFolder = join(root, macToFolder(mac));
  const path = join(boardFolder, id);
  const stats = await disk.lstat(path);
  if (stats === undefined) return undefined;
  if (!stats.isDirectory()) throw Object.assign(new Error(`${path} is no folder`), { code: 'ENOTDIR' });
  if (why !== null) {
    const sha256 = (await judgeBackup(disk, root, mac, id))?.backup?.manifest.image.sha256 ?? null;
    await marks.noteRemoval(mac, { id, sha256, why, createdBy });
  }
  const holding = join(boardFolder, draftName(await parts.self()));
  try {
    await disk.fs.rename(path, holding);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined; // another process was faster
    throw error;
  }
  return { mac, id, path: holding };
}

/** The backup is there again, under its name. False where something else has that name. */
export async function putBack({ root, disk }: RemovalParts, { mac, id, path }: Holding): Promise<boolean> {
  const boardFolder = join(root, macToFolder(mac));
  const isBack = await disk.renameToNew(path, join(boardFolder, id));
  await disk.syncFolder(boardFolder);
  return isBack;
}

/** For good. What cannot be deleted now is by whoever finds it as trash. False where it still is a draft of this process. */
export async function destroy({ root, disk, log }: RemovalParts, { mac, path }: Holding): Promise<boolean> {
  const trash = join(root, macToFolder(mac), trashName());
  let isTrash = false;
  try {
    await disk.fs.rename(path, trash);
    isTrash = true;
    await disk.fs.rm(trash, { recursive: true, force: true });
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return true; // somebody clears as well
    log.warn('what was removed still takes space', { path: isTrash ? trash : path, error: String(error) });
    return isTrash;
  }
}

/**
 * Clears what a crash has left of removals: trash goes, and a backup that had lost its name, of which nothing was deleted
 * yet, gets it back. Whoever marked it before knows nothing of the crash, so it is decided anew. A failure is logged.
 *
 * @param nowMs milliseconds since 1970
 */
export async function finishRemovals(parts: RemovalParts, mac: Mac, nowMs: number): Promise<void> {
  const { root, disk, log } = parts;
  const boardFolder = join(root, macToFolder(mac));
  try {
    const names = await disk.fs.readdir(boardFolder);
    for (const name of names.filter(isTrashName)) {
      await disk.fs.rm(join(boardFolder, name), { recursive: true, force: true });
    }
    for (const name of names.filter((each) => draftOwner(each) !== undefined)) {
      if (!(await isAbandoned(disk, await parts.self(), join(boardFolder, name), nowMs))) continue;
      await returnHolding(parts, boardFolder, name);
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    log.warn('what an earlier removal has left cannot be removed', { path: boardFolder, error: String(error) });
  }
}
