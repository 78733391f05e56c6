import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFile,
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { isBackupId } from '../../src/archive/ids.ts';
import { draftName, currentOwner } from '../../src/archive/owner.ts';
import type { FileSystem } from '../../src/archive/disk.ts';
import { systemClock } from '../../src/clock.ts';
import { EspdError } from '../../src/errors.ts';
import type { Mac } from '../../src/mac.ts';
import {
  FOLDER,
  ID0,
  MAC,
  OTHER_MAC,
  T0,
  allSound,
  archiveAt,
  backUp,
  content,
  image,
  md5,
  newArchive,
  sha256,
  snapshot,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';
import type { Call } from './support.ts';

const SIZES = [1, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 65537, 1024 * 1024 + 1];

/** `sha256sum -c` in a backup's folder, as a person without espd would do it; true where the tool is not there. */
function checkedBySha256sum(folder: string): boolean {
  const result = spawnSync('sha256sum', ['--strict', '-c', 'SHA256SUMS'], { cwd: folder });
  return result.error !== undefined || result.status === 0;
}

for (const compression of ['none', 'gzip'] as const) {
  describe(`compression: ${compression}`, () => {
    for (const size of SIZES) {
      test(`an image of ${size} bytes comes back, with all its digests`, async (t) => {
        const archive = await newArchive(t, { compression });
        const bytes = image(size);
        const backup = await backUp(archive, bytes);
        const { manifest, path } = backup;
        const file = compression === 'gzip' ? 'flash.bin.gz' : 'flash.bin';
        assert.deepEqual((await readdir(path)).sort(), ['SHA256SUMS', file, 'manifest.json'].sort());
        const stored = await readFile(join(path, file));
        assert.ok((compression === 'gzip' ? gunzipSync(stored) : stored).equals(bytes));
        assert.deepEqual(manifest.image, { file, sizeBytes: size, sha256: sha256(bytes), md5: md5(bytes) });
        const blocks = [];
        for (let at = 0; at < size; at += 65536) blocks.push(bytes.subarray(at, at + 65536));
        assert.deepEqual(manifest.blocks, { sizeBytes: 65536, sha256: blocks.map(sha256), md5: blocks.map(md5) });
        assert.ok(checkedBySha256sum(path));
        assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
        assert.deepEqual(await archive.resolveBackup(MAC, 'latest'), backup);
        assert.deepEqual(JSON.parse(await readFile(join(path, 'manifest.json'), 'utf8')), manifest);

        const reader = await archive.openImage(backup);
        assert.equal(reader.sizeBytes, size);
        assert.ok((await reader.read(0, size)).equals(bytes));
        assert.ok((await reader.read(size - 1, 1)).equals(bytes.subarray(size - 1)));
        assert.equal((await reader.read(size, 0)).length, 0);
        for (const [offset, length] of [
          [0, size + 1],
          [-1, 1],
          [size, 1],
          [0.5, 1],
          [0, -1],
        ] as const) {
          await assert.rejects(reader.read(offset, length), RangeError);
        }
        await reader.close();
        assert.deepEqual((await archive.history(MAC)).problems, []);
        assert.deepEqual(await readdir(join(archive.root, FOLDER)), [backup.id], 'nothing else is left');
      });
    }
  });
}

function digestsOf(bytes: Buffer): { md5: string; sha256: string; blocksMd5: string[] } {
  const blocksMd5: string[] = [];
  for (let at = 0; at < bytes.length; at += 65536) blocksMd5.push(md5(bytes.subarray(at, at + 65536)));
  return { md5: md5(bytes), sha256: sha256(bytes), blocksMd5 };
}

test('writes in any order and size, overlapping, read back and digested, equal a buffer', async (t) => {
  const archive = await newArchive(t);
  const size = 70_001;
  const step = fc.record({
    offset: fc.integer({ min: 0, max: size }),
    length: fc.integer({ min: 0, max: 9000 }),
    seed: fc.nat(),
    digest: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const draft = await archive.begin(MAC, size);
      const model = Buffer.alloc(size);
      for (const { offset, length, seed, digest } of steps) {
        const bytes = image(Math.min(length, size - offset), seed);
        await draft.write(offset, bytes);
        bytes.copy(model, offset);
        assert.ok((await draft.read(offset, bytes.length)).equals(bytes));
        if (digest) assert.deepEqual(await draft.digests(), digestsOf(model));
      }
      assert.ok((await draft.read(0, size)).equals(model));
      const backup = await draft.commit(content(model));
      assert.ok((await readFile(join(backup.path, 'flash.bin'))).equals(model));
    }),
    { numRuns: 25 },
  );
  assert.equal((await archive.verify({})).damaged.length, 0);
});

