/** The archive: its folder on a machine of tables, its content on a real disk. */

import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Archive } from '../../src/archive/types.ts';
import { checkArchive, judgeMode, judgeOwners, missing, unseen } from '../../src/doctor/archive.ts';
import { checkHealth, checkSpace, judgeSample, judgeSpace } from '../../src/doctor/archive-health.ts';
import { systemOutside } from '../../src/doctor/system.ts';
import { commandOf } from '../../src/doctor/types.ts';
import { checkClock } from '../../src/doctor/clock.ts';
import { ID0, FOLDER, MAC, OTHER_MAC, backUp, image, newArchive, snapshot } from '../archive/support.ts';
import { RUNNING_SERVICE, lines } from './machine.ts';
import { factsOf, loadedConfig, said } from './subject.ts';

const ROOT = '/var/lib/espd';
const folder = { kind: 'folder', uid: 1000, gid: 1000, mode: 0o700 } as const;
const archiveOf = (root: string) =>
  ({ root, boards: () => Promise.reject(new Error('not asked')) }) as unknown as Archive;
const at = { archive: archiveOf(ROOT) };
const service = { systemctl: { stdout: lines(RUNNING_SERVICE) } };

test('the folder: there, not there, not for us, read-only, no folder', async () => {
  const check = async (machine: Parameters<typeof factsOf>[0]) =>
    said(await checkArchive(factsOf(machine, at)))[0] ?? '';
  const stats = { [ROOT]: folder };
  assert.equal(await check({ stats }), `ok archive: The archive can be read and written: ${ROOT}`);
  assert.equal(await check({}), `note archive: There is no archive yet: ${ROOT}`);
  assert.match(await check({ stats, refused: { [ROOT]: 'EACCES' } }), /^problem archive: This user may not read/);
  const closed = { stats, refused: { [ROOT]: 'EACCES' }, programs: service };
  assert.match(await check(closed), /^note archive: This user may not read/);
  assert.match(await check({ stats, refused: { [ROOT]: 'EIO' } }), /^problem archive: .*cannot be read \(EIO\)/);
  assert.match(
    await check({ stats: { [ROOT]: { ...folder, kind: 'file' } } }),
    /^problem archive: The archive is no folder/,
  );
});

test('a folder that may be read and not written: read-only, or another user', async () => {
  for (const [code, wanted] of [
    ['EROFS', /^problem archive: The archive is on a read-only file system/],
    ['EACCES', /^problem archive: The archive cannot be written \(EACCES\)/],
  ] as const) {
    const facts = factsOf({ stats: { [ROOT]: folder } }, at);
    const outside = {
      ...facts.outside,
      access: (_: string, wish: string) =>
        Promise.resolve(wish === 'read' ? ({ found: true, value: true } as const) : { found: false as const, code }),
    };
    assert.match(said(await checkArchive({ ...facts, outside }))[0] ?? '', wanted);
  }
});

test('a folder that is missing is made only where it cannot be a disk that is not mounted', () => {
  const shown = ({ remedy }: ReturnType<typeof missing>) => remedy && [commandOf(remedy, false), remedy.safe];
  assert.deepEqual(shown(missing(ROOT, { name: 'espd' }, false)), [
    `sudo install -d -m 700 -o espd -g espd ${ROOT}`,
    true,
  ]);
  assert.deepEqual(shown(missing('/mnt/disk/espd', undefined, true)), ['install -d -m 700 /mnt/disk/espd', false]);
  assert.equal(unseen(ROOT, 'EACCES', true).status, 'note');
});

test('modes: what the config allows is allowed', () => {
  assert.deepEqual(judgeMode(ROOT, folder, 0o700, 1000), []);
  const [open] = judgeMode(ROOT, { ...folder, mode: 0o755 }, 0o700, 1000);
  assert.equal(open?.title, `Others may look into the archive: ${ROOT} has mode 0755`);
  assert.deepEqual(open.remedy && [commandOf(open.remedy, false), open.remedy.safe], [`chmod 0700 ${ROOT}`, true]);
  assert.deepEqual(judgeMode(ROOT, { ...folder, mode: 0o750 }, 0o750, 1000), []);
  assert.deepEqual(judgeMode(ROOT, { ...folder, mode: 0o777 }, 0o700, null), []);
});

test('owners: boards that root has written, and a root that is not the service', () => {
  const owners = new Map([
    [MAC, 994],
    [OTHER_MAC, 0],
  ]);
  const espd = { name: 'espd', uid: 994 };
  const [finding] = judgeOwners(ROOT, 994, owners, espd);
  assert.equal(finding?.title, `Not all of the archive belongs to user espd: ${OTHER_MAC} in ${ROOT}`);
  assert.deepEqual(finding.remedy && [commandOf(finding.remedy, false), finding.remedy.safe], [
    `sudo chown -R espd:espd ${ROOT}`,
    false,
  ]);
  assert.equal(judgeOwners(ROOT, 0, new Map(), espd).length, 1);
  assert.deepEqual(judgeOwners(ROOT, 994, new Map([[MAC, 994]]), espd), []);
});

