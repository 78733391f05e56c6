import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { csvText } from '../../src/cli/csv.ts';

test('RFC 4180: CRLF, quotes where they are needed, doubled inside', () => {
  const rows = [
    ['a', 'b', 'c'],
    ['plain', 1048576, null],
    ['with, comma', 'with "quotes"', 'with\nbreak'],
  ];
  assert.equal(csvText(rows), 'a,b,c\r\nplain,1048576,\r\n"with, comma","with ""quotes""","with\nbreak"\r\n');
  assert.equal(csvText([]), '');
});

test('what a spreadsheet would calculate is text', () => {
  const formulas = ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', '=HYPERLINK("http://x","y")'];
  const cells = parse(csvText([formulas]))[0];
  assert.deepEqual(
    cells,
    formulas.map((formula) => `'${formula}`),
  );
  // A number is one, and a text with a sign inside is no formula.
  assert.equal(csvText([[-5, 'a-b', "'quoted"]]), "-5,a-b,'quoted\r\n");
});

test('what is written is read back', () => {
  const cell = fc.oneof(fc.string(), fc.constantFrom('"', ',', '\r\n', '""', '=a,"b'), fc.integer(), fc.constant(null));
  fc.assert(
    fc.property(fc.array(fc.array(cell, { minLength: 1, maxLength: 5 }), { maxLength: 5 }), (rows) => {
      const expected = rows.map((row) =>
        row.map((value) => {
          const text = value === null ? '' : String(value);
          return typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
        }),
      );
      assert.deepEqual(parse(csvText(rows)), expected);
    }),
  );
});

/** Written from the RFC's grammar. */
function parse(text: string): string[][] {
  const rows: string[][] = [];
  let at = 0;
  while (at < text.length) {
    const row: string[] = [];
    for (;;) {
      let cell = '';
      if (text[at] === '"') {
        at += 1;
        while (!(text[at] === '"' && text[at + 1] !== '"')) {
          assert.ok(at < text.length);
          if (text[at] === '"') at += 1;
          cell += text.charAt(at);
          at += 1;
        }
        at += 1;
      } else {
        while (at < text.length && text[at] !== ',' && !text.startsWith('\r\n', at)) cell += text.charAt(at++);
      }
      row.push(cell);
      if (text[at] !== ',') break;
      at += 1;
    }
    assert.ok(text.startsWith('\r\n', at));
    at += 2;
    rows.push(row);
  }
  return rows;
}
