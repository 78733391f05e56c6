/** Arduino's layout on ESP8266: what lies where at the end of the flash, by which of its two sizes. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { crc32 } from 'node:zlib';

import { describeFirmware } from '../../src/firmware/describe.ts';
import { readFileSystem } from '../../src/firmware/filesystems/index.ts';
import { esp8266Image, esp8266ImageV2, filler, flashWith, KIB, MIB, readerOf, u16, u32 } from './builder.ts';
import { fixtureImage } from './filesystems/fixtures.ts';

type Parts = [offset: number, bytes: Buffer][];

/** Size of the flash in a header, upper four bits. */
const CODES: ReadonlyMap<number, number> = new Map([
  [512 * KIB, 0],
  [MIB, 2],
  [2 * MIB, 3],
  [4 * MIB, 4],
  [8 * MIB, 8],
  [16 * MIB, 9],
]);

const eboot = (headerBytes: number) =>
  esp8266Image([{ address: 0x4010f000, data: filler(600) }], (CODES.get(headerBytes) ?? 0) << 4);

/** An app with `words` among its literals, as they lie behind eboot. */
function sketch(words: readonly number[], ...texts: string[]): Buffer {
  const code = Buffer.concat([filler(4000), ...words.map(u32), Buffer.from(`\0${texts.join('\0')}\0\0`)]);
  return esp8266Image([{ address: 0x40201010, data: code.subarray(0, code.length & ~3) }], 0x40);
}

async function places(parts: Parts, flashBytes = 4 * MIB): Promise<Record<string, string>> {
  const { read } = readerOf(flashWith(flashBytes, parts));
  const { partitions } = await describeFirmware(read, flashBytes, 'esp8266');
  const data = partitions.filter(({ type }) => type === 'data');
  return Object.fromEntries(
    data.map(({ name, subtype, offset, sizeBytes }) => [
      name,
      `${subtype} ${offset.toString(16)}+${sizeBytes.toString(16)}`,
    ]),
  );
}

const arduino = (words: readonly number[], headerBytes: number, ...texts: string[]): Parts => [
  [0, eboot(headerBytes)],
  [0x1000, sketch(words, ...texts)],
];

describe("Arduino's layout", () => {
  test('settings, calibration and parameters lie at -0x5000, -0x4000 and -0x3000, 512 KB to 16 MB', async () => {
    for (const sizeBytes of CODES.keys()) {
      const at = (fromEnd: number) => (sizeBytes - fromEnd).toString(16);
      assert.deepEqual(await places(arduino([], sizeBytes), 16 * MIB), {
        eeprom: `eeprom ${at(0x5000)}+1000`,
        rf_cal: `rf_cal ${at(0x4000)}+1000`,
        system_param: `system_param ${at(0x3000)}+3000`,
      });
    }
  });

  test("settings lie where the linker script has them, the SDK's sectors where the header says", async () => {
    const expected = {
      eeprom: 'eeprom fb000+1000',
      rf_cal: 'rf_cal 3fc000+1000',
      system_param: 'system_param 3fd000+3000',
    };
    // Built for 1 MB, written with `--flash-size detect` to a board with 4 MB: the address, or its offset in flash.
    for (const word of [0x402fb000, 0xfb000]) {
      assert.deepEqual(await places(arduino([word], 4 * MIB)), expected);
    }
    // The end of a file system with large blocks tells as well, and a word of the header's own size wins.
    assert.equal((await places(arduino([0x403fa000], 4 * MIB)))['eeprom'], 'eeprom 1fb000+1000');
    assert.equal((await places(arduino([0x405fb000, 0x402fb000], 4 * MIB)))['eeprom'], 'eeprom 3fb000+1000');
    // 1m512 has its file system where 512k has its settings.
    assert.equal((await places(arduino([0x4027b000, 0x402fb000], 4 * MIB)))['eeprom'], 'eeprom fb000+1000');
    // Beyond the flash it cannot be.
    assert.equal((await places(arduino([0x405fb000], MIB), MIB))['eeprom'], 'eeprom fb000+1000');
  });

  test('words that are not aligned are none', async () => {
    const [boot, [offset, app]] = arduino([], 4 * MIB) as [Parts[0], Parts[0]];
    u32(0x402fb000).copy(app, 0x802);
    assert.equal((await places([boot, [offset, app]]))['eeprom'], 'eeprom 3fb000+1000');
  });

  test('an app that finds its map at start goes by the real size', async () => {
    const table = [...CODES.keys()].map((sizeBytes) => 0x40200000 + sizeBytes - 0x5000);
    const found = await places(arduino(table, MIB), 2 * MIB);
    assert.deepEqual(
      [found['eeprom'], found['rf_cal'], found['system_param']],
      ['eeprom 1fb000+1000', 'rf_cal fc000+1000', 'system_param fd000+3000'],
    );
  });

  test("an SDK app keeps the SDK's layout, whatever its words: no eboot, or a v2 image behind it", async () => {
    const sdk = { rf_cal: 'rf_cal 3fb000+1000', phy: 'phy 3fc000+1000', system_param: 'system_param 3fd000+3000' };
    assert.deepEqual(await places([[0, sketch([0x402fb000])]]), sdk);
    const v2 = esp8266ImageV2(filler(4000), [{ address: 0x40100000, data: filler(600) }]);
    assert.deepEqual(
      await places([
        [0, eboot(4 * MIB)],
        [0x1000, v2],
      ]),
      sdk,
    );
    const otherBoot = esp8266Image([{ address: 0x40100000, data: filler(600) }]);
    assert.deepEqual(
      await places([
        [0, otherBoot],
        [0x1000, sketch([])],
      ]),
      sdk,
    );
  });
});

