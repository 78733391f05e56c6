import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkGroup, checkLabel, checkNote, selectBoard } from '../../../src/archive/marks/labels.ts';
import { hasCode } from '../../../src/errors.ts';
import { type Mac, parseMac } from '../../../src/mac.ts';
import { MAC, OTHER_MAC } from '../support.ts';

test('what can be a label is kept without blanks at its ends, in one form', () => {
  for (const label of [
    'kitchen',
    'door sensor 2',
    'Küche',
    '7',
    'bench-3',
    'cafe',
    'feed',
    'deadbeef',
    '2026',
    'first floor',
    '12345',
    '2026-2027',
  ]) {
    assert.equal(checkLabel(`  ${label} `), label);
  }
  assert.equal(checkLabel('Ku\u0308che'), 'Küche');
  assert.equal(checkLabel('x'.repeat(64)), 'x'.repeat(64));
});

test('what means something else is no label', () => {
  const refused = [
    ...['', '   ', 'x'.repeat(65), 'a\u0007b', 'a\u202eb', 'a\nb', '-x', '--all', 'a@b', 'a/b', '..\\x'],
    ...[
      '50:02:91:c3:37:a5',
      '50-02-91-C3-37-A5',
      '500291c337a5',
      '5002.91c3.37a5',
      'c3:37:a5',
      'c3-37-a',
      '50:02:91:c3:37:a',
      'c337a5',
      '123456',
      '50:02:91:ff:fe:c3:37:a5',
    ],
    ...['latest', 'First', '2026-11-23T10-00-00Z', '2026-11-23', '2026-11-23T10:00Z'],
  ];
  for (const text of refused)
    assert.throws(
      () => checkLabel(text),
      (error) => hasCode(error, 'usage'),
      text,
    );
});

test('a label that is kept is still one, and can never be read as a MAC', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      let label: string;
      try {
        label = checkLabel(text);
      } catch (error) {
        assert.ok(hasCode(error, 'usage'));
        return;
      }
      assert.equal(checkLabel(label), label);
      assert.equal(parseMac(label), undefined);
    }),
  );
});

const labels = new Map<Mac, string>([
  [MAC, 'Kitchen'],
  [OTHER_MAC, 'door sensor'],
]);
const macs = [...labels.keys()];

test('a label names its board, whatever the case', () => {
  assert.equal(selectBoard('kitchen', macs, labels), MAC);
  assert.equal(selectBoard(' DOOR sensor', macs, labels), OTHER_MAC);
});

test('a label of two boards names none, and the error names both', () => {
  const both = new Map([...labels, [OTHER_MAC, 'KITCHEN'] as const]);
  assert.throws(
    () => selectBoard('kitchen', macs, both),
    (error) => hasCode(error, 'label-ambiguous') && error.message.includes(MAC) && error.message.includes(OTHER_MAC),
  );
});

test('a label that nobody has is an error that names those like it', () => {
  const refusal = (text: string) => {
    try {
      selectBoard(text, macs, labels);
    } catch (error) {
      assert.ok(hasCode(error, 'archive-unknown-board'));
      return error.hint;
    }
    return assert.fail('a board was found');
  };
  assert.match(refusal('kitchn'), /"Kitchen"/);
  assert.match(refusal('sensor'), /"door sensor"/);
  assert.match(refusal('garage'), /It holds 2 boards/);
  assert.match(refusal('esp_c337a5'), new RegExp(MAC));
});

test('groups and notes are one line that can be printed, of their length', () => {
  assert.equal(checkGroup(' ground floor/kitchen '), 'ground floor/kitchen');
  assert.equal(checkGroup('2026-11-23'), '2026-11-23');
  assert.equal(checkNote('moved to the attic, see the wiki @page'), 'moved to the attic, see the wiki @page');
  assert.equal(checkNote('x'.repeat(1000)).length, 1000);
  for (const check of [
    () => checkGroup('x'.repeat(65)),
    () => checkNote('x'.repeat(1001)),
    () => checkNote('a\nb'),
    () => checkGroup('\x1b[2J'),
    () => checkNote('  '),
  ]) {
    assert.throws(check, (error) => hasCode(error, 'usage'));
  }
});
