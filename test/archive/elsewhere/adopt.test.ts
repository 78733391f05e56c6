import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { StoredBackup } from '../../../src/archive/elsewhere/types.ts';
import { type Manifest, formatManifest } from '../../../src/archive/manifest.ts';
import { currentOwner, draftName, draftOwner, isUnfinishedName } from '../../../src/archive/owner.ts';
import type { RestoreRecordContent } from '../../../src/archive/restore-record.ts';
import type { Archive, Draft } from '../../../src/archive/types.ts';
import type { Mac } from '../../../src/mac.ts';
import { macToFolder } from '../../../src/mac.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, T0, allSound, archiveAt, backUp, image, newArchive } from '../support.ts';
import { snapshotWithoutCache, temporaryFolder, watchedFileSystem } from '../support.ts';
import { dyingAt, manifestOf, stored } from './support.ts';

const BYTES = image(150_000);

function adoptionOf(manifest: Manifest, imageBytes: number, text = formatManifest(manifest)) {
  const { id, image: stored } = manifest;
  return { mac: manifest.mac as Mac, id, manifest: Buffer.from(text), imageFile: stored.file as string, imageBytes };
}

/** In pieces, the last one first. */
function filling(bytes: Uint8Array) {
  return async (write: (offset: number, bytes: Uint8Array) => Promise<void>) => {
    const half = Math.ceil(bytes.length / 2);
    await write(half, bytes.subarray(half));
    await write(0, bytes.subarray(0, half));
  };
}

const adoptPlain = (archive: Archive, bytes = BYTES, createdAt = T0) =>
  archive.elsewhere.adopt(adoptionOf(manifestOf(bytes, createdAt), bytes.length), filling(bytes));

