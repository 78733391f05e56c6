/** What the chips since the ESP32-S2 have in common, for their values to take over and differ from. */

import type { Chip, ResetWay, StubStart } from './chip.ts';

const MIB = 1024 * 1024;

/** The stub of these chips takes 32-bit addresses (esptool `set_flash_parameters`: S3, P4, C5; C61 since 5.3). */
export const LARGE_FLASH_BYTES = 128 * MIB;
/** What 24 bits address. */
export const SMALL_FLASH_BYTES = 16 * MIB;

/** ROM of every chip since the ESP32-S2 (Espressif's "Serial Protocol" page). */
export const MODERN_ROM: Chip['rom'] = {
  readFlash: true,
  digest: true,
  changeBaudRate: true,
  spiAttach: true,
  beginHasEncryptWord: true,
};

export const directStart: StubStart = { kind: 'entry' };

/** The parts of a chip value that are the same unless a family says otherwise. */
export const modernDefaults = {
  magicWords: [],
  romStatusBytes: 4,
  bootLogBaudRate: 115200,
  rom: MODERN_ROM,
  maxFlashBytes: SMALL_FLASH_BYTES,
  /** Data sheets: "UART ... up to 5 Mbps". */
  maxBaudRate: 5_000_000,
  stubStart: () => directStart,
  romBaudRate: (_registers, baudRate) => Promise.resolve(baudRate),
  prepareForReset: () => Promise.resolve<ResetWay>('reset-line'),
  watchdogReset: null,
} as const satisfies Partial<Chip>;

/** `ESP32-S3 (unknown package 5)`: a package that is newer than this table. */
export function packageName(title: string, names: Readonly<Record<number, string>>, packageVersion: number): string {
  return names[packageVersion] ?? `${title} (unknown package ${packageVersion})`;
}

/**
 * `Embedded Flash 4MB (XMC)`; `Unknown Embedded Flash` for a capacity that is newer than the table; nothing for code 0.
 * @param what `Flash` or `PSRAM`
 */
export function embeddedMemory(
  what: 'Flash' | 'PSRAM',
  sizes: Readonly<Record<number, string>>,
  capacity: number,
  vendor?: string,
): string[] {
  if (capacity === 0) return [];
  const size = sizes[capacity];
  const name = size === undefined ? `Unknown Embedded ${what}` : `Embedded ${what} ${size}`;
  return [vendor === undefined ? name : `${name} (${vendor})`];
}
