/** `espd list`, `espd show` and `espd verify` on archives without any board attached. */

import assert from 'node:assert/strict';
import { chmod, cp, mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fillArchive } from '../support/fill-archive.ts';
import { Bench, assertPlain, checkError, screenOf, type ErrorFields } from '../support/cli.ts';
import {
  FOLDER,
  ID0,
  MAC,
  OTHER_MAC,
  T0,
  backUp,
  content,
  image,
  sha256,
  snapshotWithoutCache,
} from '../archive/support.ts';

const T1 = '2026-11-24T12:00:00.000Z';
const ID1 = '2026-11-24T12-00-00Z';

interface ListJson {
  readonly boards: Record<string, unknown>[];
  readonly problems: FileJson[];
  readonly foreign: FileJson[];
}
interface FileJson {
  readonly mac: string | null;
  readonly id: string | null;
  readonly file: string;
  readonly problem: string;
}
interface ShowJson {
  readonly board: Record<string, unknown>;
  readonly backups: ({ id: string; sha256: string } & Record<string, unknown>)[];
}
interface VerifyJson {
  readonly checked: number;
  readonly damaged: FileJson[];
  readonly unreadable: FileJson[];
  readonly foreign: FileJson[];
  readonly ok: boolean;
  readonly error?: ErrorFields;
}

/** Two backups of one board, seen unchanged later, and one of another. */
async function filled(bench: Bench): Promise<void> {
  await backUp(bench.archive, image(8192, 1), T0);
  await backUp(bench.archive, image(8192, 2), T1);
  await backUp(bench.archive, image(4096, 3), T1, OTHER_MAC);
  await bench.archive.recordSighting(MAC, { id: ID1, at: '2026-11-25T08:30:00.000Z', port: '/dev/ttyUSB0' });
}

test('list: every field of the contract', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const { status, json, stderr } = await bench.runJson<ListJson>(['list']);
  assert.equal(status, 0);
  assert.equal(stderr, '');
  assert.deepEqual(json.boards, [
    {
      mac: OTHER_MAC,
      label: null,
      note: null,
      group: null,
      chip: 'ESP8266EX',
      sizeBytes: 4096,
      backups: 1,
      first: ID1,
      latest: ID1,
      lastSeen: T1,
      lastSeenBy: null,
      places: null,
      firmware: 'blink 1.0',
      chipChange: null,
      halfRestored: null,
    },
    {
      mac: MAC,
      label: null,
      note: null,
      group: null,
      chip: 'ESP8266EX',
      sizeBytes: 8192,
      backups: 2,
      first: ID0,
      latest: ID1,
      lastSeen: '2026-11-25T08:30:00.000Z',
      lastSeenBy: null,
      places: null,
      firmware: 'blink 1.0',
      chipChange: null,
      halfRestored: null,
    },
  ]);
  assert.deepEqual(json.problems, []);
});

test('list: a restored board shows what was restored, not the snapshot of before; rows without a backup say why', async (t) => {
  const bench = await Bench.open(t);
  const { archive } = bench;
  await backUp(archive, image(8192, 1), T0);
  const other = image(8192, 2);
  const draft = await archive.begin(MAC, other.length);
  await draft.write(0, other);
  const suspect = { name: 'suspect', version: '2.0', sdk: null };
  await draft.commit({ ...content(other, T1), contents: { firmware: suspect, partitions: [] } });
  const firmware = async () => (await bench.runJson<ListJson>(['list'])).json.boards.map((board) => board['firmware']);
  assert.deepEqual(await firmware(), ['suspect 2.0']);
  await archive.beginRestore({
    ...{
      mac: MAC,
      from: { mac: MAC, id: ID0 },
      startedAt: '2026-11-24T12:00:01.000Z',
      why: '',
      regions: [],
      parts: null,
    },
    done: [{ offset: 0, sizeBytes: 8192, md5: '0'.repeat(32) }],
    ...{ snapshot: ID1, snapshotIsNew: true, options: { port: null, ignore: [], yes: false, toldFlashBytes: null } },
  });
  await archive.endRestore(MAC, 'done');
  assert.deepEqual(await firmware(), ['blink 1.0']);
  const { json: shown } = await bench.runJson<ShowJson>(['show', MAC]);
  assert.equal(shown.board['firmware'], 'blink 1.0');

  const broken = await archive.begin(OTHER_MAC, 4096);
  await broken.write(0, image(4096, 3));
  await broken.setAside();
  const { stdout } = await bench.run(['list']);
  assert.match(stdout, /24:0a:c4:00:01:02 +\? +\? +0 +- +no backup yet: the first was interrupted/);
  await writeFile(join(archive.root, FOLDER, ID0, 'manifest.json'), '{');
  await writeFile(join(archive.root, FOLDER, ID1, 'manifest.json'), '{');
  assert.match(
    (await bench.run(['list'])).stdout,
    /50:02:91:c3:37:a5 +\? +\? +2 +\S+ +no backup that can be read: see below/,
  );
});

