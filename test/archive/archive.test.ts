import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  cp,
  link,
  mkdir,
  open,
  readFile,
  readdir,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { NOWHERE_ELSE } from '../../src/archive/elsewhere/places.ts';
import type { Archive, Backup } from '../../src/archive/types.ts';
import { NO_MARKS } from '../../src/archive/marks/marks.ts';
import { draftOwner } from '../../src/archive/owner.ts';
import { EspdError, hasCode } from '../../src/errors.ts';
import { macToFolder } from '../../src/mac.ts';
import {
  FOLDER,
  ID0,
  MAC,
  OTHER_MAC,
  T0,
  allSound,
  archiveAt,
  backUp,
  image,
  newArchive,
  sha256,
  snapshot,
  snapshotWithoutCache,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

const DAYS = ['2026-11-21', '2026-11-22', '2026-11-23'].map((day) => `${day}T10:00:00.000Z`);
const IDS = DAYS.map((at) => `${at.slice(0, 10)}T10-00-00Z`);
const BYTES = image(200_000);

const noHistory = {
  mac: MAC,
  backups: [],
  sightings: [],
  problems: [],
  foreign: [],
  halfRestored: null,
  ...NOWHERE_ELSE,
  marks: NO_MARKS,
};

/** Three backups of one board and one of another. */
async function threeBackups(archive: Archive): Promise<Backup[]> {
  const backups = [];
  for (const at of DAYS) backups.push(await backUp(archive, BYTES, at));
  await backUp(archive, image(50), T0, OTHER_MAC);
  return backups;
}

/** Replaces a file of a backup and puts its new digest into SHA256SUMS, as somebody careful and hostile would. */
async function forge(path: string, file: string, bytes: string | Buffer): Promise<void> {
  const sums = await readFile(join(path, 'SHA256SUMS'), 'utf8');
  await writeFile(join(path, file), bytes);
  const line = `${sha256(Buffer.from(bytes))}  ${file}\n`;
  await writeFile(join(path, 'SHA256SUMS'), sums.replace(new RegExp(`^.*  ${file}\n`, 'm'), line));
}

async function flipBit(path: string, bit: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  const handle = await open(path, 'r+');
  await handle.write(bytes, 0, bytes.length, 0);
  await handle.close();
}

test('an archive that is not there is an error for who reads it, and stays unmade by reading', async (t) => {
  const archive = await newArchive(t);
  const missing = {
    code: 'archive-missing',
    message: `There is no archive at ${archive.root}`,
    hint: /mounted.*--archive/,
  };
  for (const work of [
    () => archive.checkReadable(),
    () => archive.boards(),
    () => archive.verify({}),
    () => archive.resolveBoard(MAC),
    () => archive.resolveBackup(MAC, 'latest'),
  ]) {
    await assert.rejects(work, missing);
  }
  // A backup asks for these before it makes the archive.
  assert.deepEqual(await archive.history(MAC), noHistory);
  assert.deepEqual((await archive.candidates(MAC)).list, []);
  assert.equal(await archive.halfRestored(MAC), null);
  await assert.rejects(readdir(archive.root), { code: 'ENOENT' });
  await backUp(archive, BYTES);
  assert.deepEqual(await archive.verify({}), allSound(1));
});

test('an empty folder is an empty archive', async (t) => {
  const archive = await newArchive(t);
  await mkdir(archive.root);
  await archive.checkReadable();
  assert.deepEqual(await archive.boards(), { macs: [], problems: [], foreign: [] });
  assert.deepEqual(await archive.history(MAC), noHistory);
  assert.deepEqual(await archive.verify({}), allSound(0));
  await assert.rejects(archive.resolveBoard('50:02:91:c3:37:a5'), { code: 'archive-unknown-board', hint: /empty/ });
  await assert.rejects(archive.resolveBackup(MAC, 'latest'), { code: 'archive-unknown-board' });
  assert.deepEqual(await readdir(archive.root), []);
});

test('boards, history and verify of a sound archive; reading changes nothing', async (t) => {
  const archive = await newArchive(t);
  const backups = await threeBackups(archive);
  const before = await snapshotWithoutCache(archive.root);
  assert.deepEqual(await archive.boards(), { macs: [OTHER_MAC, MAC], problems: [], foreign: [] });
  assert.deepEqual(await archive.history(MAC), {
    mac: MAC,
    backups,
    sightings: [],
    problems: [],
    foreign: [],
    halfRestored: null,
    ...NOWHERE_ELSE,
    marks: NO_MARKS,
  });
  const seen: string[] = [];
  assert.deepEqual(await archive.verify({ onProgress: (mac, id) => seen.push(`${mac} ${id}`) }), allSound(4));
  assert.deepEqual(seen, [`${OTHER_MAC} ${ID0}`, ...IDS.map((id) => `${MAC} ${id}`)]);
  assert.deepEqual(await archive.verify({ mac: MAC }), allSound(3));
  assert.deepEqual(await archive.resolveBackup(MAC, 'latest'), backups[2]);
  assert.deepEqual(await archive.resolveBackup(MAC, 'first'), backups[0]);
  assert.deepEqual(await archive.resolveBackup(MAC, '2026-11-22'), backups[1]);
  for (const text of ['50:02:91:c3:37:a5', '50-02-91-C3-37-A5', '500291c337a5'])
    assert.equal(await archive.resolveBoard(text), MAC);
  await assert.rejects(archive.resolveBoard('50:02:91:c3:37:a6'), {
    code: 'archive-unknown-board',
    hint: `Near it: ${MAC}`,
  });
  await assert.rejects(archive.resolveBoard('kitchen'), {
    code: 'archive-unknown-board',
    message: /MAC or label "kitchen"/,
    hint: /2 boards/,
  });
  await assert.rejects(archive.verifyBackup(MAC, '../..'), { code: 'archive-unknown-backup' });
  await assert.rejects(archive.verifyBackup(MAC, '2020-01-01T00-00-00Z'), { code: 'archive-unknown-backup' });
  assert.deepEqual(await snapshotWithoutCache(archive.root), before);
});

test('verify stops when told to', async (t) => {
  const archive = await newArchive(t, { compression: 'gzip' });
  await threeBackups(archive);
  const controller = new AbortController();
  let begun = 0;
  const onProgress = () => {
    if (++begun === 2) controller.abort();
  };
  const report = await archive.verify({ signal: controller.signal, onProgress });
  assert.deepEqual(report, { ...allSound(1), isBrokenOff: true });
  // Nothing of what was not looked at is said to be sound, and nothing more is begun.
  assert.equal(begun, 2);
  await assert.rejects(archive.verifyBackup(MAC, IDS[0]!, controller.signal), { name: 'AbortError' });
});

for (const compression of ['none', 'gzip'] as const) {
  test(`one flipped bit anywhere in any file is found, and named (${compression})`, async (t) => {
    const archive = await newArchive(t, { compression });
    const { path, id, manifest } = await backUp(archive, image(3000));
    for (const file of await readdir(path)) {
      const { length } = await readFile(join(path, file));
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 0, max: length * 8 - 1 }), async (bit) => {
          await flipBit(join(path, file), bit);
          const problems = await archive.verifyBackup(MAC, id);
          await flipBit(join(path, file), bit);
          // A digest of SHA256SUMS in upper case means the same.
          const harmless = file === 'SHA256SUMS' && problems.length === 0;
          if (harmless) {
            assert.equal(bit & 7, 5);
            return;
          }
          assert.ok(problems.length > 0, `${file}, bit ${bit}`);
          // A wrong digest in SHA256SUMS could as well be that of a damaged manifest.
          if (file !== 'SHA256SUMS')
            assert.ok(
              problems.some((problem) => problem.file.endsWith(`/${file}`)),
              `${file}, bit ${bit}`,
            );
        }),
        { numRuns: 60 },
      );
    }
    assert.deepEqual(await archive.verifyBackup(MAC, id), []);
    await flipBit(join(path, manifest.image.file), 8 * 20);
    const { damaged } = await archive.verify({});
    assert.deepEqual(
      damaged.map(({ mac, id, file }) => ({ mac, id, file })),
      [{ mac: MAC, id, file: join(FOLDER, id, manifest.image.file) }],
    );
  });
}