test('many writes at the same time, and a digest begun among them', async (t) => {
  const archive = await newArchive(t);
  const bytes = image(1024 * 1024);
  const draft = await archive.begin(MAC, bytes.length);
  const writes = [];
  for (let at = 0; at < bytes.length; at += 4096) {
    writes.push(draft.write(at, bytes.subarray(at, at + 4096)));
    if (at === 65536) writes.push(draft.digests());
  }
  await Promise.all(writes);
  assert.deepEqual(await draft.digests(), digestsOf(bytes));
  await draft.commit(content(bytes));
});

test('a draft is no backup, and after its end it is of no use', async (t) => {
  const archive = await newArchive(t);
  const bytes = image(100);
  const draft = await archive.begin(MAC, 100);
  assert.deepEqual(await archive.boards(), { macs: [MAC], problems: [], foreign: [] });
  const { backups, problems } = await archive.history(MAC);
  assert.deepEqual([backups, problems], [[], []]);
  assert.deepEqual(await archive.verify({}), allSound(0));
  for (const [offset, length] of [
    [-1, 1],
    [100, 1],
    [99, 2],
    [0.5, 1],
    [NaN, 1],
  ] as const) {
    await assert.rejects(draft.write(offset, Buffer.alloc(length)), RangeError);
    await assert.rejects(draft.read(offset, length), RangeError);
  }
  await draft.write(0, bytes);
  await draft.commit(content(bytes));
  for (const use of [
    () => draft.write(0, bytes),
    () => draft.read(0, 1),
    () => draft.digests(),
    () => draft.commit(content(bytes)),
  ]) {
    await assert.rejects(use, { code: 'internal' });
  }
  await draft.discard();
  assert.equal((await archive.history(MAC)).backups.length, 1);
});

test('discarding leaves no trace, also of a board never seen before', async (t) => {
  const archive = await newArchive(t);
  const draft = await archive.begin(MAC, 100);
  await draft.discard();
  await draft.discard();
  assert.deepEqual(await readdir(archive.root), []);
  await backUp(archive, image(5));
  const before = await snapshot(archive.root);
  await (await archive.begin(MAC, 100)).discard();
  const after = await snapshot(archive.root);
  assert.deepEqual({ ...after, [FOLDER]: '' }, { ...before, [FOLDER]: '' });
});

test('discard during a commit waits for it, and half a backup is never seen', async (t) => {
  const archive = await newArchive(t);
  const bytes = image(300_000);
  const draft = await archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  const [backup] = await Promise.all([draft.commit(content(bytes)), draft.discard(), draft.discard()]);
  assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
});

test('what the chip did not confirm, or what is of another board, is not kept', async (t) => {
  const archive = await newArchive(t);
  const bytes = image(1000);
  const attempts: [Parameters<typeof content>, string][] = [
    [[image(1000, 2)], 'digest-mismatch'],
    [[bytes, T0, OTHER_MAC], 'internal'],
    [[bytes, 'yesterday'], 'archive-unwritable'],
  ];
  for (const [args, code] of attempts) {
    const draft = await archive.begin(MAC, 1000);
    await draft.write(0, bytes);
    await assert.rejects(draft.commit(content(...args)), { code });
    assert.deepEqual(await readdir(archive.root), []);
  }
  const draft = await archive.begin(MAC, 1000);
  await draft.write(0, bytes);
  const wrong = content(bytes);
  await assert.rejects(draft.commit({ ...wrong, chip: { ...wrong.chip, crystalMHz: 'x' as unknown as number } }), {
    code: 'internal',
  });
  for (const size of [0, -1, 1.5, NaN, Infinity]) await assert.rejects(archive.begin(MAC, size), RangeError);
  assert.deepEqual(await readdir(archive.root), []);
});

