/**
 * The families whose eFuse controller has blocks (ESP32-S2 and later chips), as one table; the newest are in newest-table.ts.
 *
 * A field is [word of the block, lowest bit, width]. Sources: esp-idf components/efuse/<chip>/esp_efuse_table.csv
 * (WAFER_VERSION_*, PKG_VERSION, FLASH_CAP, ...), components/soc/<chip>/register (bases), esptool/targets/<chip>.py
 * (UARTDEV_BUF_NO, watchdog and SPI register offsets).
 */

import type { ChipIdentity, ChipModel, ConsoleVariable, Family, Watchdog } from './model.ts';

export type Field = readonly [word: number, shift: number, width: number];

export interface NewerChip {
  readonly family: Family;
  readonly chipId: number;
  readonly magic: number;
  readonly rom: { readonly banner: string; readonly appBoot: string; readonly downloadBoot: string };
  readonly crystalMHz: number;
  readonly bootOffset: number;
  readonly efuseBase: number;
  /** The block that holds MAC and versions: BLOCK1, or BLOCK2 on the C2. Offset from `efuseBase`. */
  readonly infoBlock: number;
  /** Upper half of the second MAC word: the EUI-64 extension on chips with 802.15.4. */
  readonly macExtension: number;
  readonly package: Field;
  readonly major: readonly Field[];
  readonly minor: readonly Field[];
  readonly flashCapacity: Field | null;
  readonly flashVendor: Field | null;
  readonly psramCapacity: Field | null;
  readonly psramVendor: Field | null;
  /** [offset from efuseBase, bit]. */
  readonly cryptCount: readonly [number, number];
  readonly secureBoot: readonly [number, number];
  readonly disableDownload: readonly [number, number];
  readonly secureDownload: readonly [number, number];
  readonly spiBase: number;
  readonly uartDivider: number | null;
  /** Crystal that the ROM reckons with whatever is soldered on; null where it looks. */
  readonly romAssumesCrystalMHz: number | null;
  readonly console: ConsoleVariable | null;
  readonly watchdog: Watchdog | null;
  readonly forceDownload: ChipModel['forceDownload'];
  readonly securityInfoBytes: 12 | 20;
  readonly apiVersion: number;
  /** Further words, e.g. where the ROM notes the crystal. */
  readonly others?: (identity: ChipIdentity) => Iterable<readonly [number, number]>;
}

const WATCHDOG_KEY = 0x50d83aa1;

function watchdog(base: number, config0: number, config1: number, writeProtect: number): Watchdog {
  return {
    config0: base + config0,
    config1: base + config1,
    writeProtect: base + writeProtect,
    key: WATCHDOG_KEY,
  };
}

const isC61Sample = ({ major, minor }: ChipIdentity['revision']): boolean => major === 0 && minor <= 2;

export const lowPowerWatchdog = (base: number): Watchdog => watchdog(base, 0x00, 0x04, 0x18);

/** C3, S3: one more bit of the minor version far away. The first field takes the low bits. */
const c3Minor: readonly Field[] = [
  [3, 18, 3],
  [5, 23, 1],
];

export const noMemory = { flashCapacity: null, flashVendor: null, psramCapacity: null, psramVendor: null } as const;

/** REPEAT_DATA1 bit 18, REPEAT_DATA2 bit 20, REPEAT_DATA3 bits 0 and 5: the same on most. */
const usualSecurity = {
  cryptCount: [0x34, 18],
  secureBoot: [0x38, 20],
  disableDownload: [0x3c, 0],
  secureDownload: [0x3c, 5],
} as const;

