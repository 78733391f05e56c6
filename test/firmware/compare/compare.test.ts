import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import {
  compareFlash,
  sameBlocks,
  type ComparedImage,
  type FlashComparison,
  type PartComparison,
} from '../../../src/firmware/compare/index.ts';
import {
  esp32App,
  esp32Bootloader,
  esp8266Image,
  filler,
  flashWith,
  KIB,
  MIB,
  otaRecord,
  readerOf,
  tableSector,
  TWO_OTA,
  type Row,
} from '../builder.ts';

const SECTOR = 4096;
type Parts = readonly (readonly [offset: number, bytes: Buffer])[];

const imageOf = (flash: Buffer, family = 'esp32', encrypted = false): ComparedImage => {
  return { read: readerOf(flash).read, sizeBytes: flash.length, family, encrypted };
};
const compare = (before: Buffer, after: Buffer, family?: string) =>
  compareFlash(imageOf(before, family), imageOf(after, family));
const partNamed = ({ contents }: FlashComparison, name: string): PartComparison => {
  const part = contents?.parts.find((one) => one.name === name);
  assert.ok(part !== undefined, `no ${name}`);
  return part;
};
const namesIn = ({ contents }: FlashComparison) => contents?.parts.map(({ name, sectors }) => `${name} ${sectors}`);
/** Sectors that differ, counted one by one. */
const naive = (before: Buffer, after: Buffer) => {
  let count = 0;
  for (let at = 0; at < Math.min(before.length, after.length); at += SECTOR) {
    if (!before.subarray(at, at + SECTOR).equals(after.subarray(at, at + SECTOR))) count++;
  }
  return count;
};
const swapped = ({ before, after }: { before: unknown; after: unknown }) => ({ before: after, after: before });

const BASE: Parts = [
  [0x1000, esp32Bootloader()],
  [0x8000, tableSector(TWO_OTA)],
];
const app = (version: string, project = 'door-sensor') => esp32App({ project, version });
const OLD = flashWith(4 * MIB, [...BASE, [0xd000, otaRecord(1)], [0x110000, app('1.0.0')]]);

