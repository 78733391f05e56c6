/**
 * Tasmota's settings: where they are, and the version that they were written by, which is no text in the app.
 *
 * On an ESP8266 they rotate through sectors; layout: the comment at the head of
 * https://github.com/arendst/Tasmota/blob/v14.0.0/tasmota/tasmota_support/settings.ino
 * On the ESP32 family they are a blob in NVS, and in a file that is written with it (`SettingsWrite`):
 * https://github.com/arendst/Tasmota/blob/098e29d7e07d00f3aae0814229c037d56c4911d9/tasmota/tasmota_support/support_esp32.ino
 */

import { SECTOR_BYTES } from '../flash.ts';
import type { BoundedFlash } from './bytes.ts';
import { dataArea, type Area } from './esp8266.ts';
import { readNvs } from './nvs.ts';
import type { Partition } from './partitions.ts';

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

/** struct TSettings begins with holder, size, save counter, version: tasmota/include/tasmota_types.h. */
interface SettingsHeader {
  readonly saves: number;
  readonly version: number;
}

async function settingsIn(
  flash: BoundedFlash,
  { offset, end }: { offset: number; end: number },
): Promise<SettingsHeader[]> {
  const found: SettingsHeader[] = [];
  for (let at = offset; at < end; at += SECTOR_BYTES) {
    const header = parseHeader(await flash.read(at, HEADER_BYTES));
    if (header !== null) found.push(header);
  }
  return found;
}

function parseHeader(start: Buffer): SettingsHeader | null {
  if (start.length < HEADER_BYTES || start.readUInt16LE(0) !== CFG_HOLDER) return null;
  if (start.readUInt16LE(2) > SECTOR_BYTES) return null;
  const saves = start.readUInt32LE(4);
  return saves === 0xffffffff ? null : { saves, version: start.readUInt32LE(8) };
}

const NVS_NAMESPACE = 'main';
const NVS_KEY = 'Settings';
/** Its own tables have 20 KiB; more is not read. */
const MAX_NVS_BYTES = 256 * 1024;

/** The version on the ESP32 family; null where NVS is blank, encrypted or without settings of Tasmota. */
export async function tasmotaNvsVersion(flash: BoundedFlash, partitions: readonly Partition[]): Promise<string | null> {
  const partition = partitions.find(({ type, subtype }) => type === 'data' && subtype === 'nvs');
  if (partition === undefined || partition.sizeBytes > MAX_NVS_BYTES) return null;
  const { entries } = readNvs(await flash.read(partition.offset, partition.sizeBytes));
  const blob = entries.find(
    ({ namespace, key, type }) => namespace === NVS_NAMESPACE && key === NVS_KEY && type === 'blob',
  )?.value;
  const header = blob instanceof Uint8Array ? parseHeader(Buffer.from(blob)) : null;
  return header === null ? null : versionText(header.version);
}

function versionText(version: number): string {
  const [major = 0, minor = 0, patch = 0, build = 0] = [24, 16, 8, 0].map((shift) => (version >>> shift) & 0xff);
  return `${major}.${minor}.${patch}${build === 0 ? '' : `.${build}`}`;
}
