/**
 * Four stations as their people use them, all at once: they back up, push, pull, prune, pin and label at random, are killed
 * a hundred times in the middle of that, one has a wrong clock, and the store cuts connections. In the end they and the
 * bucket agree to the byte, and nothing is lost. ESPD_TEST_SEED makes the same choices again, as far as the moments go.
 */

import { randomInt } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { FakeS3 } from '../store/fake-s3.ts';
import { type RealStore, startRealStore, whyNoRealStore } from '../store/real-store.ts';
import { DirectBucket } from './four-stations/bucket.ts';
import { FaultyProxy } from './four-stations/faulty-proxy.ts';
import { checkFinalState } from './four-stations/final-state.ts';
import { Fleet } from './four-stations/fleet.ts';

const KILLS = 100;
const PREFIX = 'fleet';

describe('four stations, one bucket', { timeout: 840_000 }, () => {
  const why = whyNoRealStore();
  let real: RealStore | undefined;
  let fake: FakeS3 | undefined;
  let proxy: FaultyProxy;
  let bucket: DirectBucket;

  before(async () => {
    if (why === undefined) real = await startRealStore();
    else {
      process.stderr.write(`test/e2e/four-stations.test.ts: with the fake store. ${why}\n`);
      fake = new FakeS3();
    }
    const endpoint = real?.endpoint ?? (await fake?.start()) ?? '';
    proxy = new FaultyProxy(endpoint);
    bucket = new DirectBucket(endpoint, PREFIX);
    if (real !== undefined) await bucket.create();
  });
  after(async () => {
    await proxy.close();
    bucket.close();
    await real?.stop();
    await fake?.stop();
  });

  test(`killed ${KILLS} times at random`, async (t) => {
    const seed = Number(process.env['ESPD_TEST_SEED'] ?? randomInt(2 ** 31));
    t.diagnostic(`ESPD_TEST_SEED=${seed}`);
    const fleet = await Fleet.open(t, { seed, proxy, bucket, prefix: PREFIX });
    await fleet.trouble(KILLS);
    await fleet.comeToRest();
    await checkFinalState(fleet);
  });
});
