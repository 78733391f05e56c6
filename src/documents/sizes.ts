/** What one board takes on the disk. */

import type { ArchiveSizes } from '../archive/size-types.ts';

/** @param sizes of one board */
export function boardSizesJson({ boards, sharedBytes }: Pick<ArchiveSizes, 'boards' | 'sharedBytes'>): object {
  const [size] = boards;
  if (size === undefined) throw new RangeError('no board was measured');
  const { mac, imageBytes, diskBytes, otherBytes, backups } = size;
  return {
    ...{ mac, imageBytes, diskBytes, otherBytes, sharedBytes },
    backups: Array.from(backups, ([id, bytes]) => ({ id, diskBytes: bytes })),
  };
}
