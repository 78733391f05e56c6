/**
 * Which parts of a flash need no reading, found by asking the chip for digests of regions. Pure but for the questions it
 * asks: the chip for a digest, and the caller for what is known.
 *
 * What is most likely known is asked for first, and everything from its end, where flash is blank most often: block by
 * block of 64 KiB, in groups while everything is known, and within a block that is not known sector by sector of 4 KiB,
 * as far as that pays.
 */

import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import type { Costs } from '../esp/costs.ts';
import { type Budget, Chance, type UnitCosts, groupToAsk } from './asking.ts';

export interface ExplainedRegion<By extends string> extends Region {
  readonly by: By;
}

export interface DigestPlan<By extends string> {
  /** Regions that need no reading, in order, neighbours of one kind merged. */
  readonly explained: readonly ExplainedRegion<By>[];
  /** Regions that nothing explains, in order, neighbours merged. */
  readonly unexplained: readonly Region[];
}

/**
 * What speaks for a block being known before anything is asked: an image of this very board, one of another board, or
 * nothing but that flash is often blank.
 */
export type Evidence = 'own' | 'fleet' | 'none';

export interface Questions<By extends string> {
  /** MD5 of a region of the flash, by the chip: lower-case hex. */
  ask(region: Region): Promise<string>;
  /** What a region with this digest is known to be; null = nothing known. */
  explain(region: Region, digest: string): Promise<By | null> | By | null;
  /** @param block index of a block of 64 KiB */
  evidence(block: number): Evidence;
}

export interface PlanOptions {
  readonly costs: Costs;
  /** Limits what asking may cost; absent: every sector is accounted for, whatever it costs. */
  readonly budget?: Budget;
  /** Digests of single blocks that have been asked, and paid, for before; by index. */
  readonly probed?: ReadonlyMap<number, string>;
}

/** Blocks of which one digest is asked at most: 4 MiB, a second for most chips. */
const MAX_GROUP = 64;
/** Single blocks of each evidence that are asked for first, here and there, where the budget is small... */
const MAX_PROBES = 8;
/** ... that is, where it would not last for so many blocks in a row. */
const BLOCKS_IN_A_ROW = 24;
/** Where asking does not seem to pay any more, one block in so many is asked for all the same. */
const PROBE_STRIDE = 8;
/** Sectors that are asked for in a block that is not known, on an average: what its parts cost. */
const SECTORS_ASKED = 6;

/** How likely a block is known, and a sector of a block that is not. */
const START: Readonly<Record<Evidence, { block: number; sector: number }>> = {
  own: { block: 0.9, sector: 0.85 },
  fleet: { block: 0.6, sector: 0.7 },
  none: { block: 0.5, sector: 0.05 },
};
/** Behind the last sector in use of an app or a file system, the rest of its last block is blank. */
const SECTOR_BEFORE_KNOWN = 0.4;

/** @param sizeBytes of the flash, a multiple of 4096 */
export async function planByDigests<By extends string>(
  sizeBytes: number,
  questions: Questions<By>,
  options: PlanOptions,
): Promise<DigestPlan<By>> {
  const planner = new Planner(questions, options);
  await planner.run(sizeBytes);
  const [explained, unexplained] = [inOrder(planner.explained), inOrder(planner.unexplained)];
  return options.budget === undefined ? { explained, unexplained } : planOfParts(explained, unexplained, options.costs);
}

/** A plan out of parts in order: where one read costs less than two, what lies between is read, too. */
export function planOfParts<By extends string>(
  explained: readonly ExplainedRegion<By>[],
  unexplained: readonly Region[],
  costs: Costs,
): DigestPlan<By> {
  const toRead = bridged(unexplained, costs);
  return { explained: withoutRead(explained, toRead), unexplained: toRead };
}

