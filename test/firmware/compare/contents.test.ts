/** NVS and file systems compared, on readings as their readers give them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { compareFiles, fileProblems } from '../../../src/firmware/compare/files.ts';
import { compareNvs, nvsProblems } from '../../../src/firmware/compare/nvs.ts';
import type { FileSystemReading } from '../../../src/firmware/filesystems/filesystem.ts';
import type { NvsEntry } from '../../../src/firmware/nvs.ts';

const HIDDEN = { reveal: false };
const REVEALED = { reveal: true };

function entry(key: string, value: NvsEntry['value'], type: NvsEntry['type'] = 'u32', namespace = 'app'): NvsEntry {
  return { namespace, key, type, value };
}

describe('NVS', () => {
  const before = [entry('count', 1n), entry('gone', 2n), entry('name', 'kitchen', 'str'), entry('same', 7n)];
  const after = [
    entry('count', 2n),
    entry('name', 'hall', 'str'),
    entry('new', Buffer.of(1, 0xab), 'blob'),
    entry('same', 7n),
  ];

  test('keys that came, changed and went, without their values', () => {
    const { added, changed, removed } = compareNvs(before, after, HIDDEN);
    const value = (type: string, sizeBytes: number) => ({ type, sizeBytes, secret: false, value: null });
    assert.deepEqual(added, [{ namespace: 'app', key: 'new', value: { before: null, after: value('blob', 2) } }]);
    assert.deepEqual(changed, [
      { namespace: 'app', key: 'count', value: { before: value('u32', 4), after: value('u32', 4) } },
      { namespace: 'app', key: 'name', value: { before: value('str', 7), after: value('str', 4) } },
    ]);
    assert.deepEqual(removed, [{ namespace: 'app', key: 'gone', value: { before: value('u32', 4), after: null } }]);
  });

  test('values only where they are asked for, and secrets not even then', () => {
    const secret = entry('sta.pswd', Buffer.from('hunter22'), 'blob', 'nvs.net80211');
    const { added, changed } = compareNvs(before, [...after, secret, entry('mqtt_token', 'abc', 'str')], REVEALED);
    const told = added.map(({ key, value }) => [key, value.after?.value, value.after?.secret]);
    assert.deepEqual(told, [
      ['mqtt_token', null, true],
      ['new', '01ab', false],
      ['sta.pswd', null, true],
    ]);
    assert.deepEqual(
      changed.map(({ value }) => [value.before?.value, value.after?.value]),
      [
        ['1', '2'],
        ['kitchen', 'hall'],
      ],
    );
    const text = JSON.stringify(compareNvs([], [secret], REVEALED));
    assert.ok(!text.includes('hunter22') && !text.includes(Buffer.from('hunter22').toString('hex')), text);
  });

  test('another type is a change; a key that stands there twice goes by its types', () => {
    assert.equal(compareNvs([entry('a', 1n, 'u8')], [entry('a', 1n, 'u16')], HIDDEN).changed.length, 1);
    const twice = [entry('a', 1n, 'u8'), entry('a', 'x', 'str')];
    assert.deepEqual(compareNvs(twice, twice.toReversed(), HIDDEN), compareNvs([], [], HIDDEN));
    const { added, changed, removed } = compareNvs(twice, [entry('a', 1n, 'u8')], HIDDEN);
    assert.deepEqual([added.length, changed.length, removed.length], [0, 0, 1]);
  });

  test('the value that is told is bounded', () => {
    const { added } = compareNvs(
      [],
      [entry('a', 'x'.repeat(9000), 'str'), entry('b', Buffer.alloc(9000), 'blob')],
      REVEALED,
    );
    for (const { value } of added) assert.equal(value.after?.value?.length, 4096 + 3);
  });

  test('what keeps keys from being told has a sentence', () => {
    const reading = { entries: [], problems: [], evidence: [] };
    assert.deepEqual(nvsProblems({ ...reading, kind: 'plain' }), []);
    assert.deepEqual(nvsProblems({ ...reading, kind: 'blank' }), []);
    assert.match(nvsProblems({ ...reading, kind: 'encrypted' }).join(), /encrypted/);
    assert.match(nvsProblems({ ...reading, kind: 'unknown' }).join(), /no NVS/);
    assert.match(nvsProblems({ ...reading, kind: 'plain', problems: ['page 1 is torn'] }).join(), /page 1 is torn/);
  });

  test('compared with itself nothing differs; the other way round it is mirrored', () => {
    const entries = fc.array(
      fc.record({
        namespace: fc.constantFrom('a', 'b'),
        key: fc.constantFrom('x', 'y', 'z'),
        type: fc.constantFrom('u8' as const, 'u32' as const),
        value: fc.bigInt({ min: 0n, max: 3n }),
      }),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(entries, entries, (one, other) => {
        assert.deepEqual(compareNvs(one, one, REVEALED), compareNvs([], [], REVEALED));
        const [there, back] = [compareNvs(one, other, REVEALED), compareNvs(other, one, REVEALED)];
        const mirror = (list: typeof there.added) =>
          list.map(({ value, ...names }) => ({ ...names, value: { before: value.after, after: value.before } }));
        assert.deepEqual(back.added, mirror(there.removed));
        assert.deepEqual(back.removed, mirror(there.added));
        assert.deepEqual(back.changed, mirror(there.changed));
      }),
    );
  });
});

/** A reading of files by path; null = it cannot be read. */
function files(content: Readonly<Record<string, string | null>>, problems: string[] = []): FileSystemReading {
  const entries = Object.entries(content).map(([path, text]) => {
    return { path, sizeBytes: text?.length ?? 4, isFolder: path.endsWith('/') };
  });
  return {
    kind: 'littlefs',
    entries,
    problems,
    readFile: (path) => {
      const text = content[path] ?? null;
      return text === null ? { bytes: null, problem: 'is torn' } : { bytes: Buffer.from(text), problem: null };
    },
  };
}

