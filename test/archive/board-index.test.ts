/** The index of boards: whatever happens in the archive or to the index, a listing says the same with it and without. */

import assert from 'node:assert/strict';
import * as nodeFs from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import type { FileSystem } from '../../src/archive/disk.ts';
import { BOARDS, decodeGlances, encodeGlances } from '../../src/archive/index/glance-file.ts';
import type { RestoreRecordContent } from '../../src/archive/restore-record.ts';
import type { Archive } from '../../src/archive/types.ts';
import { type Clock, systemClock } from '../../src/clock.ts';
import { type Mac, macToFolder } from '../../src/mac.ts';
import { boardMac, fillArchive } from '../support/fill-archive.ts';
import { OTHER_STATION, STATION, stored } from './elsewhere/support.ts';
import {
  type Call,
  archiveAt,
  backUp,
  image,
  md5,
  systemError,
  temporaryFolder,
  watchedFileSystem,
} from './support.ts';

const PROBE = /\/cache\/draft\.[^/]*$/;
/** The probe of the file system's clock shows this much more: as if all that is there had been written as long ago. */
const LATER_MS = 10_000;

/** A file system on which everything has been written a while ago. */
function settled(before: (call: Call) => void = () => undefined): FileSystem {
  const fs = watchedFileSystem(before);
  const open = async (path: string, ...rest: [number, number?]) => {
    const handle = await fs.open(path, ...rest);
    if (!PROBE.test(path)) return handle;
    return new Proxy(handle, {
      get(target, name) {
        if (name === 'stat')
          return async () => {
            const stats = await target.stat();
            return Object.assign(stats, { mtimeMs: stats.mtimeMs + LATER_MS });
          };
        const member: unknown = Reflect.get(target, name, target);
        return typeof member === 'function' ? (member.bind(target) as unknown) : member;
      },
    });
  };
  return { ...fs, open: open as FileSystem['open'] };
}

const cold = (root: string) => archiveAt(root, { indexFrom: Infinity }).overview();
const warm = (root: string, fs = settled(), clock: Clock = systemClock) =>
  archiveAt(root, { fs, clock, indexFrom: 0 }).overview();

/** The manifests that a listing opens. */
async function manifestsRead(root: string): Promise<string[]> {
  const read: string[] = [];
  await warm(
    root,
    settled(({ name, path }) => {
      if (name === 'open' && path.endsWith('manifest.json')) read.push(path.slice(root.length + 1));
    }),
  );
  return read;
}

/** Resolves when what is written from now on bears another time than what was written until now. */
async function nextStamp(folder: string): Promise<void> {
  const probe = join(folder, 'probe');
  const stamp = async () => {
    await nodeFs.writeFile(probe, '');
    return (await nodeFs.lstat(probe)).ctimeMs;
  };
  const first = await stamp();
  while ((await stamp()) === first);
}

async function filled(t: TestContext, boards: number, backups: number): Promise<string> {
  const root = join(await temporaryFolder(t), 'archive');
  fillArchive(root, boards, backups, 300);
  return root;
}

const newestOf = async (root: string, mac: Mac) => (await archiveAt(root).backupIds(mac)).at(-1) ?? 'none';

function recordOf(mac: Mac, id: string): RestoreRecordContent {
  return {
    mac,
    from: { mac, id },
    startedAt: '2026-11-25T10:00:00.000Z',
    why: 'a test',
    regions: [{ offset: 0, sizeBytes: 300 }],
    done: [{ offset: 0, sizeBytes: 300, md5: md5(image(300)) }],
    parts: null,
    snapshot: null,
    snapshotIsNew: true,
    options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
  };
}

const storedAt = (n: number) => `2026-12-01T10:00:${String(n % 60).padStart(2, '0')}.000Z`;

