/** What boards take on the disk: asked of the file system, file by file. Modifies nothing and follows no link. */

import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { forEachAtOnce } from './at-once.ts';
import { readFault } from './disk-faults.ts';
import type { Disk } from './disk.ts';
import { MANIFEST } from './folder.ts';
import { bytesOnDisk, keptFree } from './free-space.ts';
import { isBackupId } from './ids.ts';
import { PLAIN_IMAGE } from './image.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from './manifest.ts';
import { isUnfinishedName } from './owner.ts';
import { toProblem } from './problems.ts';
import type { ArchiveProblem } from './reported.ts';
import { type Extent, savedBytes } from './shared-bytes.ts';
import type { ArchiveSizer, ArchiveSizes, BoardSize, SizeOptions } from './size-types.ts';

/** Boards looked at in one go. */
const AT_ONCE = 16;

/** Types that statfs(2) tells of file systems with FICLONE: BTRFS_SUPER_MAGIC of linux/magic.h, and XFS_SUPER_MAGIC. */
const SHARING_TYPES = [0x9123683e, 0x58465342];

export interface SizeParts {
  readonly root: string;
  readonly disk: Disk;
  /** See {@link keptFree}; undefined = 0. */
  readonly minFreeBytes: number | null | undefined;
}

/** Asks for sizes. */
export class Sizer implements ArchiveSizer {
  readonly #parts: SizeParts;

  constructor(parts: SizeParts) {
    this.#parts = parts;
  }

  async of(macs: readonly Mac[], { signal, onProgress }: SizeOptions = {}): Promise<ArchiveSizes> {
    const found: Measured[] = [];
    const disk = await this.#diskOf();
    const canShare = disk?.canShareBlocks === true;
    let done = 0;
    await forEachAtOnce(
      macs,
      AT_ONCE,
      async (mac, index) => {
        found[index] = await measure(this.#parts, mac, canShare, signal);
        onProgress?.(++done, macs.length);
      },
      signal,
    );
    const total = { imageBytes: 0, diskBytes: 0, otherBytes: 0 };
    const counted = new Set<string>();
    for (const { known, linked } of found) {
      total.imageBytes += known.imageBytes;
      total.diskBytes += known.diskBytes;
      total.otherBytes += known.otherBytes;
      for (const [inode, { bytes, isOther }] of linked) {
        if (counted.has(inode)) {
          total.diskBytes -= bytes;
          if (isOther) total.otherBytes -= bytes;
        }
        counted.add(inode);
      }
    }
    const boards = found.map(({ size }) => size);
    const isPartial = boards.some(({ imageBytes, diskBytes }) => imageBytes === null || diskBytes === null);
    return { boards, total, sharedBytes: canShare ? sharedBytes(found) : null, isPartial, disk };
  }

  async #diskOf(): Promise<ArchiveSizes['disk']> {
    const { root, disk, minFreeBytes } = this.#parts;
    try {
      const { bavail, bsize, blocks, type } = await disk.fs.statfs(root);
      if (blocks === 0) return null; // some network file systems tell nothing
      return {
        freeBytes: bavail * bsize,
        keptFreeBytes: keptFree(minFreeBytes === undefined ? 0 : minFreeBytes, blocks * bsize),
        canShareBlocks: SHARING_TYPES.includes(type),
      };
    } catch (error) {
      readFault(error); // throws what is no fault of the archive
      return null;
    }
  }
}

interface Measured {
  readonly size: BoardSize;
  readonly known: ArchiveSizes['total'];
  /** Files with more than one name, by device and inode. */
  readonly linked: ReadonlyMap<string, { bytes: number; isOther: boolean }>;
  /** What images share with others, by device and inode; null where that is not told. */
  readonly shared: ReadonlyMap<string, readonly Extent[] | null>;
}

