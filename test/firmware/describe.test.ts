import assert from 'node:assert/strict';
import { createCipheriv } from 'node:crypto';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { describeFirmware } from '../../src/firmware/index.ts';
import { demoImage } from '../../src/simulator/images.ts';
import {
  esp32App,
  esp32Bootloader,
  esp32Image,
  esp8266Image,
  esp8266ImageV2,
  filler,
  flashWith,
  KIB,
  MIB,
  otaRecord,
  readerOf,
  tableSector,
  TWO_OTA,
  u16,
  u32,
  wledDescription,
  type Row,
} from './builder.ts';
import * as nvs from './nvs-builder.ts';

type Parts = readonly (readonly [offset: number, bytes: Buffer])[];

async function summaryOf(flash: Buffer, family = 'esp32') {
  const reader = readerOf(flash);
  const summary = await describeFirmware(reader.read, flash.length, family);
  assert.ok(reader.bytes <= 6 * MIB, `${reader.bytes} bytes read`);
  assert.ok(summary.partitions.length <= 200);
  assert.ok(summary.problems.length <= 200);
  assert.deepEqual(JSON.parse(JSON.stringify(summary)), summary);
  return summary;
}
const summary = (parts: Parts, family?: string, sizeBytes = 4 * MIB) => summaryOf(flashWith(sizeBytes, parts), family);

const BASE: Parts = [
  [0x1000, esp32Bootloader()],
  [0x8000, tableSector(TWO_OTA)],
];
const FACTORY = [0x10000, esp32App({ version: '1.0.0' })] as const;
const OTA_0 = [0x110000, esp32App({ version: '2.0.0' })] as const;
const OTA_1 = [0x210000, esp32App({ version: '3.0.0' })] as const;

