/**
 * ESP32-H2: Bluetooth and IEEE 802.15.4 without Wi-Fi, crystal of 32 MHz.
 * Sources: esp-idf components/efuse/esp32h2/esp_efuse_table.csv and components/soc/esp32h2 (lp_wdt_reg.h);
 * esptool/targets/esp32h2.py, commit 749d1adaf55f574cbbc241ca9a10c56cc34b5bd0.
 */

import type { Chip, ChipDescription, RegisterAccess } from './chip.ts';
import { bits, block1Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { modernDefaults, packageName } from './modern.ts';
import { readSecurityState, usualSecurityFields } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import { h2Watchdogs, quietWatchdogs } from './watchdogs.ts';

const EFUSE = 0x600b0800;
const watchdogs = h2Watchdogs(0x600b1c00);
/** `buff_uart_no` in the ROM's memory: which port the loader talks over. */
const UARTDEV_BUF_NO = 0x4084fefc;
const UARTDEV_USB_SERIAL_JTAG = 3;

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word3 = await registers.read(block1Word(EFUSE, 3));
  const word4 = await registers.read(block1Word(EFUSE, 4));
  return {
    name: packageName('ESP32-H2', { 0: 'ESP32-H2' }, bits(word4, 0, 3)),
    revision: { major: bits(word3, 21, 2), minor: bits(word3, 18, 3) },
    features: ['BT 5 (LE)', 'IEEE802.15.4', 'Single Core', '96MHz'],
  };
}

export const esp32h2: Chip = {
  ...modernDefaults,
  family: 'esp32h2',
  title: 'ESP32-H2',
  imageChipId: 16,
  spi: modernSpi(0x60003000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32h2',
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  describe,
  readCrystalMHz: () => Promise.resolve(32),
  readSecurity: (registers, info) => readSecurityState(registers, usualSecurityFields(EFUSE), info),
  async readUsbConnection(registers) {
    return bits(await registers.read(UARTDEV_BUF_NO), 0, 8) === UARTDEV_USB_SERIAL_JTAG ? 'usb-serial-jtag' : 'none';
  },
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
};