test('show: the backups of one MAC that are of two chips are told apart', async (t) => {
  const bench = await Bench.open(t);
  await backUp(bench.archive, image(8192, 1), T0);
  const bytes = image(8192, 2);
  const draft = await bench.archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  const facts = content(bytes, T1);
  await draft.commit({ ...facts, efuses: { OTP: ['00000001', '7fffffff'] } });
  const detail = 'eFuse OTP word 1 ffffffff -> 7fffffff';

  const show = await bench.runJson<ShowJson>(['show', MAC]);
  assert.deepEqual(
    show.json.backups.map((backup) => backup['chipChange']),
    [null, { kind: 'chip', details: [detail], since: ID0 }],
  );
  const text = (await bench.run(['show', MAC])).stdout;
  assert.match(text, new RegExp(`${ID1}[^]*Another chip has this MAC now, compared with backup ${ID0}: ${detail}`));
  // At a glance, too: both forms, and the same of the board.
  const list = await bench.runJson<ListJson>(['list']);
  assert.deepEqual(list.json.boards[0]?.['chipChange'], { kind: 'chip', details: [detail], since: ID0 });
  assert.deepEqual(show.json.board['chipChange'], list.json.boards[0]['chipChange']);
  assert.match((await bench.run(['list'])).stdout, new RegExp(`^${MAC}: Another chip has this MAC now.*${ID0}`, 'm'));
  // Of one backup alone, too.
  assert.match((await bench.run(['show', `${MAC}@${ID1}`])).stdout, /Another chip has this MAC now/);
});

test('list for people fits a terminal of 80 columns, one line a board', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const { status, stdout, stderr } = await bench.run(['list'], { tty: true });
  assert.deepEqual([status, screenOf(stderr)], [0, '']);
  assertPlain(stdout);
  const lines = stdout.trimEnd().split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[2] ?? '', /^50:02:91:c3:37:a5 {2}ESP8266EX {2}8 KB {2}2 {8}2026-11-25 {2}blink 1\.0$/);
  for (const line of lines) assert.ok(line.length <= 80, `${line.length}: ${line}`);
  const narrow = await bench.run(['list'], { tty: true, columns: 40 });
  assert.match(narrow.stdout, /^50:02:91:c3:37:a5 .{21}…$/m);
  const piped = await bench.run(['list'], { columns: 40 });
  assert.match(piped.stdout, /blink 1\.0$/m);
});

test('list of an empty archive says so', async (t) => {
  const bench = await Bench.open(t);
  await mkdir(bench.archivePath);
  assert.deepEqual((await bench.runJson<ListJson>(['list'])).json, {
    boards: [],
    total: 0,
    problems: [],
    foreign: [],
  });
  const { status, stdout } = await bench.run(['list']);
  assert.equal(status, 0);
  assert.equal(stdout, `No backups yet in ${bench.archivePath}\n`);
  assert.deepEqual((await bench.runJson<VerifyJson>(['verify'])).json.ok, true);
});

