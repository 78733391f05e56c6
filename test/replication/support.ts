/** A station: an archive in a temporary folder, and its way to a store. */

import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { ArchiveOptions } from '../../src/archive/archive.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { type StoreConfig, storeSchema } from '../../src/config/store.ts';
import { silentLogger } from '../../src/log.ts';
import { type Fleet, openFleet } from '../../src/replication/open.ts';
import { IDLE_LIMIT_MS } from '../../src/store/http.ts';
import { findWaiting, pushOne } from '../../src/replication/replicator.ts';
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
  keep(bytes: Buffer, options?: { createdAt?: string }): Promise<Backup>;
  /** Everything that waits. */
  pushAll(): Promise<void>;
}

export async function station(
  t: TestContext,
  endpoint: string,
  config: Partial<StoreConfig> = {},
  { clock = hurriedClock, options = {} }: { clock?: Clock; options?: Partial<ArchiveOptions> } = {},
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
      env: { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' },
      random: Math.random,
    });
    t.after(() => fleet.close());
    return fleet;
  };
  const fleet = again();
  return {
    ...{ folder, archive, fleet, again },
    async keep(bytes, { createdAt = T0 } = {}) {
      const facts = content(bytes, createdAt);
      const draft = await archive.begin(MAC, bytes.length);
      await draft.write(0, bytes);
      // Two stations are two hosts.
      return draft.commit({ ...facts, source: { ...facts.source, host: folder } });
    },
    async pushAll() {
      const bucket = await fleet.open(never);
      for (const each of await findWaiting(archive, fleet)) await pushOne(archive, fleet, bucket, each, never);
    },
  };
}

export { image };
