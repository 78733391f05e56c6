/**
 * Arduino's layout of an ESP8266's flash, which Tasmota, ESPHome, WLED and ESPEasy share. From the end: settings (its
 * EEPROM) at -0x5000, RF calibration at -0x4000, the SDK's parameters at -0x3000; the SDK alone has calibration where
 * Arduino has settings. Two sizes are meant by "the end": the header's for the SDK, the linker script's for Arduino.
 * https://github.com/esp8266/Arduino/blob/f946290ea993db029a90010927cdc1d645c91940/cores/esp8266/core_esp8266_main.cpp (`user_pre_init`)
 * https://github.com/esp8266/Arduino/blob/f946290ea993db029a90010927cdc1d645c91940/cores/esp8266/core_esp8266_phy.cpp (`user_rf_cal_sector_set`)
 */

import { SECTOR_BYTES } from '../flash.ts';
import type { BoundedFlash } from './bytes.ts';
import { dataArea, MAP_SIZES, type Area } from './esp8266.ts';
import { arduinoFileSystem } from './esp8266-filesystem.ts';
import { parseImageHeader, type Image } from './image.ts';

const MIB = 1024 * 1024;

/** Where eboot, Arduino's boot loader, runs: bootloaders/eboot/eboot.ld. */
const EBOOT_ADDRESS = 0x4010f000;
/** Where the flash is mapped: addresses in tools/sdk/ld/eagle.flash.*.ld are offsets from here. */
const FLASH_ADDRESS = 0x40200000;
const EEPROM_FROM_END = 5 * SECTOR_BYTES;
const RF_CAL_FROM_END = 4 * SECTOR_BYTES;
const SYSTEM_PARAM_FROM_END = 3 * SECTOR_BYTES;
/** End of a file system with blocks of two sectors, in scripts of 2 MB and more. */
const LARGE_FS_FROM_END = 6 * SECTOR_BYTES;

/** eboot, and the app behind it: tools/elf2bin.py writes both as v1 images, where Espressif's and rBoot's app is v2. */
export function isArduino([boot, app]: readonly Image[]): boolean {
  return (
    boot?.header.version === 1 &&
    boot.segments[0]?.loadAddress === EBOOT_ADDRESS &&
    app?.offset === SECTOR_BYTES &&
    app.header.version === 1
  );
}

/** The same by the first 16 bytes of a flash or more, as far as they tell. */
export function beginsWithEboot(start: Buffer): boolean {
  const header = parseImageHeader(start, 'esp8266');
  return header?.version === 1 && start.length >= 12 && start.readUInt32LE(8) === EBOOT_ADDRESS;
}

/**
 * The size of flash that the app was linked for, which need not be the header's: esptool may put the real size there
 * (`--flash-size detect`), and EEPROM and file system stay where the script had them.
 *
 * The script's addresses are whole words in the app (`_EEPROM_start`, `_FS_end`), with or without the mapping's address.
 * Without any, the header's size is the best guess. An app that finds its map when it starts ("mapping defined by
 * hardware") has a table of all sizes, and goes by the real one.
 *
 * @param app from offset 0x1000 of the flash on, or any other multiple of 4
 */
export function linkedMapSize(app: Buffer, headerSizeBytes: number, flashSizeBytes: number): number {
  const meanings = new Map<number, { sizeBytes: number; isEeprom: boolean }>();
  for (const sizeBytes of MAP_SIZES) {
    for (const base of [0, FLASH_ADDRESS]) {
      meanings.set(base + sizeBytes - EEPROM_FROM_END, { sizeBytes, isEeprom: true });
      if (sizeBytes >= 2 * MIB) meanings.set(base + sizeBytes - LARGE_FS_FROM_END, { sizeBytes, isEeprom: false });
    }
  }
  const found = new Set<number>();
  const eeproms = new Set<number>();
  for (let at = 0; at + 4 <= app.length; at += 4) {
    const meaning = meanings.get(app.readUInt32LE(at));
    if (meaning === undefined) continue;
    found.add(meaning.sizeBytes);
    if (meaning.isEeprom) eeproms.add(meaning.sizeBytes);
  }
  // Two happen by chance: the script 1m512 begins its file system where 512k has its EEPROM.
  if (eeproms.size > 2 && MAP_SIZES.includes(flashSizeBytes)) return flashSizeBytes;
  const fitting = [...found].filter((sizeBytes) => sizeBytes <= flashSizeBytes);
  if (fitting.length === 0 || fitting.includes(headerSizeBytes)) return headerSizeBytes;
  return Math.max(...fitting);
}

/**
 * The parts of the flash that are no image, in order of their offsets.
 *
 * @param headerSizeBytes what the image's header claims, by which the SDK goes
 * @param linkedSizeBytes see {@link linkedMapSize}
 */
export async function arduinoAreas(
  flash: BoundedFlash,
  headerSizeBytes: number,
  linkedSizeBytes: number,
): Promise<Area[]> {
  const areas: Area[] = [];
  if (MAP_SIZES.includes(linkedSizeBytes)) {
    areas.push(...(await arduinoFileSystem(flash, linkedSizeBytes)));
    areas.push(dataArea('eeprom', linkedSizeBytes - EEPROM_FROM_END, SECTOR_BYTES));
  }
  if (MAP_SIZES.includes(headerSizeBytes)) {
    areas.push(dataArea('rf_cal', headerSizeBytes - RF_CAL_FROM_END, SECTOR_BYTES));
    areas.push(dataArea('system_param', headerSizeBytes - SYSTEM_PARAM_FROM_END, SYSTEM_PARAM_FROM_END));
  }
  return areas.sort((a, b) => a.offset - b.offset);
}