class Planner<By extends string> {
  readonly explained: ExplainedRegion<By>[] = [];
  readonly unexplained: Region[] = [];
  readonly #questions: Questions<By>;
  readonly #options: PlanOptions;
  /** Of blocks. */
  readonly #chances: Readonly<Record<Evidence, Chance>> = {
    own: new Chance(START.own.block),
    fleet: new Chance(START.fleet.block),
    none: new Chance(START.none.block),
  };
  /** Blocks in a row whose sectors were asked for and were none of them known. */
  readonly #vainBlocks: Record<Evidence, number> = { own: 0, fleet: 0, none: 0 };
  /** Blocks that were asked for and are not known. */
  readonly #missed = new Set<number>();
  /** Where explained regions begin: what ends there lies before something known. */
  readonly #knownFrom = new Set<number>();

  constructor(questions: Questions<By>, options: PlanOptions) {
    this.#questions = questions;
    this.#options = options;
  }

  /** What is most likely known comes first: it pays for the rest. */
  async run(sizeBytes: number): Promise<void> {
    const evidences = Array.from({ length: Math.ceil(sizeBytes / BLOCK_BYTES) }, (_, block) =>
      this.#questions.evidence(block),
    );
    for (const evidence of ['own', 'fleet', 'none'] as const) {
      const blocks = evidences.flatMap((each, block) => (each === evidence ? [block] : []));
      const known = await this.#probe(blocks, sizeBytes, evidence);
      const runs = runsOf(
        blocks.filter((block) => !known.has(block)),
        sizeBytes,
      );
      for (const run of runs.toReversed()) await this.#goThroughBlocks(run, evidence);
    }
  }

  /**
   * In order, what is not known could use up a small budget before anything known is met: single blocks here and there
   * find what pays for the rest.
   * @returns those that are known
   */
  async #probe(blocks: readonly number[], sizeBytes: number, evidence: Evidence): Promise<ReadonlySet<number>> {
    const known = new Set<number>();
    const ask = async (block: number) => {
      const offset = block * BLOCK_BYTES;
      if (await this.#isKnown({ offset, sizeBytes: Math.min(BLOCK_BYTES, sizeBytes - offset) })) known.add(block);
      else this.#missed.add(block);
    };
    const wasProbed = (block: number) => this.#options.probed?.has(block) ?? false;
    // From the end, so that neighbours count as one gap in what is read.
    for (const block of blocks.filter(wasProbed).toReversed()) await ask(block);
    // The last ones first: flash is blank at its end, and its first block holds what changes most, if it is not new.
    const others = blocks.filter((block) => !wasProbed(block)).toReversed();
    const first = evidence === 'own' ? others.indexOf(likeliest(others.toReversed()) ?? 0) : 0;
    for (const index of scattered(others.length).slice(0, MAX_PROBES)) {
      if (this.#affords(BLOCK_BYTES, BLOCKS_IN_A_ROW) || !this.#affords(BLOCK_BYTES)) break;
      await ask(others[(first + index) % others.length] ?? 0);
    }
    return known;
  }

  async #goThroughBlocks(run: Region, evidence: Evidence): Promise<void> {
    const chance = this.#chances[evidence];
    /** Blocks that were not asked for, directly above `end`. */
    let skipped: Region[] = [];
    for (let end = run.offset + run.sizeBytes; end > run.offset;) {
      let count = this.#groupToAsk(BLOCK_BYTES, chance.value, Math.ceil((end - run.offset) / BLOCK_BYTES));
      const isProbe = count === 0 && skipped.length % PROBE_STRIDE === PROBE_STRIDE - 1;
      if (isProbe && this.#affords(BLOCK_BYTES)) count = 1;
      const part = lastUnits({ offset: run.offset, sizeBytes: end - run.offset }, BLOCK_BYTES, Math.max(1, count));
      end = part.offset;
      if (count === 0) {
        skipped.push(part);
        continue;
      }
      const isKnown = await this.#settle(part, BLOCK_BYTES, chance, evidence);
      if (isKnown) await this.#goBack(skipped, evidence);
      else this.unexplained.push(...skipped);
      skipped = [];
    }
    this.unexplained.push(...skipped);
  }

  /** What was skipped above a block that is known after all: it is known up to some border. */
  async #goBack(skipped: readonly Region[], evidence: Evidence): Promise<void> {
    let isKnown = true;
    for (const block of skipped.toReversed()) {
      if (isKnown) isKnown = await this.#settle(block, BLOCK_BYTES, this.#chances[evidence], evidence);
      else this.unexplained.push(block);
    }
  }

  /**
   * Asks for a group, and where it is not known, for its halves.
   * @param isSplit not asked for as a whole: the group that it is a half of is not known and the other half is, so that
   *   this one is most likely not known either
   * @returns whether all of it is known
   */
  async #settle(
    part: Region,
    unitBytes: number,
    chance: Chance,
    evidence: Evidence,
    isSplit = false,
  ): Promise<boolean> {
    const count = Math.ceil(part.sizeBytes / unitBytes);
    if ((!isSplit || count === 1) && !this.#hasMissed(part)) {
      if (!this.#affords(part.sizeBytes)) {
        this.unexplained.push(part);
        return false;
      }
      if (await this.#isKnown(part)) {
        chance.hit();
        return true;
      }
    }
    if (count > 1) {
      const upper = lastUnits(part, unitBytes, Math.floor(count / 2));
      const lower = { offset: part.offset, sizeBytes: part.sizeBytes - upper.sizeBytes };
      const isUpperKnown = await this.#settle(upper, unitBytes, chance, evidence);
      const isLowerKnown = await this.#settle(lower, unitBytes, chance, evidence, isUpperKnown);
      return isUpperKnown && isLowerKnown;
    }
    chance.miss();
    if (unitBytes === BLOCK_BYTES) await this.#goThroughSectors(part, evidence);
    else this.unexplained.push(part);
    return false;
  }

  /** Asks for a region and notes what it is known to be. */
  async #isKnown(region: Region): Promise<boolean> {
    const { budget, probed } = this.#options;
    let digest = region.sizeBytes === BLOCK_BYTES ? probed?.get(region.offset / BLOCK_BYTES) : undefined;
    if (digest === undefined) {
      digest = await this.#questions.ask(region);
      // By what it has cost: the first one of a slow chip tells how slow it is.
      budget?.asked(region.sizeBytes);
    }
    const by = await this.#questions.explain(region, digest);
    if (by === null) return false;
    budget?.explained(region, !this.#isBeforeKnown(region));
    this.explained.push({ ...region, by });
    this.#knownFrom.add(region.offset);
    return true;
  }

  /** Whether a block that is not known lies within: then asking for the whole region is in vain. */
  #hasMissed({ offset, sizeBytes }: Region): boolean {
    if (this.#missed.size === 0 || sizeBytes < BLOCK_BYTES) return false;
    for (let at = offset; at < offset + sizeBytes; at += BLOCK_BYTES)
      if (this.#missed.has(at / BLOCK_BYTES)) return true;
    return false;
  }

  async #goThroughSectors(block: Region, evidence: Evidence): Promise<void> {
    const usual = START[evidence].sector / (1 + this.#vainBlocks[evidence]);
    const chance = new Chance(this.#isBeforeKnown(block) ? Math.max(usual, SECTOR_BEFORE_KNOWN) : usual);
    let [asked, known] = [false, false];
    for (let end = block.offset + block.sizeBytes; end > block.offset;) {
      const left = { offset: block.offset, sizeBytes: end - block.offset };
      const count = this.#groupToAsk(SECTOR_BYTES, chance.value, Math.ceil(left.sizeBytes / SECTOR_BYTES));
      if (count === 0) {
        this.unexplained.push(left);
        break;
      }
      const part = lastUnits(left, SECTOR_BYTES, count);
      const before = this.explained.length;
      await this.#settle(part, SECTOR_BYTES, chance, evidence);
      asked = true;
      known ||= this.explained.length > before;
      end = part.offset;
    }
    if (asked) this.#vainBlocks[evidence] = known ? 0 : this.#vainBlocks[evidence] + 1;
  }

  #isBeforeKnown({ offset, sizeBytes }: Region): boolean {
    return this.#knownFrom.has(offset + sizeBytes);
  }

  #affords(sizeBytes: number, times = 1): boolean {
    return this.#options.budget?.affords(sizeBytes, times) ?? true;
  }

  /** How many units to ask for at once, as far as the budget goes; 0 = none. */
  #groupToAsk(unitBytes: number, chance: number, unitsLeft: number): number {
    const { costs, budget } = this.#options;
    // In one go with what is around it.
    const readMs = (costs.readMs(BLOCK_BYTES) * unitBytes) / BLOCK_BYTES;
    const partsMs = SECTORS_ASKED * costs.digestMs(SECTOR_BYTES);
    const unitCosts: UnitCosts = {
      askMs: (count) => costs.digestMs(count * unitBytes),
      readMs: budget === undefined ? Infinity : readMs,
      missMs: budget === undefined ? (unitBytes === SECTOR_BYTES ? 0 : partsMs) : readMs,
    };
    let count = groupToAsk(unitCosts, chance, Math.min(unitsLeft, MAX_GROUP));
    while (count > 0 && !this.#affords(count * unitBytes)) count = Math.floor(count / 2);
    return count;
  }
}

