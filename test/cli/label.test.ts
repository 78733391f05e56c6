/** `espd label`, and labels wherever a MAC is taken. */

import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Bench } from '../support/cli.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, T0, backUp, image } from '../archive/support.ts';

const T1 = '2026-11-24T12:00:00.000Z';

interface AboutJson {
  readonly mac: string;
  readonly label: string | null;
  readonly note: string | null;
  readonly group: string | null;
}

async function twoBoards(bench: Bench): Promise<void> {
  await backUp(bench.archive, image(8192, 1), T0);
  await backUp(bench.archive, image(8192, 2), T1);
  await backUp(bench.archive, image(4096, 3), T1, OTHER_MAC);
}

test('a board gets a label, a note and a group; each stays until it is changed', async (t) => {
  const bench = await Bench.open(t);
  await twoBoards(bench);
  const { stdout, status, stderr } = await bench.run(['label', MAC, ' kitchen ', '--note', 'above the sink']);
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(stdout, `${MAC}  is "kitchen"\n  note: above the sink\n`);

  // By its label, in capitals, from now on.
  const { json } = await bench.runJson<AboutJson>(['label', 'KITCHEN', '--group', 'ground floor']);
  assert.deepEqual(json, { mac: MAC, label: 'kitchen', note: 'above the sink', group: 'ground floor' });
  const { json: renamed } = await bench.runJson<AboutJson>(['label', 'kitchen', 'Pantry']);
  assert.deepEqual(renamed, { mac: MAC, label: 'Pantry', note: 'above the sink', group: 'ground floor' });
  assert.match(
    (await bench.run(['show', 'pantry'])).stdout,
    /^50:02:91:c3:37:a5 .*Pantry[^]*group ground floor\n[^]*above the sink/,
  );

  const { json: cleared } = await bench.runJson<AboutJson>(['label', MAC, '--note', '']);
  assert.deepEqual(cleared, { mac: MAC, label: 'Pantry', note: null, group: 'ground floor' });
  // What is given with --clear is what is left.
  const { json: only } = await bench.runJson<AboutJson>(['label', MAC, '--clear', '--group', 'attic']);
  assert.deepEqual(only, { mac: MAC, label: null, note: null, group: 'attic' });
  const { stdout: none } = await bench.run(['label', MAC, '--clear']);
  assert.equal(none, `${MAC}  has no label\n`);
});

test('the same once more adds nothing to the file', async (t) => {
  const bench = await Bench.open(t);
  await twoBoards(bench);
  await bench.run(['label', MAC, 'kitchen']);
  const before = await readFile(join(bench.archivePath, FOLDER, 'labels.jsonl'));
  const { stdout } = await bench.run(['label', MAC, 'kitchen']);
  assert.equal(stdout, `${MAC}  is already "kitchen"\n`);
  assert.deepEqual(await readFile(join(bench.archivePath, FOLDER, 'labels.jsonl')), before);
});

test('a label that another board has is refused, and that board named', async (t) => {
  const bench = await Bench.open(t);
  await twoBoards(bench);
  await bench.run(['label', MAC, 'kitchen']);
  const error = await bench.fails(['label', OTHER_MAC, 'Kitchen'], 'label-taken');
  assert.match(error.message, new RegExp(MAC));
  assert.match(error.hint, new RegExp(`label ${MAC} ''$`));
  assert.deepEqual((await bench.archive.marks.about(OTHER_MAC)).label, null);
  // Its own in other capitals is no other board's.
  assert.equal((await bench.run(['label', MAC, 'KITCHEN'])).stdout, `${MAC}  is "KITCHEN"\n`);
});

test('what cannot be a label, a note or a group: one sentence, and nothing is written', async (t) => {
  const bench = await Bench.open(t);
  await twoBoards(bench);
  const cases: [args: string[], message: RegExp][] = [
    [[MAC, '50-02-91-C3-37-A5'], /looks like a MAC/],
    [[MAC, 'c337a5'], /looks like a MAC/],
    [[MAC, 'latest'], /looks like a backup/],
    [[MAC, ID0], /looks like a backup/],
    [[MAC, '2026-11-23'], /looks like a backup/],
    [[MAC, 'a/b'], /have a meaning of their own/],
    [[MAC, 'a@b'], /have a meaning of their own/],
    [[MAC, 'x'.repeat(65)], /65 characters/],
    [[MAC, '\x1b[2J'], /cannot be printed/],
    [[MAC, '--note', 'two\nlines'], /cannot be printed/],
    [[MAC, '--note', 'x'.repeat(1001)], /1001 characters/],
    [[MAC, '--group', 'x'.repeat(65)], /65 characters/],
    [[MAC], /Nothing is to be changed/],
  ];
  for (const [args, message] of cases) {
    const error = await bench.fails(['label', ...args], 'usage');
    assert.match(error.message, message, args.join(' '));
  }
  assert.deepEqual(await bench.archive.marks.about(MAC), { label: null, note: null, group: null });
});

