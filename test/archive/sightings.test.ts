import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseSightings } from '../../src/archive/sightings.ts';
import type { Sighting } from '../../src/archive/types.ts';
import {
  FOLDER,
  ID0,
  MAC,
  OTHER_MAC,
  archiveAt,
  backUp,
  image,
  newArchive,
  systemError,
  watchedFileSystem,
} from './support.ts';
import type { Call } from './support.ts';

const seen = (day: number): Sighting => ({
  id: ID0,
  at: `2026-12-${String(day).padStart(2, '0')}T00:00:00.000Z`,
  port: '/dev/ttyUSB0',
});

test('sightings are appended in order, and the backup itself stays untouched', async (t) => {
  const archive = await newArchive(t);
  const { path } = await backUp(archive, image(10));
  const before = await stat(path);
  for (const day of [1, 2, 3]) await archive.recordSighting(MAC, seen(day));
  const history = await archive.history(MAC);
  assert.deepEqual(history.sightings, [seen(1), seen(2), seen(3)]);
  assert.deepEqual(history.problems, []);
  assert.equal((await stat(path)).mtimeMs, before.mtimeMs);
  const file = await stat(join(archive.root, FOLDER, 'seen.jsonl'));
  assert.equal(file.mode & 0o777, 0o600);
  assert.deepEqual(await archive.verifyBackup(MAC, ID0), []);
});

test('a line cut off anywhere costs only itself, and the next append mends the file', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  const path = join(archive.root, FOLDER, 'seen.jsonl');
  await archive.recordSighting(MAC, seen(1));
  const oneLine = (await stat(path)).size;
  await archive.recordSighting(MAC, seen(2));
  const whole = await readFile(path);
  for (let length = oneLine; length < whole.length - 1; length += 3) {
    await writeFile(path, whole);
    await truncate(path, length);
    assert.deepEqual((await archive.history(MAC)).sightings, [seen(1)]);
    await archive.recordSighting(MAC, seen(3));
    assert.deepEqual((await archive.history(MAC)).sightings, [seen(1), seen(3)], `cut at ${length}`);
  }
  await appendFile(path, Buffer.alloc(4096)); // what a power loss can leave
  await archive.recordSighting(MAC, seen(4));
  assert.deepEqual((await archive.history(MAC)).sightings, [seen(1), seen(3), seen(4)]);
});

test('hostile content is ignored, and what is shown is fit for a terminal', () => {
  const good = JSON.stringify(seen(1));
  const bad = ['', '{', '[]', 'null', '7', '{}', '{"id":"../..","at":"2026-12-01T00:00:00Z","port":""}', '\0'.repeat(99),
    JSON.stringify({ ...seen(1), at: 'yesterday' }), JSON.stringify({ ...seen(1), port: 7 }), '['.repeat(100_000)]; // prettier-ignore
  assert.deepEqual(parseSightings([...bad, good, ...bad, good].join('\n')), [seen(1), seen(1)]);
  const [shown] = parseSightings(JSON.stringify({ ...seen(1), port: '\u001b[2J\u202e' }));
  assert.equal(shown?.port, '\\u{1b}[2J\\u{202e}');
  fc.assert(fc.property(fc.string(), (text) => void parseSightings(text)));
});

test('of a huge file the end is read', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  await writeFile(join(archive.root, FOLDER, 'seen.jsonl'), `${JSON.stringify(seen(1))}\n`.repeat(50_000));
  await archive.recordSighting(MAC, seen(2));
  const { sightings } = await archive.history(MAC);
  assert.ok(sightings.length > 1000 && sightings.length < 50_000);
  assert.deepEqual(sightings.at(-1), seen(2));
});

test('twenty at once, through two archives: no line is lost or mixed', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  const other = archiveAt(archive.root);
  await Promise.all(
    Array.from({ length: 20 }, (_, day) => (day % 2 ? archive : other).recordSighting(MAC, seen(day + 1))),
  );
  const { sightings } = await archive.history(MAC);
  assert.deepEqual(
    sightings.map(({ at }) => at).sort(),
    Array.from({ length: 20 }, (_, day) => seen(day + 1).at),
  );
});

test('what cannot be', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  const path = join(archive.root, FOLDER, 'seen.jsonl');
  await assert.rejects(archive.recordSighting(OTHER_MAC, seen(1)), { code: 'archive-unknown-board' });
  await assert.rejects(archive.recordSighting(MAC, { ...seen(1), id: 'x' }));
  const outside = join(archive.root, '..', 'outside');
  await symlink(outside, path);
  await assert.rejects(archive.recordSighting(MAC, seen(1)), { code: 'archive-unwritable' });
  await assert.rejects(stat(outside), { code: 'ENOENT' });
  assert.match((await archive.history(MAC)).problems[0]?.problem ?? '', /symbolic link/);
  await rm(path);
  await mkdir(path);
  await assert.rejects(archive.recordSighting(MAC, seen(1)), { code: 'archive-unwritable' });
  assert.equal((await archive.history(MAC)).problems.length, 1);
  await rm(path, { recursive: true });

  const full = archiveAt(archive.root, {
    fs: watchedFileSystem(({ name }) => {
      if (name === 'handle.write') throw systemError('ENOSPC');
    }),
  });
  await assert.rejects(full.recordSighting(MAC, seen(1)), { code: 'disk-full' });
});

test('the line is on the disk before the promise resolves, and so is the name of a new file', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10));
  const calls: Call[] = [];
  const watched = archiveAt(archive.root, { fs: watchedFileSystem((call) => calls.push(call)) });
  await watched.recordSighting(MAC, seen(1));
  const order = calls
    .filter(({ name }) => name === 'handle.write' || name === 'handle.sync')
    .map(({ name, path }) => `${name} ${path}`);
  const folder = join(archive.root, FOLDER);
  const file = join(folder, 'seen.jsonl');
  assert.deepEqual(order, [`handle.write ${file}`, `handle.sync ${file}`, `handle.sync ${folder}`]);
});
