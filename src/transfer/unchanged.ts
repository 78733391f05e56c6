/**
 * Whether a board is most likely as its last backup has it, found out with few and small digests: where one of the whole
 * flash may cost more than it is worth, on a slow chip behind a fast line. Pure but for the questions it asks.
 */

import { BLOCK_BYTES, type Region } from '../flash.ts';
import type { Budget } from './asking.ts';
import { BLANK, uniformDigest } from '../archive/uniform.ts';

/** A digest of the whole flash is asked for where the budget allows of that many times its size. */
const WHOLE_AND_MORE = 1.25;

export interface UnchangedQuestions {
  /** MD5 of a region of the flash, by the chip. */
  ask(region: Region): Promise<string>;
  /** MD5 of the same region in the last backup; undefined = its image cannot be read. */
  expected(region: Region): Promise<string | undefined>;
}

export interface Suspicion {
  /** A digest of the whole flash is worth asking for. */
  readonly isLikely: boolean;
  /** Digests of single blocks that are known now, by index. */
  readonly probed: ReadonlyMap<number, string>;
}

/**
 * Asks for ever larger groups of blocks, as far as the budget goes, until one is not as before or all together have
 * saved enough for a digest of the whole. Should the flash have changed all the same, something is left to look for where.
 * @param blocksMd5 of the last backup, by block of 64 KiB
 */
export async function seemsUnchanged(
  blocksMd5: readonly string[],
  budget: Budget,
  questions: UnchangedQuestions,
): Promise<Suspicion> {
  const probed = new Map<number, string>();
  const wholeBytes = blocksMd5.length * BLOCK_BYTES * WHOLE_AND_MORE;
  let count = 1;
  for (const run of likeliestRuns(blocksMd5)) {
    for (let end = run.end; end > run.first;) {
      if (budget.affords(wholeBytes)) return { isLikely: true, probed };
      let blocks = Math.min(count, end - run.first);
      while (blocks > 1 && !budget.affords(blocks * BLOCK_BYTES)) blocks--;
      while (blocks > 1 && budget.affordsAfter((blocks - 1) * BLOCK_BYTES, wholeBytes)) blocks--;
      if (!budget.affords(blocks * BLOCK_BYTES)) return { isLikely: false, probed };
      const before = await digestBefore(end - blocks, blocksMd5.slice(end - blocks, end), questions);
      // Of a single block the manifest tells.
      if (before === undefined) blocks = 1;
      const first = end - blocks;
      const region = { offset: first * BLOCK_BYTES, sizeBytes: blocks * BLOCK_BYTES };
      const known = blocksMd5.slice(first, end);
      const digest = await questions.ask(region);
      budget.asked(region.sizeBytes);
      if (digest !== (before ?? known[0])) {
        if (blocks === 1) probed.set(first, digest);
        return { isLikely: false, probed };
      }
      budget.explained(region, end === run.end);
      known.forEach((md5, index) => probed.set(first + index, md5));
      end = first;
      count *= 3;
    }
  }
  return { isLikely: true, probed };
}

async function digestBefore(
  first: number,
  blocksMd5: readonly string[],
  questions: UnchangedQuestions,
): Promise<string | undefined> {
  if (blocksMd5.length === 1) return blocksMd5[0];
  const sizeBytes = blocksMd5.length * BLOCK_BYTES;
  const blank = uniformDigest(BLANK, BLOCK_BYTES);
  if (blocksMd5.every((md5) => md5 === blank)) return uniformDigest(BLANK, sizeBytes);
  return questions.expected({ offset: first * BLOCK_BYTES, sizeBytes });
}

interface Run {
  readonly first: number;
  readonly end: number;
}

/**
 * Blocks as runs of neighbours, the likeliest to be as before first: what was blank, the last ones first; then what was
 * in use, from the end; the first block last, for the settings of most firmwares lie in it.
 */
function likeliestRuns(blocksMd5: readonly string[]): Run[] {
  const blank = uniformDigest(BLANK, BLOCK_BYTES);
  const runs: (Run & { readonly isBlank: boolean })[] = [];
  for (let end = blocksMd5.length; end > 1;) {
    const isBlank = blocksMd5[end - 1] === blank;
    let first = end - 1;
    while (first > 1 && (blocksMd5[first - 1] === blank) === isBlank) first--;
    runs.push({ first, end, isBlank });
    end = first;
  }
  const inUse = runs.filter(({ isBlank }) => !isBlank);
  return [...runs.filter(({ isBlank }) => isBlank), ...inUse, { first: 0, end: Math.min(1, blocksMd5.length) }];
}