test('an image that somebody else writes into is not published; a foreign file beside it harms nothing', async (t) => {
  const archive = await newArchive(t);
  const bytes = image(1000);
  const longer = await archive.begin(MAC, 1000);
  await longer.write(0, bytes);
  await appendFile(longer.imagePath, 'x');
  await assert.rejects(longer.commit(content(bytes)), { code: 'archive-damaged' });
  assert.deepEqual(await readdir(archive.root), []);
  const foreign = await archive.begin(MAC, 1000);
  await foreign.write(0, bytes);
  await writeFile(join(foreign.imagePath, '..', '.DS_Store'), 'hello');
  const backup = await foreign.commit(content(bytes));
  assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
  assert.deepEqual((await readdir(backup.path)).sort(), ['.DS_Store', 'SHA256SUMS', 'flash.bin', 'manifest.json']);
});

test('a draft that cannot be read back is not published, and not called disturbed', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const fs = watchedFileSystem(({ name, path }) => {
    if (name === 'handle.read' && path.endsWith('manifest.json')) throw systemError('EIO');
  });
  const draft = await archiveAt(root, { fs }).begin(MAC, 1000);
  await draft.write(0, image(1000));
  await assert.rejects(draft.commit(content(image(1000))), {
    code: 'archive-unreadable',
    message: /could not be read back: manifest\.json cannot be read: EIO/,
    hint: /^Nothing was kept\. .*dmesg/,
  });
  assert.deepEqual(await readdir(root), []);
});

test('ids: the time, one second later where that is taken, and never before the newest', async (t) => {
  const archive = await newArchive(t);
  const ids = [];
  for (const at of [T0, T0, '2026-11-23T10:00:00.999Z', '2020-01-01T00:00:00Z', '2026-11-23T10:00:10Z']) {
    ids.push((await backUp(archive, image(10, ids.length + 1), at)).id);
  }
  const seconds = ['00', '01', '02', '03', '10'].map((second) => `2026-11-23T10-00-${second}Z`);
  assert.deepEqual(ids, seconds);
  const { backups, problems } = await archive.history(MAC);
  assert.deepEqual(
    backups.map(({ id }) => id),
    seconds,
  );
  assert.equal(backups[3]?.manifest.createdAt, '2020-01-01T00:00:00Z', 'the manifest keeps what the clock said');
  assert.deepEqual(problems, []);
  assert.equal((await archive.verify({})).damaged.length, 0);
});

test('nothing with the name of an id is ever replaced, not even an empty folder', async (t) => {
  const archive = await newArchive(t);
  const board = join(archive.root, FOLDER);
  await mkdir(join(board, ID0), { recursive: true });
  await writeFile(join(board, '2026-11-23T10-00-01Z'), 'a file');
  await symlink('/nowhere', join(board, '2026-11-23T10-00-02Z'));
  const before = await snapshot(archive.root);
  const { id } = await backUp(archive, image(10));
  assert.equal(id, '2026-11-23T10-00-03Z');
  const after = await snapshot(archive.root);
  for (const name of Object.keys(before)) if (name !== FOLDER) assert.equal(after[name], before[name], name);
});

