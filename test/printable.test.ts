import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { printable, replaceUnprintable } from '../src/printable.ts';

describe('texts of devices, archives and networks', () => {
  test('characters that steer a terminal or reorder a line are escaped by their code point', () => {
    assert.equal(printable('a\x1b[31mb\u202ec\u2028d\ud800e'), 'a\\u{1b}[31mb\\u{202e}c\\u{2028}d\\u{d800}e');
    assert.equal(printable('Grüße 你好'), 'Grüße 你好');
  });

  test('a long text is cut', () => {
    assert.equal(printable('x'.repeat(200)), 'x'.repeat(200));
    assert.equal(printable('x'.repeat(201)), `${'x'.repeat(200)}...`);
  });

  test('whatever the text, nothing unprintable is left, and what was printable stays', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        assert.doesNotMatch(printable(text), /[\p{C}\p{Zl}\p{Zp}]/u);
        assert.equal(replaceUnprintable(printable(text), '#'), printable(text));
      }),
    );
  });

  test('a replacement is taken as it stands', () => {
    assert.equal(replaceUnprintable('a\nb', '$&'), 'a$&b');
  });
});