test('where the image differs is said by block', async (t) => {
  const archive = await newArchive(t);
  const { path, id } = await backUp(archive, BYTES);
  await flipBit(join(path, 'flash.bin'), 8 * 70_000);
  await flipBit(join(path, 'flash.bin'), 8 * 140_000);
  const [problem, ...others] = await archive.verifyBackup(MAC, id);
  assert.deepEqual(others, []);
  assert.match(
    problem!.problem,
    /^SHA-256 differs from manifest\.json and SHA256SUMS: .*; 2 of 4 blocks differ, the first at 0x10000$/,
  );
  assert.equal(problem!.error.code, 'archive-damaged');
});

test('every missing, cut or longer file is found by verify, and by history where no hash is needed', async (t) => {
  const archive = await newArchive(t);
  const { path, id } = await backUp(archive, BYTES);
  const keep = join(archive.root, '..', 'keep');
  await cp(path, keep, { recursive: true });
  const harms: [string, RegExp, () => Promise<unknown>][] = [];
  for (const file of ['flash.bin', 'manifest.json', 'SHA256SUMS']) {
    const at = join(path, file);
    harms.push(
      [file, /is missing/, () => unlink(at)],
      [file, /./, () => truncate(at, 0)],
      [file, /./, () => truncate(at, 100)],
      [file, /./, () => writeFile(at, 'x', { flag: 'a' })],
      [file, /symbolic link/, () => rename(at, join(keep, '..', 'moved')).then(() => symlink(join(keep, file), at))],
      [file, /no regular file/, () => unlink(at).then(() => mkdir(at))],
      [file, /no regular file/, () => unlink(at).then(() => execFileSync('mkfifo', [at]))],
    );
  }
  harms.push(
    ['manifest.json', /larger/, () => writeFile(join(path, 'manifest.json'), Buffer.alloc(1024 * 1024 + 1, ' '))],
    ['SHA256SUMS', /larger/, () => writeFile(join(path, 'SHA256SUMS'), Buffer.alloc(65 * 1024))],
  );
  for (const [index, [file, pattern, harm]] of harms.entries()) {
    await harm();
    const before = await snapshot(archive.root);
    const problems = await archive.verifyBackup(MAC, id);
    const named = problems.filter((problem) => problem.file === join(FOLDER, id, file));
    assert.ok(
      named.some(({ problem }) => pattern.test(problem)),
      `${index} ${file} ${String(pattern)}: ${JSON.stringify(problems)}`,
    );
    const history = await archive.history(MAC);
    assert.deepEqual(history.backups, []);
    assert.ok(history.problems.some((problem) => problem.file === join(FOLDER, id, file)));
    for (const { error } of history.problems) assert.equal(error.code, 'archive-damaged');
    await assert.rejects(archive.resolveBackup(MAC, 'latest'), { code: 'archive-damaged' });
    assert.deepEqual(await snapshot(archive.root), before, 'nothing was touched');
    await rm(path, { recursive: true });
    await cp(keep, path, { recursive: true });
  }
  assert.deepEqual(await archive.verifyBackup(MAC, id), []);
});

