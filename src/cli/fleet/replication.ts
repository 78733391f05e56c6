/** The daemon's part of the object store: what it brings there, and what it hears of other stations, as events. */

import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Subject } from '../../doctor/subject.ts';
import { EspdError } from '../../errors.ts';
import { parseSize } from '../../config/size.ts';
import { lookMsOf } from '../../config/store.ts';
import type { EventBus } from '../../daemon/events.ts';
import { BlockLibrary } from '../../replication/blocks/block-library.ts';
import { type Fleet, judge, openFleet } from '../../replication/open.ts';
import { overdueOf } from '../../replication/journal/freshness.ts';
import { Journal } from '../../replication/journal/journal.ts';
import type { News } from '../../replication/journal/news.ts';
import { Replicator } from '../../replication/replicator.ts';
import { VERSION } from '../../version.ts';
import type { CommandContext } from '../context.ts';

/** Of more boards than that an event names the first ones; whoever shows boards reads all of them then. */
const MAX_NAMED = 100;

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

export function journalOf(context: CommandContext, fleet: Fleet): Journal {
  const { config, archive, clock } = context;
  const { minFreeBytes } = config.archive;
  return new Journal({
    ...{ archive, clock, folder: fleet.state.folder, version: VERSION },
    library: libraryOf(context, fleet),
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(archive.root);
      return bavail * bsize;
    },
    minFreeBytes: minFreeBytes === null ? null : parseSize(minFreeBytes),
  });
}

/** Derived of what the archive knows of the store, in the folder of the state of that store. */
export function libraryOf({ log }: CommandContext, fleet: Fleet): BlockLibrary {
  return new BlockLibrary(join(fleet.state.folder, 'blocks'), log);
}

/** For the doctor; null where the config names no store. */
export function storeCheckOf(context: CommandContext, env: NodeJS.ProcessEnv): Subject['checkStore'] {
  if (context.config.store === null) return null;
  return async (signal) => {
    const fleet = fleetOf(context, env);
    try {
      const unheard = overdueOf(await journalOf(context, fleet).freshness(), context.clock.date());
      return { place: fleet.place, ...judge(await fleet.examine(signal)), unheard };
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
  const { archive, clock, config } = context;
  if (config.store === null) return undefined;
  const fleet = fleetOf(context, env);
  const journal = journalOf(context, fleet);
  const replicator = new Replicator({
    ...{ archive, clock, fleet, journal, random: Math.random, lookMs: lookMsOf(config.store) },
    onPushed: ({ mac, id }, { sentBytes }, waiting) =>
      events.emit({ type: 'backup-pushed', mac, id, sentBytes, waiting }),
    onFailed: (backup, error, waiting) =>
      events.emit({
        ...{ type: 'push-failed', mac: backup?.mac ?? null, id: backup?.id ?? null },
        ...{ error: error.toJSON(), waiting },
      }),
    onNews: (news) => {
      events.emit({ type: 'stations-heard', ...countsOf(news) });
      void tellNames(archive, events, news);
    },
    onTrouble: ({ station, code, message, segments }) =>
      events.emit({ type: 'journal-unread', station, error: { code, message, hint: UNREAD_HINT }, segments }),
  });
  events.subscribe((event) => {
    if (event.type === 'backup-kept') replicator.add({ mac: event.mac, id: event.id });
  });
  return replicator;
}

const UNREAD_HINT = 'It is asked for again now and then. What it told of backups is found by: espd pull --scan';

function countsOf({ stations, macs, backups, removed, marks }: News) {
  return { stations, boards: macs.length, macs: macs.slice(0, MAX_NAMED), backups, removed, marks };
}

/** Who knows boards by their labels hears of them as if they had been given here. */
async function tellNames({ marks }: CommandContext['archive'], events: EventBus, { described }: News): Promise<void> {
  for (const mac of described.slice(0, MAX_NAMED)) {
    const about = await marks.about(mac).catch(() => undefined);
    if (about !== undefined) events.emit({ type: 'board-described', mac, ...about });
  }
}