describe("an Arduino app's file system", () => {
  /** A superblock of littlefs in a commit: each tag is XORed with the one before, and a CRC ends it (SPEC.md). */
  const littleFs = (blockBytes: number, blocks: number) => {
    const tag = (value: number) => u32(value).reverse();
    const [name, struct, end] = [0x0ff00008, 0x20100018, 0x500ffc04];
    const commit = Buffer.concat([
      ...[u32(1), tag(~name >>> 0), Buffer.from('littlefs'), tag((name ^ struct) >>> 0)],
      ...[u32(0x00020001), u32(blockBytes), u32(blocks), u32(255), u32(0x7fffffff), u32(1022)],
      tag((struct ^ end) >>> 0),
    ]);
    // littlefs leaves out the last step of the usual CRC-32.
    return Buffer.concat([commit, u32(~crc32(commit) >>> 0)]);
  };
  const spiffs = (blockBytes: number, blocks: number) =>
    Array.from({ length: blocks }, (_, block): Buffer => {
      const bytes = Buffer.alloc(blockBytes, 0xff);
      u16(0x0429).copy(bytes, 252);
      return bytes.fill(block, 256, 300);
    });

  test('littlefs, by its superblock in either of the first two blocks (WLED on 4 MB)', async () => {
    const app = arduino([0x40500000, 0x405fb000], 4 * MIB);
    for (const at of [0x300000, 0x302000]) {
      assert.equal((await places([...app, [at, littleFs(0x2000, 125)]]))['fs'], 'littlefs 300000+fa000');
    }
  });

  test('a damaged littlefs has all the room that the script gives it, as for those who read its files', async () => {
    const app = arduino([0x405fb000], 4 * MIB);
    const rotten = littleFs(0x2000, 125);
    rotten[30] = 0;
    for (const bytes of [rotten, littleFs(0x2000, 125).subarray(0, 24)]) {
      assert.equal((await places([...app, [0x300000, bytes]]))['fs'], 'littlefs 300000+fa000');
      assert.equal(readFileSystem(flashWith(0xfa000, [[0, bytes]]))?.kind, 'littlefs');
    }
  });

  test('images of other programs, in the blocks of the script and in no others', async () => {
    for (const [image, kind] of [
      ['littlefs-2.0-8192.bin', 'littlefs'],
      ['spiffs-esp8266-8192.bin', 'spiffs'],
      ['littlefs-2.0-4096.bin', undefined],
      ['spiffs-esp8266-4096.bin', undefined],
      ['spiffs-esp32.bin', undefined],
    ] as const) {
      const bytes = fixtureImage(image);
      const found = await places([...arduino([0x405fb000], 4 * MIB), [0x300000, bytes]]);
      assert.equal(found['fs']?.split(' ')[0], kind, image);
      if (kind !== undefined) assert.equal(readFileSystem(bytes)?.kind, kind);
    }
  });

  test('SPIFFS, by the magic of its blocks', async () => {
    const app = arduino([0x402fb000], MIB);
    const found = await places([...app, [0xeb000, Buffer.concat(spiffs(0x1000, 16))]], MIB);
    assert.equal(found['fs'], 'spiffs eb000+10000');
    const large = arduino([0x405fb000], 4 * MIB);
    assert.equal(
      (await places([...large, [0x200000, Buffer.concat(spiffs(0x2000, 8))]]))['fs'],
      'spiffs 200000+1fa000',
    );
  });

  test('is none where its size is nonsense, where it could be two, and where no script has one', async () => {
    const app = arduino([0x405fb000], 4 * MIB);
    for (const parts of [
      [[0x300000, littleFs(0x2000, 126)]],
      [[0x300000, littleFs(0x1000, 250)]],
      [
        [0x300000, littleFs(0x2000, 125)],
        [0x200000, littleFs(0x2000, 253)],
      ],
      [[0x310000, littleFs(0x2000, 50)]],
      [[0x300000, Buffer.concat(spiffs(0x2000, 3))]],
    ] as Parts[]) {
      assert.equal((await places([...app, ...parts]))['fs'], undefined);
    }
  });
});