test('forged manifests: each lie is found, though SHA256SUMS agrees', async (t) => {
  const archive = await newArchive(t);
  const { path, id, manifest } = await backUp(archive, BYTES);
  const text = await readFile(join(path, 'manifest.json'), 'utf8');
  const { image, blocks } = manifest;
  const zeros = '0'.repeat(64);
  const lies: [unknown, RegExp, boolean][] = [
    ['not JSON', /is no JSON/, true],
    ['[]', /is no manifest/, true],
    [{ ...manifest, mac: OTHER_MAC }, /another board: 24:0a/, true],
    [{ ...manifest, id: IDS[0] }, /another backup: 2026-11-21/, true],
    [{ ...manifest, image: { ...image, sizeBytes: 1 } }, /block digests where 1/, true],
    [{ ...manifest, image: { ...image, sizeBytes: BYTES.length + 1 } }, /has 200000 bytes/, true],
    [{ ...manifest, image: { ...image, file: '../../x' } }, /image\.file/, true],
    [{ ...manifest, image: { ...image, file: 'flash.bin.gz' } }, /flash\.bin\.gz|is missing/, true],
    [{ ...manifest, image: { ...image, md5: zeros.slice(32) } }, /confirmed another image/, true],
    [{ ...manifest, blocks: { ...blocks, sha256: blocks.sha256.slice(1) } }, /3 block digests where 4/, true],
    [{ ...manifest, image: { ...image, sha256: zeros } }, /SHA-256 differs/, false],
    [
      {
        ...manifest,
        image: { ...image, md5: zeros.slice(32) },
        confirmed: { ...manifest.confirmed, md5: zeros.slice(32) },
      },
      /another MD5/,
      false,
    ],
    [
      { ...manifest, blocks: { ...blocks, sha256: [zeros, ...blocks.sha256.slice(1)] } },
      /other block digests.*1 of 4.*0x0$/,
      false,
    ],
    [
      { ...manifest, blocks: { ...blocks, md5: [...blocks.md5.slice(0, 3), zeros.slice(32)] } },
      /other block digests.*1 of 4.*0x30000$/,
      false,
    ],
    [{ ...manifest, blocks: { ...blocks, md5: [] } }, /0 block digests where 4/, true],
  ];
  for (const [lie, pattern, seenByHistory] of lies) {
    await forge(path, 'manifest.json', typeof lie === 'string' ? lie : JSON.stringify(lie));
    const problems = await archive.verifyBackup(MAC, id);
    assert.ok(
      problems.some(({ problem }) => pattern.test(problem)),
      `${String(pattern)}: ${JSON.stringify(problems)}`,
    );
    assert.equal((await archive.history(MAC)).problems.length > 0, seenByHistory, String(pattern));
  }
  await forge(path, 'manifest.json', text);
  assert.deepEqual(await archive.verifyBackup(MAC, id), []);
  for (const [sums, pattern] of [
    ['', /no list/],
    [`${zeros}  flash.bin\n`, /does not list manifest\.json/],
    [
      `${image.sha256}  flash.bin\n${zeros}  manifest.json\n${zeros}  ../../etc/passwd\n`,
      /lists \.\.\/\.\.\/etc\/passwd/,
    ],
    [`${zeros}  flash.bin\n${sha256(Buffer.from(text))}  manifest.json\n`, /has another digest for flash\.bin/],
  ] as const) {
    await writeFile(join(path, 'SHA256SUMS'), sums);
    const problems = await archive.verifyBackup(MAC, id);
    assert.ok(
      problems.some(({ file, problem }) => file.endsWith('SHA256SUMS') && pattern.test(problem)),
      JSON.stringify(problems),
    );
  }
});

