/** One look at a flash image: which firmware, which partitions, what is wrong with them. */

import { SECTOR_BYTES } from '../flash.ts';
import {
  APP_SEARCH_BYTES,
  nameByDescription,
  nameByTexts,
  scanApp,
  type Extent,
  type FirmwareName,
} from './app-name.ts';
import {
  bootOrder,
  OTA_DATA_BYTES,
  OTA_SELECT_BYTES,
  otaDataPartition,
  parseOtaSelect,
  type OtaSelect,
} from './boot-order.ts';
import { BoundedFlash, hex, type ReadFlash } from './bytes.ts';
import {
  DESCRIPTION_BYTES,
  parseAppDescription,
  parseBootloaderDescription,
  type AppDescription,
  type BootloaderDescription,
} from './descriptions.ts';
import { appExtents, findEsp8266Images, imageAreas, sdkAreas, type Area } from './esp8266.ts';
import { arduinoAreas, isArduino, linkedMapSize } from './esp8266-arduino.ts';
import { findImage, type Image, type ImageFinding } from './image.ts';
import {
  findPartitionTable,
  isSound,
  parsePartitionTable,
  TABLE_BYTES,
  TABLE_SEARCH_BYTES,
  type Partition,
  type PartitionTable,
} from './partitions.ts';
import { tasmotaNvsVersion, tasmotaSettings } from './tasmota.ts';

export type { FirmwareName } from './app-name.ts';

export interface PartitionSummary {
  name: string;
  /** ESP-IDF's names (`app`, `data`, ...) or a number (`0x40`). */
  type: string;
  subtype: string;
  offset: number;
  /** As the table says: may reach beyond the flash, which then is one of the problems. */
  sizeBytes: number;
  /** The partition's flag, not whether its content is ciphertext. */
  encrypted: boolean;
}

/** Plain data: what JSON.stringify keeps. */
export interface FirmwareSummary {
  /** Of the app that boots; null where there is none or it does not say. */
  firmware: FirmwareName | null;
  /** In the order of the table. On an ESP8266 without one: the images and the SDK's sectors. At most 96. */
  partitions: PartitionSummary[];
  /** Sentences for people, at most 200. A blank or an encrypted flash has none. */
  problems: string[];
  /** Offset of the partition table, or null. */
  tableOffset: number | null;
  /** Name of the partition whose app boots, or null. */
  activePartition: string | null;
  /** What the app's description says, in full. */
  app: AppDescription | null;
  bootloader: BootloaderDescription | null;
}

/** The most that {@link describeFirmware} reads in total: the app, and what leads to it. */
const READ_BUDGET_BYTES = APP_SEARCH_BYTES + 2 * 1024 * 1024;
const MAX_PROBLEMS = 200;

/**
 * Offset of the second-stage bootloader: CONFIG_BOOTLOADER_OFFSET_IN_FLASH, 0 on the families not listed.
 * https://github.com/espressif/esp-idf/blob/v5.5/components/bootloader/Kconfig.projbuild
 */
const BOOTLOADER_OFFSETS: ReadonlyMap<string, number> = new Map([
  ['esp32', 0x1000],
  ['esp32s2', 0x1000],
  ['esp32c5', 0x2000],
  ['esp32h4', 0x2000],
  ['esp32p4', 0x2000],
  ['esp32s31', 0x2000],
]);

/** Where the chip's ROM looks for the bootloader. */
export function bootloaderOffset(family: string): number {
  return BOOTLOADER_OFFSETS.get(family) ?? 0;
}

/**
 * Describes what a flash holds. Never throws on content, however broken or hostile: it rejects only if `read` does. Reads at
 * most 6 MiB. Encrypted flash is ciphertext in which nothing is found.
 *
 * @param sizeBytes of the flash; `read` is only asked for bytes inside
 * @param family of the chip: `esp8266`, `esp32`, `esp32s2`, ...
 */
export async function describeFirmware(read: ReadFlash, sizeBytes: number, family: string): Promise<FirmwareSummary> {
  const flash = new BoundedFlash(read, sizeBytes, READ_BUDGET_BYTES);
  const table = await findTable(flash, family);
  const summary =
    table === null && family === 'esp8266' ? await describeEsp8266(flash) : await describeEspIdf(flash, table, family);
  return { ...summary, problems: summary.problems.slice(0, MAX_PROBLEMS) };
}

/** The table, at whatever place it has on this family; or null. */
export async function findTable(flash: BoundedFlash, family: string): Promise<PartitionTable | null> {
  const facts = { sizeBytes: flash.sizeBytes, family };
  const table = findPartitionTable(await flash.read(0, TABLE_SEARCH_BYTES), facts);
  if (table !== null || family !== 'esp8266') return table;
  // Sming on ESP8266 keeps it below the SDK's five sectors.
  // https://github.com/SmingHub/Sming/blob/5.1.0/docs/source/information/flash.rst
  const offset = flash.sizeBytes - 6 * SECTOR_BYTES;
  const atEnd = parsePartitionTable(await flash.read(offset, TABLE_BYTES), offset, facts);
  return atEnd !== null && isSound(atEnd) ? atEnd : null;
}

