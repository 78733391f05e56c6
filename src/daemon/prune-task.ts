/** What the service does when it is time to prune: by the policy of the config, and nothing without one. */

import { type RetentionPolicy, removesNothing } from '../archive/retention/policy.ts';
import type { ArchiveRetention } from '../archive/types.ts';
import type { Logger } from '../log.ts';

/** Reasons of which no more than this many are told in one line. */
const MAX_TOLD = 5;

/**
 * Each backup that is removed is logged with its reason. Rejects as {@link ArchiveRetention.plan} and `remove`.
 * Backups of a board at which a job is at work stay until the next time.
 */
export async function pruneByPolicy(
  parts: { readonly retention: ArchiveRetention; readonly log: Logger; readonly signal: AbortSignal },
  policy: RetentionPolicy,
): Promise<void> {
  const { retention, log, signal } = parts;
  if (removesNothing(policy)) return;
  const plan = await retention.plan(policy, { signal });
  if (plan.blocked.length > 0) {
    const reasons = plan.blocked.slice(0, MAX_TOLD).map(({ text }) => text);
    log.warn('Nothing is pruned now', { reasons });
    return;
  }
  const { removed, spared } = await retention.remove(plan, {
    signal,
    onRemoved: ({ mac, id, reasons, sizeOnDiskBytes }) =>
      log.info('Backup removed', { mac, id, bytes: sizeOnDiskBytes, why: reasons.map(({ text }) => text).join('; ') }),
  });
  for (const { mac, id, reasons } of spared) {
    log.info('Backup not removed after all', { mac, id, why: reasons.map(({ text }) => text).join('; ') });
  }
  if (plan.overBudgetBytes > 0) {
    log.warn('The archive is larger than retention.maxBytes, and all that is left is kept by a rule or never removed', {
      bytes: plan.overBudgetBytes,
    });
  }
  const bytes = removed.reduce((sum, { sizeOnDiskBytes }) => sum + sizeOnDiskBytes, 0);
  log.info('Archive pruned', { removed: removed.length, bytes, left: plan.decisions.length - removed.length });
}
