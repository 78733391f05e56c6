import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import fc from 'fast-check';

import { recognizeEsp8266Sdk, recognizeFirmware } from '../../src/firmware/well-known.ts';
import { filler, MIB, u32, wledDescription } from './builder.ts';

/** C strings amid something like code. */
function binary(...strings: (string | Buffer)[]): Buffer {
  const parts = strings.map((text, seed) =>
    Buffer.concat([filler(1000, seed + 1), Buffer.from('\0'), Buffer.from(text), Buffer.from('\0')]),
  );
  return Buffer.concat([...parts, filler(1000, 77)]);
}
const TASMOTA_MARKER = Buffer.concat([u32(0x5aa55aa5), u32(0xffffffff), u32(0xa55aa55a)]);
const TASMOTA_COMMANDS = '|WifiNoSleep|Upgrade|Upload|OtaUrl|SerialLog|Restart|Backlog|Delay|Power|';

describe('recognizeFirmware', () => {
  test('by the version texts that they carry', () => {
    const cases: [string, string | null, (string | Buffer)[]][] = [
      ['ESPHome', '2024.6.0', ['ESPHome version 2024.6.0 compiled on %s']],
      ['ESPHome', '2025.10.0-dev', ['\x1b[0;32m[I]ESPHome version 2025.10.0-dev compiled on %s']],
      ['ESPHome', '1.14.3', ['esphome version 1.14.3 compiled on %s']],
      ['MicroPython', 'v1.22.1', ['MicroPython v1.22.1 on 2024-01-05; ESP module with ESP8266']],
      ['MicroPython', 'v1.9.4-8-ga9a3caad0', ['MicroPython v1.9.4-8-ga9a3caad0 on 2018-05-11; ESP module']],
      ['NodeMCU', '3.0.0.0', ['NodeMCU 3.0.0.0 built on nodemcu-build.com', 'Lua 5.1.4']],
      ['NodeMCU', '1.2.0', ['NodeMCU 1.2.0', 'Lua 5.1.4']],
      ['ESP-AT', '1.7.4.0', ['AT version:1.7.4.0(May 11 2020 19:13:04)']],
      ['ESP-AT', '1.3.0.0', ['AT version:%s', '1.3.0.0(Jul  4 2016 18:54:01)']],
      ['Tasmota', null, [TASMOTA_MARKER, "target='_blank'>Tasmota %s by Theo Arends"]],
      // Built for RISC-V: the marker is in the code, in pieces.
      ['Tasmota', null, [TASMOTA_COMMANDS, 'Tasmota %s by Theo Arends']],
      ['WLED', '0.15.2', [wledDescription('0.15.2', 'ESP8266'), 'WLED-AP']],
      ['WLED', '16.0.1', [Buffer.from('STSW is no description'), wledDescription('16.0.1', 'ESP32-C3')]],
      ['WLED', null, ['0.14.4', 'WLED-AP', 'wled1234', 'WLED %s (build %d)']],
      ['WLED', null, ['0.13.3', 'OK - WLED v%s', 'WLED-%*s']],
      ['ESP-AT', null, ['AT version:%d.%d.%d.%d(%s %s %s)', '+CWJAP_CUR', '+CIPSTART']],
    ];
    for (const [name, version, strings] of cases) {
      assert.deepEqual(recognizeFirmware(binary(...strings)), { name, version });
    }
  });

  test('half a sign is none', () => {
    const cases: (string | Buffer)[][] = [
      [],
      ['ESPHome version %s'],
      ['ESPHome'],
      ['MicroPython'],
      ['NodeMCU 1.0 (ESP-12E Module)', 'Lua 5.1.4'],
      ['NodeMCU 3.0.0.0'],
      ['AT version:%s', 'AT+GMR'],
      ['1.3.0.0(Jul 14 2016 18:54:01)'],
      ['Tasmota %s'],
      [TASMOTA_MARKER],
      [TASMOTA_COMMANDS],
      ['AT version:%d.%d.%d.%d(%s)', '+CIPSTART'],
      // ESPHome's effect, a Home Assistant panel, an app that joins WLED's access point.
      ['WLED', 'wled'],
      ['WLED-AP', 'WLED'],
      [wledDescription('0.15.2', 'ESP8266', 1)],
      [wledDescription('no version at all', 'ESP8266')],
      [wledDescription('0.15.2', 'ESP8266').subarray(0, 100)],
    ];
    for (const strings of cases) assert.equal(recognizeFirmware(binary(...strings)), null, String(strings));
  });

  test('ESPHome carries the marker of Tasmota and is still ESPHome', () => {
    const bytes = binary(TASMOTA_MARKER, 'Tasmota', 'ESPHome version 2024.6.0 compiled on %s');
    assert.equal(recognizeFirmware(bytes)?.name, 'ESPHome');
  });

  test('a megabyte of repeated beginnings takes no time that grows with its square', () => {
    for (const text of [
      'ESPHome version 1.1.1',
      'MicroPython v1.1',
      'AT version:',
      '1.1.1.1(Jan ',
      'NodeMCU 1.1.1.1.',
      '\0' + '1.1.1(',
      'STSW',
      'WLED %s (WLED',
    ])
      assert.equal(recognizeFirmware(Buffer.alloc(MIB, text)), null);
  });

  test('never throws', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('ESPHome version ', '9', '.', ' compiled on', '\0', '(', 'Tasmota', 'Lua 5.1')),
        (parts) => {
          recognizeFirmware(Buffer.from(parts.join('')));
          recognizeEsp8266Sdk(Buffer.from(parts.join('')));
        },
      ),
    );
  });
});

describe('recognizeEsp8266Sdk', () => {
  test('takes the one version with a commit, and nothing when in doubt', () => {
    assert.equal(recognizeEsp8266Sdk(binary('2.2.2-dev(38a443e)')), '2.2.2-dev(38a443e)');
    assert.equal(recognizeEsp8266Sdk(binary('1.5.4.1(39cb9a32)')), '1.5.4.1(39cb9a32)');
    assert.equal(recognizeEsp8266Sdk(binary('2.0.0(656edbf)', '2.0.0(656edbf)')), '2.0.0(656edbf)');
    assert.equal(recognizeEsp8266Sdk(binary('2.0.0(656edbf)', '3.0.5(b29dcd3)')), null);
    assert.equal(recognizeEsp8266Sdk(binary('v2.0.0(656edbf) x')), null);
    assert.equal(recognizeEsp8266Sdk(binary()), null);
  });
});