test('a newer format hides no other backup, and is never passed over in silence', async (t) => {
  const archive = await newArchive(t);
  const backups = await threeBackups(archive);
  const newer = JSON.stringify({ formatVersion: 3, createdBy: 'espd 9.0.0\u001b[31m' });
  await writeFile(join(backups[2]!.path, 'manifest.json'), newer);
  await writeFile(join(backups[2]!.path, 'flash.zst'), '');
  const history = await archive.history(MAC);
  assert.deepEqual(history.backups, backups.slice(0, 2));
  assert.deepEqual(
    history.problems.map(({ id, error }) => [id, error.code]),
    [[IDS[2], 'archive-newer']],
  );
  for (const which of ['latest', IDS[2]!, '2026-12-01']) {
    await assert.rejects(archive.resolveBackup(MAC, which), (error: unknown) => {
      assert.ok(hasCode(error, 'archive-newer'));
      assert.match(error.hint, /espd 9\.0\.0/);
      assert.match(error.hint, new RegExp(`newest that looks sound is ${IDS[1]!}`));
      assert.doesNotMatch(error.hint, /\u001b/);
      return true;
    });
  }
  assert.deepEqual(await archive.resolveBackup(MAC, '2026-11-22'), backups[1]);
  const report = await archive.verify({});
  assert.equal(report.checked, 3);
  assert.deepEqual(report.damaged, []);
  assert.deepEqual(
    report.unreadable.map(({ id, error }) => [id, error.code]),
    [[IDS[2], 'archive-newer']],
  );
  assert.deepEqual(report.foreign, [], 'what belongs into a newer backup is not known');
});

test('a damaged newest or first one is the answer, with the newest sound one as hint', async (t) => {
  const archive = await newArchive(t);
  const backups = await threeBackups(archive);
  await unlink(join(backups[2]!.path, 'flash.bin'));
  await assert.rejects(archive.resolveBackup(MAC, 'latest'), {
    code: 'archive-damaged',
    message: new RegExp(`^Backup ${IDS[2]!} of ${MAC}: .*flash\\.bin is missing$`),
    hint: new RegExp(IDS[1]!),
  });
  await unlink(join(backups[0]!.path, 'manifest.json'));
  await assert.rejects(archive.resolveBackup(MAC, 'first'), { code: 'archive-damaged', hint: new RegExp(IDS[1]!) });
  await unlink(join(backups[1]!.path, 'SHA256SUMS'));
  await assert.rejects(archive.resolveBackup(MAC, 'latest'), { code: 'archive-damaged', hint: /No other backup/ });
  const report = await archive.verify({});
  assert.deepEqual([report.checked, report.damaged.length], [4, 3]);
  assert.equal(
    (await backUp(archive, BYTES, '2026-11-24T00:00:00Z')).id,
    '2026-11-24T00-00-00Z',
    'damage stops no backup',
  );
});

