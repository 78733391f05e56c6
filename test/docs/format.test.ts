/** FORMAT.md against what espd writes: the names in the layout, and the keys of every file that it describes. */

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { KEEP_EVERYTHING, NO_RULES } from '../../src/archive/retention/policy.ts';
import type { Archive } from '../../src/archive/types.ts';
import { MAC, T0, FOLDER, ID0, backUp, image, md5, newArchive } from '../archive/support.ts';
import { stored } from '../archive/elsewhere/support.ts';
import { readPage, rowsOf } from './pages.ts';

const FORMAT = readPage('FORMAT.md');

/** The text under a heading of the second level. */
function section(heading: string): string {
  const text = FORMAT.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  return text ?? assert.fail(`FORMAT.md has no section ${heading}`);
}

/** The keys in the first column of the tables of a section. */
function keysOf(heading: string): string[] {
  return rowsOf(section(heading)).flatMap(([first = '']) => /^`(\w+)`$/.exec(first)?.[1] ?? []);
}

/** Everything that espd ever writes into a board's folder, but drafts and trash. */
async function fillBoard(archive: Archive): Promise<void> {
  await backUp(archive, image(10));
  await backUp(archive, image(11), '2026-11-24T10:00:00.000Z');
  await backUp(archive, image(12), '2026-11-25T10:00:00.000Z');
  const at = '2026-11-26T10:00:00.000Z';
  await archive.recordSighting(MAC, { id: ID0, at, port: '/dev/ttyUSB0' });
  await archive.marks.describe(MAC, { label: 'kitchen', note: 'behind the fridge', group: 'home' });
  await archive.marks.pin(MAC, ID0, { pinned: true, note: 'works' });
  await archive.marks.confirm(MAC, { at, id: ID0, md5: md5(image(10)), by: 'stub', port: '/dev/ttyUSB0' });
  const last = { ...NO_RULES, last: 1 };
  await archive.retention.remove(await archive.retention.plan({ ...KEEP_EVERYTHING, rules: last }));
  const record = {
    mac: MAC,
    from: { mac: MAC, id: ID0 },
    startedAt: at,
    why: 'first of 2',
    regions: [{ offset: 0, sizeBytes: 4096 }],
    done: [{ offset: 0, sizeBytes: 4096, md5: md5(image(10)) }],
    parts: null,
    snapshot: null,
    snapshotIsNew: true,
    options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
  };
  await archive.beginRestore(record);
  await archive.endRestore(MAC, 'done');
  await archive.beginRestore(record);
  await archive.elsewhere.note(stored());
}

test('the layout of FORMAT.md has every name that espd writes, and no other', async (t) => {
  const archive = await newArchive(t);
  await fillBoard(archive);
  const layout = /```\n([^]*?)```/.exec(section('Layout'))?.[1] ?? '';
  const named = (depth: number) =>
    [...layout.matchAll(new RegExp(`^ {${depth}}([\\w.-]+\\.\\w+|SHA256SUMS)(?: |$)`, 'gm'))].map(
      ([, name = '']) => name,
    );
  const beside = (await readdir(join(archive.root, FOLDER))).filter((name) => /\.jsonl?$/.test(name));
  assert.deepEqual(
    beside.sort(),
    named(4)
      .filter((name) => /\.jsonl?$/.test(name))
      .sort(),
  );
  const inside = await readdir(join(archive.root, FOLDER, ID0));
  for (const name of inside) assert.ok(named(6).includes(name), name);
  assert.ok(beside.length >= 9);
});

test('each file beside the backups has the keys that FORMAT.md gives it', async (t) => {
  const archive = await newArchive(t);
  await fillBoard(archive);
  const read = (name: string) => readFile(join(archive.root, FOLDER, name), 'utf8');
  for (const name of ['labels.jsonl', 'pins.jsonl', 'removed.jsonl', 'confirmed.jsonl', 'restoring.json']) {
    const written = JSON.parse((await read(name)).split('\n')[0] ?? '') as object;
    assert.deepEqual(Object.keys(written).sort(), keysOf(name).sort(), name);
  }
  for (const name of ['seen.jsonl', 'restored.jsonl', 'halves.jsonl', 'elsewhere.jsonl']) {
    const written = JSON.parse((await read(name)).split('\n')[0] ?? '') as object;
    for (const key of Object.keys(written)) assert.ok(section(name).includes(`\`${key}\``), `${name}: ${key}`);
  }
});

test('a manifest has the keys that FORMAT.md gives it', async (t) => {
  const archive = await newArchive(t);
  const { path } = await backUp(archive, image(10), T0);
  const written = JSON.parse(await readFile(join(path, 'manifest.json'), 'utf8')) as Record<string, unknown>;
  assert.deepEqual(Object.keys(written).sort(), keysOf('manifest.json').sort());
  const rows = new Map(rowsOf(section('manifest.json')).map(([key = '', text = '']) => [key, text]));
  for (const part of ['chip', 'flash', 'security', 'image', 'blocks', 'contents', 'source', 'transfer']) {
    const text = rows.get(`\`${part}\``) ?? '';
    for (const key of Object.keys(written[part] as object)) assert.ok(text.includes(`\`${key}\``), `${part}.${key}`);
  }
});