test('a missing archive is an error for every command that reads one: status 3, before any board is touched', async (t) => {
  const bench = await Bench.open(t);
  const { board, address } = await bench.addBoard({ family: 'esp8266', mac: MAC });
  for (const args of [
    ['list'],
    ['show', MAC],
    ['verify'],
    ['verify', '--mac', MAC],
    ['verify', '--device'],
    ['verify', '--device', '--port', address],
    ['verify', '--device', '--mac', MAC],
    ['restore', '--mac', MAC, '--yes'],
    ['restore', '--mac', MAC, '--port', address, '--yes'],
    ['restore', '--from', MAC, '--many', '--yes'],
  ]) {
    const { message, hint } = await bench.fails(args, 'archive-missing');
    assert.equal(message, `There is no archive at ${bench.archivePath}`);
    assert.match(hint, /mounted/);
  }
  assert.equal(board.wireBytes.toBoard, 0);
  await assert.rejects(readFile(bench.archivePath), { code: 'ENOENT' });
  // A backup makes it.
  assert.equal((await bench.run(['backup', '--port', address])).status, 0);
  assert.equal((await bench.run(['verify'])).status, 0);
});

test('list of many boards says on the terminal how far it is, and leaves nothing behind', async (t) => {
  const bench = await Bench.open(t);
  fillArchive(bench.archivePath, 130, 1, 300);
  const { status, stdout, stderr } = await bench.run(['list'], { tty: true });
  assert.equal(status, 0);
  assert.equal(stdout.trimEnd().split('\n').length, 131);
  assert.match(stderr, /\rReading the archive: 64 of 130 boards/);
  assert.equal(screenOf(stderr), '');
  assert.equal((await bench.run(['list'])).stderr, '');
  assert.equal((await bench.run(['list', '--json'], { tty: true })).stderr, '');
  await bench.fails(['list'], 'interrupted', { signal: AbortSignal.abort(), hint: false });
});

test('verify says on the terminal where it is, and leaves nothing behind', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const { stderr } = await bench.run(['verify'], { tty: true });
  assert.match(stderr, new RegExp(`Verifying ${MAC} ${ID1} \\(board 2 of 2\\)`));
  assert.equal(screenOf(stderr), '');
});

test('show: every field of the contract, oldest first', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const { status, json } = await bench.runJson<ShowJson>(['show', MAC]);
  assert.equal(status, 0);
  assert.equal(json.board['mac'], MAC);
  assert.deepEqual(
    json.backups.map(({ id, sha256: digest }) => ({ id, digest })),
    [
      { id: ID0, digest: sha256(image(8192, 1)) },
      { id: ID1, digest: sha256(image(8192, 2)) },
    ],
  );
  const [, latest] = json.backups;
  assert.ok(latest !== undefined);
  assert.equal(latest['path'], join(bench.archivePath, FOLDER, ID1));
  assert.equal(latest['sizeBytes'], 8192);
  assert.equal(latest['createdAt'], T1);
  assert.deepEqual(latest['seenUnchanged'], ['2026-11-25T08:30:00.000Z']);
  assert.deepEqual(latest['security'], { flashEncryption: false, secureBoot: false, secureDownload: false });
});

test('a MAC is taken in three notations and any case', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  for (const mac of [MAC, MAC.toUpperCase(), '50-02-91-C3-37-A5', '500291c337a5', '500291C337A5']) {
    const { status, json } = await bench.runJson<ShowJson>(['show', mac]);
    assert.equal(status, 0, mac);
    assert.equal(json.board['mac'], MAC);
    assert.equal((await bench.run(['verify', '--mac', mac])).status, 0);
  }
});

test('MAC@WHICH: latest, first, an id, dates', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const cases: [string, string][] = [
    ['latest', ID1],
    ['first', ID0],
    [ID0, ID0],
    [ID1, ID1],
    ['2026-11-23', ID0],
    ['2026-11-24', ID1],
    ['2026-11-24T11:59Z', ID0],
    ['2026-11-24T12:00:00Z', ID1],
    ['2027-01-01', ID1],
    ['2026-11-24T14:00:00+02:00', ID1],
  ];
  for (const [which, id] of cases) {
    const { status, json } = await bench.runJson<ShowJson>(['show', `${MAC}@${which}`]);
    assert.equal(status, 0, which);
    assert.deepEqual(
      json.backups.map((backup) => backup.id),
      [id],
      which,
    );
  }
});

