/** File systems that run out of inodes: no file can be made, though there are bytes left. Pure. */

import { EspdError } from '../errors.ts';

/** What statfs(2) tells of a file system that counts its inodes; others (FAT, btrfs) say 0 of 0. */
export function hasNoInodes({ files, ffree }: { files: number; ffree: number }, needed = 1): boolean {
  return files > 0 && ffree < needed;
}

/** No file can be made any more, though there may be bytes left. */
export function noInodes(root: string, cause?: unknown): EspdError {
  return new EspdError('disk-full', `No inodes left in the archive ${root}: its disk holds as many files as it can`, {
    hint: 'Remove files that nobody needs on that disk ("df -i" shows inodes); freeing bytes alone does not help',
    ...(cause === undefined ? {} : { cause }),
  });
}
