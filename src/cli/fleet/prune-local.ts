/** `espd prune --local`: local copies that need not stay, each removed when the object store has said that it has the same. */

import type { Decision } from '../../archive/retention/types.ts';
import { parseLocal } from '../../config/local.ts';
import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { type ReleaseReport, releaseByPlan } from '../../replication/local/release.ts';
import { consentOf, consentRefusal } from '../consent.ts';
import type { CommandContext } from '../context.ts';
import type { PruneCommandOptions } from '../prune-options.ts';
import { documentOf, printPlan, reasonsOf, summaryOf } from '../retention-text.ts';
import { formatSize, plural } from '../text.ts';
import { fleetOf } from './open.ts';

const DEED = { infinitive: 'remove local copies', participle: 'removed' };
const NOTHING: ReleaseReport = { released: [], spared: [] };

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
    const json = (report: ReleaseReport, dryRun: boolean) => ({
      policy: config.archive.local,
      ...documentOf(shown, dryRun, { removed: report.released, spared: report.spared }),
    });
    if (going.length > 0) out.note('The object store is asked for each just before; what it does not have, stays');
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
    const question = `Remove the local copies of ${plural(going.length, 'backup')}, if the object store has them?`;
    if (!(await consent(question, [summaryOf(shown)]))) {
      throw new EspdError('declined', 'Nothing was removed', { hint: 'Answer yes, or pass --yes in a script' });
    }
    const bucket = await fleet.openToRead();
    const station = await fleet.state.station();
    let count = 0;
    const onReleased = ({ mac, id, sizeOnDiskBytes: sizeBytes }: Decision) => {
      out.status(`Removing: ${(count += 1)} of ${copies(going.length)}`);
      context.onMark({ type: 'backup-released', mac, id, sizeBytes });
    };
    const releasing = releaseByPlan({ archive, bucket, station, clock, signal, onReleased }, { decisions: going });
    const report = await releasing.finally(() => out.status(''));
    const freed = report.released.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
    out.line(`${copies(report.released.length)} removed, ${formatSize(freed)} freed`);
    for (const spared of report.spared) {
      out.behind(`  ${spared.mac} ${spared.id} `, `stays here: ${reasonsOf(spared)}`);
    }
    out.document(json(report, false));
    return undefined;
  } finally {
    fleet.close();
  }
}

function copies(count: number): string {
  return count === 1 ? '1 local copy' : `${count} local copies`;
}
