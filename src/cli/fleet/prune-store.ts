/** `espd prune --store`: what goes out of the object store, of all stations; announced first, removed after its time. */

import { policyText } from '../../archive/retention/policy-identity.ts';
import { removesNothing } from '../../archive/retention/policy.ts';
import type { Decision } from '../../archive/retention/types.ts';
import { retentionPolicy } from '../../config/retention.ts';
import { parseGrace } from '../../config/store.ts';
import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { wayOutOf } from '../../replication/journal/freshness.ts';
import type { Fleet } from '../../replication/open.ts';
import type { Step, StepKind } from '../../replication/removal/steps.ts';
import type { Outcome, StorePlan } from '../../replication/removal/store-pruner.ts';
import { consentOf, consentRefusal } from '../consent.ts';
import type { CommandContext } from '../context.ts';
import { endedBy } from '../ended-by.ts';
import type { PruneCommandOptions } from '../prune-options.ts';
import { documentOf, printPlan, summaryOf } from '../retention-text.ts';
import { formatSpan, plural, printable } from '../text.ts';
import { fleetOf, journalOf } from './open.ts';
import { openStorePruner } from './store-pruner.ts';

const DEED = { infinitive: 'remove anything from the object store', participle: 'removed' };
/** So many objects between two looks at the line of progress. */
const PROGRESS_STEP = 1000;

export async function pruneStore(
  context: CommandContext,
  options: PruneCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  const { archive, config, out } = context;
  const fleet = fleetOf(context, env);
  try {
    await archive.checkReadable();
    const macs: Mac[] = [];
    for (const board of options.boards) macs.push(await archive.resolveBoard(board));
    const section = config.store?.retention ?? null;
    const policy = section === null ? null : retentionPolicy(section);
    if (policy === null || removesNothing(policy)) {
      out.line('No policy is set for the object store, so every backup is kept there');
      out.note('Set store.retention in the config: docs/fleet.md');
      out.document({ policy: null, dryRun: false, backups: [], steps: [], done: [], spared: [] });
      return undefined;
    }
    const pruner = await openStorePruner(context, fleet);
    const only = macs.length === 0 ? {} : { only: new Set(macs) };
    const onProgress = (objects: number) => {
      if (objects % PROGRESS_STEP === 0) out.status(`Reading the object store: ${plural(objects, 'object')}`);
    };
    const { signal } = context;
    const plan = await pruner.plan(policy, { ...only, signal, onProgress }).finally(() => out.status(''));
    const shown = { ...plan, retention: { ...plan.retention, decisions: askedOf(plan, macs) } };
    printPlan(context, shown.retention, { all: options.all, maxBytes: policy.maxBytes });
    printSteps(context, shown.steps, parseGrace(config.store?.grace ?? '') ?? 0);
    for (const line of await waysOut(context, fleet, plan)) out.note(line);
    const work = shown.steps.filter(({ kind }) => kind !== 'wait');
    const sets = setsPolicy(plan, options);
    if (plan.refusal !== null && !sets) {
      out.document({ ...jsonOf(shown, options.dryRun, []), error: plan.refusal });
      return plan.refusal;
    }
    if (sets)
      out.paragraph(`This becomes the policy of the object store (${fleet.place}): ${policyText(policy)}`, '  ');
    if (options.dryRun || (work.length === 0 && !sets)) {
      if (options.dryRun && (work.length > 0 || sets)) out.note('Nothing was changed: this was a dry run');
      out.document(jsonOf(shown, options.dryRun, []));
      return undefined;
    }
    const refusal = consentRefusal(out, options, DEED);
    if (refusal !== null) {
      out.document({ ...jsonOf(shown, false, []), error: refusal });
      return refusal;
    }
    const consent = consentOf(out, options, DEED);
    if (!(await consent(questionOf(work, sets), [summaryOf(shown.retention)]))) {
      throw new EspdError('declined', 'Nothing was removed', { hint: 'Answer yes, or pass --yes in a script' });
    }
    const results: Result[] = [];
    const onStep = (step: Step, outcome: Outcome) => {
      results.push({ step, outcome });
      out.status(`In the object store: ${results.length} of ${work.length}`);
    };
    const error = await pruner
      .carryOut(policy, { ...only, signal, shown, replaces: sets ? plan.policy : null, onStep })
      .then(
        () => undefined,
        (thrown: unknown) => endedBy(signal, thrown),
      );
    out.status('');
    if (error === undefined || results.length > 0) printResults(context, results);
    out.document({ ...jsonOf(shown, false, results), ...(error === undefined ? {} : { error }) });
    return error;
  } finally {
    fleet.close();
  }
}