/**
 * Of blocks that an image of this board holds, given in order, the one to ask for where a single question may use up the
 * budget: the last but one. The last is often where an interrupted read broke off, and then not known as a whole.
 */
export function likeliest(own: readonly number[]): number | undefined {
  return own.at(-2) ?? own.at(-1);
}

/** Blocks, given in order, as regions of neighbours. */
function runsOf(blocks: readonly number[], sizeBytes: number): Region[] {
  return inOrder(
    blocks.map((block) => {
      const offset = block * BLOCK_BYTES;
      return { offset, sizeBytes: Math.min(BLOCK_BYTES, sizeBytes - offset) };
    }),
  );
}

/** All of 0 to `count` - 1, neighbours far apart, 0 first, so that the first few tell of the whole. */
export function scattered(count: number): number[] {
  // Steps of the golden ratio spread evenly however many are taken; a step without a common divisor reaches all.
  let step = Math.max(1, Math.round(count * 0.618));
  while (greatestCommonDivisor(step, count) !== 1) step++;
  return Array.from({ length: count }, (_, index) => (index * step) % count);
}

function greatestCommonDivisor(one: number, other: number): number {
  return other === 0 ? one : greatestCommonDivisor(other, one % other);
}

/** The last `count` units of a region, or all of it. */
function lastUnits({ offset, sizeBytes }: Region, unitBytes: number, count: number): Region {
  const begin = Math.max(offset, (Math.ceil((offset + sizeBytes) / unitBytes) - count) * unitBytes);
  return { offset: begin, sizeBytes: offset + sizeBytes - begin };
}