async function describeEspIdf(
  flash: BoundedFlash,
  table: PartitionTable | null,
  family: string,
): Promise<FirmwareSummary> {
  const loaderOffset = bootloaderOffset(family);
  const bootloader = await findImage(flash, loaderOffset, table?.offset ?? flash.sizeBytes, family);
  const problems = [...problemsOf(bootloader, family), ...(table?.problems ?? [])];
  if (table === null && bootloader?.image)
    problems.push(`There is an image at ${hex(loaderOffset)} but no partition table`);

  const partitions = table?.partitions ?? [];
  const active = await findActiveApp(flash, partitions, family, problems);
  const app = active && parseAppDescription(await firstSegment(flash, active.image));
  const firmware = active && nameByDescription(await scanApp(flash, active.image), app, family);
  const isUnclear = firmware?.name === 'Tasmota' && firmware.version === null;
  return {
    firmware: isUnclear ? { ...firmware, version: await tasmotaNvsVersion(flash, partitions) } : firmware,
    partitions: partitions.map(({ name, type, subtype, offset, sizeBytes, encrypted }) => {
      return { name, type, subtype, offset, sizeBytes, encrypted };
    }),
    problems,
    tableOffset: table?.offset ?? null,
    activePartition: active?.partition.name ?? null,
    app,
    bootloader: bootloader?.image ? parseBootloaderDescription(await firstSegment(flash, bootloader.image)) : null,
  };
}

export interface ActiveApp {
  readonly partition: Partition;
  readonly image: Image;
}

/** The first app in boot order with a whole image; what is wrong with those before it is added to `problems`. */
export async function findActiveApp(
  flash: BoundedFlash,
  partitions: readonly Partition[],
  family: string,
  problems: string[],
): Promise<ActiveApp | null> {
  const order = bootOrder(partitions, await readOtaData(flash, partitions, problems));
  let firstIsBlank = false;
  for (const partition of order) {
    const found = await findImage(flash, partition.offset, partition.offset + partition.sizeBytes, family);
    problems.push(...problemsOf(found, family));
    if (found?.image) {
      const [first] = order;
      if (firstIsBlank && first) {
        problems.push(`"${first.name}" should boot but holds no app; "${partition.name}" boots instead`);
      }
      return { partition, image: found.image };
    }
    if (found === null && partition === order[0]) firstIsBlank = true;
  }
  if (order.length > 0) problems.push('No app partition holds an app that can boot');
  return null;
}

async function readOtaData(
  flash: BoundedFlash,
  partitions: readonly Partition[],
  problems: string[],
): Promise<OtaSelect[] | null> {
  const otaData = otaDataPartition(partitions);
  if (otaData === null) return null;
  if (otaData.sizeBytes < OTA_DATA_BYTES) {
    problems.push(`"${otaData.name}" is smaller than the ${hex(OTA_DATA_BYTES)} bytes that otadata needs`);
    return null;
  }
  const sectors = [otaData.offset, otaData.offset + SECTOR_BYTES];
  const records = [];
  for (const sector of sectors) records.push(parseOtaSelect(await flash.read(sector, OTA_SELECT_BYTES)));
  return records;
}

function problemsOf(found: ImageFinding | null, family: string): string[] {
  if (found === null) return [];
  if (found.image === null) return [found.problem];
  const chip = found.header.extended?.chipFamily;
  if (chip === undefined || chip === null || chip === family) return [];
  return [`The image at ${hex(found.image.offset)} is built for ${chip}, but the chip is ${family}`];
}

/** The start of an image's first segment, where its description is. */
export async function firstSegment(flash: BoundedFlash, image: Image): Promise<Buffer> {
  const segment = image.segments[0];
  return segment ? flash.read(segment.offset, Math.min(DESCRIPTION_BYTES, segment.sizeBytes)) : Buffer.alloc(0);
}

async function describeEsp8266(flash: BoundedFlash): Promise<FirmwareSummary> {
  const images = await findEsp8266Images(flash);
  const boot = images[0];
  const claimed = boot?.header.flashSizeBytes ?? flash.sizeBytes;
  const mapSizeBytes = claimed <= flash.sizeBytes ? claimed : flash.sizeBytes;
  const byArduino = isArduino(images);
  const extents = boot ? await appExtents(flash, images, byArduino) : [];
  const linkedSizeBytes = byArduino
    ? linkedMapSize(await readAll(flash, extents[0]), mapSizeBytes, flash.sizeBytes)
    : null;
  const slots = [];
  for (const extent of extents) slots.push(await scanApp(flash, extent));
  const { firmware, settings } = await withTasmotaVersion(
    flash,
    nameByTexts(slots, byArduino),
    linkedSizeBytes ?? mapSizeBytes,
  );
  const data =
    linkedSizeBytes === null ? sdkAreas(mapSizeBytes) : await arduinoAreas(flash, mapSizeBytes, linkedSizeBytes);
  const areas: Area[] = boot ? [...imageAreas(images), ...settings, ...data] : [];
  const active =
    extents.length === 1
      ? areas.find(({ type, offset }) => type === 'app' && offset === extents[0]?.offset)
      : undefined;
  return {
    firmware,
    partitions: areas.map((area) => ({ ...area, encrypted: false })),
    problems:
      claimed > flash.sizeBytes
        ? [`The image at 0x0 is made for ${hex(claimed)} bytes of flash, but the flash has ${hex(flash.sizeBytes)}`]
        : [],
    tableOffset: null,
    activePartition: active?.name ?? areas.find(({ name }) => name === 'app')?.name ?? null,
    app: null,
    bootloader: null,
  };
}

async function readAll(flash: BoundedFlash, extent: Extent | undefined): Promise<Buffer> {
  return extent ? flash.read(extent.offset, extent.sizeBytes) : Buffer.alloc(0);
}

/** Tasmota's version is in its settings alone; with it come the sectors where they are, beside those of the layout. */
async function withTasmotaVersion(
  flash: BoundedFlash,
  firmware: FirmwareName | null,
  mapSizeBytes: number,
): Promise<{ firmware: FirmwareName | null; settings: Area[] }> {
  if (firmware?.name !== 'Tasmota') return { firmware, settings: [] };
  const found = await tasmotaSettings(flash, mapSizeBytes);
  return { firmware: { ...firmware, version: found.version }, settings: found.areas };
}
