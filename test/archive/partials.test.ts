import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { isBackupId } from '../../src/archive/ids.ts';
import { NO_MARKS } from '../../src/archive/marks/marks.ts';
import {
  currentOwner,
  draftName,
  draftOwner,
  isPartialName,
  isTrashName,
  partialName,
} from '../../src/archive/owner.ts';
import { NOWHERE_ELSE } from '../../src/archive/elsewhere/places.ts';
import type { Archive, Candidate, Draft } from '../../src/archive/types.ts';
import { EspdError } from '../../src/errors.ts';
import {
  FOLDER,
  ID0,
  MAC,
  T0,
  allSound,
  archiveAt,
  backUp,
  content,
  image,
  newArchive,
  snapshot,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';
import type { Call } from './support.ts';

const SIZE = 300_000;
const BYTES = image(SIZE);

async function partials(archive: Archive): Promise<string[]> {
  return (await readdir(join(archive.root, FOLDER))).filter(isPartialName);
}

/** A backup that is broken off after `regions` of `bytes` were written. */
async function breakOff(archive: Archive, regions: readonly [number, number][], bytes = BYTES): Promise<void> {
  const draft = await archive.begin(MAC, bytes.length);
  for (const [start, end] of regions) await draft.write(start, bytes.subarray(start, end));
  await draft.setAside();
}

/** `size` bytes of zeros but for these regions of `bytes`. */
function withHoles(regions: readonly [number, number][], bytes = BYTES): Buffer {
  const holes = Buffer.alloc(bytes.length);
  for (const [start, end] of regions) bytes.copy(holes, start, start, end);
  return holes;
}

async function leftoverOf(draft: Draft): Promise<Buffer | undefined> {
  return draft.leftover?.read(0, draft.sizeBytes);
}

/** A draft as a process that was killed leaves it. */
async function deadDraft(archive: Archive, files: Record<string, Uint8Array | string>): Promise<string> {
  // This very process, but started at another time: nobody can be that.
  const name = draftName({ ...(await currentOwner()), startTicks: '1' });
  const path = join(archive.root, FOLDER, name);
  await mkdir(path, { recursive: true });
  for (const [file, bytes] of Object.entries(files)) await writeFile(join(path, file), bytes);
  return name;
}

test('what was set aside is what the next draft finds, holes as zeros', async (t) => {
  const archive = await newArchive(t);
  const first = await archive.begin(MAC, SIZE);
  assert.equal(first.leftover, null);
  await first.write(0, BYTES.subarray(0, 70_000));
  await first.write(200_000, BYTES.subarray(200_000, 200_001));
  await first.setAside();
  await first.setAside();
  await first.discard();
  await assert.rejects(first.write(0, BYTES), { code: 'internal' });
  assert.equal((await partials(archive)).length, 1);

  const second = await archive.begin(MAC, SIZE);
  const { leftover } = second as { leftover: Candidate };
  assert.deepEqual(
    [leftover.kind, leftover.mac, leftover.id, leftover.sizeBytes, leftover.blockMd5(0)],
    ['leftover', MAC, null, SIZE, undefined],
  );
  const expected = withHoles([
    [0, 70_000],
    [200_000, 200_001],
  ]);
  assert.ok((await leftoverOf(second))!.equals(expected));
  assert.ok((await leftover.read(69_999, 3))!.equals(expected.subarray(69_999, 70_002)));
  assert.equal((await leftover.read(SIZE, 0))!.length, 0);
  for (const [offset, length] of [
    [0, SIZE + 1],
    [-1, 1],
    [SIZE, 1],
    [0.5, 1],
    [0, -1],
  ] as const) {
    assert.equal(await leftover.read(offset, length), undefined);
  }
  assert.equal((await second.read(0, 10)).equals(Buffer.alloc(10)), true, 'the draft itself begins empty');
  await second.discard();
  assert.equal(await leftover.read(0, 1), undefined);
  assert.equal((await partials(archive)).length, 1, 'a try that came to nothing takes nothing away');
});

test('readers do not see a partial', async (t) => {
  const archive = await newArchive(t);
  await breakOff(archive, [[0, SIZE]]);
  const before = await snapshot(archive.root);
  assert.deepEqual(await archive.boards(), { macs: [MAC], problems: [], foreign: [] });
  assert.deepEqual(await archive.history(MAC), {
    ...{ mac: MAC, backups: [], sightings: [], problems: [], foreign: [] },
    halfRestored: null,
    ...NOWHERE_ELSE,
    marks: NO_MARKS,
  });
  assert.deepEqual(await archive.verify({}), allSound(0));
  await assert.rejects(archive.resolveBackup(MAC, 'latest'), { code: 'archive-unknown-backup' });
  assert.deepEqual(await snapshot(archive.root), before);
});

test('a draft that was never written to leaves nothing, not even the folder of a new board', async (t) => {
  const archive = await newArchive(t);
  await (await archive.begin(MAC, SIZE)).setAside();
  const draft = await archive.begin(MAC, SIZE);
  await draft.write(5, Buffer.alloc(0));
  await draft.setAside();
  assert.deepEqual(await readdir(archive.root), []);
});

test('a backup or a sighting makes what was left useless', async (t) => {
  const archive = await newArchive(t);
  await breakOff(archive, [[0, 1000]]);
  await backUp(archive, BYTES);
  assert.deepEqual(await readdir(join(archive.root, FOLDER)), [ID0]);
  await breakOff(archive, [[0, 1000]]);
  await archive.recordSighting(MAC, { id: ID0, at: T0, port: 'x' });
  assert.deepEqual(await readdir(join(archive.root, FOLDER)), [ID0, 'seen.jsonl']);
});

test('a commit that fails leaves what was there before it', async (t) => {
  const archive = await newArchive(t);
  await breakOff(archive, [[0, 1000]]);
  const draft = await archive.begin(MAC, SIZE);
  await draft.write(0, BYTES);
  await assert.rejects(draft.commit(content(image(SIZE, 2))), { code: 'digest-mismatch' });
  assert.equal((await partials(archive)).length, 1);
});

test('an image of another size finds nothing, and what nobody can use goes', async (t) => {
  const archive = await newArchive(t);
  await breakOff(archive, [[0, SIZE]]);
  const draft = await archive.begin(MAC, SIZE + 1);
  assert.equal(draft.leftover, null);
  await draft.discard();
  assert.deepEqual(await readdir(join(archive.root, FOLDER)), []);
});

test('a second try that ends at its beginning loses nothing of the first', async (t) => {
  const archive = await newArchive(t);
  await breakOff(archive, [[0, 200_000]]);
  for (let again = 0; again < 4; again++) {
    await breakOff(archive, [[250_000, 260_000 + again]]);
    assert.equal((await partials(archive)).length, 2);
  }
  const draft = await archive.begin(MAC, SIZE);
  const expected = withHoles([
    [0, 200_000],
    [250_000, 260_003],
  ]);
  assert.ok((await leftoverOf(draft))!.equals(expected));
  for (const [offset, length] of [
    [199_000, 2000],
    [3, 5],
    [249_999, 10_010],
    [260_000, 40_000],
  ] as const) {
    assert.ok((await draft.leftover!.read(offset, length))!.equals(expected.subarray(offset, offset + length)));
  }
  await draft.discard();
});

test('one that has read more takes its place, and where both have read the newer one counts', async (t) => {
  const archive = await newArchive(t);
  const changed = image(SIZE, 9);
  await breakOff(archive, [[0, 100_000]]);
  await breakOff(archive, [[0, 200_000]], changed);
  assert.equal((await partials(archive)).length, 1);
  await breakOff(archive, [[0, 8192]]);
  const draft = await archive.begin(MAC, SIZE);
  const expected = withHoles([[8192, 200_000]], changed);
  BYTES.copy(expected, 0, 0, 8192);
  assert.ok((await leftoverOf(draft))!.equals(expected));
  await draft.discard();
});

test('setAside waits for a commit, and stops a digest', async (t) => {
  const archive = await newArchive(t);
  const committed = await archive.begin(MAC, SIZE);
  await committed.write(0, BYTES);
  const [backup] = await Promise.all([committed.commit(content(BYTES)), committed.setAside(), committed.discard()]);
  assert.deepEqual(await archive.verifyBackup(MAC, backup.id), []);
  assert.deepEqual(await readdir(join(archive.root, FOLDER)), [backup.id]);

  const large = image(2_000_000);
  const hashed = await archive.begin(MAC, large.length);
  await hashed.write(0, large);
  const digests = assert.rejects(hashed.digests(), { name: 'AbortError' });
  await hashed.setAside();
  await digests;
  const next = await archive.begin(MAC, large.length);
  assert.ok((await leftoverOf(next))!.equals(large));
  const controller = new AbortController();
  await next.write(0, large);
  const stopped = assert.rejects(next.digests(controller.signal), /enough/);
  controller.abort(new Error('enough'));
  await stopped;
  await next.commit(content(large));
});

test('what a killed process left is taken over, without what belongs to its commit', async (t) => {
  const archive = await newArchive(t);
  const name = await deadDraft(archive, {
    'flash.bin': BYTES,
    'flash.bin.gz': 'half',
    'manifest.json': '{}',
    SHA256SUMS: '',
  });
  const draft = await archive.begin(MAC, SIZE);
  assert.ok((await leftoverOf(draft))!.equals(BYTES));
  const [partial = ''] = await partials(archive);
  assert.deepEqual(await readdir(join(archive.root, FOLDER, partial)), ['flash.bin']);
  assert.ok(!(await readdir(join(archive.root, FOLDER))).includes(name));
  await draft.write(0, BYTES);
  await draft.commit(content(BYTES));
  assert.deepEqual(await readdir(join(archive.root, FOLDER)), [ID0]);
});

test('dead drafts without an image of that size, or with nothing in it, are removed', async (t) => {
  const archive = await newArchive(t);
  await deadDraft(archive, {});
  await deadDraft(archive, { 'flash.bin': BYTES.subarray(1) });
  await deadDraft(archive, { 'flash.bin.gz': BYTES });
  const empty = await deadDraft(archive, { 'flash.bin': '' });
  execFileSync('truncate', ['-s', String(SIZE), join(archive.root, FOLDER, empty, 'flash.bin')]);
  const linked = await deadDraft(archive, {});
  const outside = join(archive.root, '..', 'outside');
  await mkdir(outside);
  await writeFile(join(outside, 'flash.bin'), BYTES);
  await symlink(join(outside, 'flash.bin'), join(archive.root, FOLDER, linked, 'flash.bin'));
  const draft = await archive.begin(MAC, SIZE);
  assert.equal(draft.leftover, null);
  await draft.discard();
  assert.deepEqual(await readdir(join(archive.root, FOLDER)), []);
  assert.ok((await readFile(join(outside, 'flash.bin'))).equals(BYTES));
});

test('hostile partials are removed, and nothing outside is read or touched', async (t) => {
  const archive = await newArchive(t);
  const board = join(archive.root, FOLDER);
  const outside = join(archive.root, '..', 'outside');
  await mkdir(board, { recursive: true });
  await mkdir(outside);
  await writeFile(join(outside, 'flash.bin'), BYTES);
  const path = () => join(board, partialName());
  await symlink(outside, path());
  await writeFile(path(), 'a file');
  await mkdir(path());
  for (const harm of [
    (at: string) => symlink(join(outside, 'flash.bin'), at),
    (at: string) => mkdir(join(at, 'deep'), { recursive: true }),
    (at: string) => Promise.resolve(execFileSync('mkfifo', [at])),
    (at: string) => writeFile(at, BYTES.subarray(1)),
  ]) {
    const folder = path();
    await mkdir(folder);
    await harm(join(folder, 'flash.bin'));
    await symlink(outside, join(folder, 'other'));
  }
  const before = await snapshot(outside);
  const draft = await archive.begin(MAC, SIZE);
  assert.equal(draft.leftover, null);
  await draft.discard();
  assert.deepEqual(await readdir(board), []);
  assert.deepEqual(await snapshot(outside), before);
});

test('a draft that is being written is nobody else’s, and two at once set theirs aside', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const [one, two] = [archiveAt(root), archiveAt(root)];
  const first = await one.begin(MAC, SIZE);
  await first.write(0, BYTES.subarray(0, 4096));
  const second = await two.begin(MAC, SIZE);
  assert.equal(second.leftover, null);
  await second.write(8192, BYTES.subarray(8192, 12_288));
  await Promise.all([first.setAside(), second.setAside()]);
  const third = await one.begin(MAC, SIZE);
  assert.notEqual(third.leftover, null);
  const { leftover } = third;
  // The other process backs the board up meanwhile: what is open stays readable.
  await backUp(two, BYTES);
  assert.deepEqual(await partials(one), []);
  assert.equal((await leftover!.read(0, SIZE))?.length, SIZE);
  await third.setAside();
});