describe("Tasmota's settings", () => {
  const texts = ['Tasmota %s', '|Upgrade|Upload|OtaUrl|SerialLog|'];
  const settings = (saves: number, version = 0x0e020000) =>
    Buffer.concat([u16(4617), u16(4096), u32(saves), u32(version), u32(0)]);

  test('rotate below the EEPROM sector of a script for 1 MB', async () => {
    const app = arduino([0x402fb000], MIB, ...texts);
    const found = await places([...app, [0xf7000, settings(5)], [0xfb000, settings(4)]], MIB);
    assert.equal(found['settings'], 'tasmota f3000+8000');
    assert.equal(found['eeprom'], 'eeprom fb000+1000');
  });

  test('lie in the first megabyte with the scripts for more', async () => {
    const app = arduino([0x405fb000], 4 * MIB, ...texts);
    const found = await places([...app, [0xf7000, settings(7)], [0xfd000, settings(6)], [0x3fb000, settings(3)]]);
    assert.equal(found['settings'], 'tasmota f6000+8000');
    assert.equal(found['eeprom'], 'eeprom 3fb000+1000');
  });

  test('the version is that of the settings saved last, wherever they lie', async () => {
    const app = arduino([0x405fb000], 4 * MIB, ...texts);
    const version = async (...parts: Parts) => {
      const { read } = readerOf(flashWith(4 * MIB, [...app, ...parts]));
      return (await describeFirmware(read, 4 * MIB, 'esp8266')).firmware?.version;
    };
    assert.equal(await version([0xf9000, settings(7, 0x0e020004)], [0x3fb000, settings(9, 0x0d000000)]), '13.0.0');
    assert.equal(await version([0xf9000, settings(7, 0x0e020004)], [0x3f6000, settings(5, 0x09010000)]), '14.2.0.4');
    assert.equal(await version([0x3f6000, settings(0, 0x09010000)]), '9.1.0');
    assert.equal(await version(), null);
    const [holder, size, saves] = [settings(5), settings(5), settings(0xffffffff)];
    holder.writeUInt16LE(4618, 0);
    size.writeUInt16LE(0x1001, 2);
    assert.equal(await version([0xf8000, holder], [0xf9000, size], [0xfa000, saves]), null);
  });

  test('are no area where there are none', async () => {
    assert.equal((await places(arduino([], 4 * MIB, ...texts)))['settings'], undefined);
  });
});