test('a folder of that id appearing at the last moment is not replaced either', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const races: { kind: string; call: 'lstat' | 'rename' }[] = [
    // rename(2) would replace an empty folder, so one is looked for; the others it refuses itself.
    { kind: 'empty', call: 'lstat' },
    { kind: 'full', call: 'rename' },
    { kind: 'file', call: 'rename' },
  ];
  for (const [index, { kind, call }] of races.entries()) {
    const target = join(root, FOLDER, `2026-11-2${index}T10-00-00Z`);
    let raced = false;
    const race = async () => {
      if (raced) return;
      raced = true;
      if (kind === 'file') return writeFile(target, 'x');
      await mkdir(target);
      if (kind === 'full') await writeFile(join(target, 'x'), 'x');
    };
    const fs = watchedFileSystem(() => undefined);
    const archive = archiveAt(root, {
      fs: {
        ...fs,
        lstat: (async (path: string) => {
          if (call === 'lstat' && path === target) await race();
          return fs.lstat(path);
        }) as typeof fs.lstat,
        rename: async (from, to) => {
          if (call === 'rename' && to === target) await race();
          return fs.rename(from, to);
        },
      },
    });
    const backup = await backUp(archive, image(10, index + 1), `2026-11-2${index}T10:00:00Z`);
    assert.ok(raced);
    assert.equal(backup.id, `2026-11-2${index}T10-00-01Z`, kind);
    assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
    assert.equal((await lstat(target)).isFile(), kind === 'file');
  }
});

test('when the calendar is used up, that is said', async (t) => {
  const archive = await newArchive(t);
  await mkdir(join(archive.root, FOLDER, '9999-12-31T23-59-59Z'), { recursive: true });
  await assert.rejects(backUp(archive, image(10)), { code: 'archive-unwritable', hint: /move it away/ });
});

for (const umask of [0o000, 0o022, 0o077]) {
  test(`modes are those asked for under umask ${umask.toString(8)}`, async (t) => {
    const previous = process.umask(umask);
    t.after(() => process.umask(previous));
    for (const [directoryMode, fileMode] of [
      [undefined, undefined],
      [0o750, 0o640],
    ] as const) {
      for (const compression of ['none', 'gzip'] as const) {
        const modes = directoryMode === undefined ? {} : { directoryMode, fileMode };
        const archive = await newArchive(t, { compression, ...modes });
        await backUp(archive, image(100));
        await archive.recordSighting(MAC, { id: ID0, at: T0, port: 'x' });
        const draft = await archive.begin(MAC, 10);
        assert.equal((await stat(archive.root)).mode & 0o7777, directoryMode ?? 0o700);
        for (const [path, entry] of Object.entries(await snapshot(archive.root))) {
          const mode = parseInt(entry, 8);
          const isFolder = (mode & 0o170000) === 0o040000;
          assert.equal(mode & 0o7777, isFolder ? (directoryMode ?? 0o700) : (fileMode ?? 0o600), path);
        }
        await draft.discard();
      }
    }
  });
}

test('the mode of a root that exists already is left alone', async (t) => {
  const root = await temporaryFolder(t);
  await chmod(root, 0o755);
  await backUp(archiveAt(root), image(10));
  assert.equal((await stat(root)).mode & 0o777, 0o755);
});

for (const compression of ['none', 'gzip'] as const) {
  test(`before the rename everything is on the disk, after it the folder is (${compression})`, async (t) => {
    const calls: Call[] = [];
    const root = join(await temporaryFolder(t), 'a', 'archive');
    const archive = archiveAt(root, { compression, fs: watchedFileSystem((call) => calls.push(call)) });
    const { path } = await backUp(archive, image(200_000));
    const at = calls.findIndex(({ name, to }) => name === 'rename' && to === path);
    const draft = calls[at]!.path;
    const last = (name: string, where: string, until = at) =>
      calls.slice(0, until).findLastIndex((call) => call.name === name && call.path === where);
    for (const file of await readdir(path)) {
      const written = last('handle.write', join(draft, file));
      assert.ok(written >= 0 && last('handle.sync', join(draft, file)) > written, file);
      assert.ok(last('handle.sync', draft) > last('handle.sync', join(draft, file)), `${file}: its name`);
    }
    const synced = calls.findIndex(
      ({ name, path: where }, index) => index > at && name === 'handle.sync' && where === join(root, FOLDER),
    );
    assert.ok(synced > at, 'the new name');
    assert.equal(
      calls.slice(at + 1).some(({ name, path: where }) => name === 'handle.write' && where.startsWith(path)),
      false,
    );
    // Folders that were made: each one's name in its parent.
    for (const made of [join(root, FOLDER), root, join(root, '..')]) {
      assert.ok(last('handle.sync', join(made, '..')) > last('mkdir', made), made);
    }
  });
}

