/** `espd prune`: what becomes of each backup by the policy, and why; removes only what a person has said yes to. */

import type { Decision } from '../archive/retention/types.ts';
import { removesNothing } from '../archive/retention/policy.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { consentOf, consentRefusal } from './consent.ts';
import type { CommandContext } from './context.ts';
import { endedBy } from './ended-by.ts';
import { type PruneCommandOptions, checkNoRules, policyFor } from './prune-options.ts';
import { documentOf, printPlan, reasonsOf, summaryOf } from './retention-text.ts';
import { formatSize, plural } from './text.ts';

const DEED = { infinitive: 'remove anything', participle: 'removed' };
/** So many boards between two looks at the line of progress. */
const PROGRESS_STEP = 16;
/** Of the reasons that the daemon is told. */
const MAX_WHY_CHARACTERS = 1000;

export async function prune(
  context: CommandContext,
  options: PruneCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  if (options.store && options.local) {
    throw new EspdError('usage', 'Give --store or --local, not both', {
      hint: 'One command after the other does both',
    });
  }
  if (options.setPolicy && (!options.store || options.boards.length > 0)) {
    throw new EspdError('usage', '--set-policy is about the whole object store', {
      hint: 'Give it with --store, and no boards',
    });
  }
  if (options.store || options.local) checkNoRules(options);
  if (options.store) return (await import('./fleet/prune-store.ts')).pruneStore(context, options, env);
  if (options.local) return (await import('./fleet/prune-local.ts')).pruneLocal(context, options, env);
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
  printPlan(context, shown, { all: options.all, maxBytes: policy.maxBytes });

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
  const removed: Decision[] = [];
  const spared: Decision[] = [];
  const onRemoved = (gone: Decision) => {
    removed.push(gone);
    out.status(`Removing: ${removed.length} of ${plural(going.length, 'backup')}`);
    const { mac, id, sizeOnDiskBytes: sizeBytes } = gone;
    context.onMark({ type: 'backup-removed', mac, id, sizeBytes, why: reasonsOf(gone).slice(0, MAX_WHY_CHARACTERS) });
  };
  const onSpared = (stays: Decision) => spared.push(stays);
  const error = await archive.retention.remove({ decisions: going }, { signal, onRemoved, onSpared }).then(
    () => undefined,
    (thrown: unknown) => endedBy(signal, thrown),
  );
  out.status('');
  const freed = removed.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
  out.line(`${plural(removed.length, 'backup')} removed, ${formatSize(freed)} freed`);
  for (const decision of spared) {
    out.behind(`  ${decision.mac} ${decision.id} `, `stays after all: ${reasonsOf(decision)}`);
  }
  out.document({ ...documentOf(shown, false, { removed, spared }), ...(error === undefined ? {} : { error }) });
  return error;
}

function sayNothingSet({ out }: CommandContext): void {
  out.line('No policy is set, so every backup is kept');
  out.note(
    'Set retention in the config (see config.example.yaml), or try one here: espd prune --keep-last 10 --dry-run',
  );
  out.document({ policy: null, dryRun: false, backups: [], removed: [], spared: [] });
}
