/**
 * What is told of the inside of an image: the document of `espd contents --json` and of the API, which the page shows. Types
 * alone.
 */

import type { NvsValue } from './compare/types.ts';
import type { FirmwareName, PartitionSummary } from './describe.ts';
import type { FileEntry, FileSystemReading } from './filesystems/filesystem.ts';
import type { FlashPart } from './flash-map.ts';
import type { NvsReading } from './nvs.ts';

/** Plain data: what JSON.stringify keeps. Texts are raw where they say so: they must pass `printable` before anybody sees them. */
export interface Inventory {
  /** Of the app that boots. */
  readonly firmware: FirmwareName | null;
  /** Name of the partition whose app boots. */
  readonly boots: string | null;
  readonly tableOffset: number | null;
  /** Why neither keys nor files are told: what was read is ciphertext. Null where it is not. */
  readonly opaque: 'encryption' | null;
  readonly partitions: readonly PartitionSummary[];
  /** The flash from its first to its last byte, each byte once. */
  readonly parts: readonly FlashPart[];
  readonly nvs: readonly NvsInventory[];
  readonly files: readonly FilesInventory[];
  /** What is wrong with the image; sentences, printable, the first 20. */
  readonly problems: readonly string[];
}

export interface NvsInventory {
  /** Printable. */
  readonly partition: string;
  readonly offset: number;
  /** Null where its bytes cannot be had: `problems` says why. */
  readonly state: NvsReading['kind'] | null;
  readonly namespaces: readonly { readonly name: string; readonly keys: readonly NvsKey[] }[];
  /** Keys that are left out of a long list. */
  readonly more: number;
  /** Sentence fragments, printable. */
  readonly problems: readonly string[];
}

export interface NvsKey extends NvsValue {
  /** Raw, as the name of the namespace is. */
  readonly key: string;
}

export interface FilesInventory {
  readonly partition: string;
  readonly offset: number;
  /** Null where espd finds no file system in it. */
  readonly kind: FileSystemReading['kind'] | null;
  /** Sorted by path; paths are raw. */
  readonly entries: readonly FileEntry[];
  readonly more: number;
  readonly problems: readonly string[];
}
