/**
 * What apps and bootloaders built with ESP-IDF say of themselves: a structure at the start of their first segment, 32
 * bytes into the image (8 bytes less on ESP8266).
 * https://github.com/espressif/esp-idf/blob/1929b27cfceedf9af98fe491750701db236c93fa/components/esp_app_format/include/esp_app_desc.h
 * https://github.com/espressif/esp-idf/blob/1929b27cfceedf9af98fe491750701db236c93fa/components/esp_bootloader_format/include/esp_bootloader_desc.h
 */

import { cText } from './bytes.ts';

/** sizeof(esp_app_desc_t); esp_bootloader_desc_t is shorter. */
export const DESCRIPTION_BYTES = 256;

const APP_MAGIC = 0xabcd5432;
const BOOTLOADER_MAGIC = 80;
const BOOTLOADER_DESCRIPTION_BYTES = 80;

/** Texts are printable, and null where the field is empty. */
export interface AppDescription {
  readonly project: string | null;
  readonly version: string | null;
  /** As the build wrote it: `v5.1.4`, `v4.4.6-dirty`. */
  readonly idfVersion: string | null;
  /** Date and time of the build machine's compiler, without a zone: `Mar 14 2024 10:11:12`. */
  readonly built: string | null;
  /** Lower-case hex; null where the build left it blank. */
  readonly elfSha256: string | null;
  /** Anti-rollback counter. */
  readonly secureVersion: number;
}

/** esp_app_desc_t at the start of `bytes`, or null. */
export function parseAppDescription(bytes: Buffer): AppDescription | null {
  if (bytes.length < DESCRIPTION_BYTES || bytes.readUInt32LE(0) !== APP_MAGIC) return null;
  const time = textOf(bytes, 80, 16);
  const date = textOf(bytes, 96, 16);
  const elfSha256 = bytes.subarray(144, 176);
  return {
    secureVersion: bytes.readUInt32LE(4),
    version: textOf(bytes, 16, 32),
    project: textOf(bytes, 48, 32),
    built: date !== null && time !== null ? `${date} ${time}` : (date ?? time),
    idfVersion: textOf(bytes, 112, 32),
    elfSha256: elfSha256.some((byte) => byte !== 0) ? elfSha256.toString('hex') : null,
  };
}

export interface BootloaderDescription {
  /** CONFIG_BOOTLOADER_PROJECT_VER. */
  readonly version: number;
  readonly idfVersion: string | null;
  readonly built: string | null;
}

/**
 * esp_bootloader_desc_t at the start of `bytes`, or null. The magic is a single byte, so a version text that is no
 * version (ESP-IDF 5.1 was the first to write this structure) counts as none.
 */
export function parseBootloaderDescription(bytes: Buffer): BootloaderDescription | null {
  if (bytes.length < BOOTLOADER_DESCRIPTION_BYTES || bytes.readUInt8(0) !== BOOTLOADER_MAGIC) return null;
  const idfVersion = textOf(bytes, 8, 32);
  if (idfVersion !== null && !/^[\w.+/-]+$/.test(idfVersion)) return null;
  const built = textOf(bytes, 40, 24);
  if (idfVersion === null && built === null) return null;
  return { version: bytes.readUInt32LE(4), idfVersion, built };
}

function textOf(bytes: Buffer, offset: number, length: number): string | null {
  const text = cText(bytes.subarray(offset, offset + length)).trim();
  return text === '' ? null : text;
}
