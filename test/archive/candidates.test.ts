import assert from 'node:assert/strict';
import { cp, mkdir, readFile, readdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeBlocks, encodeBlocks } from '../../src/archive/block-file.ts';
import type { BoardBlocks, NewestBackup } from '../../src/archive/block-file.ts';
import { distinctCandidates, makeCandidates } from '../../src/archive/candidates.ts';
import { formatManifest } from '../../src/archive/manifest.ts';
import type { Manifest } from '../../src/archive/manifest.ts';
import type { Archive, Candidate, Candidates } from '../../src/archive/types.ts';
import type { LogFields, Logger } from '../../src/log.ts';
import { silentLogger } from '../../src/log.ts';
import { macFromBytes, macToFolder } from '../../src/mac.ts';
import type { Mac } from '../../src/mac.ts';
import {
  FOLDER,
  ID0,
  MAC,
  OTHER_MAC,
  archiveAt,
  backUp,
  image,
  md5,
  newArchive,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

const day = (number: number) => `2026-11-${number}T10:00:00.000Z`;
const idOf = (number: number) => `2026-11-${number}T10-00-00Z`;
const SIZE = 200_000;

function board(number: number): Mac {
  return macFromBytes(Buffer.from([0x24, 0x0a, 0xc4, 0, number >> 8, number & 0xff]));
}

const names = ({ list }: Candidates) => list.map(({ kind, mac, id }) => [kind, mac, id]);

/** The blocks file is in use and not made anew: how often a manifest is opened until the candidates are known. */
async function manifestsRead(root: string, mac = board(999)): Promise<number> {
  let count = 0;
  const fs = watchedFileSystem(({ name, path }) => {
    if (name === 'open' && path.endsWith('manifest.json')) count++;
  });
  await (await archiveAt(root, { fs }).candidates(mac)).close();
  return count;
}

test('this board newest first, then the newest of each other one, the last made first', async (t) => {
  const archive = await newArchive(t);
  assert.deepEqual(names(await archive.candidates(MAC)), []);
  await assert.rejects(readdir(archive.root), { code: 'ENOENT' });
  const bytes = new Map<string, Buffer>();
  for (const [mac, number, size] of [
    [MAC, 10, SIZE],
    [MAC, 12, SIZE + 1],
    [MAC, 11, 65536],
    [board(1), 10, SIZE],
    [board(2), 13, 100],
    [board(1), 12, 65536 * 3],
    [board(3), 12, 65537],
  ] as const) {
    const flash = image(size, size + number);
    const { id } = await backUp(archive, flash, day(number), mac);
    bytes.set(`${mac} ${id}`, flash);
  }
  const candidates = await archive.candidates(MAC);
  assert.deepEqual(names(candidates), [
    ['newest', MAC, '2026-11-12T10-00-01Z'],
    ['older', MAC, idOf(12)],
    ['older', MAC, idOf(10)],
    ['fleet', board(2), idOf(13)],
    ['fleet', board(1), idOf(12)],
    ['fleet', board(3), idOf(12)],
  ]);
  for (const candidate of candidates.list) {
    const flash = bytes.get(`${candidate.mac} ${candidate.id}`)!;
    assert.equal(candidate.sizeBytes, flash.length);
    assert.ok((await candidate.read(0, flash.length))!.equals(flash));
    assert.ok((await candidate.read(flash.length - 1, 1))!.equals(flash.subarray(-1)));
    assert.equal(await candidate.read(flash.length, 1), undefined);
    assert.equal(await candidate.read(-1, 1), undefined);
    const blocks = Math.ceil(flash.length / 65536);
    for (let block = 0; block < blocks; block++) {
      assert.equal(candidate.blockMd5(block), md5(flash.subarray(block * 65536, (block + 1) * 65536)));
    }
    for (const none of [blocks, -1, 0.5, NaN, 1e9]) assert.equal(candidate.blockMd5(none), undefined);
  }
  await candidates.close();
  assert.equal(await candidates.list[0]!.read(0, 1), undefined);
  await candidates.close();

  const other = await archive.candidates(board(1));
  assert.deepEqual(names(other).slice(0, 3), [
    ['newest', board(1), idOf(12)],
    ['older', board(1), idOf(10)],
    ['fleet', board(2), idOf(13)],
  ]);
});

test('of a thousand backups of a board, the newest 16 are candidates, and only their manifests are read', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const opened: string[] = [];
  const archive = archiveAt(root, {
    fs: watchedFileSystem(({ name, path }) => {
      if (name === 'open' && path.endsWith('manifest.json')) opened.push(path);
    }),
  });
  const ids: string[] = [];
  for (let count = 0; count < 20; count++) ids.push((await backUp(archive, image(10, count), day(10))).id);
  await archive.candidates(MAC);
  opened.length = 0;
  const { list } = await archive.candidates(MAC);
  assert.deepEqual(
    list.map(({ id }) => id),
    ids.toReversed().slice(0, 16),
  );
  assert.deepEqual(
    opened.map((path) => path.split('/').at(-2)),
    ids.toReversed().slice(0, 16),
  );
});

