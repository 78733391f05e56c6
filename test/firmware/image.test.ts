import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { BoundedFlash } from '../../src/firmware/bytes.ts';
import { findImage, parseImageHeader, verifyImage, type Image } from '../../src/firmware/image.ts';
import {
  esp32App,
  esp32Image,
  esp8266Image,
  esp8266ImageV2,
  filler,
  flashWith,
  MIB,
  readerOf,
  u32,
} from './builder.ts';

const SEGMENTS = [
  { address: 0x3f400020, data: filler(700) },
  { address: 0x3ffb0000, data: Buffer.alloc(0) },
  { address: 0x40080000, data: filler(70_001, 4) },
];

async function find(flash: Buffer, offset: number, family = 'esp32', endOffset = flash.length) {
  const { read } = readerOf(flash);
  return findImage(new BoundedFlash(read, flash.length, 2 * MIB), offset, endOffset, family);
}

async function imageAt(flash: Buffer, offset: number, family = 'esp32'): Promise<Image> {
  const found = await find(flash, offset, family);
  assert.ok(found?.image, found?.problem ?? 'no image');
  return found.image;
}

describe('parseImageHeader', () => {
  test('reads every field of the ESP32 family', () => {
    const bytes = esp32Image(SEGMENTS, { chipId: 9, mode: 0, sizeFreq: 0x4f, minRev: 102, maxRev: 399 });
    assert.deepEqual(parseImageHeader(bytes, 'esp32s3'), {
      version: 1,
      headerBytes: 24,
      segmentCount: 3,
      flashMode: 'qio',
      flashFrequencyMHz: 80,
      flashSizeBytes: 16 * MIB,
      entryAddress: 0x40081234,
      extended: {
        chipId: 9,
        chipFamily: 'esp32s3',
        minRevision: 102,
        oldMinRevision: 0,
        maxRevision: 399,
        digestAppended: true,
      },
    });
  });

  test('knows the chip ids of all families, and says so when it does not', () => {
    const ids: Record<string, number> = {
      esp32: 0,
      esp32s2: 2,
      esp32c3: 5,
      esp32s3: 9,
      esp32c2: 12,
      esp32c6: 13,
      esp32h2: 16,
      esp32p4: 18,
      esp32c61: 20,
      esp32c5: 23,
      esp32h4: 28,
      esp32s31: 32,
    };
    for (const [family, chipId] of Object.entries(ids)) {
      assert.equal(parseImageHeader(esp32Image(SEGMENTS, { chipId }), family)?.extended?.chipFamily, family);
    }
    assert.equal(parseImageHeader(esp32Image(SEGMENTS, { chipId: 999 }), 'esp32')?.extended?.chipFamily, null);
  });

  test('images of before the full revision fields name no maximum', () => {
    for (const maxRev of [0, 0xffff]) {
      assert.equal(parseImageHeader(esp32Image(SEGMENTS, { maxRev }), 'esp32')?.extended?.maxRevision, null);
    }
  });

  test('flash size and frequency mean other things on other chips', () => {
    const sizeOf = (family: string, code: number) => {
      const bytes =
        family === 'esp8266' ? esp8266Image(SEGMENTS, code << 4) : esp32Image(SEGMENTS, { sizeFreq: code << 4 });
      return parseImageHeader(bytes, family)?.flashSizeBytes;
    };
    const esp8266 = [0.5, 0.25, 1, 2, 4, 2, 4, null, 8, 16, null];
    const esp32 = [1, 2, 4, 8, 16, 32, 64, 128, null];
    esp8266.forEach((size, code) => assert.equal(sizeOf('esp8266', code), size && size * MIB));
    esp32.forEach((size, code) => assert.equal(sizeOf('esp32', code), size && size * MIB));

    const frequencyOf = (family: string, code: number) =>
      parseImageHeader(esp32Image(SEGMENTS, { sizeFreq: code }), family)?.flashFrequencyMHz;
    assert.deepEqual(
      [0, 1, 2, 15, 7].map((code) => frequencyOf('esp32', code)),
      [40, 26, 20, 80, null],
    );
    assert.deepEqual(
      [0, 1, 2, 15].map((code) => frequencyOf('esp32c2', code)),
      [30, 20, 15, 60],
    );
    for (const family of ['esp32h2', 'esp32h4']) {
      assert.deepEqual(
        [0, 1, 2, 15].map((code) => frequencyOf(family, code)),
        [24, 16, 12, 48],
      );
    }
    assert.deepEqual(
      [0, 2].map((code) => frequencyOf('esp32c6', code)),
      [null, 20],
    );
    const modes = [0, 1, 2, 3, 4, 5, 6].map(
      (mode) => parseImageHeader(esp32Image(SEGMENTS, { mode }), 'esp32')?.flashMode,
    );
    assert.deepEqual(modes, ['qio', 'qout', 'dio', 'dout', 'fast-read', 'slow-read', null]);
  });

  test('too short, no magic or an impossible number of segments is no header', () => {
    const bytes = esp32Image(SEGMENTS);
    for (let length = 0; length < 24; length += 1)
      assert.equal(parseImageHeader(bytes.subarray(0, length), 'esp32'), null);
    assert.ok(parseImageHeader(bytes.subarray(0, 24), 'esp32'));
    for (let length = 0; length < 8; length += 1)
      assert.equal(parseImageHeader(bytes.subarray(0, length), 'esp8266'), null);
    assert.ok(parseImageHeader(bytes.subarray(0, 8), 'esp8266'));
    for (const [at, value] of [
      [0, 0xff],
      [0, 0x00],
      [1, 0],
      [1, 17],
      [1, 0xff],
    ] as const) {
      const wrong = Buffer.from(bytes);
      wrong[at] = value;
      assert.equal(parseImageHeader(wrong, 'esp32'), null);
    }
  });

  test('magic 0xEA is ESP8266 only, and only with its mark', () => {
    const bytes = esp8266ImageV2(filler(100), SEGMENTS);
    assert.equal(parseImageHeader(bytes, 'esp8266')?.version, 2);
    assert.equal(parseImageHeader(bytes, 'esp32'), null);
    bytes[1] = 3;
    assert.equal(parseImageHeader(bytes, 'esp8266'), null);
  });
});

