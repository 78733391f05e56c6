/** What a list of a bucket tells of one folder of a backup. */

import type { Mac } from '../../mac.ts';
import type { ObjectFacts } from '../../store/types.ts';

/** A folder of a backup, complete or not. */
export interface StoredCopy {
  readonly mac: Mac;
  readonly id: string;
  /** Behind the prefix, with a slash at its end. */
  readonly folder: string;
  /** Objects by their names in the folder. */
  readonly files: StoredFiles;
  /** When the first of them was written, by the store's clock, ms since 1970; absent where it does not tell. */
  readonly firstMs?: number | undefined;
}

export interface StoredFiles {
  has(name: string): boolean;
  get(name: string): Pick<ObjectFacts, 'sizeBytes'> | undefined;
  keys(): Iterable<string>;
  values(): Iterable<Pick<ObjectFacts, 'sizeBytes'>>;
}