test('links are never followed, and what is foreign is reported and left alone', async (t) => {
  const archive = await newArchive(t);
  const [first] = await threeBackups(archive);
  const outside = join(archive.root, '..', 'outside');
  await mkdir(outside);
  const board = join(archive.root, FOLDER);
  await rename(first!.path, join(outside, IDS[0]!));
  await symlink(join(outside, IDS[0]!), first!.path);
  await symlink('/etc', join(board, '2026-12-01T00-00-00Z'));
  await writeFile(join(board, '2026-12-02T00-00-00Z'), 'a file');
  await mkdir(join(board, '2026-99-99T00-00-00Z'));
  await writeFile(join(board, 'evil\u001b[2J\nname'), '');
  await mkdir(join(board, 'draft.mine'));
  await mkdir(join(archive.root, 'lost+found'));
  await mkdir(join(archive.root, '50-02-91-C3-37-A6'));
  await writeFile(join(archive.root, '50-02-91-c3-37-a7'), '');
  await symlink(outside, join(archive.root, '50-02-91-c3-37-a8'));
  await writeFile(join(archive.root, 'notes'), '');
  const before = await snapshotWithoutCache(join(archive.root, '..'));

  const { macs, problems, foreign } = await archive.boards();
  assert.deepEqual(macs, [OTHER_MAC, MAC]);
  const shown = [...problems, ...foreign].map(({ mac, file, problem }) => `${String(mac)} ${file} ${problem}`);
  assert.deepEqual(shown.sort(), [
    '50:02:91:c3:37:a7 50-02-91-c3-37-a7 is no folder',
    '50:02:91:c3:37:a8 50-02-91-c3-37-a8 is a symbolic link; espd follows none',
    'null 50-02-91-C3-37-A6 is foreign',
    'null notes is foreign',
  ]);
  assert.equal(foreign.length, 2);
  const history = await archive.history(MAC);
  assert.deepEqual(
    history.backups.map(({ id }) => id),
    IDS.slice(1),
  );
  const told = (entries: readonly { id: string | null; file: string; problem: string }[]) =>
    entries.map(({ id, file, problem }) => `${String(id)} ${file.slice(FOLDER.length + 1)} ${problem}`).sort();
  assert.deepEqual(told(history.problems), [
    '2026-11-21T10-00-00Z 2026-11-21T10-00-00Z is a symbolic link; espd follows none',
    '2026-12-01T00-00-00Z 2026-12-01T00-00-00Z is a symbolic link; espd follows none',
    '2026-12-02T00-00-00Z 2026-12-02T00-00-00Z is no folder',
  ]);
  assert.deepEqual(told(history.foreign), [
    'null 2026-99-99T00-00-00Z is foreign',
    'null draft.mine is foreign',
    'null evil\\u{1b}[2J\\u{a}name is foreign',
  ]);
  const report = await archive.verify({});
  assert.deepEqual([report.damaged.length, report.unreadable.length, report.foreign.length], [5, 0, 5]);
  await assert.rejects(archive.resolveBoard('500291c337a8'), { code: 'archive-damaged', message: /symbolic link/ });
  const linked = (await archive.boards()).problems.find(({ file }) => file.endsWith('a8'))!.mac!;
  await assert.rejects(archive.resolveBackup(linked, 'latest'), { code: 'archive-damaged' });
  assert.equal((await archive.history(linked)).problems.length, 1);
  await assert.rejects(archive.openImage({ ...history.backups[0]!, id: '2026-12-01T00-00-00Z' }), {
    code: 'archive-damaged',
  });
  assert.deepEqual(await snapshotWithoutCache(join(archive.root, '..')), before);
});

test('a root that is a link is followed: the user put it there', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'disk'));
  await symlink(join(folder, 'disk'), join(folder, 'archive'));
  const archive = archiveAt(join(folder, 'archive'));
  await backUp(archive, BYTES);
  assert.deepEqual(await archive.verify({}), allSound(1));
  assert.deepEqual(await readdir(join(folder, 'disk')), [FOLDER, 'cache']);
});

