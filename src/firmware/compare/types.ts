/**
 * What a comparison of two flash images says: plain data, so that JSON.stringify gives the document of `espd diff --json`.
 * Texts out of an image are raw where they say so: they must pass `printable` before anybody sees them.
 */

import type { BootloaderDescription } from '../descriptions.ts';
import type { FirmwareName, PartitionSummary } from '../describe.ts';
import type { FlashRegion } from '../flash-map.ts';

/** The same of both images. */
export interface Pair<T> {
  readonly before: T;
  readonly after: T;
}

export interface FlashComparison {
  /** The same size, and every byte of it. */
  readonly equal: boolean;
  readonly sizeBytes: Pair<number>;
  /** Of the part of the flash that both have: sectors of 4 KiB. */
  readonly sectors: { readonly compared: number; readonly differing: number };
  /** The differing sectors, neighbours merged, in order. */
  readonly regions: readonly FlashRegion[];
  /** Why only sectors are told: flash encryption is on, so that what was read is ciphertext. Null where it is not. */
  readonly opaque: 'encryption' | null;
  /** Null where {@link equal} or {@link opaque}. */
  readonly contents: ContentsComparison | null;
}

export interface ContentsComparison {
  /** Of the app that boots. */
  readonly firmware: Pair<FirmwareName | null>;
  /** Name of the partition whose app boots; null where there is none. */
  readonly boots: Pair<string | null>;
  /** `none`: neither image has one that is known. On an ESP8266 it is no part of its own. */
  readonly bootloader: 'same' | 'changed' | 'none';
  /** Null where neither image has a partition table. */
  readonly table: TableComparison | null;
  /** What differs, in the order of the second image's flash, and then what only the first one has. */
  readonly parts: readonly PartComparison[];
  /** What is wrong with either image; sentences, printable, the first 20 of each. */
  readonly problems: Pair<readonly string[]>;
}

export interface TableComparison {
  /** Where it lies; null where that image has none. */
  readonly offset: Pair<number | null>;
  /** Every row is the same, in the same place. */
  readonly same: boolean;
  readonly came: readonly PartitionSummary[];
  readonly went: readonly PartitionSummary[];
  /** Rows of one name that have another place, size, type or flag. */
  readonly altered: readonly Pair<PartitionSummary>[];
}

export interface PartComparison {
  /** Printable. Of the partition; `bootloader`, `partition table`, or `outside any partition`. */
  readonly name: string;
  readonly kind: 'partition' | 'bootloader' | 'partition-table' | 'gap';
  readonly type: string;
  readonly subtype: string;
  /** Null where that image does not have it. */
  readonly place: Pair<FlashRegion | null>;
  /** `moved`: it begins elsewhere, and its content is compared wherever it lies. */
  readonly change: 'changed' | 'moved' | 'came' | 'went';
  /** Differing sectors; of a part that moved, those of its content. May be 0 for one that moved, came or went. */
  readonly sectors: number;
  /** First byte of the first differing sector, and the byte behind the last; null for a part that moved, and for none. */
  readonly from: number | null;
  readonly to: number | null;
  /** All 0xFF; null where it is not there. */
  readonly blank: Pair<boolean | null>;
  /** In words that matter; null where only the sectors can be told. */
  readonly content: PartContent | null;
  /** Why `content` is missing or incomplete; sentence fragments, printable. */
  readonly problems: readonly string[];
}

export type PartContent = AppContent | BootloaderContent | OtaContent | NvsContent | FilesContent;

export interface AppFacts extends FirmwareName {
  /** As the build wrote it: `Mar 14 2024 10:11:12`. */
  readonly built: string | null;
}

export interface AppContent {
  readonly kind: 'app';
  /** Null where there is no app, or it does not say what it is. */
  readonly apps: Pair<AppFacts | null>;
}

export interface BootloaderContent {
  readonly kind: 'bootloader';
  readonly descriptions: Pair<BootloaderDescription | null>;
}

export interface OtaContent {
  readonly kind: 'ota';
  /** Name of the partition that boots. */
  readonly slot: Pair<string | null>;
  /** The highest valid update counter; null where no slot was ever selected. */
  readonly updates: Pair<number | null>;
}

export interface NvsValue {
  readonly type: string;
  /** Of the value; null for a secret. */
  readonly sizeBytes: number | null;
  /** By the name of its key: then nothing of its value is ever told. */
  readonly secret: boolean;
  /** Only where it is asked for: numbers in decimal, texts raw, blobs in hex, both cut. Null where it is not told. */
  readonly value: string | null;
}

export interface NvsKeyChange {
  /** Both raw. */
  readonly namespace: string;
  readonly key: string;
  /** Null where that image does not have the key. */
  readonly value: Pair<NvsValue | null>;
}

/** Each list sorted by namespace and key. */
export interface NvsContent {
  readonly kind: 'nvs';
  readonly added: readonly NvsKeyChange[];
  readonly changed: readonly NvsKeyChange[];
  readonly removed: readonly NvsKeyChange[];
}

export interface FileChange {
  /** Raw. */
  readonly path: string;
  readonly isFolder: boolean;
  /** Null where that image does not have it. */
  readonly sizeBytes: Pair<number | null>;
}

/** Each list sorted by path. */
export interface FilesContent {
  readonly kind: 'files';
  /** Null where no file system is in it. */
  readonly fileSystem: Pair<'spiffs' | 'littlefs' | 'fat' | null>;
  readonly added: readonly FileChange[];
  readonly changed: readonly FileChange[];
  readonly removed: readonly FileChange[];
  /** Files of the same size whose content could not be compared: damaged, or too much to read. */
  readonly unknown: readonly FileChange[];
}
