/**
 * What forbids writing an image to a board: each reason with a code of its own, and each with an option of its own to
 * write all the same, where that can make sense. Pure: everything is asked before the first sector is erased.
 */

import type { ChipChange } from '../../archive/chip-change.ts';
import { OVERRIDES } from '../../archive/restore-record.ts';
import type { Backup } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import type { FlashFacts } from '../../esp/board.ts';
import type { BoardIdentity } from '../../esp/identity.ts';
import { type RevisionRequirement, formatRevision, parseRevision } from '../../firmware/index.ts';
import type { Mac } from '../../mac.ts';
import { guardMac } from '../guard-mac.ts';
import type { ImageSecurity } from './unconfirmed.ts';

/** What the person has said yes to, each by its own option. */
export interface Overrides {
  readonly revision: boolean;
  readonly flashSize: boolean;
  readonly security: boolean;
  readonly writeProtect: boolean;
  readonly layout: boolean;
  /** The board is another chip, or has another flash chip, than the backup under its MAC. */
  readonly chipChange: boolean;
}

export const NO_OVERRIDES: Overrides = {
  revision: false,
  flashSize: false,
  security: false,
  writeProtect: false,
  layout: false,
  chipChange: false,
};

/** The overrides that are on, by the names of their options behind `--ignore-`. */
export function namesOf(overrides: Overrides): (typeof OVERRIDES)[number][] {
  const { revision, flashSize, security, writeProtect, layout, chipChange } = overrides;
  const given = {
    revision,
    'flash-size': flashSize,
    security,
    'write-protect': writeProtect,
    layout,
    'chip-change': chipChange,
  };
  return OVERRIDES.filter((name) => given[name]);
}

export interface BoardFacts {
  readonly identity: BoardIdentity;
  readonly flash: FlashFacts;
  /** What says that the backup, though of this MAC, is of another chip; null where nothing does. */
  readonly change: ChipChange | null;
}

/**
 * @param targetMac the MAC that the board must have
 * @param isPartial only a part of the flash is to be written
 * @throws EspdError `other-mac`, `other-chip`, `other-board`, `other-size`, `encrypted`, `secure-boot`
 */
export function guardBoard(
  backup: Backup,
  targetMac: Mac,
  { identity, flash, change }: BoardFacts,
  isPartial: boolean,
  overrides: Overrides,
): void {
  const { manifest } = backup;
  guardMac(identity, targetMac, `To put this image on this board on purpose, name the board: --to ${identity.mac}`);
  if (identity.family !== manifest.chip.family) {
    throw new EspdError(
      'other-chip',
      `The board has an ${identity.chipName}, the image was read from an ${manifest.chip.name}`,
      { hint: 'An image runs only on the kind of chip that it was read from; no option overrides this' },
    );
  }
  guardSize(manifest.flash.sizeBytes, flash.sizeBytes, overrides);
  const isSameChip = backup.mac === identity.mac && change?.kind !== 'chip';
  // Where no chip was asked, the content of the image has to tell: see guardSecurity.
  if (manifest.security !== null) {
    guardSecurity({ ...manifest.security, by: 'chip' }, identity, { isPartial, isSameChip }, overrides);
  }
  guardChange(change, overrides);
}

/** How the image and the board are related. */
export interface Kinship {
  /** Only a part of the flash is to be written. */
  readonly isPartial: boolean;
  /** The image is of this very chip, as far as a chip has said so. */
  readonly isSameChip: boolean;
}

/** @throws EspdError `encrypted`, `secure-boot` */
export function guardSecurity(
  security: ImageSecurity,
  identity: BoardIdentity,
  kinship: Kinship,
  overrides: Overrides,
): void {
  guardEncryption(security, identity, kinship, overrides);
  guardSecureBoot(security, identity, kinship.isSameChip, overrides);
}

/**
 * A MAC that is known, on another chip: a clone, or a MAC that was burnt twice. Its backups are those of another board.
 * A flash chip that was changed looks the same from here as another board of the same batch, so a person decides; one
 * who has said that the flash may be larger has said it already.
 */
function guardChange(change: ChipChange | null, overrides: Overrides): void {
  if (change === null || overrides.chipChange || (change.kind === 'flash' && overrides.flashSize)) return;
  const details = change.details.join('; ');
  if (change.kind === 'flash') {
    throw new EspdError('other-board', `The flash chip of the board is not the one that was backed up (${details})`, {
      hint: 'If it was replaced on this board, --ignore-chip-change writes the image to the new one. If not, this is another board with the same MAC',
    });
  }
  throw new EspdError('other-board', `The board has the MAC of the backup, but is another chip (${details})`, {
    hint: 'Two boards have the same MAC. "espd show" tells which backups are of which; --ignore-chip-change writes this one anyway',
  });
}

function guardSize(imageBytes: number, flashBytes: number, overrides: Overrides): void {
  if (flashBytes === imageBytes || (flashBytes > imageBytes && overrides.flashSize)) return;
  throw new EspdError('other-size', `The image has ${imageBytes} bytes, the flash of the board ${flashBytes}`, {
    hint:
      flashBytes < imageBytes
        ? 'It does not fit; no option overrides this'
        : 'Some firmware keeps settings at the end of the flash and will not find them. --ignore-flash-size writes the image to the beginning of the flash and leaves the rest as it is',
  });
}