/** Where journals that cannot be read keep everything: what somebody can do about it. */
async function waysOut(context: CommandContext, fleet: Fleet, { retention }: StorePlan): Promise<string[]> {
  if (!retention.blocked.some(({ code }) => code === 'obstacle')) return [];
  const { troubles } = await journalOf(context, fleet).freshness();
  return troubles.flatMap((trouble) => printable(wayOutOf(trouble) ?? '') || []);
}

interface Result {
  readonly step: Step;
  readonly outcome: Outcome;
}

function askedOf({ retention }: StorePlan, macs: readonly Mac[]): readonly Decision[] {
  return retention.decisions.filter(({ mac }) => macs.length === 0 || macs.includes(mac));
}

function countOf(steps: readonly Step[], ...kinds: readonly StepKind[]): number {
  return steps.filter(({ kind }) => kinds.includes(kind)).length;
}

function printSteps({ out }: CommandContext, steps: readonly Step[], graceMs: number): void {
  const said = (count: number, one: string, many: string) => {
    if (count > 0) out.paragraph(count === 1 ? one : many, '  ');
  };
  const announced = countOf(steps, 'announce');
  const grace = formatSpan(graceMs);
  said(
    announced,
    `1 removal is to be announced; it is done after ${grace} at the earliest`,
    `${announced} removals are to be announced; they are done after ${grace} at the earliest`,
  );
  const waiting = steps.filter(({ kind }) => kind === 'wait').map(({ leftMs }) => leftMs);
  const first = formatSpan(Math.min(...waiting));
  said(
    waiting.length,
    `1 removal is announced: ${first} left`,
    `${waiting.length} removals are announced: ${first} left for the first`,
  );
  const due = countOf(steps, 'remove');
  said(due, '1 backup is removed now: its time is over', `${due} backups are removed now: their time is over`);
  const saved = countOf(steps, 'withdraw', 'revive');
  said(
    saved,
    '1 announcement is withdrawn: its backup stays',
    `${saved} announcements are withdrawn: their backups stay`,
  );
  const left = countOf(steps, 'finish');
  said(left, '1 removal that has begun is finished', `${left} removals that have begun are finished`);
}

/** The first one, or another one by the person's word; not what nobody understands, and not on the look at some boards. */
function setsPolicy({ policy }: StorePlan, { setPolicy, boards }: PruneCommandOptions): boolean {
  return boards.length === 0 && (policy.kind === 'none' || (policy.kind === 'other' && setPolicy));
}

function questionOf(work: readonly Step[], sets: boolean): string {
  const deeds = [...(sets ? ['make it the policy of the object store'] : []), ...deedsOf(work)];
  return `${capital(deeds.join(', and '))}?`;
}

function deedsOf(work: readonly Step[]): string[] {
  if (work.length === 0) return [];
  const [announced, due] = [countOf(work, 'announce'), countOf(work, 'remove')];
  const announcement = announced > 0 ? [`announce the removal of ${plural(announced, 'backup')}`] : [];
  const removal = due > 0 ? [`remove ${plural(due, 'backup')} of the object store for good`] : [];
  return announced + due > 0 ? [...announcement, ...removal] : ['clear what earlier removals have left'];
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);

function printResults({ out }: CommandContext, results: readonly Result[]): void {
  const done = (...kinds: StepKind[]) =>
    results.filter(({ outcome }) => 'done' in outcome && kinds.includes(outcome.done)).length;
  out.line(`${plural(done('announce'), 'removal')} announced, ${plural(done('remove', 'finish'), 'backup')} removed`);
  for (const { step, outcome } of results) {
    if (!('spared' in outcome)) continue;
    const why = outcome.spared.map(({ text }) => printable(text)).join('; ');
    out.behind(`  ${step.mac} ${step.id} `, `stays after all: ${why}`);
  }
}

function jsonOf(
  { retention, steps }: Pick<StorePlan, 'retention' | 'steps'>,
  dryRun: boolean,
  results: readonly Result[],
): object {
  const nameOf = ({ mac, id, folder }: Step) => ({ mac, id, folder });
  return {
    ...documentOf(retention, dryRun, { removed: [], spared: [] }),
    steps: steps.map((step) => ({ kind: step.kind, ...nameOf(step), leftSeconds: Math.ceil(step.leftMs / 1000) })),
    done: results.flatMap(({ step, outcome }) => ('done' in outcome ? [{ kind: outcome.done, ...nameOf(step) }] : [])),
    spared: results.flatMap(({ step, outcome }) =>
      'spared' in outcome ? [{ ...nameOf(step), reasons: outcome.spared }] : [],
    ),
  };
}
