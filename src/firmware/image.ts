/**
 * Bootable images: the header that ROM and bootloader read, the segments behind it, checksum and digest at the end.
 *
 * ESP8266: 8 bytes of header with magic 0xE9 (v1); or magic 0xEA (v2, for Espressif's OTA boot loader and rBoot): one
 * segment that stays in flash, then a whole v1 header with the segments for RAM. All others: 0xE9 and 16 bytes more.
 * https://docs.espressif.com/projects/esptool/en/latest/esp8266/advanced-topics/firmware-image-format.html
 * https://docs.espressif.com/projects/esptool/en/latest/esp32/advanced-topics/firmware-image-format.html
 * https://github.com/espressif/esp-idf/blob/0431e088831b6db1f219c0f4f6f68f59fb973740/components/bootloader_support/include/esp_app_format.h
 * https://github.com/espressif/ESP8266_RTOS_SDK/blob/32f4899b0b7cb16cdf300cf9c35aacc0a138a2d5/components/bootloader_support/include/esp_image_format.h
 */

import { createHash } from 'node:crypto';

import { hex, type BoundedFlash, type ReadFlash } from './bytes.ts';

const MAGIC = 0xe9;
const MAGIC_V2 = 0xea;
/** Stands where v1 has the number of segments, and is always this in v2. */
const V2_MARK = 4;
const COMMON_HEADER_BYTES = 8;
const EXTENDED_HEADER_BYTES = 24;
const SEGMENT_HEADER_BYTES = 8;
/** ESP_IMAGE_MAX_SEGMENTS of esp_app_format.h. */
const MAX_SEGMENTS = 16;
const CHECKSUM_SEED = 0xef;
const CHECKSUM_ROW_BYTES = 16;
const SHA256_BYTES = 32;
const NO_MAX_REVISION = 0xffff;

/** esp_image_spi_mode_t. */
const FLASH_MODES = ['qio', 'qout', 'dio', 'dout', 'fast-read', 'slow-read'] as const;
export type FlashMode = (typeof FLASH_MODES)[number];

/** esp_chip_id_t of ESP-IDF v5.5, by the families that espd knows. */
const CHIP_FAMILIES: ReadonlyMap<number, string> = new Map([
  [0x0000, 'esp32'],
  [0x0002, 'esp32s2'],
  [0x0005, 'esp32c3'],
  [0x0009, 'esp32s3'],
  [0x000c, 'esp32c2'],
  [0x000d, 'esp32c6'],
  [0x0010, 'esp32h2'],
  [0x0012, 'esp32p4'],
  [0x0014, 'esp32c61'],
  [0x0017, 'esp32c5'],
  [0x001c, 'esp32h4'],
  [0x0020, 'esp32s31'],
]);

/** Those families, each of which an image with an extended header can name. */
export const IMAGE_FAMILIES: readonly string[] = [...CHIP_FAMILIES.values()];

const KIB = 1024;
const MIB = 1024 * KIB;
const ESP32_FLASH_SIZES = [1, 2, 4, 8, 16, 32, 64, 128].map((size) => size * MIB);
/** 5 and 6 are the maps 1024+1024 of 2 and 4 MB; 7 is unused. */
const ESP8266_FLASH_SIZES: readonly (number | null)[] = [
  ...[512 * KIB, 256 * KIB, MIB, 2 * MIB, 4 * MIB, 2 * MIB, 4 * MIB],
  null,
  ...[8 * MIB, 16 * MIB],
];

/** Low four bits of byte 3, in MHz; where the chip's source clock decides (ESP32-C6, value 0) nothing can be said. */
const FREQUENCIES_MHZ: Readonly<Record<number, number>> = { 0: 40, 1: 26, 2: 20, 15: 80 };
const FREQUENCIES_MHZ_BY_FAMILY: ReadonlyMap<string, Readonly<Record<number, number>>> = new Map([
  ['esp32c2', { 0: 30, 1: 20, 2: 15, 15: 60 }],
  ['esp32h2', { 0: 24, 1: 16, 2: 12, 15: 48 }],
  ['esp32h4', { 0: 24, 1: 16, 2: 12, 15: 48 }],
  ['esp32c6', { 2: 20 }],
]);