/** What may happen to a board between two listings; `file` is that of its newest backup. */
const EVENTS: Readonly<Record<string, (parts: { root: string; archive: Archive; mac: Mac; n: number }) => unknown>> = {
  backup: ({ archive, mac, n }) =>
    backUp(archive, image(300, n), `2026-11-23T10:00:${String(n % 60).padStart(2, '0')}Z`, mac),
  sighting: async ({ root, archive, mac, n }) =>
    archive.recordSighting(mac, { id: await newestOf(root, mac), at: new Date(n * 1000).toISOString(), port: 'x' }),
  'restore begins': async ({ root, archive, mac }) => archive.beginRestore(recordOf(mac, await newestOf(root, mac))),
  'restore ends': ({ archive, mac }) => archive.endRestore(mac, 'done'),
  'a backup in the store': ({ archive, mac, n }) =>
    archive.elsewhere.note(stored({ mac, station: n % 2 === 0 ? STATION : OTHER_STATION }, image(10, n), storedAt(n))),
  'gone from the store': ({ archive, mac, n }) =>
    archive.elsewhere.forget({ ...stored({ mac }, image(10, n), storedAt(n)), at: '2026-12-24T10:00:00.000Z' }),
  'restore begins elsewhere': ({ archive, mac, n }) =>
    archive.elsewhere.receive(mac, 'halves.jsonl', STATION, [
      { ...recordOf(mac, '2026-11-23T10-00-00Z'), at: storedAt(n), state: 'begun', kept: [], toldFlashBytes: null },
    ]),
  'restore ends elsewhere': ({ archive, mac, n }) => {
    const { from, startedAt } = recordOf(mac, '2026-11-23T10-00-00Z');
    const line = { at: storedAt(n), state: 'done', from, startedAt };
    return archive.elsewhere.receive(mac, 'halves.jsonl', OTHER_STATION, [line]);
  },
  'seen elsewhere': async ({ root, archive, mac, n }) => {
    const line = { id: await newestOf(root, mac).catch(() => 'none'), at: storedAt(n), port: 'y' };
    return archive.elsewhere.receive(mac, 'seen.jsonl', STATION, [line]);
  },
  'restore is given up': ({ archive, mac }) => archive.endRestore(mac, 'nothing-written'),
  'record rots': ({ root, mac }) => nodeFs.writeFile(join(root, macToFolder(mac), 'restoring.json'), '{'),
  'manifest rots': async ({ root, mac }) =>
    flip(join(root, macToFolder(mac), await newestOf(root, mac), 'manifest.json')),
  'list of digests rots': async ({ root, mac }) =>
    flip(join(root, macToFolder(mac), await newestOf(root, mac), 'SHA256SUMS')),
  'image is cut': async ({ root, mac }) =>
    nodeFs.truncate(join(root, macToFolder(mac), await newestOf(root, mac), 'flash.bin'), 17),
  'manifest is another': async ({ root, archive, mac }) => {
    const ids = await archive.backupIds(mac);
    const manifestOf = (id = 'none') => join(root, macToFolder(mac), id, 'manifest.json');
    const [from, to] = [manifestOf(ids[0]), manifestOf(ids.at(-1))];
    const { atime, mtime } = await nodeFs.stat(to);
    await nodeFs.writeFile(to, await nodeFs.readFile(from));
    await nodeFs.utimes(to, atime, mtime); // as a tool does that restores files
  },
  'manifest is lost': async ({ root, mac }) =>
    nodeFs.rm(join(root, macToFolder(mac), await newestOf(root, mac), 'manifest.json')),
  'backup is removed': async ({ root, mac }) =>
    nodeFs.rm(join(root, macToFolder(mac), await newestOf(root, mac)), { recursive: true }),
  'backup is moved away and back': async ({ root, mac }) => {
    const path = join(root, macToFolder(mac), await newestOf(root, mac));
    await nodeFs.rename(path, `${path}x`);
    await nodeFs.rename(`${path}x`, path);
  },
  'backup becomes a link': async ({ root, mac }) => {
    const path = join(root, macToFolder(mac), await newestOf(root, mac));
    await nodeFs.rename(path, join(root, '..', `away-${String(Math.random())}`));
    await nodeFs.symlink('/', path);
  },
  'board is removed': ({ root, mac }) => nodeFs.rm(join(root, macToFolder(mac)), { recursive: true }),
  'foreign file': async ({ root, mac, n }) => {
    const folder = join(root, macToFolder(mac));
    await nodeFs.writeFile(
      join(folder, n % 2 ? '.DS_Store' : await newestOf(root, mac), n % 2 ? '' : 'notes.txt'),
      'x',
    );
  },
  label: ({ archive, mac, n }) =>
    archive.marks.describe(mac, n % 3 === 0 ? { label: null } : { label: `l${n}`, note: 'x' }),
  group: ({ archive, mac, n }) => archive.marks.describe(mac, { group: `g${n}` }),
  pin: async ({ root, archive, mac }) =>
    archive.marks.pin(mac, await newestOf(root, mac), { pinned: true, note: null }),
  removal: async ({ root, mac }) => {
    const folder = join(root, macToFolder(mac));
    await nodeFs.appendFile(join(folder, 'removed.jsonl'), '{}\n');
    await nodeFs.rename(join(folder, await newestOf(root, mac)), join(folder, `trash.${'0'.repeat(16)}`));
  },
  'label is torn': ({ root, mac }) => nodeFs.appendFile(join(root, macToFolder(mac), 'labels.jsonl'), '{"at":'),
  'labels become a folder': async ({ root, mac }) => {
    await nodeFs.rm(join(root, macToFolder(mac), 'labels.jsonl'), { force: true });
    await nodeFs.mkdir(join(root, macToFolder(mac), 'labels.jsonl'));
  },
  'sighting is torn': ({ root, mac }) => nodeFs.appendFile(join(root, macToFolder(mac), 'seen.jsonl'), '{"id":'),
  'index is lost': ({ root }) => nodeFs.rm(join(root, 'cache'), { recursive: true, force: true }),
  'index is cut': ({ root, n }) => nodeFs.truncate(join(root, 'cache', BOARDS), n),
  nothing: () => undefined,
};