describe('two images of an ESP32', () => {
  test('equal: one word, and nothing is looked into', async () => {
    const result = await compare(OLD, Buffer.from(OLD));
    assert.deepEqual(result, {
      equal: true,
      sizeBytes: { before: 4 * MIB, after: 4 * MIB },
      sectors: { compared: 1024, differing: 0 },
      regions: [],
      opaque: null,
      contents: null,
    });
  });

  test('an update: the app by its name and version, the slot that boots, the bootloader the same', async () => {
    const now = Buffer.from(OLD);
    app('1.1.0').copy(now, 0x210000);
    otaRecord(2).copy(now, 0xe000);
    const result = await compare(OLD, now);
    assert.equal(result.equal, false);
    assert.deepEqual(result.contents?.boots, { before: 'ota_0', after: 'ota_1' });
    assert.deepEqual(
      [result.contents.firmware.before?.version, result.contents.firmware.after?.version],
      ['1.0.0', '1.1.0'],
    );
    assert.equal(result.contents.bootloader, 'same');
    assert.equal(result.contents.table?.same, true);
    assert.deepEqual(namesIn(result), ['otadata 1', 'ota_1 4']);
    const slot = partNamed(result, 'ota_1');
    assert.deepEqual(slot.blank, { before: true, after: false });
    assert.ok(slot.content?.kind === 'app');
    assert.equal(slot.content.apps.before, null);
    assert.deepEqual(slot.content.apps.after, {
      name: 'door-sensor',
      version: '1.1.0',
      sdk: 'ESP-IDF v5.1.4',
      built: 'Mar 14 2024 10:11:12',
    });
    assert.deepEqual(partNamed(result, 'otadata').content, {
      kind: 'ota',
      slot: { before: 'ota_0', after: 'ota_1' },
      updates: { before: 1, after: 2 },
    });
  });

  test('another bootloader is told apart from another table', async () => {
    const now = Buffer.from(OLD);
    now.fill(0x55, 0x5000, 0x5010);
    const loader = await compare(OLD, now);
    assert.equal(loader.contents?.bootloader, 'changed');
    assert.equal(partNamed(loader, 'bootloader').content?.kind, 'bootloader');
    assert.equal(loader.contents.table?.same, true);
  });

  test('another table: what came, went and moved; what moved is compared where it lies', async () => {
    const rows: Row[] = [
      ...TWO_OTA.filter(({ label }) => label !== 'ota_1' && label !== 'factory'),
      { label: 'storage', type: 1, subtype: 0x82, offset: 0x210000, size: 0x40000 },
      { label: 'factory', type: 0, subtype: 0, offset: 0x280000, size: 0x100000 },
    ];
    const before = Buffer.from(OLD);
    app('3.0.0', 'rescue').copy(before, 0x10000);
    const now = flashWith(4 * MIB, [
      ...BASE.slice(0, 1),
      [0x8000, tableSector(rows)],
      [0xd000, otaRecord(1)],
      [0x110000, app('1.0.0')],
      [0x280000, app('3.0.0', 'rescue')],
    ]);
    const result = await compare(before, now);
    const table = result.contents?.table;
    assert.deepEqual(
      [table?.same, table?.came.map(({ name }) => name), table?.went.map(({ name }) => name)],
      [false, ['storage'], ['ota_1']],
    );
    assert.deepEqual(
      table?.altered.map(({ before: old, after }) => [old.name, old.offset, after.offset]),
      [['factory', 0x10000, 0x280000]],
    );
    const moved = partNamed(result, 'factory');
    assert.deepEqual([moved.change, moved.sectors, moved.content], ['moved', 0, null]);
    assert.equal(partNamed(result, 'storage').change, 'came');
    assert.equal(partNamed(result, 'ota_1').change, 'went');
    // And the content of one that moved, where it changed on the way.
    app('3.0.1', 'rescue').copy(now, 0x280000);
    const content = partNamed(await compare(before, now), 'factory').content;
    assert.ok(content?.kind === 'app');
    assert.deepEqual([content.apps.before?.version, content.apps.after?.version], ['3.0.0', '3.0.1']);
  });

  test('a table that is gone takes all partitions with it, and every sector still counts', async () => {
    const blank = Buffer.alloc(4 * MIB, 0xff);
    const result = await compare(OLD, blank);
    assert.equal(result.contents?.table?.went.length, TWO_OTA.length);
    assert.deepEqual(result.contents.table.offset, { before: 0x8000, after: null });
    assert.ok(result.contents.parts.every(({ change }) => change === 'went'));
    assert.equal(result.sectors.differing, naive(OLD, blank));
  });

  test('encrypted: sectors alone, and why', async () => {
    const now = Buffer.from(OLD);
    now.fill(0, 0x110000, 0x111000);
    const result = await compareFlash(imageOf(OLD), imageOf(now, 'esp32', true));
    assert.deepEqual([result.opaque, result.contents, result.sectors.differing], ['encryption', null, 1]);
  });

  test('different sizes: what both have is compared', async () => {
    const larger = Buffer.alloc(8 * MIB, 0xff);
    OLD.copy(larger);
    const result = await compare(OLD, larger);
    assert.deepEqual(
      [result.equal, result.sectors, result.sizeBytes],
      [false, { compared: 1024, differing: 0 }, { before: 4 * MIB, after: 8 * MIB }],
    );
    assert.equal(result.contents?.parts.length, 0);
    larger[0x210000] = 0;
    const back = await compare(larger, OLD);
    assert.deepEqual(namesIn(back), ['ota_1 1']);
  });

  test('a damaged NVS and a damaged file system: the sectors all the same, and a sentence', async () => {
    const rows: Row[] = [
      { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x4000 },
      { label: 'app', type: 0, subtype: 0, offset: 0x10000, size: 0x10000 },
      { label: 'beyond', type: 1, subtype: 0x82, offset: 0x30000, size: 0x40000 },
    ];
    const before = flashWith(256 * KIB, [[0x8000, tableSector(rows)]]);
    const now = Buffer.from(before);
    filler(0x4000).copy(now, 0x9000);
    now.fill(0, 0x30000, 0x31000);
    const result = await compare(before, now);
    const nvs = partNamed(result, 'nvs');
    assert.equal(nvs.sectors, 4);
    assert.ok(nvs.problems.length > 0, 'nothing said of the NVS');
    const beyond = partNamed(result, 'beyond');
    assert.equal(beyond.sectors, 1);
  });
});

