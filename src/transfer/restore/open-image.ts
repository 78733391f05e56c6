/** The image that a restore is going to write: opened, and hashed before anything is compared with it. */

import { createHash } from 'node:crypto';
import type { ChipChange } from '../../archive/chip-change.ts';
import type { Backup, ImageReader } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import type { Board, FlashFacts } from '../../esp/board.ts';
import { attachedChip, changedSince } from '../attached-chip.ts';
import { piecesOf } from '../pieces.ts';
import { type Session, whileHeld } from '../session.ts';

const HASH_BYTES = 1024 * 1024;

/** Of another MAC another chip is what everybody expects. The eFuses are read for it; a snapshot needs them anyway. */
export async function changeSince(backup: Backup, board: Board, flash: FlashFacts): Promise<ChipChange | null> {
  const { mac, family } = board.identity;
  if (backup.mac !== mac || backup.manifest.chip.family !== family) return null;
  return changedSince(backup, attachedChip(board, flash, await board.readEfuses()));
}

/** An image whose reads do not keep the board from being released. */
export async function readerWhileHeld(session: Session, opening: Promise<ImageReader>): Promise<ImageReader> {
  const image = await whileHeld(session, opening);
  const read = (offset: number, length: number) => whileHeld(session, image.read(offset, length));
  return { sizeBytes: image.sizeBytes, read, close: () => image.close() };
}

/** Hashes the very bytes that are about to be written: a flipped bit in the archive must not reach a board. */
export async function checkImage(
  image: ImageReader,
  { mac, id, manifest }: Backup,
  signal: AbortSignal,
): Promise<void> {
  const [sha256, md5] = [createHash('sha256'), createHash('md5')];
  for await (const { bytes } of piecesOf(image, { offset: 0, sizeBytes: image.sizeBytes }, HASH_BYTES)) {
    signal.throwIfAborted();
    sha256.update(bytes);
    md5.update(bytes);
  }
  if (sha256.digest('hex') === manifest.image.sha256 && md5.digest('hex') === manifest.image.md5) return;
  throw new EspdError('archive-damaged', `The image of backup ${id} of ${mac} does not match its manifest`, {
    hint: `Nothing was written. "espd verify --mac ${mac}" says more; choose another backup with --at`,
  });
}
