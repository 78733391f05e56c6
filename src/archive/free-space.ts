/** Whether a backup will fit, asked before anything is read for it. */

import { EspdError } from '../errors.ts';
import type { Disk } from './disk.ts';
import { hasNoInodes, noInodes } from './inodes.ts';

/** Kept free on the disk beyond the image itself: manifest, folders, and what other programs need to go on. */
const FREE_SPACE_MARGIN_BYTES = 4 * 1024 * 1024;

/** Folder of the board, draft, image (twice while it is compressed), manifest, list of digests, and what is appended to. */
const NEEDED_INODES = 8;

/** @throws EspdError `disk-full` where a backup of an image of `sizeBytes` does not fit */
export async function checkFreeSpace(
  maker: { readonly root: string; readonly disk: Disk; readonly compression: 'none' | 'gzip' },
  folder: string,
  sizeBytes: number,
): Promise<void> {
  const { bavail, bsize, blocks, files, ffree } = await maker.disk.fs.statfs(folder);
  if (hasNoInodes({ files, ffree }, NEEDED_INODES)) throw noInodes(maker.root);
  if (blocks === 0) return; // some network file systems tell nothing
  // While it is compressed, an image lies there twice, and deflate makes random bytes a little longer.
  const neededBytes = (maker.compression === 'gzip' ? 2.01 : 1) * sizeBytes + FREE_SPACE_MARGIN_BYTES;
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  throw new EspdError(
    'disk-full',
    `The archive ${maker.root} has ${mib(freeBytes)} left and needs ${mib(neededBytes)}`,
    {
      hint: 'Free some space on the disk of the archive',
    },
  );
}
