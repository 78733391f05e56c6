/** Names, revisions and features, from words as boards in the field are known to have them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Family } from '../../../src/esp/chips/chip.ts';
import { chipByFamily, chips } from '../../../src/esp/chips/index.ts';
import { FakeRegisters } from './support.ts';

type Words = Record<number, number>;

async function described(family: Family, words: Words) {
  const registers = new FakeRegisters(Object.entries(words).map(([address, word]) => [Number(address), word]));
  const { name, revision, features } = await chipByFamily(family).describe(registers);
  assert.deepEqual(registers.writes, []);
  return `${name} v${revision.major}.${revision.minor}: ${features.join(', ')}`;
}

async function macOf(family: Family, words: Words) {
  return chipByFamily(family).readMac(new FakeRegisters(Object.entries(words).map(([a, word]) => [Number(a), word])));
}

describe('ESP8266', () => {
  const base = 0x3ff00050;

  test("the how-to's board", async () => {
    const words = { [base]: 0xa5000000, [base + 4]: 0x0200c337, [base + 8]: 0x3400b000, [base + 12]: 0x00500291 };
    assert.equal(await described('esp8266', words), 'ESP8266EX v0.0: WiFi');
    assert.equal(await macOf('esp8266', words), '50:02:91:c3:37:a5');
  });

  test('words of esptool issue 620', async () => {
    const words = { [base]: 0x12000000, [base + 4]: 0x02007681, [base + 8]: 0xf200b000, [base + 12]: 0x00840d8e };
    assert.equal(await described('esp8266', words), 'ESP8266EX v0.0: WiFi');
    assert.equal(await macOf('esp8266', words), '84:0d:8e:76:81:12');
  });

  test('makers that are only numbered', async () => {
    assert.equal(await macOf('esp8266', { [base]: 0x33000000, [base + 4]: 0x00001122 }), '18:fe:34:11:22:33');
    assert.equal(await macOf('esp8266', { [base]: 0x33000000, [base + 4]: 0xff011122 }), 'ac:d0:74:11:22:33');
    await assert.rejects(macOf('esp8266', { [base + 4]: 0x00021122 }), { code: 'chip-unsupported' });
  });

  test('bits of the flash on top of the fourth word make no MAC', async () => {
    assert.equal(await macOf('esp8266', { [base + 4]: 0x00001122, [base + 12]: 0x04000000 }), '18:fe:34:11:22:00');
  });

  // Word 0: bit 4 with flash, bit 5 up to 105 °C; word 2: bit 16; word 3: size in bits 25 to 27 (esptool).
  for (const [word0, word2, word3, expected] of [
    [0x10, 0x10000, 0, 'ESP8285N08 v0.0: WiFi, Embedded Flash 1MB'],
    [0x30, 0x10000, 0, 'ESP8285H08 v0.0: WiFi, Embedded Flash 1MB'],
    [0x10, 0, 0x04000000, 'ESP8285N16 v0.0: WiFi, Embedded Flash 2MB'],
    [0x30, 0, 0x04000000, 'ESP8285H16 v0.0: WiFi, Embedded Flash 2MB'],
    [0x20, 0x10000, 0x02000000, 'ESP8285H16 v0.0: WiFi, Embedded Flash 2MB'],
    [0x00, 0x10000, 0x06000000, 'ESP8285 v0.0: WiFi, Embedded Flash 4MB'],
    [0x10, 0, 0x0e000000, 'ESP8285 v0.0: WiFi, Embedded Flash'],
    [0x00, 0x10000, 0, 'ESP8285 v0.0: WiFi, Embedded Flash'],
    [0x20, 0, 0x0e000000, 'ESP8266EX v0.0: WiFi'],
  ] as const) {
    test(`${expected} (${word0.toString(16)} ${word2.toString(16)} ${word3.toString(16)})`, async () => {
      assert.equal(await described('esp8266', { [base]: word0, [base + 8]: word2, [base + 12]: word3 }), expected);
    });
  }
});

describe('ESP32', () => {
  const base = 0x3ff5a000;
  const date = 0x3ff6607c;

  test('words of mongoose-os issue 408', async () => {
    const words = { [base + 4]: 0xa4211598, [base + 8]: 0x002430ae, [base + 12]: 0x00008000, [base + 16]: 0x36 };
    assert.equal(await macOf('esp32', words), '30:ae:a4:21:15:98');
    assert.equal(
      await described('esp32', words),
      'ESP32-D0WDQ6 v1.0: Wi-Fi, BT, Dual Core + LP Core, Coding Scheme None',
    );
  });

  const v3 = { [base + 20]: 1 << 20, [date]: 0x96042000 };
  const v3Minor1 = { [base + 20]: (1 << 20) | (1 << 24), [date]: 0x96042000 };
  const old = { [date]: 0x16042000 };
  const pkg = (version: number, other = 0) => ({ [base + 12]: ((version & 7) << 9) | ((version >> 3) << 2) | other });
  const rev1 = 1 << 15;

  for (const [words, expected] of [
    [{ ...old, ...pkg(0) }, 'ESP32-D0WDQ6 v0.0'],
    [{ ...old, ...pkg(0, rev1 | 1) }, 'ESP32-S0WDQ6 v1.0'],
    [{ ...old, ...pkg(1, rev1) }, 'ESP32-D0WD v1.0'],
    [{ ...old, ...pkg(1, rev1 | 1) }, 'ESP32-S0WD v1.0'],
    [{ ...old, ...pkg(2, rev1) }, 'ESP32-D2WD v1.0'],
    [{ ...old, ...pkg(3, rev1) }, 'ESP32-D0WD-OEM v1.0'],
    [{ ...old, ...pkg(5, rev1) }, 'ESP32-PICO-D4 v1.0'],
    [{ ...old, ...pkg(1, rev1), [base + 20]: 1 << 20 }, 'ESP32-D0WD v2.0'],
    [{ ...v3, ...pkg(0, rev1) }, 'ESP32-D0WDQ6-V3 v3.0'],
    [{ ...v3Minor1, ...pkg(1, rev1) }, 'ESP32-D0WD-V3 v3.1'],
    [{ ...v3, ...pkg(4, rev1) }, 'ESP32-U4WDH v3.0'],
    [{ ...v3, ...pkg(5, rev1) }, 'ESP32-PICO-V3 v3.0'],
    [{ ...v3, ...pkg(6, rev1) }, 'ESP32-PICO-V3-02 v3.0'],
    [{ ...v3, ...pkg(7, rev1) }, 'ESP32-D0WDR2-V3 v3.0'],
    [{ ...v3, ...pkg(9, rev1) }, 'ESP32 (unknown package 9) v3.0'],
    // Revision bits that never occur together.
    [{ [date]: 0x96042000, ...pkg(1) }, 'ESP32-D0WD v0.0'],
  ] as const) {
    test(expected, async () => {
      assert.equal((await described('esp32', words)).split(':')[0], expected);
    });
  }

  test('every feature word', async () => {
    const all = { [base + 16]: 0x1f00, [base + 24]: 1 };
    assert.equal(
      await described('esp32', { ...v3, ...all, ...pkg(6, rev1 | (1 << 13) | (1 << 14)) }),
      'ESP32-PICO-V3-02 v3.0: Wi-Fi, BT, Dual Core + LP Core, 240MHz, Embedded Flash, Embedded PSRAM, ' +
        'Vref calibration in eFuse, BLK3 partially reserved, Coding Scheme 3/4',
    );
    assert.equal(
      await described('esp32', { ...old, ...pkg(1, (1 << 13) | (1 << 12) | 0b11), [base + 24]: 3 }),
      'ESP32-S0WD v0.0: Wi-Fi, Single Core + LP Core, 160MHz, Coding Scheme None (may contain encoding data)',
    );
  });
});

describe('chips with eFuse blocks', () => {
  const block1 = (base: number, words: Record<number, number>): Words =>
    Object.fromEntries(Object.entries(words).map(([word, value]) => [base + 0x44 + 4 * Number(word), value]));
  const s2 = 0x3f41a000;
  const s3 = 0x60007000;
  const c3 = 0x60008800;
  const c6 = 0x600b0800;
  const c5 = 0x600b4800;
  const p4 = 0x5012d000;
  const h4 = 0x600b1800;
  /** Its BLOCK1 lies 12 bytes further. */
  const s31Words = (words: Record<number, number>): Words => block1(0x2071500c, words);

  const s2Features = 'Wi-Fi, Single Core + LP Core, 240MHz';
  const s3Features = 'Wi-Fi, BT 5 (LE), Dual Core + LP Core, 240MHz';
  const c3Features = 'Wi-Fi, BT 5 (LE), Single Core, 160MHz';
  const s31Features = 'Wi-Fi 6, BT 5.4 (LE), IEEE802.15.4, Dual Core + LP Core, 300MHz';
  const c6Features = 'Wi-Fi 6, BT 5 (LE), IEEE802.15.4, Single Core + LP Core, 160MHz';

  for (const [family, words, expected] of [
    ['esp32s2', {}, `ESP32-S2 v0.0: ${s2Features}, No calibration in BLK2 of efuse`],
    [
      'esp32s2',
      { ...block1(s2, { 3: (1 << 18) | (2 << 21) | (1 << 28) }), [s2 + 0x5c + 16]: 2 << 4 },
      `ESP32-S2FNR2 v1.0: ${s2Features}, Embedded Flash 4MB, Embedded PSRAM 2MB, ` +
        'ADC and temperature sensor calibration in BLK2 of efuse V2',
    ],
    [
      'esp32s2',
      block1(s2, { 3: (1 << 21) | (1 << 20), 4: 3 << 4 }),
      `ESP32-S2FH2 v0.11: ${s2Features}, Embedded Flash 2MB, No calibration in BLK2 of efuse`,
    ],
    [
      'esp32s2',
      { ...block1(s2, { 3: ((9 << 21) | (7 << 28)) >>> 0 }), [s2 + 0x5c + 16]: 7 << 4 },
      `ESP32-S2 (unknown variant: flash 9, PSRAM 7) v0.0: ${s2Features}, Unknown Embedded Flash, ` +
        'Unknown Embedded PSRAM, Unknown calibration in BLK2',
    ],

    // esp-idf issue 14372: "ESP32-S3 (QFN56) (revision v0.1)", "Embedded Flash 8MB (GD)".
    [
      'esp32s3',
      block1(s3, { 3: (1 << 18) | (1 << 27), 4: 2 }),
      `ESP32-S3 (QFN56) v0.1: ${s3Features}, Embedded Flash 8MB (GD)`,
    ],
    // A module N16R8: no flash in the package, PSRAM of 8 MB.
    [
      'esp32s3',
      block1(s3, { 3: 2 << 18, 4: (1 << 3) | (1 << 7) }),
      `ESP32-S3 (QFN56) v0.2: ${s3Features}, Embedded PSRAM 8MB (AP_3v3)`,
    ],
    [
      'esp32s3',
      block1(s3, { 3: (2 << 18) | (1 << 21) | (1 << 27), 4: 2 | (1 << 3) | (1 << 7) }),
      `ESP32-S3-PICO-1 (LGA56) v0.2: ${s3Features}, Embedded Flash 8MB (GD), Embedded PSRAM 8MB (AP_3v3)`,
    ],
    // The third bit of the PSRAM's code lives in another word.
    [
      'esp32s3',
      block1(s3, { 3: 2 << 18, 4: 2 << 7, 5: 1 << 19 }),
      `ESP32-S3 (QFN56) v0.2: ${s3Features}, Embedded PSRAM 4MB (AP_1v8)`,
    ],
    // eFuse block version 1.1: the revision reads v3.8, but is v0.0.
    [
      'esp32s3',
      { ...block1(s3, { 3: 1 << 24, 5: (3 << 24) | (1 << 23) }), [s3 + 0x5c + 16]: 1 },
      `ESP32-S3 (QFN56) v0.0: ${s3Features}`,
    ],
    ['esp32s3', block1(s3, { 5: (3 << 24) | (1 << 23) }), `ESP32-S3 (QFN56) v3.8: ${s3Features}`],
    [
      'esp32s3',
      block1(s3, { 3: ((5 << 21) | (7 << 27)) >>> 0, 4: 7 }),
      `ESP32-S3 (unknown package 5) v0.0: ${s3Features}, Unknown Embedded Flash`,
    ],

    ['esp32c3', block1(c3, { 3: 3 << 18 }), `ESP32-C3 (QFN32) v0.3: ${c3Features}`],
    [
      'esp32c3',
      block1(c3, { 3: (4 << 18) | (1 << 27), 4: 1 }),
      `ESP32-C3 (QFN32) v0.4: ${c3Features}, Embedded Flash 4MB (XMC)`,
    ],
    [
      'esp32c3',
      block1(c3, { 3: (1 << 18) | (1 << 21) | (2 << 27), 4: 5, 5: 1 << 24 }),
      `ESP8685 (QFN28) v1.1: ${c3Features}, Embedded Flash 2MB (ZBIT)`,
    ],
    ['esp32c3', block1(c3, { 3: 2 << 21 }), `ESP32-C3 AZ (QFN32) v0.0: ${c3Features}`],
    ['esp32c3', block1(c3, { 3: 3 << 21, 5: 1 << 23 }), `ESP8686 (QFN24) v0.8: ${c3Features}`],
    ['esp32c3', block1(c3, { 3: 7 << 21 }), `ESP32-C3 (unknown package 7) v0.0: ${c3Features}`],

    ['esp32c2', { [0x60008844]: 1 << 20 }, 'ESP32-C2 v1.0: Wi-Fi, BT 5 (LE), Single Core, 120MHz'],
    [
      'esp32c2',
      { [0x60008844]: (1 << 22) | (2 << 20) | (1 << 16) },
      'ESP32-C2 v2.1: Wi-Fi, BT 5 (LE), Single Core, 120MHz',
    ],
    ['esp32c2', { [0x60008844]: 5 << 22 }, 'ESP32-C2 (unknown package 5) v0.0: Wi-Fi, BT 5 (LE), Single Core, 120MHz'],

    [
      'esp32c5',
      block1(c5, { 2: 0x10 }),
      'ESP32-C5 v1.0: Wi-Fi 6 (dual-band), BT 5 (LE), IEEE802.15.4, Single Core + LP Core, 240MHz',
    ],
    ['esp32c6', block1(c6, { 3: 1 << 18 }), `ESP32-C6 (QFN40) v0.1: ${c6Features}`],
    [
      'esp32c6',
      block1(c6, { 3: (1 << 24) | (2 << 18), 4: 1 }),
      `ESP32-C6FH4 (QFN32) v0.2: ${c6Features}, Embedded Flash 4MB`,
    ],
    [
      'esp32c6',
      block1(c6, { 3: (1 << 24) | (1 << 22), 4: 2 }),
      `ESP32-C6FH8 (QFN32) v1.0: ${c6Features}, Embedded Flash 8MB`,
    ],
    ['esp32c6', block1(c6, { 3: 6 << 24 }), `ESP32-C6 (unknown package 6) v0.0: ${c6Features}`],
    ['esp32c61', block1(c5, { 2: 0x10 }), 'ESP32-C61 v1.0: Wi-Fi 6, BT 5 (LE), Single Core, 160MHz'],
    ['esp32h2', block1(c6, { 3: 1 << 18 }), 'ESP32-H2 v0.1: BT 5 (LE), IEEE802.15.4, Single Core, 96MHz'],
    [
      'esp32h2',
      block1(c6, { 3: 1 << 21, 4: 3 }),
      'ESP32-H2 (unknown package 3) v1.0: BT 5 (LE), IEEE802.15.4, Single Core, 96MHz',
    ],

    [
      'esp32h4',
      block1(h4, { 3: (1 << 22) | (2 << 18) }),
      'ESP32-H4 (QFN40) v1.2: BT 5 (LE), IEEE802.15.4, Dual Core, 96MHz',
    ],
    [
      'esp32h4',
      block1(h4, { 4: 5 << 12 }),
      'ESP32-H4 (unknown package 5) v0.0: BT 5 (LE), IEEE802.15.4, Dual Core, 96MHz',
    ],
    ['esp32s31', s31Words({ 3: 1 << 18 }), `ESP32-S31 v0.1: ${s31Features}`],
    ['esp32s31', s31Words({ 3: 2 << 22, 4: 3 << 6 }), `ESP32-S31 (unknown package 3) v2.0: ${s31Features}`],

    // espkvm issue 24 (v3.1); boards of the first generation boot with v1.3.
    ['esp32p4', block1(p4, { 2: 0x31 }), 'ESP32-P4 v3.1: Dual Core + LP Core, 400MHz'],
    ['esp32p4', block1(p4, { 2: 0x13 }), 'ESP32-P4 v1.3: Dual Core + LP Core, 400MHz'],
    [
      'esp32p4',
      block1(p4, { 2: (1 << 23) | (1 << 20) }),
      'ESP32-P4 (unknown package 1) v4.0: Dual Core + LP Core, 400MHz',
    ],
  ] as [Family, Words, string][]) {
    test(`${family}: ${expected}`, async () => {
      assert.equal(await described(family, words), expected);
    });
  }
});

test('the registry has each family once, by every key', () => {
  assert.deepEqual(
    chips.map(({ family }) => family),
    [
      'esp8266',
      'esp32',
      'esp32s2',
      'esp32s3',
      'esp32c2',
      'esp32c3',
      'esp32c5',
      'esp32c6',
      'esp32c61',
      'esp32h2',
      'esp32h4',
      'esp32p4',
      'esp32s31',
    ],
  );
  const ids = chips.flatMap(({ imageChipId }) => (imageChipId === null ? [] : [imageChipId]));
  assert.deepEqual(ids, [0, 2, 9, 12, 5, 23, 13, 20, 16, 28, 18, 32]);
  for (const chip of chips) assert.equal(chipByFamily(chip.family), chip);
});
