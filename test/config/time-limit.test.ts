import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTimeout, withTimeLimit } from '../../src/config/time-limit.ts';

test('work that ends: its result, or what it throws', () => {
  const result = { a: [1] };
  assert.equal(
    withTimeLimit(60_000, () => result),
    result,
  );
  const error = new TypeError('own');
  assert.throws(
    () =>
      withTimeLimit(60_000, () => {
        throw error;
      }),
    (thrown) => thrown === error && !isTimeout(thrown),
  );
});

test('work that does not end is ended, in a loop and in a regular expression', () => {
  for (const work of [() => endless() > 0, () => /^(?:a|aa)+$/.test(`${'a'.repeat(200)}b`)]) {
    assert.throws(() => withTimeLimit(20, work), isTimeout);
  }
  assert.equal(
    withTimeLimit(60_000, () => 1),
    1,
    'and the next one is as any',
  );
});

function endless(): number {
  for (let count = 0; ; count++) if (count < 0) return count;
}