describe('two images of an ESP8266 without a table', () => {
  const image = (version: string, bytes: number) =>
    flashWith(MIB, [
      [0, esp8266Image([{ address: 0x40100000, data: Buffer.concat([Buffer.from(version), filler(bytes)]) }], 0x20)],
      [MIB - 0x5000, filler(128)],
    ]);

  test('parts by the map that espd makes; an app that grew has not moved', async () => {
    const result = await compare(image('1', 20 * KIB), image('2', 60 * KIB), 'esp8266');
    assert.equal(result.contents?.table, null);
    assert.equal(result.contents.bootloader, 'none');
    assert.deepEqual(
      result.contents.parts.map(({ name, change }) => [name, change]),
      [['app', 'changed']],
    );
    assert.equal(partNamed(result, 'app').sectors, result.sectors.differing);
  });

  test('calibration has its name', async () => {
    const now = image('1', 20 * KIB);
    now[MIB - 0x5000] = 1;
    assert.deepEqual(namesIn(await compare(image('1', 20 * KIB), now, 'esp8266')), ['rf_cal 1']);
  });
});

describe('laws', () => {
  const SIZE = 256 * KIB;
  const sectors = SIZE / SECTOR;
  const tables: readonly (readonly Row[])[] = [
    [
      { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x5000 },
      { label: 'app', type: 0, subtype: 0, offset: 0x10000, size: 0x20000 },
    ],
    [
      { label: 'app', type: 0, subtype: 0, offset: 0x20000, size: 0x10000 },
      { label: 'store', type: 1, subtype: 0x81, offset: 0x30000, size: 0x10000 },
    ],
    [],
  ];
  const flashes = fc
    .record({
      table: fc.nat({ max: tables.length - 1 }),
      writes: fc.array(fc.tuple(fc.nat({ max: SIZE - 1 }), fc.uint8Array({ minLength: 1, maxLength: 9000 })), {
        maxLength: 6,
      }),
    })
    .map(({ table, writes }) => {
      const rows = tables[table] ?? [];
      const flash = flashWith(SIZE, rows.length === 0 ? [] : [[0x8000, tableSector(rows)]]);
      for (const [at, bytes] of writes) Buffer.from(bytes).copy(flash, at);
      return flash;
    });
  const families = fc.constantFrom('esp32', 'esp8266');

  test('an image equals itself, and sectors are counted as one by one', async () => {
    await fc.assert(
      fc.asyncProperty(flashes, flashes, families, async (one, other, family) => {
        assert.equal((await compare(one, Buffer.from(one), family)).equal, true);
        const result = await compare(one, other, family);
        assert.equal(result.sectors.differing, naive(one, other));
        assert.equal(result.sectors.compared, sectors);
        assert.equal(result.equal, one.equals(other));
        assert.deepEqual(JSON.parse(JSON.stringify(result)), result);
        const stayed = (result.contents?.parts ?? []).filter(({ change }) => change !== 'moved');
        const sum = stayed.reduce((total, part) => total + part.sectors, 0);
        assert.ok(sum <= result.sectors.differing);
        if (stayed.length === result.contents?.parts.length) assert.equal(sum, result.sectors.differing);
      }),
      { numRuns: 60 },
    );
  });

  test('the other way round it says the same, mirrored', async () => {
    await fc.assert(
      fc.asyncProperty(flashes, flashes, async (one, other) => {
        const [there, back] = [await compare(one, other), await compare(other, one)];
        assert.deepEqual(back.regions, there.regions);
        assert.deepEqual(back.contents?.table?.came, there.contents?.table?.went);
        assert.deepEqual(back.contents?.table?.altered, there.contents?.table?.altered.map(swapped));
        if (there.contents?.table?.same !== true) return;
        const mirrored = there.contents.parts.map((part) => ({
          ...part,
          place: swapped(part.place),
          blank: swapped(part.blank),
        }));
        const strip = (parts: readonly object[] | undefined) =>
          parts?.map((part) => ({ ...part, content: null, problems: [] }));
        assert.deepEqual(strip(back.contents?.parts), strip(mirrored));
      }),
      { numRuns: 60 },
    );
  });

  test('whatever the images hold, nothing is thrown', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 0xc00 }),
        fc.uint8Array({ maxLength: 0xc00 }),
        families,
        async (one, other, family) => {
          const flash = (table: Uint8Array) =>
            flashWith(SIZE, [
              [0x8000, Buffer.from(table)],
              [0x1000, Buffer.from(table)],
            ]);
          const result = await compare(flash(one), flash(other), family);
          assert.equal(result.sectors.differing, naive(flash(one), flash(other)));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('rows that overlap, repeat a name, or reach beyond the flash: each sector counts once', async () => {
    const rowsOf = fc.array(
      fc.record({
        label: fc.constantFrom('a', 'b', 'app'),
        type: fc.constantFrom(0, 1, 2, 3, 0x40),
        subtype: fc.constantFrom(0, 1, 2, 3, 0x81, 0x82),
        offset: fc.nat({ max: 80 }).map((sector) => sector * SECTOR),
        size: fc.nat({ max: 40 }).map((count) => count * SECTOR),
      }),
      { minLength: 1, maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(rowsOf, rowsOf, async (one, other) => {
        const app0 = { label: 'boot', type: 0, subtype: 0, offset: 0x10000, size: 0x10000 };
        const [a, b] = [one, other].map((rows) => flashWith(SIZE, [[0x8000, tableSector([app0, ...rows])]]));
        assert.ok(a !== undefined && b !== undefined);
        const result = await compare(a, b);
        assert.equal(result.sectors.differing, naive(a, b));
      }),
      { numRuns: 80 },
    );
  });
});

describe('blocks that digests prove to be the same', () => {
  const digestsOf = (flash: Buffer) =>
    Array.from({ length: Math.ceil(flash.length / 65536) }, (_, index) =>
      createHash('sha256')
        .update(flash.subarray(index * 65536, (index + 1) * 65536))
        .digest('hex'),
    );

  test('are not read, and the result is the same', async () => {
    const now = Buffer.from(OLD);
    now[0x110123] = 0x77;
    const [left, right] = [readerOf(OLD), readerOf(now)];
    const isSameBlock = sameBlocks(
      { before: digestsOf(OLD), after: digestsOf(now) },
      { before: OLD.length, after: now.length },
    );
    const result = await compareFlash(
      { ...imageOf(OLD), read: left.read },
      { ...imageOf(now), read: right.read },
      { isSameBlock },
    );
    assert.deepEqual(result, await compare(OLD, now));
    assert.deepEqual(result.regions, [{ offset: 0x110000, sizeBytes: SECTOR }]);
    assert.ok(left.bytes < MIB, `${left.bytes} bytes read`);
  });

  test('a last block that is shorter in one image is no proof', () => {
    const isSame = sameBlocks({ before: ['a', 'b'], after: ['a', 'b', 'c'] }, { before: 70_000, after: 150_000 });
    assert.deepEqual([isSame(0), isSame(1), isSame(2)], [true, false, false]);
  });

  test('a comparison ends with its signal', async () => {
    const signal = AbortSignal.abort(new Error('stop'));
    await assert.rejects(compareFlash(imageOf(OLD), imageOf(OLD), { signal }), /stop/);
  });
});
