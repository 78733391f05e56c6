/**
 * ESP32: eFuses in a layout of its own, and a revision that is spread over eFuses and a date register.
 * Sources: ESP32 Technical Reference Manual, chapter eFuse Controller; esptool/targets/esp32.py, commit
 * 84b819af7d82b9a2bf144345621392a1ed96ac9d; feature words as esptool 5 prints them.
 */

import type { Chip, ChipDescription, RegisterAccess, SecurityState } from './chip.ts';
import { crystalFromDivider } from './crystal.ts';
import { bits, isOddParity, macFromWords } from './efuse-fields.ts';
import { modernDefaults, packageName } from './modern.ts';
import { esp32Spi } from './spi-registers.ts';

/** EFUSE_BLK0_RDATA0_REG. */
const EFUSE_BLOCK0 = 0x3ff5a000;
/** EFUSE_BLK3_RDATA0_REG: custom MAC and calibration. Blocks 1 and 2 are the keys. */
const EFUSE_BLOCK3 = 0x3ff5a078;
const UART_CLKDIV = 0x3ff40014;
/** SYSCON (APB_CTRL) DATE register; bit 31 is set on v3 silicon. */
const APB_CTL_DATE = 0x3ff6607c;
/** RTCCALICFG1: how many crystal cycles a calibration took, from bit 7 up. */
const RTC_CALIBRATION = 0x3ff5f06c;

const block0 = (registers: RegisterAccess, word: number) => registers.read(EFUSE_BLOCK0 + 4 * word);

/** The three bits tell v0, v1, v2, v3 as 0, 1, 3, 7; what else they read counts as v0. */
const MAJOR_BY_BITS: Readonly<Record<number, number>> = { 0: 0, 1: 1, 3: 2, 7: 3 };

async function readRevision(registers: RegisterAccess): Promise<ChipDescription['revision']> {
  const word5 = await block0(registers, 5);
  const major =
    bits(await block0(registers, 3), 15, 1) |
    (bits(word5, 20, 1) << 1) |
    (bits(await registers.read(APB_CTL_DATE), 31, 1) << 2);
  return { major: MAJOR_BY_BITS[major] ?? 0, minor: bits(word5, 24, 2) };
}

function nameOf(packageVersion: number, singleCore: boolean, major: number): string {
  const cores = singleCore ? 'S0' : 'D0';
  const v3 = major === 3 && !singleCore ? '-V3' : '';
  return packageName(
    'ESP32',
    {
      0: `ESP32-${cores}WDQ6${v3}`,
      1: `ESP32-${cores}WD${v3}`,
      2: 'ESP32-D2WD',
      3: `ESP32-${cores}WD-OEM`,
      4: 'ESP32-U4WDH',
      5: major === 3 ? 'ESP32-PICO-V3' : 'ESP32-PICO-D4',
      6: 'ESP32-PICO-V3-02',
      7: 'ESP32-D0WDR2-V3',
    },
    packageVersion,
  );
}

/** Packages with flash inside: D2WD, U4WDH, PICO-D4 and -V3, PICO-V3-02. */
const PACKAGES_WITH_FLASH = [2, 4, 5, 6];
const PACKAGE_PICO_V3_02 = 6;

const CODING_SCHEMES = ['None', '3/4', 'Repeat (UNSUPPORTED)', 'None (may contain encoding data)'];

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const word3 = await block0(registers, 3);
  const packageVersion = bits(word3, 9, 3) | (bits(word3, 2, 1) << 3);
  const singleCore = bits(word3, 0, 1) === 1;
  const revision = await readRevision(registers);

  const features = ['Wi-Fi'];
  if (bits(word3, 1, 1) === 0) features.push('BT');
  features.push(singleCore ? 'Single Core + LP Core' : 'Dual Core + LP Core');
  if (bits(word3, 13, 1) === 1) features.push(bits(word3, 12, 1) === 1 ? '160MHz' : '240MHz');
  if (PACKAGES_WITH_FLASH.includes(packageVersion)) features.push('Embedded Flash');
  if (packageVersion === PACKAGE_PICO_V3_02) features.push('Embedded PSRAM');
  if (bits(await block0(registers, 4), 8, 5) !== 0) features.push('Vref calibration in eFuse');
  if (bits(word3, 14, 1) === 1) features.push('BLK3 partially reserved');
  features.push(`Coding Scheme ${CODING_SCHEMES[bits(await block0(registers, 6), 0, 2)] ?? ''}`);
  return { name: nameOf(packageVersion, singleCore, revision.major), revision, features };
}

async function readSecurity(registers: RegisterAccess): Promise<SecurityState> {
  const word6 = await block0(registers, 6);
  const secureBootV1 = bits(word6, 4, 1) === 1; // ABS_DONE_0
  // ABS_DONE_1 means secure boot v2 from v3.0 on, and nothing before.
  const secureBootV2 = bits(word6, 5, 1) === 1 && (await readRevision(registers)).major >= 3;
  return {
    flashEncryption: isOddParity(bits(await block0(registers, 0), 20, 7)), // FLASH_CRYPT_CNT
    secureBoot: secureBootV1 || secureBootV2,
    secureDownload: false,
  };
}

/**
 * The ROM measured the crystal against an 8 MHz oscillator that drifts, and computes its divider from what came out;
 * asking for a rate that is wrong by the same factor gives the right one.
 */
async function romBaudRate(registers: RegisterAccess, baudRate: number): Promise<number> {
  const cycles = bits(await registers.read(RTC_CALIBRATION), 7, 25);
  const oscillator = bits(await block0(registers, 4), 0, 8); // CK8M_FREQ
  const measuredHz = (cycles * 15625 * oscillator) / 40;
  // No calibration (some chips, emulators): nothing to correct by.
  if (measuredHz === 0) return baudRate;
  return Math.floor((baudRate * measuredHz) / (measuredHz > 33e6 ? 40e6 : 26e6));
}

export const esp32: Chip = {
  ...modernDefaults,
  family: 'esp32',
  title: 'ESP32',
  imageChipId: 0,
  magicWords: [0x00f01d83],
  rom: { ...modernDefaults.rom, beginHasEncryptWord: false },
  spi: esp32Spi(0x3ff42000),
  efuseBlocks: [
    { name: 'BLOCK0', address: EFUSE_BLOCK0, words: 7 },
    { name: 'BLOCK3', address: EFUSE_BLOCK3, words: 8 },
  ],
  stubImage: () => 'esp32',
  async readMac(registers) {
    return macFromWords(await block0(registers, 1), await block0(registers, 2));
  },
  describe,
  async readCrystalMHz(registers, baudRate) {
    return crystalFromDivider(await registers.read(UART_CLKDIV), baudRate, 1, [40, 26]);
  },
  readSecurity,
  readUsbConnection: () => Promise.resolve('none'),
  prepareForStub: () => Promise.resolve(),
  romBaudRate,
};
