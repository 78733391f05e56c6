/**
 * Is this the content of a whole flash, and of which chip? A board that is to be restored from it one day depends on the
 * answer, so what looks like a part of a flash, or like none, is refused with the reason.
 */

import { crc32 } from 'node:zlib';

import { BoundedFlash, hex } from '../bytes.ts';
import { bootloaderOffset, findTable } from '../describe.ts';
import { DESCRIPTION_BYTES, parseAppDescription } from '../descriptions.ts';
import { findEsp8266Images } from '../esp8266.ts';
import { findImage, IMAGE_FAMILIES, verifyImage, type Image } from '../image.ts';
import { isSound, parsePartitionTable, TABLE_BYTES, type PartitionTable } from '../partitions.ts';
import { MAX_CONTENT_BYTES } from '../contents.ts';
import { readFileSystem } from '../filesystems/index.ts';
import { isFlashSize } from './compose.ts';
import { HEAD_BYTES, otherFile } from './other-files.ts';

/** A verdict on a dump. Texts are made of printable characters. */
export type DumpVerdict =
  | {
      readonly isFlash: true;
      /** Of the chip: `esp32`, `esp8266`, ...; null where nothing in the dump tells. */
      readonly family: string | null;
      /** What a person should know, each a sentence without a full stop. */
      readonly remarks: readonly string[];
    }
  | {
      readonly isFlash: false;
      /** A sentence fragment after the file's name: `is an app alone, ...`. */
      readonly what: string;
      readonly hint: string;
    };

export interface DumpFacts {
  /** A person has said how large the flash is: it may be smaller than the partition table says. */
  readonly sizeIsTold: boolean;
  /** A person has said that the file belongs to offset 0: it may begin with an app. */
  readonly placeIsTold: boolean;
}

/** The most that is read of headers, tables and segments; checksums come on top, of a bootloader or two. */
const READ_BUDGET_BYTES = 8 * 1024 * 1024;

const WHOLE = 'Import what was read out of a whole chip: "esptool read-flash 0 ALL flash.bin"';

/**
 * Judges a file before it is cut or filled up: only by what it is, whatever its length. Null where nothing speaks against
 * its being the beginning of a flash.
 */
export async function notTheBeginning(file: Buffer, { placeIsTold }: DumpFacts): Promise<DumpVerdict | null> {
  const other = otherFile(file.subarray(0, HEAD_BYTES));
  if (other !== null) return { isFlash: false, ...other };
  for (const [byte, name] of [
    [0xff, 'ff'],
    [0x00, '00'],
  ] as const) {
    if (isUniform(file, byte)) {
      return {
        isFlash: false,
        what: `holds nothing: all its bytes are ${name}`,
        hint: byte === 0xff ? 'That is an erased flash. There is nothing in it to keep' : 'Read the flash again',
      };
    }
  }
  if (placeIsTold) return null;
  const partition = partitionAlone(file);
  if (partition !== null) {
    return { isFlash: false, what: `is ${partition} alone, a part of a flash`, hint: partHint('0x9000=nvs.bin') };
  }
  return appAlone(file);
}

/**
 * Judges what would become a backup.
 *
 * @param image of {@link isFlashSize} bytes
 */