test('what is not there: status 3, naming what is', async (t) => {
  const bench = await Bench.open(t);
  await mkdir(bench.archivePath);
  const empty = await bench.fails(['show', MAC], 'archive-unknown-board');
  assert.match(empty.hint, /empty/);
  await filled(bench);
  for (const near of ['50:02:91:c3:37:a6', '500291c337', '50:02:91:3c:37:a5', '00:00:00:c3:37:a5']) {
    const { hint } = await bench.fails(['show', near], 'archive-unknown-board');
    assert.match(hint, new RegExp(MAC), near);
  }
  await bench.fails(['show', 'aa:bb:cc:dd:ee:ff'], 'archive-unknown-board');
  await bench.fails(['verify', '--mac', 'aa:bb:cc:dd:ee:ff'], 'archive-unknown-board');
  await bench.fails(['show', '../../etc'], 'archive-unknown-board');
  await bench.fails(['show', '\x1b[2J'], 'archive-unknown-board');
  for (const which of ['2026-11-22', 'newest', '', '2026-13-40', ID0.replace('10', '11'), 'latest@first', '../x']) {
    await bench.fails(['show', `${MAC}@${which}`], 'archive-unknown-backup');
  }
});

test('verify: a sound archive, and one board of it', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const { status, json } = await bench.runJson<VerifyJson>(['verify']);
  assert.equal(status, 0);
  assert.deepEqual(json, { checked: 3, damaged: [], unreadable: [], foreign: [], ok: true });
  assert.deepEqual((await bench.runJson<VerifyJson>(['verify', '--mac', MAC])).json, {
    checked: 2,
    damaged: [],
    unreadable: [],
    foreign: [],
    ok: true,
  });
  const people = await bench.run(['verify']);
  assert.equal(people.stdout, '3 backups verified: every file is as it was written\n');
});

test('damage is reported by file, for scripts and people, and nothing is changed', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const at = (...parts: string[]) => join(bench.archivePath, FOLDER, ...parts);
  const damages: [string, (path: string) => Promise<unknown>, RegExp][] = [
    ['flash.bin', async (path) => writeFile(path, flipped(await readFile(path))), /SHA-256 differs/],
    ['flash.bin', (path) => truncate(path, 100), /has 100 bytes/],
    ['flash.bin', (path) => rm(path), /is missing/],
    ['manifest.json', (path) => writeFile(path, '{'), /is no JSON/],
    ['manifest.json', (path) => rm(path), /is missing/],
    ['SHA256SUMS', (path) => rm(path), /is missing/],
  ];
  const backup = join(bench.folder, 'copy');
  await cp(bench.archivePath, backup, { recursive: true, preserveTimestamps: true });
  for (const [file, damage, problem] of damages) {
    await damage(at(ID0, file));
    const before = await snapshotWithoutCache(bench.archivePath);
    const { status, json } = await bench.runJson<VerifyJson>(['verify']);
    assert.equal(status, 4, file);
    assert.equal(json.ok, false);
    assert.equal(json.checked, 3);
    assert.equal(json.error?.code, 'archive-damaged');
    const found = json.damaged.find((entry) => entry.file === join(FOLDER, ID0, file));
    assert.ok(found !== undefined, JSON.stringify(json.damaged));
    assert.match(found.problem, problem);
    assert.deepEqual([found.mac, found.id], [MAC, ID0]);
    const people = await bench.run(['verify']);
    checkError(people, 'archive-damaged');
    assert.match(people.stdout, /^DAMAGED {2}50-02-91-c3-37-a5\//m);
    // The other board is sound, and so is the other backup.
    assert.equal((await bench.run(['verify', '--mac', OTHER_MAC])).status, 0);
    const list = await bench.runJson<ListJson>(['list']);
    assert.equal(list.status, 0);
    assert.equal(list.json.boards.length, 2);
    assert.deepEqual(await snapshotWithoutCache(bench.archivePath), before);
    await rm(bench.archivePath, { recursive: true });
    await cp(backup, bench.archivePath, { recursive: true, preserveTimestamps: true });
  }
});

