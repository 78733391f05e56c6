import assert from 'node:assert/strict';
import { test } from 'node:test';
import { latestMeant } from '../../src/archive/meant.ts';
import type { RestoreRecord } from '../../src/archive/restore-record.ts';
import type { CompletedRestore } from '../../src/archive/restores.ts';
import { parseMac } from '../../src/mac.ts';

const mac = parseMac('50:02:91:c3:37:a5')!;
const [A, B, C] = ['2026-11-01T00-00-00Z', '2026-11-02T00-00-00Z', '2026-11-03T00-00-00Z'];

function restore(from: string, snapshot: string | null, snapshotIsNew = true): CompletedRestore {
  return { at: '2026-11-04T00:00:00Z', from: { mac, id: from }, snapshot, snapshotIsNew, partial: false };
}

test('latest: the newest backup that is no snapshot of before a restore', () => {
  const half = { ...restore(A, C), record: null } as unknown as RestoreRecord;
  const cases: [string, string[], CompletedRestore[], RestoreRecord | null, string | undefined][] = [
    ['no backup', [], [], null, undefined],
    ['no restore', [A, B], [], null, B],
    ['a snapshot is the newest', [A, B], [restore(A, B)], null, A],
    ['what was there was kept already', [A, B], [restore(A, B, false)], null, B],
    ['no snapshot was made', [A, B], [restore(A, null)], null, B],
    ['a backup after the restore', [A, B, C], [restore(A, B)], null, C],
    ['a snapshot put back on purpose', [A, B], [restore(A, B), restore(B, A, false)], null, B],
    ['and replaced again', [A, B, C], [restore(A, B), restore(B, A, false), restore(A, C)], null, B],
    ['a restore that has not ended', [A, B, C], [], half, B],
    ['nothing but snapshots', [A, B], [restore(C, A), restore(C, B)], null, undefined],
  ];
  for (const [what, ids, restores, unfinished, expected] of cases) {
    assert.equal(latestMeant(ids, restores, unfinished), expected, what);
  }
});