test('partials of the board give way where the disk is full before the backup', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const MIB = 1024 * 1024;
  const real = watchedFileSystem(() => undefined);
  let freeBytes = 100 * MIB;
  const statfs = async () => {
    const left = (await readdir(join(root, FOLDER))).filter(isPartialName).length;
    return { bavail: (freeBytes - left * MIB) / 4096, bsize: 4096, blocks: 1000 };
  };
  const archive = archiveAt(root, { fs: { ...real, statfs: statfs as unknown as typeof real.statfs } });
  await breakOff(archive, [[0, SIZE]]);
  freeBytes = 5 * MIB;
  const draft = await archive.begin(MAC, SIZE);
  assert.equal(draft.leftover, null);
  assert.deepEqual(await partials(archive), []);
  await draft.write(0, BYTES);
  await draft.setAside();
  freeBytes = MIB;
  await assert.rejects(archive.begin(MAC, SIZE), { code: 'disk-full' });
});

for (const where of ['flash.bin', 'flash.bin.gz', 'manifest.json']) {
  test(`partials give way where the disk becomes full amid ${where}`, async (t) => {
    const root = join(await temporaryFolder(t), 'archive');
    let full = false;
    const fs = watchedFileSystem(({ name, path, to }) => {
      if (name === 'rename' && to !== undefined && isTrashName(to.slice(-22))) full = false;
      if (full && name === 'handle.write' && path.endsWith(where)) throw systemError('ENOSPC');
    });
    const archive = archiveAt(root, { fs, compression: where.endsWith('.gz') ? 'gzip' : 'none' });
    await breakOff(archive, [[0, 5000]]);
    full = true;
    const draft = await archive.begin(MAC, SIZE);
    await Promise.all([draft.write(0, BYTES.subarray(0, 150_000)), draft.write(150_000, BYTES.subarray(150_000))]);
    const { id } = await draft.commit(content(BYTES));
    assert.equal(full, false);
    assert.deepEqual(await archive.verifyBackup(MAC, id), []);
    full = true;
    const hopeless = await archive.begin(MAC, SIZE);
    const work = hopeless.write(0, image(SIZE, 2)).then(() => hopeless.commit(content(image(SIZE, 2))));
    await assert.rejects(work, { code: 'disk-full' });
    assert.deepEqual(await readdir(join(root, FOLDER)), [id]);
  });
}

