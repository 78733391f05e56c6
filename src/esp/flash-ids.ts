/** What a JEDEC id says of a flash chip: its size, and whose it is. */

import type { JedecId } from './spi-flash.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Capacity byte → bytes. 0x12 to 0x1c are plain powers of two; some makers go on counting in decimal behind 0x19
 * (0x20 to 0x22), and 1.8 V parts of others begin at 0x32. Source: esptool DETECTED_FLASH_SIZES (esptool/cmds.py).
 */
function usualSizeBytes(capacity: number): number | undefined {
  if (capacity >= 0x12 && capacity <= 0x1c) return 2 ** capacity;
  if (capacity >= 0x20 && capacity <= 0x22) return 64 * MIB * 2 ** (capacity - 0x20);
  if (capacity >= 0x32 && capacity <= 0x3a) return 256 * KIB * 2 ** (capacity - 0x32);
  return undefined;
}

/**
 * Adesto (Renesas) tell the size in the low five bits of the type byte, but their AT25SL parts (types 42 and 43) in the
 * usual place. Sources: esptool DETECTED_FLASH_SIZES_ADESTO; data sheets of AT25SL321, AT25SL641, AT25SL128A.
 */
function adestoSizeBytes(type: number, capacity: number): number | undefined {
  if (type === 0x42 || type === 0x43) return usualSizeBytes(capacity);
  const code = type & 0x1f;
  return code >= 0x04 && code <= 0x09 ? 512 * KIB * 2 ** (code - 0x04) : undefined;
}

/**
 * SST (Microchip): device numbers that follow no rule, by type and capacity byte.
 * Source: Linux drivers/mtd/spi-nor/sst.c.
 */
const SST_SIZES: Readonly<Record<string, number>> = {
  '258d': 512 * KIB,
  '258e': 1 * MIB,
  '2541': 2 * MIB,
  '254a': 4 * MIB,
  '254b': 8 * MIB,
  '2641': 2 * MIB,
  '2642': 4 * MIB,
  '2643': 8 * MIB,
};

/** Size in bytes; undefined for an id that no rule covers, also for all zeros or ones. Never a guess. */
export function flashSizeBytes({ manufacturer, device }: JedecId): number | undefined {
  if (!/^[0-9a-f]{2}$/.test(manufacturer) || !/^[0-9a-f]{4}$/.test(device)) return undefined;
  const type = Number.parseInt(device.slice(0, 2), 16);
  const capacity = Number.parseInt(device.slice(2), 16);
  if (manufacturer === '1f') return adestoSizeBytes(type, capacity);
  if (manufacturer === 'bf') return SST_SIZES[device];
  return usualSizeBytes(capacity);
}

/**
 * Names by manufacturer byte. JEDEC's numbers repeat from bank to bank and flash chips send no bank, so some stand for
 * two makers. Sources: JEDEC JEP106; flashrom include/flashchips.h.
 */
const MANUFACTURERS: Readonly<Record<string, string>> = {
  '01': 'Infineon (Spansion, Cypress)',
  '0b': 'XTX',
  '1c': 'EON',
  '1f': 'Renesas (Adesto, Atmel)',
  '20': 'XMC',
  '37': 'AMIC',
  '5e': 'Zbit',
  '68': 'Boya',
  '85': 'Puya',
  '8c': 'ESMT',
  '9d': 'ISSI',
  a1: 'Fudan',
  ba: 'Zetta',
  bf: 'Microchip (SST)',
  c2: 'Macronix',
  c4: 'Giantec',
  c8: 'GigaDevice',
  cd: 'Tsingteng (TH)',
  e0: 'BergMicro',
  ef: 'Winbond',
  f8: 'Dosilicon',
};

/** Who made the flash; undefined for a number that the table does not know. */
export function flashManufacturer({ manufacturer, device }: JedecId): string | undefined {
  // 20 is XMC on today's boards, but Micron (formerly Numonyx, ST) where the type is theirs.
  if (manufacturer === '20' && /^(20|71|80|ba|bb)/.test(device)) return 'Micron (Numonyx, ST)';
  return Object.hasOwn(MANUFACTURERS, manufacturer) ? MANUFACTURERS[manufacturer] : undefined;
}
