/** What a backup costs does not grow with the backups of its board, nor with the boards of the archive. */

import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import type { Mac } from '../../src/mac.ts';
import { boardMac, fillArchive } from '../support/fill-archive.ts';
import { type Call, archiveAt, content, image, temporaryFolder, watchedFileSystem } from './support.ts';

interface Counted {
  readonly root: string;
  readonly archive: ReturnType<typeof archiveAt>;
  /** Runs `work` and says which calls it made, each as `name path-in-the-archive`. */
  calls(work: () => Promise<unknown>): Promise<string[]>;
}

async function counted(t: TestContext, boards: number, backups: number): Promise<Counted> {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, boards, backups, 300);
  let seen: string[] = [];
  const fs = watchedFileSystem(({ name, path }: Call) => void seen.push(`${name} ${path.slice(root.length + 1)}`));
  return {
    root,
    archive: archiveAt(root, { fs }),
    calls: async (work) => {
      seen = [];
      await work();
      return seen;
    },
  };
}

async function backUpAgain(archive: ReturnType<typeof archiveAt>, mac: Mac, day: number): Promise<void> {
  const bytes = image(300, day);
  await archive.latest(mac);
  const draft = await archive.begin(mac, bytes.length);
  await (await archive.candidates(mac)).close();
  await draft.write(0, bytes);
  await draft.commit(content(bytes, `2030-01-${String(day).padStart(2, '0')}T10:00:00.000Z`, mac));
}

test("a board's 1,000th backup takes as many calls as its 20th", async (t) => {
  const mac = boardMac(0);
  const few = await counted(t, 1, 20);
  const many = await counted(t, 1, 1000);
  for (const day of [1, 2]) {
    const [calls, more] = [
      await few.calls(() => backUpAgain(few.archive, mac, day)),
      await many.calls(() => backUpAgain(many.archive, mac, day)),
    ];
    assert.ok(calls.length > 50, String(calls.length));
    assert.equal(more.length, calls.length);
    assert.ok(more.filter((call) => /^open .*manifest\.json$/.test(call)).length <= 25);
  }
  const shown = await many.calls(() => many.archive.overview());
  assert.ok(shown.length < 60, String(shown.length));
});

test('a backup looks at few folders of other boards, and at none once the archive was looked around in', async (t) => {
  const own = boardMac(0);
  const small = await counted(t, 2, 1);
  const large = await counted(t, 300, 1);
  assert.equal((await large.archive.candidates(own)).list.length, 300, 'now there is an index');
  const later: string[] = [];
  const fs = watchedFileSystem(({ name, path }) => void later.push(`${name} ${path.slice(large.root.length + 1)}`));
  assert.equal((await archiveAt(large.root, { fs }).candidates(own)).list.length, 300);
  const folders = new Set(later.filter((call) => /^lstat [0-9a-f-]{17}$/.test(call)));
  assert.ok(folders.size >= 64 && folders.size <= 65, String(folders.size));

  for (const each of [small, large]) await each.archive.lookAround();
  const counts = [];
  for (const each of [small, large]) {
    counts.push((await each.calls(() => backUpAgain(each.archive, own, 1))).length);
    assert.equal((await each.archive.candidates(own)).list.length, each === small ? 3 : 301);
  }
  assert.equal(counts[1], counts[0]);
});

test('what was added by others is known half an hour later', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, 3, 1, 300);
  let nowMs = 0;
  const archive = archiveAt(root, { clock: { ...systemClock, now: () => nowMs } });
  const listed = async () => (await archive.candidates(boardMac(0))).list.length;
  await archive.lookAround();
  fillArchive(join(root, '..', 'other'), 5, 1, 300);
  await cp(join(root, '..', 'other'), root, { recursive: true });
  assert.equal(await listed(), 3);
  nowMs = 31 * 60 * 1000;
  assert.equal(await listed(), 5);
});