describe('describeFirmware on the ESP32 family', () => {
  test('tells firmware, bootloader and partitions', async () => {
    const { partitions, ...rest } = await summary([...BASE, FACTORY]);
    assert.deepEqual(rest, {
      firmware: { name: 'thermostat', version: '1.0.0', sdk: 'ESP-IDF v5.1.4' },
      problems: [],
      tableOffset: 0x8000,
      activePartition: 'factory',
      app: {
        secureVersion: 7,
        version: '1.0.0',
        project: 'thermostat',
        built: 'Mar 14 2024 10:11:12',
        idfVersion: 'v5.1.4',
        elfSha256: 'ab'.repeat(32),
      },
      bootloader: { version: 1, idfVersion: 'v5.1.4', built: 'Mar 14 2024 10:10:00' },
    });
    assert.deepEqual(partitions[3], {
      name: 'factory',
      type: 'app',
      subtype: 'factory',
      offset: 0x10000,
      sizeBytes: 0x100000,
      encrypted: false,
    });
    assert.equal(partitions.length, TWO_OTA.length);
  });

  test('finds the bootloader of each family where its ROM looks', async () => {
    const offsets: [string, number, number][] = [
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
      ['esp32h4', 28, 0x2000],
      ['esp32s31', 32, 0x2000],
    ];
    for (const [family, chipId, offset] of offsets) {
      const parts: Parts = [
        [offset, esp32Bootloader(chipId)],
        [0x8000, tableSector(TWO_OTA)],
        [0x10000, esp32App({}, { chipId })],
      ];
      const { firmware, bootloader, problems } = await summary(parts, family);
      assert.equal(firmware?.name, 'thermostat', family);
      assert.equal(bootloader?.idfVersion, 'v5.1.4', family);
      assert.deepEqual(problems, []);
    }
  });

  test('follows otadata to the slot that boots', async () => {
    const slots: Parts = [...BASE, FACTORY, OTA_0, OTA_1];
    const version = async (first: Buffer, second: Buffer) => {
      const { firmware, problems } = await summary([...slots, [0xd000, first], [0xe000, second]]);
      assert.deepEqual(problems, []);
      return firmware?.version;
    };
    const blank = Buffer.alloc(32, 0xff);
    assert.equal(await version(blank, blank), '1.0.0');
    assert.equal(await version(otaRecord(1), blank), '2.0.0');
    assert.equal(await version(otaRecord(1), otaRecord(2)), '3.0.0');
    assert.equal(await version(otaRecord(3), otaRecord(2)), '2.0.0');
    assert.equal(await version(otaRecord(1), otaRecord(2, 2, 0)), '2.0.0');
    assert.equal(await version(otaRecord(1, 4), otaRecord(2, 3)), '1.0.0');
  });

  test('what the bootloader would pass over is passed over, and said', async () => {
    const blank = await summary([...BASE, FACTORY, [0xd000, otaRecord(1)]]);
    assert.equal(blank.activePartition, 'factory');
    assert.deepEqual(blank.problems, ['"ota_0" should boot but holds no app; "factory" boots instead']);

    const both = await summary([...BASE, FACTORY, [0xd000, otaRecord(2)]]);
    assert.deepEqual(both.problems, ['"ota_1" should boot but holds no app; "factory" boots instead']);

    const cut = Buffer.from(OTA_0[1]);
    u32(0x7fffffff).copy(cut, 28);
    const broken = await summary([...BASE, FACTORY, [0x110000, cut], [0xd000, otaRecord(1)]]);
    assert.equal(broken.firmware?.version, '1.0.0');
    assert.deepEqual(broken.problems, [
      'The image at 0x110000 is broken: segment 0 of 0x7fffffff bytes ends beyond the end',
    ]);
  });

  test('an app that is longer than its partition does not boot', async () => {
    const rows = TWO_OTA.map((row) => (row.label === 'factory' ? { ...row, size: 0x1000 } : row));
    const { firmware, problems } = await summary([[0x8000, tableSector(rows)], FACTORY]);
    assert.equal(firmware, null);
    assert.equal(problems.length, 2);
    assert.match(problems[0] ?? '', /^The image at 0x10000 is broken/);
    assert.equal(problems[1], 'No app partition holds an app that can boot');
  });

  test('an image for another chip is a problem', async () => {
    const { problems } = await summary([...BASE, [0x10000, esp32App({}, { chipId: 9 })]]);
    assert.deepEqual(problems, ['The image at 0x10000 is built for esp32s3, but the chip is esp32']);
  });

  test('a table that moved with a bigger bootloader', async () => {
    for (const offset of [0x9000, 0xa000, 0x10000, 0x20000]) {
      const rows: Row[] = [{ label: 'factory', type: 0, subtype: 0, offset: 0x40000, size: 0x100000 }];
      const { firmware, tableOffset, problems } = await summary([
        [0x1000, esp32Bootloader()],
        [offset, tableSector(rows)],
        [0x40000, esp32App()],
      ]);
      assert.equal(tableOffset, offset);
      assert.equal(firmware?.name, 'thermostat');
      assert.deepEqual(problems, []);
    }
  });

  // The second is what Tasmota's fork of the library is called; both give the library's version beside it.
  for (const project of ['arduino-lib-builder', 'esp32-arduino-lib-builder']) {
    test(`the project name ${project} is only the library’s and gives way to what the app is`, async () => {
      const texts = { project, version: 'esp-idf: v4.4.6 3572900934', idf: 'v4.4.6-dirty' };
      const named = async (extra: Buffer) => (await summary([...BASE, [0x10000, esp32App(texts, { extra })]])).firmware;
      const sdk = 'ESP-IDF v4.4.6-dirty';
      const marker = Buffer.concat([u32(0x5aa55aa5), u32(0xffffffff), u32(0xa55aa55a)]);
      const cases: [extra: Buffer, name: string, version: string | null][] = [
        [Buffer.alloc(0), 'Arduino app', null],
        [Buffer.concat([marker, Buffer.from('Tasmota %s')]), 'Tasmota', null],
        [Buffer.from('|Upgrade|Upload|OtaUrl|SerialLog|Restart|\0Tasmota %s\0'), 'Tasmota', null],
        [wledDescription('16.0.1', 'ESP32-C3'), 'WLED', '16.0.1'],
        [Buffer.from('ESPHome version 2024.6.0 compiled on %s'), 'ESPHome', '2024.6.0'],
      ];
      for (const [extra, name, version] of cases) assert.deepEqual(await named(extra), { name, version, sdk });
    });
  }

  test("Tasmota's version comes out of its settings in NVS, and out of nothing else", async () => {
    const texts = { project: 'esp32-arduino-lib-builder', version: 'esp-idf: v4.4.6 3572900934', idf: 'v4.4.6' };
    const extra = Buffer.from('|Upgrade|Upload|OtaUrl|SerialLog|Restart|\0Tasmota %s\0');
    const version = async (nvsPage: Buffer, app = esp32App(texts, { extra })) => {
      const { firmware } = await summary([...BASE, [0x10000, app], [0x9000, nvsPage]]);
      return firmware?.version;
    };
    const settings = (holder: number, sizeBytes: number, saves: number) =>
      Buffer.concat([u16(holder), u16(sizeBytes), u32(saves), u32(0x0e060001), filler(1500)]);
    const stored = (blob: Buffer, space = 'main', key = 'Settings') =>
      nvs.page([
        ...nvs.namespace(1, space),
        ...nvs.chunk(1, key, 0, blob),
        ...nvs.blobIndex(1, key, blob.length, 1, 0),
      ]);
    const real = settings(4617, 4096, 12);
    assert.equal(await version(stored(real)), '14.6.0.1');
    for (const [what, bytes] of [
      ['blank', Buffer.alloc(0)],
      ['no NVS', filler(4096)],
      ['another namespace', stored(real, 'upg')],
      ['another key', stored(real, 'main', 'settings')],
      ['a text', nvs.page([...nvs.namespace(1, 'main'), ...nvs.string(1, 'Settings', 'Tasmota 14.6.0')])],
      ['another holder', stored(settings(4618, 4096, 12))],
      ['a size that no settings have', stored(settings(4617, 4097, 12))],
      ['never saved', stored(settings(4617, 4096, 0xffffffff))],
      ['cut short', stored(real.subarray(0, 12))],
    ] as const) {
      assert.equal(await version(bytes), null, what);
    }
    // Left over from before: the app that is there now is another one.
    assert.equal(await version(stored(real), esp32App({ project: 'thermostat', version: '1.0' })), '1.0');
  });

  test('an app without a description is recognized by its texts, or not named at all', async () => {
    const app = (text: string) =>
      esp32Image([{ address: 0x3f400020, data: Buffer.concat([filler(300), Buffer.from(text)]) }]);
    const of = async (text: string) => (await summary([...BASE, [0x10000, app(text)]])).firmware;
    assert.deepEqual(await of('\0MicroPython v1.11-47-g1a51fc9dd on 2019-06-18; ESP32 module'), {
      name: 'MicroPython',
      version: 'v1.11-47-g1a51fc9dd',
      sdk: null,
    });
    assert.equal(await of('nothing'), null);
  });

  test("the name of an ESPHome node is no firmware's name", async () => {
    const extra = Buffer.from('\0_esphomelib\0esphome.ota\0');
    const { firmware } = await summary([
      ...BASE,
      [0x10000, esp32App({ project: 'kitchen', version: '2025.8.3', idf: '5.4.2' }, { extra })],
    ]);
    assert.deepEqual(firmware, { name: 'ESPHome', version: '2025.8.3', sdk: 'ESP-IDF 5.4.2' });
  });

  test('the app is searched to its end, also beyond the first megabyte', async () => {
    const extra = Buffer.concat([filler(2 * MIB), Buffer.from('\0MicroPython v1.22.1 on 2024-01-05\0')]);
    const rows: Row[] = [{ label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0x300000 }];
    const { firmware } = await summary([
      [0x8000, tableSector(rows)],
      [0x10000, esp32App({ project: 'micropython', version: 'v0.1' }, { extra })],
    ]);
    assert.deepEqual([firmware?.name, firmware?.version], ['MicroPython', 'v1.22.1']);
  });

  test('an empty project name', async () => {
    const { firmware } = await summary([...BASE, [0x10000, esp32App({ project: '', version: '', idf: '' })]]);
    assert.deepEqual(firmware, { name: 'unknown', version: null, sdk: null });
  });

  test('a damaged table is described as far as it goes', async () => {
    const { firmware, problems, partitions } = await summary([
      [0x8000, tableSector(TWO_OTA, { md5: Buffer.alloc(16) })],
      FACTORY,
    ]);
    assert.equal(partitions.length, 6);
    assert.equal(firmware?.name, 'thermostat');
    assert.deepEqual(problems, ['The partition table at 0x8000 does not match its own MD5']);
  });

  test('otadata too small to be used', async () => {
    const rows = TWO_OTA.map((row) => (row.label === 'otadata' ? { ...row, size: 0x1000 } : row));
    const { problems, activePartition } = await summary([
      [0x8000, tableSector(rows)],
      FACTORY,
      OTA_0,
      [0xd000, otaRecord(1)],
    ]);
    assert.deepEqual(problems, ['"otadata" is smaller than the 0x2000 bytes that otadata needs']);
    assert.equal(activePartition, 'factory');
  });

  test('an image without a table (Zephyr, NuttX) is no more than that', async () => {
    const { firmware, partitions, problems } = await summary([[0x1000, esp32Bootloader()]]);
    assert.deepEqual([firmware, partitions], [null, []]);
    assert.deepEqual(problems, ['There is an image at 0x1000 but no partition table']);
  });

  test('hostile names come out printable', async () => {
    const rows: Row[] = [{ label: '\x1b[2J\x07"', type: 0, subtype: 0, offset: 0x10000, size: 0x100000 }];
    const { firmware, partitions } = await summary([
      [0x8000, tableSector(rows)],
      [0x10000, esp32App({ project: '../../\r\n', version: '\u202e' })],
    ]);
    assert.equal(partitions[0]?.name, '\\x1b[2J\\x07"');
    assert.deepEqual(firmware, { name: '../../\\x0d\\x0a', version: '\\xe2\\x80\\xae', sdk: 'ESP-IDF v5.1.4' });
  });
});