/** One byte in the middle of a file, in its place. */
async function flip(path: string): Promise<void> {
  const bytes = await nodeFs.readFile(path);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await nodeFs.writeFile(path, bytes);
}

test('after whatever happens, a listing says the same with the index and without', async (t) => {
  const event = fc.record({
    what: fc.constantFrom(...Object.keys(EVENTS)),
    board: fc.integer({ min: 0, max: 2 }),
    n: fc.integer({ min: 0, max: 3000 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 10 }), async (events) => {
      const root = await filled(t, 3, 2);
      await warm(root);
      for (const { what, board, n } of events) {
        await nextStamp(join(root, '..'));
        const parts = { root, archive: archiveAt(root), mac: boardMac(board), n };
        // Not everything is possible at every time: a backup that is gone cannot be cut.
        await Promise.resolve(EVENTS[what]?.(parts)).catch(() => undefined);
        assert.deepEqual(await warm(root), await cold(root), what);
        assert.deepEqual(await warm(root), await cold(root), `${what}, twice`);
      }
      await nodeFs.rm(join(root, '..'), { recursive: true });
      await nodeFs.mkdir(join(root, '..'));
    }),
    { numRuns: 30 },
  );
});

for (const what of Object.keys(EVENTS)) {
  test(`seen in spite of an index: ${what}`, async (t) => {
    const root = await filled(t, 3, 3);
    const [mac, other] = [boardMac(0), boardMac(1)];
    const archive = archiveAt(root);
    await archive.beginRestore(recordOf(other, await newestOf(root, other)));
    await archive.recordSighting(mac, { id: await newestOf(root, mac), at: '1970-01-01T00:00:01.000Z', port: 'x' });
    await archive.marks.describe(mac, { label: 'kitchen', group: 'flat' });
    await warm(root);
    await nextStamp(join(root, '..'));
    await EVENTS[what]?.({ root, archive, mac, n: 7 });
    assert.deepEqual(await warm(root), await cold(root));
  });
}

