/** One partition out of an image, whole, for the readers of what is in it. Does no I/O but through the reader handed in. */

import { describeFirmware, type PartitionSummary } from './describe.ts';
import { hex, type ReadFlash } from './bytes.ts';

/** A larger partition is never loaded as a whole. */
export const MAX_CONTENT_BYTES = 64 * 1024 * 1024;

/** An image as the functions here take it. */
export interface FlashSource {
  readonly read: ReadFlash;
  readonly sizeBytes: number;
  /** Of the chip: `esp8266`, `esp32`, ... */
  readonly family: string;
}

/**
 * What may be in a partition, by its type and subtype: `files` = a file system, which only `readFileSystem` can tell
 * (Arduino keeps LittleFS in partitions of subtype spiffs, and tables have types of their own makers).
 */
export type PartitionUse = 'app' | 'nvs' | 'ota' | 'files' | 'other';

/** Subtypes of data that hold something else than files: PARTITION_SUBTYPE_DATA_* of ESP-IDF... */
const NO_FILES = new Set([
  ...['phy', 'coredump', 'nvs_keys', 'efuse', 'tee_ota'],
  // ... and what an ESP8266 without a table has beside images and file system.
  ...['rf_cal', 'system_param', 'eeprom', 'tasmota'],
]);

export function useOf({ type, subtype }: Pick<PartitionSummary, 'type' | 'subtype'>): PartitionUse {
  if (type === 'app' || type === 'bootloader' || type === 'partition_table') return type === 'app' ? 'app' : 'other';
  if (type !== 'data') return 'files';
  if (subtype === 'nvs' || subtype === 'ota') return subtype;
  return NO_FILES.has(subtype) ? 'other' : 'files';
}

/** The bytes of a partition; or a sentence fragment that says why they cannot be had. */
export type PartitionBytes =
  { readonly bytes: Buffer; readonly problem: null } | { readonly bytes: null; readonly problem: string };

/** Rejects only if the reader does. */
export async function readPartition(
  { read, sizeBytes }: FlashSource,
  { offset, sizeBytes: length }: Pick<PartitionSummary, 'offset' | 'sizeBytes'>,
): Promise<PartitionBytes> {
  if (length === 0) return { bytes: null, problem: 'is empty' };
  if (offset + length > sizeBytes) return { bytes: null, problem: `ends at ${hex(offset + length)}, beyond the flash` };
  if (length > MAX_CONTENT_BYTES) return { bytes: null, problem: 'is larger than the 64 MiB that are looked into' };
  const bytes = await read(offset, length);
  return bytes.length < length ? { bytes: null, problem: 'could not be read in full' } : { bytes, problem: null };
}

export type PartitionLookup =
  | {
      readonly outcome: 'found';
      readonly partition: PartitionSummary;
      readonly use: PartitionUse;
      readonly bytes: Buffer;
    }
  /** There is one, and its bytes cannot be had: see {@link PartitionBytes}. */
  | { readonly outcome: 'unusable'; readonly partition: PartitionSummary; readonly problem: string }
  /** None has the name, or several do; `partitions` = all of the image, or those with the name. */
  | { readonly outcome: 'none' | 'several'; readonly partitions: readonly PartitionSummary[] };

/**
 * The partition with this name, by the image's own table; on an ESP8266 without one by the names that espd gives (`fs`,
 * `eeprom`, ...). Names are printable, as {@link describeFirmware} has them. Rejects only if the reader does.
 */
export async function findPartition(source: FlashSource, name: string): Promise<PartitionLookup> {
  const { partitions } = await describeFirmware(source.read, source.sizeBytes, source.family);
  const named = partitions.filter((partition) => partition.name === name);
  const [partition] = named;
  if (partition === undefined) return { outcome: 'none', partitions };
  if (named.length > 1) return { outcome: 'several', partitions: named };
  const { bytes, problem } = await readPartition(source, partition);
  if (bytes === null) return { outcome: 'unusable', partition, problem };
  return { outcome: 'found', partition, use: useOf(partition), bytes };
}

/** Every partition in which a file system may be, in the order of the table. */
export async function filePartitions(source: FlashSource): Promise<PartitionSummary[]> {
  const { partitions } = await describeFirmware(source.read, source.sizeBytes, source.family);
  return partitions.filter((partition) => useOf(partition) === 'files');
}
