/** `espd prune --local`: local copies that need not stay, each removed when the same was read back from the object store. */

import type { Decision } from '../../archive/retention/types.ts';
import { parseLocal } from '../../config/local.ts';
import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { type CopyDamage, type ReleaseReport, releaseByPlan } from '../../replication/local/release.ts';
import { consentOf, consentRefusal } from '../consent.ts';
import type { CommandContext } from '../context.ts';
import { endedBy } from '../ended-by.ts';
import type { PruneCommandOptions } from '../prune-options.ts';
import { documentOf, printPlan, reasonsOf, summaryOf } from '../retention-text.ts';
import { formatSize, plural } from '../text.ts';
import { bandwidthOf, fleetOf } from './open.ts';

const DEED = { infinitive: 'remove local copies', participle: 'removed' };
const NOTHING: ReleaseReport = { released: [], spared: [], fault: undefined };

export async function pruneLocal(
  context: CommandContext,
  options: PruneCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  const { archive, config, out, signal, clock } = context;
  const fleet = fleetOf(context, env);
  try {
    await archive.checkReadable();
    const macs: Mac[] = [];
    for (const board of options.boards) macs.push(await archive.resolveBoard(board));
    const policy = parseLocal(config.archive.local) ?? { kind: 'all' };
    if (policy.kind === 'all') {
      out.line('archive.local is "all", so every local copy stays');
      out.note('Set archive.local in the config, such as: newest 5');
      out.document({ policy: 'all', dryRun: false, backups: [], removed: [], spared: [] });
      return undefined;
    }
    const only = macs.length === 0 ? {} : { only: new Set(macs) };
    const plan = await archive.retention.planLocal(policy, { ...only, signal });
    const asked = plan.decisions.filter(({ mac }) => macs.length === 0 || macs.includes(mac));
    const shown = { ...plan, decisions: asked };
    const going = asked.filter(({ stays }) => !stays);
    printPlan(context, shown, { all: options.all, maxBytes: null });
    const json = (report: ReleaseReport, dryRun: boolean): object => ({
      policy: config.archive.local,
      ...documentOf(shown, dryRun, { removed: report.released, spared: report.spared }),
    });
    if (going.length > 0) {
      const bytes = formatSize(going.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0));
      out.note(`Each is read back from the object store just before, ${bytes} in all; what is not whole there, stays`);
    }
    if (options.dryRun || going.length === 0) {
      if (options.dryRun && going.length > 0) out.note('Nothing was removed: this was a dry run');
      out.document(json(NOTHING, options.dryRun));
      return undefined;
    }
    const refusal = consentRefusal(out, options, DEED);
    if (refusal !== null) {
      out.document({ ...json(NOTHING, false), error: refusal });
      return refusal;
    }
    const consent = consentOf(out, options, DEED);
    const question = `Remove the local copies of ${plural(going.length, 'backup')} that the object store has whole?`;
    if (!(await consent(question, [summaryOf(shown)]))) {
      throw new EspdError('declined', 'Nothing was removed', { hint: 'Answer yes, or pass --yes in a script' });
    }
    const bucket = await fleet.openToRead();
    const station = await fleet.state.station();
    let count = 0;
    const damages: CopyDamage[] = [];
    const releasing = releaseByPlan(
      {
        ...{ archive, bucket, station, clock, signal, bandwidth: bandwidthOf(config) },
        onReading: () => out.status(`Reading back: ${(count += 1)} of ${copies(going.length)}`),
        onReleased: ({ mac, id, sizeOnDiskBytes: sizeBytes }: Decision) =>
          context.onMark({ type: 'backup-released', mac, id, sizeBytes }),
        onDamage: (damage) => damages.push(damage),
      },
      { decisions: going },
    );
    const report = await releasing.finally(() => out.status(''));
    const freed = report.released.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
    out.line(`${copies(report.released.length)} removed, ${formatSize(freed)} freed`);
    for (const spared of report.spared) {
      out.behind(`  ${spared.mac} ${spared.id} `, `stays here: ${reasonsOf(spared)}`);
    }
    const ended = report.fault === undefined ? undefined : endedBy(signal, report.fault);
    const error = signal.aborted ? ended : (verdictOf(damages) ?? ended);
    out.document({ ...json(report, false), ...(error === undefined ? {} : { error }) });
    return error;
  } finally {
    fleet.close();
  }
}

/** What is not in the store yet is no fault; what has rotted there is one, of which somebody must know. */
function verdictOf(damages: readonly CopyDamage[]): EspdError | undefined {
  const count = new Set(damages.map(({ folder }) => folder)).size;
  if (count === 0) return undefined;
  return new EspdError(
    'store-damaged',
    `${plural(count, 'backup')} in the object store ${count === 1 ? 'is' : 'are'} damaged`,
    {
      hint: 'The copies here were not removed. "espd verify --store --repair" puts them in the place of what is damaged there',
    },
  );
}

function copies(count: number): string {
  return count === 1 ? '1 local copy' : `${count} local copies`;
}