describe('findImage', () => {
  test('walks the segments to the checksum and the digest', async () => {
    const bytes = esp32Image(SEGMENTS);
    const image = await imageAt(flashWith(MIB, [[0x10000, bytes]]), 0x10000);
    assert.equal(image.sizeBytes, bytes.length);
    assert.equal(image.digestOffset, 0x10000 + bytes.length - 32);
    assert.equal(image.checksumOffset, 0x10000 + bytes.length - 33);
    assert.deepEqual(
      image.segments.map(({ offset, sizeBytes, loadAddress }) => [offset, sizeBytes, loadAddress]),
      [
        [0x10000 + 32, 700, 0x3f400020],
        [0x10000 + 32 + 700 + 8, 0, 0x3ffb0000],
        [0x10000 + 32 + 700 + 16, 70_001, 0x40080000],
      ],
    );
  });

  test('the checksum ends a row of 16, however long the image', async () => {
    for (let length = 0; length < 34; length += 1) {
      for (const digest of [true, false]) {
        const bytes = esp32Image([{ address: 0x40080000, data: filler(length) }], { digest });
        // At an odd offset: rows count from the image's start.
        const image = await imageAt(flashWith(0x1000, [[0x123, bytes]]), 0x123);
        assert.equal(image.sizeBytes, bytes.length);
        assert.equal(image.digestOffset === null, !digest);
      }
      const old = esp8266Image([{ address: 0x40100000, data: filler(length) }]);
      assert.equal((await imageAt(old, 0, 'esp8266')).sizeBytes, old.length);
      const v2 = esp8266ImageV2(filler(length), SEGMENTS);
      assert.equal((await imageAt(v2, 0, 'esp8266')).sizeBytes, v2.length);
    }
  });

  test('cut at every byte it is broken, never whole, never a failure', async () => {
    const small = [
      { address: 0x40080000, data: filler(20) },
      { address: 0x40090000, data: filler(33) },
    ];
    for (const [family, bytes] of [
      ['esp32', esp32Image(small)],
      ['esp8266', esp8266Image(small)],
      ['esp8266', esp8266ImageV2(filler(20), small)],
    ] as const) {
      for (let length = 0; length < bytes.length; length += 1) {
        const found = await find(bytes.subarray(0, length), 0, family);
        assert.equal(found?.image ?? null, null, `${family} cut at ${length}`);
        if (found) assert.match(found.problem ?? '', /^The image at 0x0 is broken: /);
        // The same cut by the end of the partition, in a flash that goes on.
        const inFlash = await find(bytes, 0, family, length);
        assert.equal(inFlash?.image ?? null, null, `${family} in a partition of ${length}`);
      }
      assert.ok((await find(bytes, 0, family))?.image);
    }
  });

  test('segment lengths that lead astray are a problem', async () => {
    const bytes = esp32Image(SEGMENTS);
    u32(0xffffffff).copy(bytes, 28);
    assert.equal(
      (await find(bytes, 0))?.problem,
      'The image at 0x0 is broken: segment 0 of 0xffffffff bytes ends beyond the end',
    );
    const v2 = esp8266ImageV2(filler(64), SEGMENTS);
    v2[16 + 64] = 0;
    assert.match((await find(v2, 0, 'esp8266'))?.problem ?? '', /no second header/);
    const nested = Buffer.concat([v2.subarray(0, 16 + 64), esp8266ImageV2(filler(64), SEGMENTS)]);
    assert.match((await find(nested, 0, 'esp8266'))?.problem ?? '', /no second header/);
  });

  test('takes few, small reads', async () => {
    const segments = Array.from({ length: 16 }, (_, seed) => ({ address: seed << 16, data: filler(5000, seed) }));
    const flash = flashWith(MIB, [[0, esp32Image(segments)]]);
    const reader = readerOf(flash);
    assert.ok((await findImage(new BoundedFlash(reader.read, MIB, MIB), 0, MIB, 'esp32'))?.image);
    assert.ok(reader.reads <= 17);
    assert.ok(reader.bytes <= 24 + 16 * 8);
  });

  test('never fails and never leaves the flash, whatever the bytes', async () => {
    const hostile = fc.tuple(
      fc.constantFrom(0xe9, 0xea),
      fc.integer({ min: 0, max: 18 }),
      fc.array(fc.oneof(fc.nat(300), fc.constant(0), fc.constant(0xffffffff), fc.constant(0xe9010000)), {
        maxLength: 60,
      }),
    );
    await fc.assert(
      fc.asyncProperty(
        hostile,
        fc.constantFrom('esp8266', 'esp32', ''),
        fc.nat(400),
        async ([magic, count, words], family, end) => {
          const flash = Buffer.concat([Buffer.from([magic, count, 2, 0]), ...words.map(u32)]);
          const found = await find(flash, 0, family, end);
          if (found?.image) assert.ok(found.image.sizeBytes <= Math.min(flash.length, end));
        },
      ),
    );
  });
});

