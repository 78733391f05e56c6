/** The daemon's part of the object store: what it brings there, as events. */

import type { Subject } from '../../doctor/subject.ts';
import { EspdError } from '../../errors.ts';
import { parseSize } from '../../config/size.ts';
import type { EventBus } from '../../daemon/events.ts';
import { type Fleet, judge, openFleet } from '../../replication/open.ts';
import { Replicator } from '../../replication/replicator.ts';
import type { CommandContext } from '../context.ts';

/** @throws EspdError `store-off` where the config names no store */
export function fleetOf({ config, archive, clock, log }: CommandContext, env: NodeJS.ProcessEnv): Fleet {
  const { store } = config;
  if (store === null) {
    throw new EspdError('store-off', 'The config names no object store', {
      hint: 'Add the section store: config.example.yaml has it, docs/fleet.md tells of it',
    });
  }
  return openFleet({
    ...{ config: store, clock, log, env, random: Math.random },
    bandwidth: store.bandwidth === null ? null : parseSize(store.bandwidth),
    statePath: config.archive.statePath,
    archive: archive.root,
  });
}

/** For the doctor; null where the config names no store. */
export function storeCheckOf(context: CommandContext, env: NodeJS.ProcessEnv): Subject['checkStore'] {
  if (context.config.store === null) return null;
  return async (signal) => {
    const fleet = fleetOf(context, env);
    try {
      return { place: fleet.place, ...judge(await fleet.examine(signal)) };
    } finally {
      fleet.close();
    }
  };
}

/** Undefined where the config names no store. Not started yet. */
export function makeReplicator(
  context: CommandContext,
  events: EventBus,
  { env }: { readonly env: NodeJS.ProcessEnv },
): Replicator | undefined {
  if (context.config.store === null) return undefined;
  const { archive, clock } = context;
  const replicator = new Replicator({
    ...{ archive, clock, random: Math.random, fleet: fleetOf(context, env) },
    onPushed: ({ mac, id }, { sentBytes }, waiting) =>
      events.emit({ type: 'backup-pushed', mac, id, sentBytes, waiting }),
    onFailed: (backup, error, waiting) =>
      events.emit({
        ...{ type: 'push-failed', mac: backup?.mac ?? null, id: backup?.id ?? null },
        ...{ error: error.toJSON(), waiting },
      }),
  });
  events.subscribe((event) => {
    if (event.type === 'backup-kept') replicator.add({ mac: event.mac, id: event.id });
  });
  return replicator;
}
