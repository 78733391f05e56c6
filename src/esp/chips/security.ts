/** Flash encryption, secure boot and secure download mode: from GET_SECURITY_INFO, or from the eFuses. */

import { securityFromInfo } from '../security-info.ts';
import type { RegisterAccess, SecurityInfo, SecurityState } from './chip.ts';
import { bits, isOddParity } from './efuse-fields.ts';

/** Words of BLOCK0 behind WR_DIS, from the controller's base (EFUSE_RD_REPEAT_DATA0_REG and following). */
export const REPEAT_DATA = [0x30, 0x34, 0x38, 0x3c] as const;

/** A bit, or the lowest bit of a field, in a word at `address`. */
export interface BitPlace {
  readonly address: number;
  readonly bit: number;
}

export interface SecurityFields {
  /** SPI_BOOT_CRYPT_CNT, three bits: on when an odd number of them is set. */
  readonly cryptCount: BitPlace;
  /** SECURE_BOOT_EN. */
  readonly secureBoot: BitPlace;
  /** ENABLE_SECURITY_DOWNLOAD. */
  readonly secureDownload: BitPlace;
}

/** Where S2, S3, C3, C6, H2 and P4 keep them (esp-idf components/efuse/<chip>/esp_efuse_table.csv: bits 82, 116, 133). */
export function usualSecurityFields(base: number): SecurityFields {
  return {
    cryptCount: { address: base + REPEAT_DATA[1], bit: 18 },
    secureBoot: { address: base + REPEAT_DATA[2], bit: 20 },
    secureDownload: { address: base + REPEAT_DATA[3], bit: 5 },
  };
}

/** From what GET_SECURITY_INFO said, else from the eFuses themselves. */
export async function readSecurityState(
  registers: RegisterAccess,
  fields: SecurityFields,
  info: SecurityInfo | null,
): Promise<SecurityState> {
  if (info !== null) return securityFromInfo(info);
  const read = async ({ address, bit }: BitPlace, width: number) => bits(await registers.read(address), bit, width);
  return {
    flashEncryption: isOddParity(await read(fields.cryptCount, 3)),
    secureBoot: (await read(fields.secureBoot, 1)) === 1,
    secureDownload: (await read(fields.secureDownload, 1)) === 1,
  };
}
