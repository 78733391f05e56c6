/** What every object store must do, whoever serves it. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { hasCode } from '../../src/errors.ts';
import { MIN_PART_BYTES, type ObjectStore } from '../../src/store/types.ts';

const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');

/** @param open the store, empty under keys that begin with a name of its own */
/** @param conditions whether it takes conditional writes; one that does not has to refuse them */
export function describeStoreConformance(open: () => ObjectStore, { conditions = true } = {}): void {
  const fresh = () => `t-${randomBytes(6).toString('hex')}/`;

  test('what was put comes back, with its MD5 as the ETag', async () => {
    const store = open();
    const prefix = fresh();
    for (const bytes of [Buffer.alloc(0), Buffer.from('x'), randomBytes(200_000)]) {
      const put = await store.put(`${prefix}a`, bytes);
      assert.equal(put?.etag, md5(bytes));
      const got = await store.get(`${prefix}a`);
      assert.ok(got);
      assert.deepEqual(got.bytes, bytes);
      assert.equal(got.etag, md5(bytes));
      const { ageMs, writtenMs, ...facts } = (await store.head(`${prefix}a`)) ?? {};
      assert.deepEqual(facts, { key: `${prefix}a`, etag: md5(bytes), sizeBytes: bytes.length });
      assert.ok(ageMs !== undefined && ageMs >= 0);
      assert.ok(writtenMs !== undefined && writtenMs % 1000 === 0 && writtenMs > 0);
    }
  });

  test('the age of an object is told by each way to look at it', async () => {
    const store = open();
    const key = `${fresh()}a`;
    await store.put(key, Buffer.from('bytes'));
    const listed = (await store.list({ prefix: key })).objects[0];
    const ages = [await store.head(key), await store.get(key), listed].map((facts) => facts?.ageMs ?? Number.NaN);
    ages.push((await store.get(key, { range: { offset: 1, length: 2 } }))?.ageMs ?? Number.NaN);
    // This machine may be slow, but a day is not what it took.
    for (const ageMs of ages) assert.ok(ageMs >= 0 && ageMs < 86_400_000, String(ages));
  });

  test('a removal is bound to a time: the server refuses it when it comes too late', async () => {
    const store = open();
    const key = `${fresh()}a`;
    await store.put(key, Buffer.from('bytes'));
    const minutesAgo = (minutes: number) => store.now() - minutes * 60_000;
    await assert.rejects(store.remove(key, { asOf: minutesAgo(17) }), (error) => hasCode(error, 'store-clock'));
    assert.ok(await store.head(key));
    await store.remove(key, { asOf: minutesAgo(1) });
    assert.equal(await store.head(key), undefined);
  });

  test('what is not there is undefined, and can be removed', async () => {
    const store = open();
    const key = `${fresh()}missing`;
    assert.equal(await store.get(key), undefined);
    assert.equal(await store.get(key, { range: { offset: 0, length: 5 } }), undefined);
    assert.equal(await store.head(key), undefined);
    await store.remove(key);
    await store.put(key, Buffer.from('x'));
    await store.remove(key);
    assert.equal(await store.head(key), undefined);
  });

  test('keys with signs that URLs and XML treat in their own way', async () => {
    const store = open();
    const prefix = fresh();
    const keys = ['a b', 'a+b', 'a%20b', 'a&b<c>"\'', 'ä/ö', 'a~b', '(a)!*', 'a=b?c#d'].map((name) => prefix + name);
    for (const key of keys) await store.put(key, Buffer.from(key));
    for (const key of keys) assert.equal((await store.get(key))?.bytes.toString(), key);
    const { objects } = await store.list({ prefix });
    assert.deepEqual(objects.map(({ key }) => key).sort(), keys.sort());
    assert.equal((await store.list({ prefix: `${prefix}a+` })).objects.length, 1);
  });

  test('ranges: inside, at the end, over the end, behind it', async () => {
    const store = open();
    const key = `${fresh()}a`;
    const bytes = randomBytes(1000);
    await store.put(key, bytes);
    for (const [offset, length] of [
      [0, 1],
      [10, 100],
      [999, 1],
      [990, 100],
      [0, 1000],
    ] as const) {
      const got = await store.get(key, { range: { offset, length } });
      assert.ok(got);
      assert.deepEqual(got.bytes, bytes.subarray(offset, offset + length));
      assert.equal(got.sizeBytes, 1000);
    }
    assert.equal((await store.get(key, { range: { offset: 1000, length: 5 } }))?.bytes.length, 0);
  });

  const without = { skip: conditions ? 'this server takes conditions' : false };
  test('a condition that the server does not know is refused, and changes nothing', without, async () => {
    const store = open();
    const key = `${fresh()}a`;
    await assert.rejects(store.put(key, Buffer.from('x'), { condition: 'if-absent' }), (error) =>
      hasCode(error, 'store-failed'),
    );
    assert.equal(await store.head(key), undefined);
  });

  const withConditions = { skip: conditions ? false : 'this server takes no conditions' };
  test('if-absent: the second is refused and changes nothing', withConditions, async () => {
    const store = open();
    const key = `${fresh()}a`;
    assert.ok(await store.put(key, Buffer.from('first'), { condition: 'if-absent' }));
    assert.equal(await store.put(key, Buffer.from('second'), { condition: 'if-absent' }), undefined);
    assert.equal((await store.get(key))?.bytes.toString(), 'first');
  });

  test('if-absent of eight at once: one wins, and it is what is there', withConditions, async () => {
    const store = open();
    for (let round = 0; round < 5; round++) {
      const key = `${fresh()}a`;
      const wins = await Promise.all(
        Array.from({ length: 8 }, (_, who) => store.put(key, Buffer.from(`${who}`), { condition: 'if-absent' })),
      );
      const winners = wins.flatMap((win, who) => (win === undefined ? [] : [who]));
      assert.equal(winners.length, 1);
      assert.equal((await store.get(key))?.bytes.toString(), String(winners[0]));
    }
  });

  test('if-match: what is there, what was there, what is not there', withConditions, async () => {
    const store = open();
    const prefix = fresh();
    const key = `${prefix}a`;
    const first = await store.put(key, Buffer.from('first'));
    assert.ok(first);
    const second = await store.put(key, Buffer.from('second'), { condition: { ifMatch: first.etag } });
    assert.ok(second);
    assert.equal(await store.put(key, Buffer.from('third'), { condition: { ifMatch: first.etag } }), undefined);
    assert.equal((await store.get(key))?.bytes.toString(), 'second');
    assert.equal(await store.put(`${prefix}b`, Buffer.from('x'), { condition: { ifMatch: first.etag } }), undefined);
    assert.equal(await store.head(`${prefix}b`), undefined);
  });

  test('lists: in order, in pages, by folders, and with what was put just now', async () => {
    const store = open();
    const prefix = fresh();
    assert.deepEqual(await store.list({ prefix }), { objects: [], folders: [], next: null });
    const keys = ['a/1/x', 'a/1/y', 'a/2/x', 'b', 'c/z'].map((name) => prefix + name);
    for (const key of [...keys].reverse()) await store.put(key, Buffer.from('x'));
    const all: string[] = [];
    let from: string | null = null;
    do {
      const page = await store.list({ prefix, limit: 2, from });
      all.push(...page.objects.map(({ key }) => key));
      from = page.next;
    } while (from !== null);
    assert.deepEqual(all, keys);
    const behind = await store.list({ prefix, after: keys[1] ?? '' });
    assert.deepEqual(
      behind.objects.map(({ key }) => key),
      keys.slice(2),
      'only what is behind a key',
    );
    const top = await store.list({ prefix, folders: true });
    assert.deepEqual(top.folders, [`${prefix}a/`, `${prefix}c/`]);
    assert.deepEqual(
      top.objects.map(({ key, sizeBytes, etag }) => [key, sizeBytes, etag]),
      [[`${prefix}b`, 1, md5(Buffer.from('x'))]],
    );
    assert.deepEqual((await store.list({ prefix: `${prefix}a/`, folders: true })).folders.length, 2);
  });

  test('multipart: invisible until its end; parts can be listed, sent again, and abandoned', async () => {
    const store = open();
    const key = `${fresh()}big`;
    const [one, two] = [randomBytes(MIN_PART_BYTES), randomBytes(1234)];
    const upload = await store.beginUpload(key);
    await store.putPart(upload, 1, randomBytes(MIN_PART_BYTES));
    const parts = [await store.putPart(upload, 1, one), await store.putPart(upload, 2, two)];
    assert.equal(await store.head(key), undefined);
    assert.deepEqual(await store.parts(upload), [
      { number: 1, etag: md5(one), sizeBytes: one.length },
      { number: 2, etag: md5(two), sizeBytes: two.length },
    ]);
    const { etag } = await store.completeUpload(upload, parts);
    const facts = await store.head(key);
    assert.deepEqual([facts?.etag, facts?.sizeBytes], [etag, one.length + two.length]);
    const middle = await store.get(key, { range: { offset: MIN_PART_BYTES - 10, length: 20 } });
    assert.deepEqual(middle?.bytes, Buffer.concat([one.subarray(-10), two.subarray(0, 10)]));

    const other = await store.beginUpload(`${key}2`);
    await store.putPart(other, 1, two);
    await store.abandonUpload(other);
    await store.abandonUpload(other);
    assert.equal(await store.parts(other), undefined);
    assert.equal(await store.head(`${key}2`), undefined);
  });

  test('an abort ends a call with its reason', async () => {
    const store = open();
    const abort = new AbortController();
    const reason = new Error('enough');
    abort.abort(reason);
    await assert.rejects(store.get('x', { signal: abort.signal }), reason);
    const later = new AbortController();
    const put = store.put(`${fresh()}x`, randomBytes(5_000_000), { signal: later.signal });
    later.abort(reason);
    await assert.rejects(put, reason);
  });

  test('more than one piece at once is refused here', async () => {
    await assert.rejects(open().put('x', Buffer.alloc(9 * 1024 * 1024)), RangeError);
    await assert.rejects(open().get('x', { range: { offset: 0, length: 9 * 1024 * 1024 } }), RangeError);
  });
}
