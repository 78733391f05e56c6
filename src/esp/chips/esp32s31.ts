/**
 * ESP32-S31: Wi-Fi 6, Bluetooth and IEEE 802.15.4 with two cores, USB-OTG and USB-Serial/JTAG.
 * Sources: esptool/targets/esp32s31.py and espefuse/efuse_defs/esp32s31.yaml, commit bb72741ff4fadb2c6958564140e755b44288af32;
 * esp-idf components/soc/esp32s31/register/soc/lp_wdt_reg.h, commit 33d29b43656ba3200b45994a3718f596fb0bcec4; that its stub
 * takes 32-bit addresses: esp-stub-lib src/target/esp32s31/include/soc/soc_caps.h, commit
 * b8f78b2a858d342d8605e9a55835cd2ef0825c69.
 */

import type { Chip, EfuseBlock } from './chip.ts';
import { bits, macFromWords } from './efuse-fields.ts';
import { usbConnectionByIds } from './host-usb.ts';
import { LARGE_FLASH_BYTES, modernDefaults, packageName } from './modern.ts';
import { REPEAT_DATA, type SecurityFields, readSecurityState } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import { lpWatchdogs, quietWatchdogs, resetThroughWatchdog } from './watchdogs.ts';

const IMAGE_CHIP_ID = 32;
const EFUSE = 0x20715000;
/** BLOCK0 has nine words here, so that all blocks lie 12 bytes further than on other chips. */
const BLOCK1 = EFUSE + 0x50;
const watchdogs = lpWatchdogs(0x20801000);

/** espefuse/efuse/esp32s31/mem_definition.py, without the keys (BLOCK4 to BLOCK8) and BLOCK9. */
const EFUSE_BLOCKS: readonly EfuseBlock[] = [
  { name: 'BLOCK0', address: EFUSE + 0x2c, words: 9 },
  { name: 'BLOCK1', address: BLOCK1, words: 6 },
  { name: 'BLOCK_SYS_DATA', address: EFUSE + 0x68, words: 8 },
  { name: 'BLOCK_USR_DATA', address: EFUSE + 0x88, words: 8 },
];

/** Bits 85, 130 and 149 of BLOCK0. */
const securityFields: SecurityFields = {
  cryptCount: { address: EFUSE + REPEAT_DATA[1], bit: 21 },
  secureBoot: { address: EFUSE + REPEAT_DATA[3], bit: 2 },
  secureDownload: { address: EFUSE + REPEAT_DATA[3], bit: 21 },
};

export const esp32s31: Chip = {
  ...modernDefaults,
  family: 'esp32s31',
  title: 'ESP32-S31',
  imageChipId: IMAGE_CHIP_ID,
  maxFlashBytes: LARGE_FLASH_BYTES,
  spi: modernSpi(0x20501000),
  efuseBlocks: EFUSE_BLOCKS,
  stubImage: () => 'esp32s31',
  async readMac(registers) {
    const low = await registers.read(BLOCK1);
    return macFromWords(low, await registers.read(BLOCK1 + 4));
  },
  async describe(registers) {
    const word3 = await registers.read(BLOCK1 + 4 * 3);
    const word4 = await registers.read(BLOCK1 + 4 * 4);
    return {
      name: packageName('ESP32-S31', { 0: 'ESP32-S31' }, bits(word4, 6, 2)),
      revision: { major: bits(word3, 22, 2), minor: bits(word3, 18, 4) },
      features: ['Wi-Fi 6', 'BT 5.4 (LE)', 'IEEE802.15.4', 'Dual Core + LP Core', '300MHz'],
    };
  },
  readCrystalMHz: () => Promise.resolve(40),
  readSecurity: (registers, info) => readSecurityState(registers, securityFields, info),
  readUsbConnection: (_registers, host = null) => Promise.resolve(usbConnectionByIds(host, IMAGE_CHIP_ID)),
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
  // The bit that forces download mode, as an app over USB-OTG sets it, is in no source yet.
  prepareForReset: (_registers, usb) => Promise.resolve(usb === 'usb-otg' ? 'watchdog' : 'reset-line'),
  watchdogReset: (registers) => resetThroughWatchdog(registers, watchdogs.rtc),
};
