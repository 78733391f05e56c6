/** Bit fields of eFuse words, and the layout of the eFuse controller that all chips since the ESP32-S2 share. */

import { type Mac, macFromBytes } from '../../mac.ts';
import type { EfuseBlock, RegisterAccess } from './chip.ts';

/** `width` bits of `word` from bit `shift` up (0 <= shift < 32, 1 <= width <= 31). */
export function bits(word: number, shift: number, width: number): number {
  return (word >>> shift) & ((1 << width) - 1);
}

/** Whether an odd number of bits is set: how eFuse counters say "on". */
export function isOddParity(word: number): boolean {
  let odd = false;
  for (let rest = word >>> 0; rest !== 0; rest &= rest - 1) odd = !odd;
  return odd;
}

/**
 * MAC as all chips but the ESP8266 keep it: the last four bytes in `low`, most significant first, the first two in the
 * lower half of `high`. What is above in `high` is a checksum (ESP32) or the EUI-64 extension (chips with 802.15.4).
 */
export function macFromWords(low: number, high: number): Mac {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(high & 0xffff, 0);
  bytes.writeUInt32BE(low >>> 0, 2);
  return macFromBytes(bytes);
}

const BLANK_MACS: readonly string[] = ['00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '18:fe:34:00:00:00'];

/**
 * Whether a MAC says that nothing was ever burnt, so that many boards share it: engineering samples read all zeros
 * (https://github.com/espressif/esptool/issues/153), blank ESP8266 read 18:fe:34:00:00:00 (issue 397 there).
 */
export function isBlankMac(mac: Mac): boolean {
  return BLANK_MACS.includes(mac);
}

/**
 * Offsets of the words that can be read, from the controller's base: the same on S2, S3, C3, C5, C6, C61, H2 and P4.
 * Source: esp-serial-flasher src/esp_loader_efuse_chips.c `modern_blocks`, commit 3584d2f5bc676f6c48b3145d266e5196fb59030e;
 * names as `espefuse summary` prints them. BLOCK4 to BLOCK9 are keys.
 */
const BLOCKS = [
  { name: 'BLOCK0', offset: 0x2c, words: 6 },
  { name: 'BLOCK1', offset: 0x44, words: 6 },
  { name: 'BLOCK_SYS_DATA', offset: 0x5c, words: 8 },
  { name: 'BLOCK_USR_DATA', offset: 0x7c, words: 8 },
] as const;

export function efuseBlocks(base: number): readonly EfuseBlock[] {
  return BLOCKS.map(({ name, offset, words }) => ({ name, address: base + offset, words }));
}

/** Address of a word of BLOCK1: MAC in words 0 and 1, versions, package and memories behind. */
export function block1Word(base: number, word: number): number {
  return base + 0x44 + 4 * word;
}

/** Address of a word of BLOCK2 (SYS_DATA_PART1). */
export function block2Word(base: number, word: number): number {
  return base + 0x5c + 4 * word;
}

/** MAC out of the first two words of BLOCK1. */
export async function readBlock1Mac(registers: RegisterAccess, base: number): Promise<Mac> {
  const low = await registers.read(block1Word(base, 0));
  return macFromWords(low, await registers.read(block1Word(base, 1)));
}