/** Runs one backup beside an older one, with `before` ahead of every call. */
async function faultyBackup(root: string, compression: 'none' | 'gzip', before: (call: Call) => void) {
  const archive = archiveAt(root, { compression, fs: watchedFileSystem(before) });
  return backUp(archive, image(70_000, 2), '2026-11-24T10:00:00Z').then(
    (backup) => ({ backup, error: undefined }),
    (error: unknown) => ({ backup: undefined, error }),
  );
}

async function keepOnly(root: string, id: string): Promise<void> {
  for (const name of await readdir(join(root, FOLDER))) {
    if (name !== id) await rm(join(root, FOLDER, name), { recursive: true });
  }
}

for (const compression of ['none', 'gzip'] as const) {
  test(`a fault at any call of a backup leaves no id folder or a complete one (${compression})`, async (t) => {
    const parent = await temporaryFolder(t);
    let calls = 0;
    const fresh = join(parent, 'count');
    await backUp(archiveAt(fresh), image(100));
    await faultyBackup(fresh, compression, () => calls++);
    assert.ok(calls > 40);
    const root = join(parent, 'archive');
    const sound = archiveAt(root, { compression });
    const old = await backUp(sound, image(100));
    for (const [phase, code] of ['ENOSPC', 'EIO', 'EACCES', 'EDQUOT', 'EROFS'].entries()) {
      // The first at every call, the others at some, each at different ones.
      for (let failing = phase; failing < calls; failing += phase === 0 ? 1 : 7) {
        await keepOnly(root, old.id);
        let count = 0;
        let failed: Call | undefined;
        const { backup, error } = await faultyBackup(root, compression, (call) => {
          if (count++ !== failing) return;
          failed = call;
          throw systemError(code);
        });
        const where = `${code} at call ${failing}: ${failed?.name} ${failed?.path}`;
        const { damaged, checked } = await sound.verify({});
        assert.deepEqual(damaged, [], where);
        assert.ok(checked === 1 || checked === 2, where);
        if (backup !== undefined) assert.equal(checked, 2, where);
        if (error !== undefined) {
          assert.ok(error instanceof EspdError, `${where}: ${inspect(error)}`);
          const full = code === 'ENOSPC' || code === 'EDQUOT';
          assert.ok(
            [full ? 'disk-full' : 'archive-unwritable', 'archive-damaged', 'archive-unreadable'].includes(error.code),
            `${where}: ${error.code}`,
          );
          // What was reserved is free again, unless it was the removing itself that failed.
          const left = (await readdir(join(root, FOLDER))).filter((name) => !isBackupId(name));
          assert.deepEqual(left, [], where);
        }
        assert.deepEqual(await sound.resolveBackup(MAC, old.id), old, where);
      }
    }
  });

  test(`power gone at any call: what is visible is complete (${compression})`, async (t) => {
    const parent = await temporaryFolder(t);
    const root = join(parent, 'archive');
    const sound = archiveAt(root, { compression });
    const old = await backUp(sound, image(100));
    let count = Infinity;
    for (let until = 0; count > until; until++) {
      await keepOnly(root, old.id);
      count = 0;
      await faultyBackup(root, compression, () => {
        if (count++ >= until) throw systemError('EIO');
      });
      const { damaged, checked } = await sound.verify({});
      assert.deepEqual(damaged, [], `call ${until}`);
      assert.ok(checked === 1 || checked === 2);
      if (count <= until) assert.equal(checked, 2);
    }
  });
}