test('a backup that cannot be trusted is not passed over', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  await writeFile(join(bench.archivePath, FOLDER, ID1, 'manifest.json'), 'no json');
  const { hint } = await bench.fails(['show', `${MAC}@latest`], 'archive-damaged');
  assert.match(hint, new RegExp(ID0));
  const { status, stdout, stderr } = await bench.run(['show', MAC]);
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(ID0));
  assert.match(stderr, new RegExp(`problem: ${FOLDER}/${ID1}/manifest.json`));
});

test('a manifest of a newer format is left alone and said to be newer', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const path = join(bench.archivePath, FOLDER, ID1, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8')) as object;
  await writeFile(path, JSON.stringify({ ...manifest, formatVersion: 99, createdBy: 'espd 9.9.9' }));
  const { message, hint } = await bench.fails(['show', `${MAC}@latest`], 'archive-newer');
  assert.match(message, /format version 99/);
  assert.match(hint, /espd 9\.9\.9/);
  const { status, json } = await bench.runJson<VerifyJson>(['verify']);
  // Nothing contradicts it, and nothing proves it.
  assert.deepEqual([status, json.ok, json.error?.code, json.damaged], [1, false, 'archive-newer', []]);
  assert.match(json.unreadable[0]?.problem ?? '', /format version 99/);
  assert.equal((await bench.runJson<ListJson>(['list'])).json.boards.length, 2);
});

test('foreign and incomplete things in the archive are named, and stop nothing', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  await mkdir(join(bench.archivePath, 'holiday photos'));
  await mkdir(join(bench.archivePath, FOLDER, '2026-12-01T00-00-00Z'));
  await symlink('/etc', join(bench.archivePath, 'aa-bb-cc-dd-ee-ff'));
  await rename(join(bench.archivePath, FOLDER, ID0), join(bench.archivePath, FOLDER, '2026-01-01T00-00-00Z'));
  const { status, json } = await bench.runJson<ListJson>(['list']);
  assert.equal(status, 0);
  assert.equal(json.boards.length, 2);
  const files = json.problems.map(({ file }) => file);
  assert.deepEqual(
    json.foreign.map(({ file }) => file),
    ['holiday photos'],
  );
  assert.ok(files.includes('aa-bb-cc-dd-ee-ff'));
  assert.ok(files.some((file) => file.startsWith(`${FOLDER}/2026-12-01T00-00-00Z`)));
  // A glance at the newest ones; the whole is for show and verify.
  assert.deepEqual(
    [json.boards[1]?.['backups'], json.boards[1]?.['first'], json.boards[1]?.['latest'], json.boards[1]?.['chip']],
    [3, '2026-01-01T00-00-00Z', '2026-12-01T00-00-00Z', 'ESP8266EX'],
  );
  const show = await bench.runJson<ListJson>(['show', MAC]);
  assert.ok(show.json.problems.some(({ file }) => file.startsWith(`${FOLDER}/2026-01-01T00-00-00Z`)));
  assert.equal((await bench.runJson<VerifyJson>(['verify'])).status, 4);
  await bench.fails(['show', 'aa:bb:cc:dd:ee:ff'], 'archive-damaged', { hint: false });
});

