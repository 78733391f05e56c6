/**
 * rBoot's configuration, in the second sector of an ESP8266's flash: where its apps are, and which one it boots. Sming
 * uses rBoot as it is; Mongoose OS (Shelly's first generation) has four bytes more before the addresses.
 * https://github.com/raburton/rboot/blob/0922edca6983f5a4a9a8ec6631a12a832aa5a358/rboot.h
 * https://github.com/yaourdt/tasmota-to-mgos/blob/9a2d5844cb4c8713e47f2830abfc46c2914f40e4/patch/rboot/rboot.h
 */

import { SECTOR_BYTES } from '../flash.ts';

export const RBOOT_CONFIG_OFFSET = SECTOR_BYTES;
export const RBOOT_CONFIG_BYTES = 28;

const MAGIC = 0xe1;
const VERSION = 1;
const MODE_STANDARD = 0;
const MAX_ROMS = 4;
const ADDRESSES_AT = 8;
/** Counters of boots and updates, which are no multiple of a sector. */
const MONGOOSE_EXTRA_BYTES = 4;

/**
 * Offset of the app that boots, or null where there is no configuration that makes sense: it is written at the first boot, so a
 * flash that was only just written has none. Null as well where a pin decides, or where one boot differs from the next.
 *
 * @param config from {@link RBOOT_CONFIG_OFFSET} on
 * @param appOffsets where images are; an address that leads to none of them is none
 */
export function rbootSelected(config: Buffer, appOffsets: readonly number[]): number | null {
  if (config.length < RBOOT_CONFIG_BYTES) return null;
  const [magic, version, mode, selected = 0, , count = 0] = config;
  if (magic !== MAGIC || version !== VERSION || mode !== MODE_STANDARD) return null;
  if (count < 1 || count > MAX_ROMS || selected >= count) return null;
  const first = config.readUInt32LE(ADDRESSES_AT);
  const isOwnLayout = first !== 0 && first % SECTOR_BYTES === 0;
  const at = ADDRESSES_AT + (isOwnLayout ? 0 : MONGOOSE_EXTRA_BYTES) + 4 * selected;
  const offset = config.readUInt32LE(at);
  return appOffsets.includes(offset) ? offset : null;
}
