/** What is told of the inside of an image: bounded whatever a table, an NVS or a file system says. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MOST_ENTRIES, takeInventory } from '../../src/firmware/inventory.ts';
import { MIB, esp32App, esp32Bootloader, filler, flashWith, tableSector, type Row } from './builder.ts';
import { fixtureImage } from './filesystems/fixtures.ts';
import { namespace, page, string, u8 } from './nvs-builder.ts';

const TABLE: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x4000 },
  { label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0x40000 },
  { label: 'storage', type: 1, subtype: 0x82, offset: 0x80000, size: 0x40000 },
];
const NVS = page([...namespace(1, 'app'), ...u8(1, 'count', 7), ...string(1, 'wifi_pass', 'hunter22')]);
const imageWith = (table: readonly Row[], ...more: [number, Buffer][]) =>
  flashWith(MIB, [[0x1000, esp32Bootloader()], [0x8000, tableSector(table)], ...more]);
const IMAGE = imageWith(
  TABLE,
  [0x9000, NVS],
  [0x10000, esp32App({ project: 'door-sensor', version: '1.0.0' })],
  [0x80000, fixtureImage('littlefs-2.1-4096.bin')],
);

/** An image, and how many bytes of it were read. */
function sourceOf(image: Buffer, encrypted = false) {
  const counted = { bytes: 0 };
  const read = (offset: number, length: number) => {
    counted.bytes += length;
    return Promise.resolve(image.subarray(offset, offset + length));
  };
  return { counted, source: { read, sizeBytes: image.length, family: 'esp32', encrypted } };
}

const take = (image: Buffer, reveal = false) => takeInventory(sourceOf(image).source, { reveal });

describe('an inventory', () => {
  it('names firmware, parts, keys and files; a secret has neither value nor size', async () => {
    const found = await take(IMAGE, true);
    assert.equal(found.firmware?.name, 'door-sensor');
    assert.equal(
      found.parts.reduce((end, part) => (assert.equal(part.offset, end), end + part.sizeBytes), 0),
      MIB,
    );
    const [keys] = found.nvs[0]?.namespaces ?? [];
    assert.deepEqual(keys?.keys, [
      { key: 'count', type: 'u8', sizeBytes: 1, secret: false, value: '7' },
      { key: 'wifi_pass', type: 'str', sizeBytes: null, secret: true, value: null },
    ]);
    assert.equal(found.files[0]?.kind, 'littlefs');
    assert.doesNotMatch(JSON.stringify(found), /hunter22/);
  });

  it('of an encrypted flash tells no keys and no files', async () => {
    const { source } = sourceOf(IMAGE, true);
    const found = await takeInventory(source, { reveal: true });
    assert.deepEqual([found.opaque, found.nvs, found.files], ['encryption', [], []]);
  });

  it('of partitions that all are the same bytes reads them twice at most, and says what is left out', async () => {
    const rows = Array.from({ length: 60 }, (_, index) => ({
      ...{ label: `s${index}`, type: 1, subtype: 0x82, offset: 0x10000, size: MIB - 0x10000 },
    }));
    const { source, counted } = sourceOf(imageWith(rows, [0x10000, filler(0x10000, 3)]));
    const found = await takeInventory(source, { reveal: false });
    assert.equal(found.files.length, 60);
    assert.ok(found.files.filter(({ problems }) => /left out/.test(problems.join())).length >= 58);
    // Beside what describes the image.
    assert.ok(counted.bytes < 6 * MIB, String(counted.bytes));
  });

  it('of a partition beyond the flash says so', async () => {
    const row = { label: 'far', type: 1, subtype: 2, offset: 0x9000, size: 2 * MIB };
    const found = await take(imageWith([row]));
    assert.equal(found.nvs[0]?.state ?? null, null);
    assert.match(found.nvs[0]?.problems.join() ?? '', /beyond the flash|left out/);
  });

  it('of very many keys tells the first, and how many more there are', async () => {
    const pages = Array.from({ length: 60 }, (_, at) =>
      page(
        [
          ...(at === 0 ? namespace(1, 'app') : []),
          ...Array.from({ length: 120 }, (__, key) => u8(1, `k${at}_${key}`, 1)).flat(),
        ],
        { sequence: at },
      ),
    );
    const row = { label: 'nvs', type: 1, subtype: 2, offset: 0x10000, size: 60 * 4096 };
    const found = await take(imageWith([row], [0x10000, Buffer.concat(pages)]));
    const told = found.nvs[0]?.namespaces.reduce((sum, { keys }) => sum + keys.length, 0);
    assert.deepEqual([told, found.nvs[0]?.more], [MOST_ENTRIES, 60 * 120 - MOST_ENTRIES]);
  });

  it('whatever is flipped, cut or filled in, it is an inventory, and stays small', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            at: fc.oneof(
              fc.integer({ min: 0x8000, max: 0x8fff }),
              fc.integer({ min: 0x9000, max: 0xcfff }),
              fc.integer({ min: 0x80000, max: 0x8ffff }),
            ),
            bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }),
          }),
          { maxLength: 20 },
        ),
        fc.integer({ min: 1, max: MIB }),
        async (changes, sizeBytes) => {
          const image = Buffer.from(IMAGE);
          for (const { at, bytes } of changes) image.set(bytes, at);
          const found = await take(image.subarray(0, sizeBytes), true);
          const text = JSON.stringify(found);
          assert.ok(text.length < 4 * MIB);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('ends when it is not wanted any more', async () => {
    const { source } = sourceOf(IMAGE);
    const signal = AbortSignal.abort(new Error('gone'));
    await assert.rejects(takeInventory(source, { reveal: false, signal }), /gone/);
  });
});
