/** Long answers of the API: packed for who takes it, and the same document for everybody. */

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { contentFor, takesGzip } from '../../src/control/compression.ts';
import { KIB } from '../daemon/workshop.ts';
import { fillArchive } from '../support/fill-archive.ts';
import { ApiBench } from './support.ts';

async function raw(socketPath: string, path: string, headers: Record<string, string>, method = 'GET') {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ socketPath, path, headers, method }, resolve).on('error', reject).end();
  });
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return { status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) };
}

test('who takes gzip', () => {
  for (const taken of [
    'gzip',
    'GZIP',
    'gzip, deflate, br',
    'br;q=1.0, gzip;q=0.8, *;q=0.1',
    '*',
    'x-gzip',
    'gzip ; q=0.001',
  ]) {
    assert.equal(takesGzip(taken), true, taken);
  }
  for (const not of [
    undefined,
    '',
    'identity',
    'br',
    'gzip;q=0',
    '*;q=0',
    'gzip;q=0, *',
    'gzip;q=x',
    'gzippo',
    ';;,,',
  ]) {
    assert.equal(takesGzip(not), false, not);
  }
});

test('the list of many boards: packed or as it is, with tags that fit; a short one always as it is', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'espd-gzip-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  fillArchive(root, 300, 1, 4 * KIB);
  const { socketPath } = await ApiBench.open(t, { root });
  const plain = await raw(socketPath, '/v1/boards', {});
  const packed = await raw(socketPath, '/v1/boards', { 'accept-encoding': 'gzip, br' });
  assert.equal(plain.headers['content-encoding'], undefined);
  assert.equal(packed.headers['content-encoding'], 'gzip');
  assert.ok(packed.bytes.length * 5 < plain.bytes.length, `${packed.bytes.length} of ${plain.bytes.length} bytes`);
  assert.ok(gunzipSync(packed.bytes).equals(plain.bytes));
  for (const { headers, bytes } of [plain, packed]) {
    assert.equal(headers['content-length'], String(bytes.length));
    assert.equal(headers.vary, 'Accept-Encoding');
  }
  // The bytes differ, the document does not: RFC 9110, 8.8.1.
  assert.equal(packed.headers.etag, `W/${plain.headers.etag}`);
  for (const tag of [plain.headers.etag, packed.headers.etag]) {
    const again = await raw(socketPath, '/v1/boards', { 'accept-encoding': 'gzip', 'if-none-match': tag ?? '' });
    assert.deepEqual([again.status, again.bytes.length], [304, 0]);
  }
  const head = await raw(socketPath, '/v1/boards', { 'accept-encoding': 'gzip' }, 'HEAD');
  assert.deepEqual([head.status, head.bytes.length], [200, 0]);
  const short = await raw(socketPath, '/v1/status', { 'accept-encoding': 'gzip' });
  assert.equal(short.headers['content-encoding'], undefined);
  assert.equal(short.headers.vary, undefined);
});

test('more than two at once: the others are not kept waiting, and get it as it is', async () => {
  const text = 'x'.repeat(100_000);
  const all = await Promise.all(Array.from({ length: 5 }, () => contentFor('gzip', text)));
  const packed = all.filter(({ headers }) => headers['Content-Encoding'] === 'gzip');
  assert.equal(packed.length, 2);
  assert.equal(all.filter(({ bytes }) => bytes === text).length, 3);
  assert.equal((await contentFor('gzip', text)).headers['Content-Encoding'], 'gzip', 'and then again');
});
