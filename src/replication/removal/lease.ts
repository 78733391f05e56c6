/**
 * One pruner at a time, where the store honours conditional writes: an object that a holder renews, and that another may
 * take when it has not been renewed for long enough by the store's own clock.
 *
 * A holder that is stopped in the middle and goes on later cannot know that it has lost the lease. What it still sends then
 * is refused by the store: every removal is signed with the time of the last renewal ({@link PruneLease.renew}), and
 * a signature lives 15 minutes, at most 30 where a clock is off by as much as servers take. The lease lasts longer than that.
 */

import { EspdError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import type { ObjectStore } from '../../store/types.ts';
import { getSmall } from '../small-object.ts';
import { type Lease, MAX_NOTE_BYTES, PRUNE_LEASE, formatObject, parseLease } from './format.ts';

/** More than a removal's signature lives, as its holder's clock may be off. */
export const LEASE_SECONDS = 45 * 60;

export interface LeaseParts {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly station: string;
  /** Random; of this process alone. */
  readonly holder: string;
  readonly seconds?: number;
}

export class PruneLease {
  readonly #parts: LeaseParts;
  #lease: Lease;
  #etag: string;

  private constructor(parts: LeaseParts, lease: Lease, etag: string) {
    this.#parts = parts;
    this.#lease = lease;
    this.#etag = etag;
  }

  /** @throws EspdError `store-held` while somebody else has it */
  static async take(parts: LeaseParts, signal: AbortSignal): Promise<PruneLease> {
    const { store, prefix, station, holder, seconds = LEASE_SECONDS } = parts;
    const key = prefix + PRUNE_LEASE;
    const there = await getSmall(store, key, MAX_NOTE_BYTES, signal);
    const before = there === undefined ? undefined : parseLease(there.bytes);
    if (there !== undefined) {
      if (before === undefined) throw notUnderstood(key);
      if (there.ageMs === undefined) throw ageless(store);
      if (there.ageMs < before.seconds * 1000) throw held(before, before.seconds * 1000 - there.ageMs);
    }
    const lease: Lease = {
      ...{ formatVersion: 1, station, holder, seconds, renewal: 0 },
      token: (before?.token ?? 0) + 1,
    };
    const condition = there === undefined ? 'if-absent' : { ifMatch: there.etag };
    const put = await store.put(key, formatObject(lease), { condition, signal });
    if (put === undefined) throw held(null, seconds * 1000);
    return new PruneLease(parts, lease, put.etag);
  }

  get token(): number {
    return this.#lease.token;
  }

  /** From now on it lasts its whole time again. @throws EspdError `store-held` where it was lost meanwhile */
  async renew(signal: AbortSignal): Promise<void> {
    const renewed = await this.#put(this.#parts.seconds ?? LEASE_SECONDS, signal);
    if (!renewed) {
      throw new EspdError('store-held', 'Another process has begun to prune the object store meanwhile', {
        hint: 'Nothing more is removed by this one. The other goes on with it',
      });
    }
  }

  /** Gives it back, so that nobody waits. Never rejects: else it runs out. */
  async release(signal: AbortSignal): Promise<void> {
    await this.#put(0, signal).catch(() => false);
  }

  async #put(seconds: number, signal: AbortSignal): Promise<boolean> {
    const lease = { ...this.#lease, seconds, renewal: this.#lease.renewal + 1 };
    const key = this.#parts.prefix + PRUNE_LEASE;
    const put = await this.#parts.store.put(key, formatObject(lease), { condition: { ifMatch: this.#etag }, signal });
    if (put === undefined) return false;
    this.#lease = lease;
    this.#etag = put.etag;
    return true;
  }
}

function held(lease: Lease | null, leftMs: number): EspdError {
  const who = lease === null ? 'Another process' : `The station ${printable(lease.station)}`;
  const minutes = Math.max(1, Math.ceil(leftMs / 60_000));
  return new EspdError('store-held', `${who} is pruning the object store`, {
    hint: `One at a time does. If it was ended in the middle, another may begin in ${minutes} min at the latest`,
  });
}

function notUnderstood(key: string): EspdError {
  return new EspdError('store-held', `${key} in the object store is not understood, so somebody may be pruning it`, {
    hint: 'A newer espd may have written it. If no station prunes, remove that object',
  });
}

export function ageless({ place }: ObjectStore): EspdError {
  return new EspdError('store-failed', `The object store (${place}) does not say how old its objects are`, {
    hint: 'Nothing is removed from it: no station could know when the time of grace is over',
  });
}
