/** An empty bucket of a real server, for all tests of a `describe`. */

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { startRealStore } from './real-store.ts';
import { clientOf } from './support.ts';

export interface RealBucket {
  readonly endpoint: string;
  /** Of a user who may do everything in it. */
  readonly client: ReturnType<typeof clientOf>;
}

/** To be called in the `describe`; what it returns is filled before its first test. */
export function realBucket(): RealBucket {
  const bucket = {} as { -readonly [Key in keyof RealBucket]: RealBucket[Key] };
  let stop: (() => Promise<void>) | undefined;
  before(async () => {
    const real = await startRealStore();
    stop = () => real.stop();
    bucket.endpoint = real.endpoint;
    bucket.client = clientOf(real.endpoint);
    assert.equal((await bucket.client.http.send({ method: 'PUT', key: '', signal: undefined })).status, 200);
  });
  after(async () => {
    bucket.client.close();
    await stop?.();
  });
  return bucket;
}
