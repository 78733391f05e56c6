/** Two processes that note, one that makes the file shorter, and SIGKILL for each of them at moments that nobody chose. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { compact } from '../../../src/archive/elsewhere/compaction.ts';
import { compiled } from '../compiled.ts';
import { MAC, temporaryFolder } from '../support.ts';
import { backupOf, boardOf, diskOf, leftovers, logAt, noted } from './compaction-support.ts';

const KILLS = 60;
/** Days that a process can note before its successor begins. */
const ROOM = 1000;

test('kill -9 of those who write and of the one who makes it shorter: all that was told written is there', async (t) => {
  const folder = await temporaryFolder(t);
  const script = await compiled(join(folder, 'compiled'), 'noter');
  const root = join(folder, 'archive');
  await mkdir(boardOf(root), { recursive: true });
  const told = { note: new Set<number>(), gone: new Set<number>(), shorter: 0 };
  let nextDay = 10;

  const start = (isWriter: boolean) => {
    const from = isWriter ? String((nextDay += ROOM)) : 'compact';
    const child = spawn(process.execPath, [script, root, from], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      const [what = '', day = ''] = line.split(' ');
      if (what === 'note' || what === 'gone') told[what].add(Number(day));
      if (what === 'shorter') told.shorter++;
    });
    return {
      child,
      isWriter,
      ready: once(lines, 'line'),
      ended: Promise.all([once(child, 'exit'), once(lines, 'close')]),
    };
  };
  type Running = ReturnType<typeof start>;
  const running: Running[] = [start(true), start(true), start(false)];
  t.after(() => running.forEach(({ child }: { child: ChildProcess }) => child.kill('SIGKILL')));
  const end = async ({ child, ended }: Running) => {
    child.kill('SIGKILL');
    await ended;
  };

  for (let kill = 0; kill < KILLS; kill++) {
    const index = kill % 3;
    const victim = running[index] ?? assert.fail();
    await victim.ready;
    await wait(Math.random() * 60);
    await end(victim);
    running[index] = start(victim.isWriter);
  }
  // The last ones come to something, however loaded the machine is.
  await Promise.all(running.map(({ ready }) => ready));
  while (told.note.size < 20 || told.shorter < 3) await wait(20);
  for (const each of running) await end(each);

  // Whoever comes next ends what they have left.
  assert.equal(await logAt(root).add(noted(1)), true);
  const log = logAt(root);
  const ids = (all: readonly { readonly id: string }[]) => new Set(all.map(({ id }) => id));
  const [there, gone] = [ids(await log.read(MAC)), ids(await log.gone(MAC))];
  for (const day of told.note) {
    const { id } = backupOf(day);
    assert.ok(there.has(id) || gone.has(id), `${id} was told written`);
  }
  for (const day of told.gone) assert.ok(gone.has(backupOf(day).id), `${backupOf(day).id} was told gone`);
  for (const { id, manifestSha256 } of await log.gone(MAC))
    if (there.has(id)) assert.fail(`${id} ${manifestSha256} is both`);
  await compact(diskOf(), boardOf(root), MAC);
  assert.deepEqual(await leftovers(root), []);
  t.diagnostic(`${told.note.size} noted, ${told.gone.size} gone, made shorter ${told.shorter} times`);
});