describe('file systems', () => {
  test('files that came, changed and went, by name and size; a file of the same size by its content', () => {
    const before = files({ '/gone': 'x', '/grew': 'ab', '/index.html': 'same', '/wifi.json': 'abcd' });
    const after = files({ '/grew': 'abc', '/index.html': 'same', '/new': '', '/wifi.json': 'abcx' });
    const { added, changed, removed, unknown } = compareFiles(before, after);
    assert.deepEqual(
      [added, changed, removed].map((list) =>
        list.map(({ path, sizeBytes }) => [path, sizeBytes.before, sizeBytes.after]),
      ),
      [
        [['/new', null, 0]],
        [
          ['/grew', 2, 3],
          ['/wifi.json', 4, 4],
        ],
        [['/gone', 1, null]],
      ],
    );
    assert.deepEqual(unknown, []);
  });

  test('a file whose content cannot be had is neither equal nor changed', () => {
    const { changed, unknown } = compareFiles(files({ '/a': 'abcd' }), files({ '/a': null }));
    assert.deepEqual([changed.length, unknown.map(({ path }) => path)], [0, ['/a']]);
  });

  test('thousands of files that name the same bytes do not take for ever', () => {
    let reads = 0;
    const hostile: FileSystemReading = {
      ...{ kind: 'spiffs', problems: [] },
      entries: Array.from({ length: 50_000 }, (_, index) => ({
        path: `/${index}`,
        sizeBytes: 1 << 20,
        isFolder: false,
      })),
      readFile: () => {
        reads++;
        return { bytes: Buffer.alloc(1), problem: null };
      },
    };
    const { unknown } = compareFiles(hostile, hostile);
    assert.ok(reads < 1000, `${reads}`);
    assert.equal(unknown.length, 50_000 - reads / 2);
  });

  test('no file system on one side: all of them came, or went', () => {
    const some = files({ '/a': 'x', '/b/': '' });
    assert.deepEqual(
      compareFiles(undefined, some).added.map(({ path, isFolder }) => [path, isFolder]),
      [
        ['/a', false],
        ['/b/', true],
      ],
    );
    assert.deepEqual(compareFiles(some, undefined).fileSystem, { before: 'littlefs', after: null });
  });

  test('damage has a sentence', () => {
    assert.deepEqual(fileProblems(undefined), []);
    assert.deepEqual(fileProblems(files({})), []);
    assert.match(fileProblems(files({}, ['block 3 is torn'])).join(), /block 3 is torn/);
  });
});
