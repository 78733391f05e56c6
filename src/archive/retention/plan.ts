/** Which backups stay and which go, each with every reason: the one place that decides it. Pure. */

import type { Mac } from '../../mac.ts';
import { labelKey } from '../marks/label-key.ts';
import { type KeepRules, type RetentionPolicy, ruleFinder, rulesText } from './policy.ts';
import { blockades, protections, sortedById } from './protections.ts';
import { keptByRules, timeOf } from './rules.ts';
import { type Chain, thinOut } from './thin.ts';
import type { Decision, Reason, RetentionBoard, RetentionFacts, RetentionPlan } from './types.ts';

/**
 * A backup stays if it is one of those that are never removed (see {@link protections}), or if a rule keeps it (see
 * {@link keptByRules}). Of the others:
 *
 * - without a size budget all go whose board has rules;
 * - with a size budget only as many go as it takes, of all boards (see {@link thinOut}). So with a budget the rules say
 *   what stays in any case, and what they do not keep may use the room that is left.
 *
 * A board without rules in a policy without a budget keeps everything.
 *
 * It does not depend on the order of boards and backups. Applied to what it has left it removes nothing more.
 */
export function planRetention(facts: RetentionFacts, policy: RetentionPolicy): RetentionPlan {
  const boards = [...facts.boards].sort((a, b) => (a.mac < b.mac ? -1 : Number(a.mac > b.mac)));
  const blocked = blockades(facts);
  const guarded = protections(boards);
  const rulesOf = ruleFinder(policy);
  const views = boards.map((board) => viewOf(board, rulesOf(board), guarded.get(board.mac) ?? new Map()));
  const totalBytes = views.reduce((sum, { bytes }) => sum + bytes, 0);

  const mayGo = (mac: Mac) => blocked.length === 0 && facts.only?.has(mac) !== false;
  const { maxBytes } = policy;
  const thinned = maxBytes === null ? null : thinOut(chainsOf(views, mayGo), totalBytes, maxBytes);

  const decisions: Decision[] = [];
  let freedBytes = 0;
  for (const { board, backups, rules } of views) {
    const { mac } = board;
    const extra: Reason[] = [...blocked];
    if (facts.only?.has(mac) === false) extra.push({ code: 'not-asked', text: 'its board was not asked for' });
    for (const { backup, reasons } of backups) {
      const { id, sizeOnDiskBytes } = backup;
      const all = [...extra, ...reasons];
      let stays = all.length > 0;
      if (!stays) {
        const verdict = verdictOf(rules, thinned === null ? null : thinned.get(mac)?.has(id) === true);
        stays = verdict.stays;
        all.push(verdict.reason);
      }
      if (!stays) freedBytes += sizeOnDiskBytes;
      decisions.push({ mac, id, stays, reasons: all, sizeOnDiskBytes });
    }
  }
  const left = totalBytes - freedBytes;
  return {
    decisions,
    totalBytes,
    freedBytes,
    overBudgetBytes: maxBytes === null ? 0 : Math.max(0, left - maxBytes),
    blocked,
    unmatched: unmatchedOf(boards, policy),
  };
}

interface View {
  readonly board: RetentionBoard;
  readonly rules: KeepRules | null;
  readonly bytes: number;
  /** Sorted by id. No reasons = nothing keeps it. */
  readonly backups: readonly {
    readonly backup: RetentionBoard['backups'][number];
    readonly reasons: readonly Reason[];
  }[];
}

function viewOf(board: RetentionBoard, rules: KeepRules | null, guarded: ReadonlyMap<string, readonly Reason[]>): View {
  const sorted = sortedById(board.backups);
  const sound = sorted.filter(({ state }) => state === 'sound');
  const kept = rules === null ? new Map<string, Reason[]>() : keptByRules(sound, rules);
  const backups = sorted.map((backup) => ({
    backup,
    reasons: [...(guarded.get(backup.id) ?? []), ...(kept.get(backup.id) ?? [])],
  }));
  const bytes = sorted.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
  return { board, rules, bytes, backups };
}

function chainsOf(views: readonly View[], mayGo: (mac: Mac) => boolean): Chain[] {
  return views.map(({ board: { mac }, backups }) => ({
    mac,
    links: backups
      .filter(({ backup }) => backup.state === 'sound')
      .map(({ backup, reasons }) => ({
        id: backup.id,
        timeMs: timeOf(backup),
        sizeOnDiskBytes: backup.sizeOnDiskBytes,
        isRemovable: reasons.length === 0 && mayGo(mac),
      })),
  }));
}

/** @param isThinned null = there is no budget */
function verdictOf(rules: KeepRules | null, isThinned: boolean | null): { stays: boolean; reason: Reason } {
  if (isThinned === true) return { stays: false, reason: { code: 'over-budget', text: 'too much for maxBytes' } };
  if (isThinned === false) return { stays: true, reason: { code: 'fits', text: 'there is room for it in maxBytes' } };
  if (rules !== null) {
    return { stays: false, reason: { code: 'no-rule', text: `no rule keeps it (${rulesText(rules)})` } };
  }
  return { stays: true, reason: { code: 'no-policy', text: 'no policy is set for its board' } };
}

function unmatchedOf(boards: readonly RetentionBoard[], policy: RetentionPolicy): string[] {
  const keysOf = (names: readonly (string | null)[]) =>
    new Set(names.flatMap((name) => (name === null ? [] : labelKey(name))));
  const names = keysOf(boards.flatMap(({ mac, label }) => [mac, label]));
  const groups = keysOf(boards.map(({ group }) => group));
  return [
    ...[...policy.boards.keys()].filter((name) => !names.has(labelKey(name))),
    ...[...policy.groups.keys()].filter((name) => !groups.has(labelKey(name))),
  ].sort();
}
