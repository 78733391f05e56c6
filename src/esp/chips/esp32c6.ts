/**
 * ESP32-C6: Wi-Fi 6 and IEEE 802.15.4.
 * Sources: esp-idf components/efuse/esp32c6/esp_efuse_table.csv; esptool/targets/esp32c6.py, commit
 * ccd8c720e004b74b53228e4cced55e655a4db4ef.
 */

import type { Chip, ChipDescription, RegisterAccess } from './chip.ts';
import { bits, block1Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { embeddedMemory, modernDefaults, packageName } from './modern.ts';
import { readSecurityState, usualSecurityFields } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import { lpWatchdogs, quietWatchdogs } from './watchdogs.ts';

const EFUSE = 0x600b0800;
const watchdogs = lpWatchdogs(0x600b1c00);
/** `buff_uart_no` in the ROM's memory: which port the loader talks over. */
const UARTDEV_BUF_NO = 0x4087f580;
const UARTDEV_USB_SERIAL_JTAG = 3;

const FLASH_SIZES = { 1: '4MB', 2: '8MB' };

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word3 = await registers.read(block1Word(EFUSE, 3));
  const flash = bits(await registers.read(block1Word(EFUSE, 4)), 0, 3);
  const names = { 0: 'ESP32-C6 (QFN40)', 1: flash === 2 ? 'ESP32-C6FH8 (QFN32)' : 'ESP32-C6FH4 (QFN32)' };
  return {
    name: packageName('ESP32-C6', names, bits(word3, 24, 3)),
    revision: { major: bits(word3, 22, 2), minor: bits(word3, 18, 4) },
    features: [
      'Wi-Fi 6',
      'BT 5 (LE)',
      'IEEE802.15.4',
      'Single Core + LP Core',
      '160MHz',
      ...embeddedMemory('Flash', FLASH_SIZES, flash),
    ],
  };
}

export const esp32c6: Chip = {
  ...modernDefaults,
  family: 'esp32c6',
  title: 'ESP32-C6',
  imageChipId: 13,
  spi: modernSpi(0x60003000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32c6',
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  describe,
  readCrystalMHz: () => Promise.resolve(40),
  readSecurity: (registers, info) => readSecurityState(registers, usualSecurityFields(EFUSE), info),
  async readUsbConnection(registers) {
    return bits(await registers.read(UARTDEV_BUF_NO), 0, 8) === UARTDEV_USB_SERIAL_JTAG ? 'usb-serial-jtag' : 'none';
  },
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
};
