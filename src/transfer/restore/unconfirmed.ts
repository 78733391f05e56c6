/**
 * Images that came from elsewhere: no chip has confirmed them, and nobody asked a chip about its eFuses. What can be told
 * of them is told by their content.
 */

import type { Archive, Backup } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import {
  type FirmwareSummary,
  type ReadFlash,
  bootloaderOffset,
  hasSignedBootloader,
  parseImageHeader,
} from '../../firmware/index.ts';
import { wasConfirmed } from '../confirm.ts';

/**
 * @param isTold the person has said `--unconfirmed`, or is going to be asked
 * @returns whether a chip has confirmed the image
 * @throws EspdError `unconfirmed`
 */
export async function guardConfirmed(archive: Archive, backup: Backup, isTold: boolean): Promise<boolean> {
  if (await wasConfirmed(archive, backup)) return true;
  if (isTold) return false;
  throw new EspdError(
    'unconfirmed',
    `No chip has confirmed backup ${backup.id} of ${backup.mac}: ${originOf(backup)}`,
    {
      hint: 'Nothing was touched. If the board still holds it, "espd verify --device" confirms it; --unconfirmed writes it all the same',
    },
  );
}

/** A fragment for people. */
export function originOf({ manifest }: Backup): string {
  const { file } = manifest.source;
  return file === null ? 'it was imported' : `it was imported from ${file}`;
}

/** What is known of an image's security: by the chip that it was read from, or by what is in it. */
export interface ImageSecurity {
  readonly flashEncryption: boolean;
  readonly secureBoot: boolean;
  /** `content`: no chip was asked. */
  readonly by: 'chip' | 'content';
}

/**
 * Of an image without any header or table that can be read, ciphertext is believed: it would be noise on any other board.
 * @param contents what was found in it
 */
export async function securityOf(
  { manifest }: Backup,
  read: ReadFlash,
  contents: FirmwareSummary,
): Promise<ImageSecurity> {
  const { security, chip, image } = manifest;
  if (security !== null) return { ...security, by: 'chip' };
  const loader = bootloaderOffset(chip.family);
  const start = loader < image.sizeBytes ? await read(loader, Math.min(HEADER_BYTES, image.sizeBytes - loader)) : null;
  const hasHeader = start !== null && parseImageHeader(start, chip.family) !== null;
  const isReadable = hasHeader || contents.tableOffset !== null || contents.partitions.length > 0;
  const secureBoot = await hasSignedBootloader(read, contents.tableOffset ?? image.sizeBytes, chip.family);
  return { flashEncryption: !isReadable, secureBoot, by: 'content' };
}

/** Enough for the header of any image. */
const HEADER_BYTES = 32;
