/** `espd prune`: what becomes of each backup by the policy, and why; removes only what a person has said yes to. */

import { type RetentionPolicy, removesNothing } from '../archive/retention/policy.ts';
import type { Decision, RetentionPlan } from '../archive/retention/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { consentOf, consentRefusal } from './consent.ts';
import type { CommandContext } from './context.ts';
import { type KeepOptions, policyFor } from './prune-options.ts';
import { bold, dim, formatSize, plural, printable } from './text.ts';

export interface PruneCommandOptions extends KeepOptions {
  /** MACs or labels; none = all boards. */
  readonly boards: readonly string[];
  readonly dryRun: boolean;
  readonly yes: boolean;
  /** Backups that stay are listed, too, however many there are. */
  readonly all: boolean;
}

const DEED = { infinitive: 'remove anything', participle: 'removed' };
/** With so many backups those that stay are still listed without --all. */
const LISTED_IN_FULL = 100;
/** So many boards between two looks at the line of progress. */
const PROGRESS_STEP = 16;

export async function prune(context: CommandContext, options: PruneCommandOptions): Promise<EspdError | undefined> {
  const { archive, config, out, signal } = context;
  await archive.checkReadable();
  const macs: Mac[] = [];
  for (const board of options.boards) macs.push(await archive.resolveBoard(board));
  const policy = policyFor(config.retention, options, macs);
  if (removesNothing(policy)) {
    sayNothingSet(context);
    return undefined;
  }

  const onProgress = (done: number, of: number) => {
    if (done % PROGRESS_STEP === 0) out.status(`Reading the archive: ${done} of ${plural(of, 'board')}`);
  };
  const only = macs.length === 0 ? {} : { only: new Set(macs) };
  const planning = archive.retention.plan(policy, { ...only, signal, onProgress });
  const plan = await planning.finally(() => out.status(''));
  const asked = plan.decisions.filter(({ mac }) => macs.length === 0 || macs.includes(mac));
  const going = asked.filter(({ stays }) => !stays);
  const shown = { ...plan, decisions: asked };
  printPlan(context, shown, policy, options.all || asked.length <= LISTED_IN_FULL);

  const question = `Remove ${plural(going.length, 'backup')} for good?`;
  if (options.dryRun || going.length === 0) {
    if (options.dryRun && going.length > 0) out.note('Nothing was removed: this was a dry run');
    out.document(documentOf(shown, options.dryRun, { removed: [], spared: [] }));
    return undefined;
  }
  const refusal = consentRefusal(out, options, DEED);
  if (refusal !== null) {
    out.document({ ...documentOf(shown, false, { removed: [], spared: [] }), error: refusal });
    return refusal;
  }
  const consent = consentOf(out, options, DEED);
  if (!(await consent(question, [summaryOf(shown)]))) {
    throw new EspdError('declined', 'Nothing was removed', { hint: 'Answer yes, or pass --yes in a script' });
  }
  let count = 0;
  const onRemoved = () => out.status(`Removing: ${(count += 1)} of ${plural(going.length, 'backup')}`);
  const removing = archive.retention.remove({ decisions: going }, { signal, onRemoved });
  const report = await removing.finally(() => out.status(''));
  const freed = report.removed.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
  out.line(`${plural(report.removed.length, 'backup')} removed, ${formatSize(freed)} freed`);
  for (const spared of report.spared) {
    out.behind(`  ${spared.mac} ${spared.id} `, `stays after all: ${reasonsOf(spared)}`);
  }
  out.document(documentOf(shown, false, report));
  return undefined;
}

function sayNothingSet({ out }: CommandContext): void {
  out.line('No policy is set, so every backup is kept');
  out.note(
    'Set retention in the config (see config.example.yaml), or try one here: espd prune --keep-last 10 --dry-run',
  );
  out.document({ policy: null, dryRun: false, backups: [], removed: [], spared: [] });
}

function printPlan({ out }: CommandContext, plan: RetentionPlan, policy: RetentionPolicy, inFull: boolean): void {
  const byBoard = new Map<Mac, Decision[]>();
  for (const decision of plan.decisions) {
    const decisions = byBoard.get(decision.mac);
    if (decisions === undefined) byBoard.set(decision.mac, [decision]);
    else decisions.push(decision);
  }
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
      out.behind(`  ${word}  ${decision.id}  `, reasonsOf(decision));
    }
    const staying = decisions.length - going.length;
    if (!inFull) out.line(dim(`  ${staying} ${staying === 1 ? 'stays' : 'stay'} (--all lists them)`));
  }
  if (untouched > 0) out.line(`Of ${plural(untouched, 'more board')} all backups stay`);
  for (const { text } of plan.blocked) out.paragraph(`Nothing can be removed now: ${printable(text)}`, '  ');
  out.paragraph(summaryOf(plan), '  ');
  if (plan.overBudgetBytes > 0 && policy.maxBytes !== null) {
    const over = `${formatSize(plan.overBudgetBytes)} more than the ${formatSize(policy.maxBytes)} of maxBytes`;
    out.paragraph(`What stays takes ${over}: all of it is kept by a rule, or never removed`, '  ');
  }
  for (const name of plan.unmatched) out.note(`No board or group of the archive is called "${printable(name)}"`);
}

function summaryOf({ decisions, freedBytes, totalBytes }: RetentionPlan): string {
  const going = decisions.filter(({ stays }) => !stays).length;
  if (going === 0) return `All ${plural(decisions.length, 'backup')} stay`;
  const count = `${going} of ${plural(decisions.length, 'backup')} ${going === 1 ? 'goes' : 'go'}`;
  return `${count}, which frees ${formatSize(freedBytes)} of ${formatSize(totalBytes)}`;
}

function reasonsOf({ reasons }: Decision): string {
  return reasons.map(({ text }) => printable(text)).join('; ');
}

/** `freedBytes` is what the plan would free. */
function documentOf(
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
