/**
 * Flash contents as real boards have them, made by code from a seed: bootloader, partition table, app with its
 * description, NVS, and a blank rest. Layouts: esp-idf docs "Partition Tables" (MD5 entry eb eb), esptool docs "Firmware
 * Image Format" (E9 header, extended header, checksum, appended SHA-256), esp-idf components/esp_app_format
 * esp_app_desc.h, components/nvs_flash README (page and entry layout).
 */

import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

import { chipModelOf } from './chips/index.ts';
import type { Family } from './chips/model.ts';
import { SECTOR_BYTES } from './flash.ts';
import { seedOf, seededRandom } from './random.ts';
import type { Random } from './random.ts';

export interface DemoImageOptions {
  readonly family: Family;
  /** Default 4 MiB. */
  readonly sizeBytes?: number;
  /** Default 1. Boards with the same project and version share their app whatever the seed; NVS differs. */
  readonly seed?: number;
  /** Default `blink`. */
  readonly projectName?: string;
  /** Default `1.0.0`. */
  readonly version?: string;
  /** Bytes of the app image; default 700 KiB, or what fits. */
  readonly appBytes?: number;
  /** Only on ESP8266: as the SDK lays out the end of the flash (default), or as Arduino does. */
  readonly layout?: 'sdk' | 'arduino';
  /** Least chip revision that the app asks for, major * 100 + minor; default any. Not on ESP8266. */
  readonly minRevision?: number;
}

const PARTITION_TABLE = 0x8000;
const NVS = { offset: 0x9000, size: 0x5000 };
const OTA_DATA = { offset: 0xe000, size: 0x2000 };
const APP_OFFSET = 0x10000;

/** The whole flash, `sizeBytes` long. The same options give the same bytes. */
export function demoImage(options: DemoImageOptions): Buffer {
  const settings = { sizeBytes: 4 * 1024 * 1024, seed: 1, projectName: 'blink', version: '1.0.0', ...options };
  if (settings.family !== 'esp8266') return espImage(settings);
  return settings.layout === 'arduino' ? arduinoImage(settings) : esp8266Image(settings);
}

type Settings = Required<Omit<DemoImageOptions, OptionalSetting>> & Pick<DemoImageOptions, OptionalSetting>;
type OptionalSetting = 'appBytes' | 'minRevision' | 'layout';

function espImage(settings: Settings): Buffer {
  const { family, sizeBytes, seed, projectName, version } = settings;
  const { bootOffset, chipId } = chipModelOf(family);
  const flash = Buffer.alloc(sizeBytes, 0xff);
  const appSlot = appSlotBytes(sizeBytes);
  const code = seededRandom(seedOf(`${family}/${projectName}/${version}`));
  image(chipId ?? 0, sizeBytes, [[0x3fcd5820, programLike(code, 0x4000)]]).copy(flash, bootOffset);
  partitionTable(appSlot, sizeBytes).copy(flash, PARTITION_TABLE);
  nvsPage(seededRandom(seed)).copy(flash, NVS.offset);
  otaData().copy(flash, OTA_DATA.offset);
  const appBytes = Math.min(settings.appBytes ?? 700 * 1024, appSlot - 0x1000);
  const rodata = Buffer.concat([
    appDescription(projectName, version, code),
    programLike(code, Math.floor(appBytes / 3)),
  ]);
  const segments: Segment[] = [
    [0x3c0e0020, rodata],
    [0x42000020, programLike(code, appBytes - rodata.length)],
  ];
  image(chipId ?? 0, sizeBytes, segments, settings.minRevision).copy(flash, APP_OFFSET);
  return flash;
}

/** Non-OS SDK: the app from 0 on, RF calibration, defaults and system parameters in the last five sectors. */
function esp8266Image(settings: Settings): Buffer {
  const { sizeBytes, seed, projectName, version } = settings;
  const flash = Buffer.alloc(sizeBytes, 0xff);
  const code = seededRandom(seedOf(`esp8266/${projectName}/${version}`));
  const about = `${projectName} ${version}\0AT version:1.7.4.0(May 11 2020 19:13:04)\0SDK version:3.0.4(9532ceb)\0`;
  const text = Buffer.from(about, 'latin1');
  const appBytes = Math.min(settings.appBytes ?? 380 * 1024, sizeBytes - 6 * SECTOR_BYTES);
  image8266(sizeBytes, [[0x40100000, programLike(code, 3460)]]).copy(flash, 0);
  Buffer.concat([text, programLike(code, appBytes - 0x1000 - text.length)]).copy(flash, 0x1000);
  const own = seededRandom(seed);
  const end = sizeBytes - 5 * SECTOR_BYTES;
  own.bytes(128).copy(flash, end); // RF calibration
  programLike(own, 128).copy(flash, end + SECTOR_BYTES); // esp_init_data_default
  Buffer.concat([Buffer.from('HomeNet\0'), own.bytes(200)]).copy(flash, end + 2 * SECTOR_BYTES);
  flash.fill(0, end + 4 * SECTOR_BYTES, end + 4 * SECTOR_BYTES + 8);
  return flash;
}

