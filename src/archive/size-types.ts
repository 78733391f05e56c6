/** What boards take on the disk: the contract of `archive.sizes`. */

import type { Mac } from '../mac.ts';
import type { ArchiveProblem } from './reported.ts';

export interface BoardSize {
  readonly mac: Mac;
  /** What the images of all backups would take, uncompressed; null where that of one cannot be told. */
  readonly imageBytes: number | null;
  /** All that is in the board's folder, and the folder; hard links once. Null where a part cannot be looked at. */
  readonly diskBytes: number | null;
  /** The part of `diskBytes` that drafts, partials and trash take. */
  readonly otherBytes: number | null;
  /** Of `diskBytes` what each backup takes, by id; one that cannot be looked at is missing. */
  readonly backups: ReadonlyMap<string, number>;
  readonly problems: readonly ArchiveProblem[];
}

export interface ArchiveSizes {
  /** In the order asked for. */
  readonly boards: readonly BoardSize[];
  /** Of what could be looked at. A file that hard links put into several boards counts once. */
  readonly total: { readonly imageBytes: number; readonly diskBytes: number; readonly otherBytes: number };
  /**
   * How much less than `diskBytes` is in use, since these images share blocks (reflinks); at least so much, where the file
   * system also compresses. Null where the file system has no such blocks, or the system does not tell.
   */
  readonly sharedBytes: number | null;
  /** Some board has a null: the total is at least this. */
  readonly isPartial: boolean;
  /** Of the archive's disk; null where the file system does not tell. */
  readonly disk: {
    readonly freeBytes: number;
    /** No backup may leave less. */
    readonly keptFreeBytes: number;
    /** It is a file system whose files can share blocks: less may be in use than all sizes add up to. */
    readonly canShareBlocks: boolean;
  } | null;
}

export interface SizeOptions {
  readonly signal?: AbortSignal;
  /** After each board. */
  readonly onProgress?: (done: number, of: number) => void;
}

/**
 * Asks for sizes. What file systems share between files (reflinks) is counted in each, as `st_blocks` does.
 * Rejects with the signal's reason, and for nothing in the archive.
 */
export interface ArchiveSizer {
  of(macs: readonly Mac[], options?: SizeOptions): Promise<ArchiveSizes>;
}
