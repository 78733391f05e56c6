/** elsewhere.jsonl is made shorter, and says the same: whoever writes beside it, and whatever fails. */

import assert from 'node:assert/strict';
import { appendFile, chmod, cp, link, lstat, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import fc from 'fast-check';
import { beforeName, nextName } from '../../../src/archive/elsewhere/compaction-names.ts';
import { compact } from '../../../src/archive/elsewhere/compaction.ts';
import { currentOwner, draftName } from '../../../src/archive/owner.ts';
import { MAC, archiveAt, systemError, temporaryFolder, watchedFileSystem } from '../support.ts';
import {
  NEVER,
  answers,
  boardOf,
  dayAt,
  diskOf,
  filled,
  goneOf,
  interrupted,
  leftovers,
  logAt,
  noted,
  textOf,
} from './compaction-support.ts';
import { dyingAt } from './support.ts';

const compacted = (root: string, fs?: Parameters<typeof diskOf>[0]) => compact(diskOf(fs), boardOf(root), MAC);

async function board(t: TestContext): Promise<string> {
  const root = await temporaryFolder(t);
  await filled(root);
  return root;
}

describe('elsewhere.jsonl made shorter', () => {
  test('a line of those that are there, a small one of those that are gone, with what they were; the same mode', async (t) => {
    const root = await board(t);
    const before = await answers(root);
    const path = join(boardOf(root), 'elsewhere.jsonl');
    const { mode, size } = await lstat(path);
    assert.equal(await compacted(root), true);
    const lines = (await textOf(root)).trimEnd().split('\n');
    assert.equal(lines.length, 12);
    assert.equal(lines.filter((line) => line.includes('"manifest":')).length, 2);
    assert.ok(lines.filter((line) => line.includes('"removed":true')).every((line) => line.length < 350));
    assert.deepEqual(await answers(root), before);
    assert.equal((await lstat(path)).mode, mode);
    assert.ok((await lstat(path)).size < size / 3);
    assert.deepEqual(await leftovers(root), []);
    assert.equal(await compacted(root), false, 'there is nothing to be gained any more');
    assert.deepEqual(await answers(root), before);
  });

  test('what this espd does not understand stays byte for byte, keys of a later espd too', async (t) => {
    const root = await board(t);
    const path = join(boardOf(root), 'elsewhere.jsonl');
    const later = JSON.parse((await textOf(root)).split('\n')[11] ?? '') as { manifest: object };
    const odd = [
      Buffer.from('{"what":"a later espd says"}'),
      Buffer.from([0xff, 0xfe, 0x00, 0x7b]),
      Buffer.from(JSON.stringify({ ...later, at: dayAt(300), manifest: { ...later.manifest, formatVersion: 99 } })),
      Buffer.from(JSON.stringify({ ...goneOf(40), mac: undefined, removed: true, later: { x: 1 } })),
    ];
    for (const line of odd) await appendFile(path, Buffer.concat([line, Buffer.from('\n')]));
    await appendFile(path, '\n\n{"cut off":');
    const before = await answers(root);
    assert.equal(await compacted(root), true);
    const after = await readFile(path);
    for (const line of odd) assert.ok(after.includes(line), line.toString());
    assert.ok(!after.includes('cut off'), 'nobody was told that this is written');
    assert.deepEqual(await answers(root), before);
  });

  test('a line that no espd can read leaves the file as it is', async (t) => {
    const root = await board(t);
    await appendFile(join(boardOf(root), 'elsewhere.jsonl'), `${'x'.repeat(2_000_000)}\n`);
    const before = await textOf(root);
    assert.equal(await compacted(root), false);
    assert.equal(await textOf(root), before);
    assert.deepEqual(await leftovers(root), []);
  });

  test('not at each line: only when most of a file is of no use, which it is not again until it has doubled', async (t) => {
    const root = await temporaryFolder(t);
    await mkdir(boardOf(root));
    let renames = 0;
    const fs = watchedFileSystem(({ name }) => {
      if (name === 'rename') renames++;
    });
    const log = logAt(root, 20_000, fs);
    for (let day = 0; day < 150; day++) {
      await log.add(noted(day));
      if (day >= 5) await log.add(goneOf(day - 5));
    }
    assert.ok(renames >= 2 && renames <= 30, `${renames}`);
    assert.ok((await textOf(root)).length < 120_000);
    const { of, gone } = (await answers(root)) as { of: unknown[]; gone: unknown[] };
    assert.deepEqual([of.length, gone.length], [5, 145]);
  });

  test('law: three writers who make it shorter say the same as one who never does', async (t) => {
    const folder = await temporaryFolder(t);
    let run = 0;
    let shorter = 0;
    const event = fc.tuple(
      fc.nat(2),
      fc.constantFrom('note', 'gone', 'missing', 'compact'),
      fc.nat(3),
      fc.integer({ min: 50, max: 54 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 15, maxLength: 50 }), async (events) => {
        const [root, other] = [join(folder, `${run++}`), join(folder, `${run++}`)];
        for (const each of [root, other]) await mkdir(boardOf(each), { recursive: true });
        const writers = [logAt(root, 1000), logAt(root, 4000), logAt(root)];
        const reference = logAt(other);
        for (const [writer, what, day, at] of events) {
          if (what === 'compact') {
            if (await compacted(root).catch(() => false)) shorter++;
            continue;
          }
          const gone = { ...goneOf(day, dayAt(at)), ...(what === 'missing' ? { isMissing: true } : {}) };
          const line = what === 'note' ? noted(day, dayAt(at)) : gone;
          await writers[writer]?.add(line);
          await reference.add(line);
        }
        assert.deepEqual(await answers(root), await answers(other));
        assert.deepEqual(await leftovers(root), []);
      }),
      // The same each time, so that it can be said how often one of them was made shorter.
      { numRuns: 25, seed: 14, endOnFailure: true },
    );
    assert.ok(shorter > 5, `${shorter}`);
  });

  for (const what of ['a link', 'in a folder that is a link', 'of another mode']) {
    test(`one that is ${what} stays as it is`, async (t) => {
      const root = await board(t);
      const path = join(boardOf(root), 'elsewhere.jsonl');
      if (what === 'a link') {
        await rename(path, join(root, 'precious'));
        await symlink(join(root, 'precious'), path);
      } else if (what === 'of another mode') await chmod(path, 0o600);
      else {
        await rename(boardOf(root), join(root, 'precious'));
        await symlink(join(root, 'precious'), boardOf(root));
      }
      const before = await textOf(root);
      await compacted(root).catch(() => false);
      assert.equal(await textOf(root), before);
      assert.deepEqual(await leftovers(root), []);
    });
  }
});

