/**
 * Whether a digest is worth its time. The chip hashes some megabytes a second and the line carries a tenth of one, so
 * asking pays mostly; but a slow chip behind a fast line can make it a waste. Pure: costs come in, decisions go out.
 */

import { type Region, SECTOR_BYTES } from '../flash.ts';
import type { Costs } from '../esp/costs.ts';

/** What a job may lose by asking, against reading straight through. The rest of the contract's 3 % is for errors of the estimate. */
const ALLOWANCE = 0.025;

/** Time spent on digests may exceed the time that they have saved by a small part of reading straight through. */
export class Budget {
  readonly #costs: Costs;
  readonly #sizeBytes: number;
  #spentMs = 0;
  /** Offsets of sectors: a block that was asked for by itself may be asked for again in a group. */
  readonly #explained = new Set<number>();
  #isClosed = false;
  /** Reads more than one, because something explained lies between. */
  #moreReads = 0;

  /** @param sizeBytes of the whole flash */
  constructor(costs: Costs, sizeBytes: number) {
    this.#costs = costs;
    this.#sizeBytes = sizeBytes;
  }

  /** Whether so many digests of so many bytes each may be asked for. */
  affords(sizeBytes: number, times = 1): boolean {
    return !this.#isClosed && this.#leftMs(0) >= times * this.#costs.digestMs(sizeBytes);
  }

  /** Whether a question that costs so much may be asked. */
  affordsMs(ms: number): boolean {
    return this.#leftMs(0) >= ms;
  }

  /** The same of one digest, once another one has shown that `knownBytes` need no reading. */
  affordsAfter(knownBytes: number, sizeBytes: number): boolean {
    return this.#leftMs(knownBytes) >= this.#costs.digestMs(knownBytes) + this.#costs.digestMs(sizeBytes);
  }

  #leftMs(knownBytes: number): number {
    const straightMs = this.#costs.leastReadMs(this.#sizeBytes);
    const explainedShare = (this.#explained.size * SECTOR_BYTES + knownBytes) / this.#sizeBytes;
    const moreReads = this.#moreReads + (knownBytes > 0 ? 1 : 0);
    const savedMs = straightMs * explainedShare - moreReads * this.#costs.readMs(0);
    return ALLOWANCE * straightMs + savedMs - this.#spentMs;
  }

  asked(sizeBytes: number): void {
    this.#spentMs += this.#costs.digestMs(sizeBytes);
  }

  /** No digest is to be asked for any more: {@link affords} says no. */
  close(): void {
    this.#isClosed = true;
  }

  /** A question of another kind was asked. */
  spent(ms: number): void {
    this.#spentMs += ms;
  }

  /** @param dividesReads whether reading would have to stop and begin anew for it */
  explained({ offset, sizeBytes }: Region, dividesReads: boolean): void {
    for (let at = offset; at < offset + sizeBytes; at += SECTOR_BYTES) this.#explained.add(at);
    if (dividesReads) this.#moreReads++;
  }
}

/** How likely a run of known units ends after its first one; later ever less. Blank flash and programs are long. */
const RUN_ENDS = 0.06;

/** How likely the next unit is known: high after hits, and lower with each miss in a row. */
export class Chance {
  readonly #start: number;
  /** In a row, of whole groups. */
  #hits = 0;
  #misses = 0;

  /** @param start before anything was asked, 0 to 1 */
  constructor(start: number) {
    this.#start = start;
  }

  get value(): number {
    return this.#hits > 0 ? 1 - RUN_ENDS / (1 + this.#hits) : this.#start / (1 + this.#misses);
  }

  hit(): void {
    this.#hits++;
    this.#misses = 0;
  }

  miss(): void {
    this.#misses++;
    this.#hits = 0;
  }
}

export interface UnitCosts {
  /** Asking for the digest of so many units in a row, in ms. */
  askMs(count: number): number;
  /** What a unit costs that is read without asking; Infinity where every unit must be asked for. */
  readMs: number;
  /** What a unit costs that was asked for in vain: reading it, or asking for its parts. */
  missMs: number;
}

/**
 * How many units to ask for with the next digest, a power of two up to `limit`; 0 = none, read the next one.
 * @param chance of each to be known, see {@link Chance}
 */
export function groupToAsk(costs: UnitCosts, chance: number, limit: number): number {
  let best = 0;
  let leastMs = costs.readMs;
  for (let count = 1; count <= limit; count *= 2) {
    const perUnitMs = expectedMs(costs, chance, count) / count;
    if (perUnitMs >= leastMs) continue;
    best = count;
    leastMs = perUnitMs;
  }
  return best;
}

/**
 * Expected time for a group of which the digest is asked, and where it is not known, those of its halves, and so on.
 * Units are taken for independent: within a group that is not known, each is less likely known than it was before.
 */
function expectedMs(costs: UnitCosts, chance: number, count: number): number {
  const known = chance ** count;
  if (count === 1) return costs.askMs(1) + (1 - known) * costs.missMs;
  const chanceAfter = known === 1 ? 0 : (chance - known) / (1 - known);
  return costs.askMs(count) + (1 - known) * 2 * expectedMs(costs, chanceAfter, count / 2);
}
