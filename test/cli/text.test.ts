import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bold,
  dim,
  formatSize,
  formatTable,
  jsonText,
  plural,
  printable,
  renderLine,
  wrapText,
} from '../../src/cli/text.ts';
import { assertPlain } from '../support/cli.ts';

test('sizes are worded as flash is sold', () => {
  const cases: [number, string][] = [
    [0, '0 bytes'],
    [1, '1 byte'],
    [1023, '1023 bytes'],
    [1024, '1 KB'],
    [1536, '1.5 KB'],
    [262144, '256 KB'],
    [1024 * 1024 - 1, '1024.0 KB'],
    [1024 * 1024, '1 MB'],
    [4 * 1024 * 1024, '4 MB'],
    [128 * 1024 * 1024, '128 MB'],
  ];
  for (const [bytes, text] of cases) assert.equal(formatSize(bytes), text);
});

test('one is singular, everything else plural', () => {
  assert.deepEqual(
    [0, 1, 2].map((count) => plural(count, 'board')),
    ['0 boards', '1 board', '2 boards'],
  );
});

test('a table pads all columns but the last, and ends no line with blanks', () => {
  assert.deepEqual(
    formatTable([
      ['A', 'LONG', 'C'],
      ['aaaa', 'b', ''],
      ['a', '', 'c'],
    ]),
    ['A     LONG  C', 'aaaa  b', 'a           c'],
  );
  assert.deepEqual(formatTable([]), []);
});

test('nothing in a text can steer the terminal', () => {
  const hostile = 'a\x1b[2J\x1b]0;title\x07b\x9b31m\r\nc\u202ed\u2028e\u{e0001}f\tg\x7fh';
  assert.equal(printable(hostile), 'a·[2J·]0;title·b·31m··c·d·e·f·g·h');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => assertPlain(printable(text))));
});

test('words of every script are left as they are', () => {
  for (const text of ['Küche', 'датчик', '温度', 'café №1 – 50 %']) assert.equal(printable(text), text);
});

test('a style is beside the text, and stays only where it is wanted', () => {
  assert.equal(renderLine([bold('a'), ' ', dim('b')], true), '\x1b[1ma\x1b[22m \x1b[2mb\x1b[22m');
  assert.equal(renderLine([bold('a'), ' ', dim('b')], false), 'a b');
});

test('no text can bring a style along, whatever part of a line it is', () => {
  const sgr = '\x1b[1mx\x1b[22m\x1b[2my\x1b[22m\x1b[0m';
  const shown = '\u00b7[1mx\u00b7[22m\u00b7[2my\u00b7[22m\u00b7[0m';
  assert.equal(printable(sgr), shown);
  assert.equal(renderLine([sgr, bold(sgr), dim(sgr)], true), `${shown}\x1b[1m${shown}\x1b[22m\x1b[2m${shown}\x1b[22m`);
  const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(sgr, '\x1b[1m', '\x9b1m', '\x1b'));
  const span = fc.oneof(text, text.map(bold), text.map(dim));
  fc.assert(
    fc.property(fc.array(span), (spans) => {
      assertPlain(renderLine(spans, false));
      const styles = spans.filter((part) => typeof part !== 'string').length;
      const found = [...renderLine(spans, true).matchAll(/\x1b\[(?:1|2|22)m/g)];
      assert.equal(found.length, 2 * styles);
      assert.doesNotMatch(renderLine(spans, true).replace(/\x1b\[(?:1|2|22)m/g, ''), /\p{C}/u);
    }),
  );
});

test('a JSON document says the same as JSON.stringify, with no control character but line feeds', () => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
      const text = jsonText(value);
      assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
      assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    }),
  );
  assert.match(jsonText({ name: '\x9b2J\u202e\u{e0001}' }), /"\\u009b2J\\u202e\\udb40\\udc01"/);
});

test('text is wrapped between words, and what is in quotes stays in one piece', () => {
  assert.deepEqual(wrapText('one two three', 7), ['one two', 'three']);
  assert.deepEqual(wrapText('one two three', 8, '  '), ['one two', '  three']);
  assert.deepEqual(wrapText('see "espd show M" and averyveryverylongword x', 10), [
    'see',
    '"espd show M"',
    'and',
    'averyveryverylongword',
    'x',
  ]);
  assert.deepEqual(wrapText('one  two', Infinity), ['one two']);
  assert.deepEqual(wrapText('', 10), []);
});
