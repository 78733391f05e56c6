/** Which colour a part of the flash has, the same in map, legend and comparison. Pure. */

import type { FlashPart } from '../../src/firmware/flash-map.ts';

/** Class names of styles/board.css. */
export type PartColour = 'boot' | 'app' | 'app-other' | 'settings' | 'files' | 'radio' | 'choice' | 'rest' | 'none';

const FILES = new Set(['spiffs', 'fat', 'littlefs']);
const SETTINGS = new Set(['nvs', 'nvs_keys', 'system_param', 'eeprom', 'tasmota']);
const RADIO = new Set(['phy', 'rf_cal']);

/** @param apps how many apps lie before it: neighbours differ */
function colourOf({ kind, type, subtype }: FlashPart, apps: number): PartColour {
  if (kind === 'gap') return 'none';
  if (kind !== 'partition') return 'boot';
  if (type === 'app') return apps % 2 === 0 ? 'app' : 'app-other';
  if (subtype === 'ota') return 'choice';
  if (SETTINGS.has(subtype)) return 'settings';
  if (RADIO.has(subtype)) return 'radio';
  return FILES.has(subtype) ? 'files' : 'rest';
}

export function coloured(parts: readonly FlashPart[]): readonly (FlashPart & { readonly colour: PartColour })[] {
  let apps = 0;
  return parts.map((part) => {
    const colour = colourOf(part, apps);
    if (colour === 'app' || colour === 'app-other') apps++;
    return { ...part, colour };
  });
}