describe('describeFirmware on ESP8266', () => {
  const app = (...texts: string[]) => [
    { address: 0x40201010, data: Buffer.concat([filler(5000), Buffer.from('\0' + texts.join('\0') + '\0')]) },
    { address: 0x3ffe8000, data: filler(700, 3) },
  ];
  const eboot = esp8266Image([{ address: 0x4010f000, data: filler(600) }]);

  test('an Arduino image: boot loader, app, settings, and the sectors of the SDK', async () => {
    const bytes = esp8266Image(app('2.2.2-dev(38a443e)', 'ESPHome version 2024.6.0 compiled on %s'));
    const { firmware, partitions, problems, activePartition } = await summary(
      [
        [0, eboot],
        [0x1000, bytes],
      ],
      'esp8266',
    );
    assert.deepEqual(firmware, { name: 'ESPHome', version: '2024.6.0', sdk: 'ESP8266 SDK 2.2.2-dev(38a443e)' });
    assert.equal(activePartition, 'app');
    assert.deepEqual(problems, []);
    assert.deepEqual(
      partitions.map(({ name, type, subtype, offset, sizeBytes }) => [name, type, subtype, offset, sizeBytes]),
      [
        ['boot', 'app', 'image_v1', 0, eboot.length],
        ['app', 'app', 'image_v1', 0x1000, bytes.length],
        ['eeprom', 'data', 'eeprom', 0x3fb000, 0x1000],
        ['rf_cal', 'data', 'rf_cal', 0x3fc000, 0x1000],
        ['system_param', 'data', 'system_param', 0x3fd000, 0x3000],
      ],
    );
  });

  test("Espressif's OTA layout: v2 images in two slots", async () => {
    const texts = 'AT version:1.7.4.0(May 11 2020 19:13:04)\x003.0.4(9532ceb)';
    const user1 = esp8266ImageV2(Buffer.concat([filler(9000), Buffer.from(`\0${texts}\0`)]), app());
    const user2 = esp8266ImageV2(filler(9000, 4), app());
    const { firmware, partitions } = await summary(
      [
        [0, eboot],
        [0x1000, user1],
        [0x101000, user2],
      ],
      'esp8266',
    );
    assert.deepEqual(firmware, { name: 'ESP-AT', version: '1.7.4.0', sdk: 'ESP8266 SDK 3.0.4(9532ceb)' });
    assert.deepEqual(
      partitions.slice(0, 3).map(({ name, subtype, offset }) => [name, subtype, offset]),
      [
        ['boot', 'image_v1', 0],
        ['app', 'image_v2', 0x1000],
        ['app2', 'image_v2', 0x101000],
      ],
    );
  });

  test('two slots: what both say, where nothing tells which one boots', async () => {
    const at = (version: string) => {
      const texts = `\0AT version:${version}(May 11 2020 19:13:04)\x003.0.4(9532ceb)\0`;
      return esp8266ImageV2(Buffer.concat([filler(9000), Buffer.from(texts)]), app());
    };
    const of = async (first: string, second: string) =>
      (
        await summary(
          [
            [0, esp8266Image([{ address: 0x40100000, data: filler(600) }])],
            [0x1000, at(first)],
            [0x101000, at(second)],
          ],
          'esp8266',
        )
      ).firmware;
    const sdk = 'ESP8266 SDK 3.0.4(9532ceb)';
    assert.deepEqual(await of('1.7.4.0', '1.7.4.0'), { name: 'ESP-AT', version: '1.7.4.0', sdk });
    assert.deepEqual(await of('1.7.4.0', '1.7.5.0'), { name: 'ESP-AT', version: null, sdk });
  });

  test('rBoot of Mongoose OS: the slot that its configuration selects', async () => {
    const slot = (version: string) => {
      const texts = ['shellies/%s/relay/%d', 'shellies/announce', 'api.shelly.cloud/', `20230913-112003/${version}`];
      return esp8266ImageV2(Buffer.concat([filler(9000), Buffer.from(`\0${texts.join('\0')}\0`)]), app());
    };
    const config = (selected: number) =>
      Buffer.concat([Buffer.from([0xe1, 1, 0, selected, 0, 2, 0, 0, 0, 0, 0, 0]), u32(0x8000), u32(0x108000), u32(0)]);
    const of = (...more: Parts) =>
      summary(
        [
          [0, esp8266Image([{ address: 0x40100000, data: filler(600) }])],
          [0x8000, slot('v1.13.0')],
          [0x108000, slot('v1.14.0-gcb84623')],
          ...more,
        ],
        'esp8266',
      );
    const second = await of([0x1000, Buffer.concat([config(1), u32(0), u32(0)])]);
    assert.deepEqual([second.firmware?.name, second.firmware?.version], ['Shelly', 'v1.14.0-gcb84623']);
    assert.equal(second.activePartition, 'app2');
    const first = await of([0x1000, Buffer.concat([config(0), u32(0), u32(0)])]);
    assert.deepEqual([first.firmware?.version, first.activePartition], ['v1.13.0', 'app']);
    assert.deepEqual((await of()).firmware, { name: 'Shelly', version: null, sdk: null });
  });

  test('behind eboot an image in the second megabyte is an update that was copied already', async () => {
    const old = esp8266Image(app('MicroPython v1.20.0 on 2023-04-26'));
    const { firmware } = await summary(
      [
        [0, eboot],
        [0x1000, esp8266Image(app('nothing'))],
        [0x101000, old],
      ],
      'esp8266',
    );
    assert.deepEqual(firmware, { name: 'Arduino app', version: null, sdk: null });
  });

  test('what looks like an image inside of another one is none', async () => {
    const inner = esp8266Image([{ address: 0x40100000, data: filler(64) }]);
    const data = filler(0x3000);
    inner.copy(data, 0x1000 - 16);
    const { partitions } = await summary([[0, esp8266Image([{ address: 0x40100000, data }])]], 'esp8266');
    assert.deepEqual(
      partitions.filter(({ type }) => type === 'app').map(({ name, offset }) => [name, offset]),
      [['app', 0]],
    );
  });

  test('an SDK app without boot loader: its texts lie outside the image', async () => {
    const irom = Buffer.from('\0NodeMCU 2.2.0.0 built on nodemcu-build.com\0Lua 5.1.4\0');
    const { firmware, partitions } = await summary(
      [
        [0, esp8266Image(app())],
        [0x10000, irom],
      ],
      'esp8266',
    );
    assert.deepEqual(firmware, { name: 'NodeMCU', version: '2.2.0.0', sdk: null });
    assert.equal(partitions[0]?.name, 'app');
  });

  test('Tasmota: the version comes from its settings', async () => {
    const marker = Buffer.concat([
      filler(100),
      u32(0x5aa55aa5),
      u32(0xffffffff),
      u32(0xa55aa55a),
      Buffer.from('Tasmota %s'),
    ]);
    const bytes = esp8266Image([{ address: 0x40201010, data: marker }], 0x20);
    const settings = (saves: number, version: number) =>
      Buffer.concat([u16(4617), u16(4096), u32(saves), u32(version), u32(0)]);
    const parts: Parts = [
      [0, esp8266Image([{ address: 0x4010f000, data: filler(600) }], 0x20)],
      [0x1000, bytes],
      [0xfb000, settings(7, 0x0e000000)],
      [0xf8000, settings(9, 0x0e020000)],
    ];
    const { firmware } = await summary(parts, 'esp8266', MIB);
    assert.deepEqual(firmware, { name: 'Tasmota', version: '14.2.0', sdk: null });
    const { firmware: without } = await summary(parts.slice(0, 2), 'esp8266', MIB);
    assert.deepEqual(without, { name: 'Tasmota', version: null, sdk: null });
  });

  test('the SDK lays out its sectors by the size in the header, 512 KB to 16 MB', async () => {
    const sizes: [number, number][] = [
      [0, 512 * KIB],
      [2, MIB],
      [3, 2 * MIB],
      [4, 4 * MIB],
      [8, 8 * MIB],
      [9, 16 * MIB],
    ];
    for (const [code, sizeBytes] of sizes) {
      const parts: Parts = [[0, esp8266Image(app(), code << 4)]];
      for (const flashBytes of [sizeBytes, 16 * MIB]) {
        const { partitions, problems } = await summary(parts, 'esp8266', flashBytes);
        const offsets = partitions.slice(1).map(({ offset }) => sizeBytes - offset);
        assert.deepEqual(offsets, [0x5000, 0x4000, 0x3000]);
        assert.deepEqual(problems, []);
      }
    }
    const small = await summary([[0, esp8266Image(app(), 0x40)]], 'esp8266', MIB);
    assert.equal(small.partitions[1]?.offset, 0xfb000);
    assert.deepEqual(small.problems, [
      'The image at 0x0 is made for 0x400000 bytes of flash, but the flash has 0x100000',
    ]);
  });

  test('ESP8266_RTOS_SDK and Sming do have a table', async () => {
    const rows: Row[] = [
      { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x6000 },
      { label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0xf0000 },
    ];
    const described = Buffer.concat([esp32App().subarray(32, 32 + 256), filler(3000)]);
    const rtosApp = esp8266Image([{ address: 0x40210010, data: described }]);
    const rtos = await summary(
      [
        [0, eboot],
        [0x8000, tableSector(rows)],
        [0x10000, rtosApp],
      ],
      'esp8266',
    );
    assert.deepEqual(rtos.firmware, { name: 'thermostat', version: '1.2.3', sdk: 'ESP8266_RTOS_SDK v5.1.4' });
    assert.deepEqual(rtos.problems, []);

    const rom0: Row = { label: 'rom0', type: 0, subtype: 0, offset: 0x2000, size: 0xf8000 };
    const sming = await summary(
      [
        [0, eboot],
        [0x2000, esp8266ImageV2(filler(800), app())],
        [0x3fa000, tableSector([rom0])],
      ],
      'esp8266',
    );
    assert.equal(sming.tableOffset, 0x3fa000);
    assert.equal(sming.activePartition, 'rom0');
    assert.deepEqual(sming.problems, []);
  });
});

