/** Who a board is: everything that eFuses and ROM tell, read so that a disturbed line cannot make another board of it. */

import { EspdError, hasCode } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { UsbFacts } from '../serial/link.ts';
import type {
  Chip,
  ChipDescription,
  Family,
  RegisterAccess,
  SecurityInfo,
  SecurityState,
  UsbConnection,
} from './chips/chip.ts';
import { isBlankMac } from './chips/efuse-fields.ts';
import { CONNECT_BAUD_RATE } from './connect.ts';
import type { Detection } from './detect.ts';
import type { Loader } from './loader.ts';
import { type KnownWords, agreeingRegisters, readAhead } from './registers.ts';
import { isSecureDownload } from './security-info.ts';

export interface BoardIdentity {
  readonly family: Family;
  /** `ESP8266EX`, `ESP32-D0WD-V3`. */
  readonly chipName: string;
  /** `v3.1`. */
  readonly revision: string;
  readonly features: readonly string[];
  readonly crystalMHz: number;
  readonly mac: Mac;
  readonly security: SecurityState;
  readonly usbConnection: UsbConnection;
}

/** Readable eFuse words by block, lower-case hex of 8 digits. */
export type EfuseWords = Readonly<Record<string, readonly string[]>>;
/** The same as far as they have been read; null for a word that has not. */
export type KnownEfuseWords = Readonly<Record<string, readonly (string | null)[]>>;

export interface Identification {
  readonly identity: BoardIdentity;
  readonly description: ChipDescription;
}

/**
 * Reads the identity through a loader that answers.
 * @param known words of this chip that were agreed on; gets the others
 * @param usb what the host knows of the port's USB
 * @throws EspdError `secure-download`, `no-mac`, `chip-error` for a word that reads differently each time
 */
export async function identify(
  loader: Loader,
  { chip, securityInfo }: Detection,
  known: KnownWords = new Map(),
  usb: UsbFacts | null = null,
): Promise<Identification> {
  // In secure download mode no register can be read: the flag must be looked at first.
  refuseSecureDownload(chip, securityInfo !== null && isSecureDownload(securityInfo));
  await readAhead(loader, known, await wordsOfIdentity(chip, securityInfo));
  const registers = agreeingRegisters(loader, known);
  const description = await chip.describe(registers);
  const mac = await chip.readMac(registers);
  if (isBlankMac(mac)) {
    throw new EspdError('no-mac', `This ${chip.title} has no MAC of its own (it reads ${mac})`, {
      hint: 'Its eFuses are blank: its backups could not be told apart from those of other such chips',
    });
  }
  const security = await chip.readSecurity(registers, securityInfo);
  refuseSecureDownload(chip, security.secureDownload);
  const identity: BoardIdentity = {
    family: chip.family,
    chipName: description.name,
    revision: `v${description.revision.major}.${description.revision.minor}`,
    features: description.features,
    crystalMHz: await chip.readCrystalMHz(registers, loader.channel.link.baudRate),
    mac,
    security,
    usbConnection: await chip.readUsbConnection(registers, usb),
  };
  return { identity, description };
}

/**
 * Every eFuse word that can be read without harm, through ROM or stub.
 * @param known words of this chip that were agreed on, and need not be asked for again
 * @param before what an earlier session has read of this chip: what is still so is asked for once, not twice
 */
export async function readEfuseWords(
  loader: Loader,
  chip: Chip,
  known: KnownWords,
  before: EfuseWords = {},
): Promise<EfuseWords> {
  const expected = wordsByAddress(chip, before);
  const addresses = chip.efuseBlocks.flatMap(({ address, words }) =>
    Array.from({ length: words }, (_, word) => address + word * 4),
  );
  await readAhead(loader, known, addresses, expected);
  const registers = agreeingRegisters(loader, known, expected);
  const efuses: Record<string, string[]> = {};
  for (const block of chip.efuseBlocks) {
    const content: string[] = [];
    for (let word = 0; word < block.words; word++) {
      const value = await registers.read(block.address + word * 4);
      content.push(hexWord(value));
    }
    efuses[block.name] = content;
  }
  return efuses;
}

/** The eFuse words among those that were agreed on: asks for none. */
export function knownEfuseWords(chip: Chip, known: KnownWords): KnownEfuseWords {
  return Object.fromEntries(
    chip.efuseBlocks.map(({ name, address, words }) => {
      const values = Array.from({ length: words }, (_, word) => known.get(address + word * 4));
      return [name, values.map((value) => (value === undefined ? null : hexWord(value)))];
    }),
  );
}

/**
 * Addresses that {@link identify} asks for first, in their order: of eFuses, and of registers that tell revision and crystal.
 * Found by answering zero to each; where an address depends on an answer, the right one is asked for later.
 */
async function wordsOfIdentity(chip: Chip, securityInfo: SecurityInfo | null): Promise<number[]> {
  const asked = new Set<number>();
  const registers: RegisterAccess = {
    read(address) {
      asked.add(address);
      return Promise.resolve(0);
    },
    write: () => Promise.resolve(),
  };
  try {
    await chip.describe(registers);
    await chip.readMac(registers);
    await chip.readSecurity(registers, securityInfo);
    await chip.readCrystalMHz(registers, CONNECT_BAUD_RATE);
  } catch (error) {
    // Zeros are nobody's MAC (ESP8266).
    if (!hasCode(error, 'chip-unsupported')) throw error;
  }
  return [...asked];
}

function wordsByAddress(chip: Chip, efuses: EfuseWords): ReadonlyMap<number, number> {
  const words = chip.efuseBlocks.flatMap(({ name, address }) =>
    (efuses[name] ?? []).map((word, index) => [address + index * 4, Number.parseInt(word, 16)] as const),
  );
  return new Map(words);
}

function hexWord(value: number): string {
  return value.toString(16).padStart(8, '0');
}

function refuseSecureDownload(chip: Chip, secureDownload: boolean): void {
  if (!secureDownload) return;
  throw new EspdError('secure-download', `This ${chip.title} is in secure download mode: its flash cannot be read`, {
    hint: 'Its maker has locked it in eFuse for good; espd cannot back it up',
  });
}
