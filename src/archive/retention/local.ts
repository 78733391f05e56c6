/** Which local copies need not stay here once they are safe in the object store: `archive.local`. Pure. */

import { blockades, protections, sortedById } from './protections.ts';
import { timeOf } from './rules.ts';
import type { Decision, Protection, Reason, RetentionBoard, RetentionFacts, RetentionPlan } from './types.ts';

/** `newest`: of each board so many stay here. `days`: what is younger stays here. */
export type LocalPolicy =
  | { readonly kind: 'all' }
  | { readonly kind: 'newest'; readonly count: number }
  | { readonly kind: 'days'; readonly days: number };

const DAY_MS = 86_400_000;

/**
 * What is protected because it must not be lost, and not because it is needed here: it is not lost by going to the store,
 * from where it can be had again.
 */
const SAFE_IN_THE_STORE: ReadonlySet<Protection> = new Set<Protection>(['first', 'unconfirmed']);

/** Whether a reason against the removal of a backup is one against its release, too. */
export function holdsHere({ code }: Reason): boolean {
  return !(SAFE_IN_THE_STORE as ReadonlySet<string>).has(code);
}

/**
 * What would go if all of it were in the store; whether it is, is asked for each just before. Always stays what is held
 * here by one of the {@link protections}: the newest, what `latest` means, pinned ones, those that a restore or `undo` needs, what
 * is damaged or of a newer format, and all of a board that is being worked on.
 */
export function planLocal(facts: RetentionFacts, policy: LocalPolicy): RetentionPlan {
  const blocked = blockades(facts);
  const guarded = protections(facts.boards);
  const boards = [...facts.boards].sort((a, b) => (a.mac < b.mac ? -1 : Number(a.mac > b.mac)));
  const decisions = boards.flatMap((board): Decision[] => {
    const wanted = keptBy(policy, board, facts.nowMs);
    return sortedById(board.backups).map(({ id, sizeOnDiskBytes }) => {
      const reasons: Reason[] = [...blocked];
      if (facts.only?.has(board.mac) === false)
        reasons.push({ code: 'not-asked', text: 'its board was not asked for' });
      reasons.push(...(guarded.get(board.mac)?.get(id) ?? []).filter(holdsHere), ...(wanted.get(id) ?? []));
      const stays = reasons.length > 0;
      const why: Reason = { code: 'not-local', text: `archive.local keeps ${wordsOf(policy)} here` };
      return { mac: board.mac, id, stays, reasons: stays ? reasons : [why], sizeOnDiskBytes };
    });
  });
  const bytesOf = (some: readonly Decision[]) => some.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
  return {
    ...{ decisions, blocked, overBudgetBytes: 0, unmatched: [] },
    totalBytes: bytesOf(decisions),
    freedBytes: bytesOf(decisions.filter(({ stays }) => !stays)),
  };
}

function keptBy(policy: LocalPolicy, board: RetentionBoard, nowMs: number): ReadonlyMap<string, readonly Reason[]> {
  const sound = sortedById(board.backups.filter(({ state }) => state === 'sound'));
  const stay = {
    all: () => sound,
    // `slice(-0)` would be all of them.
    newest: (count: number) => sound.slice(Math.max(0, sound.length - count)),
    days: (days: number) => sound.filter((backup) => timeOf(backup) > nowMs - days * DAY_MS),
  };
  const kept =
    policy.kind === 'all' ? stay.all() : policy.kind === 'newest' ? stay.newest(policy.count) : stay.days(policy.days);
  return new Map(kept.map(({ id }) => [id, [{ code: 'local', text: `stays here: ${wordsOf(policy)}` }]]));
}

/** The rest of a sentence such as "archive.local keeps ... here". */
function wordsOf(policy: LocalPolicy): string {
  if (policy.kind === 'all') return 'all';
  if (policy.kind === 'newest') return policy.count === 1 ? 'the newest' : `the newest ${policy.count}`;
  return policy.days === 1 ? 'what is of the last day' : `what is of the last ${policy.days} days`;
}
