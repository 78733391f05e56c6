/**
 * ESP32-C3 and the ESP8685 and ESP8686 made of it: USB-Serial/JTAG.
 * Sources: esp-idf components/efuse/esp32c3/esp_efuse_table.csv and components/soc/esp32c3 (rtc_cntl_reg.h);
 * esptool/targets/esp32c3.py as of 5.x.
 */

import type { Chip, ChipDescription, RegisterAccess } from './chip.ts';
import { bits, block1Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { directStart, embeddedMemory, modernDefaults, packageName } from './modern.ts';
import { readSecurityState, usualSecurityFields } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import { SWD_KEY, type Watchdogs, quietWatchdogs, resetThroughWatchdog } from './watchdogs.ts';

const EFUSE = 0x60008800;
const RTC_CNTL = 0x60008000;
const watchdogs: Watchdogs = {
  rtc: { config0: RTC_CNTL + 0x90, config1: RTC_CNTL + 0x94, writeProtect: RTC_CNTL + 0xa8 },
  super: { config: RTC_CNTL + 0xac, writeProtect: RTC_CNTL + 0xb0, key: SWD_KEY, autoFeed: (1 << 31) >>> 0 },
};
/** `buff_uart_no` in the ROM's memory: which port the loader talks over. It moved with the ROM of v1.1. */
const UARTDEV_BUF_NO = 0x3fcdf07c;
const UARTDEV_BUF_NO_V1_1 = 0x3fcdf078;
const UARTDEV_USB_SERIAL_JTAG = 3;

const NAMES = {
  0: 'ESP32-C3 (QFN32)',
  1: 'ESP8685 (QFN28)',
  2: 'ESP32-C3 AZ (QFN32)',
  3: 'ESP8686 (QFN24)',
};
const FLASH_SIZES = { 1: '4MB', 2: '2MB', 3: '1MB', 4: '8MB' };
const FLASH_VENDORS: Readonly<Record<number, string>> = { 1: 'XMC', 2: 'GD', 3: 'FM', 4: 'TT', 5: 'ZBIT' };

async function readRevision(registers: RegisterAccess): Promise<ChipDescription['revision']> {
  const word3 = await registers.read(block1Word(EFUSE, 3));
  const word5 = await registers.read(block1Word(EFUSE, 5));
  return { major: bits(word5, 24, 2), minor: (bits(word5, 23, 1) << 3) | bits(word3, 18, 3) };
}

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word3 = await registers.read(block1Word(EFUSE, 3));
  const word4 = await registers.read(block1Word(EFUSE, 4));
  const vendor = FLASH_VENDORS[bits(word4, 0, 3)];
  return {
    name: packageName('ESP32-C3', NAMES, bits(word3, 21, 3)),
    revision: await readRevision(registers),
    features: [
      'Wi-Fi',
      'BT 5 (LE)',
      'Single Core',
      '160MHz',
      ...embeddedMemory('Flash', FLASH_SIZES, bits(word3, 27, 3), vendor),
    ],
  };
}

export const esp32c3: Chip = {
  ...modernDefaults,
  family: 'esp32c3',
  title: 'ESP32-C3',
  imageChipId: 5,
  spi: modernSpi(0x60002000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32c3',
  // esptool `run_stub`: the ROM does not start code in RAM then, and has no other way in.
  stubStart: (_description, security) =>
    security.secureBoot ? { kind: 'none', reason: 'the ESP32-C3 runs none with secure boot' } : directStart,
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  describe,
  readCrystalMHz: () => Promise.resolve(40),
  readSecurity: (registers, info) => readSecurityState(registers, usualSecurityFields(EFUSE), info),
  async readUsbConnection(registers) {
    const { major, minor } = await readRevision(registers);
    const address = major * 100 + minor >= 101 ? UARTDEV_BUF_NO_V1_1 : UARTDEV_BUF_NO;
    return bits(await registers.read(address), 0, 8) === UARTDEV_USB_SERIAL_JTAG ? 'usb-serial-jtag' : 'none';
  },
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
  watchdogReset: (registers) => resetThroughWatchdog(registers, watchdogs.rtc),
};
