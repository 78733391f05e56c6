import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import type { AppDescription } from '../../../src/firmware/descriptions.ts';
import { recognize, type KnownFirmware } from '../../../src/firmware/names/recognize.ts';
import { esp8266SdkVersion, RECOGNIZERS, WANTED } from '../../../src/firmware/names/recognizers.ts';
import { TextScan, WINDOW, type Findings } from '../../../src/firmware/names/scan.ts';
import { filler, KIB, MIB, u32, wledDescription } from '../builder.ts';

/** C strings amid something like code. */
function binary(...strings: (string | Buffer)[]): Buffer {
  const parts = strings.map((text, seed) =>
    Buffer.concat([filler(1000, seed + 1), Buffer.from('\0'), Buffer.from(text), Buffer.from('\0')]),
  );
  return Buffer.concat([...parts, filler(1000, 77)]);
}

function scan(bytes: Buffer, pieceBytes = 128 * KIB): Findings {
  const scanned = new TextScan(WANTED);
  for (let at = 0; at < bytes.length; at += pieceBytes) scanned.add(bytes.subarray(at, at + pieceBytes));
  return scanned.finish(true);
}
function known(bytes: Buffer, description: Partial<AppDescription> | null = null): KnownFirmware | null {
  const blank = { project: null, version: null, idfVersion: null, built: null, elfSha256: null, secureVersion: 0 };
  return recognize(scan(bytes), description === null ? null : { ...blank, ...description });
}

const TASMOTA_MARKER = Buffer.concat([u32(0x5aa55aa5), u32(0xffffffff), u32(0xa55aa55a)]);
const TASMOTA_COMMANDS = '|WifiNoSleep|Upgrade|Upload|OtaUrl|SerialLog|Restart|Backlog|Delay|Power|';
const AT_COMMANDS = ['+CWJAP', '+CIPSTART'];
const MESHTASTIC = ['Meshtastic_%02x%02x', '\n\n//\\ E S H T /\\ S T / C\n'];
const MARAUDER = ['         ESP32 Marauder      \n', 'Firmware: Marauder'];
const SHELLY_GEN1 = ['shellies/%s/relay/%d', 'shellies/announce', 'http://api.shelly.cloud/files/firmware'];
const ESPEASY = ['ESP Easy Mega', 'ESP_Easy'];
/** apPass[65], then whatever the linker has put behind it. */
const wledVariables = (...texts: string[]) =>
  Buffer.concat([Buffer.from('wled1234'), Buffer.alloc(57), Buffer.from(texts.map((text) => `${text}\0`).join(''))]);

