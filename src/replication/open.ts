/** From the section `store` of the config to a bucket that was probed: the one way to it. */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { REPLICATION } from '../archive/cache.ts';
import type { Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { StoreConfig } from '../config/store.ts';
import type { Logger } from '../log.ts';
import { paceTo } from '../store/pace.ts';
import { type StoreFacts, probeStore, troublesOf } from '../store/probe.ts';
import { withRetries } from '../store/retry.ts';
import { openS3 } from '../store/s3.ts';
import type { ObjectStore } from '../store/types.ts';
import { SignedHttp } from '../store/signed-http.ts';
import { readKeys } from './keys.ts';
import { type Layout, PROBES } from './layout.ts';
import { whyNoLocks } from './pin-locks.ts';
import type { Bucket } from './push-backup.ts';
import { type KeptFacts, ReplicationState, stateName } from './state.ts';

export interface FleetParts {
  readonly config: StoreConfig;
  /** As a number of bytes a second; null = no bound. */
  readonly bandwidth: number | null;
  readonly statePath: string;
  /** Root of the archive: another archive has its own state. */
  readonly archive: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly env: NodeJS.ProcessEnv;
  readonly random: () => number;
}

/** A bucket to read from. */
export type Readable = Pick<Bucket, 'id' | 'store' | 'keys'> & { readonly layout: Pick<Layout, 'prefix'> };

/** A bucket to push into and to read from. */
export type OpenedFleet = Bucket & { readonly facts: KeptFacts };

export interface Fleet {
  /** For messages. */
  readonly place: string;
  /** 16 hex digits that name endpoint, bucket and prefix. */
  readonly id: string;
  readonly state: ReplicationState;
  /** Reads the keys, and probes the store where that was not done before. @throws EspdError `store-...` */
  open(signal: AbortSignal): Promise<OpenedFleet>;
  /** The same to read only: writes nothing there, so it needs no right to. @throws EspdError `store-key` */
  openToRead(): Promise<Readable>;
  /** Probes it in any case, and keeps the answer. */
  probe(signal: AbortSignal): Promise<KeptFacts>;
  /** As {@link probe}, but nothing is kept: whoever asks may not be the one who pushes. */
  examine(signal: AbortSignal): Promise<StoreFacts>;
  /** Why this station can hold nothing there, a sentence fragment; null: it can. */
  examineLocks(signal: AbortSignal): Promise<string | null>;
  close(): void;
}

export function openFleet({ config, bandwidth, statePath, archive, clock, log, env, random }: FleetParts): Fleet {
  const { endpoint, bucket, region, addressing, credentials, encryption } = config;
  const prefix = config.prefix === '' ? '' : `${config.prefix.replace(/\/+$/, '')}/`;
  const http = new SignedHttp(
    { endpoint, bucket, region, addressing, credentials },
    { clock, log, env, pace: paceTo(bandwidth, clock) },
  );
  const store = withRetries(openS3(http), { clock, random });
  const id = stateName(endpoint, bucket, prefix);
  const state = new ReplicationState(join(statePath, REPLICATION), stateName(endpoint, bucket, prefix, archive));

  const probe = async (signal: AbortSignal): Promise<KeptFacts> => {
    const station = await state.station();
    const found = await probeStore(store, `${prefix}${PROBES}${station}/`, { signal });
    const facts = { ...found, at: clock.date().toISOString() };
    await state.keepFacts(facts);
    const { troubles, instead } = judge(facts);
    if (troubles.length > 0) {
      const fields = { store: http.place, troubles, instead: instead ?? undefined };
      log.warn('The object store does not do all that it should', fields);
    }
    return facts;
  };

  const openToRead = async (): Promise<Readable> => ({
    id,
    store,
    keys: encryption === 'none' ? [] : await readKeys(encryption, env),
    layout: { prefix },
  });

  return {
    place: http.place,
    id,
    state,
    probe,
    async open(signal) {
      const { layout, ...read } = await openToRead();
      const facts = (await state.facts()) ?? (await probe(signal));
      const station = await state.station();
      return {
        ...read,
        ...{ layout: { ...layout, station }, state, key: read.keys[0] ?? null },
        ...{ facts, hasConditions: facts.conditions === 'honoured' },
        store: facts.versions === true ? store : untilVersions(store, () => state.forgetFacts()),
      };
    },
    openToRead,
    async examine(signal) {
      if (encryption !== 'none') await readKeys(encryption, env);
      return probeStore(store, `${prefix}${PROBES}doctor-${randomBytes(6).toString('hex')}/`, { signal });
    },
    async examineLocks(signal) {
      const key = `${prefix}${PROBES}doctor-${randomBytes(6).toString('hex')}/held`;
      return (await whyNoLocks({ store }, key, signal)) ?? null;
    },
    close: () => http.close(),
  };
}

/**
 * radosgw 16 honours conditions of writes, until its bucket keeps versions: then it accepts and ignores them. So whoever finds
 * that versions were turned on since the test writes nothing more by what that has found. What was in the place of the one
 * object that told of it is still there, as a version.
 */
function untilVersions(store: ObjectStore, forgetFacts: () => Promise<void>): ObjectStore {
  return {
    ...store,
    async put(key, bytes, options) {
      const done = await store.put(key, bytes, options);
      if (done?.isVersion !== true) return done;
      await forgetFacts();
      throw new EspdError(
        'store-busy',
        `The bucket (${store.place}) keeps versions now, and did not when it was tested`,
        {
          hint: 'Some stores ignore conditions of writes then, so it is tested anew by the next try: run it again',
        },
      );
    },
  };
}

export interface Judgement {
  /** What the store does not do, in words; empty = it does what it should. */
  readonly troubles: readonly string[];
  /** What is done in the place of that; null = nothing. */
  readonly instead: string | null;
}

export function judge(facts: StoreFacts): Judgement {
  const instead = 'each station writes in a folder of its own, stations/NAME, where no other writes';
  return { troubles: troublesOf(facts), instead: facts.conditions === 'honoured' ? null : instead };
}
