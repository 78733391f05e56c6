/**
 * What of a flash must be read: by digests of regions, one question after the other, or by one table of the digests of all
 * sectors, where the reader on the chip can give one and that costs less. Neither proves anything.
 */

import { BLOCK_BYTES, type Region } from '../flash.ts';
import type { Budget } from './asking.ts';
import { type DigestPlan, likeliest, planByDigests } from './digest-plan.ts';
import type { Explanation, KnownContent, RegionSink } from './known-content.ts';
import { type Session, whileHeld } from './session.ts';
import { QuestionPace, isTableCheaper, planByTable } from './table-plan.ts';

export interface ReadingQuestion {
  readonly session: Session;
  readonly known: KnownContent;
  /** Of the flash. */
  readonly sizeBytes: number;
  readonly budget: Budget;
  /** Digests of single blocks that were asked before, by index. */
  readonly probed: ReadonlyMap<number, string>;
  /** The archive has no image of this board. */
  readonly isFirst: boolean;
  /** MD5 of a region, by the chip. */
  ask(region: Region): Promise<string>;
  /** A question was asked in another way. */
  asked(): void;
  readonly write: RegionSink;
}

export async function planReading(question: ReadingQuestion): Promise<DigestPlan<Explanation>> {
  const { session, known, sizeBytes, budget, isFirst, write } = question;
  const { board } = session;
  const { costs } = board;
  // Of a board that was never read, about a quarter is in use; of others next to nothing has changed.
  const tableMs = () => board.tableMs(sizeBytes, isFirst ? sizeBytes / 4 : BLOCK_BYTES);
  const byTable = async (): Promise<DigestPlan<Explanation> | undefined> => {
    const expectedMs = tableMs();
    session.options.signal.throwIfAborted();
    const table = await board.sectorDigests(0, sizeBytes);
    if (table === undefined) return undefined;
    question.asked();
    budget.spent(expectedMs);
    return planByTable(table, known, (offset, bytes) => whileHeld(session, write(offset, bytes)), costs);
  };
  const probed = tableMs() === Infinity ? question.probed : await withOneDigest(question);
  if (budget.affordsMs(tableMs()) && isTableCheaper(tableMs(), sizeBytes, costs)) {
    const plan = await byTable();
    if (plan !== undefined) return plan;
  }
  const pace = new QuestionPace(sizeBytes);
  let isTableDue = false;
  /** Asked as a function: it changes while the plan is made. */
  const isDue = () => isTableDue;
  const plan = await planByDigests<Explanation>(
    sizeBytes,
    {
      ask: (region) => {
        isTableDue ||= pace.isTableDue(tableMs(), costs) && budget.affordsMs(tableMs());
        // What was not asked for by then is the table's.
        if (isTableDue) budget.close();
        pace.asked();
        return question.ask(region);
      },
      explain: async (region, digest) => {
        const by = await whileHeld(session, known.explain(region, digest, write));
        if (by !== null) pace.explained(region.sizeBytes);
        return by;
      },
      evidence: (block) => known.evidence(block),
    },
    { costs, budget, probed },
  );
  return (isDue() ? await byTable() : undefined) ?? plan;
}

/**
 * Of a chip that has not shown how fast it hashes, a table would seem to take for ever. An answer that is late, on a machine
 * at its limit, makes the chip seem so slow that nothing else is asked unless this block is known and pays for the others.
 */
async function withOneDigest(question: ReadingQuestion): Promise<ReadonlyMap<number, string>> {
  const { known, sizeBytes, budget, probed } = question;
  if (question.session.board.knowsDigests || sizeBytes < BLOCK_BYTES || !budget.affords(BLOCK_BYTES)) return probed;
  const blocks = Array.from({ length: Math.floor(sizeBytes / BLOCK_BYTES) }, (_, block) => block);
  const block = likeliest(blocks.filter((each) => known.evidence(each) === 'own')) ?? blocks.length - 1;
  const offset = block * BLOCK_BYTES;
  const digest = await question.ask({ offset, sizeBytes: BLOCK_BYTES });
  budget.asked(BLOCK_BYTES);
  return new Map([...probed, [block, digest]]);
}
