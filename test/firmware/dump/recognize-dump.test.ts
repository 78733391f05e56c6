import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import {
  chipFamily,
  isUniform,
  notTheBeginning,
  recognizeDump,
  sizeText,
  type DumpFacts,
} from '../../../src/firmware/dump/recognize-dump.ts';
import { fixtureImage } from '../filesystems/fixtures.ts';
import { demoImage } from '../../../src/simulator/index.ts';
import {
  esp32App,
  esp32Bootloader,
  esp8266Image,
  esp8266ImageV2,
  filler,
  flashWith,
  KIB,
  MIB,
  tableSector,
  TWO_OTA,
  u32,
} from '../builder.ts';

const NOTHING_TOLD: DumpFacts = { sizeIsTold: false, placeIsTold: false };

/** Chip ids and places of bootloaders, from ESP-IDF's esp_app_format.h and Kconfig: apart from those of src. */
const FAMILIES = [
  ['esp32', 0, 0x1000],
  ['esp32s2', 2, 0x1000],
  ['esp32c3', 5, 0],
  ['esp32s3', 9, 0],
  ['esp32c2', 12, 0],
  ['esp32c6', 13, 0],
  ['esp32h2', 16, 0],
  ['esp32p4', 18, 0x2000],
  ['esp32c61', 20, 0],
  ['esp32c5', 23, 0x2000],
] as const;

const eboot = () => esp8266Image([{ address: 0x4010f000, data: filler(200) }]);

function espIdf(chipId: number, bootOffset: number, sizeBytes = 4 * MIB): Buffer {
  return flashWith(sizeBytes, [
    [bootOffset, esp32Bootloader(chipId)],
    [0x8000, tableSector(TWO_OTA)],
    [0x10000, esp32App({}, { chipId })],
  ]);
}

async function refusal(image: Buffer, facts = NOTHING_TOLD): Promise<{ what: string; hint: string }> {
  const verdict = await recognizeDump(image, facts);
  assert.ok(!verdict.isFlash, 'taken for a flash');
  assert.notEqual(verdict.hint, '');
  return verdict;
}

describe('which chip a dump is of', () => {
  for (const [family, chipId, at] of FAMILIES) {
    test(family, async () => {
      const verdict = await recognizeDump(espIdf(chipId, at), NOTHING_TOLD);
      assert.deepEqual(verdict, { isFlash: true, family, remarks: [] });
    });
  }

  test('ESP8266: eboot and an app, one image of the SDK, Espressif’s OTA boot loader', async () => {
    const app = esp8266Image([{ address: 0x40100000, data: filler(2000) }]);
    const ota = esp8266ImageV2(filler(3000), [{ address: 0x3ffe8000, data: filler(100) }]);
    for (const parts of [
      [
        [0, eboot()],
        [0x1000, app],
      ],
      [[0, app]],
      [
        [0, esp8266Image([{ address: 0x40100000, data: filler(1000) }])],
        [0x1000, ota],
      ],
    ] as const) {
      const verdict = await recognizeDump(flashWith(MIB, parts), NOTHING_TOLD);
      assert.deepEqual(verdict, { isFlash: true, family: 'esp8266', remarks: [] });
    }
  });

  for (const family of ['esp8266', 'esp32', 'esp32c3', 'esp32s3', 'esp32p4', 'esp32c6'] as const) {
    test(`what the simulator makes of an ${family}`, async () => {
      const image = demoImage({ family, sizeBytes: 4 * MIB, appBytes: 100 * KIB });
      const verdict = await recognizeDump(image, NOTHING_TOLD);
      assert.ok(verdict.isFlash && verdict.family === family, JSON.stringify(verdict));
    });
  }

  test('an encrypted flash tells nothing, and is one all the same', async () => {
    const verdict = await recognizeDump(filler(4 * MIB, 99), NOTHING_TOLD);
    assert.ok(verdict.isFlash);
    assert.equal(verdict.family, null);
    assert.match(verdict.remarks.join(), /encrypted/);
  });

  test('two bootloaders: the one with a right checksum; with two of those nothing is said', async () => {
    const both = flashWith(4 * MIB, [
      [0, esp32Bootloader(5)],
      [0x2000, esp32Bootloader(18)],
    ]);
    assert.equal(await chipFamily(both), null);
    both[100] = (both[100] ?? 0) ^ 1;
    assert.equal(await chipFamily(both), 'esp32p4');
  });

  test('a bootloader without a table is told of', async () => {
    const verdict = await recognizeDump(flashWith(MIB, [[0x1000, esp32Bootloader()]]), NOTHING_TOLD);
    assert.ok(verdict.isFlash);
    assert.deepEqual(verdict.remarks, ['There is a bootloader in it but no partition table']);
  });
});

