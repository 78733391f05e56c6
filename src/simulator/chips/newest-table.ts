/**
 * Families of 2025 and 2026, of which less is published. Sources: esptool/targets and espefuse/efuse_defs at commit
 * bb72741ff4fadb2c6958564140e755b44288af32; esp-stub-lib src/target/<chip>/include/soc (register bases), commit
 * b8f78b2a858d342d8605e9a55835cd2ef0825c69. Where the ROM notes its console, nobody says: esptool asks the host's USB.
 */

import { lowPowerWatchdog, noMemory, type NewerChip } from './newer-table.ts';

export const newestChipTable: readonly NewerChip[] = [
  {
    family: 'esp32h4',
    chipId: 28,
    // Nobody has published its word at 0x40001000, nor a boot log with the date of its ROM.
    magic: 0,
    rom: {
      banner: 'ESP-ROM:esp32h4\r\n',
      appBoot: '0xc',
      downloadBoot: '0x4 (DOWNLOAD(USB/UART0))',
    },
    crystalMHz: 32,
    bootOffset: 0x2000,
    efuseBase: 0x600b1800,
    infoBlock: 0x44,
    macExtension: 0xfffe,
    package: [4, 12, 3],
    major: [[3, 22, 2]],
    minor: [[3, 18, 4]],
    ...noMemory,
    // Words and positions of espefuse/efuse_defs/esp32h4.yaml: word 1, 3, 3 and 4 of BLOCK0, which begins at 0x2c.
    cryptCount: [0x30, 23],
    secureBoot: [0x38, 5],
    disableDownload: [0x38, 31],
    secureDownload: [0x3c, 3],
    spiBase: 0x60099000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    console: null,
    // esptool: "Watchdog reset is not supported on ESP32-H4".
    watchdog: null,
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 0,
  },
  {
    family: 'esp32s31',
    chipId: 32,
    magic: 0,
    rom: {
      banner: 'ESP-ROM:esp32s31-20251218\r\nBuild:Dec 18 2025\r\n',
      appBoot: '0x58',
      downloadBoot: '0x69 (DOWNLOAD(USB/UART0/SPI))',
    },
    crystalMHz: 40,
    bootOffset: 0x2000,
    efuseBase: 0x20715000,
    infoBlock: 0x50,
    macExtension: 0xfffe,
    package: [4, 6, 2],
    major: [[3, 22, 2]],
    minor: [[3, 18, 4]],
    ...noMemory,
    // Words and positions of espefuse/efuse_defs/esp32s31.yaml: word 2, 4, 4 and 4 of BLOCK0, which begins at 0x2c.
    cryptCount: [0x34, 21],
    secureBoot: [0x3c, 2],
    disableDownload: [0x3c, 16],
    secureDownload: [0x3c, 21],
    spiBase: 0x20501000,
    uartDivider: null,
    romAssumesCrystalMHz: null,
    console: null,
    watchdog: lowPowerWatchdog(0x20801000),
    forceDownload: null,
    securityInfoBytes: 20,
    apiVersion: 0,
  },
];
