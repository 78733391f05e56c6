/** Which faults are the matter of one of many. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, EspdError } from '../../src/errors.ts';
import { Refusals, isRefusal } from '../../src/replication/refusals.ts';

const fault = (code: ErrorCode) => new EspdError(code, 'x', { hint: 'y' });

test('the third refusal in a row is that of the store, whatever its code; one that is served begins anew', () => {
  const refusals = new Refusals();
  assert.ok(refusals.isOfOne(fault('store-denied')) && refusals.isOfOne(fault('store-busy')));
  refusals.served();
  assert.ok(refusals.isOfOne(fault('store-failed')) && refusals.isOfOne(fault('store-denied')));
  assert.ok(!refusals.isOfOne(fault('store-denied')));
  assert.ok(!refusals.isOfOne(fault('store-denied')), 'and so it stays');
});

test('damage, an archive class and a fault of the backup here are of one, however many there are', () => {
  const refusals = new Refusals();
  for (const code of ['store-damaged', 'store-archived', 'store-removing', 'archive-damaged', 'internal'] as const) {
    for (let count = 0; count < 10; count++) assert.ok(refusals.isOfOne(fault(code)), code);
    assert.ok(!isRefusal(fault(code)));
  }
});

test('what no other object would get either is of the store at once', () => {
  for (const code of [
    'store-unreachable',
    'store-credentials',
    'store-clock',
    'store-missing',
    'store-full',
  ] as const) {
    assert.ok(!new Refusals().isOfOne(fault(code)), code);
  }
  assert.ok(!new Refusals().isOfOne(fault('archive-unwritable')));
});