test('foreign files alone: a warning, status 0, and every command works as before', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  for (const place of ['', FOLDER, join(FOLDER, ID1)]) {
    for (const name of ['.DS_Store', 'notes.txt', 'evil\u001b[2J']) {
      await writeFile(join(bench.archivePath, place, name), 'x');
    }
  }
  const { status, json } = await bench.runJson<VerifyJson>(['verify']);
  assert.deepEqual([status, json.ok, json.checked, json.damaged, json.unreadable], [0, true, 3, [], []]);
  assert.equal(json.foreign.length, 9);
  assert.deepEqual(json.foreign[0], {
    mac: null,
    id: null,
    file: '.DS_Store',
    problem: 'is foreign (left by macOS)',
  });
  assert.ok(json.foreign.some(({ mac, id, file }) => mac === MAC && id === ID1 && file.endsWith('/notes.txt')));
  const people = await bench.run(['verify']);
  assert.deepEqual([people.status, people.stdout], [0, '3 backups verified: every file is as it was written\n']);
  assert.match(
    people.stderr,
    /^note: 50-02-91-c3-37-a5\/2026-11-24T12-00-00Z\/\.DS_Store is foreign \(left by macOS\)$/m,
  );
  assert.match(people.stderr, /^note: foreign files harm no backup/m);
  assertPlain(people.stderr);
  const list = await bench.runJson<ListJson>(['list']);
  assert.deepEqual([list.status, list.json.problems], [0, []]);
  assert.equal(list.json.boards[1]?.['latest'], ID1);
  assert.equal(list.json.foreign.length, 9);
  const show = await bench.runJson<ShowJson & ListJson>(['show', MAC]);
  assert.deepEqual(
    show.json.backups.map(({ id }) => id),
    [ID0, ID1],
  );
  assert.deepEqual([show.json.problems.length, show.json.foreign.length], [0, 6]);
  assert.match((await bench.run(['show', MAC])).stderr, /^note: .*notes\.txt is foreign$/m);
});

test('a backup with foreign files beside it is restored, with a note', async (t) => {
  const bench = await Bench.open(t);
  const { board, address } = await bench.addBoard({ family: 'esp8266', mac: MAC });
  assert.equal((await bench.run(['backup', '--port', address])).status, 0);
  const [backup] = (await bench.archive.history(MAC)).backups;
  const wanted = board.flash.snapshot();
  board.flash.load(0x70000, Buffer.alloc(4096, 0x55));
  assert.ok(!board.flash.snapshot().equals(wanted));
  for (const name of ['.DS_Store', 'notes.txt']) await writeFile(join(backup?.path ?? '', name), 'x');
  await writeFile(join(bench.archivePath, FOLDER, 'Thumbs.db'), 'x');
  const { status, stderr } = await bench.run(['restore', '--mac', MAC, '--port', address, '--yes']);
  assert.equal(status, 0, stderr);
  assert.ok(board.flash.snapshot().equals(wanted));
  assert.match(stderr, /^note: .*\/notes\.txt is foreign$/m);
  assert.doesNotMatch(stderr, /Thumbs/, 'only what lies beside the image is of interest');
});