describe('describeFirmware on anything', () => {
  const FAMILIES = ['esp8266', 'esp32', 'esp32s3', 'esp32c5', 'no-such-chip'];
  const nothing = {
    firmware: null,
    partitions: [],
    problems: [],
    tableOffset: null,
    activePartition: null,
    app: null,
    bootloader: null,
  };

  test('blank, zeroed and encrypted flash hold nothing', async () => {
    const plain = flashWith(4 * MIB, [...BASE, FACTORY]);
    const cipher = createCipheriv('aes-256-ctr', Buffer.alloc(32, 7), Buffer.alloc(16));
    for (const flash of [Buffer.alloc(MIB, 0xff), Buffer.alloc(MIB), Buffer.alloc(0), cipher.update(plain)]) {
      for (const family of FAMILIES) assert.deepEqual(await summaryOf(flash, family), nothing, family);
    }
  });

  test('sizes that are no sizes', async () => {
    const { read } = readerOf(Buffer.alloc(16));
    for (const size of [0, -1, NaN, Infinity, 0.5])
      assert.deepEqual(await describeFirmware(read, size, 'esp32'), nothing);
  });

  test('cut at every length that matters, it still describes what is there', async () => {
    const rows: Row[] = [{ label: 'factory', type: 0, subtype: 0, offset: 0x10000, size: 0x10000 }];
    const app = esp32App();
    const whole = flashWith(0x14000, [
      [0x1000, esp32Bootloader()],
      [0x8000, tableSector(rows)],
      [0x10000, app],
    ]);
    const cuts = new Set<number>([0x1000, 0x1018, 0x8000, 0x8040, 0x8060, 0x9000, 0x10000]);
    for (let at = 0; at < 400; at += 1) [at, 0x1000 + at, 0x8000 + at, 0x10000 + at].forEach((cut) => cuts.add(cut));
    for (let at = -40; at <= 0; at += 1) cuts.add(0x10000 + app.length + at);
    for (const cut of cuts) {
      const { firmware } = await summaryOf(Buffer.from(whole.subarray(0, cut)));
      assert.equal(
        firmware?.name,
        cut >= 0x10000 + app.length ? 'thermostat' : undefined,
        `cut at 0x${cut.toString(16)}`,
      );
    }
  });

  test('a reader that gives less than asked for does no harm', async () => {
    const flash = flashWith(4 * MIB, [...BASE, FACTORY]);
    for (const keep of [0, 1, 7, 31, 0x8010]) {
      const read = (offset: number, length: number) =>
        Promise.resolve(flash.subarray(offset, offset + Math.min(length, keep)));
      for (const family of FAMILIES) await describeFirmware(read, flash.length, family);
    }
  });

  test('a failure of the reader is passed on', async () => {
    const failure = new Error('archive-damaged');
    const flash = flashWith(4 * MIB, [...BASE, FACTORY]);
    for (let good = 0; good < 5; good += 1) {
      let reads = 0;
      const read = (offset: number, length: number) => {
        reads += 1;
        return reads > good ? Promise.reject(failure) : Promise.resolve(flash.subarray(offset, offset + length));
      };
      await assert.rejects(describeFirmware(read, flash.length, 'esp32'), failure);
    }
  });

  test('a table of 95 apps that all hold the longest of images stays within the bounds', async () => {
    const rows: Row[] = Array.from({ length: 94 }, (_, index) => {
      return { label: 'same', type: 0, subtype: 0x10 + index, offset: 0x10000, size: 0xffffffff, flags: 0xff00 };
    });
    const { problems, partitions } = await summary([
      [0x8000, tableSector(rows)],
      [0x10000, esp32Image([])],
    ]);
    assert.equal(partitions.length, 94);
    assert.equal(problems.length, 200);
  });

  test('never throws, never reads outside, never more than its bounds', async () => {
    const valid = flashWith(0x20000, [
      [0x0, esp8266Image([{ address: 0x4010f000, data: filler(600) }])],
      [0x1000, esp32Bootloader()],
      [0x8000, tableSector(TWO_OTA.map((row) => ({ ...row, offset: row.offset % 0x20000, size: row.size % 0x20000 })))],
      [0xd000, otaRecord(1)],
      [0x10000, esp32App()],
    ]);
    const place = fc.oneof(
      fc.nat(0x1ffff),
      fc.nat(0xff).map((at) => 0x8000 + at),
      fc.nat(0x3f).map((at) => 0x10000 + at),
      fc.nat(0x3f).map((at) => 0x1000 + at),
    );
    const change = fc.tuple(place, fc.constantFrom(0, 1, 0x10, 0x7f, 0x80, 0xaa, 0xe9, 0xea, 0xff));
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 12 }),
        fc.constantFrom(...FAMILIES),
        fc.nat(0x20000),
        async (changes, family, size) => {
          const flash = Buffer.from(valid);
          for (const [at, value] of changes) flash[at] = value;
          await summaryOf(flash.subarray(0, size % 2 ? size : flash.length), family);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("describeFirmware on the simulator's boards", () => {
  test('reads what another hand has built', async () => {
    for (const family of ['esp32', 'esp32s3', 'esp32c3', 'esp32c6', 'esp32p4'] as const) {
      const flash = demoImage({ family, projectName: 'kitchen', version: '4.5.6' });
      const { firmware, activePartition, problems, partitions } = await summaryOf(flash, family);
      assert.deepEqual(firmware, { name: 'kitchen', version: '4.5.6', sdk: 'ESP-IDF v5.5.1' }, family);
      assert.equal(activePartition, 'app0');
      assert.deepEqual(problems, []);
      assert.ok(partitions.some(({ name }) => name === 'nvs'));
    }
    const { firmware, problems } = await summaryOf(demoImage({ family: 'esp8266' }), 'esp8266');
    assert.deepEqual(firmware, { name: 'ESP-AT', version: '1.7.4.0', sdk: 'ESP8266 SDK 3.0.4(9532ceb)' });
    assert.deepEqual(problems, []);
  });
});