test('what may not be read is reported as that, and hides nothing else', async (t) => {
  const archive = await newArchive(t);
  const backups = await threeBackups(archive);
  const denied = (part: string) =>
    archiveAt(archive.root, {
      fs: watchedFileSystem(({ name, path }) => {
        const reading = name === 'readdir' || name === 'open';
        if (reading && path.endsWith(part)) throw systemError('EACCES');
      }),
    });
  for (const part of [IDS[1]!, `${IDS[1]!}/manifest.json`, `${IDS[1]!}/flash.bin`, `${IDS[1]!}/SHA256SUMS`]) {
    const history = await denied(part).history(MAC);
    assert.deepEqual(history.backups, [backups[0], backups[2]]);
    assert.deepEqual(
      history.problems.map(({ error, id }) => [error.code, id]),
      [['archive-unreadable', IDS[1]]],
      part,
    );
    const report = await denied(part).verify({});
    assert.deepEqual(
      report.unreadable.map(({ file, problem }) => `${file} ${problem}`),
      [`${FOLDER}/${part} may not be read by this user`],
    );
    assert.deepEqual([report.checked, report.damaged], [3, []]);
  }
  const board = await denied(FOLDER).history(MAC);
  assert.deepEqual([board.backups.length, board.problems[0]?.error.code], [0, 'archive-unreadable']);
  assert.equal((await denied(FOLDER).history(OTHER_MAC)).backups.length, 1);
  await assert.rejects(denied(FOLDER).resolveBackup(MAC, 'latest'), { code: 'archive-unreadable' });
  await assert.rejects(denied('/archive').boards(), { code: 'archive-unreadable', hint: /user that owns/ });
  const report = await denied(FOLDER).verify({});
  assert.deepEqual([report.checked, report.damaged.length, report.unreadable.length], [1, 0, 1]);
});

for (const [code, hint] of [
  ['EIO', /dmesg/],
  ['EMFILE', /ulimit/],
  ['ESTALE', /Try again/],
  ['ENOMEM', /Try again/],
] as const) {
  for (const file of ['flash.bin', 'flash.bin.gz', 'manifest.json', 'SHA256SUMS', '']) {
    test(`${code} at ${file || 'the folder'}: nothing is known of that backup, and the others are sound`, async (t) => {
      const archive = await newArchive(t, { compression: file.endsWith('.gz') ? 'gzip' : 'none' });
      const backups = await threeBackups(archive);
      const failing = archiveAt(archive.root, {
        fs: watchedFileSystem(({ name, path }) => {
          const call = file === '' ? 'readdir' : code === 'EMFILE' ? 'open' : 'handle.read';
          if (name === call && path.endsWith(join(IDS[1]!, file))) throw systemError(code);
        }),
      });
      const report = await failing.verify({});
      assert.equal(report.checked, 3);
      assert.deepEqual(report.damaged, []);
      assert.deepEqual(
        report.unreadable.map((problem) => [problem.id, problem.file, problem.error.code]),
        [[IDS[1], join(FOLDER, IDS[1]!, file), 'archive-unreadable']],
      );
      assert.match(report.unreadable[0]!.problem, new RegExp(code));
      assert.match(report.unreadable[0]!.error.hint, hint);
      if (!file.startsWith('flash.bin')) {
        await assert.rejects(failing.resolveBackup(MAC, IDS[1]!), { code: 'archive-unreadable' });
        return;
      }
      await assert.rejects(
        async () => {
          const reader = await failing.openImage(backups[1]!);
          await reader.read(0, 10).finally(() => reader.close());
        },
        { code: 'archive-unreadable' },
      );
    });
  }
}

test('a digest that differs is damage, also where the image cannot be inflated for another reason', async (t) => {
  const archive = await newArchive(t, { compression: 'gzip' });
  const { path, id } = await backUp(archive, BYTES);
  await flipBit(join(path, 'flash.bin.gz'), 8 * 5000);
  let reads = 0;
  const failing = archiveAt(archive.root, {
    fs: watchedFileSystem((call) => {
      // The first pass reads the file to its end, for its digest; the second one inflates it.
      if (call.name === 'handle.read' && call.path.endsWith('.gz') && ++reads > 5) throw systemError('EIO');
    }),
  });
  const problems = await failing.verifyBackup(MAC, id);
  assert.ok(problems.some(({ error, problem }) => error.code === 'archive-damaged' && /SHA-256/.test(problem)));
});

