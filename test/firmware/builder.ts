/**
 * Flash images for tests, written from ESP-IDF's and esptool's documentation alone: shares no code with src/firmware (nor
 * with the simulator), or a misreading would cancel itself out.
 *
 * https://docs.espressif.com/projects/esp-idf/en/v5.5/esp32/api-guides/partition-tables.html
 * https://docs.espressif.com/projects/esp-idf/en/v5.5/esp32/api-reference/system/app_image_format.html
 * https://docs.espressif.com/projects/esptool/en/latest/esp32/advanced-topics/firmware-image-format.html
 */

import { createHash } from 'node:crypto';

export const KIB = 1024;
export const MIB = 1024 * KIB;

export interface Row {
  readonly label: string | Buffer;
  readonly type: number;
  readonly subtype: number;
  readonly offset: number;
  readonly size: number;
  readonly flags?: number;
}

const u8 = (value: number) => Buffer.from([value & 0xff]);
export function u16(value: number): Buffer {
  return Buffer.from([value & 0xff, (value >>> 8) & 0xff]);
}
export function u32(value: number): Buffer {
  return Buffer.from([value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, (value >>> 24) & 0xff]);
}
function field(text: string | Buffer, width: number): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([bytes, Buffer.alloc(width)]).subarray(0, width);
}

export function row({ label, type, subtype, offset, size, flags = 0 }: Row): Buffer {
  return Buffer.concat([
    Buffer.from('aa50', 'hex'),
    u8(type),
    u8(subtype),
    u32(offset),
    u32(size),
    field(label, 16),
    u32(flags),
  ]);
}

/** The whole sector of a table. */
export function tableSector(rows: readonly Row[], options: { md5?: boolean | Buffer } = {}): Buffer {
  const { md5 = true } = options;
  const entries = Buffer.concat(rows.map(row));
  const parts: Buffer[] = [entries];
  if (md5 !== false) {
    const digest = md5 === true ? createHash('md5').update(entries).digest() : md5;
    parts.push(Buffer.from('ebeb' + 'ff'.repeat(14), 'hex'), digest);
  }
  const bytes = Buffer.concat(parts);
  return Buffer.concat([bytes, Buffer.alloc(0x1000 - bytes.length, 0xff)]);
}

/** "Factory app, two OTA definitions" of ESP-IDF's documentation. */
export const TWO_OTA: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x4000 },
  { label: 'otadata', type: 1, subtype: 0, offset: 0xd000, size: 0x2000 },
  { label: 'phy_init', type: 1, subtype: 1, offset: 0xf000, size: 0x1000 },
  { label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0x100000 },
  { label: 'ota_0', type: 0, subtype: 0x10, offset: 0x110000, size: 0x100000 },
  { label: 'ota_1', type: 0, subtype: 0x11, offset: 0x210000, size: 0x100000 },
];

export interface AppTexts {
  readonly project?: string | Buffer;
  readonly version?: string | Buffer;
  readonly time?: string;
  readonly date?: string;
  readonly idf?: string;
  readonly elfSha256?: Buffer;
}

/** esp_app_desc_t. */
export function appDescription(texts: AppTexts = {}): Buffer {
  return Buffer.concat([
    Buffer.from('3254cdab', 'hex'),
    u32(7),
    Buffer.alloc(8),
    field(texts.version ?? '1.2.3', 32),
    field(texts.project ?? 'thermostat', 32),
    field(texts.time ?? '10:11:12', 16),
    field(texts.date ?? 'Mar 14 2024', 16),
    field(texts.idf ?? 'v5.1.4', 32),
    texts.elfSha256 ?? Buffer.alloc(32, 0xab),
    Buffer.alloc(80),
  ]);
}

/** esp_bootloader_desc_t. */
export function bootloaderDescription(): Buffer {
  return Buffer.concat([
    Buffer.from([80, 0, 0, 0]),
    u32(1),
    field('v5.1.4', 32),
    field('Mar 14 2024 10:10:00', 24),
    Buffer.alloc(16),
  ]);
}

/** wled_metadata_t; `hashOff` is added to its hash. */
export function wledDescription(version: string, release: string, hashOff = 0): Buffer {
  let hash = 5381n;
  for (const character of Buffer.from(release)) hash = (hash * 33n + BigInt(character)) & 0xffffffffn;
  return Buffer.concat([
    u32(0x57535453),
    u32(1),
    field(version, 48),
    field(release, 48),
    u32(Number(hash) + hashOff),
    Buffer.from([0, 15, 2]),
  ]);
}

export interface Segment {
  readonly address: number;
  readonly data: Buffer;
}