test('what came or went by another process or by hand is seen, without reading the rest again', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const archive = archiveAt(root);
  const ids = async () => (await archive.candidates(MAC)).list.map(({ mac, id }) => `${mac} ${id}`);
  for (let number = 1; number <= 5; number++) await backUp(archive, image(70_000, number), day(10), board(number));
  assert.equal((await ids()).length, 5);
  assert.equal(await manifestsRead(root), 0);

  // Another process, that has an index of its own.
  await backUp(archiveAt(root), image(70_000, 6), day(11), board(6));
  assert.equal((await ids())[0], `${board(6)} ${idOf(11)}`);
  await backUp(archiveAt(root), image(70_000, 7), day(12), board(1));
  assert.deepEqual((await ids()).slice(0, 2), [`${board(1)} ${idOf(12)}`, `${board(6)} ${idOf(11)}`]);
  assert.equal((await ids()).length, 6);

  // A backup removed, a board removed, a board put there.
  await rm(join(root, macToFolder(board(1)), idOf(12)), { recursive: true });
  await rm(join(root, macToFolder(board(2))), { recursive: true });
  assert.deepEqual((await ids()).sort(), [
    `${board(1)} ${idOf(10)}`,
    ...[3, 4, 5].map((number) => `${board(number)} ${idOf(10)}`),
    `${board(6)} ${idOf(11)}`,
  ]);
  const elsewhere = await newArchive(t);
  await backUp(elsewhere, image(SIZE, 8), day(13), board(8));
  await cp(join(elsewhere.root, macToFolder(board(8))), join(root, macToFolder(board(8))), { recursive: true });
  const [found] = (await archive.candidates(MAC)).list;
  assert.equal(found?.mac, board(8));
  assert.equal(found.blockMd5(3), md5(image(SIZE, 8).subarray(3 * 65536)));
  assert.equal(await manifestsRead(root), 0);
});

test('a lost, damaged or lying index is made anew, or costs only speed', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const archive = archiveAt(root);
  for (let number = 1; number <= 3; number++) await backUp(archive, image(SIZE, number), day(10), board(number));
  const file = join(root, 'cache', 'blocks.bin');
  const check = async (wanted: number | undefined) => {
    const read = await manifestsRead(root);
    if (wanted !== undefined) assert.equal(read, wanted);
    const candidates = await archiveAt(root).candidates(MAC);
    assert.equal(candidates.list.length, 3);
    for (const candidate of candidates.list) {
      assert.ok(
        (await candidate.read(0, SIZE))!.equals(
          image(SIZE, candidate.mac.endsWith('1') ? 1 : candidate.mac.endsWith('2') ? 2 : 3),
        ),
      );
    }
    await candidates.close();
  };
  await check(0);
  const sound = await readFile(file);
  await rm(file);
  await check(3);
  await truncate(file, sound.length - 1);
  await check(3);
  await writeFile(file, sound.toString('latin1').replace('"version":2', '"version":9'), 'latin1');
  await check(3);
  await writeFile(
    file,
    sound.map((byte, index) => (index === sound.length - 20 ? byte ^ 1 : byte)),
  );
  await check(3);
  await rm(file);
  await mkdir(file);
  await check(3);
  await rm(file, { recursive: true });
  await rm(join(root, 'cache'), { recursive: true });
  await check(3);
  await check(0);

  // The times of change are right, and all else is not.
  const truth = decodeBlocks(sound)!;
  const lie = new Map<Mac, BoardBlocks>();
  for (const mac of truth.keys()) {
    const { mtimeMs } = await stat(join(root, macToFolder(mac)));
    const newest: NewestBackup = { id: idOf(10), sizeBytes: 70_000, file: 'flash.bin', md5s: image(32) };
    lie.set(mac, {
      folderMs: mtimeMs,
      newest: mac === board(3) ? { ...newest, id: idOf(20), file: 'flash.bin.gz' } : newest,
    });
  }
  await writeFile(file, encodeBlocks(lie));
  assert.equal(await manifestsRead(root), 0);
  const { list } = await archiveAt(root).candidates(MAC);
  assert.equal(list.length, 3);
  for (const candidate of list) assert.equal(await candidate.read(0, 10), undefined);
  await backUp(archiveAt(root), image(SIZE, 4), day(11), board(1));
  assert.equal((await archiveAt(root).candidates(MAC)).list[0]?.id, idOf(20));
  assert.deepEqual((await archive.verify({})).damaged, []);
});

