/** Which file system a partition holds, found by trying: a partition table names it at best, and is often wrong. */

import { readFat } from './fat.ts';
import type { FileSystemReading } from './filesystem.ts';
import { readLittleFs } from './littlefs.ts';
import { readSpiffs } from './spiffs.ts';

export type { FileContent, FileEntry, FileSystemReading } from './filesystem.ts';

/** In the order of how much each proves: a name of 8 characters and checksums, a boot sector, then magics of 16 bits. */
const READERS = [readLittleFs, readFat, readSpiffs];

/**
 * Reads the file system in a partition.
 *
 * @param partition all of it; at most 64 MiB
 * @returns undefined if no file system that espd knows is in it (blank, encrypted, or something else). Never throws.
 */
export function readFileSystem(partition: Uint8Array): FileSystemReading | undefined {
  for (const read of READERS) {
    const reading = read(partition);
    if (reading !== undefined) return reading;
  }
  return undefined;
}