test('a backup that is removed between listing and reading is no damage', async (t) => {
  const archive = await newArchive(t);
  const backups = await threeBackups(archive);
  let removed: Promise<void> | undefined;
  const fs = watchedFileSystem(() => undefined);
  const racing = archiveAt(archive.root, {
    fs: {
      ...fs,
      lstat: (async (path: string) => {
        if (path === backups[2]!.path)
          await (removed ??= rename(path, join(archive.root, FOLDER, `trash.${'0'.repeat(16)}`)));
        return fs.lstat(path);
      }) as typeof fs.lstat,
    },
  });
  assert.deepEqual(await racing.resolveBackup(MAC, 'latest'), backups[1]);
  const history = await racing.history(MAC);
  assert.deepEqual([history.backups.length, history.problems], [2, []]);
});

describe('images through gzip', () => {
  test('are inflated to a file of their own, in constant memory, and nothing is left', async (t) => {
    const archive = await newArchive(t, { compression: 'gzip' });
    const bytes = Buffer.concat([Buffer.alloc(1024 * 1024, 0xff), image(100_000), Buffer.alloc(1024 * 1024, 0xff)]);
    const backup = await backUp(archive, bytes);
    const before = await snapshot(archive.root);
    const reader = await archive.openImage(backup);
    const added = Object.keys(await snapshot(archive.root)).filter((path) => !(path in before));
    assert.deepEqual(
      added.map((path) => draftOwner(path.slice(FOLDER.length + 1))?.pid),
      [process.pid],
      'a name that no reader takes for foreign, and that is cleared should the process die',
    );
    assert.deepEqual((await archive.history(MAC)).foreign, []);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length), fc.nat(70_000), async (offset, wanted) => {
        const length = Math.min(wanted, bytes.length - offset);
        assert.ok((await reader.read(offset, length)).equals(bytes.subarray(offset, offset + length)));
      }),
    );
    await reader.close();
    assert.deepEqual(Object.keys(await snapshot(archive.root)), Object.keys(before));
    assert.ok((await readFile(join(backup.path, 'flash.bin.gz'))).length < 200_000);
  });

  test('that are damaged, too long or too short are refused', async (t) => {
    const archive = await newArchive(t, { compression: 'gzip' });
    const bytes = image(100_000);
    const backup = await backUp(archive, bytes);
    const path = join(backup.path, 'flash.bin.gz');
    const good = await readFile(path);
    const bad = [Buffer.alloc(0), Buffer.from('no gzip'), good.subarray(0, 5000), good.subarray(0, -1), gzipSync(bytes.subarray(1)),
      gzipSync(Buffer.concat([bytes, Buffer.alloc(1)])), gzipSync(Buffer.alloc(64 * 1024 * 1024)), Buffer.concat([good, good])]; // prettier-ignore
    for (const [index, stored] of bad.entries()) {
      await forge(backup.path, 'flash.bin.gz', stored);
      await assert.rejects(archive.openImage(backup), { code: 'archive-damaged' }, `bad ${index}`);
      assert.notDeepEqual(await archive.verifyBackup(MAC, backup.id), [], `bad ${index}`);
    }
    // Other bytes for the same image: whoever compressed it again has changed nothing that counts.
    await forge(backup.path, 'flash.bin.gz', gzipSync(bytes, { level: 1 }));
    assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
    assert.deepEqual((await readdir(join(archive.root, FOLDER))).length, 1);
  });

  test('can be read where nothing may be written, and say when the disk is full', async (t) => {
    const archive = await newArchive(t, { compression: 'gzip' });
    const bytes = image(100_000);
    const backup = await backUp(archive, bytes);
    const failing = (code: string, call: string) =>
      archiveAt(archive.root, {
        fs: watchedFileSystem(({ name, path }) => {
          if (name === call && path.includes('draft.')) throw systemError(code);
        }),
      });
    for (const code of ['EROFS', 'EACCES']) {
      const reader = await failing(code, 'open').openImage(backup);
      assert.ok((await reader.read(0, bytes.length)).equals(bytes));
      await reader.close();
    }
    await assert.rejects(failing('ENOSPC', 'open').openImage(backup), { code: 'disk-full' });
    await assert.rejects(failing('ENOSPC', 'handle.write').openImage(backup), { code: 'disk-full' });
    assert.equal((await readdir(join(archive.root, FOLDER))).length, 1);
  });

  test('and plain ones live side by side', async (t) => {
    const plain = await newArchive(t);
    const packed = archiveAt(plain.root, { compression: 'gzip' });
    await backUp(plain, BYTES, DAYS[0]);
    await backUp(packed, BYTES, DAYS[1]);
    for (const archive of [plain, packed]) {
      assert.deepEqual(await archive.verify({}), allSound(2));
      for (const backup of (await archive.history(MAC)).backups) {
        const reader = await archive.openImage(backup);
        assert.ok((await reader.read(0, BYTES.length)).equals(BYTES));
        await reader.close();
      }
    }
  });
});