test('of boards with nothing new no manifest is opened, and of one that has something only its own', async (t) => {
  const root = await filled(t, 5, 3);
  assert.equal((await manifestsRead(root)).length, 10);
  assert.deepEqual(await manifestsRead(root), []);
  await nextStamp(join(root, '..'));
  await archiveAt(root).recordSighting(boardMac(2), {
    id: await newestOf(root, boardMac(2)),
    at: '2026-11-25T10:00:00.000Z',
    port: 'x',
  });
  const own = macToFolder(boardMac(2));
  assert.deepEqual(
    (await manifestsRead(root)).map((path) => path.slice(0, own.length)),
    [own, own],
  );
  assert.deepEqual(await manifestsRead(root), []);
  await flip(join(root, own, await newestOf(root, boardMac(2)), 'manifest.json'));
  for (let times = 0; times < 2; times++)
    assert.equal((await manifestsRead(root)).length, 3, 'a damaged one each time');
});

test('what was written just now is not taken into the index', async (t) => {
  const root = await filled(t, 2, 2);
  await warm(
    root,
    watchedFileSystem(() => undefined),
  );
  assert.equal((await manifestsRead(root)).length, 4);
  assert.deepEqual(await manifestsRead(root), []);
});

test('an index of a week ago, or of the future, is made anew', async (t) => {
  const DAY_MS = 24 * 60 * 60 * 1000;
  const root = await filled(t, 2, 2);
  const at = (days: number): Clock => ({ ...systemClock, date: () => new Date(Date.now() + days * DAY_MS) });
  const opened = async (days: number) => {
    let count = 0;
    await warm(
      root,
      settled(({ name, path }) => {
        if (name === 'open' && path.endsWith('manifest.json')) count++;
      }),
      at(days),
    );
    return count;
  };
  await nodeFs.rm(join(root, 'cache'), { recursive: true, force: true });
  assert.deepEqual([await opened(0), await opened(6.9), await opened(7.1), await opened(7.1)], [4, 0, 4, 0]);
  assert.deepEqual([await opened(6), await opened(6)], [4, 0]);
});

test('an index cut at any byte, or with any byte changed, is none', async (t) => {
  const root = await filled(t, 2, 2);
  await warm(root);
  const bytes = await nodeFs.readFile(join(root, 'cache', BOARDS));
  const index = decodeGlances(bytes, root);
  assert.equal(index?.entries.size, 2);
  assert.deepEqual(decodeGlances(encodeGlances(index), root), index);
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(decodeGlances(bytes.subarray(0, length), root), undefined, String(length));
  }
  assert.equal(decodeGlances(Buffer.concat([bytes, Buffer.alloc(1)]), root), undefined);
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 0x20;
    // Only the case of a hex digit of the sum itself does not matter, and it is written in lower case.
    assert.equal(decodeGlances(changed, root), undefined, String(at));
  }
});