test('a fault at any call of a try beside a partial: setAside does not reject, and the archive stays sound', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const sound = archiveAt(root);
  const attempt = async (before: (call: Call) => void) => {
    const archive = archiveAt(root, { fs: watchedFileSystem(before) });
    try {
      const draft = await archive.begin(MAC, SIZE);
      await draft.leftover?.read(0, 10);
      await draft.write(100_000, BYTES.subarray(100_000)).finally(() => draft.setAside());
    } catch (error) {
      if (!(error instanceof EspdError)) throw error;
    }
  };
  const prepare = async () => {
    await rm(join(root, FOLDER), { recursive: true, force: true });
    await backUp(sound, image(100));
    await breakOff(sound, [[0, 100_000]]);
    await deadDraft(sound, { 'flash.bin': BYTES.subarray(0, SIZE) });
    await breakOff(sound, [[0, 5000]]);
  };
  await prepare();
  let calls = 0;
  await attempt(() => calls++);
  assert.ok(calls > 30);
  for (const [phase, code] of ['EIO', 'ENOSPC', 'EACCES'].entries()) {
    // The first at every call, the others at some, each at different ones.
    for (let failing = phase; failing < calls; failing += phase === 0 ? 1 : 5) {
      await prepare();
      let count = 0;
      let failed: Call | undefined;
      await attempt((call) => {
        if (count++ !== failing) return;
        failed = call;
        throw systemError(code);
      });
      const where = `${code} at call ${failing}: ${failed?.name} ${failed?.path}`;
      assert.deepEqual((await sound.verify({})).damaged, [], where);
      const draft = await sound.begin(MAC, SIZE);
      assert.ok((await partials(sound)).length <= 2, where);
      await draft.discard();
      for (const name of await readdir(join(root, FOLDER))) {
        // A draft whose removal failed is still that of a living process.
        assert.ok(isBackupId(name) || isPartialName(name) || draftOwner(name) !== undefined, `${where}: ${name}`);
      }
    }
  }
});

