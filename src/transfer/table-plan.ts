/**
 * Which parts of a flash need no reading, by one table of sector digests: what changed anywhere is known after one
 * question. The digests are cut to eight bytes, and prove nothing: the chip's digest of the whole flash does, in the end.
 */

import { BLOCK_BYTES, SECTOR_BYTES } from '../flash.ts';
import type { Costs } from '../esp/costs.ts';
import { type DigestPlan, type ExplainedRegion, inOrder, planOfParts } from './digest-plan.ts';
import type { Explanation, KnownContent, RegionSink } from './known-content.ts';

/** Bytes of a table for each sector. */
export const TABLE_DIGEST_BYTES = 8;
const SECTORS_PER_BLOCK = BLOCK_BYTES / SECTOR_BYTES;
/** Questions that `digest-plan.ts` asks of an ordinary board beside hashing all of it about once (`npm run bench`: 23 to 38). */
const USUAL_QUESTIONS = 30;
/** A block that has changed takes ten questions and more: fewer would be taken in by a single one. */
const LAST_QUESTIONS = 32;

/**
 * Whether a table costs less than asking for digests of regions one by one.
 * @param tableMs what the table costs
 */
export function isTableCheaper(tableMs: number, sizeBytes: number, costs: Costs): boolean {
  return tableMs < costs.digestMs(sizeBytes) + USUAL_QUESTIONS * costs.digestMs(0);
}

/** How far the questions that were asked last have led, and so how many are still to come. */
export class QuestionPace {
  readonly #sizeBytes: number;
  #explainedBytes = 0;
  /** Bytes that were explained before each of the last questions. */
  readonly #before: number[] = [];

  /** @param sizeBytes of the flash */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  asked(): void {
    this.#before.push(this.#explainedBytes);
    if (this.#before.length > LAST_QUESTIONS) this.#before.shift();
  }

  explained(sizeBytes: number): void {
    this.#explainedBytes += sizeBytes;
  }

  /** Whether what is left, at the pace of the last questions, costs more than a table of all. */
  isTableDue(tableMs: number, costs: Costs): boolean {
    const [before] = this.#before;
    if (before === undefined || this.#before.length < LAST_QUESTIONS) return false;
    const leftBytes = this.#sizeBytes - this.#explainedBytes;
    const paceBytes = Math.max(SECTOR_BYTES, this.#explainedBytes - before) / LAST_QUESTIONS;
    return (leftBytes / paceBytes) * costs.digestMs(paceBytes) > tableMs;
  }
}

/**
 * @param table {@link TABLE_DIGEST_BYTES} for each sector of the flash, in order
 * @param known gives the bytes of sectors that it knows to `sink`
 */
export async function planByTable(
  table: Buffer,
  known: Pick<KnownContent, 'explainSectors'>,
  sink: RegionSink,
  costs: Costs,
): Promise<DigestPlan<Explanation>> {
  const sectors = table.length / TABLE_DIGEST_BYTES;
  const explained: ExplainedRegion<Explanation>[] = [];
  const unexplained: { offset: number; sizeBytes: number }[] = [];
  for (let first = 0; first < sectors; first += SECTORS_PER_BLOCK) {
    const digests: string[] = [];
    for (let sector = first; sector < Math.min(sectors, first + SECTORS_PER_BLOCK); sector++) {
      digests.push(table.toString('hex', sector * TABLE_DIGEST_BYTES, (sector + 1) * TABLE_DIGEST_BYTES));
    }
    const explanations = await known.explainSectors(first * SECTOR_BYTES, digests, sink);
    explanations.forEach((by, index) => {
      const region = { offset: (first + index) * SECTOR_BYTES, sizeBytes: SECTOR_BYTES };
      if (by === null) unexplained.push(region);
      else explained.push({ ...region, by });
    });
  }
  return planOfParts(inOrder(explained), inOrder(unexplained), costs);
}