const GIB = 1024 ** 3;
test('room: full, nearly full, no inodes, and file systems that tell nothing', () => {
  const space = { freeBytes: 50 * GIB, diskBytes: 100 * GIB, files: 1000, ffree: 500 };
  const judge = (change: object, min: number | null = null) =>
    said([judgeSpace(ROOT, { ...space, ...change }, min)])[0] ?? '';
  assert.equal(
    judge({}),
    'ok disk-space: Room on the disk of the archive: 50 GiB free, 256 MiB must stay free (archive.minFreeBytes)',
  );
  assert.match(judge({ freeBytes: 0.26 * GIB }), /^problem disk-space: .*is full/);
  assert.match(judge({ freeBytes: 0.5 * GIB }), /^note disk-space: .*nearly full/);
  assert.match(judge({}, 50 * GIB), /^problem/);
  assert.match(judge({ freeBytes: GIB / 64 }, 0), /^problem/);
  assert.match(judge({ ffree: 5 }), /^problem disk-space: .*as many files as it can/);
  assert.match(judge({ files: 0, ffree: 0 }), /^ok/);
  assert.match(judge({ diskBytes: 0, freeBytes: 0 }), /^note disk-space: .*cannot be checked/);
});

test('room: asked of the archive, and nothing said where there is none', async () => {
  assert.deepEqual(await checkSpace(factsOf({ space: { found: false, code: 'ENOENT' } }, at)), []);
  assert.match(
    said(await checkSpace(factsOf({ space: { found: false, code: 'ENOSYS' } }, at)))[0] ?? '',
    /cannot be checked/,
  );
  const loaded = loadedConfig(null, (x) => ({ ...x, archive: { ...x.archive, minFreeBytes: '2T' } }));
  assert.match(said(await checkSpace(factsOf({}, { ...at, loaded })))[0] ?? '', /^problem disk-space/);
});

test('a sample of the archive: sound, damaged, and nothing is written to it', async (t) => {
  const archive = await newArchive(t);
  const { path } = await backUp(archive, image(5000));
  await backUp(archive, image(5000, 2), '2026-11-24T10:00:00.000Z');
  const before = await snapshot(archive.root);
  const health = async () => said(await checkHealth(factsOf({}, { archive })));
  assert.deepEqual(await health(), ['ok archive-sample: 2 of 2 backups hashed again, longest unchecked first: sound']);
  assert.deepEqual(await snapshot(archive.root), before);

  await chmod(join(path, 'flash.bin'), 0o600);
  await writeFile(join(path, 'flash.bin'), image(5000, 9));
  assert.match(
    (await health())[0] ?? '',
    new RegExp(`^problem archive-sample: The archive is damaged: ${FOLDER}/${ID0}/flash.bin `),
  );
});

test('a sample of nothing, of a foreign thing in the place of a board, and of what may not be read', async (t) => {
  const archive = await newArchive(t);
  assert.deepEqual(await checkHealth(factsOf({}, { archive })), []);
  await mkdir(archive.root, { recursive: true });
  assert.deepEqual(said(await checkHealth(factsOf({}, { archive }))), ['ok archive-sample: The archive is empty']);
  await writeFile(join(archive.root, FOLDER), 'no folder');
  assert.match(
    said(await checkHealth(factsOf({}, { archive })))[0] ?? '',
    /^problem archive-sample: The archive is damaged/,
  );
  assert.equal(judgeSample([], { hashed: 0, of: 3 }).status, 'note');
});

test('a board that a restore has left in the middle, with the command that finishes it', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(5000));
  await archive.beginRestore({
    ...{ mac: MAC, from: { mac: MAC, id: ID0 }, startedAt: '2026-11-26T10:00:00.000Z', why: 'latest' },
    ...{
      regions: [{ offset: 0, sizeBytes: 4096 }],
      done: [{ offset: 0, sizeBytes: 4096, md5: 'a'.repeat(32) }],
      parts: null,
      snapshot: null,
      snapshotIsNew: false,
    },
    options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
  });
  const findings = await checkHealth(factsOf({}, { archive }));
  const half = findings.at(-1);
  assert.match(said(findings).at(-1) ?? '', /^problem half-restored: 50:02:91:c3:37:a5 is half restored to /);
  assert.equal(half?.remedy && commandOf(half.remedy, false), `espd restore --mac ${MAC} --at ${ID0}`);
});

test('a real archive, as the user that owns it, and a clock that is behind it', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(5000), '2999-01-01T00:00:00.000Z');
  const facts = factsOf({}, { archive, outside: systemOutside(process.env) });
  assert.deepEqual(said(await checkArchive(facts)), [
    `ok archive: The archive can be read and written: ${archive.root}`,
  ]);
  assert.match(
    said(await checkClock(facts))[0] ?? '',
    /^problem clock: .*before the newest backup \(2999-01-01T00-00-00Z\)/,
  );
  await chmod(archive.root, 0o755);
  assert.match(said(await checkArchive(facts))[1] ?? '', /^problem archive-mode: .* has mode 0755/);
});
