/**
 * ESP32-C2 (ESP8684): a small eFuse controller, crystals of 40 or 26 MHz, no USB.
 * Sources: esp-serial-flasher src/efuse/esp32c2/esp_loader_efuse_table.c, commit
 * 3584d2f5bc676f6c48b3145d266e5196fb59030e (made from esp-idf's esp_efuse_table.csv); esptool/targets/esp32c2.py, commit
 * 0bca5501cfa2deb621ce5dc56ba4169e18334e31.
 */

import type { Chip, RegisterAccess } from './chip.ts';
import { crystalFromDivider } from './crystal.ts';
import { bits, macFromWords } from './efuse-fields.ts';
import { directStart, modernDefaults, packageName } from './modern.ts';
import { type SecurityFields, readSecurityState } from './security.ts';
import { modernSpi } from './spi-registers.ts';

const EFUSE = 0x60008800;
/** EFUSE_RD_BLK2_DATA0_REG: MAC, then versions. */
const EFUSE_BLOCK2 = EFUSE + 0x40;
const UART_CLKDIV = 0x60000014;

/** Bits 39, 53 and 48 of BLOCK0, all in EFUSE_RD_REPEAT_DATA0_REG. (esptool looks for the first at bit 50.) */
const securityFields: SecurityFields = {
  cryptCount: { address: EFUSE + 0x30, bit: 7 },
  secureBoot: { address: EFUSE + 0x30, bit: 21 },
  secureDownload: { address: EFUSE + 0x30, bit: 16 },
};

async function readCrystalMHz(registers: RegisterAccess, baudRate: number): Promise<number> {
  return crystalFromDivider(await registers.read(UART_CLKDIV), baudRate, 1, [40, 26]);
}

export const esp32c2: Chip = {
  ...modernDefaults,
  family: 'esp32c2',
  title: 'ESP32-C2',
  imageChipId: 12,
  spi: modernSpi(0x60002000),
  // BLOCK3 is the key.
  efuseBlocks: [
    { name: 'BLOCK0', address: EFUSE + 0x2c, words: 2 },
    { name: 'BLOCK1', address: EFUSE + 0x34, words: 3 },
    { name: 'BLOCK_SYS_DATA', address: EFUSE_BLOCK2, words: 8 },
  ],
  /** ESP8684 data sheet: "programmable baud rates up to 2.5 MBaud". */
  maxBaudRate: 2_500_000,
  stubImage: () => 'esp32c2',
  stubStart: ({ revision }) =>
    revision.major === 0 && revision.minor === 0
      ? { kind: 'none', reason: 'there is none for the ESP32-C2 v0.0' }
      : directStart,
  async readMac(registers) {
    return macFromWords(await registers.read(EFUSE_BLOCK2), await registers.read(EFUSE_BLOCK2 + 4));
  },
  async describe(registers) {
    const word1 = await registers.read(EFUSE_BLOCK2 + 4);
    return {
      name: packageName('ESP32-C2', { 0: 'ESP32-C2', 1: 'ESP32-C2' }, bits(word1, 22, 3)),
      revision: { major: bits(word1, 20, 2), minor: bits(word1, 16, 4) },
      features: ['Wi-Fi', 'BT 5 (LE)', 'Single Core', '120MHz'],
    };
  },
  readCrystalMHz,
  readSecurity: (registers, info) => readSecurityState(registers, securityFields, info),
  readUsbConnection: () => Promise.resolve('none'),
  prepareForStub: () => Promise.resolve(),
  async romBaudRate(registers, baudRate, currentBaudRate) {
    // The ROM takes every crystal for one of 40 MHz.
    const crystalMHz = await readCrystalMHz(registers, currentBaudRate);
    return crystalMHz === 26 ? Math.floor((baudRate * 40) / 26) : baudRate;
  },
};