test('boards without a backup, and damaged ones, are no candidates; an older sound one of a board is', async (t) => {
  const archive = await newArchive(t);
  await backUp(archive, image(10, 1), day(10), board(1));
  const newer = await backUp(archive, image(10, 2), day(11), board(1));
  await writeFile(join(newer.path, 'manifest.json'), 'x');
  const alone = await backUp(archive, image(10, 3), day(11), board(2));
  await rm(join(alone.path, 'manifest.json'));
  const moved = await backUp(archive, image(10, 4), day(11), board(3));
  await rename(moved.path, join(moved.path, '..', idOf(12)));
  const { path, manifest } = await backUp(archive, image(10, 5), day(11), board(4));
  const lies: Manifest = { ...manifest, blocks: { ...manifest.blocks, md5: [] } };
  await writeFile(join(path, 'manifest.json'), formatManifest(lies));
  await mkdir(join(archive.root, macToFolder(board(5))));
  await writeFile(join(archive.root, macToFolder(board(6))), 'a file');
  const fresh = archiveAt(archive.root);
  await rm(join(archive.root, 'cache'), { recursive: true });
  assert.deepEqual(names(await fresh.candidates(MAC)), [['fleet', board(1), idOf(10)]]);
});

/** A log that keeps the messages of a level. */
function recorder(): { log: Logger; lines: (readonly [string, string, LogFields | undefined])[] } {
  const lines: (readonly [string, string, LogFields | undefined])[] = [];
  const at = (level: string) => (message: string, fields?: LogFields) => void lines.push([level, message, fields]);
  const log = { ...silentLogger, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  return { log, lines };
}

test('an image that cannot be read is undefined, and that is logged once', async (t) => {
  const { log, lines } = recorder();
  const archive = await newArchive(t, { log, compression: 'gzip' });
  const mine = await backUp(archive, image(SIZE), day(10));
  const cut = await backUp(archive, image(SIZE, 2), day(11), board(2));
  const gone = await backUp(archive, image(SIZE, 3), day(12), board(3));
  const candidates = await archive.candidates(MAC);
  await truncate(join(mine.path, 'flash.bin.gz'), 100);
  await truncate(join(cut.path, 'flash.bin.gz'), 1000);
  await rm(gone.path, { recursive: true });
  for (let again = 0; again < 2; again++) {
    const reads = candidates.list.flatMap((candidate) => [candidate.read(0, 10), candidate.read(5, 1)]);
    assert.deepEqual(await Promise.all(reads), Array(6).fill(undefined));
  }
  const told = lines.filter(([, message]) => message.includes('cannot be read'));
  assert.deepEqual(told.map(([level, , fields]) => [level, fields?.['mac']]).sort(), [
    ['debug', board(2)],
    ['debug', board(3)],
    ['warn', MAC],
  ]);
  await candidates.close();
});

test('a disk that is full while inflating makes an image unreadable, no more', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  await backUp(archiveAt(root, { compression: 'gzip' }), image(SIZE));
  const fs = watchedFileSystem(({ name }) => {
    if (name === 'handle.write') throw systemError('ENOSPC');
  });
  const candidates = await archiveAt(root, { fs }).candidates(board(1));
  assert.equal(await candidates.list[0]!.read(0, 10), undefined);
  await candidates.close();
});

