/** A process that releases local copies and fetches them again, killed at random moments: nothing is lost, nothing half is whole. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { FOLDER, MAC, temporaryFolder } from '../archive/support.ts';
import { FakeS3 } from '../store/fake-s3.ts';
import { bundle } from '../support/bundle.ts';
import { image, station } from './support.ts';

const KILLS = 25;
const BACKUPS = 6;
/** In which a run is ended: it takes about so long. */
const WITHIN_MS = 500;

/** Of ESPD_TEST_SEED, so that a run can be made again as far as its moments go. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test(`killed ${KILLS} times: each backup is here or in the store as a whole`, async (t) => {
  const seed = Number(process.env['ESPD_TEST_SEED'] ?? randomInt(2 ** 31));
  t.diagnostic(`ESPD_TEST_SEED=${seed}`);
  const random = randomOf(seed);
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  const [program = ''] = await bundle(await temporaryFolder(t), 'test/replication/mover.ts');
  const one = await station(t, endpoint);
  const contents = new Map<string, Buffer>();
  for (let day = 1; day <= BACKUPS; day++) {
    const bytes = image(300_000 + day, day);
    contents.set((await one.keep(bytes, { createdAt: `2020-10-0${day}T10:00:00.000Z` })).id, bytes);
  }
  await one.pushAll();
  await one.write();
  const ids = [...contents.keys()];
  // One that the bucket has lost, and of which only the copy here is left.
  const [, alone = ''] = ids;
  fake.objects.delete(`${FOLDER}/${alone}/SHA256SUMS`);
  const bucket = new Map([...fake.objects].map(([name, { bytes }]) => [name, bytes]));

  const run = async (rounds: number, killAfterMs: number | null): Promise<string> => {
    const child = spawn(
      process.execPath,
      [
        program,
        JSON.stringify({
          ...{ archivePath: one.archive.root, statePath: join(one.folder, 'state'), endpoint, mac: MAC, rounds },
        }),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let said = '';
    child.stdout.on('data', (text: Buffer) => {
      said += text.toString();
      if (said === 'started\n' && killAfterMs !== null) void delay(killAfterMs).then(() => child.kill('SIGKILL'));
    });
    await new Promise((resolve) => child.once('close', resolve));
    return said;
  };

  let incomplete = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    assert.ok(!(await run(1000, random() * WITHIN_MS)).includes('done'));
    const here = await one.archive.backupIds(MAC);
    if (here.length < BACKUPS) incomplete++;
    for (const id of here) assert.deepEqual(await one.archive.verifyBackup(MAC, id), [], `${id} after kill ${kill}`);
    for (const [name, bytes] of bucket) assert.deepEqual(fake.objects.get(name)?.bytes, bytes, name);
  }
  assert.ok(incomplete > 0, 'some of the kills came in the middle');

  assert.match(await run(1, null), /done/);
  assert.deepEqual(await one.archive.backupIds(MAC), ids);
  for (const [id, bytes] of contents) {
    const opened = await one.archive.openImage(await one.archive.resolveBackup(MAC, id));
    assert.deepEqual(await opened.read(0, bytes.length), bytes, id);
    await opened.close();
  }
  const names = await readdir(join(one.archive.root, FOLDER));
  assert.deepEqual(
    names.filter((name) => /^(?:draft|trash)\./.test(name)),
    [],
    'nothing half is left',
  );
});
