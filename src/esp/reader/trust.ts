/** Whether the reader may be put on a chip at all. What it would bring is another question: `costs.ts`. */

import type { Family, SecurityState, UsbConnection } from '../chips/chip.ts';
import { ROM_REACH_BYTES } from '../flash-reach.ts';

/** `transfer.reader` of the config. */
export type ReaderMode = 'auto' | 'always' | 'never';

/**
 * The chips on which it is used without being asked for, each with what speaks for it: real ROM code in an emulator, with
 * the stub v1.2.2 of esptool-js 0.7.0. Nothing here has run on silicon.
 */
const ON_ROM_CODE =
  'loading, self-test, all levels, a table of 1,024 sectors, whole 4 MB, aborts, refusals, and the stub afterwards';
export const TRUSTED_CHIPS: Readonly<Partial<Record<Family, string>>> = {
  esp32: `${ON_ROM_CODE}; one call of the stub had to be led past a bit that the emulator lacks`,
  esp32c3: `${ON_ROM_CODE}; the stub was as it is`,
};

export interface TrustFacts {
  readonly mode: ReaderMode;
  readonly family: Family;
  readonly usbConnection: UsbConnection;
  readonly security: SecurityState;
  /** Undefined = not known yet. */
  readonly flashSizeBytes: number | undefined;
  /** The link can reset the board: what else ends a reader that hangs? */
  readonly canReset: boolean;
  /** The stub is one that somebody else has loaded. */
  readonly hasForeignStub: boolean;
}

/** Why it may not be used, as the end of a sentence that begins with "because"; null where it may. */
export function reasonAgainst(facts: TrustFacts): string | null {
  const { mode, family, usbConnection, security, flashSizeBytes, canReset, hasForeignStub } = facts;
  if (mode === 'never') return 'the config says so';
  // It serves the registers of UART0 itself.
  if (usbConnection !== 'none') return "the board is on the chip's own USB";
  if (!canReset) return 'the link has no reset lines';
  if (security.secureBoot || security.secureDownload) return 'the chip is secured';
  // What is read is the ciphertext, by the ROM's function as by the stub. It does not compress: nothing is to be won.
  if (security.flashEncryption) return 'the flash is encrypted';
  if (hasForeignStub) return 'the stub was not loaded by espd';
  if (flashSizeBytes === undefined) return 'the size of the flash is not known';
  // The ROM's function has 24 address bits.
  if (flashSizeBytes > ROM_REACH_BYTES) return 'the flash is larger than 16 MB';
  if (mode === 'auto' && TRUSTED_CHIPS[family] === undefined) return 'it has not run on the ROM of this chip';
  return null;
}
