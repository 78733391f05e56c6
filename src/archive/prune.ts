/** Retention on a real archive: reads what the decision needs, and removes what may go, asking again just before. */

import { join } from 'node:path';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { toWriteError } from './disk-faults.ts';
import { type BoardFacts, type FactParts, factsOfBoards, knownOfBoards, refreshed } from './prune-facts.ts';
import { type Holding, type RemovalParts, destroy, finishRemovals, putBack, takeAway } from './remove.ts';
import { type LocalPolicy, planLocal } from './retention/local.ts';
import { planRetention } from './retention/plan.ts';
import type { RetentionPolicy } from './retention/policy.ts';
import { blockades, protections } from './retention/protections.ts';
import type { Decision, Reason, ReasonCode, RetentionFacts, RetentionPlan } from './retention/types.ts';
import { Turns } from './turns.ts';
import type { ArchiveRetention, PruneReport } from './types.ts';

/**
 * Backups that lose their names before the marks of all boards are read again, and are then deleted: more would be away
 * for longer where one has to come back, fewer would have the marks read more often.
 */
const BATCH = 64;

/**
 * What keeps a backup from being lost, but not from being elsewhere alone. The clock has no say: it is not by age that it
 * goes.
 */
const HARMLESS_ELSEWHERE: readonly ReasonCode[] = ['first', 'unconfirmed', 'clock'];

export interface PrunerParts extends FactParts, RemovalParts {
  readonly marks: FactParts['marks'] & RemovalParts['marks'];
  /** All boards of the archive. */
  boards(): Promise<{ readonly macs: readonly Mac[] }>;
  /** Rejects where the archive is not the one that this process began with. */
  checkIdentity(): Promise<void>;
}

export class Pruner implements ArchiveRetention {
  readonly #parts: PrunerParts;
  /** One after the other in this process; those of other processes do no harm. */
  readonly #turns = new Turns(1);
  /** Backups without their name of which a fault of the disk has kept this process from doing what it wanted. */
  readonly #stuck = new Map<Holding, typeof destroy>();

  constructor(parts: PrunerParts) {
    this.#parts = parts;
  }