describe('what is no flash', () => {
  /** Long enough that only the kind tells. */
  const at0 = (bytes: Buffer, sizeBytes = MIB) => flashWith(sizeBytes, [[0, bytes]]);

  for (const [what, image, message] of [
    ['nothing', Buffer.alloc(0), /^is empty$/],
    ['all ff', Buffer.alloc(MIB, 0xff), /^holds nothing: all its bytes are ff$/],
    ['all 00', Buffer.alloc(MIB), /^holds nothing: all its bytes are 00$/],
    ['an ELF', at0(Buffer.from('7f454c4601010100', 'hex')), /ELF/],
    ['a UF2', at0(Buffer.concat([Buffer.from('UF2\n'), u32(0x9e5d5157)])), /UF2/],
    ['a ZIP', at0(Buffer.from('PK\x03\x04')), /ZIP/],
    ['xz', at0(Buffer.from('fd377a585a0000', 'hex')), /xz/],
    ['zstd', at0(Buffer.from('28b52ffd00', 'hex')), /zstd/],
    ['bzip2', at0(Buffer.from('BZh91AY')), /bzip2/],
    ['gzip in gzip', at0(Buffer.from('1f8b0800', 'hex')), /gzip twice/],
    ['a web page', Buffer.from(' <!DOCTYPE html><html>…'.repeat(3000)), /^is a web page$/],
    ['a text', Buffer.from('I (31) boot: ESP-IDF v5.1\r\n'.repeat(3000)), /^is a text$/],
    ['an app alone', at0(esp32App({}, { chipId: 5 })), /^is an app alone \(thermostat 1\.2\.3\) for esp32c3/],
    ['an app of an ESP32', at0(esp32App()), /^begins with a bootloader or app for esp32, which has none/],
    ['an app, to the byte', esp32App({}, { chipId: 9 }), /^is an app alone/],
    ['a table alone', tableSector(TWO_OTA), /^is a partition table alone/],
    ['LittleFS alone', at0(Buffer.concat([Buffer.alloc(8, 1), Buffer.from('littlefs')])), /LittleFS partition alone/],
    ['no size of a flash', espIdf(5, 0).subarray(0, 3 * MIB), /^has 3145728 bytes, which no flash has$/],
    ['a byte too few', espIdf(5, 0).subarray(0, 4 * MIB - 1), /^has 4194303 bytes/],
    ['128 KiB', filler(128 * KIB), /^has 131072 bytes/],
    ['cut off', espIdf(5, 0).subarray(0, 2 * MIB), /partition table reaches to 0x310000: it is a part of a flash/],
    ['from the bootloader on', espIdf(0, 0x1000).subarray(0x1000), /^begins with a bootloader or app for esp32/],
  ] as const) {
    test(what, async () => {
      assert.match((await refusal(image)).what, message);
    });
  }

  test('an NVS partition, by the CRC of its page', async () => {
    const head = Buffer.concat([u32(0xfffffffe), u32(0), Buffer.from([0xfe]), Buffer.alloc(19, 0xff)]);
    const page = Buffer.concat([head, u32(crc32(head.subarray(4, 28), 0xffffffff))]);
    assert.match((await refusal(at0(page, 256 * KIB))).what, /^is an NVS partition alone/);
    page[28] = (page[28] ?? 0) ^ 1;
    assert.ok((await recognizeDump(at0(page, 256 * KIB), NOTHING_TOLD)).isFlash, 'what does not prove itself');
  });

  test('a partition of SPIFFS, which nothing at its beginning tells', async () => {
    const { what } = await refusal(fixtureImage('spiffs-1024-65536.bin'));
    assert.equal(what, 'is a file system alone (spiffs), a part of a flash');
  });

  test('a FAT partition', async () => {
    const sector = Buffer.alloc(512);
    Buffer.from('eb3c90', 'hex').copy(sector);
    sector.writeUInt16LE(512, 11);
    sector.writeUInt16LE(0xaa55, 510);
    assert.match((await refusal(at0(sector))).what, /^is a FAT partition alone/);
  });

  test('whoever names the place or the size is believed', async () => {
    const app = at0(esp32App({}, { chipId: 5 }));
    assert.ok((await recognizeDump(app, { sizeIsTold: false, placeIsTold: true })).isFlash);
    const cut = await recognizeDump(espIdf(5, 0).subarray(0, 2 * MIB), { sizeIsTold: true, placeIsTold: false });
    assert.ok(cut.isFlash);
    assert.match(cut.remarks.join(), /has 0x200000 bytes as told, but its partition table reaches to 0x310000/);
  });

  test('but an ELF stays one, wherever it is put', async () => {
    const verdict = await notTheBeginning(Buffer.from('7f454c46', 'hex'), { sizeIsTold: true, placeIsTold: true });
    assert.ok(verdict !== null && !verdict.isFlash);
  });

  test('law: nothing throws, whatever the bytes, and no text that is shown can steer a terminal', async () => {
    const start = fc.constantFrom(
      Buffer.alloc(0),
      esp32App({ project: '\x1b[2J\u0007', version: '\x9b\xff' }, { chipId: 5 }),
      esp32Bootloader(5),
      tableSector(TWO_OTA),
      eboot(),
    );
    await fc.assert(
      fc.asyncProperty(start, fc.nat(9000), fc.uint8Array({ maxLength: 64 }), async (bytes, at, damage) => {
        const image = flashWith(256 * KIB, [
          [0, bytes],
          [at, Buffer.from(damage)],
        ]);
        for (const candidate of [image, image.subarray(0, at)]) {
          const verdict = await recognizeDump(candidate, NOTHING_TOLD);
          const said = verdict.isFlash ? verdict.remarks.join() : verdict.what + verdict.hint;
          assert.match(said, /^[\x20-\x7e]*$/);
        }
      }),
      { numRuns: 60 },
    );
  });
});

test('blank by comparing with itself', () => {
  assert.ok(isUniform(Buffer.from([7]), 7));
  assert.ok(!isUniform(Buffer.from([7]), 8));
  assert.ok(!isUniform(Buffer.alloc(0), 0));
  for (const at of [0, 1, 500, 999]) {
    const bytes = Buffer.alloc(1000, 0xff);
    bytes[at] = 0xfe;
    assert.ok(!isUniform(bytes, 0xff), `${at}`);
  }
});

test('sizes as options take them', () => {
  assert.deepEqual([256 * KIB, 4 * MIB].map(sizeText), ['256K', '4M']);
});
