import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { test } from 'node:test';
import { isBackupId } from '../../src/archive/ids.ts';
import { draftOwner, isUnfinishedName } from '../../src/archive/owner.ts';
import { macToFolder } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';
import { compiled } from './compiled.ts';
import { MAC, OTHER_MAC, allSound, archiveAt, image, temporaryFolder } from './support.ts';

function startCommitter(
  script: string,
  root: string,
  mac: Mac,
  compression: 'none' | 'gzip',
  count: number,
  seed: number,
) {
  const args = [script, root, mac, compression, String(count), String(seed)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  return { child, exited, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

test('kill -9 at random moments: everything visible is complete, and what it told is there', async (t) => {
  const folder = await temporaryFolder(t);
  const script = await compiled(join(folder, 'compiled'), 'committer');
  const root = join(folder, 'archive');
  const archive = archiveAt(root);
  await archive.checkWritable(); // one may be killed before it has made the archive, which is then missing
  const told: { mac: Mac; id: string }[] = [];
  let kills = 0;
  let amidst = 0;
  // Three at a time, two of them for the same board.
  const victim = async (mac: Mac, compression: 'none' | 'gzip', round: number) => {
    const { child, exited, lines } = startCommitter(script, root, mac, compression, 1_000_000, round);
    assert.equal((await lines.next()).value, 'ready');
    for (let commits = round % 3; commits > 0; commits--) told.push({ mac, id: String((await lines.next()).value) });
    await wait(Math.random() * 25);
    assert.ok(child.kill('SIGKILL'));
    for (let line = await lines.next(); line.done !== true; line = await lines.next())
      told.push({ mac, id: line.value });
    assert.deepEqual((await exited)[1], 'SIGKILL');
    kills++;
    const left = (await readdir(join(root, macToFolder(mac))).catch(() => [])).map(draftOwner);
    if (left.some((owner) => owner?.pid === child.pid)) amidst++;
    assert.deepEqual((await archive.verify({})).damaged, []);
  };
  const series = async (mac: Mac, compression: 'none' | 'gzip', offset: number) => {
    for (let round = 0; round < 8; round++) await victim(mac, compression, round + offset);
  };
  await Promise.all([series(MAC, 'none', 0), series(MAC, 'gzip', 100), series(OTHER_MAC, 'gzip', 200)]);

  assert.equal(kills, 24);
  const { checked, damaged } = await archive.verify({});
  assert.deepEqual(damaged, []);
  assert.ok(checked >= told.length);
  for (const { mac, id } of told) assert.equal((await archive.resolveBackup(mac, id)).id, id);

  for (const mac of [MAC, OTHER_MAC]) {
    const board = join(root, macToFolder(mac));
    const others = (await readdir(board)).filter((name) => !isBackupId(name));
    for (const name of others) assert.ok(isUnfinishedName(name), name);
    await (await archive.begin(mac, 10)).discard();
    assert.deepEqual(
      (await readdir(board)).filter((name) => !isBackupId(name)),
      [],
      'the next begin has cleared them',
    );
  }
  t.diagnostic(`${checked} backups complete, ${amidst} of ${kills} kills left a draft`);
});

test('three processes at once, the same board, the same second: every backup has an id of its own', async (t) => {
  const folder = await temporaryFolder(t);
  const script = await compiled(join(folder, 'compiled'), 'committer');
  const root = join(folder, 'archive');
  const committers = [1, 2, 3].map((seed) => startCommitter(script, root, MAC, seed === 3 ? 'gzip' : 'none', 15, seed));
  const ids: string[] = [];
  await Promise.all(
    committers.map(async ({ lines, exited }) => {
      await lines.next();
      for (let line = await lines.next(); line.done !== true; line = await lines.next()) ids.push(line.value);
      assert.deepEqual((await exited)[0], 0);
    }),
  );
  assert.equal(new Set(ids).size, 45);
  const archive = archiveAt(root);
  assert.deepEqual(await archive.verify({}), allSound(45));
  const { backups, problems } = await archive.history(MAC);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    backups.map(({ id }) => id),
    ids.sort(),
  );
  assert.equal(new Set(backups.map(({ manifest }) => manifest.image.sha256)).size, 45);
  assert.deepEqual((await readdir(join(root, macToFolder(MAC)))).length, 45);
});

test('kill -9 amid one try after the other: nothing that a try had written is lost', async (t) => {
  const folder = await temporaryFolder(t);
  const script = await compiled(join(folder, 'compiled'), 'breaker');
  const root = join(folder, 'archive');
  const archive = archiveAt(root);
  const sizeBytes = 4 * 1024 * 1024;
  const flash = image(sizeBytes);
  const written = new Set<number>();
  // The first one gets far, the others not, each elsewhere; between them some are stopped in order.
  for (const [round, { from, lines }] of [
    { from: 0, lines: 600 },
    { from: 700, lines: 3 },
    { from: 800, lines: 5 },
    { from: 900, lines: 4 },
  ].entries()) {
    const aside = round === 2;
    const child = spawn(
      process.execPath,
      [script, root, MAC, String(sizeBytes), String(from), aside ? String(lines) : '9999'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exited = once(child, 'exit');
    const output = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const sectors: number[] = [];
    for (let line = await output.next(); line.done !== true; line = await output.next()) {
      sectors.push(Number(line.value));
      if (!aside && sectors.length === lines) assert.ok(child.kill('SIGKILL'));
    }
    await exited;
    assert.ok(sectors.length >= lines);
    if (round === 0 || round === 3) for (const sector of sectors) written.add(sector);
    assert.deepEqual(await archive.verify({}), allSound(0));
    const names = await readdir(join(root, macToFolder(MAC)));
    assert.ok(names.length <= 3 && names.every(isUnfinishedName));
  }
  const draft = await archive.begin(MAC, sizeBytes);
  assert.ok(written.size > 600);
  for (const sector of written) {
    const bytes = await draft.leftover?.read(sector * 4096, 4096);
    assert.ok(bytes?.equals(flash.subarray(sector * 4096, sector * 4096 + 4096)), `sector ${sector}`);
  }
  await draft.discard();
});
