import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { idFromDate, idToDate, isBackupId, nextId, placedId } from '../../src/archive/ids.ts';

const dates = fc.date({
  min: new Date('0000-01-01T00:00:00Z'),
  max: new Date('9999-12-31T23:59:59.999Z'),
  noInvalidDate: true,
});

test('an id is the UTC time to the second', () => {
  assert.equal(idFromDate(new Date('2026-11-23T10:00:00.999Z')), '2026-11-23T10-00-00Z');
  assert.equal(idFromDate(new Date('0001-01-01T00:00:00Z')), '0001-01-01T00-00-00Z');
});

test('ids sort as their times, and give them back', () => {
  fc.assert(
    fc.property(dates, dates, (a, b) => {
      const [idA, idB] = [idFromDate(a), idFromDate(b)];
      const [secondA, secondB] = [Math.floor(a.getTime() / 1000), Math.floor(b.getTime() / 1000)];
      assert.equal(idA < idB, secondA < secondB);
      assert.equal(idA === idB, secondA === secondB);
      assert.equal(idToDate(idA)?.getTime(), secondA * 1000);
    }),
  );
});

test('what is no id', () => {
  const texts = [
    '', 'latest', '2026-11-23', '2026-11-23T10:00:00Z', '2026-11-23T10-00-00', '2026-11-23T10-00-00Z ', ' 2026-11-23T10-00-00Z',
    '2026-11-23T10-00-00Z\n', '2026-13-01T00-00-00Z', '2026-02-30T00-00-00Z', '2025-02-29T00-00-00Z', '2026-11-23T24-00-00Z',
    '2026-11-23T23-60-00Z', '2026-11-23T23-59-60Z', '+02026-11-23T10-00-00Z', '2026-11-23t10-00-00z', '2026-11-23T10-00-00Z/..',
    'draft.2026-11-23T10-00-00Z', '２026-11-23T10-00-00Z',
  ]; // prettier-ignore
  for (const text of texts) assert.equal(isBackupId(text), false, JSON.stringify(text));
  assert.equal(isBackupId('2024-02-29T00-00-00Z'), true);
});

test('the next id is the time asked for, or one second after the newest', () => {
  const at = new Date('2026-11-23T10:00:00Z');
  assert.equal(nextId([], at), '2026-11-23T10-00-00Z');
  assert.equal(nextId(['2026-11-23T09-59-59Z'], at), '2026-11-23T10-00-00Z');
  assert.equal(nextId(['2026-11-23T10-00-00Z'], at), '2026-11-23T10-00-01Z');
  assert.equal(nextId(['2027-12-31T23-59-59Z', '2026-11-23T10-00-00Z'], at), '2028-01-01T00-00-00Z');
  assert.equal(nextId(['zzz', 'seen.jsonl', '2026-99-99T99-99-99Z', 'draft.x'], at), '2026-11-23T10-00-00Z');
  assert.throws(() => nextId(['9999-12-31T23-59-59Z'], at), RangeError);
  assert.throws(() => nextId([], new Date(NaN)), RangeError);
});

test('whatever the clock does, each next id is new and sorts last', () => {
  fc.assert(
    fc.property(
      fc.array(
        dates.filter((date) => date.getUTCFullYear() < 9990),
        { maxLength: 20 },
      ),
      (clock) => {
        const ids: string[] = [];
        for (const now of clock) ids.push(nextId(ids.toReversed(), now));
        assert.deepEqual(ids.toSorted(), ids);
        assert.equal(new Set(ids).size, ids.length);
      },
    ),
  );
});

test('an imported backup stands at its date, or at the next second that is free', () => {
  const at = new Date('2026-11-23T10:00:00.500Z');
  const newer = '2026-11-24T10-00-00Z';
  assert.equal(placedId([newer], at), '2026-11-23T10-00-00Z', 'older than what is there');
  assert.equal(placedId([], at), '2026-11-23T10-00-00Z');
  const taken = ['2026-11-23T10-00-00Z', '2026-11-23T10-00-01Z', newer];
  assert.equal(placedId(taken, at), '2026-11-23T10-00-02Z');
  assert.equal(placedId(['2026-12-31T23-59-59Z'], new Date('2026-12-31T23:59:59Z')), '2027-01-01T00-00-00Z');
  assert.throws(() => placedId(['9999-12-31T23-59-59Z'], new Date('9999-12-31T23:59:59Z')), RangeError);
});