export interface ImageHeader {
  /** 1 or 2; 2 is ESP8266's format with magic 0xEA. */
  readonly version: 1 | 2;
  readonly headerBytes: 8 | 24;
  /** 1 to 16; in v2 that of the header behind the flash segment is not known yet, and this is 1. */
  readonly segmentCount: number;
  readonly flashMode: FlashMode | null;
  readonly flashFrequencyMHz: number | null;
  /** What the image believes the flash to have; null for values without a meaning. */
  readonly flashSizeBytes: number | null;
  readonly entryAddress: number;
  /** Null on ESP8266, which has no extended header. */
  readonly extended: {
    readonly chipId: number;
    /** Null for a chip that espd does not know. */
    readonly chipFamily: string | null;
    /** Major * 100 + minor. */
    readonly minRevision: number;
    /** What builds before ESP-IDF 4.4.2 have instead: a major version, or on ESP32-C3 a minor one. */
    readonly oldMinRevision: number;
    /** Null where the image names none. */
    readonly maxRevision: number | null;
    readonly digestAppended: boolean;
  } | null;
}

/**
 * The header at the start of `bytes` (24 are enough), or null where there is none: no magic, too short, or a number of
 * segments that no image has.
 *
 * @param family of the chip, `esp8266`, `esp32`, `esp32c3`, ...; decides the format
 */
export function parseImageHeader(bytes: Buffer, family: string): ImageHeader | null {
  const isEsp8266 = family === 'esp8266';
  const headerBytes = isEsp8266 ? COMMON_HEADER_BYTES : EXTENDED_HEADER_BYTES;
  if (bytes.length < headerBytes) return null;
  const magic = bytes.readUInt8(0);
  const isV2 = isEsp8266 && magic === MAGIC_V2 && bytes.readUInt8(1) === V2_MARK;
  if (magic !== MAGIC && !isV2) return null;
  const segmentCount = isV2 ? 1 : bytes.readUInt8(1);
  if (segmentCount < 1 || segmentCount > MAX_SEGMENTS) return null;

  const sizeAndFrequency = bytes.readUInt8(3);
  const sizes = isEsp8266 ? ESP8266_FLASH_SIZES : ESP32_FLASH_SIZES;
  const frequencies = FREQUENCIES_MHZ_BY_FAMILY.get(family) ?? FREQUENCIES_MHZ;
  return {
    version: isV2 ? 2 : 1,
    headerBytes,
    segmentCount,
    flashMode: FLASH_MODES[bytes.readUInt8(2)] ?? null,
    flashFrequencyMHz: frequencies[sizeAndFrequency & 0x0f] ?? null,
    flashSizeBytes: sizes[sizeAndFrequency >> 4] ?? null,
    entryAddress: bytes.readUInt32LE(4),
    extended: isEsp8266 ? null : parseExtendedHeader(bytes),
  };
}

function parseExtendedHeader(bytes: Buffer): ImageHeader['extended'] {
  const chipId = bytes.readUInt16LE(12);
  const maxRevision = bytes.readUInt16LE(17);
  return {
    chipId,
    chipFamily: CHIP_FAMILIES.get(chipId) ?? null,
    minRevision: bytes.readUInt16LE(15),
    oldMinRevision: bytes.readUInt8(14),
    maxRevision: maxRevision === 0 || maxRevision === NO_MAX_REVISION ? null : maxRevision,
    digestAppended: bytes.readUInt8(23) === 1,
  };
}

export interface ImageSegment {
  /** Of the data, from the start of the flash. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly loadAddress: number;
  /** False for the segment of a v2 image that stays in flash. */
  readonly checksummed: boolean;
}

export interface Image {
  readonly offset: number;
  /** Header to checksum or appended digest, inclusive; signatures behind them are not counted. */
  readonly sizeBytes: number;
  readonly header: ImageHeader;
  readonly segments: readonly ImageSegment[];
  /** Of the one checksum byte, from the start of the flash. */
  readonly checksumOffset: number;
  /** Of the appended SHA-256, from the start of the flash; null where there is none. */
  readonly digestOffset: number | null;
}

/** An image; or a header whose segments lead astray, with the reason; or null for no header at all. */
export type ImageFinding =
  | { readonly header: ImageHeader; readonly image: Image; readonly problem: null }
  | { readonly header: ImageHeader; readonly image: null; readonly problem: string };

/**
 * Looks for an image at `offset` and walks its segments (at most 17 small reads).
 *
 * @param endOffset where the image must end at the latest: the end of its partition
 */
