/**
 * Entries of the archive that espd did not make. They make nothing unsound: a backup is what its digests prove. Pure.
 *
 * Who owns the folder sees them all the time: file managers, network drives and desktop systems leave files wherever
 * they are shown a folder.
 */

import { join } from 'node:path';
import type { Mac } from '../mac.ts';
import { printable } from '../printable.ts';
import type { ForeignEntry } from './types.ts';

/** Of one folder so many are named, the others counted: a folder may hold a hundred thousand. */
const MAX_NAMED = 20;

/** Who leaves files of such names in every folder that it is shown. */
const MAKERS: readonly (readonly [RegExp, string])[] = [
  [/^(?:\.DS_Store|\._.*|\.AppleDouble|\.Spotlight-V100|\.Trashes|\.fseventsd|\.TemporaryItems)$/, 'macOS'],
  [/^(?:Thumbs\.db|ehthumbs\.db|desktop\.ini|\$RECYCLE\.BIN|System Volume Information)$/i, 'Windows'],
  [/^(?:@eaDir|#recycle|#snapshot|@tmp)$/, 'a Synology NAS'],
  [/^(?:@Recycle|@Recently-Snapshot|\.@__thumb)$/, 'a QNAP NAS'],
  [/^\.directory$/, 'the KDE file manager'],
  [/^\.Trash-\d+$/, 'the trash of a Linux desktop'],
  [/^lost\+found$/, 'the file system check'],
];

/**
 * Names that a file gets which was removed while somebody still had it open. They go away when it is closed, so there
 * is nothing to report.
 *
 * NFS: `.nfs` with file id and counter in hex (linux fs/nfs/unlink.c, nfs_sillyrename); FUSE: `.fuse_hidden` with 16 hex
 * digits (libfuse lib/fuse.c, hidden_name); SMB: `.smb` with hex digits (Linux), `.smbdelete...` (macOS); AFS: `.__afs`
 * with hex digits (linux fs/afs/dir_silly.c).
 */
const REMOVED_WHILE_OPEN =
  /^\.(?:nfs[0-9a-f]{8,}|fuse_hidden[0-9a-f]{16,}|smb[0-9a-f]{4,}|smbdelete[\w.]+|__afs[0-9A-F]{4,})$/;

export function isRemovedWhileOpen(name: string): boolean {
  return REMOVED_WHILE_OPEN.test(name);
}

/** Whether nobody knows whose an entry is: it may be a person's. */
export function isUnexplained({ problem }: Pick<ForeignEntry, 'problem'>): boolean {
  return !problem.startsWith('is foreign (left by ');
}

/**
 * What is to be told of the foreign entries of one folder, in the order of their names.
 *
 * @param names those that are not espd's
 * @param folder relative to the archive; empty for the archive itself
 */
export function foreignEntries(
  names: readonly string[],
  { mac, id, folder }: { mac: Mac | null; id: string | null; folder: string },
): ForeignEntry[] {
  const foreign = names.filter((name) => !isRemovedWhileOpen(name)).sort();
  const entries: ForeignEntry[] = foreign.slice(0, MAX_NAMED).map((name) => {
    const maker = MAKERS.find(([pattern]) => pattern.test(name))?.[1];
    const problem = maker === undefined ? 'is foreign' : `is foreign (left by ${maker})`;
    return { mac, id, file: join(printable(folder), printable(name)), problem };
  });
  const more = foreign.length - entries.length;
  if (more > 0) entries.push({ mac, id, file: printable(folder), problem: `holds ${more} more foreign entries` });
  return entries;
}
