/**
 * An ESP8266's flash without a partition table: images at the customary places, and the SDK's own sectors at the end.
 */

import { SECTOR_BYTES } from '../flash.ts';
import type { Extent } from './app-name.ts';
import type { BoundedFlash } from './bytes.ts';
import { RBOOT_CONFIG_BYTES, RBOOT_CONFIG_OFFSET, rbootSelected } from './esp8266-rboot.ts';
import { findImage, type Image } from './image.ts';

/** A part of the flash in the words of a partition table, though none says so. */
export interface Area {
  readonly name: string;
  readonly type: 'app' | 'data';
  readonly subtype: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
/** The flash maps of the SDK: 512 KB to 16 MB. */
export const MAP_SIZES: readonly number[] = [512 * KIB, MIB, 2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB];

/** @param subtype `name` unless told otherwise */
export function dataArea(name: string, offset: number, sizeBytes: number, subtype = name): Area {
  return { name, type: 'data', subtype, offset, sizeBytes };
}

/**
 * The last five sectors as the SDK itself has them: RF calibration, PHY init data, three sectors of system parameters
 * (Wi-Fi credentials). Arduino has other things there: esp8266-arduino.ts.
 * https://github.com/esp8266/Arduino/pull/8755 (`user_pre_init` of core_esp8266_main.cpp), and the same addresses in
 * "ESP8266 SDK Getting Started Guide", Espressif, section on download addresses.
 *
 * @param mapSizeBytes the size that the image's header claims, which the SDK goes by, not that of the flash
 * @returns none for a size that the SDK has no map for
 */
export function sdkAreas(mapSizeBytes: number): Area[] {
  if (!MAP_SIZES.includes(mapSizeBytes)) return [];
  const area = (name: string, sectorsFromEnd: number, sectors: number) =>
    dataArea(name, mapSizeBytes - sectorsFromEnd * SECTOR_BYTES, sectors * SECTOR_BYTES);
  return [area('rf_cal', 5, 1), area('phy', 4, 1), area('system_param', 3, 3)];
}

/**
 * Where images begin: 0 is what the ROM boots; behind a loader there the app follows at 0x1000 (Espressif's boot,
 * Arduino's eboot), 0x2000 (rBoot, Sming) or 0x8000 (rBoot of Mongoose OS); second OTA slots of 1 MB and 2 MB maps.
 * https://github.com/esp8266/Arduino/blob/3.1.2/bootloaders/eboot/eboot.c
 * https://github.com/SmingHub/Sming/blob/4.7.0/docs/source/information/flash.rst
 * Addresses of Mongoose OS are those in the configuration of its rBoot (esp8266-rboot.ts) on boards.
 */
const IMAGE_OFFSETS = [0x0, 0x1000, 0x2000, 0x8000, 0x81000, 0x101000, 0x102000, 0x108000] as const;
const LAST_FIRST_SLOT_OFFSET = 0x8000;

/** The images of a flash; the first is the one that the ROM boots. Empty where it would not boot. */
export async function findEsp8266Images(flash: BoundedFlash): Promise<Image[]> {
  const images: Image[] = [];
  for (const offset of IMAGE_OFFSETS) {
    const last = images.at(-1);
    if (last === undefined ? offset !== 0 : offset < last.offset + last.sizeBytes) continue;
    const found = await findImage(flash, offset, flash.sizeBytes, 'esp8266');
    if (found?.image) images.push(found.image);
  }
  return images;
}

/** `boot` or `app` for the image at 0, `app` and `app2` for those behind a boot loader. */
export function imageAreas(images: readonly Image[]): Area[] {
  const hasLoader = images.some(({ offset }) => offset > 0 && offset <= LAST_FIRST_SLOT_OFFSET);
  return images.map(({ offset, sizeBytes, header }) => {
    const isFirstSlot = offset <= LAST_FIRST_SLOT_OFFSET;
    const name = offset === 0 && hasLoader ? 'boot' : isFirstSlot ? 'app' : 'app2';
    return { name, type: 'app', subtype: `image_v${header.version}`, offset, sizeBytes };
  });
}

/** The cache maps 1 MiB of flash, and code that is not copied to RAM lies in it. */
const MAPPED_BYTES = MIB;

/**
 * Where the strings of the app that boots are: in the image behind the boot loader. Without a loader they are anywhere in
 * the mapped flash, since the parts of an SDK app that stay in flash then lie outside any image (0x10000 or 0x40000).
 *
 * rBoot says which of two slots boots. Where Espressif's boot looks is not documented: then both count.
 *
 * @param hasOneSlot as with eboot: an image behind the first is an update that was copied already
 */
export async function appExtents(
  flash: BoundedFlash,
  images: readonly Image[],
  hasOneSlot: boolean,
): Promise<readonly Extent[]> {
  const behindLoader = images.filter(({ offset }) => offset > 0);
  const apps = hasOneSlot ? behindLoader.slice(0, 1) : behindLoader;
  const config = await flash.read(RBOOT_CONFIG_OFFSET, RBOOT_CONFIG_BYTES);
  const selected = rbootSelected(
    config,
    apps.map(({ offset }) => offset),
  );
  const first = apps[0];
  if (first === undefined || first.offset > LAST_FIRST_SLOT_OFFSET) {
    return [{ offset: 0, sizeBytes: Math.min(flash.sizeBytes, MAPPED_BYTES) }];
  }
  const candidates = selected === null ? apps : apps.filter(({ offset }) => offset === selected);
  return candidates.map(({ offset, sizeBytes }) => ({ offset, sizeBytes: Math.min(sizeBytes, MAPPED_BYTES) }));
}