/**
 * eboot, and the app behind it; from the end: system parameters in three sectors, RF calibration, settings, and below
 * them a file system of 32 KiB (tools/sdk/ld/eagle.flash.512k32.ld of esp8266/Arduino, whatever the size here).
 */
function arduinoImage(settings: Settings): Buffer {
  const { sizeBytes, seed, projectName, version } = settings;
  const flash = Buffer.alloc(sizeBytes, 0xff);
  const code = seededRandom(seedOf(`arduino/${projectName}/${version}`));
  const eeprom = sizeBytes - 5 * SECTOR_BYTES;
  const literals = Buffer.alloc(16);
  [0x40200000 + eeprom - 0x8000, 0x40200000 + eeprom].forEach((word, index) => literals.writeUInt32LE(word, index * 4));
  const appBytes = Math.min(settings.appBytes ?? 380 * 1024, eeprom - 0x8000 - 2 * SECTOR_BYTES);
  image8266(sizeBytes, [[0x4010f000, programLike(code, 3460)]]).copy(flash, 0);
  const text = Buffer.concat([Buffer.from(`${projectName} ${version}\0`), Buffer.alloc(64)]).subarray(0, 64);
  const irom = Buffer.concat([literals, text, programLike(code, appBytes & ~3)]);
  image8266(sizeBytes, [
    [0x40201010, irom],
    [0x40100000, programLike(code, 0x4000)],
  ]).copy(flash, 0x1000);
  const own = seededRandom(seed);
  own.bytes(900).copy(flash, eeprom - 0x8000); // the file system
  own.bytes(400).copy(flash, eeprom);
  own.bytes(128).copy(flash, eeprom + SECTOR_BYTES); // RF calibration
  Buffer.concat([Buffer.from('HomeNet\0'), own.bytes(200)]).copy(flash, eeprom + 2 * SECTOR_BYTES);
  return flash;
}

/** The app partitions (factory, or two OTA slots) share what lies behind 0x10000. */
function appSlotBytes(sizeBytes: number): number {
  const room = sizeBytes - APP_OFFSET;
  const slot = room >= 0x200000 ? 0x140000 : room;
  return Math.floor(slot / 0x10000) * 0x10000;
}

function partitionTable(appSlot: number, sizeBytes: number): Buffer {
  const rows = [
    partition('nvs', 1, 2, NVS.offset, NVS.size),
    partition('otadata', 1, 0, OTA_DATA.offset, OTA_DATA.size),
  ];
  let at = APP_OFFSET;
  for (let slot = 0; slot < 2 && at + appSlot <= sizeBytes; slot++, at += appSlot) {
    rows.push(partition(`app${slot}`, 0, 0x10 + slot, at, appSlot));
  }
  if (sizeBytes - at >= 0x10000) rows.push(partition('spiffs', 1, 0x82, at, sizeBytes - at));
  const entries = Buffer.concat(rows);
  const digest = Buffer.concat([Buffer.from('ebeb', 'hex'), Buffer.alloc(14, 0xff), md5(entries)]);
  const table = Buffer.alloc(0xc00, 0xff);
  Buffer.concat([entries, digest]).copy(table);
  return table;
}

function partition(label: string, type: number, subtype: number, offset: number, size: number): Buffer {
  const entry = Buffer.alloc(32);
  entry.writeUInt16LE(0x50aa, 0);
  entry[2] = type;
  entry[3] = subtype;
  entry.writeUInt32LE(offset, 4);
  entry.writeUInt32LE(size, 8);
  entry.write(label, 12, 16, 'latin1');
  return entry;
}

type Segment = readonly [address: number, data: Buffer];

/** Header, extended header, segments, checksum at the end of a 16-byte line, SHA-256 of all before it. */
function image(chipId: number, sizeBytes: number, segments: readonly Segment[], minRevision = 0): Buffer {
  const extended = Buffer.alloc(16);
  extended[0] = 0xee; // WP pin not set by eFuse
  extended.writeUInt16LE(chipId, 4);
  extended.writeUInt16LE(minRevision, 7);
  extended[15] = 1; // a digest follows
  const body = Buffer.concat([header(segments.length, sizeBytes), extended, ...segments.map(segment)]);
  const whole = withChecksum(body, segments);
  return Buffer.concat([whole, createHash('sha256').update(whole).digest()]);
}

