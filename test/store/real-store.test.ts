/** The client against a real radosgw: started once for all that needs one. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { probeStore } from '../../src/store/probe.ts';
import { describePulls } from '../replication/pulls.ts';
import { describeStations } from '../replication/stations.ts';
import { describeVerifies } from '../replication/verifies.ts';
import { describeStoreConformance } from './conformance.ts';
import { type RealStore, startRealStore, whyNoRealStore } from './real-store.ts';
import { clientOf } from './support.ts';

const skip = whyNoRealStore();
if (skip !== undefined) process.stderr.write(`test/store/real-store.test.ts ${skip}\n`);

describe('a real radosgw', { skip: skip ?? false }, () => {
  let real: RealStore;
  const clients: ReturnType<typeof clientOf>[] = [];
  const client = (
    { endpoint = real.endpoint, ...place }: Parameters<typeof clientOf>[1] = {},
    parts: Parameters<typeof clientOf>[2] = {},
  ) => {
    const made = clientOf(endpoint, place, parts);
    clients.push(made);
    return made;
  };

  before(async () => {
    real = await startRealStore();
    for (const [user, bucket] of [
      ['writer', 'boards'],
      ['small', 'small'],
    ] as const) {
      const answer = await client({ user, bucket }).http.send({ method: 'PUT', key: '', signal: undefined });
      assert.equal(answer.status, 200, answer.body.toString());
    }
    const readable = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: ['arn:aws:iam:::user/reader'] },
          Action: ['s3:ListBucket', 's3:GetObject'],
          Resource: ['arn:aws:s3:::boards', 'arn:aws:s3:::boards/*'],
        },
      ],
    });
    const policy = { method: 'PUT', key: '', query: { policy: '' }, body: Buffer.from(readable), signal: undefined };
    assert.ok((await client().http.send(policy)).status < 300);
  });
  after(async () => {
    for (const made of clients) made.close();
    await real.stop();
  });

  describeStoreConformance(() => client().store);

  describePulls({ endpoint: () => real.endpoint, store: () => client().store, prefix: 'pulls/' });
  describeVerifies({ endpoint: () => real.endpoint, store: () => client().store, prefix: 'verify/' });
  describeStations({ kills: 3, prefix: 'many', endpoint: () => real.endpoint, store: () => client().store });

  test('digests: a wrong MD5 and a body that is not the signed one are refused', async () => {
    const { http } = client();
    const body = Buffer.from('body');
    const put = (headers: Record<string, string>) =>
      http.send({ method: 'PUT', key: 'digest', headers, body, signal: undefined });
    assert.equal((await put({ 'content-md5': Buffer.alloc(16).toString('base64') })).status, 400);
    assert.ok((await put({ 'x-amz-content-sha256': '0'.repeat(64) })).status >= 400);
    assert.equal(await client().store.head('digest'), undefined);
  });

  test('the probe finds what this server does: it honours conditions', async () => {
    const { store } = client();
    assert.deepEqual(await probeStore(store, 'probe/'), {
      conditions: 'honoured',
      multipart: true,
      lists: true,
      removes: true,
    });
    assert.deepEqual((await store.list({ prefix: 'probe/' })).objects, []);
    await assert.rejects(probeStore(client({ user: 'reader' }).store, 'probe/'), code('store-denied'));
  });

  const code = (want: Parameters<typeof hasCode>[1]) => (error: unknown) => {
    assert.ok(hasCode(error, want), `${String(error)} is no ${want}`);
    assert.doesNotMatch(String(error), /secret/);
    return true;
  };

  test('wrong key, wrong secret, missing bucket, foreign bucket, wrong clock: each by its code', async () => {
    const put = (made: ReturnType<typeof clientOf>) => made.store.put('x', Buffer.from('x'));
    await assert.rejects(put(client({ user: 'nobody' })), code('store-credentials'));
    const env = { AWS_ACCESS_KEY_ID: 'writer', AWS_SECRET_ACCESS_KEY: 'wrong' };
    await assert.rejects(put(client({}, { env })), code('store-credentials'));
    await assert.rejects(put(client({ bucket: 'not-there' })), code('store-missing'));
    await assert.rejects(client({ bucket: 'not-there' }).store.list({ prefix: '' }), code('store-missing'));
    await assert.rejects(client({ bucket: 'not-there' }).store.get('x'), code('store-missing'));
  });

  test('a reader reads and does not write', async () => {
    await client().store.put('readable', Buffer.from('x'));
    const { store } = client({ user: 'reader' });
    assert.equal((await store.get('readable'))?.bytes.toString(), 'x');
    assert.ok((await store.list({ prefix: 'readable' })).objects.length === 1);
    await assert.rejects(store.put('x', Buffer.from('x')), code('store-denied'));
    await assert.rejects(store.put('x', Buffer.from('x'), { condition: 'if-absent' }), code('store-denied'));
    await assert.rejects(store.remove('readable'), code('store-denied'));
  });

  test('a quota that is used up is no room, and what was there stays', async () => {
    const { store } = client({ user: 'small', bucket: 'small' });
    await store.put('first', Buffer.from('x'));
    await assert.rejects(async () => {
      for (let count = 0; count < 40; count++) await store.put(`big-${count}`, randomBytes(700_000));
    }, code('store-full'));
    assert.equal((await store.get('first'))?.bytes.toString(), 'x');
  });

  test('a clock that is an hour wrong is corrected by that of the server', async () => {
    for (const wrongMs of [3_600_000, -3_600_000]) {
      const clock = {
        now: () => performance.now(),
        date: () => new Date(Date.now() + wrongMs),
        schedule: (delayMs: number, callback: () => void) => {
          const timer = setTimeout(callback, delayMs);
          return () => clearTimeout(timer);
        },
      };
      const { store } = client({}, { clock });
      await store.put('clock', Buffer.from(String(wrongMs)));
      assert.equal((await store.get('clock'))?.bytes.toString(), String(wrongMs));
    }
  });

  test('the bucket in front of the host name', async () => {
    const endpoint = real.endpoint.replace('127.0.0.1', 'localhost');
    const { store } = client({ endpoint, addressing: 'host' });
    try {
      await store.put('host-style', Buffer.from('x'));
    } catch (error) {
      // A machine whose resolver does not know names under localhost says nothing of the client.
      if (/its name|looked up/.test(String(error))) return;
      throw error;
    }
    assert.equal((await client().store.get('host-style'))?.bytes.toString(), 'x');
  });
});
