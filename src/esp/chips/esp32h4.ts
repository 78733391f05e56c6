/**
 * ESP32-H4: Bluetooth and IEEE 802.15.4 with two cores, crystal of 32 MHz. (Not the samples of 2021 to 2023 with that
 * name, which became the ESP32-H2 and have another chip id.)
 * Sources: esptool/targets/esp32h4.py and espefuse/efuse_defs/esp32h4.yaml, commit bb72741ff4fadb2c6958564140e755b44288af32;
 * esp-idf components/soc/esp32h4/register/soc/lp_wdt_reg.h, commit 96a022af0e334bd60e64c1c780369886d67ae0ae.
 */

import type { Chip } from './chip.ts';
import { bits, block1Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { usbConnectionByIds } from './host-usb.ts';
import { modernDefaults, packageName } from './modern.ts';
import { REPEAT_DATA, type SecurityFields, readSecurityState } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import { h2Watchdogs, quietWatchdogs } from './watchdogs.ts';

const EFUSE = 0x600b1800;
/** esptool has the super watchdog 4 bytes lower, where by esp-idf's header the other one's write protection is. */
const watchdogs = h2Watchdogs(0x600b5400);

/** Bits 55, 101 and 131 of BLOCK0. */
const securityFields: SecurityFields = {
  cryptCount: { address: EFUSE + REPEAT_DATA[0], bit: 23 },
  secureBoot: { address: EFUSE + REPEAT_DATA[2], bit: 5 },
  secureDownload: { address: EFUSE + REPEAT_DATA[3], bit: 3 },
};

export const esp32h4: Chip = {
  ...modernDefaults,
  family: 'esp32h4',
  title: 'ESP32-H4',
  imageChipId: 28,
  spi: modernSpi(0x60099000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: () => 'esp32h4',
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  async describe(registers) {
    const word3 = await registers.read(block1Word(EFUSE, 3));
    const word4 = await registers.read(block1Word(EFUSE, 4));
    return {
      name: packageName('ESP32-H4', { 0: 'ESP32-H4 (QFN40)' }, bits(word4, 12, 3)),
      revision: { major: bits(word3, 22, 2), minor: bits(word3, 18, 4) },
      features: ['BT 5 (LE)', 'IEEE802.15.4', 'Dual Core', '96MHz'],
    };
  },
  readCrystalMHz: () => Promise.resolve(32),
  readSecurity: (registers, info) => readSecurityState(registers, securityFields, info),
  readUsbConnection: (_registers, host = null) => Promise.resolve(usbConnectionByIds(host, null)),
  async prepareForStub(registers, usb) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
  },
};
