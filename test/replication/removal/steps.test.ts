/** What is done with a bucket, as a pure function: laws that hold whatever lies there. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Decision } from '../../../src/archive/retention/types.ts';
import { filesOf } from '../../../src/replication/removal/take-away.ts';
import type { NotedRemoval } from '../../../src/replication/removal/inventory.ts';
import { leftOf, stepsOf } from '../../../src/replication/removal/steps.ts';
import { type StoredName, nameKey } from '../../../src/replication/removal/named-copies.ts';
import { MAC } from '../../archive/support.ts';

const GRACE_MS = 1000;
const FILES = ['manifest.json', 'flash.bin', 'SHA256SUMS'];

interface One {
  readonly stays: boolean;
  readonly isForNow: boolean;
  readonly note: Omit<NotedRemoval, 'files'> | null;
  readonly files: readonly string[];
}

const anyOne: fc.Arbitrary<One> = fc.record({
  stays: fc.boolean(),
  isForNow: fc.boolean(),
  note: fc.option(
    fc.record({
      ageMs: fc.option(fc.integer({ min: 0, max: 3000 })),
      graceMs: fc.integer({ min: 0, max: 3000 }),
      isUnderstood: fc.boolean(),
    }),
  ),
  files: fc.subarray(FILES),
});

function made(ones: readonly One[]): Parameters<typeof stepsOf>[0] {
  const all = ones.map((one, index) => {
    const id = `2020-01-01T00-00-${String(index).padStart(2, '0')}Z`;
    const folder = `50-02-91-c3-37-a5/${id}/`;
    const files = new Map(one.files.map((name) => [name, { key: folder + name, sizeBytes: 1, etag: '' }]));
    const note: NotedRemoval | null = one.note && {
      ...one.note,
      files: one.note.isUnderstood ? ['manifest.json', 'flash.bin'] : [],
    };
    return { one, id, note, copy: { mac: MAC, id, folder, files } };
  });
  const isBackup = ({ one: { files }, note }: (typeof all)[number]) =>
    files.includes('SHA256SUMS') || (note?.isUnderstood === true && files.length === 2);
  const there = all.filter(isBackup);
  return {
    decisions: there.map(({ one, id }): Decision => ({
      ...{ mac: MAC, id, stays: one.stays, sizeOnDiskBytes: 1 },
      reasons: [{ code: one.stays ? (one.isForNow ? 'obstacle' : 'pinned') : 'no-rule', text: 'why' }],
    })),
    names: new Map(
      there.map(({ id, copy }): [string, StoredName] => [nameKey(copy), { mac: MAC, id, copies: [copy] }]),
    ),
    inventory: {
      copies: new Map(all.filter(({ one }) => one.files.length > 0).map(({ copy }) => [copy.folder, copy])),
      notes: new Map(),
    },
    notes: new Map(all.flatMap(({ note, copy }) => (note === null ? [] : [[copy.folder, note] as const]))),
    graceMs: GRACE_MS,
  };
}

describe('the steps, whatever lies in the bucket', () => {
  const anyBucket = fc.array(anyOne, { maxLength: 12 }).map((ones) => ({ ones, parts: made(ones) }));

  test('nothing is removed that stays, that was not announced, or whose grace is not over', () => {
    fc.assert(
      fc.property(anyBucket, ({ parts }) => {
        for (const { kind, id, folder } of stepsOf(parts)) {
          if (kind !== 'remove') continue;
          const note = parts.notes.get(folder);
          assert.ok(note?.isUnderstood === true && note.ageMs !== null);
          assert.ok(note.ageMs >= Math.max(GRACE_MS, note.graceMs));
          assert.equal(parts.decisions.find((each) => each.id === id)?.stays, false);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('what a removal has left is cleared only where the backup is none any more', () => {
    fc.assert(
      fc.property(anyBucket, ({ parts }) => {
        for (const { kind, folder } of stepsOf(parts)) {
          if (kind !== 'finish') continue;
          const files = [...(parts.inventory.copies.get(folder)?.files.keys() ?? [])];
          assert.ok(!files.includes('SHA256SUMS') && files.length < 2);
          assert.equal(parts.notes.get(folder)?.isUnderstood, true);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('of each folder one step at most; a note goes exactly where somebody has said that the backup stays', () => {
    fc.assert(
      fc.property(anyBucket, ({ ones, parts }) => {
        const steps = stepsOf(parts);
        assert.equal(new Set(steps.map(({ folder }) => folder)).size, steps.length);
        const withdrawn = steps.filter(({ kind }) => kind === 'withdraw' || kind === 'revive').map(({ id }) => id);
        for (const { id, stays, reasons } of parts.decisions) {
          const one = ones[Number(id.slice(17, 19))];
          const isSaid = stays && reasons.some(({ code }) => code === 'pinned') && (one?.note ?? null) !== null;
          assert.equal(withdrawn.includes(id), isSaid);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('every backup that goes is announced, waits, or is removed, unless its note is not understood', () => {
    fc.assert(
      fc.property(anyBucket, ({ ones, parts }) => {
        const going = stepsOf(parts).filter(({ kind }) => ['announce', 'wait', 'remove'].includes(kind));
        const expected = parts.decisions.filter(
          ({ id, stays }) => !stays && ones[Number(id.slice(17, 19))]?.note?.isUnderstood !== false,
        );
        assert.deepEqual(going.map(({ id }) => id).sort(), expected.map(({ id }) => id).sort());
        for (const { kind, leftMs } of going) assert.equal(kind !== 'remove', leftMs > 0);
      }),
      { numRuns: 500 },
    );
  });
});

test('how long is left: the longer grace counts, and an age that is not told is none', () => {
  assert.equal(leftOf({ ageMs: 0, graceMs: 5 }, 10), 10);
  assert.equal(leftOf({ ageMs: 9, graceMs: 20 }, 10), 11);
  assert.equal(leftOf({ ageMs: 20, graceMs: 20 }, 10), 0);
  assert.equal(leftOf({ ageMs: null, graceMs: 5 }, 10), 10);
});

test('a SHA256SUMS that lists anything but a manifest and an image names nothing to remove', () => {
  const line = (name: string) => `${'0'.repeat(64)}  ${name}\n`;
  const both = (image: string, manifest = 'manifest.json') => line(image) + line(manifest);
  assert.deepEqual(filesOf(both('flash.bin')), ['flash.bin', 'manifest.json']);
  assert.deepEqual(filesOf(both('flash.bin.zst.enc', 'manifest.json.enc')), ['flash.bin.zst.enc', 'manifest.json.enc']);
  for (const text of [
    '',
    line('flash.bin'),
    line('flash.bin') + line('flash.bin.gz'),
    both('flash.bin') + line('x'),
    both('../../other/flash.bin'),
    both('flash.bin/x'),
    both('flash.bin.exe'),
    both('flash.bin').slice(0, -1),
    `x${both('flash.bin')}`,
  ]) {
    assert.deepEqual(filesOf(text), [], JSON.stringify(text));
  }
});