describe('recognize', () => {
  test('by the texts that they carry', () => {
    const cases: [name: string, version: string | null, strings: (string | Buffer)[]][] = [
      ['ESPHome', '2024.6.0', ['ESPHome version 2024.6.0 compiled on %s']],
      ['ESPHome', '2025.10.0-dev', ['\x1b[0;32m[I]ESPHome version 2025.10.0-dev compiled on %s']],
      ['ESPHome', '1.14.3', ['esphome version 1.14.3 compiled on %s']],
      // Built without logs: what its API says.
      ['ESPHome', '2025.8.3', ['kitchen', ' (esphome v2025.8.3)']],
      ['ESPHome', null, ['_esphomelib', 'esphome.ota']],
      ['MicroPython', 'v1.22.1', ['MicroPython v1.22.1 on 2024-01-05; ESP module with ESP8266']],
      ['MicroPython', 'v1.9.4-8-ga9a3caad0', ['MicroPython v1.9.4-8-ga9a3caad0 on 2018-05-11; ESP module']],
      [
        'MicroPython',
        'v1.26.0-preview.527.g593ae04ee.dirty',
        [
          'MicroPython-1.26.0-preview-xtensa-IDFv5.4.2-with-newlib4.3.0',
          '3.4.0; MicroPython v1.26.0-preview.527.g593ae04ee.dirty on 2025-10-04',
        ],
      ],
      // A fork whose tags are no versions of MicroPython.
      [
        'MicroPython',
        '1.18.0',
        ['MicroPython-1.18.0-xtensa-IDF8c8f700-with-newlib3.3.0', 'MicroPython afceb56-dirty on 2022-05-04; TiDAL'],
      ],
      ['CircuitPython', '9.1.0', ['Adafruit CircuitPython 9.1.0 on 2024-07-10; S2Mini with ESP32S2-S2FN4R2']],
      ['NodeMCU', '3.0.0.0', ['NodeMCU 3.0.0.0 built on nodemcu-build.com', 'Lua 5.1.4']],
      ['NodeMCU', '1.2.0', ['NodeMCU 1.2.0', 'Lua 5.1.4']],
      ['NodeMCU', null, ['\nNodeMCU custom build by frightanic.com\n', ' powered by Lua 5.1.4 on SDK ']],
      ['ESP-AT', '1.7.4.0', ['AT version:1.7.4.0(May 11 2020 19:13:04)']],
      ['ESP-AT', '1.3.0.0', ['AT version:%s', '1.3.0.0(Jul  4 2016 18:54:01)', ...AT_COMMANDS]],
      ['ESP-AT', '1.7.6', ['AT version:%d.%d.%d.%d(%s %s)', '08:00\r\nBin version(Wroom 02):1.7.6', ...AT_COMMANDS]],
      ['ESP-AT', null, ['AT version:%d.%d.%d.%d(%s %s %s)', '+CWJAP_CUR', '+CIPSTART']],
      ['Tasmota', null, [TASMOTA_MARKER, "target='_blank'>Tasmota %s by Theo Arends"]],
      // Built for RISC-V: the marker is in the code, in pieces.
      ['Tasmota', null, [TASMOTA_COMMANDS, 'Tasmota %s by Theo Arends']],
      ['WLED', '0.15.2', [wledDescription('0.15.2', 'ESP8266'), 'WLED-AP']],
      ['WLED', '16.0.1', [Buffer.from('STSW is no description'), wledDescription('16.0.1', 'ESP32-C3')]],
      ['WLED', '0.14.4', [wledVariables('0.14.4'), 'WLED-AP', 'WLED %s (build %d)', '0.5.3']],
      ['WLED', '0.15.0-b7', [wledVariables('ESP32_audioreactive', '0.15.0-b7'), 'WLED-AP']],
      // Built for RISC-V: the variables are in another order.
      ['WLED', '0.14.1', [wledVariables('x'), '0.14.1', 'WLED-AP', 'OK - WLED v%s']],
      ['WLED', null, [wledVariables('x'), '0.13.1', '0.5.3', 'WLED-AP']],
      ['WLED', null, ['OK - WLED v%s', 'WLED-%*s']],
      ['ESPEasy', 'mega-20240822', [...ESPEASY, 'ESP_Easy_mega_20240822_normal_ESP32_4M316k']],
      ['ESPEasy', 'mega-20190311', [...ESPEASY, 'ESP_Easy_mega-20190311_test_ESP8266_4M.bin']],
      ['ESPEasy', null, [...ESPEASY, 'firmware.bin']],
      [
        'Shelly',
        'v1.14.0-gcb84623',
        [...SHELLY_GEN1, '20230913-112003/v1.14.0-gcb84623', '20230913-112003/2.20.0-54-g139759ae'],
      ],
      ['Shelly', 'v1.5.7', [...SHELLY_GEN1, '20200309-104051/v1.5.7@c30657ba']],
      ['Shelly', null, [...SHELLY_GEN1, '20190808-100927/???']],
      ['Shelly', null, ['Shelly.GetDeviceInfo', 'Shelly.GetStatus', 'Shelly.CheckForUpdate', 'fwupdates.shelly.cloud']],
      ['Meshtastic', '2.7.23.0cab43f', [...MESHTASTIC, '2.7.23.0cab43f', '2.7.23']],
      ['Meshtastic', null, [...MESHTASTIC, '2.7.23']],
      ['Marauder', 'v1.14.0', [...MARAUDER, 'v1.14.0', 'v5.5.1-710-g8410210c9a']],
      ['Marauder', 'v0.9.13-rc1', [...MARAUDER, 'v0.9.13-rc1']],
      ['Marauder', null, ['/marauder3L.jpg', 'MarauderOTA']],
    ];
    for (const [name, version, strings] of cases) {
      assert.deepEqual(known(binary(...strings)), { name, version }, strings.join('|'));
    }
    const tested = new Set(cases.map(([name]) => name));
    for (const { name } of RECOGNIZERS) assert.ok(tested.has(name), `${name} has no case`);
  });

  test('half a sign is none', () => {
    const cases: (string | Buffer)[][] = [
      [],
      ['ESPHome version %s'],
      ['ESPHome'],
      [' (esphome v%s)'],
      // A client that looks for nodes.
      ['_esphomelib', '_esphomelib._tcp.local'],
      ['MicroPython'],
      ['MicroPython v1.22.1 is supported'],
      ['MicroPython-1.18.0.tar.gz'],
      ['NodeMCU 1.0 (ESP-12E Module)', 'Lua 5.1.4'],
      ['NodeMCU 3.0.0.0'],
      ['NodeMCU custom build by frightanic.com'],
      ['AT version:%s', 'AT+GMR'],
      ['1.3.0.0(Jul 14 2016 18:54:01)'],
      // The driver of a modem with ESP-AT.
      ['AT version:', 'AT+CWJAP="%s","%s"', 'AT+CIPSTART="TCP","%s",%d'],
      ['AT version:%d.%d.%d.%d(%s)', '+CIPSTART'],
      // A page that links to it, and a client that configures one.
      ["<a href='https://tasmota.github.io'>also works with Tasmota devices</a>"],
      ['Tasmota %s', 'Upgrade', 'OtaUrl'],
      [TASMOTA_MARKER],
      [TASMOTA_COMMANDS],
      // ESPHome's effect, a Home Assistant panel, an app that joins WLED's access point.
      ['WLED', 'wled'],
      ['WLED-AP', 'WLED'],
      [wledDescription('0.15.2', 'ESP8266', 1)],
      [wledDescription('no version at all', 'ESP8266')],
      [wledDescription('0.15.2', 'ESP8266').subarray(0, 100)],
      ['ESP_Easy_mega_20240822_normal_ESP32_4M316k'],
      ['<a href="https://github.com/letscontrolit/ESPEasy">ESP Easy Mega</a>'],
      // A power meter that is asked by HTTP.
      ['/rpc/Shelly.GetStatus', '/rpc/Shelly.GetDeviceInfo', '/rpc/Shelly.CheckForUpdate', 'shelly.cloud'],
      ['shellies/shelly1-AABBCC/relay/0', '20230913-112003/v1.14.0-gcb84623'],
      // Mongoose OS, but another app.
      ['20210201-125849/v0.1.1-4-g45369a9-develop', '20210201-125849/2.19.0-ge456939-dirty'],
      ['Meshtastic', '2.7.23.0cab43f', 'mqtt.meshtastic.org'],
      ['ESP32 Marauder', 'v1.14.0'],
    ];
    for (const strings of cases) assert.equal(known(binary(...strings)), null, strings.join('|'));
  });

  test('a version that is cut off, or one of two, is none; the name stays', () => {
    const cases: [name: string, strings: (string | Buffer)[]][] = [
      ['ESPHome', ['ESPHome version 2024.6.0 compiled on %s', 'ESPHome version 2024.7.0 compiled on %s']],
      ['ESPEasy', [...ESPEASY, 'ESP_Easy_mega_2024']],
      ['ESPEasy', [...ESPEASY, 'ESP_Easy_mega_20240822_normal', 'ESP_Easy_mega_20230623_normal']],
      ['WLED', ['WLED-AP', 'WLED-%*s', wledVariables('0.14')]],
      ['WLED', ['WLED-AP', 'WLED-%*s', '0.14.4', '0.14.3']],
      ['Meshtastic', [...MESHTASTIC, '2.7.23.0cab4']],
      ['Meshtastic', [...MESHTASTIC, '2.7.23.0cab43f', '2.7.24.0cab43f']],
      ['Marauder', [...MARAUDER, 'v1.14']],
      ['Marauder', [...MARAUDER, 'v1.14.0', 'v1.13.0']],
      // A text that ends in it: compilers share the ends of strings.
      ['Marauder', [...MARAUDER, 'v1.14.0', 'library v1.13.0']],
      ['Shelly', [...SHELLY_GEN1, '20230913-112003/v1.14.0-gcb84623', '20230913-112004/v1.13.0-gcb84623']],
      ['ESP-AT', ['AT version:%s', ...AT_COMMANDS, 'Bin version(Wroom 02):1.']],
    ];
    for (const [name, strings] of cases) {
      assert.deepEqual(known(binary(...strings)), { name, version: null }, strings.join('|'));
    }
  });

  test('what stands alone is trusted only if all of the app was seen', () => {
    const scanned = new TextScan(WANTED);
    scanned.add(binary(...MARAUDER, 'v1.14.0'));
    assert.deepEqual(recognize(scanned.finish(false), null), { name: 'Marauder', version: null });
    const many = Array.from({ length: 600 }, (_, patch) => `7.7.${patch}`);
    assert.equal(known(binary(...MARAUDER, 'v1.14.0', many.join('\0')))?.version, null);
  });

  test("ESP-IDF's own version is not taken for the app's", () => {
    const bytes = binary(...MARAUDER, 'v4.4.5', 'v1.0.0');
    assert.equal(known(bytes)?.version, null);
    assert.equal(known(bytes, { idfVersion: 'v4.4.5' })?.version, 'v1.0.0');
    assert.equal(known(binary(...MARAUDER, 'v4.4.5'), { idfVersion: 'v4.4.5' })?.version, null);
  });

  test('the description of the app helps where it speaks of that firmware', () => {
    const at = binary('AT version:%d.%d.%d.%d%s(%s)', ...AT_COMMANDS);
    const version = 'v4.0.0.0-71-g05ade88d-dirty';
    assert.equal(known(at, { project: 'esp-at', version })?.version, version);
    assert.equal(known(at, { project: 'my-modem', version })?.version, null);
    const node = binary('_esphomelib', 'esphome.ota');
    assert.equal(known(node, { project: 'kitchen', version: '2025.8.3' })?.version, '2025.8.3');
    assert.equal(known(node, { project: 'kitchen', version: 'v1.0-dirty' })?.version, null);
    // A fork's tag, and not MicroPython's.
    const python = binary('MicroPython-1.18.0-xtensa-IDF8c8f700-with-newlib3.3.0');
    assert.equal(known(python, { project: 'micropython', version: 'v0.1.1' })?.version, '1.18.0');
  });

  test('two that are proven at once are none, unless one is known to bear the signs of the other', () => {
    assert.equal(known(binary(TASMOTA_MARKER, TASMOTA_COMMANDS, 'Tasmota', ...MARAUDER)), null);
    assert.equal(known(binary(...MESHTASTIC, 'MicroPython v1.22.1 on 2024-01-05')), null);
    const bytes = binary(TASMOTA_MARKER, 'Tasmota', 'ESPHome version 2024.6.0 compiled on %s');
    assert.deepEqual(known(bytes), { name: 'ESPHome', version: '2024.6.0' });
  });

  test('says the same whatever the pieces are in which the app comes', () => {
    const strings = [
      TASMOTA_COMMANDS,
      'Tasmota',
      'ESPHome version 2024.6.0 compiled on %s',
      '2.2.2-dev(38a443e)',
      ...MARAUDER,
    ];
    const bytes = binary(...strings, wledDescription('0.15.2', 'ESP8266'), 'v1.14.0');
    const all = scan(bytes, bytes.length);
    assert.deepEqual(all.standalone, ['2.2.2-dev(38a443e)', '0.15.2', 'v1.14.0']);
    const versions = (findings: Findings) => WANTED.versionMarks.map((mark) => findings.versionsOf(mark));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 * WINDOW }), (pieceBytes) => {
        const pieces = scan(bytes, pieceBytes);
        assert.deepEqual(new Set(pieces.marks), new Set(all.marks));
        assert.deepEqual(pieces.standalone, all.standalone);
        assert.deepEqual(versions(pieces), versions(all));
      }),
      { numRuns: 60 },
    );
  });

  test('cut at every byte, it never says more than the whole', () => {
    const bytes = binary(...MESHTASTIC, '2.7.23.0cab43f').subarray(0, -1000);
    for (let length = 0; length <= bytes.length; length += 1) {
      const found = known(bytes.subarray(0, length));
      if (found === null) continue;
      assert.equal(found.name, 'Meshtastic');
      assert.ok(found.version === null || found.version === '2.7.23.0cab43f', `${length}: ${found.version}`);
    }
    assert.equal(known(bytes)?.version, '2.7.23.0cab43f');
  });

  test('a megabyte of repeated beginnings takes no time that grows with its square', () => {
    for (const text of [
      'ESPHome version 1.1.1',
      ' (esphome v1.1.1',
      'MicroPython v1.1',
      'AT version:',
      '1.1.1.1(Jan ',
      'NodeMCU 1.1.1.1.',
      '\0' + '1.1.1(',
      '/1.1.1.1' + 'x'.repeat(40),
      'STSW',
      'WLED %s (WLED',
      'wled1234' + '\0'.repeat(57),
      '\0ESP_Easy_mega_20240822_',
    ])
      assert.equal(known(Buffer.alloc(MIB, text, 'latin1')), null);
    // Nor does one that says the same thirty thousand times want to be understood.
    assert.equal(known(Buffer.alloc(MIB, 'ESPHome version 2024.6.0 compiled on')), null);
  });

  test('a version that stands in an app more often than it is read is none', () => {
    const text = Array.from({ length: 2000 }, () => 'ESPHome version %s').join('\0');
    const bytes = binary(text, 'ESPHome version 2024.6.0 compiled on', '_esphomelib', 'esphome.ota');
    assert.deepEqual(known(bytes), { name: 'ESPHome', version: null });
  });

  test('never throws', () => {
    const words = [
      ...WANTED.marks,
      ...WANTED.versionMarks.map(({ text }) => text),
      '9',
      '.',
      ' compiled on',
      '\0',
      '(',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words)), fc.integer({ min: 1, max: 64 }), (parts, pieceBytes) => {
        const findings = scan(Buffer.from(parts.join(''), 'latin1'), pieceBytes);
        recognize(findings, null);
        esp8266SdkVersion(findings);
      }),
    );
  });
});

