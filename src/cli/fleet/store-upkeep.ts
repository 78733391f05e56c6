/**
 * What the daemon does because of the object store beside pushing and hearing: it removes local copies that are safe there,
 * and what is not kept there, and holds what is pinned.
 */

import type { RetentionPolicy } from '../../archive/retention/policy.ts';
import { removesNothing } from '../../archive/retention/policy.ts';
import { parseLocal } from '../../config/local.ts';
import { retentionPolicy } from '../../config/retention.ts';
import type { EventBus } from '../../daemon/events.ts';
import { hasCode, toEspdError } from '../../errors.ts';
import { releaseLocal } from '../../replication/local/release.ts';
import type { Fleet } from '../../replication/open.ts';
import type { Step, StepKind } from '../../replication/removal/steps.ts';
import type { Outcome } from '../../replication/removal/store-pruner.ts';
import type { CommandContext } from '../context.ts';
import { bandwidthOf } from './open.ts';
import { makePinLocks } from './pin-locks.ts';
import { openStorePruner } from './store-pruner.ts';
import { damageTeller } from './store-scrub.ts';

/** Backups come into the store one after the other: local copies go when it was quiet for so long. */
const QUIET_MS = 60_000;
/** Reasons of which no more than this many are told in one line. */
const MAX_TOLD = 5;

export interface StoreUpkeep {
  /** By the clock. Rejects as what it does, the store being the matter too. */
  run(): Promise<void>;
  /** Waits for what is under way, which the signal of the context ends. Never rejects. */
  stop(): Promise<void>;
}

/** Undefined where there is nothing of that. */
export function makeStoreUpkeep(context: CommandContext, events: EventBus, fleet: Fleet): StoreUpkeep | undefined {
  const { config } = context;
  const local = parseLocal(config.archive.local) ?? { kind: 'all' };
  const section = config.store?.retention ?? null;
  const policy = section === null ? null : retentionPolicy(section);
  const prunes = policy !== null && !removesNothing(policy);
  const locks = config.store?.lock === 'pins';
  if (local.kind === 'all' && !prunes && !locks) return undefined;
  const { archive, clock, log, signal } = context;

  // One after the other: what is released is not removed from the bucket in the same moment.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = last.then(work);
    last = done.catch(() => undefined);
    return done;
  };

  // To read thousands of backups back takes hours: pins are held meanwhile, between two of them.
  let releasing: Promise<void> | undefined;
  const release = (): Promise<void> => {
    releasing ??= releaseCopies(context, events, fleet, inTurn).finally(() => (releasing = undefined));
    return releasing;
  };

  /** It is told once, not every night. */
  let refused: string | null = null;
  const pinLocks = locks ? makePinLocks(context, events, fleet, inTurn) : undefined;
  let cancel: (() => void) | undefined;
  if (local.kind !== 'all') {
    events.subscribe((event) => {
      if (event.type !== 'backup-pushed' || event.waiting > 0 || signal.aborted) return;
      cancel?.();
      cancel = clock.schedule(QUIET_MS, () => {
        cancel = undefined;
        release().catch((error: unknown) => {
          // By the clock it is tried again, and told of.
          const { code, message } = toEspdError(error);
          if (!signal.aborted) log.debug('Local copies stay for now', { code, reason: message });
        });
      });
    });
  }
  return {
    async run() {
      await archive.checkReadable();
      // What goes from the bucket is announced by now, and stays here.
      const pruning = inTurn(async () => {
        // Before anything goes.
        await pinLocks?.run();
        if (policy !== null && prunes) refused = await pruneBucket(context, events, fleet, policy, refused);
      });
      await pruning.catch(() => undefined);
      await release();
      await pruning;
    },
    stop: async () => {
      cancel?.();
      pinLocks?.stop();
      await releasing?.catch(() => undefined);
      await last;
    },
  };
}

async function releaseCopies(
  { archive, clock, config, signal }: CommandContext,
  events: EventBus,
  fleet: Fleet,
  inTurn: (work: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const policy = parseLocal(config.archive.local) ?? { kind: 'all' };
  if (policy.kind === 'all') return;
  const bucket = await fleet.openToRead();
  const station = await fleet.state.station();
  const parts = { archive, bucket, station, clock, signal, inTurn, bandwidth: bandwidthOf(config) };
  const { fault } = await releaseLocal(
    {
      ...parts,
      onReleased: ({ mac, id, sizeOnDiskBytes: sizeBytes }) =>
        events.emit({ type: 'backup-released', mac, id, sizeBytes }),
      onDamage: damageTeller(events),
    },
    policy,
  );
  // By now all others had their turn.
  if (fault !== undefined) throw fault as Error;
}

/**
 * @param refused with what the last run was refused
 * @returns with what this one was: the bucket has another policy, and only a person sets one
 */
async function pruneBucket(
  context: CommandContext,
  events: EventBus,
  fleet: Fleet,
  policy: RetentionPolicy,
  refused: string | null,
): Promise<string | null> {
  const { log, signal } = context;
  const counts = new Map<StepKind, number>();
  const onStep = ({ mac, id, folder, reasons }: Step, outcome: Outcome) => {
    if ('spared' in outcome) {
      events.emit({ type: 'backup-spared', mac, id, why: textOf(outcome.spared) });
      return;
    }
    counts.set(outcome.done, (counts.get(outcome.done) ?? 0) + 1);
    if (outcome.done === 'remove' || outcome.done === 'finish') {
      events.emit({ type: 'store-removed', mac, id, folder, why: textOf(reasons) || 'its removal had begun' });
    }
  };
  try {
    const pruner = await openStorePruner(context, fleet);
    const { retention } = await pruner.carryOut(policy, { shown: null, replaces: null, signal, onStep });
    const countOf = (...kinds: readonly StepKind[]) => kinds.reduce((sum, kind) => sum + (counts.get(kind) ?? 0), 0);
    events.emit({
      ...{ type: 'store-pruned', announced: countOf('announce'), removed: countOf('remove', 'finish') },
      withdrawn: countOf('withdraw', 'revive'),
      blocked: retention.blocked.slice(0, MAX_TOLD).map(({ text }) => text),
      error: null,
    });
    return null;
  } catch (error) {
    if (hasCode(error, 'store-policy')) {
      const nothing = { announced: 0, removed: 0, withdrawn: 0, blocked: [error.message] };
      if (error.message !== refused) events.emit({ type: 'store-pruned', ...nothing, error: error.toJSON() });
      return error.message;
    }
    // All stations may begin at the same minute: one of them does it for all.
    if (!hasCode(error, 'store-held')) throw error;
    log.info(error.message, { hint: error.hint });
    return refused;
  }
}

function textOf(reasons: readonly { readonly text: string }[]): string {
  return reasons.map(({ text }) => text).join('; ');
}