for (const compression of ['none', 'gzip'] as const) {
  test(`few files are open at a time, and none afterwards (${compression})`, async (t) => {
    const root = join(await temporaryFolder(t), 'archive');
    const writing = archiveAt(root, { compression });
    for (let number = 0; number < 12; number++) await backUp(writing, image(1000, number), day(10), board(number));
    const open = new Set<unknown>();
    let most = 0;
    const real = watchedFileSystem(() => undefined);
    const fs = {
      ...real,
      open: async (...args: Parameters<typeof real.open>) => {
        const handle = await real.open(...args);
        open.add(handle);
        most = Math.max(most, open.size);
        return new Proxy(handle, {
          get: (target, property) => {
            if (property === 'close') open.delete(handle);
            return Reflect.get(target, property) as unknown;
          },
        });
      },
    };
    const candidates = await archiveAt(root, { fs: fs }).candidates(MAC);
    most = 0;
    const readable = compression === 'none' ? candidates.list : candidates.list.slice(0, 4);
    for (const candidate of [...readable, ...candidates.list, ...candidates.list.toReversed()]) {
      const expected = readable.includes(candidate) ? 1000 : undefined;
      assert.equal((await candidate.read(0, 1000))?.length, expected);
    }
    assert.ok(most <= 7, `${most}`);
    const [first] = candidates.list;
    const reads = Array.from({ length: 50 }, (_, at) => readable[at % readable.length]!.read(at, 10));
    for (const bytes of await Promise.all(reads)) assert.equal(bytes?.length, 10);
    const last = first!.read(0, 1000);
    await candidates.close();
    await last;
    assert.equal(open.size, 0);
    assert.deepEqual(await writing.boards(), {
      macs: Array.from({ length: 12 }, (_, n) => board(n)),
      problems: [],
      foreign: [],
    });
    assert.deepEqual((await writing.history(board(3))).problems, []);
  });
}

test('a fault at any call: the list is shorter, and nothing is thrown', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const sound = archiveAt(root);
  for (let number = 0; number < 3; number++) await backUp(sound, image(100, number), day(10), board(number));
  for (const cached of [true, false]) {
    for (let failing = 0, count = Infinity; count > failing; failing++) {
      if (!cached) await rm(join(root, 'cache'), { recursive: true, force: true });
      count = 0;
      const fs = watchedFileSystem(() => {
        if (count++ === failing) throw systemError('EIO');
      });
      const candidates = await archiveAt(root, { fs }).candidates(board(0));
      for (const candidate of candidates.list) await candidate.read(0, 100);
      await candidates.close();
      const kinds = candidates.list.map(({ kind }) => kind);
      assert.ok(kinds.length >= 1 && kinds.length <= 3);
      assert.ok(kinds.filter((kind) => kind === 'newest').length <= 1);
      assert.deepEqual((await sound.candidates(board(0))).list.length, 3);
    }
  }
});

test('an abort ends it, also while others wait for the same', async (t) => {
  const archive = await newArchive(t);
  for (let number = 0; number < 3; number++) await backUp(archive, image(100, number), day(10), board(number));
  const fresh = archiveAt(archive.root);
  const controller = new AbortController();
  const first = fresh.candidates(MAC, { signal: controller.signal });
  const second = fresh.candidates(MAC);
  controller.abort(new Error('unplugged'));
  await assert.rejects(first, /unplugged/);
  assert.equal((await second).list.length, 3);
  await assert.rejects(fresh.candidates(MAC, { signal: controller.signal }), /unplugged/);
});

/** Boards that were never backed up by this espd: just folders with a manifest, as many as wanted. */
async function synthesize(root: string, count: number, manifest: Manifest): Promise<void> {
  const md5s = Array.from({ length: 8 }, (_, kind) =>
    Array.from({ length: 256 }, (__, block) => md5(Buffer.from(`${kind} ${block}`))),
  );
  for (let number = 0; number < count; number++) {
    const mac = board(number);
    const path = join(root, macToFolder(mac), ID0);
    await mkdir(path, { recursive: true });
    const [own = [], other = []] = [md5s[number % 8], md5s[(number + 1) % 8]];
    const blocks = { sizeBytes: 65536 as const, sha256: own.map((digest) => digest + digest), md5: own };
    if (number % 10 === 0) blocks.md5 = [...own.slice(0, 100), ...other.slice(100)];
    const fields = { mac, id: ID0, image: { ...manifest.image, sizeBytes: 256 * 65536 }, blocks };
    await writeFile(join(path, 'manifest.json'), formatManifest({ ...manifest, ...fields }));
  }
}

