/**
 * Tasmota's settings on an ESP8266: which sectors they rotate through, and the version that they were written by, which
 * is no text in the app. Layout: the comment at the head of
 * https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/tasmota_support/settings.ino
 */

import { SECTOR_BYTES } from '../flash.ts';
import type { BoundedFlash } from './bytes.ts';
import { dataArea, type Area } from './esp8266.ts';

/** `cfg_holder` unless the builder changed it: https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/my_user_config.h */
const CFG_HOLDER = 4617;
const HEADER_BYTES = 16;

const MIB = 1024 * 1024;
/** CFG_ROTATES, and below them the sector that counts power cycles. */
const ROTATED_BYTES = 8 * SECTOR_BYTES;
/**
 * Last sector of the rotation, SETTINGS_LOCATION: below the file system of a script for 1 MB, or in the first megabyte
 * with the scripts that have their file system beyond it.
 */
const LAST_SECTOR_OF_1_MB = 0xfa000;
const LAST_SECTOR = 0xfd000;
/** Releases without a file system (before 9) rotate from the EEPROM sector down. */
const OLD_ROTATED_BYTES = 7 * SECTOR_BYTES;

export interface TasmotaSettings {
  /** Null where no sector holds settings. */
  readonly version: string | null;
  /** The rotation as one area, `settings`; none where it holds nothing. The EEPROM sector is not in it. */
  readonly areas: Area[];
}

/** @param mapSizeBytes of the flash map that the app was linked for */
export async function tasmotaSettings(flash: BoundedFlash, mapSizeBytes: number): Promise<TasmotaSettings> {
  const eeprom = mapSizeBytes - 5 * SECTOR_BYTES;
  const last = mapSizeBytes <= MIB ? LAST_SECTOR_OF_1_MB : LAST_SECTOR;
  const rotations = [
    { offset: last + SECTOR_BYTES - ROTATED_BYTES, end: last + SECTOR_BYTES },
    { offset: eeprom - OLD_ROTATED_BYTES, end: eeprom },
  ];
  const all = await settingsIn(flash, { offset: eeprom, end: eeprom + SECTOR_BYTES });
  let best: { offset: number; end: number; saves: number } | null = null;
  for (const rotation of rotations) {
    const found = await settingsIn(flash, rotation);
    all.push(...found);
    // After an update from an old release both may hold some; those saved last are in use.
    const saves = Math.max(...found.map((header) => header.saves));
    if (found.length > 0 && (best === null || saves > best.saves)) best = { ...rotation, saves };
  }
  const newest = all.reduce<SettingsHeader | null>((a, b) => (a === null || b.saves > a.saves ? b : a), null);
  return {
    version: newest === null ? null : versionText(newest.version),
    areas: best === null ? [] : [dataArea('settings', best.offset, best.end - best.offset, 'tasmota')],
  };
}

interface SettingsHeader {
  readonly saves: number;
  readonly version: number;
}

/** struct TSettings begins with holder, size, save counter, version: tasmota/include/tasmota_types.h. */
async function settingsIn(
  flash: BoundedFlash,
  { offset, end }: { offset: number; end: number },
): Promise<SettingsHeader[]> {
  const found: SettingsHeader[] = [];
  for (let at = offset; at < end; at += SECTOR_BYTES) {
    const header = await flash.read(at, HEADER_BYTES);
    if (header.length < HEADER_BYTES || header.readUInt16LE(0) !== CFG_HOLDER) continue;
    if (header.readUInt16LE(2) > SECTOR_BYTES) continue;
    const saves = header.readUInt32LE(4);
    if (saves !== 0xffffffff) found.push({ saves, version: header.readUInt32LE(8) });
  }
  return found;
}

function versionText(version: number): string {
  const [major = 0, minor = 0, patch = 0, build = 0] = [24, 16, 8, 0].map((shift) => (version >>> shift) & 0xff);
  return `${major}.${minor}.${patch}${build === 0 ? '' : `.${build}`}`;
}
