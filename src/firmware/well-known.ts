/**
 * Well-known firmware by the version text that it carries, for apps without (or with a meaningless) app description.
 * Each text is one that the firmware's own source composes at build time; where it is missing the answer is null.
 */

import { SECTOR_BYTES } from '../flash.ts';

export interface KnownFirmware {
  readonly name: string;
  /** Null where the firmware is certain but its version is not. */
  readonly version: string | null;
}

/**
 * ESPHome logs it at start: https://github.com/esphome/esphome/blob/2024.6.0/esphome/core/application.cpp
 * MicroPython's banner: https://github.com/micropython/micropython/blob/v1.22.0/py/mpconfig.h
 */
const PATTERNS: readonly { name: string; version: RegExp; also?: RegExp }[] = [
  { name: 'ESPHome', version: /ESPHome version (\d{1,4}\.\d{1,3}\.\d{1,3}[\w.-]{0,16}) compiled on/i },
  { name: 'MicroPython', version: /MicroPython (v\d{1,2}\.\d{1,3}[\w.+-]{0,32}) on \d{4}-\d{2}-\d{2}/ },
  {
    // NODE_VERSION: https://github.com/nodemcu/nodemcu-firmware/blob/release/app/include/user_version.h
    // "NodeMCU 1.0" is the name of a board, so three numbers and its Lua are asked for.
    name: 'NodeMCU',
    version: /NodeMCU (\d{1,2}\.\d{1,2}\.\d{1,2}(?:\.\d{1,4})?)(?![\d.])/,
    also: /Lua 5\.\d/,
  },
  {
    // What AT+GMR answers, `AT version:1.7.4.0(May 11 2020 19:13:04)`; older builds keep the number apart from the title.
    // "ESP8266 AT Instruction Set", Espressif, section AT+GMR.
    name: 'ESP-AT',
    version: /(?:AT version:\s?|\0)(\d{1,2}\.\d{1,2}\.\d{1,2}\.\d{1,2})\([A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d\)/,
    also: /AT version:/,
  },
];

/**
 * VERSION_MARKER in the bytes that it has in flash. ESPHome carries it too (so that Tasmota accepts it as an update), hence
 * the text is asked for as well. https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/tasmota.ino
 */
const TASMOTA_MARKER = '\xa5\x5a\xa5\x5a\xff\xff\xff\xff\x5a\xa5\x5a\xa5';

/** Recognizes the firmware in a part of the flash (its app, or what is mapped of it). */
export function recognizeFirmware(bytes: Buffer): KnownFirmware | null {
  const text = bytes.toString('latin1');
  for (const { name, version, also } of PATTERNS) {
    const found = version.exec(text)?.[1];
    if (found !== undefined && (also === undefined || also.test(text))) return { name, version: found };
  }
  if (text.includes(TASMOTA_MARKER) && /Tasmota/.test(text)) return { name: 'Tasmota', version: null };
  return null;
}

/**
 * What system_get_sdk_version() of ESP8266's SDK gives, `2.2.2-dev(38a443e)`: a version with the commit in brackets, at the
 * end of a string. Null where none, or more than one, is found.
 */
export function recognizeEsp8266Sdk(bytes: Buffer): string | null {
  const found = bytes
    .toString('latin1')
    .matchAll(/(?<![\w.])(\d(?:\.\d{1,2}){2,3}(?:-[a-z]{2,8})?\([0-9a-f]{7,10}\))(?=\0)/g);
  const versions = new Set([...found].map(([, version]) => version ?? ''));
  const [version] = versions;
  return versions.size === 1 && version !== undefined ? version : null;
}

/** `cfg_holder` of Tasmota's settings unless the builder changed it: https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/my_user_config.h */
const TASMOTA_CFG_HOLDER = 4617;
const TASMOTA_SETTINGS_MAX_BYTES = SECTOR_BYTES;
export const TASMOTA_SETTINGS_HEADER_BYTES = 16;
const TASMOTA_ROTATED_SECTORS = 16;

/**
 * Sectors in which Tasmota on ESP8266 may keep its settings: the EEPROM sector below the SDK's five and those that it rotates
 * through beneath it. https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/tasmota_support/settings.ino
 *
 * @param mapSizeBytes of the flash map that the app was built for
 */
export function tasmotaSettingsOffsets(mapSizeBytes: number): number[] {
  const first = mapSizeBytes - 5 * SECTOR_BYTES;
  return Array.from({ length: TASMOTA_ROTATED_SECTORS }, (_, sector) => first - sector * SECTOR_BYTES).filter(
    (at) => at > 0,
  );
}

/**
 * The version in the newest of several settings headers (struct TSettings: holder, size, save counter, version), or null.
 * https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/include/tasmota_types.h
 */
export function tasmotaVersion(headers: readonly Buffer[]): string | null {
  let newest = { saves: -1, version: 0 };
  for (const header of headers) {
    if (header.length < TASMOTA_SETTINGS_HEADER_BYTES || header.readUInt16LE(0) !== TASMOTA_CFG_HOLDER) continue;
    if (header.readUInt16LE(2) > TASMOTA_SETTINGS_MAX_BYTES) continue;
    const saves = header.readUInt32LE(4);
    if (saves > newest.saves && saves !== 0xffffffff) newest = { saves, version: header.readUInt32LE(8) };
  }
  if (newest.saves < 0) return null;
  const [major = 0, minor = 0, patch = 0, build = 0] = [24, 16, 8, 0].map((shift) => (newest.version >>> shift) & 0xff);
  return `${major}.${minor}.${patch}${build === 0 ? '' : `.${build}`}`;
}
