/**
 * Which app ESP-IDF's bootloader runs: otadata selects an OTA slot; what it finds broken it passes over.
 * https://github.com/espressif/esp-idf/blob/001c29b077a766282e9ed0b92dd1c9c049bc5c0c/components/bootloader_support/src/bootloader_utility.c
 * https://github.com/espressif/esp-idf/blob/0d84a5ecf560b995c4d442bbb499fe1043b1e876/components/bootloader_support/include/esp_flash_partitions.h
 */

import { crc32 } from 'node:zlib';
import { SECTOR_BYTES } from '../flash.ts';

import { APP, APP_FACTORY, APP_OTA_0, APP_TEST, DATA, DATA_OTA, type Partition } from './partitions.ts';

/** sizeof(esp_ota_select_entry_t); one at the start of each of otadata's two sectors. */
export const OTA_SELECT_BYTES = 32;
export const OTA_DATA_BYTES = 2 * SECTOR_BYTES;

const OTA_SLOTS = 16;
const BLANK = 0xffffffff;
const STATE_INVALID = 3;
const STATE_ABORTED = 4;

/** One of the two records of otadata. */
export interface OtaSelect {
  /** Counts the updates from 1; blank is 0xffffffff. */
  readonly sequence: number;
  readonly crcOk: boolean;
  /** False for a blank record and for an image marked invalid or aborted; does not look at the CRC. */
  readonly usable: boolean;
}

/** The record at the start of `bytes`; one that is cut off is not usable. */
export function parseOtaSelect(bytes: Buffer): OtaSelect {
  if (bytes.length < OTA_SELECT_BYTES) return { sequence: BLANK, crcOk: false, usable: false };
  const sequence = bytes.readUInt32LE(0);
  const state = bytes.readUInt32LE(24);
  return {
    sequence,
    // The CRC covers the sequence number alone, and begins at 0xffffffff in zlib's way of counting (otatool.py).
    crcOk: crc32(bytes.subarray(0, 4), BLANK) === bytes.readUInt32LE(28),
    usable: sequence !== BLANK && state !== STATE_INVALID && state !== STATE_ABORTED,
  };
}

/** The otadata partition that counts: the last one listed. */
export function otaDataPartition(partitions: readonly Partition[]): Partition | null {
  return partitions.findLast(({ typeId, subtypeId }) => typeId === DATA && subtypeId === DATA_OTA) ?? null;
}

/**
 * App partitions in the order in which the bootloader tries them; the first with a sound image runs. At the end stand
 * those that it never tries, in the order of the table.
 *
 * An app that waits for its first confirmation (ESP_OTA_IMG_PENDING_VERIFY) counts as selected; with rollback enabled in
 * the bootloader, which cannot be seen from outside, the next boot would go back to the other slot.
 *
 * @param records both records of otadata, or null without a (big enough) otadata partition
 */
export function bootOrder(partitions: readonly Partition[], records: readonly OtaSelect[] | null): Partition[] {
  const apps = partitions.filter(({ typeId }) => typeId === APP);
  const slotOf = ({ subtypeId }: Partition) => subtypeId - APP_OTA_0;
  const otaApps = apps.filter((app) => slotOf(app) >= 0 && slotOf(app) < OTA_SLOTS);
  const factory = apps.findLast(({ subtypeId }) => subtypeId === APP_FACTORY);
  const test = apps.findLast(({ subtypeId }) => subtypeId === APP_TEST);

  // The bootloader counts the slots and then addresses them by number: with a gap, the ones above it are not reached.
  const slotCount = Math.min(otaApps.length, OTA_SLOTS);
  const slots = Array.from({ length: slotCount }, (_, slot) => otaApps.findLast((app) => slotOf(app) === slot));
  const selected = selectSlot(records, slotCount);

  // Downwards from the selected slot to the factory app, then the slots above, then the test app.
  const tried = [...slots.slice(0, selected + 1).reverse(), factory, ...slots.slice(selected + 1), test];
  return [...new Set([...tried, ...apps])].filter((app) => app !== undefined);
}

/** Index of the slot to boot, or -1 where none is selected: then the factory app is first, and without one slot 0. */
function selectSlot(records: readonly OtaSelect[] | null, slotCount: number): number {
  const valid = (records ?? []).filter(({ usable, crcOk }) => usable && crcOk).map(({ sequence }) => sequence);
  if (valid.length === 0 || slotCount === 0) return -1;
  return ((Math.max(...valid) - 1) >>> 0) % slotCount;
}