export async function recognizeDump(image: Buffer, facts: DumpFacts): Promise<DumpVerdict> {
  const refusal = await notTheBeginning(image, facts);
  if (refusal !== null) return refusal;
  if (!isFlashSize(image.length)) {
    return { isFlash: false, what: `has ${image.length} bytes, which no flash has`, hint: SIZE_HINT };
  }
  const family = await chipFamily(image);
  const table = await tableOf(image, family ?? '');
  const remarks: string[] = [];
  const end = Math.max(0, ...(table?.partitions ?? []).map(({ offset, sizeBytes }) => offset + sizeBytes));
  if (end > image.length) {
    const reach = `its partition table reaches to ${hex(end)}`;
    if (!facts.sizeIsTold) {
      return {
        isFlash: false,
        what: `has ${hex(image.length)} bytes, and ${reach}: it is a part of a flash`,
        hint: `${WHOLE}. If the flash has no more, say so: --size ${sizeText(image.length)}`,
      };
    }
    remarks.push(`The flash has ${hex(image.length)} bytes as told, but ${reach}`);
  }
  if (family === null && table === null && !facts.placeIsTold) {
    const files = image.length <= MAX_CONTENT_BYTES ? readFileSystem(image) : undefined;
    if (files !== undefined && files.entries.length > 0) {
      const what = `is a file system alone (${files.kind}), a part of a flash`;
      return { isFlash: false, what, hint: partHint('0x290000=spiffs.bin') };
    }
  }
  if (family === null) remarks.push('No bootloader that espd knows is in it: encrypted, or of a kind of its own');
  else if (table === null && family !== 'esp8266') remarks.push('There is a bootloader in it but no partition table');
  return { isFlash: true, family, remarks };
}

/** What to do with a file that is no power of two long. */
export const SIZE_HINT =
  'A flash has a power of two, from 256 KB to 128 MB. If this is its beginning, say how large it is: --size 4M';

/** `4M`, as options take it. */
export function sizeText(sizeBytes: number): string {
  const kib = sizeBytes / 1024;
  return kib % 1024 === 0 ? `${kib / 1024}M` : `${kib}K`;
}

function partHint(example: string): string {
  return `${WHOLE}, or name every part with its offset: ${example} ... --size 4M`;
}

/** Whether all bytes are `byte`; false for none. Compares with itself, shifted: as fast as memory. */
export function isUniform(bytes: Buffer, byte: number): boolean {
  return bytes[0] === byte && bytes.subarray(1).equals(bytes.subarray(0, -1));
}

function boundedFlash(image: Buffer): BoundedFlash {
  return new BoundedFlash(readerOf(image), image.length, READ_BUDGET_BYTES);
}

function readerOf(image: Buffer) {
  return (offset: number, length: number) => Promise.resolve(image.subarray(offset, offset + length));
}

function tableOf(image: Buffer, family: string): Promise<PartitionTable | null> {
  return findTable(boundedFlash(image), family);
}

/**
 * The family by what the ROM would boot: of every family that espd knows, an image at its place that says it is for it. Of
 * several the one with a right checksum; null where none, or more than one, is left.
 */
export async function chipFamily(image: Buffer): Promise<string | null> {
  const found: { family: string; image: Image }[] = [];
  for (const family of IMAGE_FAMILIES) {
    const at = bootloaderOffset(family);
    const finding = await findImage(boundedFlash(image), at, image.length, family);
    if (finding?.image && finding.header.extended?.chipFamily === family) found.push({ family, image: finding.image });
  }
  const [boot] = await findEsp8266Images(boundedFlash(image));
  if (boot !== undefined && isLoadable(boot)) found.push({ family: 'esp8266', image: boot });
  if (found.length > 1) {
    const sound: typeof found = [];
    for (const candidate of found) {
      if ((await verifyImage(readerOf(image), candidate.image)).checksumOk) sound.push(candidate);
    }
    return sound.length === 1 ? (sound[0]?.family ?? null) : null;
  }
  return found[0]?.family ?? null;
}

/**
 * Data and instruction RAM of an ESP8266: what the ROM loads goes there. It tells a header of 8 bytes from one of 24.
 * https://github.com/esp8266/Arduino/blob/3.1.2/tools/sdk/ld/eagle.app.v6.common.ld.h, and the memory map of the
 * "ESP8266 Technical Reference", Espressif.
 */
const ESP8266_RAM: readonly (readonly [from: number, to: number])[] = [
  [0x3ffe8000, 0x40000000],
  [0x40100000, 0x40110000],
];