export const newerChipTable: readonly NewerChip[] = [
  {
    family: 'esp32s2',
    chipId: 2,
    magic: 0x000007c6,
    rom: {
      banner: 'ESP-ROM:esp32s2-rc4-20191025\r\nBuild:Oct 25 2019\r\n',
      appBoot: '0x8',
      downloadBoot: '0x0 (DOWNLOAD(USB/UART0/1/SPI))',
    },
    crystalMHz: 40,
    bootOffset: 0x1000,
    efuseBase: 0x3f41a000,
    infoBlock: 0x44,
    macExtension: 0,
    package: [4, 0, 4],
    major: [[3, 18, 2]],
    minor: [
      [4, 4, 3],
      [3, 20, 1],
    ],
    flashCapacity: [3, 21, 4],
    flashVendor: null,
    psramCapacity: [3, 28, 4],
    psramVendor: null,
    ...usualSecurity,
    spiBase: 0x3f402000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    console: { address: () => 0x3ffffd14, uart: 0, usbSerialJtag: null, usbOtg: 2 },
    watchdog: watchdog(0x3f408000, 0x94, 0x98, 0xac),
    forceDownload: { address: 0x3f408128, mask: 1 },
    securityInfoBytes: 12,
    apiVersion: 0,
  },
  {
    family: 'esp32s3',
    chipId: 9,
    magic: 0x00000009,
    rom: {
      banner: 'ESP-ROM:esp32s3-20210327\r\nBuild:Mar 27 2021\r\n',
      appBoot: '0x8',
      downloadBoot: '0x0 (DOWNLOAD(USB/UART0))',
    },
    crystalMHz: 40,
    bootOffset: 0,
    efuseBase: 0x60007000,
    infoBlock: 0x44,
    macExtension: 0,
    package: [3, 21, 3],
    major: [[5, 24, 2]],
    minor: c3Minor,
    flashCapacity: [3, 27, 3],
    flashVendor: [4, 0, 3],
    psramCapacity: [4, 3, 2],
    psramVendor: [4, 7, 2],
    ...usualSecurity,
    spiBase: 0x60002000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    console: { address: () => 0x3fcef14c, uart: 0, usbSerialJtag: () => 4, usbOtg: 3 },
    watchdog: watchdog(0x60008000, 0x98, 0x9c, 0xb0),
    forceDownload: { address: 0x6000812c, mask: 1 },
    securityInfoBytes: 20,
    apiVersion: 0,
  },
  {
    family: 'esp32c2',
    chipId: 12,
    magic: 0x7c41a06f,
    rom: {
      banner: 'ESP-ROM:esp8684-api2-20220127\r\nBuild:Jan 27 2022\r\n',
      appBoot: '0xc',
      downloadBoot: '0x4 (DOWNLOAD(UART0))',
    },
    crystalMHz: 26,
    bootOffset: 0,
    efuseBase: 0x60008800,
    infoBlock: 0x40,
    macExtension: 0,
    package: [1, 22, 3],
    major: [[1, 20, 2]],
    minor: [[1, 16, 4]],
    ...noMemory,
    // One word of BLOCK0 holds all of it (esptool looks for the count at bit 18, which is FLASH_TPUW by esp-idf's table).
    cryptCount: [0x30, 7],
    secureBoot: [0x30, 21],
    disableDownload: [0x30, 14],
    secureDownload: [0x30, 16],
    spiBase: 0x60002000,
    uartDivider: 0x60000014,
    romAssumesCrystalMHz: 40,
    console: null,
    watchdog: watchdog(0x60008000, 0x84, 0x88, 0x9c),
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 1,
  },
  {
    family: 'esp32c3',
    chipId: 5,
    magic: 0x1b31506f,
    rom: {
      banner: 'ESP-ROM:esp32c3-api1-20210207\r\nBuild:Feb  7 2021\r\n',
      appBoot: '0xc',
      downloadBoot: '0x5 (DOWNLOAD(USB/UART0/1))',
    },
    crystalMHz: 40,
    bootOffset: 0,
    efuseBase: 0x60008800,
    infoBlock: 0x44,
    macExtension: 0,
    package: [3, 21, 3],
    major: [[5, 24, 2]],
    minor: c3Minor,
    flashCapacity: [3, 27, 3],
    flashVendor: [4, 0, 3],
    psramCapacity: null,
    psramVendor: null,
    ...usualSecurity,
    spiBase: 0x60002000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    // The ROM of v1.1 keeps its device structure 4 bytes lower.
    console: {
      address: ({ major, minor }) => (major * 100 + minor < 101 ? 0x3fcdf07c : 0x3fcdf078),
      uart: 0,
      usbSerialJtag: () => 3,
      usbOtg: null,
    },
    watchdog: watchdog(0x60008000, 0x90, 0x94, 0xa8),
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 3,
  },
  {
    family: 'esp32c5',
    chipId: 23,
    magic: 0x63e1406f,
    rom: {
      banner: 'ESP-ROM:esp32c5-eco2-20250121\r\nBuild:Jan 21 2025\r\n',
      appBoot: '0x18',
      downloadBoot: '0x10 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))',
    },
    crystalMHz: 48,
    bootOffset: 0x2000,
    efuseBase: 0x600b4800,
    infoBlock: 0x44,
    macExtension: 0xfffe,
    package: [2, 26, 3],
    major: [[2, 4, 2]],
    minor: [[2, 0, 4]],
    flashCapacity: [2, 13, 3],
    flashVendor: [2, 16, 3],
    psramCapacity: [2, 19, 3],
    psramVendor: [2, 22, 2],
    // Key purposes of five bits push these aside: bits 80, 121, 128 and 133 of BLOCK0 (esp-serial-flasher
    // src/efuse/esp32c5/esp_loader_efuse_table.c, generated from esp-idf).
    cryptCount: [0x34, 16],
    secureBoot: [0x38, 25],
    disableDownload: [0x3c, 0],
    secureDownload: [0x3c, 5],
    spiBase: 0x60003000,
    uartDivider: 0x60000014,
    romAssumesCrystalMHz: null,
    // The engineering samples (v0.x) had it elsewhere.
    console: {
      address: ({ major }) => (major === 0 ? 0x4085f51c : 0x4085f514),
      uart: 0,
      usbSerialJtag: () => 3,
      usbOtg: null,
    },
    watchdog: lowPowerWatchdog(0x600b1c00),
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 2,
    // PCR_SYSCLK_CONF_REG: the crystal that the ROM believes in, in MHz.
    others: ({ crystalMHz }) => [[0x60096110, (crystalMHz << 24) >>> 0]],
  },
  {
    family: 'esp32c6',
    chipId: 13,
    magic: 0x2ce0806f,
    rom: {
      banner: 'ESP-ROM:esp32c6-20220919\r\nBuild:Sep 19 2022\r\n',
      appBoot: '0xc',
      downloadBoot: '0x4 (DOWNLOAD(USB/UART0/SDIO_REI_FEO))',
    },
    crystalMHz: 40,
    bootOffset: 0,
    efuseBase: 0x600b0800,
    infoBlock: 0x44,
    macExtension: 0xfffe,
    package: [3, 24, 3],
    major: [[3, 22, 2]],
    minor: [[3, 18, 4]],
    flashCapacity: [4, 0, 3],
    flashVendor: [4, 5, 3],
    psramCapacity: null,
    psramVendor: null,
    ...usualSecurity,
    spiBase: 0x60003000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    console: { address: () => 0x4087f580, uart: 0, usbSerialJtag: () => 3, usbOtg: null },
    watchdog: lowPowerWatchdog(0x600b1c00),
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 0,
  },
  {
    family: 'esp32c61',
    chipId: 20,
    magic: 0x2421606f,
    rom: {
      banner: 'ESP-ROM:esp32c61-eco3-20250509\r\nBuild:May  9 2025\r\n',
      appBoot: '0xc',
      downloadBoot: '0x4 (DOWNLOAD(USB/UART0/SDIO_FEI_FEO))',
    },
    crystalMHz: 40,
    bootOffset: 0,
    efuseBase: 0x600b4800,
    infoBlock: 0x44,
    macExtension: 0,
    package: [2, 26, 3],
    major: [[2, 4, 2]],
    minor: [[2, 0, 4]],
    flashCapacity: [2, 13, 3],
    flashVendor: [2, 16, 3],
    psramCapacity: [2, 19, 3],
    psramVendor: [2, 22, 2],
    cryptCount: [0x30, 23],
    secureBoot: [0x34, 26],
    disableDownload: [0x38, 0],
    secureDownload: [0x38, 4],
    spiBase: 0x60003000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    // Place and value changed after v0.2.
    console: {
      address: (revision) => (isC61Sample(revision) ? 0x4084f5ec : 0x4084f5e4),
      uart: 0,
      usbSerialJtag: (revision) => (isC61Sample(revision) ? 3 : 4),
      usbOtg: null,
    },
    watchdog: lowPowerWatchdog(0x600b1c00),
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 3,
  },
  {
    family: 'esp32h2',
    chipId: 16,
    magic: 0xd7b73e80,
    rom: {
      banner: 'ESP-ROM:esp32h2-20221101\r\nBuild:Nov  1 2022\r\n',
      appBoot: '0xc',
      downloadBoot: '0x4 (DOWNLOAD(USB/UART0))',
    },
    crystalMHz: 32,
    bootOffset: 0,
    efuseBase: 0x600b0800,
    infoBlock: 0x44,
    macExtension: 0xfffe,
    package: [4, 0, 3],
    major: [[3, 21, 2]],
    minor: [[3, 18, 3]],
    ...noMemory,
    ...usualSecurity,
    spiBase: 0x60003000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    console: { address: () => 0x4084fefc, uart: 0, usbSerialJtag: () => 3, usbOtg: null },
    watchdog: lowPowerWatchdog(0x600b1c00),
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 0,
  },
  {
    family: 'esp32p4',
    chipId: 18,
    magic: 0x0addbad0,
    rom: {
      banner: 'ESP-ROM:esp32p4-eco2-20240710\r\nBuild:Jul 10 2024\r\n',
      appBoot: '0x30c',
      downloadBoot: '0x304 (DOWNLOAD(USB/UART0/SPI))',
    },
    crystalMHz: 40,
    bootOffset: 0x2000,
    efuseBase: 0x5012d000,
    infoBlock: 0x44,
    macExtension: 0,
    package: [2, 20, 3],
    major: [
      [2, 4, 2],
      [2, 23, 1],
    ],
    minor: [[2, 0, 4]],
    ...noMemory,
    ...usualSecurity,
    spiBase: 0x5008d000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    // Silicon from v3.0 on has another memory map.
    console: {
      address: ({ major }) => (major < 3 ? 0x4ff3fec8 : 0x4ffbfec8),
      uart: 0,
      usbSerialJtag: () => 6,
      usbOtg: 5,
    },
    watchdog: lowPowerWatchdog(0x50116000),
    forceDownload: { address: 0x50110008, mask: 4 },
    securityInfoBytes: 20,
    apiVersion: 2,
  },
];
