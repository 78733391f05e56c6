/** A station: an archive in a temporary folder, and its way to a store. */

import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ArchiveOptions } from '../../src/archive/archive.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { type StoreConfig, storeSchema } from '../../src/config/store.ts';
import { silentLogger } from '../../src/log.ts';
import { type Fleet, openFleet } from '../../src/replication/open.ts';
import type { Mac } from '../../src/mac.ts';
import { IDLE_LIMIT_MS } from '../../src/store/http.ts';
import { Journal } from '../../src/replication/journal/journal.ts';
import type { News } from '../../src/replication/journal/news.ts';
import type { Written } from '../../src/replication/journal/writer.ts';
import { pushOne } from '../../src/replication/replicator.ts';
import { findUnpushed } from '../../src/replication/unpushed.ts';
import { MAC, T0, archiveAt, content, image, temporaryFolder } from '../archive/support.ts';

export const never = new AbortController().signal;

/** Sleeps take no time; a server still has its own to answer. */
export const hurriedClock: Clock = {
  ...systemClock,
  schedule: (delayMs, callback) => {
    if (delayMs === IDLE_LIMIT_MS) return systemClock.schedule(delayMs, callback);
    const timer = setImmediate(callback);
    return () => clearImmediate(timer);
  },
};

export interface Station {
  readonly folder: string;
  readonly archive: Archive;
  readonly fleet: Fleet;
  /** Another process of the same station, so to say. */
  again(): Fleet;
  keep(bytes: Buffer, options?: { createdAt?: string; mac?: Mac }): Promise<Backup>;
  readonly journal: Journal;
  /** Its own journal. */
  write(): Promise<Written | undefined>;
  /** At those of the others. */
  look(isThorough?: boolean): Promise<News>;
  /** Everything that waits. */
  pushAll(): Promise<void>;
}

export interface JournalOptions {
  readonly clock?: Clock;
  readonly version?: string;
  readonly freeBytes?: () => Promise<number>;
}

export interface StationOptions extends JournalOptions {
  readonly options?: Partial<ArchiveOptions>;
  /** Credentials; default: those of `writer`. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

const WRITER = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };

/** Of a replicator whose test is about pushing. */
export const unheard = {
  ...{ lookMs: 1e9, scanMs: null },
  onNews: () => undefined,
  onScanned: () => undefined,
  onTrouble: () => undefined,
};

export function journalAt(archive: Archive, fleet: Fleet, options: JournalOptions = {}): Journal {
  const defaults = { clock: hurriedClock, version: '0.0.0-test', freeBytes: () => Promise.resolve(1e12) };
  return new Journal({ ...defaults, ...options, archive, folder: fleet.state.folder, minFreeBytes: null });
}

export async function station(
  t: TestContext,
  endpoint: string,
  config: Partial<StoreConfig> = {},
  { clock = hurriedClock, options = {}, env = WRITER, ...heard }: StationOptions = {},
): Promise<Station> {
  const folder = await temporaryFolder(t);
  const archive = archiveAt(join(folder, 'archive'), options);
  const again = () => {
    const fleet = openFleet({
      config: { ...storeSchema.parse({ endpoint, bucket: 'boards', encryption: 'none' }), ...config },
      bandwidth: null,
      statePath: join(folder, 'state'),
      archive: archive.root,
      clock,
      log: silentLogger,
      env,
      random: Math.random,
    });
    t.after(() => fleet.close());
    return fleet;
  };
  const fleet = again();
  const journal = journalAt(archive, fleet, { clock, ...heard });
  return {
    ...{ folder, archive, fleet, again, journal },
    write: async () => journal.write(await fleet.open(never), never),
    look: async (isThorough = false) => journal.look(await fleet.open(never), { signal: never, isThorough }),
    async keep(bytes, { createdAt = T0, mac = MAC } = {}) {
      const facts = content(bytes, createdAt, mac);
      const draft = await archive.begin(mac, bytes.length);
      await draft.write(0, bytes);
      // Two stations are two hosts.
      return draft.commit({ ...facts, source: { ...facts.source, host: folder } });
    },
    async pushAll() {
      const bucket = await fleet.open(never);
      for (const each of (await findUnpushed(archive, fleet)).waiting)
        await pushOne(archive, fleet, bucket, each, never);
    },
  };
}

export { image };