describe('the table', () => {
  test('every mark fits into what a piece leaves for the next one', () => {
    for (const text of [...WANTED.marks, ...WANTED.versionMarks.map((mark) => mark.text)]) {
      assert.ok(text.length >= 4 && text.length < WINDOW, text);
    }
  });

  test('no sign can be met by fewer than two texts', () => {
    for (const { name, signs } of RECOGNIZERS) {
      for (const { marks, wanted } of signs) assert.ok(wanted >= 2 && wanted <= marks.length, name);
    }
  });
});

describe('esp8266SdkVersion', () => {
  test('takes the one version with a commit, and nothing when in doubt', () => {
    const of = (...strings: string[]) => esp8266SdkVersion(scan(binary(...strings)));
    assert.equal(of('2.2.2-dev(38a443e)'), '2.2.2-dev(38a443e)');
    assert.equal(of('1.5.4.1(39cb9a32)'), '1.5.4.1(39cb9a32)');
    assert.equal(of('2.0.0(656edbf)', '2.0.0(656edbf)'), '2.0.0(656edbf)');
    assert.equal(of('2.0.0(656edbf)', '3.0.5(b29dcd3)'), null);
    assert.equal(of('v2.0.0(656edbf) x'), null);
    assert.equal(of(), null);
  });
});
