/** Local copies that need not stay go, each when the store has said that it has the same: `archive.local`. */

import { createHash } from 'node:crypto';
import type { Archive, Backup } from '../../archive/types.ts';
import type { LocalPolicy } from '../../archive/retention/local.ts';
import type { Decision, RetentionPlan } from '../../archive/retention/types.ts';
import type { Clock } from '../../clock.ts';
import { type EspdError, toEspdError } from '../../errors.ts';
import { openLocalBackup } from '../local-backup.ts';
import type { Readable } from '../open.ts';
import { homeOf } from '../layout.ts';
import { isOfOneBackup } from '../replicator.ts';
import { checkStored } from './check-stored.ts';

export interface ReleaseParts {
  readonly archive: Archive;
  readonly bucket: Readable;
  /** Name of this station: it may have put them into its own folder. */
  readonly station: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onReleased?: (decision: Decision) => void;
}

export interface ReleaseReport {
  readonly released: readonly Decision[];
  /** Those that stay after all, with the reason. */
  readonly spared: readonly Decision[];
}

/** @throws EspdError `store-...` where the store is the matter; `archive-unwritable`; the signal's reason */
export async function releaseByPlan(
  parts: ReleaseParts,
  plan: Pick<RetentionPlan, 'decisions'>,
): Promise<ReleaseReport> {
  const { archive, signal, onReleased } = parts;
  const released: Decision[] = [];
  const spared: Decision[] = [];
  for (const decision of plan.decisions.filter(({ stays }) => !stays)) {
    signal.throwIfAborted();
    const why = await whyNot(parts, decision).catch((error: unknown) => {
      const fault: EspdError = toEspdError(error);
      if (signal.aborted || !isOfOneBackup(fault)) throw error;
      return fault.message;
    });
    const isGone = why === undefined && (await archive.elsewhere.release(decision.mac, decision.id));
    if (isGone) {
      released.push(decision);
      onReleased?.(decision);
    } else {
      const text = why ?? 'it has just become one that is needed here';
      spared.push({ ...decision, stays: true, reasons: [{ code: 'not-stored', text }] });
    }
  }
  return { released, spared };
}

/** What is not safe in the store, in words; undefined = it is, and is noted so, so that it is listed from now on as there. */
async function whyNot({ archive, bucket, station, clock, signal }: ReleaseParts, { mac, id }: Decision) {
  const backup = await archive.resolveBackup(mac, id);
  const layout = { prefix: bucket.layout.prefix, station };
  const answer = await checkStored({ ...bucket, layout }, backup, signal);
  if (!answer.isSafe) return answer.why;
  const { folder } = answer;
  const noted = await archive.elsewhere.of(mac);
  if (!noted.some((each) => each.id === id && each.folder === folder && each.store === bucket.id)) {
    await archive.elsewhere.note({
      ...{ mac, id, folder, store: bucket.id, manifest: backup.manifest },
      station: homeOf({ mac, id, folder }) || station,
      manifestSha256: await manifestSha256Of(backup),
      at: clock.date().toISOString(),
    });
  }
  return undefined;
}

async function manifestSha256Of(backup: Backup): Promise<string> {
  const local = await openLocalBackup(backup);
  try {
    return createHash('sha256').update(local.manifest).digest('hex');
  } finally {
    await local.close();
  }
}

/** What `archive.local` lets go, and all that could be. */
export async function releaseLocal(parts: ReleaseParts, policy: LocalPolicy): Promise<ReleaseReport> {
  if (policy.kind === 'all') return { released: [], spared: [] };
  const plan = await parts.archive.retention.planLocal(policy, { signal: parts.signal });
  return releaseByPlan(parts, plan);
}
