/** What retention decides, as a person and a script see it: of the archive, of a bucket, of local copies. */

import type { Decision, RetentionPlan } from '../archive/retention/types.ts';
import type { Mac } from '../mac.ts';
import type { CommandContext } from './context.ts';
import { bold, dim, formatSize, plural, printable } from './text.ts';

/** With so many backups those that stay are still listed without --all. */
const LISTED_IN_FULL = 100;

/** @param maxBytes of the policy */
export function printPlan(
  { out }: CommandContext,
  plan: RetentionPlan,
  { all, maxBytes }: { readonly all: boolean; readonly maxBytes: number | null },
): void {
  const inFull = all || plan.decisions.length <= LISTED_IN_FULL;
  const byBoard = new Map<Mac, Decision[]>();
  for (const decision of plan.decisions) {
    const decisions = byBoard.get(decision.mac);
    if (decisions === undefined) byBoard.set(decision.mac, [decision]);
    else decisions.push(decision);
  }
  // Said once, below them.
  const ofAll = new Set(plan.blocked.map(({ text }) => text));
  const ownOf = ({ reasons }: Decision) => {
    const own = reasons.filter(({ text }) => !ofAll.has(text));
    return own.length === 0 && reasons.length > 0
      ? 'nothing can be removed now: see below'
      : reasonsOf({ reasons: own });
  };
  let untouched = 0;
  for (const [mac, decisions] of byBoard) {
    const going = decisions.filter(({ stays }) => !stays);
    if (going.length === 0 && !inFull) {
      untouched += 1;
      continue;
    }
    const bytes = going.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
    const count = `${going.length} of ${plural(decisions.length, 'backup')} ${going.length === 1 ? 'goes' : 'go'}`;
    out.line(bold(mac), going.length === 0 ? '  all stay' : `  ${count}, ${formatSize(bytes)}`);
    for (const decision of inFull ? decisions : going) {
      const word = decision.stays ? 'stays' : 'goes ';
      out.behind(`  ${word}  ${decision.id}  `, ownOf(decision));
    }
    const staying = decisions.length - going.length;
    if (!inFull) out.line(dim(`  ${staying} ${staying === 1 ? 'stays' : 'stay'} (--all lists them)`));
  }
  if (untouched > 0) out.line(`Of ${plural(untouched, 'more board')} all backups stay`);
  for (const { text } of plan.blocked) out.paragraph(`Nothing can be removed now: ${printable(text)}`, '  ');
  out.paragraph(summaryOf(plan), '  ');
  if (plan.overBudgetBytes > 0 && maxBytes !== null) {
    const over = `${formatSize(plan.overBudgetBytes)} more than the ${formatSize(maxBytes)} of maxBytes`;
    out.paragraph(`What stays takes ${over}: all of it is kept by a rule, or never removed`, '  ');
  }
  for (const name of plan.unmatched) out.note(`No board or group of the archive is called "${printable(name)}"`);
}

export function summaryOf({ decisions, freedBytes, totalBytes }: RetentionPlan): string {
  const going = decisions.filter(({ stays }) => !stays).length;
  if (going === 0) return `All ${plural(decisions.length, 'backup')} stay`;
  const count = `${going} of ${plural(decisions.length, 'backup')} ${going === 1 ? 'goes' : 'go'}`;
  return `${count}, which frees ${formatSize(freedBytes)} of ${formatSize(totalBytes)}`;
}

export function reasonsOf({ reasons }: Pick<Decision, 'reasons'>): string {
  return reasons.map(({ text }) => printable(text)).join('; ');
}

/** `freedBytes` is what the plan would free. */
export function documentOf(
  plan: RetentionPlan,
  dryRun: boolean,
  { removed, spared }: { readonly removed: readonly Decision[]; readonly spared: readonly Decision[] },
) {
  const { totalBytes, freedBytes, overBudgetBytes, blocked, unmatched } = plan;
  const nameOf = ({ mac, id }: Decision) => ({ mac, id });
  return {
    dryRun,
    backups: plan.decisions,
    ...{ totalBytes, freedBytes, overBudgetBytes, blocked, unmatched },
    removed: removed.map(nameOf),
    spared: spared.map((decision) => ({ ...nameOf(decision), reasons: decision.reasons })),
  };
}