test('a thousand boards of 16 MB: indexed once, and compared by their digests', async (t) => {
  const archive: Archive = await newArchive(t);
  const { manifest } = await backUp(archive, image(10));
  await synthesize(archive.root, 1000, manifest);
  assert.equal(await manifestsRead(archive.root, MAC), 1001);
  assert.equal(await manifestsRead(archive.root, MAC), 1, 'that of the board itself');
  const { list } = await archive.candidates(MAC);
  assert.equal(list.length, 1001);
  const fleet = list.slice(1);
  const wanted = md5(Buffer.from('3 200'));
  let equal = 0;
  for (let block = 0; block < 256; block++) {
    for (const candidate of fleet) if (candidate.blockMd5(block) === wanted) equal++;
  }
  assert.equal(equal, fleet.filter((candidate) => candidate.blockMd5(200) === wanted).length);
  assert.ok(equal > 90);
  assert.deepEqual(distinctCandidates(list, 0, 1).length, 9);
  assert.equal(distinctCandidates(fleet, 0, 16).length, 8);
  assert.equal(distinctCandidates(fleet, 90, 16).length, 12, 'every tenth board has other blocks from 100 on');
  for (let first = 0; first < 256; first += 16) assert.ok(distinctCandidates(fleet, first, 16).length <= 12);
  const { size } = await stat(join(archive.root, 'cache', 'blocks.bin'));
  assert.ok(size < 1001 * (256 * 16 + 100), `${size}`);
});

test('distinct candidates: the first of several, none that ends before, all without digests', () => {
  const make = (text: string, kind: Candidate['kind'] = 'fleet'): Candidate => ({
    kind,
    mac: OTHER_MAC,
    id: text,
    sizeBytes: text.length * 65536,
    blockMd5: (index, count = 1) => (kind === 'leftover' ? undefined : text.slice(index, index + count)),
    read: () => Promise.resolve(undefined),
  });
  const list = [make('abc'), make('xxx', 'leftover'), make('abd'), make('ab'), make('zbc'), make('xxx', 'leftover')];
  const ids = (first: number, count: number) => distinctCandidates(list, first, count).map(({ id }) => id);
  assert.deepEqual(ids(0, 1), ['abc', 'xxx', 'zbc', 'xxx']);
  assert.deepEqual(ids(1, 2), ['abc', 'xxx', 'abd', 'xxx']);
  assert.deepEqual(ids(0, 3), ['abc', 'xxx', 'abd', 'zbc', 'xxx']);
  assert.deepEqual(ids(3, 1), []);
});

/** Candidates of other boards whose images are pieces of memory; tells whose were opened, in order. */
function inMemory(count: number, file: NewestBackup['file'], signal?: AbortSignal) {
  const opened: Mac[] = [];
  const openImage = (_path: string, sizeBytes: number, mac: Mac) => {
    opened.push(mac);
    const read = (_offset: number, length: number) => Promise.resolve(Buffer.alloc(length));
    return Promise.resolve({ sizeBytes, read, close: () => Promise.resolve() });
  };
  const newest: NewestBackup = { id: idOf(10), sizeBytes: 65536, file, md5s: Buffer.alloc(16) };
  const fleet = new Map(Array.from({ length: count }, (_, number) => [board(number), newest] as const));
  return { opened, candidates: makeCandidates({ root: '/', log: silentLogger, openImage, signal }, MAC, [], fleet) };
}

test('images that are asked for by turns are not inflated again and again', async () => {
  const { opened, candidates } = inMemory(6, 'flash.bin.gz');
  for (let question = 0; question < 50; question++) {
    for (const candidate of candidates.list) await candidate.read(0, 4096);
  }
  assert.equal(opened.length, 4);
  const plain = inMemory(6, 'flash.bin');
  for (let question = 0; question < 50; question++) {
    for (const candidate of plain.candidates.list) await candidate.read(0, 4096);
  }
  assert.equal(plain.opened.length, 6);
});

test('nothing is opened or read for a job that was told to stop', async () => {
  const abort = new AbortController();
  const { opened, candidates } = inMemory(2, 'flash.bin.gz', abort.signal);
  const [first, second] = candidates.list;
  assert.equal((await first!.read(0, 10))?.length, 10);
  abort.abort();
  assert.equal(await first!.read(0, 10), undefined);
  assert.equal(await second!.read(0, 10), undefined);
  assert.deepEqual(opened, [first!.mac]);
  await candidates.close();
});

test('two archives at once, each with its own view of the index', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const [one, two] = [archiveAt(root), archiveAt(root)];
  await Promise.all(
    Array.from({ length: 10 }, async (_, number) => {
      const archive = number % 2 === 0 ? one : two;
      await backUp(archive, image(1000, number), day(10), board(number));
      await (await archive.candidates(MAC)).close();
    }),
  );
  for (const archive of [one, two, archiveAt(root)]) assert.equal((await archive.candidates(MAC)).list.length, 10);
  const left = await readdir(join(root, 'cache'));
  assert.deepEqual(left, ['blocks.bin']);
  assert.deepEqual((await readdir(join(root, FOLDER)).catch(() => [])).length, 0);
});
