/** Questions of commands, as a page asks them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agreedText, plainQuestion } from '../../web/restore/job-document.ts';

test('a question for a terminal is one line on the page, and what was agreed to is a sentence', () => {
  const question =
    'Every ESP32 with 4 MB of flash that is plugged in from now on is\noverwritten with kitchen. Begin? [y/N] ';
  assert.equal(
    plainQuestion(question),
    'Every ESP32 with 4 MB of flash that is plugged in from now on is overwritten with kitchen. Begin?',
  );
  assert.equal(
    agreedText(question),
    'Every ESP32 with 4 MB of flash that is plugged in from now on is overwritten with kitchen.',
  );
  assert.equal(plainQuestion('Write\n\n  it?'), 'Write it?');
  assert.equal(agreedText('no question'), 'no question');
  assert.doesNotMatch(plainQuestion('a\u202eb\u001b[31m'), /[\u202e\u001b]/);
  for (const text of ['', '\n', '?', '[y/N]']) assert.doesNotThrow(() => agreedText(text));
});
