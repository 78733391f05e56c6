/** What a list of a bucket says: the same, however it is cut, in whatever order it comes, and in little memory. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { takeInventory } from '../../../src/replication/removal/inventory.ts';
import { nameKey, namesOf } from '../../../src/replication/removal/named-copies.ts';
import type { ListOptions, ObjectFacts, ObjectStore } from '../../../src/store/types.ts';
import { never } from '../support.ts';

const PREFIX = 'boards/';
const NAMES = ['SHA256SUMS', 'flash.bin', 'flash.bin.zst.enc', 'manifest.json', 'notes/of somebody.txt', 'é'];

function storeOf(objects: readonly ObjectFacts[], pageSize: number): ObjectStore {
  const list = ({ prefix, from }: ListOptions) => {
    const meant = objects.filter(({ key }) => key.startsWith(prefix));
    const start = Number(from ?? 0);
    const next = start + pageSize < meant.length ? String(start + pageSize) : null;
    return Promise.resolve({ objects: meant.slice(start, start + pageSize), folders: [], next });
  };
  return { list } as unknown as ObjectStore;
}

const anyObject = fc
  .record({
    home: fc.constantFrom('', 'stations/bench7-0123456789ab/'),
    board: fc.integer({ min: 0, max: 2 }),
    day: fc.integer({ min: 1, max: 3 }),
    name: fc.constantFrom(...NAMES),
    sizeBytes: fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 31, 2 ** 40)),
    writtenMs: fc.option(fc.integer({ min: 1, max: 2 ** 42 }), { nil: undefined }),
  })
  .map(({ home, board, day, name, sizeBytes, writtenMs }): ObjectFacts => {
    const key = `${PREFIX}${home}50-02-91-c3-37-0${board}/2020-01-0${day}T00-00-00Z/${name}`;
    return { key, sizeBytes, etag: 'x', ...(writtenMs === undefined ? {} : { writtenMs }) };
  });
const anyList = fc.uniqueArray(anyObject, { selector: ({ key }) => key, maxLength: 60 });

describe('the inventory of a bucket', () => {
  test('each folder with its names, sizes and age, in pages of any size and in any order', async () => {
    await fc.assert(
      fc.asyncProperty(anyList, fc.integer({ min: 1, max: 7 }), fc.boolean(), async (objects, pageSize, isSorted) => {
        const listed = isSorted ? [...objects].sort((a, b) => (a.key < b.key ? -1 : 1)) : objects;
        const { copies } = await takeInventory(storeOf(listed, pageSize), PREFIX, { signal: never });
        const wanted = new Map<string, Map<string, ObjectFacts>>();
        for (const facts of objects) {
          const [, folder = '', name = ''] =
            /^boards\/((?:stations\/[^/]+\/)?[^/]+\/[^/]+\/)(.*)$/.exec(facts.key) ?? [];
          wanted.set(folder, (wanted.get(folder) ?? new Map<string, ObjectFacts>()).set(name, facts));
        }
        assert.deepEqual([...copies.keys()].sort(), [...wanted.keys()].sort());
        for (const [folder, files] of wanted) {
          const copy = copies.get(folder);
          assert.ok(copy !== undefined);
          const [, mac, id] = /([0-9a-f-]{17})\/([^/]+)\/$/.exec(folder) ?? [];
          assert.deepEqual([copy.folder, copy.mac, copy.id], [folder, mac?.replaceAll('-', ':'), id]);
          assert.deepEqual([...copy.files.keys()].sort(), [...files.keys()].sort());
          for (const name of NAMES) {
            assert.equal(copy.files.has(name), files.has(name));
            assert.equal(copy.files.get(name)?.sizeBytes, files.get(name)?.sizeBytes);
          }
          const sum = (sizes: Iterable<{ readonly sizeBytes: number }>) =>
            [...sizes].reduce((total, { sizeBytes }) => total + sizeBytes, 0);
          assert.equal(sum(copy.files.values()), sum(files.values()));
          // Of what nobody knows the age of, nothing may be taken for younger than it is.
          assert.equal(copy.firstMs, Math.min(...[...files.values()].map(({ writtenMs }) => writtenMs ?? 0)));
        }
      }),
    );
  });

  test('one name in two folders is one backup with two copies; what is not meant is none', async () => {
    await fc.assert(
      fc.asyncProperty(anyList, async (objects) => {
        const { copies } = await takeInventory(storeOf(objects, 1000), PREFIX, { signal: never });
        const isMeant = ({ files }: { readonly files: { has(name: string): boolean } }) => files.has('SHA256SUMS');
        const names = namesOf(copies.values(), isMeant);
        const meant = [...copies.values()].filter(isMeant);
        assert.equal(names.size, new Set(meant.map(nameKey)).size);
        for (const [key, name] of names) {
          assert.equal(nameKey(name), key);
          assert.deepEqual(
            name.copies.map(({ folder }) => folder),
            meant.filter((copy) => nameKey(copy) === key).map(({ folder }) => folder),
          );
        }
      }),
    );
  });
});
