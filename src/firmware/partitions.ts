/**
 * ESP-IDF's partition table: where it lies, what it says, and what is wrong with it.
 *
 * Format: rows of 32 bytes in at most 0xC00 bytes, each with magic 0x50AA; then optionally a row with magic 0xEBEB
 * whose last 16 bytes are the MD5 of all rows before it; then a row of 0xFF.
 * https://github.com/espressif/esp-idf/blob/0d84a5ecf560b995c4d442bbb499fe1043b1e876/components/bootloader_support/include/esp_flash_partitions.h
 * https://github.com/espressif/esp-idf/blob/v5.5/components/partition_table/gen_esp32part.py (`from_binary`, `verify`)
 */

import { createHash } from 'node:crypto';
import { SECTOR_BYTES } from '../flash.ts';

import { cText, hex } from './bytes.ts';

/** Where ESP-IDF puts the table unless told otherwise (CONFIG_PARTITION_TABLE_OFFSET). */
export const DEFAULT_TABLE_OFFSET = 0x8000;
/** How much of the table's sector holds rows; a signature may follow (secure boot). */
export const TABLE_BYTES = 0xc00;

const ROW_BYTES = 32;
const ROW_MAGIC = 0x50aa;
const MD5_MAGIC = 0xebeb;

export const APP = 0x00;
export const DATA = 0x01;
const BOOTLOADER = 0x02;
const PARTITION_TABLE = 0x03;
export const APP_FACTORY = 0x00;
export const APP_OTA_0 = 0x10;
export const APP_TEST = 0x20;
export const DATA_OTA = 0x00;

const FLAG_ENCRYPTED = 1 << 0;
const FLAG_READONLY = 1 << 1;

/** App partitions are mapped through the MMU in pages of 64 KiB; ESP8266 has no such MMU. */
const APP_ALIGNMENT = 0x10000;

/** TYPES and SUBTYPES of gen_esp32part.py v5.5; `tee_N` and `ota_N` are computed. */
const TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [APP, 'app'],
  [DATA, 'data'],
  [BOOTLOADER, 'bootloader'],
  [PARTITION_TABLE, 'partition_table'],
]);

const SUBTYPE_NAMES: ReadonlyMap<number, ReadonlyMap<number, string>> = new Map([
  [
    APP,
    new Map([
      [APP_FACTORY, 'factory'],
      ...Array.from({ length: 16 }, (_, slot): [number, string] => [APP_OTA_0 + slot, `ota_${slot}`]),
      [APP_TEST, 'test'],
      [0x30, 'tee_0'],
      [0x31, 'tee_1'],
    ]),
  ],
  [
    DATA,
    new Map([
      [DATA_OTA, 'ota'],
      [0x01, 'phy'],
      [0x02, 'nvs'],
      [0x03, 'coredump'],
      [0x04, 'nvs_keys'],
      [0x05, 'efuse'],
      [0x06, 'undefined'],
      [0x80, 'esphttpd'],
      [0x81, 'fat'],
      [0x82, 'spiffs'],
      [0x83, 'littlefs'],
      [0x90, 'tee_ota'],
    ]),
  ],
  [
    BOOTLOADER,
    new Map([
      [0x00, 'primary'],
      [0x01, 'ota'],
      [0x02, 'recovery'],
    ]),
  ],
  [
    PARTITION_TABLE,
    new Map([
      [0x00, 'primary'],
      [0x01, 'ota'],
    ]),
  ],
]);

/** One row of the table, as it stands there: it need not fit the flash. */
export interface Partition {
  /** Label, printable; at most 16 bytes, not always unique. */
  readonly name: string;
  readonly typeId: number;
  readonly subtypeId: number;
  /** ESP-IDF's name (`app`, `data`, ...) or the number (`0x40`). */
  readonly type: string;
  readonly subtype: string;
  /** From the start of the flash. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** The flag: encrypted where flash encryption is on. App partitions then are in any case. */
  readonly encrypted: boolean;
  readonly readonly: boolean;
}