test('a full disk, as the file system reports it, ends in disk-full before anything is written', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const real = watchedFileSystem(() => undefined);
  const statfs = (freeBytes: number, blocks = 1000) =>
    (() => Promise.resolve({ bavail: freeBytes / 4096, bsize: 4096, blocks })) as unknown as typeof real.statfs;
  const archive = (freeBytes: number, compression: 'none' | 'gzip', blocks?: number) =>
    archiveAt(root, { compression, fs: { ...real, statfs: statfs(freeBytes, blocks) } });
  const MIB = 1024 * 1024;
  await assert.rejects(archive(7.9 * MIB, 'none').begin(MAC, 4 * MIB), {
    code: 'disk-full',
    message: /7\.9 MiB left and needs 8\.0 MiB/,
  });
  assert.deepEqual(await readdir(root), []);
  await (await archive(8 * MIB, 'none').begin(MAC, 4 * MIB)).discard();
  await assert.rejects(archive(8 * MIB, 'gzip').begin(MAC, 4 * MIB), { code: 'disk-full' });
  await (await archive(0, 'none', 0).begin(MAC, 4 * MIB)).discard();
});

/** A file system of so many bytes, on which nothing else takes space than what is written below `root`. */
function smallDisk(root: string, sizeBytes: number): FileSystem {
  const real = watchedFileSystem(() => undefined);
  const used = async (folder: string): Promise<number> => {
    let sum = 0;
    for (const entry of await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])) {
      const stats = await lstat(join(entry.parentPath, entry.name)).catch(() => undefined);
      if (entry.isFile()) sum += (stats?.blocks ?? 0) * 512;
    }
    return sum;
  };
  const statfs = async () => ({
    bavail: Math.floor((sizeBytes - (await used(root))) / 4096),
    bsize: 4096,
    blocks: 1000,
  });
  return { ...real, statfs: statfs as unknown as typeof real.statfs };
}

const macOf = (index: number) => `50:02:91:c3:37:0${index}` as Mac;

test('drafts side by side get what the disk has room for, and no more', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const MIB = 1024 * 1024;
  // One at a time, four would fit: 4 * 4 MiB and the margin of 4 MiB.
  const archive = archiveAt(root, { fs: smallDisk(root, 22 * MIB) });
  const started = await Promise.allSettled([0, 1, 2, 3, 4, 5].map((index) => archive.begin(macOf(index), 4 * MIB)));
  const drafts = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  assert.equal(drafts.length, 4);
  for (const result of started) {
    if (result.status === 'fulfilled') continue;
    const { code, message, hint } = result.reason as EspdError;
    assert.equal(code, 'disk-full');
    assert.match(message, /22\.0 MiB left, 16\.0 MiB of it for backups that are being made, and needs 8\.0 MiB/);
    assert.match(hint, /^Try again when they are done/);
  }
  // What is written is no longer missing, so nothing changes for others while a draft fills.
  await drafts[0]?.write(0, Buffer.alloc(2 * MIB, 'content'));
  await assert.rejects(archive.begin(macOf(7), 4 * MIB), { code: 'disk-full' });
  await drafts[0]?.discard();
  const another = await archive.begin(macOf(7), 4 * MIB);
  for (const draft of [another, ...drafts]) await draft.discard();
  assert.deepEqual(await readdir(root), []);
});

test('processes that refuse each other come back a little later; the draft of a dead one holds no room', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const MIB = 1024 * 1024;
  const other = await archiveAt(root, { fs: smallDisk(root, 9 * MIB) }).begin(macOf(0), 4 * MIB);
  const waits: number[] = [];
  const archive = (meanwhile: () => Promise<void>) => {
    const schedule = (delayMs: number, callback: () => void) => {
      waits.push(delayMs);
      void meanwhile().then(callback);
      return () => undefined;
    };
    return archiveAt(root, { fs: smallDisk(root, 9 * MIB), clock: { ...systemClock, schedule } });
  };
  await assert.rejects(archive(() => Promise.resolve()).begin(macOf(1), 4 * MIB), { code: 'disk-full' });
  assert.equal(waits.length, 3);
  assert.ok(waits.every((delayMs) => delayMs < 400));
  // The other one had been refused as well, and withdraws.
  const draft = await archive(() => other.discard()).begin(macOf(1), 4 * MIB);
  assert.equal(waits.length, 4);
  await draft.discard();

  const dead = join(root, '50-02-91-c3-37-09', draftName({ ...(await currentOwner()), boot: '00000000' }));
  await mkdir(dead, { recursive: true });
  await writeFile(join(dead, 'flash.bin'), '');
  await truncate(join(dead, 'flash.bin'), 100 * MIB);
  const alone = archiveAt(root, { fs: smallDisk(root, 8.5 * MIB) });
  await (await alone.begin(macOf(1), 4 * MIB)).discard();
});

