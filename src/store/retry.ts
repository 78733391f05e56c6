/** A store whose calls are tried again when a fault may pass by itself. */

import { createHash } from 'node:crypto';
import { type Clock, sleep } from '../clock.ts';
import { hasCode } from '../errors.ts';
import type { Cancel, ObjectStore } from './types.ts';

export interface RetryOptions {
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  /** In all; default 4. */
  readonly tries?: number;
  readonly firstWaitMs?: number;
  readonly maxWaitMs?: number;
}

/** Whether a fault may pass without anybody doing anything. Damage on the way is one: each try is checked anew. */
export function mayPass(error: unknown): boolean {
  return hasCode(error, 'store-unreachable', 'store-busy', 'store-damaged');
}

/**
 * A call that was cut off may have done its work. So where a later try of a conditional `put` finds its condition broken,
 * the object is looked at: with the same MD5 it is the caller's own. Who needs to know who won must put unique bytes.
 */
export function withRetries(store: ObjectStore, options: RetryOptions): ObjectStore {
  const retry = <T>(cancel: Cancel | undefined, work: (isFirst: boolean) => Promise<T>) =>
    tryAgain(options, cancel?.signal, work);
  return {
    place: store.place,
    now: () => store.now(),
    put: (key, bytes, how) =>
      retry(how, async (isFirst) => {
        const done = await store.put(key, bytes, how);
        if (done !== undefined || isFirst) return done;
        const there = await store.head(key, { signal: how?.signal });
        const isOurs = there?.etag === createHash('md5').update(bytes).digest('hex');
        return isOurs ? { etag: there.etag } : undefined;
      }),
    get: (key, how) => retry(how, () => store.get(key, how)),
    head: (key, how) => retry(how, () => store.head(key, how)),
    list: (how) => retry(how, () => store.list(how)),
    remove: (key, how) => retry(how, () => store.remove(key, how)),
    canHold: (how) => retry(how, () => store.canHold(how)),
    hold: (key, isHeld, how) => retry(how, () => store.hold(key, isHeld, how)),
    beginUpload: (key, how) => retry(how, () => store.beginUpload(key, how)),
    putPart: (upload, number, bytes, how) => retry(how, () => store.putPart(upload, number, bytes, how)),
    parts: (upload, how) => retry(how, () => store.parts(upload, how)),
    completeUpload: (upload, parts, how) =>
      retry(how, async (isFirst) => {
        try {
          return await store.completeUpload(upload, parts, how);
        } catch (error) {
          if (isFirst || !hasCode(error, 'store-failed')) throw error;
          // Of the try that was cut off: it is no upload any more if it became an object.
          const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
          const there = await store.head(upload.key, { signal: how?.signal });
          if (there?.sizeBytes !== sizeBytes || (await store.parts(upload, how)) !== undefined) throw error;
          return { etag: there.etag };
        }
      }),
    abandonUpload: (upload, how) => retry(how, () => store.abandonUpload(upload, how)),
  };
}

async function tryAgain<T>(
  { clock, random, tries = 4, firstWaitMs = 500, maxWaitMs = 20_000 }: RetryOptions,
  signal: AbortSignal | undefined,
  work: (isFirst: boolean) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt === 1);
    } catch (error) {
      if (attempt >= tries || !mayPass(error)) throw error;
    }
    // "Full jitter", so that stations whose store comes back do not come back together:
    // https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    const waitMs = Math.min(maxWaitMs, firstWaitMs * 2 ** (attempt - 1));
    await sleep(clock, waitMs * (0.25 + 0.75 * random()), signal);
  }
}
