/**
 * ESP8266 and ESP8285: an old ROM with little ability, and four words of eFuses without blocks.
 * Sources: esptool/targets/esp8266.py, commit 0b3460fa12756291f187949d2e6ff15fe2ac9c2c; ESP8266 data sheet.
 */

import { EspdError } from '../../errors.ts';
import { type Mac, macFromBytes } from '../../mac.ts';
import type { Chip, ChipDescription, RegisterAccess } from './chip.ts';
import { crystalFromDivider } from './crystal.ts';
import { bits } from './efuse-fields.ts';
import { SMALL_FLASH_BYTES, directStart } from './modern.ts';
import { esp8266Spi } from './spi-registers.ts';

/** EFUSE_DATA_OUT0 to 3. */
const EFUSES = 0x3ff00050;
const UART_CLKDIV = 0x60000014;

async function readEfuses(registers: RegisterAccess): Promise<[number, number, number, number]> {
  const word = (index: number) => registers.read(EFUSES + 4 * index);
  return [await word(0), await word(1), await word(2), await word(3)];
}

/** The first three bytes of the MAC; undefined where the eFuses name no maker that is known. */
function makerOf(word1: number, word3: number): [number, number, number] | undefined {
  // The top byte of word 3 belongs to the ESP8285's flash, so it alone makes no MAC.
  const burnt = bits(word3, 0, 24);
  if (burnt !== 0) return [burnt >>> 16, (burnt >>> 8) & 0xff, burnt & 0xff];
  switch (bits(word1, 16, 8)) {
    case 0:
      return [0x18, 0xfe, 0x34];
    case 1:
      return [0xac, 0xd0, 0x74];
    default:
      return undefined;
  }
}

async function readMac(registers: RegisterAccess): Promise<Mac> {
  const [word0, word1, , word3] = await readEfuses(registers);
  const maker = makerOf(word1, word3);
  if (maker === undefined) {
    throw new EspdError('chip-unsupported', 'The eFuses of this ESP8266 name no maker, so its MAC is not known', {
      hint: 'Please report the four words at 0x3ff00050: espd names boards by their MAC and never guesses one',
    });
  }
  return macFromBytes(Uint8Array.of(...maker, bits(word1, 8, 8), bits(word1, 0, 8), bits(word0, 24, 8)));
}

/** Megabytes of flash inside an ESP8285; undefined for combinations that no data sheet explains. */
function embeddedFlashMB(word0: number, word3: number): 1 | 2 | 4 | undefined {
  const size = bits(word3, 25, 3);
  if (bits(word0, 4, 1) === 1) return size === 0 ? 1 : size === 2 ? 2 : undefined;
  return size === 1 ? 2 : size === 3 ? 4 : undefined;
}

function esp8285Name(flashMB: number | undefined, heatProof: boolean): string {
  // H: up to 105 °C, N: up to 85 °C; the number is the flash in megabits.
  const grade = heatProof ? 'H' : 'N';
  if (flashMB === 1) return `ESP8285${grade}08`;
  if (flashMB === 2) return `ESP8285${grade}16`;
  return 'ESP8285';
}

async function describe(registers: RegisterAccess): Promise<ChipDescription> {
  const [word0, , word2, word3] = await readEfuses(registers);
  const revision = { major: 0, minor: 0 };
  const isEsp8285 = bits(word0, 4, 1) === 1 || bits(word2, 16, 1) === 1;
  if (!isEsp8285) return { name: 'ESP8266EX', revision, features: ['WiFi'] };
  const flashMB = embeddedFlashMB(word0, word3);
  return {
    name: esp8285Name(flashMB, bits(word0, 5, 1) === 1),
    revision,
    features: ['WiFi', flashMB === undefined ? 'Embedded Flash' : `Embedded Flash ${flashMB}MB`],
  };
}

export const esp8266: Chip = {
  family: 'esp8266',
  title: 'ESP8266',
  imageChipId: null,
  magicWords: [0xfff0c101],
  romStatusBytes: 2,
  bootLogBaudRate: 74880,
  rom: { readFlash: false, digest: false, changeBaudRate: false, spiAttach: false, beginHasEncryptWord: false },
  maxFlashBytes: SMALL_FLASH_BYTES,
  spi: esp8266Spi(0x60000200),
  efuseBlocks: [{ name: 'BLOCK0', address: EFUSES, words: 4 }],
  /** Data sheet: 115200 × 40. */
  maxBaudRate: 4_608_000,
  stubImage: () => 'esp8266',
  stubStart: () => directStart,
  readMac,
  describe,
  async readCrystalMHz(registers, baudRate) {
    // 26 MHz on nearly every module; the data sheet allows 24 to 52.
    return crystalFromDivider(await registers.read(UART_CLKDIV), baudRate, 2, [26, 40]);
  },
  readSecurity: () => Promise.resolve({ flashEncryption: false, secureBoot: false, secureDownload: false }),
  readUsbConnection: () => Promise.resolve('none'),
  prepareForStub: () => Promise.resolve(),
  romBaudRate: (_registers, baudRate) => Promise.resolve(baudRate),
  prepareForReset: () => Promise.resolve('reset-line'),
  watchdogReset: null,
};
