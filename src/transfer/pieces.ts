/** Images are read in pieces: they may be larger than what should be in memory at once. */

import type { Region } from '../flash.ts';

/** What bytes can be had of: an image of the archive, a draft. */
export interface Readable {
  read(offset: number, length: number): Promise<Buffer>;
}

export interface Piece {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** Copied at once. */
const COPY_BYTES = 1024 * 1024;

/** The region in pieces of `pieceBytes`, in order, the last one shorter; each is read when it is asked for. */
export async function* piecesOf(
  image: Readable,
  { offset, sizeBytes }: Region,
  pieceBytes: number,
): AsyncGenerator<Piece> {
  const end = offset + sizeBytes;
  for (let at = offset; at < end; at += pieceBytes) {
    yield { offset: at, bytes: await image.read(at, Math.min(pieceBytes, end - at)) };
  }
}

/** Gives regions of an image, in order, to `write`. */
export async function copyRegions(
  image: Readable,
  regions: readonly Region[],
  write: (offset: number, bytes: Buffer) => Promise<void>,
): Promise<void> {
  for (const region of regions) {
    for await (const { offset, bytes } of piecesOf(image, region, COPY_BYTES)) await write(offset, bytes);
  }
}
