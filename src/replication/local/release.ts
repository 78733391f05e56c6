/**
 * Local copies that need not stay go, each when the same was read back from the store: `archive.local`. It is read just before
 * and not after the upload, for that costs the same, and what counts is what lies there now.
 */

import { createHash } from 'node:crypto';
import type { Archive, Backup } from '../../archive/types.ts';
import type { LocalPolicy } from '../../archive/retention/local.ts';
import type { Decision, RetentionPlan } from '../../archive/retention/types.ts';
import type { Clock } from '../../clock.ts';
import { type EspdError, toEspdError } from '../../errors.ts';
import { paceTo } from '../../store/pace.ts';
import { openLocalBackup } from '../local-backup.ts';
import type { Readable } from '../open.ts';
import { homeOf } from '../layout.ts';
import { Refusals, isRefusal } from '../refusals.ts';
import { metered } from '../verify/metered.ts';
import { type StoredFinding, checkStored } from './check-stored.ts';

/** What was found while copies were read back. */
export type CopyDamage = StoredFinding & Pick<Decision, 'mac' | 'id'>;

export interface ReleaseParts {
  readonly archive: Archive;
  readonly bucket: Readable;
  /** Name of this station: it may have put them into its own folder. */
  readonly station: string;
  /** Bytes a second that may be read back; null: no bound. */
  readonly bandwidth: number | null;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Does one backup after the other, with what else is done in the store between them; default: at once. */
  readonly inTurn?: (work: () => Promise<void>) => Promise<void>;
  /** Before the first byte of it is read. */
  readonly onReading?: (decision: Decision) => void;
  readonly onReleased?: (decision: Decision) => void;
  readonly onDamage?: (damage: CopyDamage) => void;
}

export interface ReleaseReport {
  readonly released: readonly Decision[];
  /** Those that stay after all, with the reason. */
  readonly spared: readonly Decision[];
  /** What has ended it early, or the first that the store has refused to read back; undefined: each was judged. */
  readonly fault: unknown;
}

/** @returns as far as it came, with the `fault` that ended it: `store-...` where the store is the matter, `archive-unwritable`, the signal's reason */
export async function releaseByPlan(
  parts: ReleaseParts,
  plan: Pick<RetentionPlan, 'decisions'>,
): Promise<ReleaseReport> {
  const { archive, bucket, bandwidth, clock, signal, onReading, onReleased } = parts;
  const inTurn = parts.inTurn ?? ((work: () => Promise<void>) => work());
  const { store } = metered(bucket.store, paceTo(bandwidth, clock));
  const paced = { ...parts, bucket: { ...bucket, store } };
  const released: Decision[] = [];
  const spared: Decision[] = [];
  const refusals = new Refusals();
  let refusal: EspdError | undefined;
  const releaseOne = async (decision: Decision) => {
    signal.throwIfAborted();
    onReading?.(decision);
    const why = await whyNot(paced, decision).then(
      (reason) => {
        refusals.served();
        return reason;
      },
      (error: unknown) => {
        const fault: EspdError = toEspdError(error);
        if (signal.aborted || !refusals.isOfOne(fault)) throw error;
        if (isRefusal(fault) || fault.code === 'store-archived') refusal ??= fault;
        return fault.message;
      },
    );
    const isGone = why === undefined && (await archive.elsewhere.release(decision.mac, decision.id));
    if (isGone) {
      released.push(decision);
      onReleased?.(decision);
    } else {
      const text = why ?? 'it has just become one that is needed here';
      spared.push({ ...decision, stays: true, reasons: [{ code: 'not-stored', text }] });
    }
  };
  try {
    for (const decision of plan.decisions.filter(({ stays }) => !stays)) await inTurn(() => releaseOne(decision));
    return { released, spared, fault: refusal };
  } catch (fault) {
    return { released, spared, fault };
  }
}

/** What is not safe in the store, in words; undefined = it is, and is noted so, so that it is listed from now on as there. */
async function whyNot(parts: ReleaseParts, { mac, id }: Decision): Promise<string | undefined> {
  const { archive, bucket, station, clock, signal, onDamage } = parts;
  const backup = await archive.resolveBackup(mac, id);
  const layout = { prefix: bucket.layout.prefix, station };
  const answer = await checkStored({ ...bucket, layout }, backup, signal);
  if (!answer.isSafe) {
    for (const finding of answer.findings) onDamage?.({ ...finding, mac, id });
    return answer.why;
  }
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
  if (policy.kind === 'all') return { released: [], spared: [], fault: undefined };
  const plan = await parts.archive.retention.planLocal(policy, { signal: parts.signal });
  return releaseByPlan(parts, plan);
}
