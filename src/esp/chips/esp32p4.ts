/**
 * ESP32-P4: no radio; two generations of silicon (below and from v3.0) with stubs and ROM variables of their own, and
 * flash that two revisions leave without power.
 * Sources: esptool/targets/esp32p4.py, commit 07879eb329dd46c3748487b91538114331e9607e, and as of 5.x for v3;
 * esptool-js 0.7.0 lib/targets/esp32p4.js; esp-idf components/efuse/esp32p4/esp_efuse_table.csv.
 */

import { type Clock, sleep, systemClock } from '../../clock.ts';
import type { Chip, ChipDescription, RegisterAccess } from './chip.ts';
import { bits, block1Word, efuseBlocks, readBlock1Mac } from './efuse-fields.ts';
import { LARGE_FLASH_BYTES, modernDefaults, packageName } from './modern.ts';
import { REPEAT_DATA, readSecurityState, usualSecurityFields } from './security.ts';
import { modernSpi } from './spi-registers.ts';
import {
  type BootSelection,
  clearForceDownload,
  lpWatchdogs,
  quietWatchdogs,
  resetThroughWatchdog,
} from './watchdogs.ts';

const EFUSE = 0x5012d000;
const LP_SYSTEM = 0x50110000;
const PMU = 0x50115000;
const watchdogs = lpWatchdogs(0x50116000);
const bootSelection: BootSelection = {
  strapping: 0x500e0038,
  forceDownload: { address: LP_SYSTEM + 0x08, mask: 1 << 2 },
};
/** `buff_uart_no` in the ROM's memory: which port the loader talks over. It moved with the ROM of v3.0. */
const UARTDEV_BUF_NO = 0x4ff3fec8;
const UARTDEV_BUF_NO_V3 = 0x4ffbfec8;
const UARTDEV_USB_OTG = 5;
const UARTDEV_USB_SERIAL_JTAG = 6;

/** DOWNLOAD_MODE_XPD_ON in EFUSE_RD_REPEAT_DATA1_REG: the ROM itself powers the flash. */
const ROM_POWERS_FLASH = { address: EFUSE + REPEAT_DATA[1], mask: 1 << 16 };
const ANA_XPD_PAD_GROUP = LP_SYSTEM + 0x10c;
const EXT_LDO_P0 = PMU + 0x1b8;
const EXT_LDO_P0_ANA = PMU + 0x1bc;
const PMU_DATE = PMU + 0x3fc;
const LDO_CURRENT_LIMIT = 1 << 27;
const LDO_FORCE_TIEH = 1 << 7;
const LDO_TARGET = 0xff << 23;
/** Bits of PMU_DATE that force the flash's supply on. */
const FLASH_FORCE_ON = 0b11;

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word2 = await registers.read(block1Word(EFUSE, 2));
  return {
    name: packageName('ESP32-P4', { 0: 'ESP32-P4' }, bits(word2, 20, 3)),
    revision: { major: (bits(word2, 23, 1) << 2) | bits(word2, 4, 2), minor: bits(word2, 0, 4) },
    features: ['Dual Core + LP Core', '400MHz'],
  };
}

async function change(registers: RegisterAccess, address: number, clear: number, set: number): Promise<void> {
  const word = await registers.read(address);
  await registers.write(address, ((word & ~clear) | set) >>> 0);
}

/**
 * v3.1 and v3.2 start download mode with the flash's supply off, lest 3.3 V reach a 1.8 V flash; what the board needs
 * stands in its eFuses, and this applies it. Source: esptool-js `powerOnFlash`, step by step.
 */
async function powerFlash(registers: RegisterAccess, clock: Clock): Promise<void> {
  const { revision } = await describe(registers);
  if (revision.major !== 3 || (revision.minor !== 1 && revision.minor !== 2)) return;
  const romPowers = ((await registers.read(ROM_POWERS_FLASH.address)) & ROM_POWERS_FLASH.mask) !== 0;
  if (revision.minor === 2 && romPowers) {
    // Powering it twice fails: the ROM does so on the second entry without a power cycle, so its force is taken back.
    const date = await registers.read(PMU_DATE);
    if ((date & FLASH_FORCE_ON) === FLASH_FORCE_ON) await registers.write(PMU_DATE, (date & ~FLASH_FORCE_ON) >>> 0);
    return;
  }
  await registers.write(ANA_XPD_PAD_GROUP, 1);
  await sleep(clock, 10);
  await change(registers, EXT_LDO_P0_ANA, 0, LDO_CURRENT_LIMIT);
  await change(registers, EXT_LDO_P0, 0, LDO_FORCE_TIEH);
  await change(registers, PMU_DATE, 0, FLASH_FORCE_ON);
  await sleep(clock, 1);
  await change(registers, EXT_LDO_P0_ANA, LDO_CURRENT_LIMIT, 0);
  await change(registers, EXT_LDO_P0, LDO_TARGET, 0);
  // Takes the voltage over from the eFuses.
  await change(registers, EXT_LDO_P0, 0, LDO_FORCE_TIEH);
  await change(registers, EXT_LDO_P0, LDO_FORCE_TIEH, 0);
  await sleep(clock, 2);
}

export const esp32p4: Chip = {
  ...modernDefaults,
  family: 'esp32p4',
  title: 'ESP32-P4',
  imageChipId: 18,
  maxFlashBytes: LARGE_FLASH_BYTES,
  /** SPIMEM1. */
  spi: modernSpi(0x5008d000),
  efuseBlocks: efuseBlocks(EFUSE),
  stubImage: ({ revision }) => (revision.major < 3 ? 'esp32p4-rev1' : 'esp32p4'),
  readMac: (registers) => readBlock1Mac(registers, EFUSE),
  describe,
  readCrystalMHz: () => Promise.resolve(40),
  readSecurity: (registers, info) => readSecurityState(registers, usualSecurityFields(EFUSE), info),
  async readUsbConnection(registers) {
    const { revision } = await describe(registers);
    const port = bits(await registers.read(revision.major < 3 ? UARTDEV_BUF_NO : UARTDEV_BUF_NO_V3), 0, 8);
    if (port === UARTDEV_USB_OTG) return 'usb-otg';
    return port === UARTDEV_USB_SERIAL_JTAG ? 'usb-serial-jtag' : 'none';
  },
  async prepareForStub(registers, usb, clock = systemClock) {
    if (usb === 'usb-serial-jtag') await quietWatchdogs(registers, watchdogs);
    await powerFlash(registers, clock);
  },
  async prepareForReset(registers, usb) {
    await clearForceDownload(registers, bootSelection);
    return usb === 'usb-otg' ? 'watchdog' : 'reset-line';
  },
  async watchdogReset(registers) {
    await clearForceDownload(registers, bootSelection);
    await resetThroughWatchdog(registers, watchdogs.rtc);
  },
};