/** Deterministic filler that contains no long runs. */
export function filler(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

function segmentBytes({ address, data }: Segment): Buffer {
  return Buffer.concat([u32(address), u32(data.length), data]);
}

/** Zeros, and the xor of all `summed` and 0xEF as the last byte of a row of 16. */
function withChecksum(image: Buffer, summed: readonly Segment[]): Buffer {
  let sum = 0xef;
  for (const { data } of summed) for (const byte of data) sum = sum ^ byte;
  let whole = image;
  while (whole.length % 16 !== 15) whole = Buffer.concat([whole, u8(0)]);
  return Buffer.concat([whole, u8(sum)]);
}

/** An image of the ESP32 family. */
export function esp32Image(
  segments: readonly Segment[],
  options: {
    chipId?: number;
    digest?: boolean;
    mode?: number;
    sizeFreq?: number;
    minRev?: number;
    maxRev?: number;
  } = {},
): Buffer {
  const { chipId = 0, digest = true, mode = 2, sizeFreq = 0x2f, minRev = 0, maxRev = 399 } = options;
  const head = Buffer.concat([
    Buffer.from([0xe9, segments.length, mode, sizeFreq]),
    u32(0x40081234),
    Buffer.from([0xee, 0, 0, 0]),
    u16(chipId),
    u8(0),
    u16(minRev),
    u16(maxRev),
    Buffer.alloc(4),
    u8(digest ? 1 : 0),
  ]);
  const whole = withChecksum(Buffer.concat([head, ...segments.map(segmentBytes)]), segments);
  return digest ? Buffer.concat([whole, createHash('sha256').update(whole).digest()]) : whole;
}

export function esp32App(texts: AppTexts = {}, options: { chipId?: number; extra?: Buffer } = {}): Buffer {
  const rodata = Buffer.concat([appDescription(texts), options.extra ?? Buffer.alloc(0), filler(3000)]);
  const segments = [
    { address: 0x3f400020, data: rodata },
    { address: 0x3ffb0000, data: filler(500, 2) },
    { address: 0x400d0020, data: filler(9001, 3) },
  ];
  return esp32Image(segments, options);
}

export function esp32Bootloader(chipId = 0): Buffer {
  const data = Buffer.concat([bootloaderDescription(), filler(400)]);
  return esp32Image(
    [
      { address: 0x3fff0030, data },
      { address: 0x40078000, data: filler(6000, 5) },
    ],
    { chipId },
  );
}

/** ESP8266: magic 0xE9 and 8 bytes of header. Size and frequency: high and low four bits of `sizeFreq`. */
export function esp8266Image(segments: readonly Segment[], sizeFreq = 0x40): Buffer {
  const head = Buffer.concat([Buffer.from([0xe9, segments.length, 2, sizeFreq]), u32(0x40100004)]);
  return withChecksum(Buffer.concat([head, ...segments.map(segmentBytes)]), segments);
}

/** ESP8266 v2: one segment that stays in flash, then a v1 header with the others. */
export function esp8266ImageV2(inFlash: Buffer, segments: readonly Segment[], sizeFreq = 0x40): Buffer {
  const outer = Buffer.concat([
    Buffer.from([0xea, 4, 2, sizeFreq]),
    u32(0x40100004),
    segmentBytes({ address: 0, data: inFlash }),
  ]);
  const inner = Buffer.concat([Buffer.from([0xe9, segments.length, 2, sizeFreq]), u32(0x40100004)]);
  return withChecksum(Buffer.concat([outer, inner, ...segments.map(segmentBytes)]), segments);
}

/** CRC-32 of otatool.py: `binascii.crc32(seq, 0xFFFFFFFF)`; bit by bit, as a second opinion. */
export function otaCrc(sequence: number): number {
  let crc = 0;
  for (const byte of u32(sequence)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** esp_ota_select_entry_t. */
export function otaRecord(sequence: number, state = 0xffffffff, crc = otaCrc(sequence)): Buffer {
  return Buffer.concat([u32(sequence), Buffer.alloc(20, 0xff), u32(state), u32(crc)]);
}

/** A blank flash with `parts` written to it. */
export function flashWith(sizeBytes: number, parts: readonly (readonly [offset: number, bytes: Buffer])[]): Buffer {
  const flash = Buffer.alloc(sizeBytes, 0xff);
  for (const [offset, bytes] of parts) bytes.copy(flash, offset);
  return flash;
}

export interface CountingReader {
  readonly read: (offset: number, length: number) => Promise<Buffer>;
  bytes: number;
  reads: number;
}

/** A reader as strict as an archive's: outside of the flash it throws. Counts what it is asked for. */
export function readerOf(flash: Buffer): CountingReader {
  const reader: CountingReader = {
    bytes: 0,
    reads: 0,
    read: (offset, length) => {
      if (
        !Number.isInteger(offset) ||
        !Number.isInteger(length) ||
        offset < 0 ||
        length < 1 ||
        offset + length > flash.length
      ) {
        return Promise.reject(new RangeError(`read of ${length} at ${offset} in ${flash.length}`));
      }
      reader.bytes += length;
      reader.reads += 1;
      return Promise.resolve(Buffer.from(flash.subarray(offset, offset + length)));
    },
  };
  return reader;
}
