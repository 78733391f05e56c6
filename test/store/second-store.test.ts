/**
 * The client, and stations, against a real server that is not Ceph: OpenStack's Swift, whose S3 interface refuses conditional
 * writes. So stations have the fallback here, in earnest.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { probeStore } from '../../src/store/probe.ts';
import { describeStations } from '../replication/stations.ts';
import { describeVerifies } from '../replication/verifies.ts';
import { describeStoreConformance } from './conformance.ts';
import { type RealStore, startSwift, whyNoSwift } from './real-store.ts';
import { clientOf } from './support.ts';

const skip = whyNoSwift();
if (skip !== undefined) process.stderr.write(`test/store/second-store.test.ts ${skip}\n`);
const ENV = { AWS_ACCESS_KEY_ID: 'espd:writer', AWS_SECRET_ACCESS_KEY: 'writer-secret' };

describe('a real Swift', { skip: skip ?? false }, () => {
  let real: RealStore;
  const clients: ReturnType<typeof clientOf>[] = [];
  const client = () => {
    const made = clientOf(real.endpoint, {}, { env: ENV });
    clients.push(made);
    return made;
  };

  before(async () => {
    real = await startSwift();
    const answer = await client().http.send({ method: 'PUT', key: '', signal: undefined });
    assert.equal(answer.status, 200, answer.body.toString());
  });
  after(async () => {
    for (const made of clients) made.close();
    await real.stop();
  });

  test('the probe finds that it refuses conditions, and does all else', async () => {
    assert.deepEqual(await probeStore(client().store, 'probe/'), {
      conditions: 'refused',
      multipart: true,
      lists: true,
      removes: true,
    });
  });

  describeStoreConformance(() => client().store, { conditions: false });

  describeVerifies({ endpoint: () => real.endpoint, store: () => client().store, prefix: 'verify/', env: ENV });
  describeStations({ kills: 2, prefix: 'many', env: ENV, endpoint: () => real.endpoint, store: () => client().store });
});