  async plan(
    policy: RetentionPolicy,
    options: Parameters<ArchiveRetention['plan']>[1] = {},
  ): ReturnType<ArchiveRetention['plan']> {
    const { only } = options;
    const { macs } = await this.#parts.boards();
    // For a budget all count; else only the newest of the others is asked for, as a witness of the time.
    const depthOf = (mac: Mac) => (policy.maxBytes !== null || only?.has(mac) !== false ? 'all' : 'newest');
    const facts = await factsOfBoards(this.#parts, macs, depthOf, options);
    return planRetention({ ...this.#retentionFacts(facts), ...(only === undefined ? {} : { only }) }, policy);
  }

  async planLocal(
    policy: LocalPolicy,
    options: Parameters<ArchiveRetention['planLocal']>[1] = {},
  ): ReturnType<ArchiveRetention['planLocal']> {
    const { only } = options;
    const { macs } = await this.#parts.boards();
    const depthOf = (mac: Mac) => (only?.has(mac) !== false ? 'all' : 'newest');
    const facts = await factsOfBoards(this.#parts, macs, depthOf, options);
    return planLocal({ ...this.#retentionFacts(facts), ...(only === undefined ? {} : { only }) }, policy);
  }

  async known(macs: readonly Mac[], signal?: AbortSignal): ReturnType<ArchiveRetention['known']> {
    return knownOfBoards(this.#parts, macs, signal);
  }

  async remove(
    plan: Pick<RetentionPlan, 'decisions'>,
    options: Parameters<ArchiveRetention['remove']>[1] = {},
  ): Promise<PruneReport> {
    return this.#turns.take(async () => {
      try {
        await this.#parts.checkIdentity();
        return await this.#remove(
          plan.decisions.filter(({ stays }) => !stays),
          options,
        );
      } catch (error) {
        throw toWriteError(error, this.#parts.root);
      }
    });
  }

  /**
   * Removes a backup of which there is the same elsewhere: see {@link ArchiveElsewhere.release}.
   * @param isElsewhere asked before, and once more when nobody can begin to use it any more
   */
  async release(mac: Mac, id: string, isElsewhere: () => Promise<boolean>): Promise<boolean> {
    return this.#turns.take(async () => {
      try {
        await this.#parts.checkIdentity();
        return await this.#release(mac, id, isElsewhere);
      } catch (error) {
        throw toWriteError(error, this.#parts.root);
      }
    });
  }

  async #release(mac: Mac, id: string, isElsewhere: () => Promise<boolean>): Promise<boolean> {
    const { disk, root, clock } = this.#parts;
    for (const [holding, work] of [...this.#stuck]) await this.#tryTo(work, holding);
    await finishRemovals(this.#parts, mac, clock.date().getTime());
    const { macs } = await this.#parts.boards();
    const before = await factsOfBoards(this.#parts, macs, (each) => (each === mac ? 'all' : 'records'));
    const isHere = before.some(({ board }) => board.mac === mac && board.backups.some((backup) => backup.id === id));
    if (!isHere || !this.#mayBeReleased(before, mac, id) || !(await isElsewhere())) return false;
    const holding = await takeAway(this.#parts, mac, id, null);
    if (holding === undefined) return false;
    let isFree = false;
    try {
      await disk.syncFolder(join(root, macToFolder(mac)));
      isFree = this.#mayBeReleased(await this.#factsNow(before), mac, id);
    } finally {
      await this.#tryTo(isFree ? destroy : putBack, holding);
    }
    return isFree;
  }

  #mayBeReleased(facts: readonly BoardFacts[], mac: Mac, id: string): boolean {
    return this.#judge(facts)({ mac, id }).every(({ code }) => HARMLESS_ELSEWHERE.includes(code));
  }

  async #remove(
    going: readonly Decision[],
    { signal, onRemoved, onSpared }: NonNullable<Parameters<ArchiveRetention['remove']>[1]>,
  ): Promise<PruneReport> {
    const removed: Decision[] = [];
    const spared: Decision[] = [];
    await this.#finishEarlier(signal);
    for (let first = 0; first < going.length; first += BATCH) {
      signal?.throwIfAborted();
      const outcome = await this.#removeBatch(going.slice(first, first + BATCH), signal, (decision) => {
        removed.push(decision);
        onRemoved?.(decision);
      });
      spared.push(...outcome);
      outcome.forEach((decision) => onSpared?.(decision));
    }
    return { removed, spared };
  }

  /** @returns those that stay after all, with the reason */
  async #removeBatch(
    batch: readonly Decision[],
    signal: AbortSignal | undefined,
    onRemoved: (decision: Decision) => void,
  ): Promise<Decision[]> {
    const spared: Decision[] = [];
    const concerned = new Set(batch.map(({ mac }) => mac));
    const { macs } = await this.#parts.boards();
    const before = await factsOfBoards(this.#parts, macs, (mac) => (concerned.has(mac) ? 'all' : 'records'));
    const holdings = new Map<Holding, Decision>();
    try {
      const mayGo = this.#judge(before);
      for (const decision of batch) {
        const reasons = mayGo(decision);
        if (reasons.length > 0) spared.push({ ...decision, stays: true, reasons });
        else if (signal?.aborted !== true) {
          const why = decision.reasons.map(({ text }) => text).join('; ');
          const holding = await takeAway(this.#parts, decision.mac, decision.id, why);
          if (holding !== undefined) holdings.set(holding, decision);
        }
      }
      for (const mac of new Set([...holdings.keys()].map((holding) => holding.mac))) {
        await this.#parts.disk.syncFolder(join(this.#parts.root, macToFolder(mac)));
      }
      // Who has marked one of them before it was away is heard now, from a new board, too; who comes later finds it gone.
      const isStillFree = this.#judge(await this.#factsNow(before));
      for (const [holding, decision] of [...holdings]) {
        const reasons = isStillFree(decision);
        if (reasons.length === 0) continue;
        await putBack(this.#parts, holding);
        holdings.delete(holding);
        spared.push({ ...decision, stays: true, reasons });
      }
    } catch (error) {
      for (const holding of holdings.keys()) await this.#tryTo(putBack, holding);
      throw error;
    }
    for (const [holding, decision] of holdings) {
      await this.#tryTo(destroy, holding);
      onRemoved(decision);
    }
    return spared;
  }

  /** Of the boards in `before`, and of those that have come since. */
  async #factsNow(before: readonly BoardFacts[]): Promise<BoardFacts[]> {
    const known = new Set(before.map(({ board }) => board.mac));
    const { macs } = await this.#parts.boards();
    const others = macs.filter((mac) => !known.has(mac));
    const fresh = await factsOfBoards(this.#parts, others, () => 'records');
    return [...(await refreshed(this.#parts, before)), ...fresh];
  }

  async #tryTo(work: typeof destroy, holding: Holding): Promise<void> {
    const isDone = await work(this.#parts, holding).catch(() => false);
    if (isDone) this.#stuck.delete(holding);
    else this.#stuck.set(holding, work);
  }

  /** Why a backup may not go, by what is known now; nothing where it may. */
  #judge(facts: readonly BoardFacts[]): (decision: Pick<Decision, 'mac' | 'id'>) => readonly Reason[] {
    const retentionFacts = this.#retentionFacts(facts);
    const blocked = blockades(retentionFacts);
    const guarded = protections(retentionFacts.boards);
    return ({ mac, id }) => [...blocked, ...(guarded.get(mac)?.get(id) ?? [])];
  }

  #retentionFacts(facts: readonly BoardFacts[]): RetentionFacts {
    return {
      boards: facts.map(({ board }) => board),
      obstacles: facts.flatMap(({ obstacles }) => obstacles),
      nowMs: this.#parts.clock.date().getTime(),
    };
  }

  /** What a crash has left of earlier removals takes the room that this one is about. */
  async #finishEarlier(signal: AbortSignal | undefined): Promise<void> {
    for (const [holding, work] of [...this.#stuck]) await this.#tryTo(work, holding);
    const { macs } = await this.#parts.boards();
    const nowMs = this.#parts.clock.date().getTime();
    for (const mac of macs) {
      signal?.throwIfAborted();
      await finishRemovals(this.#parts, mac, nowMs);
    }
  }
}