/** Flash sizes in an ESP8266 header, in KiB by their number (esptool docs, "Firmware Image Format"). */
const ESP8266_SIZES_KIB: readonly number[] = [512, 256, 1024, 2048, 4096, 0, 0, 0, 8192, 16384];

function image8266(sizeBytes: number, segments: readonly Segment[]): Buffer {
  const head = header(segments.length, sizeBytes);
  head[3] = (Math.max(0, ESP8266_SIZES_KIB.indexOf(sizeBytes / 1024)) << 4) | 0x0f;
  return withChecksum(Buffer.concat([head, ...segments.map(segment)]), segments);
}

function header(segmentCount: number, sizeBytes: number): Buffer {
  const bytes = Buffer.from([0xe9, segmentCount, 2, 0, 0, 0, 0, 0]);
  // Upper half: flash size, 1 MB = 0, 2 MB = 1, ...
  bytes[3] = (Math.max(0, Math.log2(sizeBytes) - 20) << 4) | 0x0f;
  bytes.writeUInt32LE(0x403cc710, 4);
  return bytes;
}

function segment([address, data]: Segment): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(address, 0);
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data]);
}

function withChecksum(body: Buffer, segments: readonly Segment[]): Buffer {
  let checksum = 0xef;
  for (const [, data] of segments) for (const byte of data) checksum ^= byte;
  const padded = Buffer.alloc((Math.floor(body.length / 16) + 1) * 16);
  body.copy(padded);
  padded[padded.length - 1] = checksum;
  return padded;
}

/** esp_app_desc_t, 256 bytes, first in the first segment. */
function appDescription(projectName: string, version: string, random: Random): Buffer {
  const description = Buffer.alloc(256);
  description.writeUInt32LE(0xabcd5432, 0);
  description.write(version, 16, 31, 'latin1');
  description.write(projectName, 48, 31, 'latin1');
  description.write('10:00:00', 80, 15, 'latin1');
  description.write('Nov 23 2026', 96, 15, 'latin1');
  description.write('v5.5.1', 112, 31, 'latin1');
  random.bytes(32).copy(description, 144);
  return description;
}

/** One active NVS page: header, bitmap of used entries, a handful of entries. */
function nvsPage(random: Random): Buffer {
  const page = Buffer.alloc(SECTOR_BYTES, 0xff);
  page.writeUInt32LE(0xfffffffe, 0); // active
  page.writeUInt32LE(0, 4);
  page[8] = 0xfe; // version 2
  page.writeUInt32LE(romCrc32(page.subarray(4, 28)), 28);
  const entries = 6 + random.below(20);
  for (let entry = 0; entry < entries; entry++) {
    // Two bits an entry: 10 = written.
    page[32 + (entry >> 2)] = (page[32 + (entry >> 2)] ?? 0xff) & ~(1 << ((entry % 4) * 2));
    const at = 64 + entry * 32;
    page[at] = 1;
    page[at + 1] = 0x04;
    page[at + 2] = 1;
    page[at + 3] = 0xff;
    page.write(`key${entry}\0`.padEnd(16, '\0'), at + 8, 16, 'latin1');
    random.bytes(8).copy(page, at + 24);
    const covered = Buffer.concat([page.subarray(at, at + 4), page.subarray(at + 8, at + 32)]);
    page.writeUInt32LE(romCrc32(covered), at + 4);
  }
  return page;
}

/** Slot 0 is the one to boot: sequence 1 in the first of two sectors. */
function otaData(): Buffer {
  const sector = Buffer.alloc(SECTOR_BYTES, 0xff);
  sector.writeUInt32LE(1, 0);
  sector.writeUInt32LE(romCrc32(sector.subarray(0, 4)), 28);
  return sector;
}

/** Bytes that compress about as well as machine code does: words out of a small vocabulary, now and then a new one. */
function programLike(random: Random, length: number): Buffer {
  const vocabulary = Uint32Array.from({ length: 512 }, () => random.word());
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let index = 0; index < words.length; index++) {
    words[index] = random.below(3) === 0 ? random.word() : (vocabulary[random.below(512)] ?? 0);
  }
  return Buffer.from(words.buffer, 0, length);
}

/** As the ROM's esp_rom_crc32_le gives it when started with all ones, which NVS and OTA data use. */
function romCrc32(data: Buffer): number {
  return crc32(data, 0xffffffff);
}

function md5(data: Buffer): Buffer {
  return createHash('md5').update(data).digest();
}