async function measure(
  { root, disk }: SizeParts,
  mac: Mac,
  canShare: boolean,
  signal: AbortSignal | undefined,
): Promise<Measured> {
  const folder = macToFolder(mac);
  const problems: ArchiveProblem[] = [];
  const known = { imageBytes: 0, diskBytes: 0, otherBytes: 0 };
  const linked = new Map<string, { bytes: number; isOther: boolean }>();
  const shared = new Map<string, readonly Extent[] | null>();
  let [areFilesKnown, areImagesKnown] = [true, true];
  const backups = new Map<string, number>();
  const unknown = new Set<string>();
  /** Relative to the board's folder. */
  const open = [''];
  // Backups come before what is no backup, so that a file that both have counts as the backup's.
  for (let path = open.shift(); path !== undefined; path = open.shift()) {
    signal?.throwIfAborted();
    try {
      const stats = await disk.lstat(join(root, folder, path));
      if (stats === undefined) continue; // removed meanwhile, or a board that has no folder
      const [top = ''] = path.split('/');
      const isOther = isUnfinishedName(top);
      const bytes = bytesOnDisk(stats);
      if (!stats.isDirectory() && stats.nlink > 1) {
        const inode = `${stats.dev}:${stats.ino}`;
        if (linked.has(inode)) continue;
        linked.set(inode, { bytes, isOther });
      }
      known.diskBytes += bytes;
      if (isBackupId(top)) backups.set(top, (backups.get(top) ?? 0) + bytes);
      if (isOther) known.otherBytes += bytes;
      if (!stats.isDirectory()) continue;
      const names = await disk.fs.readdir(join(root, folder, path));
      const ordered = names.sort((a, b) => Number(isUnfinishedName(a)) - Number(isUnfinishedName(b)));
      for (const name of ordered) open.push(path === '' ? name : `${path}/${name}`);
      if (isBackupId(path)) {
        const imageBytes = await imageSize(disk, join(root, folder, path), names);
        if (imageBytes === null) areImagesKnown = false;
        known.imageBytes += imageBytes ?? 0;
        if (canShare && names.includes(PLAIN_IMAGE)) {
          const { inode, extents } = await extentsOf(disk, join(root, folder, path, PLAIN_IMAGE));
          shared.set(inode, extents);
        }
      }
    } catch (error) {
      if (systemCode(error) === 'ENOENT') continue;
      problems.push(toProblem(mac, null, join(folder, path), readFault(error)));
      areFilesKnown = false;
      unknown.add(path.split('/')[0] ?? '');
      if (path === '' || isBackupId(path)) areImagesKnown = false;
    }
  }
  const size = {
    ...{ mac, problems },
    backups: new Map([...backups].filter(([id]) => !unknown.has(id))),
    imageBytes: areImagesKnown ? known.imageBytes : null,
    diskBytes: areFilesKnown ? known.diskBytes : null,
    otherBytes: areFilesKnown ? known.otherBytes : null,
  };
  return { size, known, linked, shared };
}

/** By the path instead of the inode where the image cannot be opened: whoever reads it will say why. */
async function extentsOf(disk: Disk, path: string): Promise<{ inode: string; extents: readonly Extent[] | null }> {
  try {
    const { handle, stats } = await disk.openToRead(path);
    try {
      return { inode: `${stats.dev}:${stats.ino}`, extents: (await disk.fs.sharedExtents?.(handle.fd)) ?? null };
    } finally {
      await handle.close();
    }
  } catch (error) {
    readFault(error); // throws what is no fault of the archive
    return { inode: path, extents: null };
  }
}

/** Among the images of all boards; one that is not told makes the sum unknown. */
function sharedBytes(found: readonly Measured[]): number | null {
  const byInode = new Map(found.flatMap(({ shared }) => [...shared]));
  const extents: Extent[] = [];
  for (const each of byInode.values()) {
    if (each === null) return null;
    for (const extent of each) extents.push(extent);
  }
  return savedBytes(extents);
}

/** Without compression the file's own size; otherwise the manifest's word. Null where neither tells. */
async function imageSize(disk: Disk, path: string, names: readonly string[]): Promise<number | null> {
  try {
    if (names.includes(PLAIN_IMAGE)) {
      const stats = await disk.lstat(join(path, PLAIN_IMAGE));
      return stats?.isFile() === true ? stats.size : null;
    }
    const reading = parseManifest((await disk.readSmall(join(path, MANIFEST), MAX_MANIFEST_BYTES)).toString('utf8'));
    return reading.kind === 'read' ? reading.manifest.image.sizeBytes : null;
  } catch (error) {
    readFault(error); // throws what is no fault of the archive
    return null;
  }
}