export async function findImage(
  flash: BoundedFlash,
  offset: number,
  endOffset: number,
  family: string,
): Promise<ImageFinding | null> {
  const header = parseImageHeader(await flash.read(offset, EXTENDED_HEADER_BYTES), family);
  if (header === null) return null;
  const broken = (why: string): ImageFinding => ({
    header,
    image: null,
    problem: `The image at ${hex(offset)} is broken: ${why}`,
  });

  const limit = Math.min(endOffset, flash.sizeBytes);
  const segments: ImageSegment[] = [];
  let at = offset + header.headerBytes;
  let left = header.segmentCount;
  let inFlashSegment = header.version === 2;
  while (left > 0) {
    const segmentHeader = await flash.read(at, SEGMENT_HEADER_BYTES);
    if (at + SEGMENT_HEADER_BYTES > limit || segmentHeader.length < SEGMENT_HEADER_BYTES) {
      return broken(`segment ${segments.length} begins beyond the end`);
    }
    at += SEGMENT_HEADER_BYTES;
    const sizeBytes = segmentHeader.readUInt32LE(4);
    if (at + sizeBytes > limit)
      return broken(`segment ${segments.length} of ${hex(sizeBytes)} bytes ends beyond the end`);
    const loadAddress = segmentHeader.readUInt32LE(0);
    segments.push({ offset: at, sizeBytes, loadAddress, checksummed: !inFlashSegment });
    at += sizeBytes;
    left -= 1;
    if (inFlashSegment) {
      const inner = parseImageHeader(await flash.read(at, COMMON_HEADER_BYTES), family);
      if (inner?.version !== 1) return broken('no second header behind the segment that stays in flash');
      inFlashSegment = false;
      left = inner.segmentCount;
      at += COMMON_HEADER_BYTES;
    }
  }

  // Padded so that the checksum is the last byte of a row of 16, counted from the image's start.
  const checksumOffset = at + (CHECKSUM_ROW_BYTES - 1) - ((at - offset) % CHECKSUM_ROW_BYTES);
  const digestOffset = header.extended?.digestAppended === true ? checksumOffset + 1 : null;
  const end = digestOffset === null ? checksumOffset + 1 : digestOffset + SHA256_BYTES;
  if (end > limit) return broken('its checksum or digest is beyond the end');
  return {
    header,
    image: { offset, sizeBytes: end - offset, header, segments, checksumOffset, digestOffset },
    problem: null,
  };
}

export interface ImageVerdict {
  readonly checksumOk: boolean;
  /** Null where no digest is appended. */
  readonly digestOk: boolean | null;
}

const CHUNK_BYTES = 64 * KIB;

/**
 * Computes checksum and SHA-256 of an image anew: reads all of it, once, in chunks of 64 KiB.
 *
 * A wrong digest is no damage in a bootloader: esptool before v4 changed flash mode, frequency and size in the header when
 * writing and left the digest as it was, and ESP-IDF does not check it there without secure boot.
 * https://github.com/espressif/esp-idf/blob/002cd296e1a7081681bc792db8eeaa89bfa0e89d/components/bootloader_support/src/esp_image_format.c
 *
 * Rejects only if `read` does; a reader that gives too little makes the verdict false.
 */
export async function verifyImage(read: ReadFlash, image: Image): Promise<ImageVerdict> {
  const sha256 = createHash('sha256');
  const hashedEnd = image.checksumOffset + 1;
  let checksum = CHECKSUM_SEED;
  let stored = -1;
  for (let at = image.offset; at < hashedEnd; at += CHUNK_BYTES) {
    const length = Math.min(CHUNK_BYTES, hashedEnd - at);
    const chunk = await read(at, length);
    if (chunk.length < length) return { checksumOk: false, digestOk: image.digestOffset === null ? null : false };
    sha256.update(chunk.subarray(0, length));
    for (const { offset, sizeBytes, checksummed } of image.segments) {
      if (!checksummed) continue;
      const from = Math.max(offset, at) - at;
      const to = Math.min(offset + sizeBytes, at + length) - at;
      if (from < to) checksum ^= xorOf(chunk.subarray(from, to));
    }
    if (at + length === hashedEnd) stored = chunk.readUInt8(length - 1);
  }
  const checksumOk = checksum === stored;
  if (image.digestOffset === null) return { checksumOk, digestOk: null };
  const digest = await read(image.digestOffset, SHA256_BYTES);
  return { checksumOk, digestOk: sha256.digest().equals(digest) };
}

function xorOf(bytes: Buffer): number {
  let sum = 0;
  for (const byte of bytes) sum ^= byte;
  return sum;
}
