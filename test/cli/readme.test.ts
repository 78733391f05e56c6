/** The README's table of codes and its list of exit statuses, compared with the code both ways. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERROR_CODES, EXIT } from '../../src/errors.ts';

const README = new URL('../../README.md', import.meta.url);
const readme = existsSync(README) ? readFileSync(README, 'utf8') : '';

test('every error code is in the table of the README, with its exit status and meaning, and no other', () => {
  const documented = codeRows(readme);
  const real = Object.entries(ERROR_CODES).map(([code, { exit, meaning }]) => ({ code, exit, meaning }));
  const byCode = (a: { code: string }, b: { code: string }) => a.code.localeCompare(b.code);
  assert.deepEqual(documented.toSorted(byCode), real.toSorted(byCode));
});

test('the README lists the exit statuses, and no other', () => {
  assert.deepEqual(exitRows(readme), Object.values(EXIT));
});

test('the parsers of this test read what they are meant to', () => {
  const text = [
    '| code | exit | meaning |',
    '| --- | --- | --- |',
    '| `board-not-found` | 3 | No board \\| none |',
    '|`usage`|2|Wrong|',
    '',
    '| Exit status | Meaning |',
    '| ---: | --- |',
    '| 0 | done |',
    '| `130` | interrupted |',
  ].join('\n');
  assert.deepEqual(codeRows(text), [
    { code: 'board-not-found', exit: 3, meaning: 'No board | none' },
    { code: 'usage', exit: 2, meaning: 'Wrong' },
  ]);
  assert.deepEqual(exitRows(text), [0, 130]);
});

/** Rows like `| `board-not-found` | 3 | meaning |`. */
function codeRows(text: string): { code: string; exit: number; meaning: string }[] {
  const rows = text.matchAll(/^\| *`([a-z][a-z0-9-]*)` *\| *(\d+) *\| *(.*?) *\|$/gm);
  return [...rows].map(([, code = '', exit, meaning = '']) => ({
    code,
    exit: Number(exit),
    meaning: meaning.replaceAll('\\|', '|'),
  }));
}

/** Rows of two columns that begin with a number. */
function exitRows(text: string): number[] {
  return [...text.matchAll(/^\| *`?(\d{1,3})`? *\| *[^|]+\|$/gm)].map(([, status]) => Number(status));
}