function guardEncryption(
  { flashEncryption: image, by }: ImageSecurity,
  identity: BoardIdentity,
  { isPartial, isSameChip }: Kinship,
  overrides: Overrides,
): void {
  const board = identity.security.flashEncryption;
  const refuse = (message: string, hint: string) => new EspdError('encrypted', message, { hint });
  if (image && by === 'content') {
    if (isSameChip || overrides.security) return;
    throw refuse(
      'Nothing in the image can be read: no chip has said whether it is ciphertext',
      'Ciphertext runs only on the chip that it was read from. --ignore-security writes it anyway',
    );
  }
  // Ciphertext is worth something only on the chip that holds the key.
  if (image && !isSameChip) {
    throw refuse(
      'The image is ciphertext: only the chip that it was read from has the key, in its eFuses',
      'On any other chip it is noise; no option overrides this',
    );
  }
  if (image && !board) {
    throw refuse(
      'The image is ciphertext, and this board no longer decrypts its flash',
      'The board would not boot; no option overrides this',
    );
  }
  if (!image && board && !(isPartial && overrides.security)) {
    throw refuse(
      'The board decrypts its flash, and the image is plaintext',
      isPartial
        ? 'A partition that the firmware does not encrypt can be restored with --ignore-security'
        : 'The board would not boot. A partition that is not encrypted can be restored with --partition and --ignore-security',
    );
  }
}

function guardSecureBoot(
  { secureBoot: image, by }: ImageSecurity,
  identity: BoardIdentity,
  isSameChip: boolean,
  overrides: Overrides,
): void {
  const board = identity.security.secureBoot;
  if (!image && !board) return;
  if ((image && board && isSameChip) || overrides.security) return;
  const message =
    image && board
      ? 'Image and board have secure boot, but the image comes from another board, which may have another signing key'
      : board
        ? `The board has secure boot, and the image ${by === 'chip' ? 'comes from a board without it' : 'has no signed bootloader'}`
        : `The image ${by === 'chip' ? 'comes from a board with' : 'has the bootloader of a board with'} secure boot, and this board has none`;
  throw new EspdError('secure-boot', message, {
    hint: board
      ? 'If bootloader and app are not signed with the key of this board, it will not boot. --ignore-security writes it anyway'
      : 'Its bootloader may burn eFuses at the first start. --ignore-security writes it anyway',
  });
}

/** @throws EspdError `old-revision` where bootloader or app say that they do not run on this revision of the chip */
export function guardRevision(
  requirements: readonly RevisionRequirement[],
  identity: BoardIdentity,
  overrides: Overrides,
): void {
  const revision = parseRevision(identity.revision);
  if (revision === undefined || overrides.revision) return;
  for (const { by, minRevision, maxRevision } of requirements) {
    const isTooOld = revision < minRevision;
    if (!isTooOld && (maxRevision === null || revision <= maxRevision)) continue;
    const wanted = isTooOld ? `at least ${formatRevision(minRevision)}` : `at most ${formatRevision(maxRevision ?? 0)}`;
    throw new EspdError('old-revision', `The chip is revision ${identity.revision}, and ${by} asks for ${wanted}`, {
      hint: 'The board would not boot. --ignore-revision writes it anyway',
    });
  }
}

/** Block protect bits 0 to 2, and the bit by which the WP pin locks them: alike in the data sheets of all common makers. */
const BLOCK_PROTECT = 0x1c;
const STATUS_LOCKED = 0x80;

/** Block protection that is on: `locked` where the loader cannot take it off; null where it is off. */
export function writeProtectionOf(status: number | undefined): 'on' | 'locked' | null {
  if (status === undefined || (status & BLOCK_PROTECT) === 0) return null;
  return (status & STATUS_LOCKED) === 0 ? 'on' : 'locked';
}

/**
 * What the status register tells of write protection. Loaders take ordinary block protection off before they write; bits
 * that are locked they cannot. Protection by other registers, by eFuse or by wiring cannot be seen: there the digest after
 * the write tells.
 *
 * @throws EspdError `write-protected`
 */
export function guardWriteProtection(status: number | undefined, overrides: Overrides): void {
  if (writeProtectionOf(status) !== 'locked' || overrides.writeProtect) return;
  const shown = (status ?? 0).toString(16).padStart(2, '0');
  const bits = protectionBits(status ?? 0).join(', ');
  throw new EspdError('write-protected', `The flash is locked against writing (status register 0x${shown}: ${bits})`, {
    hint: 'SRP lets its WP pin keep the BP bits set. If that pin is not used on this board, --ignore-write-protect tries it; "esptool read-flash-status" shows the bits, and "esptool write-flash-status --bytes 1 --non-volatile 0" clears that register for good',
  });
}

/** The bits of block protection that are set, by the names that data sheets give them (W25Q32JV, Status Register-1). */
function protectionBits(status: number): string[] {
  const names = { BP0: 0x04, BP1: 0x08, BP2: 0x10, SRP: STATUS_LOCKED };
  return Object.entries(names).flatMap(([name, mask]) => ((status & mask) === 0 ? [] : [name]));
}
