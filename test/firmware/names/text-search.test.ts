import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { TextSearch } from '../../../src/firmware/names/text-search.ts';

describe('TextSearch', () => {
  test('finds what Buffer.indexOf finds, and within the bounds only', () => {
    const letters = fc.constantFrom('a', 'b', 'A', '\0', '\xff');
    const text = fc.array(letters, { minLength: 2, maxLength: 5 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(
        fc.array(text, { minLength: 1, maxLength: 6 }),
        fc.array(letters, { maxLength: 60 }),
        fc.nat(60),
        fc.nat(60),
        (texts, parts, from, end) => {
          const bytes = Buffer.from(parts.join(''), 'latin1');
          const found: string[] = [];
          new TextSearch(texts).each(bytes, from, end, (index, at) => found.push(`${index}@${at}`));
          const expected: string[] = [];
          texts.forEach((each, index) => {
            for (let at = bytes.indexOf(each, 0, 'latin1'); at >= 0; at = bytes.indexOf(each, at + 1, 'latin1')) {
              if (at >= from && at < end) expected.push(`${index}@${at}`);
            }
          });
          assert.deepEqual(found.sort(), expected.sort());
        },
      ),
      { numRuns: 1000 },
    );
  });
});
