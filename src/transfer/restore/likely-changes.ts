/**
 * Where a flash most likely differs from an image: where firmware keeps what it changes. One digest that is known already
 * proves such a guess, in place of digests of all that is the same.
 */

import { createHash } from 'node:crypto';
import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../../flash.ts';
import type { ImageReader } from '../../archive/types.ts';
import type { Board } from '../../esp/board.ts';
import type { FlashPart } from '../../firmware/index.ts';
import { type AskDigest, imageDigest } from '../flash-compare.ts';
import { piecesOf } from '../pieces.ts';

/** Larger parts are file systems: looking for a change there takes as long as anywhere. */
const MAX_PART_BYTES = BLOCK_BYTES;

/** Settings, calibration, and which app starts. */
export function likelyToChange(parts: readonly FlashPart[]): Region[] {
  return parts
    .filter(({ kind, type, sizeBytes }) => kind === 'partition' && type !== 'app' && sizeBytes <= MAX_PART_BYTES)
    .map(({ offset, sizeBytes }) => ({ offset, sizeBytes }))
    .filter(({ offset, sizeBytes }) => offset % SECTOR_BYTES === 0 && sizeBytes % SECTOR_BYTES === 0);
}

export interface Guess {
  /** Of the flash, by the chip; it is not that of the image. */
  readonly md5: string;
  readonly within: Region;
  readonly likely: readonly Region[];
}

/**
 * The sectors within `guess.within` that the flash holds otherwise than the image, when all of them are in likely places:
 * the image with these sectors as they are read has the MD5 that the chip gave. Undefined where that is not so, or would
 * take longer to find out than to search.
 */
export async function guessChanges(
  { md5, within, likely }: Guess,
  image: Pick<ImageReader, 'read'>,
  board: Board,
  ask: AskDigest,
): Promise<Region[] | undefined> {
  if (board.loaderKind !== 'stub') return undefined;
  const end = within.offset + within.sizeBytes;
  const isOther = async (region: Region) => (await ask(region)) !== (await imageDigest(image, region));
  const changed: Region[] = [];
  for (const part of likely) {
    if (part.offset < within.offset || part.offset + part.sizeBytes > end || !(await isOther(part))) continue;
    for (let offset = part.offset; offset < part.offset + part.sizeBytes; offset += SECTOR_BYTES) {
      const sector = { offset, sizeBytes: SECTOR_BYTES };
      if (part.sizeBytes === SECTOR_BYTES || (await isOther(sector))) changed.push(sector);
    }
    const bytes = changed.length * SECTOR_BYTES;
    if (board.costs.readMs(bytes) > board.costs.digestMs(within.sizeBytes)) return undefined;
  }
  if (changed.length === 0) return undefined;
  changed.sort((a, b) => a.offset - b.offset);
  const found = new Map<number, Buffer>();
  board.expect(changed.length * SECTOR_BYTES);
  for (const { offset, sizeBytes } of changed) {
    const sector = Buffer.alloc(sizeBytes);
    await board.read(offset, sizeBytes, (at, bytes) => {
      sector.set(bytes, at - offset);
    });
    found.set(offset, sector);
  }
  const hash = createHash('md5');
  for await (const { offset: at, bytes } of piecesOf(image, within, BLOCK_BYTES)) {
    const block = Buffer.from(bytes);
    for (let start = 0; start < block.length; start += SECTOR_BYTES) block.set(found.get(at + start) ?? [], start);
    hash.update(block);
  }
  return hash.digest('hex') === md5 ? changed : undefined;
}
