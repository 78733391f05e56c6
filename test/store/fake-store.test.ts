/** The client against a store that does wrong what it is told to. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { mkdtemp, rm, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type Clock, systemClock } from '../../src/clock.ts';
import { type ErrorCode, hasCode } from '../../src/errors.ts';
import { paceTo } from '../../src/store/pace.ts';
import { probeStore, troublesOf } from '../../src/store/probe.ts';
import { withRetries } from '../../src/store/retry.ts';
import { MIN_PART_BYTES, type ObjectStore } from '../../src/store/types.ts';
import { describeStoreConformance } from './conformance.ts';
import { FakeS3, type Fault, type Quirks } from './fake-s3.ts';
import { clientOf } from './support.ts';

/** Sleeps take no time, and are noted. */
function hurried(slept: number[] = []): Clock {
  return {
    ...systemClock,
    schedule: (delayMs, callback) => {
      slept.push(delayMs);
      const timer = setImmediate(callback);
      return () => clearImmediate(timer);
    },
  };
}

describe('the fake store', () => {
  let fake: FakeS3;
  let endpoint: string;
  let made: ReturnType<typeof clientOf>[];

  beforeEach(async () => {
    fake = new FakeS3();
    endpoint = await fake.start();
    made = [];
  });
  afterEach(async () => {
    for (const client of made) client.close();
    await fake.stop();
  });
  const open = (...about: [Parameters<typeof clientOf>[1]?, Parameters<typeof clientOf>[2]?]) => {
    const client = clientOf(endpoint, ...about);
    made.push(client);
    return client.store;
  };
  const patient = (store: ObjectStore, slept: number[] = []) =>
    withRetries(store, { clock: hurried(slept), random: () => 0.5 });
  const once = (fault: Fault, method = '') => {
    let left = 1;
    fake.fault = (seen) => (seen.method.startsWith(method) && left-- > 0 ? fault : undefined);
  };
  const code = (want: ErrorCode) => (error: unknown) => {
    assert.ok(hasCode(error, want), `${String(error)} is no ${want}`);
    assert.notEqual(error.hint, '');
    return true;
  };

  describe('conformance', () => describeStoreConformance(open));
  describe('conformance, with retries', () => describeStoreConformance(() => patient(open())));

  for (const [fault, want] of [
    ['cut-before', 'store-unreachable'],
    ['cut-after', 'store-unreachable'],
    [{ status: 503, code: 'SlowDown' }, 'store-busy'],
    [{ status: 500, code: 'InternalError' }, 'store-busy'],
    [{ status: 500, code: '<odd' }, 'store-busy'],
    [{ status: 429, code: '' }, 'store-busy'],
    [{ status: 409, code: 'ConditionalRequestConflict' }, 'store-busy'],
    [{ status: 400, code: 'BadDigest' }, 'store-damaged'],
    [{ status: 403, code: 'AccessDenied' }, 'store-denied'],
    [{ status: 403, code: 'InvalidAccessKeyId' }, 'store-credentials'],
    [{ status: 403, code: 'SignatureDoesNotMatch' }, 'store-credentials'],
    [{ status: 400, code: 'ExpiredToken' }, 'store-credentials'],
    [{ status: 404, code: 'NoSuchBucket' }, 'store-missing'],
    [{ status: 301, code: 'PermanentRedirect' }, 'store-region'],
    [{ status: 507, code: '' }, 'store-full'],
    [{ status: 403, code: 'QuotaExceeded' }, 'store-full'],
    [{ status: 403, code: 'RequestTimeTooSkewed', headers: { date: 'never' } }, 'store-clock'],
    [{ status: 418, code: 'Teapot' }, 'store-failed'],
  ] as const) {
    const name = typeof fault === 'string' ? fault : `${fault.status} ${fault.code}`;
    test(`${name} is ${want}, and is tried again only where it may pass`, async () => {
      if (want !== 'store-failed') {
        once(fault, 'PUT');
        await assert.rejects(open().put('x', Buffer.from('x')), code(want));
      }
      once(fault, 'PUT');
      const again = patient(open()).put('x', Buffer.from('x'));
      if (['store-unreachable', 'store-busy', 'store-damaged'].includes(want)) assert.ok(await again);
      else await assert.rejects(again);
    });
  }

  test('it gives up after four tries, with longer and longer waits', async () => {
    fake.fault = () => ({ status: 503, code: 'SlowDown' });
    const slept: number[] = [];
    await assert.rejects(patient(open(), slept).put('x', Buffer.from('x')), code('store-busy'));
    assert.equal(fake.seen.length, 4);
    assert.deepEqual(slept, [312.5, 625, 1250]);
  });

  test('a conditional put whose answer was lost is known as ours; that of another is not', async () => {
    once('cut-after', 'PUT');
    assert.ok(await patient(open()).put('mine', Buffer.from('x'), { condition: 'if-absent' }));
    await open().put('theirs', Buffer.from('theirs'));
    once('cut-after', 'PUT');
    assert.equal(await patient(open()).put('theirs', Buffer.from('mine'), { condition: 'if-absent' }), undefined);
    assert.equal(fake.text('theirs'), 'theirs');
  });

  test('a clock that is wrong is corrected, also where the first request is a HEAD, whose answer has no words', async () => {
    await open().put('x', Buffer.from('x'));
    for (const aheadMs of [7 * 3_600_000, -7 * 3_600_000]) {
      fake.quirks = { aheadMs };
      assert.equal((await open().head('x'))?.sizeBytes, 1);
    }
    fake.quirks = { aheadMs: 3_600_000 };
    fake.keys.clear();
    fake.seen.length = 0;
    await assert.rejects(open().head('x'), code('store-denied'));
    assert.equal(fake.seen.length, 2, 'it is asked once more, and no oftener');
  });

  test('the end of an upload whose answer was lost is its end', async () => {
    const store = patient(open());
    const upload = await store.beginUpload('big');
    const parts = [
      await store.putPart(upload, 1, randomBytes(MIN_PART_BYTES)),
      await store.putPart(upload, 2, Buffer.from('x')),
    ];
    once('cut-after', 'POST');
    const { etag } = await store.completeUpload(upload, parts);
    assert.equal(fake.objects.get('big')?.etag, etag);
  });

  test('an answer that is cut off is never taken for an object', async () => {
    await open().put('x', randomBytes(10_000));
    once('cut-inside', 'GET');
    await assert.rejects(open().get('x'), code('store-unreachable'));
    once('cut-inside', 'GET');
    assert.equal((await patient(open()).get('x'))?.bytes.length, 10_000);
  });

  test('a server that never answers is given up after 30 s, by the clock that was handed in', async () => {
    fake.fault = () => 'hang';
    const slept: number[] = [];
    await assert.rejects(open({}, { clock: hurried(slept) }).get('x'), code('store-unreachable'));
    assert.ok(slept.every((delayMs) => delayMs === 30_000) && slept.length > 0);
  });

  test('a server that is not there', async () => {
    await fake.stop();
    await assert.rejects(open().get('x'), code('store-unreachable'));
    await assert.rejects(open({ endpoint: 'http://name.invalid' }).get('x'), code('store-unreachable'));
    await fake.start();
  });

  test('bytes that change on the way are found, up and down', async () => {
    fake.quirks = { corrupts: true };
    await assert.rejects(open().put('x', Buffer.from('abc')), code('store-damaged'));
    fake.quirks = {};
    await open().put('x', Buffer.from('abc'));
    fake.objects.set('x', { bytes: Buffer.from('abd'), etag: fake.objects.get('x')?.etag ?? '' });
    await assert.rejects(open().get('x'), code('store-damaged'));
  });

  test('wrong region: the right one is named. Expired credentials are read again from their file', async () => {
    fake.region = 'eu-central-1';
    await assert.rejects(
      open().put('x', Buffer.from('x')),
      (error) => hasCode(error, 'store-region') && /eu-central-1/.test(error.hint),
    );
    fake.region = 'us-east-1';
    const folder = await mkdtemp(join(tmpdir(), 'espd-keys-'));
    try {
      const file = join(folder, 'keys');
      const write = (user: string) =>
        writeFile(
          file,
          `[other]\naws_access_key_id = no\n[default]\naws_access_key_id = ${user}\naws_secret_access_key=s\n`,
          {
            mode: 0o600,
          },
        );
      await write('old');
      fake.keys.set('old', 'expired');
      const store = open({ credentials: { file } });
      await assert.rejects(store.put('x', Buffer.from('x')), code('store-credentials'));
      await write('writer');
      assert.ok(await store.put('x', Buffer.from('x')));
      await chmod(file, 0o640);
      await assert.rejects(open({ credentials: { file } }).get('x'), code('store-credentials'));
      await assert.rejects(open({ credentials: { file: `${file}-not` } }).get('x'), code('store-credentials'));
      await assert.rejects(open({ credentials: { systemdCredential: 'keys' } }).get('x'), code('store-credentials'));
      await write('writer');
      const env = { CREDENTIALS_DIRECTORY: folder };
      assert.equal(await open({ credentials: { systemdCredential: 'keys' } }, { env }).get('y'), undefined);
      await assert.rejects(open({}, { env: {} }).get('x'), code('store-credentials'));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('what is no S3 at all is said, and is no missing object', async () => {
    const page = '<html><body>Please log in</body></html>';
    const portal = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => socket.end(`HTTP/1.1 404 Not Found\r\ncontent-length: ${page.length}\r\n\r\n${page}`));
    });
    await new Promise<void>((resolve) => portal.listen(0, '127.0.0.1', resolve));
    const { port } = portal.address() as { port: number };
    const store = open({ endpoint: `http://127.0.0.1:${port}` });
    await assert.rejects(store.get('x'), code('store-failed'));
    await assert.rejects(store.list({ prefix: '' }), code('store-failed'));
    portal.close();
  });

  test('bandwidth: bytes go out at the rate that is allowed, after a short burst', async () => {
    let nowMs = 0;
    const slept: number[] = [];
    const clock: Clock = {
      ...systemClock,
      now: () => nowMs,
      schedule: (delayMs, callback) => {
        slept.push(delayMs);
        nowMs += delayMs;
        const timer = setImmediate(callback);
        return () => clearImmediate(timer);
      },
    };
    const pace = paceTo(64_000, clock);
    for (let count = 0; count < 10; count++) await pace(64_000);
    assert.equal(nowMs, 9000);
    await paceTo(null, clock)(1e9);
    assert.equal(nowMs, 9000);
  });

  describe('the probe', () => {
    for (const [name, quirks, conditions, troubles] of [
      ['a good store', {}, 'honoured', 0],
      ['conditions that are ignored', { ignoresConditions: true }, 'ignored', 1],
      ['conditions that race', { racesConditions: true }, 'racing', 1],
      ['conditions that are refused', { refusesConditions: true }, 'refused', 1],
      ['lists that are late', { staleLists: true }, 'honoured', 1],
      ['no multipart', { noMultipart: true }, 'honoured', 1],
    ] as const satisfies readonly [string, Quirks, string, number][]) {
      test(name, async () => {
        fake.quirks = quirks;
        const facts = await probeStore(open(), 'probe/');
        assert.equal(facts.conditions, conditions);
        assert.equal(troublesOf(facts).length, troubles);
        assert.deepEqual(fake.names, [], 'it leaves nothing behind');
      });
    }

    test('no ranges, other bytes, and no right to put make a store unusable', async () => {
      fake.quirks = { ignoresRange: true };
      await assert.rejects(probeStore(open(), 'probe/'), code('store-failed'));
      fake.quirks = { corrupts: true };
      await assert.rejects(probeStore(open(), 'probe/'), code('store-damaged'));
      fake.quirks = {};
      fake.keys.set('writer', 'read');
      await assert.rejects(probeStore(open(), 'probe/'), code('store-denied'));
    });

    test('a station that may only add leaves its small objects in their folder', async () => {
      fake.keys.set('writer', 'add');
      const facts = await probeStore(open(), 'probe/');
      assert.deepEqual([facts.conditions, facts.removes], ['honoured', false]);
      assert.ok(fake.names.length > 0 && fake.names.every((name) => name.startsWith('probe/')));
    });

    test('a store that goes away in the middle is not called bad', async () => {
      for (let at = 1; at < 60; at += 7) {
        let count = 0;
        fake.fault = () => (++count >= at ? 'cut-before' : undefined);
        await assert.rejects(probeStore(open(), 'probe/'), code('store-unreachable'));
      }
    });
  });
});