describe('while others write', () => {
  test('a line that is noted ahead of any call of a compaction is there afterwards', async (t) => {
    const full = await board(t);
    for (let at = 1, isOver = false; !isOver; at++) {
      const root = await temporaryFolder(t);
      await cp(full, root, { recursive: true });
      let calls = 0;
      isOver = true;
      const fs = interrupted(async () => {
        if (++calls !== at) return;
        isOver = false;
        assert.equal(await logAt(root).add(noted(100)), true);
        assert.equal(await logAt(root).add(goneOf(11, dayAt(101))), true);
      });
      await compacted(root, fs);
      if (calls < at) break;
      const log = logAt(root);
      assert.ok(
        (await log.read(MAC)).some(({ at: day }) => day === dayAt(100)),
        `call ${at}`,
      );
      assert.ok(
        (await log.gone(MAC)).some(({ at: day }) => day === dayAt(101)),
        `call ${at}`,
      );
      assert.deepEqual([(await log.read(MAC)).length, (await log.gone(MAC)).length], [2, 11], `call ${at}`);
      assert.deepEqual(await leftovers(root), []);
    }
  });

  test('a compaction ahead of any call of one who notes: the line is there afterwards', async (t) => {
    const full = await board(t);
    for (let at = 1, isOver = false; !isOver; at++) {
      const root = await temporaryFolder(t);
      await cp(full, root, { recursive: true });
      let calls = 0;
      isOver = true;
      const fs = interrupted(async () => {
        if (++calls !== at) return;
        isOver = false;
        assert.equal(await compacted(root), true);
      });
      assert.equal(await logAt(root, NEVER, fs).add(noted(100)), true);
      assert.deepEqual((await logAt(root).read(MAC)).length, 3, `call ${at}`);
      assert.deepEqual((await logAt(root).gone(MAC)).length, 10, `call ${at}`);
    }
  });

  test('a compaction, and then a line, ahead of any call of another compaction: one at most has replaced it', async (t) => {
    const full = await board(t);
    for (let at = 1, isOver = false; !isOver; at++) {
      const root = await temporaryFolder(t);
      await cp(full, root, { recursive: true });
      let calls = 0;
      isOver = true;
      const fs = interrupted(async () => {
        if (++calls !== at) return;
        isOver = false;
        await compacted(root);
        assert.equal(await logAt(root).add(noted(100)), true);
      });
      await compacted(root, fs);
      const log = logAt(root);
      if (calls >= at)
        assert.deepEqual([(await log.read(MAC)).length, (await log.gone(MAC)).length], [3, 10], `call ${at}`);
    }
  });
});

