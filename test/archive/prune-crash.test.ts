/** A prune that is killed by SIGKILL at 200 moments that nobody chose. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { isBackupId } from '../../src/archive/ids.ts';
import { draftOwner, isTrashName } from '../../src/archive/owner.ts';
import type { Mac } from '../../src/mac.ts';
import { macToFolder } from '../../src/mac.ts';
import { compiled } from './compiled.ts';
import { MAC, OTHER_MAC, archiveAt, backUp, image, temporaryFolder } from './support.ts';

const KILLS = 200;
/** Victims at a time, each with an archive of its own. */
const AT_ONCE = 3;
const DAYS = 7;
const PINNED = 4;
const BOARDS = [MAC, OTHER_MAC];
const idOf = (day: number) => `2026-10-0${day}T10-00-00Z`;
const isProtected = (mac: Mac, day: number) => day === 1 || day >= DAYS - 1 || (mac === MAC && day === PINNED);

test('kill -9 at 200 random moments of prune: every backup is whole under its name, or gone', async (t) => {
  const folder = await temporaryFolder(t);
  const script = await compiled(join(folder, 'compiled'), 'pruner');
  const full = join(folder, 'full');
  for (const mac of BOARDS) {
    for (let day = 1; day <= DAYS; day++)
      await backUp(archiveAt(full), image(500, day), `2026-10-0${day}T10:00:00.000Z`, mac);
  }
  await archiveAt(full).marks.pin(MAC, idOf(PINNED), { pinned: true, note: null });
  const tally = { kills: 0, amidst: 0, leftovers: 0, gone: 0 };

  const lane = async (number: number) => {
    const root = join(folder, `lane-${number}`);
    await cp(full, root, { recursive: true });
    await rm(join(root, 'cache'), { recursive: true, force: true });
    const archive = archiveAt(root);
    const start = () => {
      const child = spawn(process.execPath, [script, full, root], { stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      return { child, exited: once(child, 'exit'), lines };
    };
    // Follows what the machine does: most kills are to fall among removals.
    let windowMs = 80;
    while (tally.kills < KILLS) {
      tally.kills++;
      const { child, exited, lines } = start();
      assert.equal((await lines.next()).value, 'ready');
      await wait(Math.random() * windowMs);
      assert.ok(child.kill('SIGKILL'));
      const state = new Map<string, string>();
      for (let line = await lines.next(); line.done !== true; line = await lines.next()) {
        const [what = '', ...which] = line.value.split(' ');
        state.set(which.join(' '), what);
        if (what === 'gone') tally.gone++;
      }
      assert.equal((await exited)[1], 'SIGKILL');
      windowMs = [...state.values()].includes('gone') ? Math.max(40, windowMs * 0.9) : Math.min(2000, windowMs * 1.2);

      const { damaged, unreadable } = await archive.verify({});
      assert.deepEqual([damaged, unreadable], [[], []], 'what has its name is whole');
      let left = 0;
      for (const mac of BOARDS) {
        const names = await readdir(join(root, macToFolder(mac)));
        const removals = new Set((await archive.marks.of(mac)).removals.map(({ id }) => id));
        for (let day = 1; day <= DAYS; day++) {
          const isThere = names.includes(idOf(day));
          if (isProtected(mac, day)) assert.ok(isThere, `${mac} ${idOf(day)} must stay`);
          else if (!isThere) assert.ok(removals.has(idOf(day)), 'what is gone is noted');
          if (state.get(`${mac} ${idOf(day)}`) === 'gone') assert.ok(!isThere, `${mac} ${idOf(day)} was told gone`);
        }
        left += names.filter((name) => draftOwner(name) !== undefined || isTrashName(name)).length;
      }
      if (left > 0) tally.amidst++;
      tally.leftovers += left;
    }
    // What the last one has left is cleared by the next.
    await archive.retention.remove({ decisions: [] });
    for (const mac of BOARDS) {
      const rest = (await readdir(join(root, macToFolder(mac)))).filter((name) => !isBackupId(name));
      assert.deepEqual(
        rest.filter((name) => !name.endsWith('.jsonl')),
        [],
      );
    }
    assert.deepEqual((await archive.verify({})).damaged, []);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => lane(number)));
  assert.ok(tally.kills >= KILLS && tally.amidst >= 10, JSON.stringify(tally));
  t.diagnostic(`${tally.kills} kills, ${tally.amidst} amid a removal, ${tally.gone} told gone`);
});
