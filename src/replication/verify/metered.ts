/** A store whose downloads are counted, and no faster than they may be. */

import type { ObjectStore } from '../../store/types.ts';

export interface Metered {
  readonly store: ObjectStore;
  /** Bytes that have come. */
  readonly readBytes: () => number;
}

/** @param pace waited for with what has come, so that the mean is what it allows */
export function metered(store: ObjectStore, pace: (bytes: number, signal?: AbortSignal) => Promise<void>): Metered {
  let readBytes = 0;
  return {
    readBytes: () => readBytes,
    store: {
      ...store,
      async get(key, options) {
        const answer = await store.get(key, options);
        const bytes = answer?.bytes.length ?? 0;
        readBytes += bytes;
        await pace(bytes, options?.signal);
        return answer;
      },
    },
  };
}
