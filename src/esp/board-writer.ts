/**
 * The one way to write the flash of a board. A file of its own so that only a restore can reach it: a test walks the
 * imports of the daemon and fails where they lead here.
 */

import type { Board } from './board.ts';
import { USB_OTG_BLOCK_BYTES } from './chips/chip.ts';
import { type FlashPiece, STUB_BLOCK_BYTES, writePiece } from './flash-write.ts';

export { type FlashPiece, preparePiece } from './flash-write.ts';

/**
 * Erases and programs the whole sectors of `piece`. Not verified: compare digests afterwards.
 * @throws EspdError `chip-error`, `chip-timeout`: after {@link Board.reconnect} the same may be written again
 */
export async function writeFlash(board: Board, piece: FlashPiece): Promise<void> {
  const maxBlockBytes = board.identity.usbConnection === 'usb-otg' ? USB_OTG_BLOCK_BYTES : STUB_BLOCK_BYTES;
  await board.move(piece.offset, piece.bytes.length, (loader, chip) => writePiece(loader, chip, piece, maxBlockBytes));
}
