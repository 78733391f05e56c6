/**
 * ESP32-C61: the ESP32-C6 without 802.15.4, with the eFuses laid out anew.
 * Sources: esp-idf components/efuse/esp32c61/esp_efuse_table.csv, commit 16abaf069ed150c374d512b4376d5e930eb477b7;
 * esptool/targets/esp32c61.py, commit 0480a5ec71df710b969c0ad127f655f7f1053d2e.
 */

import type { Chip, ChipDescription, RegisterAccess } from './chip.ts';
import { bits, block1Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { LARGE_FLASH_BYTES, modernDefaults, packageName } from './modern.ts';
import { REPEAT_DATA, type SecurityFields, readSecurityState } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import { lpWatchdogs, quietWatchdogs } from './watchdogs.ts';

const EFUSE = 0x600b4800;
const watchdogs = lpWatchdogs(0x600b1c00);
/** `buff_uart_no` in the ROM's memory, and what it reads over USB; both changed between the samples (v0.x) and v1.0. */
const CONSOLE_OF_SAMPLES = { address: 0x4084f5ec, usbSerialJtag: 3 };
const CONSOLE = { address: 0x4084f5e4, usbSerialJtag: 4 };

/** Bits 55, 90 and 100 of BLOCK0. */
const securityFields: SecurityFields = {
  cryptCount: { address: EFUSE + REPEAT_DATA[0], bit: 23 },
  secureBoot: { address: EFUSE + REPEAT_DATA[1], bit: 26 },
  secureDownload: { address: EFUSE + REPEAT_DATA[2], bit: 4 },
};

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word2 = await registers.read(block1Word(EFUSE, 2));
  return {
    name: packageName('ESP32-C61', { 0: 'ESP32-C61' }, bits(word2, 26, 3)),
    revision: { major: bits(word2, 4, 2), minor: bits(word2, 0, 4) },
    features: ['Wi-Fi 6', 'BT 5 (LE)', 'Single Core', '160MHz'],
  };
}

export const esp32c61: Chip = {
  ...modernDefaults,
  family: 'esp32c61',
  title: 'ESP32-C61',
  imageChipId: 20,
  maxFlashBytes: LARGE_FLASH_BYTES,
  spi: modernSpi(0x60003000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32c61',
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  describe,
  readCrystalMHz: () => Promise.resolve(40),
  readSecurity: (registers, info) => readSecurityState(registers, securityFields, info),
  async readUsbConnection(registers) {
    const { revision } = await describe(registers);
    const { address, usbSerialJtag } = revision.major === 0 ? CONSOLE_OF_SAMPLES : CONSOLE;
    return bits(await registers.read(address), 0, 8) === usbSerialJtag ? 'usb-serial-jtag' : 'none';
  },
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
};
