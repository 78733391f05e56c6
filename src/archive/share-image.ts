/**
 * The image of a new backup shares blocks with an earlier one of the board, where the file system lets files do so
 * (reflinks: btrfs, XFS). Nothing depends on it: the draft's own image stays until a clone is proven equal.
 *
 * Node's `COPYFILE_FICLONE_FORCE` is the ioctl FICLONE on Linux and clonefile(2) on macOS (libuv, src/unix/fs.c,
 * uv__fs_copyfile). Errors where files cannot share blocks: ioctl_ficlonerange(2).
 */

import { constants } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemCode } from '../errors.ts';
import { BLOCK_BYTES, SECTOR_BYTES } from '../flash.ts';
import type { Mac } from '../mac.ts';
import { judgeBackup, listBoard } from './board-folder.ts';
import type { ImageDigests } from './digest.ts';
import { readFully, writeAll } from './disk.ts';
import { type SpaceAsker, hasRoomFor } from './free-space.ts';
import { fromFailure } from './hash-stored.ts';
import type { ImageHasher } from './hasher.ts';
import { PLAIN_IMAGE, openStoredImage } from './image.ts';
import type { Logger } from '../log.ts';
import { draftName } from './owner.ts';
import type { Backup } from './types.ts';

/** So many of the newest backups are looked at for one whose image can be shared. */
const MAX_TRIES = 3;
/** The file system has no clones, or not between these two places. It will say the same next time. */
const REFUSALS = ['ENOTSUP', 'EOPNOTSUPP', 'EXDEV', 'EINVAL', 'ENOTTY', 'ENOSYS'];

export type SharingParts = SpaceAsker & { readonly hasher: ImageHasher; readonly log: Logger };

export interface SharedDraft {
  readonly mac: Mac;
  /** The draft's folder. */
  readonly path: string;
  /** Its `flash.bin`, complete. */
  readonly handle: FileHandle;
  readonly digests: ImageDigests;
  /** Ends the hashing. */
  readonly signal: AbortSignal;
}

/** One for each archive: remembers that its file system refuses, so that later backups do not ask. */
export class ImageSharer {
  #isRefused = false;

  /**
   * Puts in the place of the draft's `flash.bin` one with the same content, fsynced, that shares blocks with an earlier
   * backup. False: the draft's own is still there, as it was, not fsynced. Never rejects.
   *
   * The clone is made beside the draft's folder, under a name of a draft: if it can neither be used nor removed, it is
   * in no backup, and a later `begin` clears it.
   */
  async share(parts: SharingParts, draft: SharedDraft): Promise<boolean> {
    if (this.#isRefused) return false;
    const { disk, log, owner } = parts;
    const { mac, path } = draft;
    const clonePath = join(dirname(path), draftName(owner));
    let mayBeThere = false;
    try {
      const base = await findBase(parts, draft);
      if (base === undefined) return false;
      const changed = changedBlocks(base, draft.digests);
      // With more than half of it new, too little is saved for what it costs to read the image once more.
      if (changed.length * 2 > draft.digests.blocks.sha256.length) return false;
      // For this moment the disk holds the draft's image and what is new in the clone.
      if (!(await hasRoomFor(parts, path, changed.length * BLOCK_BYTES))) return false;
      const basePath = join(base.path, PLAIN_IMAGE);
      await (await openStoredImage(disk, basePath, draft.digests.sizeBytes, clonePath)).close(); // refuses links
      mayBeThere = true;
      await this.#clone(parts, basePath, clonePath);
      if (!(await fillClone(parts, clonePath, draft, changed))) {
        log.warn(
          'the image of an earlier backup is not what its manifest says: the new backup shares nothing with it',
          {
            ...{ mac, id: base.id },
            hint: 'espd verify tells which one is damaged',
          },
        );
        return false;
      }
      await disk.fs.rename(clonePath, join(path, PLAIN_IMAGE));
      mayBeThere = false;
      log.debug('the image shares blocks with an earlier one', { mac, id: base.id, newBlocks: changed.length });
      return true;
    } catch (error) {
      log.debug('the image shares no blocks with an earlier one', { mac, error: String(error) });
      return false;
    } finally {
      if (mayBeThere) {
        await disk.fs.rm(clonePath, { force: true }).catch((error: unknown) => {
          log.warn('a draft could not be removed', { path: clonePath, error: String(error) });
        });
      }
    }
  }

  async #clone({ disk, log }: SharingParts, from: string, to: string): Promise<void> {
    try {
      await disk.fs.copyFile(from, to, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    } catch (error) {
      if (REFUSALS.includes(systemCode(error) ?? '')) {
        this.#isRefused = true;
        log.debug('the file system of the archive lets no files share blocks', { error: String(error) });
      }
      throw error;
    }
  }
}

/** The newest backup with an image of that size that is not compressed. */
async function findBase({ disk, root }: SharingParts, { mac, digests }: SharedDraft): Promise<Backup | undefined> {
  const ids = (await listBoard(disk, root, mac))?.ids ?? [];
  for (const id of ids.slice(-MAX_TRIES).reverse()) {
    const backup = (await judgeBackup(disk, root, mac, id))?.backup;
    const image = backup?.manifest.image;
    if (image?.file === PLAIN_IMAGE && image.sizeBytes === digests.sizeBytes) return backup;
  }
  return undefined;
}

/** Numbers of the blocks that differ, by their digests. */
function changedBlocks({ manifest }: Backup, { blocks }: ImageDigests): number[] {
  return [...blocks.sha256.keys()].filter((index) => manifest.blocks.sha256[index] !== blocks.sha256[index]);
}

/** False: the clone is not equal to the draft's image, since the image that was cloned was not as its manifest says. */
async function fillClone(
  { disk, hasher }: SharingParts,
  clonePath: string,
  { handle, digests, signal }: SharedDraft,
  changed: readonly number[],
): Promise<boolean> {
  const clone = await disk.openClone(clonePath);
  try {
    await copyChanges(handle, clone, changed, digests.sizeBytes);
    await clone.sync();
    const { image } = await hasher.hash(clone, { sizeBytes: digests.sizeBytes, maxBytes: null, signal });
    if ('failure' in image) throw fromFailure(image.failure);
    return image.sha256 === digests.sha256 && image.sizeBytes === digests.sizeBytes;
  } finally {
    await clone.close();
  }
}

/**
 * Writes those sectors of the blocks that differ. What is written is shared no longer, in units of the file system's own
 * blocks: 4 KiB on btrfs and XFS as they are made by default, which is a sector of the flash.
 */
async function copyChanges(
  from: FileHandle,
  to: FileHandle,
  blocks: readonly number[],
  sizeBytes: number,
): Promise<void> {
  for (const index of blocks) {
    const start = index * BLOCK_BYTES;
    const wanted = Buffer.alloc(Math.min(BLOCK_BYTES, sizeBytes - start));
    const present = Buffer.alloc(wanted.length);
    await readFully(from, wanted, start);
    await readFully(to, present, start);
    for (let at = 0; at < wanted.length; at += SECTOR_BYTES) {
      const sector = wanted.subarray(at, at + SECTOR_BYTES);
      if (!sector.equals(present.subarray(at, at + SECTOR_BYTES))) await writeAll(to, sector, start + at);
    }
  }
}