/** What a table is checked against. */
export interface FlashFacts {
  readonly sizeBytes: number;
  /** `esp8266`, `esp32`, ... */
  readonly family: string;
}

export interface PartitionTable {
  readonly offset: number;
  /** In the order of the table, at most 96. */
  readonly partitions: readonly Partition[];
  /** `absent` in tables of ESP-IDF before 3.1, or with CONFIG_PARTITION_TABLE_MD5 off. */
  readonly md5: 'ok' | 'wrong' | 'absent';
  /** Every row is a row and the end marker is there: what a bootloader would accept, the MD5 aside. */
  readonly complete: boolean;
  /** What does not fit, for people; also of a table that a bootloader would accept. */
  readonly problems: readonly string[];
}

/**
 * The table in `sector`, or null where its first row is none.
 *
 * @param sector up to {@link TABLE_BYTES} from the table's start; more is ignored
 * @param offset where in the flash that is
 */
export function parsePartitionTable(sector: Buffer, offset: number, flash: FlashFacts): PartitionTable | null {
  const bytes = sector.subarray(0, TABLE_BYTES);
  const partitions: Partition[] = [];
  const problems: string[] = [];
  let md5: PartitionTable['md5'] = 'absent';
  let complete = false;

  for (let at = 0; at + ROW_BYTES <= bytes.length; at += ROW_BYTES) {
    const row = bytes.subarray(at, at + ROW_BYTES);
    const magic = row.readUInt16LE(0);
    if (magic === ROW_MAGIC && md5 === 'absent') {
      partitions.push(parseRow(row, problems));
    } else if (magic === MD5_MAGIC && md5 === 'absent') {
      const digest = createHash('md5').update(bytes.subarray(0, at)).digest();
      md5 = digest.equals(row.subarray(16)) ? 'ok' : 'wrong';
    } else {
      complete = row.every((byte) => byte === 0xff);
      break;
    }
  }
  if (partitions.length === 0) return null;

  if (md5 === 'wrong') problems.push(`The partition table at ${hex(offset)} does not match its own MD5`);
  if (!complete) problems.push(`The partition table at ${hex(offset)} has no end marker`);
  problems.push(...layoutProblems(partitions, offset, flash));
  return { offset, partitions, md5, complete, problems };
}

function parseRow(row: Buffer, problems: string[]): Partition {
  const typeId = row.readUInt8(2);
  const subtypeId = row.readUInt8(3);
  const flags = row.readUInt32LE(28);
  const name = cText(row.subarray(12, 28));
  const unknownFlags = (flags & ~(FLAG_ENCRYPTED | FLAG_READONLY)) >>> 0;
  if (unknownFlags !== 0) problems.push(`Partition "${name}" has unknown flags ${hex(unknownFlags)}`);
  return {
    name,
    typeId,
    subtypeId,
    type: TYPE_NAMES.get(typeId) ?? hex(typeId),
    subtype: SUBTYPE_NAMES.get(typeId)?.get(subtypeId) ?? hex(subtypeId),
    offset: row.readUInt32LE(4),
    sizeBytes: row.readUInt32LE(8),
    encrypted: (flags & FLAG_ENCRYPTED) !== 0,
    readonly: (flags & FLAG_READONLY) !== 0,
  };
}

/** The checks of gen_esp32part.py's `verify`, and whether the partitions fit this flash. */
function layoutProblems(partitions: readonly Partition[], tableOffset: number, flash: FlashFacts): string[] {
  const problems: string[] = [];
  const names = new Set<string>();
  for (const partition of partitions) {
    const title = `Partition "${partition.name}" at ${hex(partition.offset)}`;
    if (names.has(partition.name)) problems.push(`${title} has the name of another one`);
    names.add(partition.name);
    if (partition.sizeBytes === 0) problems.push(`${title} is empty`);
    if (partition.offset + partition.sizeBytes > flash.sizeBytes) {
      const end = hex(partition.offset + partition.sizeBytes);
      problems.push(`${title} ends at ${end}, beyond the flash of ${hex(flash.sizeBytes)} bytes`);
    }
    if (flash.family !== 'esp8266' && partition.typeId === APP && partition.offset % APP_ALIGNMENT !== 0) {
      problems.push(`${title} is an app but not aligned to ${hex(APP_ALIGNMENT)}`);
    }
  }
  const otaData = partitions.filter(({ typeId, subtypeId }) => typeId === DATA && subtypeId === DATA_OTA);
  if (otaData.length > 1) problems.push(`The partition table has ${otaData.length} otadata partitions instead of one`);
  return [...problems, ...overlapProblems(partitions, tableOffset)];
}

