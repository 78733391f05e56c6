import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CONFIRMATIONS, LABELS, PINS, REMOVALS, parseEvents } from '../../../src/archive/marks/events.ts';
import { NO_MARKS, aboutOf, foldMarks, isConfirmed, pinsOf } from '../../../src/archive/marks/marks.ts';

const AT = '2026-11-26T10:00:00.000Z';
const ID = '2026-11-23T10-00-00Z';
const FILES = [LABELS, PINS, REMOVALS, CONFIRMATIONS] as const;
const parse = (file: (typeof FILES)[number], text: string) => parseEvents<{ readonly at: string }>(file, text);

test('the last value of each key counts, and a key that is missing leaves what was there', () => {
  const lines = [
    { at: AT, label: 'kitchen', group: 'home' },
    { at: AT, note: 'behind the fridge' },
    { at: AT, label: 'pantry' },
    { at: AT, group: null },
  ];
  const { events, strangeLines } = parseEvents(LABELS, lines.map((line) => JSON.stringify(line)).join('\n'));
  assert.deepEqual(strangeLines, []);
  assert.deepEqual(aboutOf(events), { label: 'pantry', note: 'behind the fridge', group: null });
});

test('the last line of each backup says whether it is pinned', () => {
  const other = '2026-11-22T10-00-00Z';
  const lines = [
    { at: AT, id: ID, pinned: true, note: 'works' },
    { at: AT, id: other, pinned: true },
    { at: AT, id: ID, pinned: false },
    { at: AT, id: ID, pinned: true, note: null },
    { at: AT, id: other, pinned: false },
  ];
  const { events } = parseEvents(PINS, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  assert.deepEqual(pinsOf(events), [{ id: ID, at: AT, note: null }]);
});

test('a file that is cut off anywhere gives its whole lines, and says which line is strange', () => {
  const line = JSON.stringify({ at: AT, id: ID, pinned: true, note: null });
  const whole = `${line}\n${line}\n`;
  for (let length = 0; length <= whole.length; length++) {
    const { events, strangeLines } = parseEvents(PINS, whole.slice(0, length));
    const isWhole = (end: number) => length >= end;
    assert.equal(events.length, Number(isWhole(line.length)) + Number(isWhole(2 * line.length + 1)), `${length}`);
    const isTorn = ![0, line.length, line.length + 1, 2 * line.length + 1, whole.length].includes(length);
    assert.deepEqual(strangeLines, isTorn ? [length < line.length ? 1 : 2] : [], `${length}`);
  }
});

test('no content makes a reader of events throw, or give what is no event', () => {
  const value = fc.oneof(fc.anything(), fc.constant(AT), fc.constant(ID), fc.boolean());
  const keys = ['at', 'id', 'pinned', 'label', 'note', 'group', 'md5', 'sha256', 'by', 'port', 'why', '__proto__'];
  const event = fc.dictionary(fc.constantFrom(...keys), value);
  const line = fc.oneof(
    fc.string(),
    fc.json(),
    event.map((each) => JSON.stringify(each)),
  );
  fc.assert(
    fc.property(fc.array(line), fc.constantFrom(...FILES), (lines, file) => {
      const text = lines.join('\n');
      const { events, strangeLines } = parse(file, text);
      const written = text.split('\n').filter((each) => each !== '');
      assert.equal(events.length + strangeLines.length, written.length);
      const again = parse(file, events.map((each) => JSON.stringify(each)).join('\n'));
      assert.deepEqual(again.strangeLines, []);
      assert.equal(again.events.length, events.length);
    }),
  );
});

test('texts that could steer a terminal are made printable as they are read', () => {
  const { events } = parseEvents(LABELS, JSON.stringify({ at: AT, label: '\u001b[2Jx', note: 'a\u202eb' }));
  assert.deepEqual(aboutOf(events), { label: '\\u{1b}[2Jx', note: 'a\\u{202e}b', group: null });
});

test('an image from a file is confirmed by the line that has its own MD5', () => {
  const md5 = 'a'.repeat(32);
  const backup = { id: ID, manifest: { confirmed: null, image: { md5 } } };
  const confirmation = { at: AT, id: ID, md5, by: 'stub' as const, port: '/dev/ttyUSB0' };
  const marks = (changed: object) => ({ ...NO_MARKS, confirmations: [{ ...confirmation, ...changed }] });
  assert.equal(isConfirmed(backup, NO_MARKS), false);
  assert.equal(isConfirmed(backup, marks({})), true);
  assert.equal(isConfirmed(backup, marks({ md5: 'b'.repeat(32) })), false);
  assert.equal(isConfirmed(backup, marks({ id: '2026-11-23T10-00-01Z' })), false);
  assert.equal(isConfirmed({ ...backup, manifest: { ...backup.manifest, confirmed: {} } }, NO_MARKS), true);
});

test('marks of no files are no marks', () => {
  const none = { events: [], strangeLines: [] };
  assert.deepEqual(foldMarks({ labels: none, pins: none, removals: none, confirmations: none }), NO_MARKS);
});