test('power gone at any call of setAside: the bytes are a partial or a draft', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const sound = archiveAt(root);
  for (let until = 0, count = Infinity; count > until; until++) {
    let dead = false;
    count = 0;
    const fs = watchedFileSystem(() => {
      if (dead && count++ >= until) throw systemError('EIO');
    });
    const draft = await archiveAt(root, { fs }).begin(MAC, SIZE);
    await draft.write(0, BYTES);
    dead = true;
    await draft.setAside();
    const names = await readdir(join(root, FOLDER));
    assert.ok(
      names.some((name) => isPartialName(name) || draftOwner(name) !== undefined),
      names.join(),
    );
    await rm(join(root, FOLDER), { recursive: true });
    assert.deepEqual((await sound.verify({})).damaged, []);
  }
});

test('modes of a partial are those of the draft', async (t: TestContext) => {
  const archive = await newArchive(t);
  await breakOff(archive, [[0, SIZE]]);
  const [name = ''] = await partials(archive);
  const path = join(archive.root, FOLDER, name);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
  assert.equal((await stat(join(path, 'flash.bin'))).mode & 0o777, 0o600);
});

test('which one is newest is told by the image, not by the order of names', async (t) => {
  const archive = await newArchive(t);
  const board = join(archive.root, FOLDER);
  for (const [index, name] of ['partial.ffffffffffffffff', 'partial.0000000000000000'].entries()) {
    await mkdir(join(board, name), { recursive: true });
    await writeFile(join(board, name, 'flash.bin'), image(SIZE, index + 1));
    await utimes(join(board, name, 'flash.bin'), 1000 + index, 1000 + index);
  }
  const draft = await archive.begin(MAC, SIZE);
  assert.ok((await leftoverOf(draft))!.equals(image(SIZE, 2)));
  assert.deepEqual(await partials(archive), ['partial.0000000000000000']);
  await draft.discard();
});