/** Where two reads take longer than one that reads what is between them as well, it is one. */
function bridged(regions: readonly Region[], costs: Costs): Region[] {
  const reads: Region[] = [];
  for (const next of regions) {
    const last = reads.at(-1);
    const both = last === undefined ? 0 : next.offset + next.sizeBytes - last.offset;
    if (last !== undefined && costs.readMs(both) < costs.readMs(last.sizeBytes) + costs.readMs(next.sizeBytes)) {
      reads[reads.length - 1] = { offset: last.offset, sizeBytes: both };
    } else {
      reads.push(next);
    }
  }
  return reads;
}

/** What of `regions` lies in none of `others`; both in order. */
export function withoutRead<R extends Region>(regions: readonly R[], others: readonly Region[]): R[] {
  const left: R[] = [];
  let next = 0;
  for (const region of regions) {
    const regionEnd = region.offset + region.sizeBytes;
    let at = region.offset;
    for (let other = others[next]; other !== undefined && other.offset < regionEnd; other = others[next]) {
      if (other.offset > at) left.push({ ...region, offset: at, sizeBytes: other.offset - at });
      at = Math.max(at, other.offset + other.sizeBytes);
      if (at > regionEnd) break;
      next++;
    }
    if (at < regionEnd) left.push({ ...region, offset: at, sizeBytes: regionEnd - at });
  }
  return left;
}

/** Sorted by place, neighbours of one kind merged. */
export function inOrder<R extends Region & { by?: string }>(regions: readonly R[]): R[] {
  const merged: R[] = [];
  for (const next of [...regions].sort((one, other) => one.offset - other.offset)) {
    const last = merged.at(-1);
    if (last !== undefined && last.offset + last.sizeBytes === next.offset && last.by === next.by) {
      merged[merged.length - 1] = { ...last, sizeBytes: last.sizeBytes + next.sizeBytes };
    } else {
      merged.push(next);
    }
  }
  return merged;
}