describe('verifyImage', () => {
  const cases = [
    ['esp32', esp32Image(SEGMENTS), true],
    ['esp32', esp32Image(SEGMENTS, { digest: false }), null],
    ['esp32', esp32App(), true],
    ['esp8266', esp8266Image(SEGMENTS), null],
    ['esp8266', esp8266ImageV2(filler(70_003, 9), SEGMENTS), null],
  ] as const;

  test('finds checksum and digest right', async () => {
    for (const [family, bytes, digestOk] of cases) {
      for (const offset of [0, 0x10000]) {
        const flash = flashWith(MIB, [[offset, bytes]]);
        const verdict = await verifyImage(readerOf(flash).read, await imageAt(flash, offset, family));
        assert.deepEqual(verdict, { checksumOk: true, digestOk });
      }
    }
  });

  test('notices a flipped bit in any segment, and in checksum and digest', async () => {
    const bytes = esp32Image([
      { address: 0x40080000, data: filler(40) },
      { address: 0x40090000, data: filler(70) },
    ]);
    const image = await imageAt(bytes, 0);
    for (let at = 0; at < bytes.length; at += 1) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      const verdict = await verifyImage(readerOf(damaged).read, image);
      const summed = image.segments.some(({ offset, sizeBytes }) => at >= offset && at < offset + sizeBytes);
      assert.equal(verdict.checksumOk, !summed && at !== image.checksumOffset, `byte ${at}`);
      assert.equal(verdict.digestOk, false, `byte ${at}`);
    }
  });

  test('the segment that stays in flash is not in the checksum of v2', async () => {
    const bytes = esp8266ImageV2(filler(64), SEGMENTS);
    const image = await imageAt(bytes, 0, 'esp8266');
    bytes[20] = (bytes[20] ?? 0) ^ 1;
    assert.deepEqual(await verifyImage(readerOf(bytes).read, image), { checksumOk: true, digestOk: null });
  });

  test('a reader that gives too little makes it wrong, one that fails is passed on', async () => {
    const bytes = esp32Image(SEGMENTS);
    const image = await imageAt(bytes, 0);
    const short = (offset: number, length: number) => Promise.resolve(bytes.subarray(offset, offset + length - 1));
    assert.deepEqual(await verifyImage(short, image), { checksumOk: false, digestOk: false });
    const failure = new Error('gone');
    await assert.rejects(
      verifyImage(() => Promise.reject(failure), image),
      failure,
    );
  });
});
