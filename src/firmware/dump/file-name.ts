/**
 * What the name of a dump tells: people put the board's MAC and the day into it, and tools the offset. Pure, and it only
 * reads what stands there: of two answers it gives both.
 */

import { type Mac, parseMac } from '../../mac.ts';

/** A word of a name: letters and digits; and what stands before it. */
interface Word {
  readonly text: string;
  readonly before: string;
}

/** The longest name that file systems have, in UTF-16 units; more is not looked at. */
const MAX_NAME_CHARACTERS = 255;
const MAC_BYTES = 6;
const EUI64_BYTES = 8;
const SEPARATORS = ['-', '_', ':', '.', ' '];
/** Nothing of Espressif's was made before. */
const FIRST_YEAR = 2014;

/**
 * The MACs in a file's name, each once, in any of the forms `50-02-91-c3-37-a5`, `50_02_91_c3_37_a5`, `500291C337A5`, as a
 * word of its own. An address that no board can have (of a group, all zeros) is none, nor is a time that looks like one
 * (`20240102-...`). Where more bytes than a MAC has follow one another, which of them are meant is not guessed: none.
 */
export function macsInName(name: string): Mac[] {
  return [...new Set(macPlaces(name).map(({ mac }) => mac))];
}

function macPlaces(name: string): { mac: Mac; from: number; to: number }[] {
  const words = wordsOf(name);
  const found: { mac: Mac; from: number; to: number }[] = [];
  const take = (text: string, from: number, to: number) => {
    const mac = isTime(text) ? undefined : parseMac(text);
    if (mac !== undefined && canBeOfBoard(mac)) found.push({ mac, from, to });
  };
  for (let at = 0; at < words.length;) {
    const { text = '' } = words[at] ?? {};
    if (/^(?:[0-9a-f]{12}|[0-9a-f]{16})$/i.test(text)) take(text, at, at + 1);
    const length = runOfBytes(words, at);
    const isMac = length === MAC_BYTES || length === EUI64_BYTES;
    if (isMac) {
      const bytes = words.slice(at, at + length);
      take(bytes.map((word) => word.text).join(':'), at, at + length);
    }
    // The last word of a run may be the first of the next one, with another separator.
    at += Math.max(isMac ? length : length - 1, 1);
  }
  return found;
}

function wordsOf(name: string): Word[] {
  const text = name.slice(0, MAX_NAME_CHARACTERS);
  const words: Word[] = [];
  let end = 0;
  for (const match of text.matchAll(/[\p{L}\p{N}]+/gu)) {
    words.push({ text: match[0], before: text.slice(end, match.index) });
    end = match.index + match[0].length;
  }
  return words;
}

/** How many words of two hex digits follow one another from `at` on, all with the same one separator between them. */
function runOfBytes(words: readonly Word[], at: number): number {
  const isByte = (index: number) => /^[0-9a-f]{2}$/i.test(words[index]?.text ?? '');
  if (!isByte(at)) return 0;
  const separator = words[at + 1]?.before ?? '';
  if (!SEPARATORS.includes(separator)) return 1;
  let length = 1;
  while (isByte(at + length) && words[at + length]?.before === separator) length++;
  return length;
}

/** Not all zeros, and not of a group (IEEE 802: the lowest bit of the first byte). */
function canBeOfBoard(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0 && /[1-9a-f]/.test(mac);
}

/** `202401021530`, or `24:01:02:15:30:00`: a time to the minute or second. */
function isTime(text: string): boolean {
  const digits = text.replaceAll(':', '');
  if (!/^\d{12}$/.test(digits)) return false;
  const [year, rest] = text.includes(':')
    ? [`20${digits.slice(0, 2)}`, digits.slice(2)]
    : [digits.slice(0, 4), `${digits.slice(4)}00`];
  const [month = '', day = '', hour = '', minute = '', second = ''] = rest.match(/\d\d/g) ?? [];
  return momentOf({ year, month, day, hour, minute, second, zone: 'Z' }) !== undefined;
}

interface MomentTexts {
  readonly year: string;
  readonly month: string;
  readonly day: string;
  readonly hour?: string | undefined;
  readonly minute?: string | undefined;
  readonly second?: string | undefined;
  readonly zone?: string | undefined;
}

/** Midnight in UTC for a day alone; a time without `Z` is local time, as tools put it into names. */
function momentOf({ year, month, day, hour, minute, second, zone }: MomentTexts): Date | undefined {
  const midnight = new Date(`${year}-${month}-${day}T00:00:00Z`);
  const exists = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(`${year}-${month}-${day}`);
  if (!exists || Number(year) < FIRST_YEAR) return undefined;
  if (hour === undefined || minute === undefined) return midnight;
  const isUtc = zone?.toUpperCase() === 'Z';
  const moment = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second ?? '00'}${isUtc ? 'Z' : ''}`);
  return Number.isNaN(moment.getTime()) ? undefined : moment;
}

/** A day, and perhaps a time behind it: `2024-01-02`, `20240102_153000`, `2026-11-23T10-00-00Z`, `2024.01.02 15.30`. */
const MOMENT =
  /(?<!\d)(?<year>20\d\d)(?<s>[-_.]?)(?<month>\d\d)\k<s>(?<day>\d\d)(?:[T_ -](?<hour>\d\d)(?<t>[-:._]?)(?<minute>\d\d)(?:\k<t>(?<second>\d\d))?(?<zone>Z)?(?![a-z]|[-:.]?\d))?(?!\d)/gi;

/** The moments in a file's name, each once; a day means its midnight in UTC. The digits of a MAC are none. */
export function datesInName(name: string): Date[] {
  const words = wordsOf(name);
  const isOfMac = new Set(
    macPlaces(name).flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i)),
  );
  const text = words.map((word, index) => word.before + (isOfMac.has(index) ? 'x' : word.text)).join('');
  const found = new Map<number, Date>();
  for (const { groups } of text.matchAll(MOMENT)) {
    const moment = momentOf(groups as unknown as MomentTexts);
    if (moment !== undefined) found.set(moment.getTime(), moment);
  }
  return [...found.values()];
}

/**
 * The offset in a file's name: `nvs_0x9000.bin` and `manual_flash_region_0x0_0x400000.bin` of ESPConnect, `app-0x10000.bin` of
 * esptool's elf2image; undefined for none.
 * https://github.com/thelastoutpostworkshop/ESPConnect/blob/6f4521f6f6f87931d6aeb029ee8dc869987e4cab/src/App.vue (`downloadFlashRegion`)
 */
export function offsetInName(name: string): number | undefined {
  const match = /(?<![\p{L}\p{N}])0x([0-9a-f]{1,8})(?![\p{L}\p{N}])/iu.exec(name.slice(0, MAX_NAME_CHARACTERS));
  return match === null ? undefined : Number.parseInt(match[1] ?? '', 16);
}