test('an index that is sound by its sum but written by somebody else does no harm', async (t) => {
  const root = await filled(t, 2, 2);
  await warm(root);
  const bytes = await nodeFs.readFile(join(root, 'cache', BOARDS));
  const start = bytes.indexOf('\n') + 1;
  const jsonBytes = Number(/ (\d+)\n/.exec(bytes.toString('latin1', 0, 64))?.[1]);
  const json = JSON.parse(bytes.toString('utf8', start, start + jsonBytes)) as { sinceMs: number; rows: object[] };
  const numbers = bytes.subarray(start + jsonBytes);
  const signed = (text: string, claimed?: number, body = numbers) => {
    const rest = Buffer.concat([Buffer.from(text), body]);
    const sum = crc32(rest).toString(16).padStart(8, '0');
    return Buffer.concat([Buffer.from(`espd-boards 2 ${sum} ${claimed ?? Buffer.byteLength(text)}\n`), rest]);
  };
  const [row] = json.rows;
  const withRow = (change: object) => JSON.stringify({ ...json, rows: [{ ...row, ...change }] });
  const useless: readonly [string, Buffer][] = [
    ['huge length', signed('{}', 999_999_999)],
    ['no numbers', signed(JSON.stringify(json), undefined, Buffer.alloc(0))],
    ['deep nesting', signed('['.repeat(100_000))],
    ['no rows', signed('{"sinceMs":0}')],
    ['prototype', signed('{"sinceMs":0,"rows":{"__proto__":[]}}')],
    ['a board with another name', signed(withRow({ folder: '__proto__' }))],
    ['a way out', signed(withRow({ folder: '../../x' }))],
    ['ids that are none', signed(withRow({ ids: '2026-11-23T10-00-00Z ../../x' }))],
    ['a newest that is none', signed(withRow({ newest: { ...(row as { newest: object }).newest, id: '../x' } }))],
    ['an unknown log', signed(withRow({ logs: ['../../x'] }))],
    ['many logs', signed(withRow({ logs: Array.from({ length: 10_000 }, () => 'seen.jsonl') }))],
    ['a time that is none', signed(JSON.stringify({ ...json, sinceMs: null }))],
    ['another version', Buffer.from(bytes.toString('latin1').replace('boards 2', 'boards 3'), 'latin1')],
  ];
  for (const [what, content] of useless) {
    assert.equal(decodeGlances(content, root), undefined, what);
    await nodeFs.writeFile(join(root, 'cache', BOARDS), content);
    assert.deepEqual(await warm(root), await cold(root), what);
  }
  const polluted: unknown = JSON.parse(
    JSON.stringify(json).replaceAll('"seen":null', '"__proto__":{"wasRestored":true},"seen":null'),
  );
  const read = decodeGlances(signed(JSON.stringify(polluted)), root);
  assert.deepEqual(
    [...(read?.entries.values() ?? [])].map(({ board }) => board.wasRestored),
    [false, false],
  );
  assert.equal(({} as { wasRestored?: boolean }).wasRestored, undefined);
  // Evidence of other files: the boards are read.
  await nodeFs.writeFile(
    join(root, 'cache', BOARDS),
    signed(JSON.stringify(json), undefined, Buffer.alloc(numbers.length, 1)),
  );
  assert.equal((await manifestsRead(root)).length, 4);
  fc.assert(
    fc.property(fc.jsonValue(), fc.uint8Array(), (value, body) => {
      assert.equal(decodeGlances(signed(JSON.stringify(value), undefined, Buffer.from(body)), root), undefined);
    }),
  );
});

test('a cache of which any call fails costs nothing but time', async (t) => {
  const root = await filled(t, 2, 2);
  const expected = await cold(root);
  const touches = ({ path, to }: Call) => `${path} ${to ?? ''}`.includes('/cache');
  let total = 0;
  await warm(
    root,
    settled((call) => {
      if (touches(call)) total++;
    }),
  );
  assert.ok(total > 5, String(total));
  for (const code of ['EIO', 'ENOSPC', 'EROFS', 'EACCES']) {
    for (let failing = 0; failing < total; failing++) {
      await nodeFs.rm(join(root, 'cache'), { recursive: true, force: true });
      let count = 0;
      const fs = settled((call) => {
        if (touches(call) && count++ === failing) throw systemError(code);
      });
      assert.deepEqual(await warm(root, fs), expected, `${code} at ${failing}`);
      assert.deepEqual(await warm(root), expected, `after ${code} at ${failing}`);
      const left = await nodeFs.readdir(join(root, 'cache'));
      assert.ok(left.length <= 2, String(left));
    }
  }
  for (const code of ['EIO', 'EACCES', 'ENOENT']) {
    const unreadable = settled(({ name }) => {
      if (name === 'lstat') throw systemError(code);
    });
    // Evidence that cannot be taken is none: the boards are read, and say what is wrong.
    const broken = watchedFileSystem(({ name }) => {
      if (name === 'lstat') throw systemError(code);
    });
    assert.deepEqual(await warm(root, unreadable), await archiveAt(root, { fs: broken }).overview(), code);
  }
});

test('two listings at once: the last one to write the index wins, and both say what is there', async (t) => {
  const root = await filled(t, 4, 2);
  const expected = await cold(root);
  const both = await Promise.all([warm(root), warm(root), warm(root)]);
  for (const each of both) assert.deepEqual(each, expected);
  assert.deepEqual(await manifestsRead(root), []);
});