test('an unknown board: near labels and MACs are named', async (t) => {
  const bench = await Bench.open(t);
  await twoBoards(bench);
  await bench.run(['label', MAC, 'kitchen']);
  for (const args of [
    ['label', 'kitchn', 'x'],
    ['show', 'kitchn'],
    ['verify', '--mac', 'kitchn'],
    ['backup', '--mac', 'kitchn'],
    ['restore', 'kitchn', '--yes'],
    ['restore', MAC, '--to', 'kitchn', '--yes'],
  ]) {
    const error = await bench.fails(args, 'archive-unknown-board');
    assert.match(error.hint, /Near it: "kitchen"/, args.join(' '));
  }
});

test('two boards with one label, given on two machines: both are named, and none is taken', async (t) => {
  const bench = await Bench.open(t);
  await twoBoards(bench);
  await bench.run(['label', MAC, 'kitchen']);
  const folder = join(bench.archivePath, OTHER_MAC.replaceAll(':', '-'));
  await mkdir(folder, { recursive: true });
  await appendFile(join(folder, 'labels.jsonl'), `${JSON.stringify({ at: T1, label: 'Kitchen' })}\n`);
  for (const args of [
    ['show', 'kitchen'],
    ['verify', '--mac', 'kitchen'],
    ['backup', '--mac', 'kitchen'],
    ['restore', 'kitchen@first', '--yes'],
    ['restore', MAC, '--to', 'kitchen', '--yes'],
    ['label', 'kitchen', 'x'],
  ]) {
    const error = await bench.fails(args, 'label-ambiguous');
    assert.ok(error.message.includes(MAC) && error.message.includes(OTHER_MAC), error.message);
  }
  // By its MAC each still has its name, and can get another.
  assert.equal((await bench.run(['label', OTHER_MAC, 'pantry'])).status, 0);
  assert.equal((await bench.run(['show', 'kitchen'])).status, 0);
});

test('a label stands for the MAC: show, verify, backup, restore, --to', async (t) => {
  const bench = await Bench.open(t);
  const { board } = await bench.addBoard({ family: 'esp8266', mac: MAC });
  assert.equal((await bench.run(['backup', '--mac', MAC])).status, 0);
  assert.equal((await bench.run(['label', MAC, 'door sensor'])).status, 0);
  const { json } = await bench.runJson<{ board: { mac: string; label: string } }>(['show', 'Door Sensor@latest']);
  assert.deepEqual([json.board.mac, json.board.label], [MAC, 'door sensor']);
  assert.equal((await bench.run(['verify', '--mac', 'door sensor'])).status, 0);
  assert.match((await bench.run(['backup', '--mac', 'door sensor'])).stdout, /unchanged since/);
  const before = board.flash.snapshot();
  const restored = await bench.runJson<{ mac: string; sectorsWritten: number }>([
    'restore',
    'door sensor@first',
    '--yes',
  ]);
  assert.deepEqual([restored.status, restored.json.mac, restored.json.sectorsWritten], [0, MAC, 0], restored.stderr);
  assert.deepEqual(board.flash.snapshot(), before);

  // Another board that the archive has never seen is named by its MAC, one that it knows by its label as well.
  await bench.addBoard({ family: 'esp8266', mac: OTHER_MAC });
  const to = ['restore', 'door sensor', '--dry-run', '--to'];
  assert.equal((await bench.run([...to, OTHER_MAC])).status, 0);
  assert.equal((await bench.run(['backup', '--mac', OTHER_MAC])).status, 0);
  assert.equal((await bench.run(['label', OTHER_MAC, 'spare'])).status, 0);
  const plan = await bench.runJson<{ mac: string }>([...to, 'spare']);
  assert.deepEqual([plan.status, plan.json.mac], [0, OTHER_MAC], plan.stderr);
});
