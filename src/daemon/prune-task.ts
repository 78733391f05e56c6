/** What the service does when it is time to prune: by the policy of the config, and nothing without one. */

import { type RetentionPolicy, removesNothing } from '../archive/retention/policy.ts';
import type { ArchiveRetention } from '../archive/types.ts';
import type { Decision } from '../archive/retention/types.ts';
import type { EventBody } from './event-types.ts';

/** Reasons of which no more than this many are told in one line. */
const MAX_TOLD = 5;

/**
 * Each backup that is removed is told with its reason. Rejects as {@link ArchiveRetention.plan} and `remove`.
 * Backups of a board at which a job is at work stay until the next time.
 */
export async function pruneByPolicy(
  parts: {
    readonly retention: ArchiveRetention;
    readonly emit: (event: EventBody) => void;
    readonly signal: AbortSignal;
  },
  policy: RetentionPolicy,
): Promise<void> {
  const { retention, emit, signal } = parts;
  if (removesNothing(policy)) return;
  const plan = await retention.plan(policy, { signal });
  const count = plan.decisions.length;
  if (plan.blocked.length > 0) {
    const blocked = plan.blocked.slice(0, MAX_TOLD).map(({ text }) => text);
    emit({ type: 'pruned', removed: 0, sizeBytes: 0, left: count, blocked, overBudgetBytes: 0 });
    return;
  }
  const { removed, spared } = await retention.remove(plan, {
    signal,
    onRemoved: ({ mac, id, reasons, sizeOnDiskBytes: sizeBytes }) =>
      emit({ type: 'backup-removed', mac, id, sizeBytes, why: textOf(reasons) }),
  });
  for (const { mac, id, reasons } of spared) emit({ type: 'backup-spared', mac, id, why: textOf(reasons) });
  emit({
    ...{ type: 'pruned', removed: removed.length, left: count - removed.length, blocked: [] },
    sizeBytes: removed.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0),
    overBudgetBytes: plan.overBudgetBytes,
  });
}

function textOf(reasons: Decision['reasons']): string {
  return reasons.map(({ text }) => text).join('; ');
}