test('a small file system that really runs full', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'espd-full-'));
  const mounted = { value: false };
  t.after(() => {
    if (mounted.value) execFileSync('umount', [folder]);
    return rm(folder, { recursive: true });
  });
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', folder]);
  if (mount.status !== 0) {
    t.skip('SKIPPED: mounting a tmpfs needs root');
    return;
  }
  mounted.value = true;
  const root = join(folder, 'archive');
  const archive = archiveAt(root);
  const mebibyte = image(1024 * 1024);
  const size = 2.5 * mebibyte.length;
  const old = await backUp(archive, mebibyte);

  // Both were promised the space, but another program takes it: one runs out of it in the middle, then the other fits.
  const [first, second] = [await archive.begin(MAC, size), await archive.begin(OTHER_MAC, size)];
  await writeFile(join(folder, 'ballast'), Buffer.alloc(6.5 * 1024 * 1024));
  const bytes = Buffer.concat([mebibyte, mebibyte, mebibyte]).subarray(0, size);
  await second.write(0, bytes);
  await assert.rejects(first.write(0, bytes), { code: 'disk-full' });
  await first.discard();
  await second.commit(content(bytes, T0, OTHER_MAC));
  assert.deepEqual(await readdir(join(root, FOLDER)), [old.id]);
  assert.deepEqual((await archive.verify({})).damaged, []);
  await assert.rejects(archive.begin(MAC, 4 * mebibyte.length), { code: 'disk-full' });
  assert.deepEqual(await readdir(join(root, FOLDER)), [old.id]);
});

test('where the archive cannot be', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'file'), '');
  await assert.rejects(archiveAt(join(folder, 'file')).begin(MAC, 10), { code: 'archive-unwritable' });
  await assert.rejects(archiveAt(join(folder, 'file', 'below')).begin(MAC, 10), { code: 'archive-unwritable' });
  await symlink(join(folder, 'nowhere'), join(folder, 'dangling'));
  await assert.rejects(archiveAt(join(folder, 'dangling')).begin(MAC, 10), { code: 'archive-unwritable' });

  const outside = join(folder, 'outside');
  await mkdir(outside);
  const root = join(folder, 'archive');
  await mkdir(root);
  await symlink(outside, join(root, FOLDER));
  await assert.rejects(archiveAt(root).begin(MAC, 10), { code: 'archive-unwritable' });
  assert.deepEqual(await readdir(outside), [], 'a link in the place of a folder is not followed');
});

test('whether the archive can be written is known without a board', async (t) => {
  const folder = await temporaryFolder(t);
  const archive = archiveAt(join(folder, 'a', 'archive'));
  await archive.checkWritable();
  await archive.checkWritable();
  assert.deepEqual(await readdir(archive.root), ['cache']);
  await writeFile(join(folder, 'file'), '');
  await assert.rejects(archiveAt(join(folder, 'file', 'below')).checkWritable(), { code: 'archive-unwritable' });
  const readOnly = watchedFileSystem(({ name }) => {
    if (name === 'access') throw systemError('EROFS');
  });
  await assert.rejects(archiveAt(archive.root, { fs: readOnly }).checkWritable(), {
    code: 'archive-unwritable',
    hint: /read-only/,
  });
});

test('a file system without modes is no obstacle', async (t) => {
  const previous = process.umask(0o077);
  t.after(() => process.umask(previous));
  const fs = watchedFileSystem(({ name }) => {
    if (name === 'chmod' || name === 'handle.chmod') throw systemError('EPERM');
  });
  const archive = await newArchive(t, { fs, directoryMode: 0o750, fileMode: 0o640 });
  const { id } = await backUp(archive, image(10));
  assert.deepEqual(await archive.verifyBackup(MAC, id), []);
});
