/**
 * ESP32-S3: USB-OTG and USB-Serial/JTAG, flash and PSRAM in the package.
 * Sources: esp-idf components/efuse/esp32s3/esp_efuse_table.csv and components/soc/esp32s3; esptool/targets/esp32s3.py
 * (eFuses: commit f3c6aec9625a5e7db81325a3a701f422a976d74f; watchdog offsets corrected in esptool 4.6.1, by rtc_cntl_reg.h).
 */

import type { Chip, ChipDescription, RegisterAccess, StubStart } from './chip.ts';
import { bits, block1Word, block2Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { LARGE_FLASH_BYTES, directStart, embeddedMemory, modernDefaults, packageName } from './modern.ts';
import { readSecurityState, usualSecurityFields } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import {
  type BootSelection,
  SWD_KEY,
  type Watchdogs,
  clearForceDownload,
  isBootPinLow,
  quietWatchdogs,
  resetThroughWatchdog,
} from './watchdogs.ts';

const EFUSE = 0x60007000;
const RTC_CNTL = 0x60008000;
const watchdogs: Watchdogs = {
  rtc: { config0: RTC_CNTL + 0x98, config1: RTC_CNTL + 0x9c, writeProtect: RTC_CNTL + 0xb0 },
  super: { config: RTC_CNTL + 0xb4, writeProtect: RTC_CNTL + 0xb8, key: SWD_KEY, autoFeed: (1 << 31) >>> 0 },
};
const bootSelection: BootSelection = {
  strapping: 0x60004038,
  forceDownload: { address: RTC_CNTL + 0x12c, mask: 1 << 0 },
};
/** `buff_uart_no` in the ROM's memory: which port the loader talks over. */
const UARTDEV_BUF_NO = 0x3fcef14c;
const UARTDEV_USB_OTG = 3;
const UARTDEV_USB_SERIAL_JTAG = 4;

/**
 * Where the ROM keeps the address of its flash reading function (`rom_spiflash_legacy_funcs`). With secure boot it
 * refuses to jump into RAM, but still calls this. Source: esptool `run_stub`, since 5.0.
 */
const STUB_WITH_SECURE_BOOT: StubStart = { kind: 'read-pointer', pointerAddress: 0x3fcef688 };

const FLASH_SIZES = { 1: '8MB', 2: '4MB' };
const FLASH_VENDORS: Readonly<Record<number, string>> = { 1: 'XMC', 2: 'GD', 3: 'FM', 4: 'TT', 5: 'BY' };
const PSRAM_SIZES = { 1: '8MB', 2: '2MB', 3: '16MB', 4: '4MB' };
const PSRAM_VENDORS: Readonly<Record<number, string>> = { 1: 'AP_3v3', 2: 'AP_1v8' };

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word3 = await registers.read(block1Word(EFUSE, 3));
  const word4 = await registers.read(block1Word(EFUSE, 4));
  const word5 = await registers.read(block1Word(EFUSE, 5));
  const block2Major = bits(await registers.read(block2Word(EFUSE, 4)), 0, 2);

  const revision = { major: bits(word5, 24, 2), minor: (bits(word5, 23, 1) << 3) | bits(word3, 18, 3) };
  // With eFuse block version 1.1, only ever burnt on v0.0, the bits of the revision hold something else.
  const isFirstSilicon = bits(revision.minor, 0, 3) === 0 && block2Major === 1 && bits(word3, 24, 3) === 1;

  const psram = (bits(word5, 19, 1) << 2) | bits(word4, 3, 2);
  return {
    name: packageName('ESP32-S3', { 0: 'ESP32-S3 (QFN56)', 1: 'ESP32-S3-PICO-1 (LGA56)' }, bits(word3, 21, 3)),
    revision: isFirstSilicon ? { major: 0, minor: 0 } : revision,
    features: [
      'Wi-Fi',
      'BT 5 (LE)',
      'Dual Core + LP Core',
      '240MHz',
      ...embeddedMemory('Flash', FLASH_SIZES, bits(word3, 27, 3), FLASH_VENDORS[bits(word4, 0, 3)]),
      ...embeddedMemory('PSRAM', PSRAM_SIZES, psram, PSRAM_VENDORS[bits(word4, 7, 2)]),
    ],
  };
}

export const esp32s3: Chip = {
  ...modernDefaults,
  family: 'esp32s3',
  title: 'ESP32-S3',
  imageChipId: 9,
  maxFlashBytes: LARGE_FLASH_BYTES,
  spi: modernSpi(0x60002000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32s3',
  stubStart: (_description, security) => (security.secureBoot ? STUB_WITH_SECURE_BOOT : directStart),
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  describe,
  readCrystalMHz: () => Promise.resolve(40),
  readSecurity: (registers, info) => readSecurityState(registers, usualSecurityFields(EFUSE), info),
  async readUsbConnection(registers) {
    const port = bits(await registers.read(UARTDEV_BUF_NO), 0, 8);
    if (port === UARTDEV_USB_OTG) return 'usb-otg';
    return port === UARTDEV_USB_SERIAL_JTAG ? 'usb-serial-jtag' : 'none';
  },
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
  async prepareForReset(registers, usb) {
    await clearForceDownload(registers, bootSelection);
    if (usb === 'none') return 'reset-line';
    return usb === 'usb-otg' || (await isBootPinLow(registers, bootSelection)) ? 'watchdog' : 'reset-line';
  },
  async watchdogReset(registers) {
    await clearForceDownload(registers, bootSelection);
    await resetThroughWatchdog(registers, watchdogs.rtc);
  },
};
