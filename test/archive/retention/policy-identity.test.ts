/** Which policies are the same one. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { policyDigest, policyText } from '../../../src/archive/retention/policy-identity.ts';
import { retentionPolicy, retentionSchema } from '../../../src/config/retention.ts';

const policyOf = (section: object) => retentionPolicy(retentionSchema.parse(section));
const digest = (section: object) => policyDigest(policyOf(section));

test('what means the same has one digest, however it is written', () => {
  const pairs: readonly [object, object][] = [
    [
      { keepLast: 3, keepDaily: 7 },
      { keepDaily: 7, keepLast: 3 },
    ],
    [{ keepLast: 3 }, { keepLast: 3, keepDaily: 0, keepWeekly: null, maxBytes: null, boards: {}, groups: {} }],
    [{ keepWithin: '1y' }, { keepWithin: '12m' }],
    [{ keepWithin: '7d' }, { keepWithin: '168h' }],
    [{ keepLast: 1, keepWithin: '0d' }, { keepLast: 1 }],
    [
      { keepLast: 1, maxBytes: '50G' },
      { keepLast: 1, maxBytes: 50 * 1024 ** 3 },
    ],
    [
      { keepLast: 1, boards: { a: { keepLast: 2 }, '50:02:91:c3:37:a5': { keepLast: 3 } } },
      { keepLast: 1, boards: { '50-02-91-C3-37-A5': { keepLast: 3 }, a: { keepLast: 2, keepDaily: 0 } } },
    ],
    [
      { keepLast: 1, groups: { Lab: { keepLast: 2 } } },
      { keepLast: 1, groups: { ' lab ': { keepLast: 2 } } },
    ],
  ];
  for (const [one, other] of pairs) assert.equal(digest(one), digest(other), JSON.stringify([one, other]));
});

test('what means something else has another one, all of them', () => {
  const sections: readonly object[] = [
    { keepLast: 3 },
    { keepLast: 4 },
    { keepLast: 'unlimited' },
    { keepHourly: 3 },
    { keepDaily: 3 },
    { keepWeekly: 3 },
    { keepMonthly: 3 },
    { keepYearly: 3 },
    { keepPerFirmware: 3 },
    { keepWithin: '3d' },
    { keepWithin: '3m' },
    { keepLast: 3, maxBytes: '1G' },
    { maxBytes: '1G' },
    { boards: { a: { keepLast: 3 } } },
    { groups: { a: { keepLast: 3 } } },
    { keepLast: 3, boards: { a: { keepLast: 4 } } },
    { keepLast: 3, boards: { b: { keepLast: 4 } } },
    { keepLast: 3, groups: { a: { keepLast: 4 } } },
    { keepLast: 3, groups: { a: { keepLast: 4 }, b: { keepLast: 4 } } },
  ];
  assert.equal(new Set(sections.map(digest)).size, sections.length);
});

test('the digest is the one of FORMAT.md, and stays it: stations of several versions compare it', () => {
  const policy = policyOf({
    ...{ keepLast: 10, keepMonthly: 'unlimited', keepWithin: '1y2d3h', maxBytes: '1M' },
    groups: { Lab: { keepDaily: 1, keepLast: 2 } },
  });
  // printf '[[["last",10],["monthly","unlimited"],["within",[12,51]]],[],[["lab",[["daily",1],["last",2]]]],1048576]' | sha256sum
  assert.equal(policyDigest(policy), '3544c3c48457c17a772567887aa207a86c04e0a819042701bf644e7cae337893');
});

test('in words it names no board and no group', () => {
  assert.equal(policyText(policyOf({ keepLast: 10, keepMonthly: 24 })), 'keepLast 10, keepMonthly 24');
  const names = { boards: { secret: { keepLast: 1 } }, groups: { a: { keepLast: 1 }, b: { keepLast: 2 } } };
  assert.equal(
    policyText(policyOf({ ...names, maxBytes: '1M' })),
    'no rule for all boards, maxBytes 1048576, rules of their own for 1 board and 2 groups',
  );
});
