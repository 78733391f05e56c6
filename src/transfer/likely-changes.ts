/**
 * Where a flash most likely differs from an image: where firmware keeps what it changes. One digest that is known already
 * proves such a guess, in place of digests of all that is the same.
 */

import { createHash } from 'node:crypto';
import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import type { Board } from '../esp/board.ts';
import type { FlashPart } from '../firmware/index.ts';
import { inOrder } from './digest-plan.ts';
import { type AskDigest, imageDigest } from './flash-compare.ts';
import { type Readable, piecesOf } from './pieces.ts';

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
 * The sectors in likely places that the flash holds otherwise than the image, neighbours merged, by digests of the chip.
 * That there are no others is still to be proven. Undefined where there are none.
 */
export async function likelyChanges(
  { within, likely }: Pick<Guess, 'within' | 'likely'>,
  image: Readable,
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
  }
  return changed.length === 0 ? undefined : inOrder(changed);
}

/**
 * What {@link likelyChanges} finds, where that is all: the image with these sectors as they are read has the MD5 that the
 * chip gave. Undefined where that is not so, or where reading them would take longer than to search.
 */
export async function guessChanges(
  guess: Guess,
  image: Readable,
  board: Board,
  ask: AskDigest,
): Promise<Region[] | undefined> {
  const changed = await likelyChanges(guess, image, board, ask);
  if (changed === undefined) return undefined;
  const bytes = changed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (board.costs.readMs(bytes) > board.costs.digestMs(guess.within.sizeBytes)) return undefined;
  const found = new Map<number, Buffer>();
  board.expect(bytes);
  for (const { offset, sizeBytes } of changed) {
    const read = Buffer.alloc(sizeBytes);
    await board.read(offset, sizeBytes, (at, bytes) => {
      read.set(bytes, at - offset);
    });
    for (let at = 0; at < sizeBytes; at += SECTOR_BYTES) {
      found.set(offset + at, read.subarray(at, at + SECTOR_BYTES));
    }
  }
  const hash = createHash('md5');
  for await (const { offset: at, bytes } of piecesOf(image, guess.within, BLOCK_BYTES)) {
    const block = Buffer.from(bytes);
    for (let start = 0; start < block.length; start += SECTOR_BYTES) block.set(found.get(at + start) ?? [], start);
    hash.update(block);
  }
  return hash.digest('hex') === guess.md5 ? changed : undefined;
}