describe('when it fails', () => {
  for (const code of ['ENOSPC', 'EIO']) {
    test(`${code} at any call, once: the line that was to be noted is, and nothing is lost or left for ever`, async (t) => {
      const full = await board(t);
      let reached = 0;
      for (let at = 1, isOver = false; !isOver; at++) {
        const root = await temporaryFolder(t);
        await cp(full, root, { recursive: true });
        const before = await answers(root);
        let calls = 0;
        isOver = true;
        const fs = watchedFileSystem(() => {
          if (++calls !== at) return;
          isOver = false;
          throw systemError(code);
        });
        await compacted(root, fs).catch(() => false);
        await logAt(root).add(goneOf(0, dayAt(20)));
        assert.deepEqual(await answers(root), before, `call ${at}`);
        await compacted(root);
        assert.deepEqual(await answers(root), before, `call ${at}`);
        reached = Math.max(reached, at);
      }
      assert.ok(reached > 20, `${reached}`);
    });
  }

  test('a process that dies at any call, with a line noted before it does: all is there with the next line that is noted', async (t) => {
    const full = await board(t);
    for (let at = 1, isOver = false; !isOver; at++) {
      const root = await temporaryFolder(t);
      await cp(full, root, { recursive: true });
      const { fs, hasDied } = dyingAt(at);
      await compacted(root, fs).catch(() => false);
      isOver = !hasDied();
      // Its process is alive in truth: what it has left is taken for that of one that is gone.
      for (const name of await leftovers(root)) {
        const { pid } = await currentOwner();
        await rename(join(boardOf(root), name), join(boardOf(root), name.replace(`.${pid}.`, '.4194305.')));
      }
      assert.deepEqual((await archiveAt(root).verify({})).foreign, []);
      assert.equal(await logAt(root, 1000).add(noted(100)), true);
      const log = logAt(root);
      assert.deepEqual([(await log.read(MAC)).length, (await log.gone(MAC)).length], [3, 10], `call ${at}`);
      await logAt(root).add(noted(101));
      if (at % 5 === 0) {
        await compacted(root);
        assert.deepEqual(await leftovers(root), [], `call ${at}`);
      }
    }
  });

  test('lines that are in the old file alone are found under its second name, and only once', async (t) => {
    const root = await board(t);
    const path = join(boardOf(root), 'elsewhere.jsonl');
    const maker = draftName({ ...(await currentOwner()), pid: 4_194_305 });
    await link(path, join(boardOf(root), beforeName(maker)));
    const old = await textOf(root);
    await writeFile(`${path}.x`, old.split('\n').slice(0, 5).join('\n') + '\n');
    await rename(`${path}.x`, path);
    await appendFile(join(boardOf(root), beforeName(maker)), 'what nobody understands\n');
    await logAt(root).add(noted(100));
    const log = logAt(root);
    assert.deepEqual([(await log.read(MAC)).length, (await log.gone(MAC)).length], [3, 10]);
    assert.equal((await textOf(root)).split('what nobody understands').length, 2);
    assert.deepEqual(await leftovers(root), []);
  });

  test('one that is at work is not disturbed; one that is gone is not waited for', async (t) => {
    const root = await board(t);
    const own = await currentOwner();
    const alive = join(boardOf(root), nextName(draftName(own)));
    await writeFile(alive, '');
    const before = await textOf(root);
    assert.equal(await compacted(root), false);
    assert.equal(await textOf(root), before);
    await rm(alive);
    await writeFile(join(boardOf(root), nextName(draftName({ ...own, pid: 4_194_305 }))), 'half');
    assert.equal(await compacted(root), true);
    assert.deepEqual(await leftovers(root), []);
  });

  test('a lock that was broken is noticed: whoever comes back replaces nothing', async (t) => {
    const root = await board(t);
    const fs = interrupted(async (call) => {
      if (call !== 'rename') return;
      for (const name of await leftovers(root)) if (name.includes('.next.')) await rm(join(boardOf(root), name));
      assert.equal(await compacted(root), true);
      await logAt(root).add(noted(100));
    });
    await assert.rejects(compacted(root, fs), { code: 'ENOENT' });
    await logAt(root).add(noted(101));
    assert.deepEqual((await logAt(root).read(MAC)).length, 4);
    assert.deepEqual(await leftovers(root), []);
  });
});
