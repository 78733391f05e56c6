/** A chip gives the MD5 of an image that no chip had confirmed: that is noted beside the backups, once. */

import type { Confirmation } from '../archive/marks/events.ts';
import { NO_MARKS, isConfirmed } from '../archive/marks/marks.ts';
import type { Archive, Backup } from '../archive/types.ts';
import { EspdError } from '../errors.ts';

/** Whether a chip has confirmed the image, when it was made or later. @throws EspdError `archive-unreadable` */
export async function wasConfirmed(
  archive: Archive,
  backup: Pick<Backup, 'mac' | 'id' | 'manifest'>,
): Promise<boolean> {
  return backup.manifest.confirmed !== null || isConfirmed(backup, await archive.marks.of(backup.mac));
}

/**
 * Notes the confirmation where it is news.
 * @param seen the chip's digest of its whole flash, in whose loader, where and when
 * @returns whether it was noted; not where the image is another one
 * @throws EspdError `archive-unwritable`, `disk-full`
 */
export async function confirmOnce(
  archive: Archive,
  backup: Pick<Backup, 'mac' | 'id' | 'manifest'>,
  seen: Omit<Confirmation, 'id'>,
): Promise<boolean> {
  const { mac, id, manifest } = backup;
  if (manifest.confirmed !== null || manifest.image.md5 !== seen.md5) return false;
  const marks = await archive.marks.of(mac).catch((error: unknown) => {
    // A second line says nothing else than the first; a file that cannot be read must not keep it from being written.
    if (error instanceof EspdError) return NO_MARKS;
    throw error;
  });
  if (isConfirmed(backup, marks)) return false;
  await archive.marks.confirm(mac, { ...seen, id });
  return true;
}
