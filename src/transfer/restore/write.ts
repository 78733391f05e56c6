/** Writes the sectors that differ until the chip's digests are those of the image, or gives up and says where. */

import { type Region, SECTOR_BYTES } from '../../flash.ts';
import type { ImageReader } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import type { Board } from '../../esp/board.ts';
import { type FlashPiece, preparePiece, writeFlash } from '../../esp/board-writer.ts';
import { hexAddress } from '../../esp/flash-read.ts';
import { isLineFault } from '../../esp/loader.ts';
import { type FlashPart, partAt } from '../../firmware/index.ts';
import type { Session } from '../session.ts';

/** Written in one go: compressed in memory (two at a time), and what an error costs. Whole 64 KiB blocks, aligned. */
const WRITE_BYTES = 256 * 1024;
export const WRITE_ATTEMPTS = 3;
const MAX_NAMED = 4;

/** A sector that does not keep what is written to it. */
export interface FailedSector {
  readonly offset: number;
  /** The part of the flash that it belongs to. */
  readonly part: string;
}

/** `write-mismatch`, with the sectors: a worn flash is exchanged or worked around by address. */
export class WriteMismatchError extends EspdError {
  readonly failedSectors: readonly FailedSector[];

  constructor(failedSectors: readonly FailedSector[]) {
    const named = failedSectors.slice(0, MAX_NAMED).map(({ offset, part }) => `${hexAddress(offset)} in ${part}`);
    const more = failedSectors.length > MAX_NAMED ? ` and ${failedSectors.length - MAX_NAMED} more` : '';
    const count = failedSectors.length === 1 ? '1 sector does' : `${failedSectors.length} sectors do`;
    super('write-mismatch', `${count} not hold what was written: ${named.join(', ')}${more}`, {
      hint: 'The flash of this board may be worn out; its content is not the image',
    });
    this.failedSectors = failedSectors;
  }
}

export class FlashRewriter {
  readonly #session: Session;
  readonly #board: Board;
  readonly #image: ImageReader;
  sectorsWritten = 0;
  /** A command that erases has been sent, or may have been. */
  hasBegun = false;

  constructor(session: Session, image: ImageReader) {
    this.#session = session;
    this.#board = session.board;
    this.#image = image;
  }

  /**
   * @param regions what differs, whole sectors
   * @param compare where the flash still differs; none = done
   * @param parts to name what fails
   * @throws WriteMismatchError
   */
  async writeUntilEqual(
    regions: readonly Region[],
    compare: () => Promise<readonly Region[]>,
    parts: readonly FlashPart[],
  ): Promise<void> {
    let pending = regions;
    for (let attempt = 1; pending.length > 0; attempt++) {
      if (attempt > WRITE_ATTEMPTS) throw new WriteMismatchError(failedSectors(pending, parts));
      if (attempt > 1) {
        this.#session.options.log.warn('Some sectors do not hold what was written; writing them again', {
          sectors: sectorCount(pending),
          attempt,
        });
      }
      await this.#write(pending);
      pending = await compare();
    }
  }

  /** While the chip erases and programs one piece, the next is read and compressed. */
  async #write(regions: readonly Region[]): Promise<void> {
    const { onProgress, signal } = this.#session.options;
    const totalBytes = sectorCount(regions) * SECTOR_BYTES;
    const pieces = piecesOf(regions);
    this.#board.expect(totalBytes);
    let doneBytes = 0;
    let next = this.#prepare(pieces[0]);
    for (let index = 0; index < pieces.length; index++) {
      const piece = await next;
      next = this.#prepare(pieces[index + 1]);
      // It is awaited in the next round, if there is one: until then a failure is not unhandled.
      next.catch(() => undefined);
      signal.throwIfAborted();
      if (piece === undefined) break;
      await this.#writePiece(piece);
      this.sectorsWritten += piece.bytes.length / SECTOR_BYTES;
      doneBytes += piece.bytes.length;
      onProgress?.({ phase: 'writing', doneBytes, totalBytes });
    }
  }

  async #prepare(region: Region | undefined): Promise<FlashPiece | undefined> {
    if (region === undefined) return undefined;
    return preparePiece(region.offset, await this.#image.read(region.offset, region.sizeBytes));
  }

  /** A line that loses bytes breaks a write off: the board is connected again, and the piece written anew. */
  async #writePiece(piece: FlashPiece): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        this.hasBegun = true;
        await writeFlash(this.#board, piece);
        return;
      } catch (error) {
        if (!isLineFault(error) || attempt === WRITE_ATTEMPTS) throw error;
        this.#session.options.log.warn(`Writing again at ${hexAddress(piece.offset)}`, {
          attempt,
          reason: error.message,
        });
        await this.#board.reconnect();
      }
    }
  }
}

/** Regions in pieces that end where a 64 KiB block may begin, so that whole blocks stay whole and are erased as such. */
export function piecesOf(regions: readonly Region[]): Region[] {
  return regions.flatMap(({ offset, sizeBytes }) => {
    const pieces: Region[] = [];
    const end = offset + sizeBytes;
    for (let at = offset; at < end;) {
      const next = Math.min(end, (Math.floor(at / WRITE_BYTES) + 1) * WRITE_BYTES);
      pieces.push({ offset: at, sizeBytes: next - at });
      at = next;
    }
    return pieces;
  });
}

export function sectorCount(regions: readonly Region[]): number {
  return regions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / SECTOR_BYTES;
}

function failedSectors(regions: readonly Region[], parts: readonly FlashPart[]): FailedSector[] {
  return regions.flatMap(({ offset, sizeBytes }) =>
    Array.from({ length: sizeBytes / SECTOR_BYTES }, (_, index) => {
      const at = offset + index * SECTOR_BYTES;
      return { offset: at, part: partAt(parts, at)?.name ?? 'outside any partition' };
    }),
  );
}
