/** Imports that are killed at 200 moments that nobody chose: an id has a whole backup behind it, or is none. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { isBackupId } from '../../src/archive/ids.ts';
import { draftOwner, isUnfinishedName } from '../../src/archive/owner.ts';
import { type Mac, macToFolder, parseMac } from '../../src/mac.ts';
import { archiveAt, temporaryFolder } from '../archive/support.ts';
import { bundle } from '../support/bundle.ts';

const MACS = ['50:02:91:c3:37:a5', '50:02:91:c3:37:a5', '24:0a:c4:00:01:02'].flatMap((text) => parseMac(text) ?? []);
const KILLS = 200;

function start(script: string, root: string, folder: string, mac: Mac, seed: number, count: number) {
  const args = [script, root, folder, mac, String(seed), String(count)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return {
    child,
    exited: once(child, 'exit'),
    lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](),
  };
}

test('import, killed by SIGKILL at 200 moments', { timeout: 600_000 }, async (t) => {
  const temporary = await temporaryFolder(t);
  const [root, folder] = [join(temporary, 'archive'), join(temporary, 'dumps')];
  const compiled = join(temporary, 'compiled');
  for (const each of [folder, compiled]) await mkdir(each);
  const [script = ''] = await bundle(compiled, 'test/e2e/importer.mjs', 'dist/archive/hash-worker.js');
  const archive = archiveAt(root);
  await archive.checkWritable();

  // How long the first one of a process takes on this machine, so that kills fall into all of it. What else runs here
  // changes that: kills that come too early or too late move the next ones.
  const trial = start(script, root, folder, MACS[0] as Mac, 9999, 1);
  assert.equal((await trial.lines.next()).value, 'ready');
  const begunMs = performance.now();
  await trial.lines.next();
  let withinMs = performance.now() - begunMs;
  assert.deepEqual((await trial.exited)[0], 0);

  const told = new Map<Mac, Set<string>>(MACS.map((mac) => [mac, new Set()]));
  let amidst = 0;
  let kills = 0;
  const victim = async (mac: Mac, seed: number) => {
    const { child, exited, lines } = start(script, root, folder, mac, seed, 1_000_000);
    assert.equal((await lines.next()).value, 'ready');
    await wait((0.2 + Math.random()) * withinMs);
    assert.ok(child.kill('SIGKILL'));
    let toldByIt = 0;
    for (let line = await lines.next(); line.done !== true; line = await lines.next(), toldByIt++)
      told.get(mac)?.add(line.value);
    assert.deepEqual((await exited)[1], 'SIGKILL');
    kills++;
    const names = await readdir(join(root, macToFolder(mac))).catch(() => []);
    if (names.some((name) => draftOwner(name)?.pid === child.pid)) amidst++;
    else withinMs *= toldByIt > 0 ? 0.8 : 1.15;
    await rm(join(folder, `dump-${seed}.bin`), { force: true });
  };
  await Promise.all(
    MACS.map(async (mac, series) => {
      for (let seed = series; seed < KILLS; seed += MACS.length) await victim(mac, seed);
    }),
  );

  assert.equal(kills, KILLS);
  const { checked, damaged, unreadable } = await archive.verify({});
  assert.deepEqual([damaged, unreadable], [[], []]);
  for (const [mac, ids] of told) {
    const names = await readdir(join(root, macToFolder(mac)));
    for (const id of ids) assert.ok(names.includes(id), `${mac} ${id} was told and is not there`);
    for (const name of names.filter((entry) => !isBackupId(entry))) {
      assert.ok(isUnfinishedName(name), name);
    }
    // What they have left is cleared by the next one.
    await (await archive.begin(mac, 4096)).discard();
    assert.deepEqual(
      (await readdir(join(root, macToFolder(mac)))).filter((name) => !isBackupId(name)),
      [],
    );
  }
  assert.ok(amidst >= 10, `only ${amidst} kills fell into an import`);
  t.diagnostic(`${checked} backups complete, ${amidst} of ${kills} kills left a draft`);
});
