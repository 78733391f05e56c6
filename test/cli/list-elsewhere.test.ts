/** `list` and `show` of boards of which backups lie in the object store. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { boardJson } from '../../src/documents/board.ts';
import { OTHER_STATION, STATION, stored } from '../archive/elsewhere/support.ts';
import { ID0, MAC, OTHER_MAC, T0, backUp, image } from '../archive/support.ts';
import { Bench, assertPlain } from '../support/cli.ts';

const T2 = '2026-11-25T10:00:00.000Z';
const ID2 = '2026-11-25T10-00-00Z';

/** One backup here and in the store, a newer one in the store alone; and a board that only others have. */
async function filled(bench: Bench): Promise<void> {
  const { archive } = bench;
  const own = await backUp(archive, image(100));
  const manifestSha256 = createHash('sha256')
    .update(await readFile(join(own.path, 'manifest.json')))
    .digest('hex');
  await archive.elsewhere.note(stored({ manifest: own.manifest, manifestSha256 }));
  await archive.elsewhere.note(stored({ station: OTHER_STATION }, image(100, 3), T2));
  await archive.elsewhere.note(stored({ mac: OTHER_MAC }, image(100, 2)));
  await archive.elsewhere.receive(MAC, 'seen.jsonl', 'third-aaaaaaaaaaaa', [{ id: ID0, at: T0, port: 'x' }]);
}

async function listed(bench: Bench) {
  const { stdout } = await bench.run(['list', '--json']);
  const { boards } = JSON.parse(stdout) as { boards: Partial<ReturnType<typeof boardJson>>[] };
  return boards;
}

test('list: where backups lie, and who has seen a board last', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const { stdout, status } = await bench.run(['list']);
  assert.equal(status, 0);
  assertPlain(stdout);
  const [heading = '', ...rows] = stdout.trimEnd().split('\n');
  assert.deepEqual(heading.split(/  +/).slice(3, 7), ['BACKUPS', 'HERE', 'STORE', 'LAST SEEN']);
  assert.match(heading, /SEEN BY/);
  assert.match(rows[0] ?? '', /^24:0a:c4:00:01:02 .* 1 +0 +1 +2026-11-23 +bench7 +blink 1\.0$/);
  assert.match(rows[1] ?? '', /^50:02:91:c3:37:a5 .* 2 +1 +2 +2026-11-25 +bench8 +blink 1\.0$/);

  const boards = await listed(bench);
  const [other, own] = boards;
  assert.ok(other && own);
  assert.deepEqual(own.places, { here: 1, store: 2, both: 1 });
  assert.deepEqual([own.backups, own.first, own.latest], [2, ID0, ID2]);
  assert.deepEqual([own.lastSeen, own.lastSeenBy], [T2, OTHER_STATION]);
  assert.deepEqual(other.places, { here: 0, store: 1, both: 0 });
  assert.deepEqual([other.chip, other.sizeBytes, other.firmware], ['ESP8266EX', 100, 'blink 1.0']);
  assert.deepEqual([other.lastSeenBy, other.halfRestored], [STATION, null]);

  const csv = (await bench.run(['list', '--csv'])).stdout.trimEnd().split(/\r?\n/);
  assert.match(csv[0] ?? '', /,here,in_store,last_seen_by$/);
  assert.match(csv[2] ?? '', new RegExp(`,1,2,${OTHER_STATION}$`));
});

test('list at 80 columns stays within them', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  await bench.archive.marks.describe(MAC, { label: 'the board in the kitchen', group: 'home' });
  const { stdout } = await bench.run(['list'], { tty: true });
  for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
  assert.match(stdout, /BACKUPS/);
});

test('an archive without a store looks as it always did', async (t) => {
  const bench = await Bench.open(t);
  await backUp(bench.archive, image(100));
  const { stdout } = await bench.run(['list']);
  assert.doesNotMatch(stdout, /HERE|STORE|SEEN BY/);
  assert.doesNotMatch((await bench.run(['show', MAC])).stdout, /store/);
  const boards = await listed(bench);
  assert.deepEqual([boards[0]?.places, boards[0]?.lastSeenBy], [null, null]);
});

test('show: each backup with where it lies, and how to fetch what is not here', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const { stdout } = await bench.run(['show', MAC]);
  assertPlain(stdout);
  assert.match(stdout, /2026-11-23T10-00-00Z {2}.*\n(?: {4}.*\n)*? {4}here and in the store, by bench7\n/);
  assert.match(
    stdout,
    /2026-11-25T10-00-00Z {2}.*\n {4}in the store only, by bench8\n {4}sha256 \w+\n {4}fetch it: espd .*pull 50:02:91:c3:37:a5@2026-11-25T10-00-00Z\n/,
  );
  assert.match(stdout, /seen unchanged .* by third$/m);

  const json = JSON.parse((await bench.run(['show', MAC, '--json'])).stdout) as Record<
    string,
    Record<string, unknown>[]
  >;
  assert.deepEqual(
    json['backups']?.map(({ stored }) => (stored as { station: string } | null)?.station),
    [STATION],
  );
  const [elsewhere] = json['elsewhere'] ?? [];
  assert.deepEqual([elsewhere?.['id'], elsewhere?.['station'], elsewhere?.['isTaken']], [ID2, OTHER_STATION, false]);

  const only = await bench.run(['show', OTHER_MAC]);
  assert.equal(only.status, 0);
  assert.match(only.stdout, /^24:0a:c4:00:01:02 {2}ESP8266EX\n {2}2026-11-23T10-00-00Z/);
  assert.equal(only.stderr, '');
});

test('show: another backup under an id that is here is told as such', async (t) => {
  const bench = await Bench.open(t);
  await backUp(bench.archive, image(100));
  await bench.archive.elsewhere.note(stored({}, image(100, 2)));
  const { stdout } = await bench.run(['show', MAC]);
  assert.match(
    stdout,
    /in the store only, by bench7\n.*\n {4}another station has made another backup in that second: this one is called 2026-11-23T10-00-00Z@bench7-0123456789ab\n.*pull/,
  );
});