function overlapProblems(partitions: readonly Partition[], tableOffset: number): string[] {
  const table = { name: 'partition table', offset: tableOffset, sizeBytes: SECTOR_BYTES };
  // A table may list itself and the bootloader (types 2 and 3); its own row stands for the table then.
  const listsItself = partitions.some(({ typeId, offset }) => typeId === PARTITION_TABLE && offset === tableOffset);
  const areas = [...partitions, ...(listsItself ? [] : [table])].filter(({ sizeBytes }) => sizeBytes > 0);
  areas.sort((a, b) => a.offset - b.offset);

  const problems: string[] = [];
  let reaching = areas[0];
  for (const area of areas.slice(1)) {
    if (reaching && area.offset < reaching.offset + reaching.sizeBytes) {
      problems.push(`"${area.name}" at ${hex(area.offset)} overlaps "${reaching.name}" at ${hex(reaching.offset)}`);
    }
    if (!reaching || area.offset + area.sizeBytes > reaching.offset + reaching.sizeBytes) reaching = area;
  }
  return problems;
}

/** How far up {@link findPartitionTable} looks: bootloaders with secure boot and every option on end well below. */
export const TABLE_SEARCH_BYTES = 0x21000;

/**
 * The partition table of a flash. CONFIG_PARTITION_TABLE_OFFSET is any multiple of 0x1000, so each sector up to
 * {@link TABLE_SEARCH_BYTES} is looked at: the default place first, then upwards, then below. A sound table wins over
 * a damaged one, and away from the default place only a sound one counts, since anything may look like a row there.
 * https://github.com/espressif/esp-idf/blob/002cd296e1a7081681bc792db8eeaa89bfa0e89d/components/partition_table/Kconfig.projbuild
 *
 * @param start the first {@link TABLE_SEARCH_BYTES} of the flash, or what there is of them
 */
export function findPartitionTable(start: Buffer, flash: FlashFacts): PartitionTable | null {
  let damaged: PartitionTable | null = null;
  for (const offset of candidateOffsets(start.length)) {
    const table = parsePartitionTable(start.subarray(offset), offset, flash);
    if (table === null) continue;
    if (isSound(table)) return table;
    if (offset === DEFAULT_TABLE_OFFSET && looksIntended(table)) damaged = table;
  }
  return damaged;
}

/** Whether a table stands on its own: as a bootloader would accept it, and with something to boot. */
export function isSound(table: PartitionTable): boolean {
  return table.complete && table.md5 !== 'wrong' && table.partitions.some(({ typeId }) => typeId === APP);
}

/** Tells a damaged table from ciphertext that happens to begin with the magic of a row. */
function looksIntended({ partitions: [first] }: PartitionTable): boolean {
  return first !== undefined && first.offset % SECTOR_BYTES === 0 && first.name !== '' && !first.name.includes('\\x');
}

function candidateOffsets(lengthBytes: number): number[] {
  const offsets: number[] = [];
  for (let offset = SECTOR_BYTES; offset < lengthBytes; offset += SECTOR_BYTES) offsets.push(offset);
  const rank = (offset: number) =>
    offset >= DEFAULT_TABLE_OFFSET ? offset : TABLE_SEARCH_BYTES + DEFAULT_TABLE_OFFSET - offset;
  return offsets.sort((a, b) => rank(a) - rank(b));
}