function isLoadable({ header, segments }: Image): boolean {
  const loaded = segments.filter(({ checksummed }) => checksummed);
  const inRam = (address: number) => ESP8266_RAM.some(([from, to]) => address >= from && address < to);
  return (header.version === 2 || loaded.length > 0) && loaded.every(({ loadAddress }) => inRam(loadAddress));
}

/** An app of ESP-IDF, as builds leave it: an image at 0 that describes itself as an app, and no partition table. */
async function appAlone(file: Buffer): Promise<DumpVerdict | null> {
  const flash = boundedFlash(file);
  for (const family of IMAGE_FAMILIES) {
    const finding = await findImage(flash, 0, file.length, family);
    if (!finding?.image || finding.header.extended?.chipFamily !== family) continue;
    if (isLoadableEsp8266(file) || (await chipFamily(file)) === bootedElsewhere(family)) return null;
    if (bootloaderOffset(family) !== 0) {
      return {
        isFlash: false,
        what: `begins with a bootloader or app for ${family}, which has none at the start of its flash`,
        hint: partHint(`${hex(bootloaderOffset(family))}=bootloader.bin`),
      };
    }
    if ((await tableOf(file, family)) !== null) return null;
    const [first] = finding.image.segments;
    const app = first ? parseAppDescription(await flash.read(first.offset, DESCRIPTION_BYTES)) : null;
    if (app === null) return null;
    const name = [app.project, app.version].filter((text) => text !== null).join(' ');
    return {
      isFlash: false,
      what: `is an app alone${name === '' ? '' : ` (${name})`} for ${family}, a part of a flash`,
      hint: partHint('0x10000=app.bin'),
    };
  }
  return null;
}

/** `family` where its bootloader lies elsewhere than at 0: then it may be there, whatever is at 0. */
function bootedElsewhere(family: string): string | undefined {
  return bootloaderOffset(family) === 0 ? undefined : family;
}

/** The header of an ESP8266 as one of an ESP32: its second word of a segment stands where the chip's id would. */
function isLoadableEsp8266(file: Buffer): boolean {
  if (file.length < 16) return false;
  const address = file.readUInt32LE(8);
  return ESP8266_RAM.some(([from, to]) => address >= from && address < to);
}

/** What kind of partition the file begins with, where no flash does; null for none. */
function partitionAlone(file: Buffer): string | null {
  const table = parsePartitionTable(file.subarray(0, TABLE_BYTES), 0, { sizeBytes: file.length, family: '' });
  if (table !== null && isSound(table)) return 'a partition table';
  if (isNvsPage(file)) return 'an NVS partition';
  if (file.length >= 32 && file.toString('latin1', 8, 16) === 'littlefs') return 'a LittleFS partition';
  if (isFatBoot(file)) return 'a FAT partition';
  return null;
}

/** States of a page that is in use: each change clears a bit. */
const NVS_STATES = [0xfffffffe, 0xfffffffc, 0xfffffff8];

/**
 * The header of a page of NVS, which proves itself by a CRC over bytes 4 to 27.
 * https://github.com/espressif/esp-idf/blob/v5.5/components/nvs_flash/src/nvs_page.hpp (`Header`)
 */
function isNvsPage(page: Buffer): boolean {
  if (page.length < 32 || !NVS_STATES.includes(page.readUInt32LE(0))) return false;
  // The ROM's crc32_le begins where zlib's does when it is told 0xffffffff.
  return crc32(page.subarray(4, 28), 0xffffffff) === page.readUInt32LE(28);
}

/** A jump, the mark at the end of the sector, and a sector size that FAT allows: Microsoft's "FAT32 File System Specification". */
function isFatBoot(sector: Buffer): boolean {
  if (sector.length < 512 || sector.readUInt16LE(510) !== 0xaa55) return false;
  const jumps = sector[0] === 0xe9 || (sector[0] === 0xeb && sector[2] === 0x90);
  return jumps && [512, 1024, 2048, 4096].includes(sector.readUInt16LE(11));
}
