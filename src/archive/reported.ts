/** What is told of an archive that is not as it should be. */

import type { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';

/**
 * Something in the archive is not what it should be. `error.code` tells what is known of it: `archive-damaged` where the
 * digests contradict it or what they are of is missing; `archive-unreadable` where it could not be read, so that nothing
 * is known of its content; `archive-newer` where a later espd wrote it.
 */
export interface ArchiveProblem {
  readonly mac: Mac | null;
  readonly id: string | null;
  /** Path relative to the archive. */
  readonly file: string;
  /** One sentence fragment: `is missing`, `SHA-256 differs: ...`. */
  readonly problem: string;
  readonly error: EspdError;
}

/** An entry that espd did not put there. It makes nothing unsound, and espd leaves it alone. */
export interface ForeignEntry {
  /** The board in whose folder it lies; null in the archive's own. */
  readonly mac: Mac | null;
  /** The backup in whose folder it lies. */
  readonly id: string | null;
  /** Path relative to the archive, printable. */
  readonly file: string;
  /** One sentence fragment: `is foreign (left by macOS)`; for a folder with many, `holds 12 more foreign entries`. */
  readonly problem: string;
}
