/**
 * ESP32-S2: USB-OTG, and variants that are told by flash and PSRAM instead of a package number.
 * Sources: esp-idf components/efuse/esp32s2/esp_efuse_table.csv and components/soc/esp32s2; esptool/targets/esp32s2.py,
 * commit f506da0544931210535abe865d1c0fff1dea95f5; esptool-js 0.7.0 lib/targets/esp32s2.js.
 */

import type { Chip, ChipDescription, RegisterAccess } from './chip.ts';
import { bits, block1Word, block2Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { embeddedMemory, modernDefaults } from './modern.ts';
import { readSecurityState, usualSecurityFields } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import {
  type BootSelection,
  type RtcWatchdog,
  clearForceDownload,
  isBootPinLow,
  resetThroughWatchdog,
} from './watchdogs.ts';

const EFUSE = 0x3f41a000;
const RTC_CNTL = 0x3f408000;
const watchdog: RtcWatchdog = {
  config0: RTC_CNTL + 0x94,
  config1: RTC_CNTL + 0x98,
  writeProtect: RTC_CNTL + 0xac,
};
const bootSelection: BootSelection = {
  strapping: 0x3f404038,
  forceDownload: { address: RTC_CNTL + 0x128, mask: 1 << 0 },
};
/** `buff_uart_no` in the ROM's memory: which port the loader talks over. */
const UARTDEV_BUF_NO = 0x3ffffd14;
const UARTDEV_USB_OTG = 2;

const SIZES = { 1: '2MB', 2: '4MB' };
/** By flash and PSRAM code. */
const NAMES: Readonly<Record<string, string>> = {
  '0,0': 'ESP32-S2',
  '1,0': 'ESP32-S2FH2',
  '2,0': 'ESP32-S2FH4',
  '2,1': 'ESP32-S2FNR2',
  '0,1': 'ESP32-S2R2',
};

const CALIBRATIONS = [
  'No calibration in BLK2 of efuse',
  'ADC and temperature sensor calibration in BLK2 of efuse V1',
  'ADC and temperature sensor calibration in BLK2 of efuse V2',
];

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word3 = await registers.read(block1Word(EFUSE, 3));
  const word4 = await registers.read(block1Word(EFUSE, 4));
  const flash = bits(word3, 21, 4);
  const psram = bits(word3, 28, 4);
  const calibration = bits(await registers.read(block2Word(EFUSE, 4)), 4, 3);
  return {
    name: NAMES[`${flash},${psram}`] ?? `ESP32-S2 (unknown variant: flash ${flash}, PSRAM ${psram})`,
    revision: { major: bits(word3, 18, 2), minor: (bits(word3, 20, 1) << 3) | bits(word4, 4, 3) },
    features: [
      'Wi-Fi',
      'Single Core + LP Core',
      '240MHz',
      ...embeddedMemory('Flash', SIZES, flash),
      ...embeddedMemory('PSRAM', SIZES, psram),
      CALIBRATIONS[calibration] ?? 'Unknown calibration in BLK2',
    ],
  };
}

export const esp32s2: Chip = {
  ...modernDefaults,
  family: 'esp32s2',
  title: 'ESP32-S2',
  imageChipId: 2,
  magicWords: [0x000007c6],
  spi: modernSpi(0x3f402000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32s2',
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  describe,
  readCrystalMHz: () => Promise.resolve(40),
  readSecurity: (registers, info) => readSecurityState(registers, usualSecurityFields(EFUSE), info),
  async readUsbConnection(registers) {
    return bits(await registers.read(UARTDEV_BUF_NO), 0, 8) === UARTDEV_USB_OTG ? 'usb-otg' : 'none';
  },
  prepareForStub: () => Promise.resolve(),
  async prepareForReset(registers, usb) {
    await clearForceDownload(registers, bootSelection);
    if (usb === 'none') return 'reset-line';
    return usb === 'usb-otg' || (await isBootPinLow(registers, bootSelection)) ? 'watchdog' : 'reset-line';
  },
  async watchdogReset(registers) {
    await clearForceDownload(registers, bootSelection);
    await resetThroughWatchdog(registers, watchdog);
  },
};