test('a plain image of another size than its manifest says is refused', async (t) => {
  const archive = await newArchive(t);
  const backup = await backUp(archive, BYTES);
  const reader = await archive.openImage(backup);
  await truncate(join(backup.path, 'flash.bin'), 1000);
  await assert.rejects(reader.read(0, 1001), { code: 'archive-damaged' });
  await reader.close();
  await assert.rejects(archive.openImage(backup), {
    code: 'archive-damaged',
    message: /1000 bytes of image where 200000/,
  });
  await unlink(join(backup.path, 'flash.bin'));
  await assert.rejects(
    archive.openImage(backup),
    (error: unknown) => error instanceof EspdError && /is missing/.test(error.message),
  );
});

test('a copy of the archive elsewhere, made by common tools, is as good', async (t) => {
  const archive = await newArchive(t);
  await threeBackups(archive);
  const copy = join(archive.root, '..', 'copy');
  execFileSync('cp', ['-r', archive.root, copy]);
  assert.deepEqual(await archiveAt(copy).verify({}), allSound(4));
  // A folder that was renamed is not what its manifest says.
  await rename(join(copy, FOLDER), join(copy, macToFolder(OTHER_MAC).replace('24', '26')));
  assert.equal((await archiveAt(copy).verify({})).damaged.length, 3);
});

test('a hard link to an image is a file like any other', async (t) => {
  const archive = await newArchive(t);
  const { path, id } = await backUp(archive, BYTES);
  await link(join(path, 'flash.bin'), join(archive.root, '..', 'linked'));
  assert.deepEqual(await archive.verifyBackup(MAC, id), []);
});

test('the newest backup is found without reading the others, and what is damaged above it is told', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const opened: string[] = [];
  const archive = archiveAt(root, {
    fs: watchedFileSystem(({ name, path }) => {
      if (name === 'open' && path.endsWith('manifest.json')) opened.push(path.split('/').at(-2)!);
    }),
  });
  assert.deepEqual(await archive.latest(MAC), { mac: MAC, ids: [], backup: undefined, problems: [] });
  const ids: string[] = [];
  for (let count = 0; count < 30; count++) ids.push((await backUp(archive, image(10, count))).id);
  opened.length = 0;
  const latest = await archive.latest(MAC);
  assert.deepEqual([latest.ids, latest.backup?.id, latest.problems], [ids, ids.at(-1), []]);
  assert.deepEqual(opened, [ids.at(-1)]);

  const newest = archive.newestFirst(MAC);
  opened.length = 0;
  for (const id of [ids.at(-1), ids.at(-2), ids.at(-3)]) {
    const { value } = await newest.next();
    assert.equal(value?.id, id);
  }
  assert.equal(opened.length, 3);

  await writeFile(join(root, FOLDER, ids.at(-1)!, 'manifest.json'), '{');
  await rm(join(root, FOLDER, ids.at(-2)!, 'flash.bin'));
  const below = await archive.latest(MAC);
  assert.deepEqual([below.ids, below.backup?.id], [ids, ids.at(-3)]);
  assert.deepEqual(new Set(below.problems.map(({ id }) => id)), new Set([ids.at(-1), ids.at(-2)]));
  const sound: string[] = [];
  for await (const { id } of archive.newestFirst(MAC)) sound.push(id);
  assert.deepEqual(sound, ids.slice(0, -2).reverse());
});

test('the newest backup of a folder that is none, or a link, is a problem and no failure', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const archive = archiveAt(root);
  await backUp(archive, image(10), undefined, OTHER_MAC);
  await symlink(join(root, macToFolder(OTHER_MAC)), join(root, FOLDER));
  const { ids, backup, problems } = await archive.latest(MAC);
  assert.deepEqual([ids, backup, problems.map(({ id }) => id)], [[], undefined, [null]]);
  assert.equal((await archive.newestFirst(MAC).next()).done, true);
});