test('what cannot be read is neither damaged nor sound: a category of its own, and status 1', async (t) => {
  if (process.getuid?.() === 0) {
    t.skip('root may read everything; test/archive has the same with failing calls');
    return;
  }
  const bench = await Bench.open(t);
  await filled(bench);
  const path = join(bench.archivePath, FOLDER, ID0, 'flash.bin');
  await chmod(path, 0);
  const { status, json } = await bench.runJson<VerifyJson>(['verify']);
  assert.deepEqual([status, json.ok, json.checked, json.damaged], [1, false, 2, []]);
  assert.equal(json.error?.code, 'archive-unreadable');
  assert.deepEqual(json.unreadable, [
    { mac: MAC, id: ID0, file: join(FOLDER, ID0, 'flash.bin'), problem: 'may not be read by this user' },
  ]);
  const people = await bench.run(['verify']);
  checkError(people, 'archive-unreadable');
  assert.match(people.stdout, /^NOT READ {2}50-02-91-c3-37-a5\//m);
  assert.match(people.stderr, /1 file could not be read; 2 backups verified and sound/);
  assert.match(people.stderr, /as the user that owns the archive/);
  // Damage elsewhere is said first, and what could not be read beside it.
  await rm(join(bench.archivePath, FOLDER, ID1, 'flash.bin'));
  const both = await bench.run(['verify']);
  checkError(both, 'archive-damaged');
  assert.match(both.stderr, /1 more could not be read/);
});

test('a board whose folder cannot be entered is not called half restored', async (t) => {
  if (process.getuid?.() === 0) {
    t.skip('root may enter every folder; test/archive has the same with failing calls');
    return;
  }
  const bench = await Bench.open(t);
  await filled(bench);
  const folder = join(bench.archivePath, FOLDER);
  await chmod(folder, 0o600);
  try {
    const { json, stdout } = await bench.runJson<ListJson>(['list']);
    assert.equal(json.boards[1]?.['halfRestored'], null);
    assert.doesNotMatch(stdout, /restore --mac/);
    assert.ok(json.problems.length > 0);
    assert.ok(json.problems.every(({ problem }) => problem === 'may not be read by this user'));
    const verify = await bench.runJson<VerifyJson>(['verify']);
    assert.deepEqual([verify.status, verify.json.damaged], [1, []]);
  } finally {
    await chmod(folder, 0o700); // else nobody could remove it
  }
});

test('an archive that is no folder, or may not be read', async (t) => {
  const bench = await Bench.open(t);
  await writeFile(bench.archivePath, 'a file');
  for (const args of [['list'], ['verify'], ['show', MAC]])
    await bench.fails(args, 'archive-unreadable', { hint: false });
  await rm(bench.archivePath);
  if (process.getuid?.() === 0) {
    t.diagnostic('skipped for root: an archive without read permission');
    return;
  }
  await filled(bench);
  await chmod(bench.archivePath, 0);
  try {
    await bench.fails(['list'], 'archive-unreadable');
  } finally {
    await chmod(bench.archivePath, 0o700); // else nobody could remove it
  }
});

test('texts out of an archive cannot steer the terminal', async (t) => {
  const bench = await Bench.open(t);
  const evil = 'x\x1b]0;owned\x07\x1b[2J\r\n\x9b2J\u202e\x1b[1mloud\x1b[22m\x1b[2my';
  const bytes = image(4096);
  const facts = content(bytes);
  const draft = await bench.archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  await draft.commit({
    ...facts,
    chip: { ...facts.chip, name: evil, family: evil },
    contents: {
      firmware: { name: evil, version: evil, sdk: evil },
      partitions: [{ name: evil, type: evil, subtype: evil, offset: 0, sizeBytes: 4096, encrypted: false }],
    },
    source: { ...facts.source, port: evil, host: evil },
  });
  await mkdir(join(bench.archivePath, 'a\x1b[2Jb'));
  for (const args of [['list'], ['show', MAC], ['show', `${MAC}@first`], ['verify']]) {
    for (const extra of [[], ['--json']]) {
      const { stdout, stderr } = await bench.run([...args, ...extra]);
      assertPlain(stdout);
      assertPlain(stderr);
      const seen = await bench.run([...args, ...extra], { tty: true });
      assert.doesNotMatch(seen.stdout + seen.stderr, /\x1b\[1mloud|\x1b\[2my|\x1b(?!\[(?:1|2|22|33|36|39)m)/);
    }
  }
  assert.doesNotMatch((await bench.run(['list'])).stdout, /^\s*y/m, 'a name cannot begin a line of its own');
});

test('colors: only on a terminal, not with --no-color, NO_COLOR or a dumb terminal', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  const colored = async (args: string[], options: { tty: boolean; env?: NodeJS.ProcessEnv }) =>
    (await bench.run(['show', MAC, ...args], options)).stdout.includes('\x1b[');
  assert.equal(await colored([], { tty: true }), true);
  assert.equal(await colored([], { tty: true, env: { NO_COLOR: '' } }), true);
  assert.equal(await colored([], { tty: false }), false);
  assert.equal(await colored(['--no-color'], { tty: true }), false);
  assert.equal(await colored([], { tty: true, env: { NO_COLOR: '1' } }), false);
  assert.equal(await colored([], { tty: true, env: { TERM: 'dumb' } }), false);
  assert.equal(await colored(['--json'], { tty: true }), false);
  const wrong = await bench.run(['--no-color', 'nonsense'], { tty: true });
  assertPlain(wrong.stderr);
});

test('a long hash is interrupted: status 130, nothing changed', async (t) => {
  const bench = await Bench.open(t);
  await filled(bench);
  await bench.fails(['verify'], 'interrupted', { signal: AbortSignal.abort(), hint: false });
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[0] = (copy[0] ?? 0) ^ 1;
  return copy;
}
