/** What in an image belongs to the board that it was taken from, and may not fit another one. */

import type { FlashPart } from './flash-map.ts';
import type { ReadFlash } from './bytes.ts';

export interface BoundPlace {
  readonly part: string;
  /** Where the MAC stands, from the start of the flash; null for a part that is bound by what it is for. */
  readonly offset: number | null;
  /** For people: `holds the settings of that board`, `holds its MAC as bytes`. */
  readonly what: string;
}

/** Bytes of data that are looked through at most, and in one go. */
const SEARCH_BYTES = 32 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
const MAX_PLACES = 20;

/** Kinds of data partitions (subtypes of ESP-IDF, areas of the ESP8266's SDK) that belong to one board. */
const BY_KIND: Readonly<Record<string, string>> = {
  nvs: 'holds the settings of that board, and perhaps keys and its name in the network',
  nvs_keys: 'holds the keys to encrypted settings',
  phy: 'holds radio calibration, if the app keeps it there',
  rf_cal: 'holds radio calibration',
  efuse: 'stands for eFuses of that board',
  system_param: 'holds the settings of that board, Wi-Fi passwords among them',
  eeprom: 'holds the settings of that board',
  tasmota: 'holds the settings of that board',
};

/**
 * Names the parts of data that are bound to a board by their kind, and every place (at most 20 in all) in data, or outside
 * every partition, where the MAC stands: as bytes, as text, or in a name such as `ESP_C337A5`. Never throws on content: rejects
 * only if `read` does. Reads at most 32 MiB.
 */
export async function boundToMac(read: ReadFlash, parts: readonly FlashPart[], mac: string): Promise<BoundPlace[]> {
  const data = parts.filter(({ kind, type }) => kind === 'gap' || !['app', 'bootloader', ''].includes(type));
  const found: BoundPlace[] = data.flatMap(({ name, subtype }) => {
    const what = Object.hasOwn(BY_KIND, subtype) ? BY_KIND[subtype] : undefined;
    return what === undefined ? [] : [{ part: name, offset: null, what }];
  });
  const needles = needlesOf(mac);
  const overlap = Math.max(...needles.map(({ lengthBytes }) => lengthBytes)) - 1;
  let left = SEARCH_BYTES;
  for (const part of data) {
    const end = part.offset + Math.min(part.sizeBytes, left);
    left -= end - part.offset;
    const seen = new Set<number>();
    for (let at = part.offset; at < end && found.length < MAX_PLACES; at += CHUNK_BYTES) {
      const bytes = await read(at, Math.min(CHUNK_BYTES + overlap, end - at));
      for (const { find, what } of needles) {
        for (const index of find(bytes)) {
          if (seen.has(at + index) || found.length >= MAX_PLACES) continue;
          seen.add(at + index);
          found.push({ part: part.name, offset: at + index, what });
        }
      }
    }
  }
  return found.slice(0, MAX_PLACES);
}

interface Needle {
  readonly lengthBytes: number;
  readonly what: string;
  readonly find: (bytes: Buffer) => number[];
}

/** The last three bytes as text, as in `ESP_C337A5`: what most firmware makes a board's name of. */
function needlesOf(mac: string): Needle[] {
  const hex = mac.replaceAll(':', '');
  const binary = Buffer.from(hex, 'hex');
  return [
    textNeedle(mac, 'holds its MAC as text'),
    textNeedle(mac.replaceAll(':', '-'), 'holds its MAC as text'),
    textNeedle(hex, 'holds its MAC as text'),
    textNeedle(`_${hex.slice(6)}`, 'holds a name made of its MAC'),
    textNeedle(`-${hex.slice(6)}`, 'holds a name made of its MAC'),
    { lengthBytes: binary.length, what: 'holds its MAC as bytes', find: (bytes) => allIndexes(bytes, binary) },
  ];
}

function textNeedle(text: string, what: string): Needle {
  return {
    lengthBytes: text.length,
    what,
    find: (bytes) => {
      const haystack = bytes.toString('latin1').toLowerCase();
      const places: number[] = [];
      for (let at = haystack.indexOf(text); at >= 0; at = haystack.indexOf(text, at + 1)) {
        places.push(at);
        if (places.length >= MAX_PLACES) break;
      }
      return places;
    },
  };
}

function allIndexes(bytes: Buffer, needle: Buffer): number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(needle); at >= 0 && places.length < MAX_PLACES; at = bytes.indexOf(needle, at + 1)) {
    places.push(at);
  }
  return places;
}
