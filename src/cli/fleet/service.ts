/**
 * The daemon's part of the object store, over one connection: what it brings there, what it hears of other stations, what
 * backups take from them, and what is removed because of it. Loaded where the config names a store.
 */

import { lookMsOf, scanMsOf } from '../../config/store.ts';
import type { StoreConfig } from '../../config/store.ts';
import type { EventBus } from '../../daemon/events.ts';
import { type Freshness, wayOutOf } from '../../replication/journal/freshness.ts';
import type { News } from '../../replication/journal/news.ts';
import { type Scan, scanFault } from '../../replication/journal/scan.ts';
import type { Fleet } from '../../replication/open.ts';
import { fillLibrary } from '../../replication/other-stations.ts';
import { Replicator } from '../../replication/replicator.ts';
import type { OtherStations } from '../../transfer/elsewhere.ts';
import type { CommandContext } from '../context.ts';
import { journalOf } from './open.ts';
import { stationsOf } from './stations.ts';
import { scrubStore } from './store-scrub.ts';
import { type StoreUpkeep, makeStoreUpkeep } from './store-upkeep.ts';

/** Of more boards than that an event names the first ones; whoever shows boards reads all of them then. */
const MAX_NAMED = 100;

export interface StoreService {
  readonly stations: OtherStations;
  /** Undefined where nothing is to be removed because of the store. */
  readonly upkeep: StoreUpkeep | undefined;
  /** Reads back so much of what lies there (`5%`). Rejects as that does. */
  scrub(part: string): Promise<void>;
  status(): Freshness & { readonly waiting: number };
  /** Never waits. */
  start(): void;
  /** Ends what is under way; it goes on at the next start. Never rejects. */
  stop(): Promise<void>;
}

/** Nothing is asked of the store before {@link StoreService.start}. */
export function openStoreService(
  context: CommandContext,
  store: StoreConfig,
  events: EventBus,
  env: NodeJS.ProcessEnv,
): StoreService {
  const { archive, log, signal } = context;
  const { fleet, library, stations } = stationsOf(context, env);
  const replicator = makeReplicator(context, store, events, fleet);
  const upkeep = makeStoreUpkeep(context, events, fleet);
  let filled: Promise<void> | undefined;
  return {
    stations,
    upkeep,
    scrub: (part) => scrubStore(context, events, fleet, part),
    status: () => ({ waiting: replicator.waiting, ...replicator.freshness }),
    start() {
      replicator.start();
      filled = fillLibrary(library, archive, { log, signal }).catch(() => undefined);
    },
    async stop() {
      await Promise.allSettled([replicator.stop(), upkeep?.stop(), filled]);
      fleet.close();
    },
  };
}

function makeReplicator(context: CommandContext, store: StoreConfig, events: EventBus, fleet: Fleet): Replicator {
  const { archive, clock } = context;
  const journal = journalOf(context, fleet);
  const replicator = new Replicator({
    ...{ archive, clock, fleet, journal, random: Math.random, lookMs: lookMsOf(store), scanMs: scanMsOf(store) },
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
    onScanned: (scan) => {
      events.emit({ type: 'store-compared', ...comparisonOf(scan) });
    },
    onTrouble: (trouble) => {
      const { station, code, message, segments } = trouble;
      const error = { code, message, hint: wayOutOf(trouble) ?? 'It is asked for again now and then' };
      events.emit({ type: 'journal-unread', station, error, segments });
    },
  });
  events.subscribe((event) => {
    if (event.type === 'backup-kept') replicator.add({ mac: event.mac, id: event.id });
  });
  return replicator;
}

function comparisonOf(scan: Scan) {
  const { backups, lost, unreadable, mended } = scan;
  const macs = [...new Set(lost.map(({ mac }) => mac))].slice(0, MAX_NAMED);
  const again = lost.filter(({ isOwn }) => isOwn).length;
  const counts = { backups, missing: lost.length, again, unreadable: unreadable.length, mended };
  return { ...counts, macs, error: scanFault(scan)?.toJSON() ?? null };
}

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