describe('adopt', () => {
  test('a backup as its station made it, sound, and found like any other', async (t) => {
    const archive = await newArchive(t);
    // Another program's layout of the same JSON: it stays byte for byte.
    const text = `${JSON.stringify(manifestOf(BYTES))}\n\n`;
    const backup = await archive.elsewhere.adopt(adoptionOf(manifestOf(BYTES), BYTES.length, text), filling(BYTES));
    assert.deepEqual([backup.mac, backup.id, backup.path], [MAC, ID0, join(archive.root, FOLDER, ID0)]);
    assert.equal(await readFile(join(backup.path, 'manifest.json'), 'utf8'), text);
    assert.deepEqual(await archive.verify({}), allSound(1));
    assert.deepEqual(await readdir(join(archive.root, FOLDER)), [ID0]);
    assert.deepEqual((await archive.resolveBackup(MAC, 'latest')).manifest, backup.manifest);
  });

  test('a compressed one stays compressed', async (t) => {
    const archive = await newArchive(t);
    const packed = gzipSync(BYTES);
    const plain = manifestOf(BYTES);
    const manifest = { ...plain, image: { ...plain.image, file: 'flash.bin.gz' as const } };
    const backup = await archive.elsewhere.adopt(adoptionOf(manifest, packed.length), filling(packed));
    assert.deepEqual(await readFile(join(backup.path, 'flash.bin.gz')), packed);
    assert.deepEqual(await archive.verify({}), allSound(1));
  });

  test('what is here with the same content is returned, and nothing is fetched', async (t) => {
    const archive = await newArchive(t);
    const own = await backUp(archive, BYTES);
    const text = await readFile(join(own.path, 'manifest.json'), 'utf8');
    const before = await snapshotWithoutCache(archive.root);
    const again = await archive.elsewhere.adopt(adoptionOf(own.manifest, BYTES.length, text), () => assert.fail());
    assert.deepEqual(again, own);
    assert.deepEqual(await snapshotWithoutCache(archive.root), before);
  });

  test('another backup of this id is never mixed up with it', async (t) => {
    const archive = await newArchive(t);
    await backUp(archive, image(150_000, 2));
    const before = await snapshotWithoutCache(archive.root);
    await assert.rejects(adoptPlain(archive), { code: 'archive-taken' });
    assert.deepEqual(await snapshotWithoutCache(archive.root), before);
    await rm(join(archive.root, FOLDER, ID0, 'flash.bin'));
    await assert.rejects(adoptPlain(archive), { code: 'archive-taken' });
  });

  test('two at once are one; of two with other content one is refused', async (t) => {
    const archive = await newArchive(t);
    const [first, second] = await Promise.all([adoptPlain(archive), adoptPlain(archiveAt(archive.root))]);
    assert.deepEqual(first, second);
    const later = '2026-11-24T10:00:00.000Z';
    const both = await Promise.allSettled([1, 2].map((seed) => adoptPlain(archive, image(70_000, seed), later)));
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    assert.deepEqual(await archive.verify({}), allSound(2));
    assert.deepEqual((await readdir(join(archive.root, FOLDER))).filter(isUnfinishedName), []);
  });

  const manifest = manifestOf(BYTES);
  const wrong: Record<string, [ReturnType<typeof adoptionOf>, Uint8Array, string]> = {
    'another byte in the image': [adoptionOf(manifest, BYTES.length), flipped(BYTES), 'archive-damaged'],
    'an image that was never written': [adoptionOf(manifest, BYTES.length), Buffer.alloc(0), 'archive-damaged'],
    'an image of another length': [adoptionOf(manifest, BYTES.length - 1), BYTES, 'archive-damaged'],
    'a manifest of another board': [
      adoptionOf(manifestOf(BYTES, T0, OTHER_MAC), BYTES.length),
      BYTES,
      'archive-damaged',
    ],
    'a manifest that is none': [adoptionOf(manifest, BYTES.length, '{}'), BYTES, 'archive-damaged'],
    'a manifest that never ends': [adoptionOf(manifest, BYTES.length, ' '.repeat(2 ** 21)), BYTES, 'archive-damaged'],
    'a manifest of a newer espd': [
      adoptionOf(manifest, BYTES.length, JSON.stringify({ ...manifest, formatVersion: 3 })),
      BYTES,
      'archive-newer',
    ],
    'block digests of another image': [
      adoptionOf(
        { ...manifest, blocks: { ...manifest.blocks, md5: [...manifest.blocks.md5].reverse() } },
        BYTES.length,
      ),
      BYTES,
      'archive-damaged',
    ],
    'a gzip stream that never ends': [
      adoptionOf(
        { ...manifest, image: { ...manifest.image, file: 'flash.bin.gz' } },
        gzipSync(Buffer.alloc(2 ** 24)).length,
      ),
      gzipSync(Buffer.alloc(2 ** 24)),
      'archive-damaged',
    ],
  };
  for (const [what, [adoption, bytes, code]] of Object.entries(wrong)) {
    test(`${what}: nothing is kept`, async (t) => {
      const archive = await newArchive(t);
      const asked = what.includes('another board') ? { ...adoption, mac: MAC } : adoption;
      await assert.rejects(archive.elsewhere.adopt(asked, filling(bytes)), { code });
      assert.deepEqual(await readdir(join(archive.root, FOLDER)), []);
    });
  }

  test('a name of the image or an id with a path is refused before anything is written', async (t) => {
    const archive = await newArchive(t);
    const adoption = adoptionOf(manifest, BYTES.length);
    for (const odd of [{ imageFile: '../../flash.bin' }, { id: '../x' }, { imageFile: 'flash.bin.gz' }]) {
      await assert.rejects(archive.elsewhere.adopt({ ...adoption, ...odd }, () => assert.fail()));
    }
    const outside: Parameters<typeof archive.elsewhere.adopt>[1] = (write) => write(BYTES.length, BYTES);
    await assert.rejects(archive.elsewhere.adopt(adoption, outside));
  });

  test('a fetch that fails, or is interrupted, leaves nothing, and says why', async (t) => {
    const archive = await newArchive(t);
    const adoption = adoptionOf(manifest, BYTES.length);
    const failure = new Error('cut');
    await assert.rejects(
      archive.elsewhere.adopt(adoption, () => Promise.reject(failure)),
      failure,
    );
    const abort = new AbortController();
    const fill: Parameters<typeof archive.elsewhere.adopt>[1] = async (write) => {
      await write(0, BYTES.subarray(0, 1000));
      abort.abort(failure);
      await write(1000, BYTES.subarray(1000));
    };
    await assert.rejects(archive.elsewhere.adopt(adoption, fill, abort.signal), failure);
    assert.deepEqual(await readdir(join(archive.root, FOLDER)), []);
  });
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[100_000] = (copy[100_000] ?? 0) ^ 1;
  return copy;
}

/** A draft of a process that is gone, for one of this process. */
async function orphan(root: string): Promise<string[]> {
  const folder = join(root, FOLDER);
  const gone = { ...(await currentOwner()), boot: '00000000' };
  const drafts = (await readdir(folder)).filter((name) => draftOwner(name) !== undefined);
  for (const name of drafts) await rename(join(folder, name), join(folder, draftName(gone)));
  return drafts;
}

async function clear(archive: Archive): Promise<void> {
  await (await archive.begin(MAC, 1000)).discard();
}

test('a process that dies at any call of adopt: the backup is whole under its name, or can be fetched again', async (t) => {
  const folder = await temporaryFolder(t);
  const backup = stored({}, BYTES);
  let returned = 0;
  for (let last = 1; ; last++) {
    const root = join(folder, `${last}`);
    await archiveAt(root).elsewhere.note(backup);
    const { fs, hasDied } = dyingAt(last);
    await adoptPlain(archiveAt(root, { fs })).catch(() => undefined);
    if (!hasDied()) break;
    const drafts = await orphan(root);
    const archive = archiveAt(root);
    await clear(archive);
    const { damaged, checked } = await archive.verify({});
    assert.deepEqual(damaged, [], `call ${last}`);
    if (drafts.length > 0 && checked === 1) returned++;
    await adoptPlain(archive);
    assert.deepEqual(await archive.verify({}), allSound(1), `call ${last}`);
    const left = (await readdir(join(root, FOLDER))).filter((name) => name.startsWith('draft.'));
    assert.deepEqual(left, []);
    await rm(root, { recursive: true });
    assert.ok(last < 500);
  }
  assert.ok(returned > 0, 'one that was whole has got its name');
});

/** Five days, all of them in the store. */
async function fiveDays(t: TestContext, isStored: (day: number) => boolean = () => true) {
  const archive = await newArchive(t);
  for (let day = 1; day <= 5; day++) await backUp(archive, image(2000, day), `2026-10-0${day}T10:00:00.000Z`);
  for (let day = 1; day <= 5; day++)
    if (isStored(day)) await archive.elsewhere.note(await storedAs(archive, idOf(day)));
  return archive;
}

const idOf = (day: number) => `2026-10-0${day}T10-00-00Z`;

async function storedAs(archive: Archive, id: string): Promise<StoredBackup> {
  const { manifest, path } = await archive.resolveBackup(MAC, id);
  const bytes = await readFile(join(path, 'manifest.json'));
  return stored({ manifest, manifestSha256: createHash('sha256').update(bytes).digest('hex') });
}

describe('release', () => {
  test('the folder goes, the note of the store stays, and it is no removal', async (t) => {
    const archive = await fiveDays(t);
    assert.equal(await archive.elsewhere.release(MAC, idOf(1)), true, 'the first, too');
    assert.equal(await archive.elsewhere.release(MAC, idOf(3)), true);
    assert.equal(await archive.elsewhere.release(MAC, idOf(3)), false, 'once');
    const names = await readdir(join(archive.root, FOLDER));
    assert.deepEqual(names.sort(), [idOf(2), idOf(4), idOf(5), 'elsewhere.jsonl'].sort());
    assert.equal((await archive.elsewhere.of(MAC)).length, 5);
    assert.deepEqual((await archive.marks.of(MAC)).removals, []);
    assert.deepEqual(await archive.verify({}), allSound(3));
  });

  const halfOf = (mac: Mac, id: string): RestoreRecordContent => ({
    ...{ mac, from: { mac: MAC, id }, startedAt: T0, why: 'x', parts: null, snapshot: null, snapshotIsNew: false },
    regions: [{ offset: 0, sizeBytes: 4096 }],
    done: [{ offset: 0, sizeBytes: 4096, md5: '0'.repeat(32) }],
    options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
  });
  const kept: Record<string, (archive: Archive) => Promise<unknown>> = {
    'it is not in the store': (archive) =>
      storedAs(archive, idOf(2)).then((each) => archive.elsewhere.forget({ ...each, at: '2026-12-01T00:00:00Z' })),
    'the store has another one of its name': async (archive) => {
      const own = await storedAs(archive, idOf(2));
      const at = '2026-12-01T00:00:00.000Z';
      await archive.elsewhere.note({ ...own, at, manifestSha256: 'a'.repeat(64) });
    },
    'it is pinned': (archive) => archive.marks.pin(MAC, idOf(2), { pinned: true, note: null }),
    'another station has pinned it': (archive) =>
      archive.elsewhere.receive(MAC, 'pins.jsonl', 'bench', [{ at: T0, id: idOf(2), pinned: true }]),
    'an unfinished restore names it': (archive) => archive.beginRestore(halfOf(MAC, idOf(2))),
    'the last restore of another board names it': async (archive) => {
      await backUp(archive, image(2000), T0, OTHER_MAC);
      await archive.beginRestore(halfOf(OTHER_MAC, idOf(2)));
      await archive.endRestore(OTHER_MAC, 'done');
    },
    'a job is at work on the board': (archive) => archive.begin(MAC, 2000),
    'a file of somebody is in its folder': ({ root }) => writeFile(join(root, FOLDER, idOf(2), 'notes.txt'), 'mine'),
    'its image is missing': ({ root }) => rm(join(root, FOLDER, idOf(2), 'flash.bin')),
    'a record of a restore cannot be read': async ({ root }) => {
      await mkdir(join(root, macToFolder(OTHER_MAC)));
      await writeFile(join(root, macToFolder(OTHER_MAC), 'restoring.json'), 'x');
    },
  };
  for (const [why, make] of Object.entries(kept)) {
    test(`it stays where ${why}`, async (t) => {
      const archive = await fiveDays(t);
      const made = await make(archive);
      const before = await snapshotWithoutCache(join(archive.root, FOLDER, idOf(2)));
      assert.equal(await archive.elsewhere.release(MAC, idOf(2)), false);
      assert.deepEqual(await snapshotWithoutCache(join(archive.root, FOLDER, idOf(2))), before);
      assert.equal((await archive.backupIds(MAC)).length, 5);
      if (why.includes('job')) await (made as Draft).discard();
    });
  }

  test('the newest stays; a name that is none is no way out of the folder', async (t) => {
    const archive = await fiveDays(t);
    assert.equal(await archive.elsewhere.release(MAC, idOf(5)), false);
    for (const odd of ['..', '', 'elsewhere.jsonl', '2026-10-09T10-00-00Z'])
      assert.equal(await archive.elsewhere.release(MAC, odd), false);
    assert.equal((await archive.backupIds(MAC)).length, 5);
  });

  test('one that is pinned in the moment in which it loses its name gets it back', async (t) => {
    const root = (await fiveDays(t)).root;
    let pinned: Promise<unknown> | undefined;
    const real = watchedFileSystem(() => undefined);
    const fs: typeof real = {
      ...real,
      rename: async (from, to) => {
        pinned ??= archiveAt(root).marks.pin(MAC, idOf(2), { pinned: true, note: null });
        await pinned;
        await real.rename(from, to);
      },
    };
    const archive = archiveAt(root, { fs });
    assert.equal(await archive.elsewhere.release(MAC, idOf(2)), false);
    assert.equal((await archive.backupIds(MAC)).length, 5);
    assert.deepEqual(await archive.verify({}), allSound(5));
  });

  test('a process that dies at any call: the backup is whole under its name, or gone, and still in the store', async (t) => {
    let outcomes = '';
    const full = (await fiveDays(t)).root;
    for (let last = 1; ; last++) {
      const root = `${full}-${last}`;
      await cp(full, root, { recursive: true });
      const { fs, hasDied } = dyingAt(last);
      const released = await archiveAt(root, { fs })
        .elsewhere.release(MAC, idOf(2))
        .catch(() => false);
      if (!hasDied()) {
        assert.equal(released, true);
        break;
      }
      await orphan(root);
      const archive = archiveAt(root);
      await clear(archive);
      assert.deepEqual((await archive.verify({})).damaged, [], `call ${last}`);
      const ids = await archive.backupIds(MAC);
      assert.ok([1, 3, 4, 5].every((day) => ids.includes(idOf(day))));
      outcomes += ids.includes(idOf(2)) ? '+' : '-';
      assert.equal((await archive.elsewhere.of(MAC)).length, 5);
      assert.deepEqual((await readdir(join(root, FOLDER))).filter(isUnfinishedName), []);
      await rm(root, { recursive: true });
      assert.ok(last < 500);
    }
    assert.match(outcomes, /^\+{20,}-+$/, 'never gone and then back');
  });
});
