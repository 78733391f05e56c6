/**
 * ESP32-C5: dual-band Wi-Fi, crystals of 48 or 40 MHz.
 * Sources: esptool/targets/esp32c5.py, commit 81bdb76b10550e8f0fb87415afe75752fe6a2ea9; eFuse bits from
 * esp-serial-flasher src/efuse/esp32c5/esp_loader_efuse_table.c, commit 3584d2f5bc676f6c48b3145d266e5196fb59030e.
 */

import type { Chip, RegisterAccess } from './chip.ts';
import { crystalFromDivider } from './crystal.ts';
import { bits, block1Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { LARGE_FLASH_BYTES, modernDefaults, packageName } from './modern.ts';
import { REPEAT_DATA, type SecurityFields, readSecurityState } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import { lpWatchdogs, quietWatchdogs, resetThroughWatchdog } from './watchdogs.ts';

const EFUSE = 0x600b4800;
const watchdogs = lpWatchdogs(0x600b1c00);
/** `buff_uart_no` in the ROM's memory: which port the loader talks over. */
const UARTDEV_BUF_NO = 0x4085f514;
const UARTDEV_USB_SERIAL_JTAG = 3;
const UART_CLKDIV = 0x60000014;
/** PCR_SYSCLK_CONF_REG; from bit 24 up, the crystal that the ROM reckons with, in MHz. */
const PCR_SYSCLK_CONF = 0x60096110;

/** Bits 80, 121 and 133 of BLOCK0: unlike elsewhere, for key purposes have five bits here. */
const securityFields: SecurityFields = {
  cryptCount: { address: EFUSE + REPEAT_DATA[1], bit: 16 },
  secureBoot: { address: EFUSE + REPEAT_DATA[2], bit: 25 },
  secureDownload: { address: EFUSE + REPEAT_DATA[3], bit: 5 },
};

async function readCrystalMHz(registers: RegisterAccess, baudRate: number): Promise<number> {
  return crystalFromDivider(await registers.read(UART_CLKDIV), baudRate, 1, [48, 40]);
}

export const esp32c5: Chip = {
  ...modernDefaults,
  family: 'esp32c5',
  title: 'ESP32-C5',
  imageChipId: 23,
  maxFlashBytes: LARGE_FLASH_BYTES,
  spi: modernSpi(0x60003000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32c5',
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  async describe(registers) {
    const word2 = await registers.read(block1Word(EFUSE, 2));
    return {
      name: packageName('ESP32-C5', { 0: 'ESP32-C5' }, bits(word2, 26, 3)),
      revision: { major: bits(word2, 4, 2), minor: bits(word2, 0, 4) },
      features: ['Wi-Fi 6 (dual-band)', 'BT 5 (LE)', 'IEEE802.15.4', 'Single Core + LP Core', '240MHz'],
    };
  },
  readCrystalMHz,
  readSecurity: (registers, info) => readSecurityState(registers, securityFields, info),
  async readUsbConnection(registers) {
    return bits(await registers.read(UARTDEV_BUF_NO), 0, 8) === UARTDEV_USB_SERIAL_JTAG ? 'usb-serial-jtag' : 'none';
  },
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
  async romBaudRate(registers, baudRate, currentBaudRate) {
    const expectedMHz = bits(await registers.read(PCR_SYSCLK_CONF), 24, 7);
    const crystalMHz = await readCrystalMHz(registers, currentBaudRate);
    const isKnownMismatch = (expectedMHz === 40 && crystalMHz === 48) || (expectedMHz === 48 && crystalMHz === 40);
    return isKnownMismatch ? Math.floor((baudRate * expectedMHz) / crystalMHz) : baudRate;
  },
  watchdogReset: (registers) => resetThroughWatchdog(registers, watchdogs.rtc),
};
