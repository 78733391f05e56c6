/** An image that somebody has kept elsewhere into the archive: a backup like any other, which no chip has confirmed. */

import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import type { ManifestContent } from '../archive/manifest.ts';
import type { Archive, Backup } from '../archive/types.ts';
import { chips } from '../esp/chips/index.ts';
import { describeFirmware } from '../firmware/index.ts';
import type { Mac } from '../mac.ts';

/** Bytes written in one go; an interruption is noticed between two. */
const PIECE_BYTES = 1024 * 1024;

export interface ImportFacts {
  readonly mac: Mac;
  /** The whole flash. */
  readonly image: Buffer;
  /** Of the chip: `esp32`, ... */
  readonly family: string;
  /** When the flash was read. */
  readonly at: Date;
  /** Name of the file without its folder; null for several. */
  readonly file: string | null;
  /** A person has said how large the flash is. */
  readonly sizeIsTold: boolean;
}

/**
 * A backup of the board with the same image, whose files are sound; undefined for none. One that is damaged does not count:
 * the image that is to be imported may be the only good copy.
 *
 * @throws EspdError `archive-unreadable`; the signal's reason
 */
export async function sameImage(
  archive: Archive,
  { mac, image }: Pick<ImportFacts, 'mac' | 'image'>,
  signal: AbortSignal,
): Promise<Backup | undefined> {
  const sha256 = createHash('sha256').update(image).digest('hex');
  const { backups } = await archive.history(mac);
  for (const backup of backups.filter(({ manifest }) => manifest.image.sha256 === sha256)) {
    if ((await archive.verifyBackup(mac, backup.id, signal)).length === 0) return backup;
  }
  return undefined;
}

/**
 * Commits the image, at its date among the others. If it is interrupted nothing is left of it.
 * @throws EspdError as {@link Archive.begin} and `commit` of a draft; the signal's reason
 */
export async function importImage(archive: Archive, facts: ImportFacts, signal: AbortSignal): Promise<Backup> {
  const { mac, image } = facts;
  const content = await contentOf(facts);
  const draft = await archive.begin(mac, image.length);
  try {
    for (let at = 0; at < image.length; at += PIECE_BYTES) {
      signal.throwIfAborted();
      await draft.write(at, image.subarray(at, at + PIECE_BYTES));
    }
    await draft.digests(signal);
    signal.throwIfAborted();
  } catch (error) {
    await draft.discard();
    throw error;
  }
  return draft.commit(content);
}

/** What nobody has asked a chip is null, so that nobody takes it for known. */
async function contentOf({ mac, image, family, at, file, sizeIsTold }: ImportFacts): Promise<ManifestContent> {
  const read = (offset: number, length: number) => Promise.resolve(image.subarray(offset, offset + length));
  const { firmware, partitions } = await describeFirmware(read, image.length, family);
  return {
    createdAt: at.toISOString(),
    reason: 'imported',
    mac,
    chip: { family, name: titleOf(family), revision: null, features: [], crystalMHz: null },
    flash: {
      manufacturer: null,
      device: null,
      sizeBytes: image.length,
      aliasedAtBytes: null,
      sizeFrom: sizeIsTold ? 'person' : 'id',
    },
    security: null,
    efuses: {},
    contents: { firmware, partitions },
    confirmed: null,
    source: { port: null, file, usb: null, host: hostname() },
    transfer: null,
  };
}

/** `ESP32-C3`; a family that only the backups of the board name keeps that name. */
function titleOf(family: string): string {
  return chips.find((chip) => chip.family === family)?.title ?? family;
}
