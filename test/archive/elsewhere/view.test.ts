/** One view of what lies here and what lies in a store. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { StoredBackup } from '../../../src/archive/elsewhere/types.ts';
import { ElsewhereError } from '../../../src/archive/elsewhere/types.ts';
import { KEEP_EVERYTHING } from '../../../src/archive/retention/policy.ts';
import { stationText, stationTexts } from '../../../src/archive/station-text.ts';
import type { Archive, Backup } from '../../../src/archive/types.ts';
import { FOLDER, ID0, MAC, T0, allSound, backUp, image, newArchive } from '../support.ts';
import { OTHER_STATION, STATION, stored } from './support.ts';

const T1 = '2026-11-24T10:00:00.000Z';
const ID1 = '2026-11-24T10-00-00Z';
const T2 = '2026-11-25T10:00:00.000Z';
const ID2 = '2026-11-25T10-00-00Z';

async function copyOf({ manifest, path, mac }: Backup): Promise<StoredBackup> {
  const bytes = await readFile(join(path, 'manifest.json'));
  return stored({ mac, manifest, manifestSha256: createHash('sha256').update(bytes).digest('hex') });
}

const meant = (archive: Archive, which: string) =>
  archive.resolveBackup(MAC, which).then(
    ({ id }) => id,
    (error: unknown) => (error instanceof ElsewhereError ? `${error.code} ${error.mac} ${error.id}` : String(error)),
  );
const there = (id: string) => `archive-elsewhere ${MAC} ${id}`;

describe('a board of which some backups are here and some in a store', () => {
  test('history, overview, and what each name means', async (t) => {
    const archive = await newArchive(t);
    const [first, second] = [await backUp(archive, image(100), T0), await backUp(archive, image(101), T1)];
    const copy = await copyOf(first);
    const newest = stored({ station: OTHER_STATION }, image(102), T2);
    const oldest = stored({}, image(99), '2026-11-20T10:00:00.000Z');
    for (const each of [copy, newest, oldest]) await archive.elsewhere.note(each);

    const history = await archive.history(MAC);
    assert.deepEqual(history.elsewhere, [oldest, newest]);
    assert.deepEqual([...history.stored], [[ID0, copy]]);
    assert.deepEqual(
      history.backups.map(({ id }) => id),
      [ID0, ID1],
    );
    assert.deepEqual(history.problems, []);

    const [board] = (await archive.overview()).boards;
    assert.deepEqual(board?.ids, [ID0, ID1]);
    assert.deepEqual(board.elsewhere?.ids, [oldest.id, ID2]);
    assert.deepEqual([board.elsewhere.alsoHere, board.elsewhere.station], [1, OTHER_STATION]);
    assert.equal(board.elsewhere.newest?.id, ID2);
    assert.equal(board.newest?.id, ID1);

    assert.equal(await meant(archive, 'latest'), there(ID2));
    assert.equal(await meant(archive, 'first'), there(oldest.id));
    assert.equal(await meant(archive, ID0), ID0);
    assert.equal(await meant(archive, '2026-11-24'), ID1);
    assert.equal(await meant(archive, '2026-11-21'), there(oldest.id));
    assert.equal(await meant(archive, '2026-11-19'), `EspdError: ${MAC} has no backup as old as 2026-11-19`);
    // What a new backup is compared with lies here.
    assert.equal((await archive.latest(MAC)).backup?.id, second.id);
    assert.deepEqual(await archive.backupIds(MAC), [ID0, ID1]);
    assert.deepEqual(await archive.verify({}), allSound(2));
  });

  test('a board that only others have: found by its MAC and by its label, and nothing of it is damaged', async (t) => {
    const archive = await newArchive(t);
    await archive.elsewhere.note(stored());
    await archive.elsewhere.receive(MAC, 'labels.jsonl', STATION, [{ at: T0, label: 'kitchen' }]);
    assert.equal(await archive.resolveBoard('kitchen'), MAC);
    assert.equal(await archive.resolveBoard(MAC), MAC);
    assert.equal(await meant(archive, 'latest'), there(ID0));
    const [board] = (await archive.overview()).boards;
    assert.deepEqual([board?.ids, board?.newest, board?.problems, board?.about.label], [[], null, [], 'kitchen']);
    const history = await archive.history(MAC);
    assert.deepEqual([history.backups, history.problems, history.foreign], [[], [], []]);
    assert.equal((await archive.latest(MAC)).backup, undefined);
    assert.deepEqual(await archive.verify({}), allSound(0));
    assert.deepEqual(await archive.verify({ mac: MAC }), allSound(0));
    const plan = await archive.retention.plan({ ...KEEP_EVERYTHING, maxBytes: 0 });
    assert.deepEqual([plan.decisions, plan.blocked], [[], []]);
    const [size] = (await archive.sizes.of([MAC])).boards;
    assert.deepEqual([size?.backups.size, size?.problems], [0, []]);
    assert.equal((await archive.candidates(MAC)).list.length, 0);
    await archive.marks.pin(MAC, ID0, { pinned: true, note: null });
    await backUp(archive, image(200), T2);
    assert.equal(await meant(archive, 'latest'), ID2);
  });

  test('another backup under the same id: that one here is meant, and both are shown', async (t) => {
    const archive = await newArchive(t);
    const own = await backUp(archive, image(100));
    const other = stored({ station: OTHER_STATION }, image(101));
    await archive.elsewhere.note(other);
    const history = await archive.history(MAC);
    assert.deepEqual(history.elsewhere, [other]);
    assert.equal(history.stored.size, 0);
    assert.equal((await archive.resolveBackup(MAC, ID0)).manifest.image.sha256, own.manifest.image.sha256);
  });

  test('the same backup at two places of the store is told once', async (t) => {
    const archive = await newArchive(t);
    await archive.elsewhere.note(stored());
    await archive.elsewhere.note(stored({ folder: `stations/${STATION}/${FOLDER}/${ID0}/` }));
    assert.equal((await archive.history(MAC)).elsewhere.length, 1);
    assert.equal((await archive.elsewhere.of(MAC)).length, 2);
  });

  test('one that is damaged here is not taken for the one in the store', async (t) => {
    const archive = await newArchive(t);
    const own = await backUp(archive, image(100));
    await archive.elsewhere.note(await copyOf(own));
    await unlink(join(own.path, 'flash.bin'));
    assert.match(await meant(archive, 'latest'), /flash\.bin/);
    assert.equal((await archive.history(MAC)).elsewhere.length, 1);
  });

  test('elsewhere.jsonl that cannot be read is a problem, and hides nothing', async (t) => {
    const archive = await newArchive(t);
    await backUp(archive, image(100));
    await mkdir(join(archive.root, FOLDER, 'elsewhere.jsonl'));
    const history = await archive.history(MAC);
    assert.deepEqual(
      history.problems.map(({ file }) => file),
      [`${FOLDER}/elsewhere.jsonl`],
    );
    assert.equal(history.backups.length, 1);
    assert.equal((await archive.overview()).boards[0]?.problems.length, 1);
    assert.equal(await meant(archive, 'latest'), ID0);
  });
});

test('a station is called without its digits, unless another one is called the same', () => {
  assert.equal(stationText(STATION), 'bench7');
  assert.equal(stationText(STATION, [STATION, OTHER_STATION]), 'bench7');
  assert.equal(stationText(STATION, ['bench7-ffffffffffff']), STATION);
  const [left, right] = ['hall-0123456789ab', 'hall-ffffffffffff'];
  assert.deepEqual(
    [...stationTexts([left, STATION, right, STATION, left])],
    [left, STATION, right].map((name) => [name, name === STATION ? 'bench7' : name]),
  );
  for (const odd of ['bench', '-0123456789ab', 'a-0123456789', '']) assert.equal(stationText(odd), odd);
});
