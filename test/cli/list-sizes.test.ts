/** `espd list --sizes`: what is counted, once, and what a terminal and a script are told. */

import assert from 'node:assert/strict';
import { link, lstat, mkdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FOLDER, MAC, OTHER_MAC, content, image } from '../archive/support.ts';
import type { ArchiveSizes } from '../../src/archive/size-types.ts';
import { savedText, sharedText, totalsJson } from '../../src/cli/list-sizes.ts';
import { Bench } from '../support/cli.ts';

interface SizesJson {
  readonly boards: { mac: string; imageBytes: number | null; diskBytes: number | null; otherBytes: number | null }[];
  readonly totals: { imageBytes: number; diskBytes: number; otherBytes: number; isPartial: boolean };
  readonly disk: { freeBytes: number | null };
}

const SIZE = 64 * 1024;

async function fill(bench: Bench): Promise<void> {
  for (const mac of [MAC, OTHER_MAC]) {
    const bytes = image(SIZE, 1);
    const draft = await bench.archive.begin(mac, bytes.length);
    await draft.write(0, bytes);
    await draft.commit(content(bytes, undefined, mac));
  }
}

test('a partial is OTHER, hard links count once, links are not followed', async (t) => {
  const bench = await Bench.open(t);
  await fill(bench);
  const before = (await bench.runJson<SizesJson>(['list', '--sizes'])).json;
  const board = join(bench.archivePath, FOLDER);
  const partial = join(board, 'partial.0123456789abcdef');
  await mkdir(partial);
  await writeFile(join(partial, 'flash.bin'), image(8192));
  await link(join(partial, 'flash.bin'), join(partial, 'again.bin'));
  await writeFile(join(bench.folder, 'big'), image(1024 * 1024));
  await symlink(join(bench.folder, 'big'), join(partial, 'link'));
  let expected = 0;
  for (const name of ['', 'flash.bin', 'link']) expected += (await lstat(join(partial, name))).blocks * 512;
  const { status, json } = await bench.runJson<SizesJson>(['list', '--sizes']);
  assert.equal(status, 0);
  const of = (mac: string, { boards }: SizesJson = json) => boards.find((each) => each.mac === mac);
  assert.equal(of(MAC)?.otherBytes, expected);
  assert.equal(of(MAC)?.imageBytes, SIZE);
  assert.equal(of(OTHER_MAC)?.otherBytes, 0);
  assert.ok((of(MAC)?.diskBytes ?? 0) >= (of(MAC, before)?.diskBytes ?? Infinity) + expected);
  assert.deepEqual([json.totals.imageBytes, json.totals.otherBytes], [2 * SIZE, expected]);
  assert.ok(json.disk.freeBytes !== null);
});

test('a hole takes no room, a compressed image less than its flash', async (t) => {
  const bench = await Bench.open(t);
  await bench.configure({ archive: { compression: 'gzip' } });
  const { board, address } = await bench.addBoard({ family: 'esp8266', mac: MAC });
  assert.equal((await bench.run(['backup', '--port', address])).status, 0);
  const partial = join(bench.archivePath, FOLDER, 'partial.0123456789abcdef');
  await mkdir(partial);
  await writeFile(join(partial, 'flash.bin'), '');
  await truncate(join(partial, 'flash.bin'), 1024 * 1024);
  const { json } = await bench.runJson<SizesJson>(['list', '--sizes']);
  const [size] = json.boards;
  assert.equal(size?.imageBytes, board.flash.snapshot().length);
  assert.ok((size.diskBytes ?? Infinity) < board.flash.snapshot().length);
  assert.ok((size.otherBytes ?? Infinity) < 64 * 1024);
});

test('80 columns, a total, and a backup without manifest and image', async (t) => {
  const bench = await Bench.open(t);
  await fill(bench);
  const whole = await bench.run(['list', '--sizes', '--sort', 'size'], { tty: true, columns: 80 });
  for (const line of whole.stdout.trimEnd().split('\n')) assert.ok(line.length <= 80, line);
  assert.match(whole.stdout, /^MAC +LABEL +BACKUPS +IMAGES +ON DISK +OTHER\n/);
  assert.match(whole.stdout, /\ntotal +2 +128 KB/);
  const csv = await bench.run(['list', '--sizes', '--csv']);
  assert.match(csv.stdout, /^mac,label,backups,image_bytes,disk_bytes,other_bytes\r\n/);
  const [id = ''] = await bench.archive.backupIds(MAC);
  await rm(join(bench.archivePath, FOLDER, id, 'flash.bin'));
  await rm(join(bench.archivePath, FOLDER, id, 'manifest.json'));
  const { json } = await bench.runJson<SizesJson>(['list', '--sizes']);
  assert.equal(json.boards.find(({ mac }) => mac === MAC)?.imageBytes, null);
  assert.deepEqual([json.totals.isPartial, json.totals.imageBytes], [true, SIZE]);
});

test('what shared blocks save is told where it is known, and else that the sum is too high', () => {
  const sizes = (canShareBlocks: boolean, sharedBytes: number | null): ArchiveSizes => ({
    ...{ boards: [], total: { imageBytes: 0, diskBytes: 0, otherBytes: 0 }, isPartial: false, sharedBytes },
    disk: { freeBytes: 0, keptFreeBytes: 0, canShareBlocks },
  });
  const known = sizes(true, 5 * 1024 * 1024);
  assert.equal(savedText(known), 'Saved by shared blocks: 5 MB, which ON DISK counts in each image');
  assert.equal(sharedText(known), null);
  assert.deepEqual([savedText(sizes(true, 0)), sharedText(sizes(true, 0))], [null, null]);
  assert.equal(savedText(sizes(true, null)), null);
  assert.match(sharedText(sizes(true, null)) ?? '', /less is in use than ON DISK says/);
  assert.deepEqual([savedText(sizes(false, null)), sharedText(sizes(false, null))], [null, null]);
  assert.equal(totalsJson(known).totals.sharedBytes, 5 * 1024 * 1024);
});
