/** What the chip values read and write: MACs, crystals, security, USB, watchdogs. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Chip, Family, SecurityState, UsbConnection } from '../../../src/esp/chips/chip.ts';
import { isBlankMac, isOddParity } from '../../../src/esp/chips/efuse-fields.ts';
import { chipByFamily, chipByImageId, chipByMagicWord, chips } from '../../../src/esp/chips/index.ts';
import type { Clock } from '../../../src/clock.ts';
import { parseMac } from '../../../src/mac.ts';
import { FakeRegisters, arbitraryRegisters } from './support.ts';

const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => Buffer.from(bytes));
const text = (bytes: Buffer) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
const OPEN: SecurityState = { flashEncryption: false, secureBoot: false, secureDownload: false };

/** Waits for nothing and notes how long it was asked to. */
function instantClock(): Clock & { readonly waitsMs: number[] } {
  const waitsMs: number[] = [];
  return {
    waitsMs,
    now: () => 0,
    date: () => new Date(0),
    schedule(delayMs, callback) {
      waitsMs.push(delayMs);
      queueMicrotask(callback);
      return () => undefined;
    },
  };
}

describe('MAC', () => {
  /** Where each family keeps the MAC, by its Technical Reference Manual. */
  const places: Record<Exclude<Family, 'esp8266'>, number> = {
    esp32: 0x3ff5a004,
    esp32s2: 0x3f41a044,
    esp32s3: 0x60007044,
    esp32c2: 0x60008840,
    esp32c3: 0x60008844,
    esp32c5: 0x600b4844,
    esp32c6: 0x600b0844,
    esp32c61: 0x600b4844,
    esp32h2: 0x600b0844,
    esp32h4: 0x600b1844,
    esp32p4: 0x5012d044,
    esp32s31: 0x20715050,
  };

  for (const [family, address] of Object.entries(places) as [Family, number][]) {
    test(`${family}: every MAC, whatever stands above it`, async () => {
      await fc.assert(
        fc.asyncProperty(mac, fc.nat(0xffff), async (bytes, above) => {
          const registers = new FakeRegisters([
            [address, bytes.readUInt32BE(2)],
            [address + 4, ((above << 16) | bytes.readUInt16BE(0)) >>> 0],
          ]);
          assert.equal(await chipByFamily(family).readMac(registers), text(bytes));
        }),
      );
    });
  }

  test('esp8266: every MAC whose maker is burnt', async () => {
    await fc.assert(
      fc.asyncProperty(mac, fc.nat(0xff), fc.nat(0xffffff), async (bytes, top, noise) => {
        fc.pre(bytes.readUIntBE(0, 3) !== 0);
        const registers = new FakeRegisters([
          [0x3ff00050, ((bytes.readUInt8(5) << 24) | noise) >>> 0],
          [0x3ff00054, ((noise << 16) | bytes.readUInt16BE(3)) >>> 0],
          [0x3ff0005c, ((top << 24) | bytes.readUIntBE(0, 3)) >>> 0],
        ]);
        assert.equal(await chipByFamily('esp8266').readMac(registers), text(bytes));
      }),
    );
  });

  test('blank eFuses are known as such', async () => {
    for (const chip of chips) assert.equal(isBlankMac(await chip.readMac(new FakeRegisters())), true, chip.family);
    assert.equal(isBlankMac(parseMac('50:02:91:c3:37:a5')!), false);
    assert.equal(isBlankMac(parseMac('18:fe:34:00:00:01')!), false);
  });
});

describe('whatever the registers hold', () => {
  test('reading never throws, never writes, and gives sensible values', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...chips), fc.integer(), async (chip, seed) => {
        const registers = arbitraryRegisters(seed);
        const description = await chip.describe(registers);
        assert.match(description.name, /^ESP\d/);
        for (const feature of description.features) assert.doesNotMatch(feature, /undefined|NaN|\(\)/);
        assert.ok(Number.isInteger(description.revision.major) && description.revision.major >= 0);
        assert.ok(Number.isInteger(description.revision.minor) && description.revision.minor >= 0);
        assert.ok([26, 32, 40, 48].includes(await chip.readCrystalMHz(registers, 115200)));
        const security = await chip.readSecurity(registers, null);
        for (const flag of Object.values(security)) assert.equal(typeof flag, 'boolean');
        await chip.readUsbConnection(registers);
        const rate = await chip.romBaudRate(registers, 921600, 115200);
        assert.ok(Number.isInteger(rate) && rate > 0, `${chip.family}: ${rate}`);
        assert.match(chip.stubImage(description), /^esp(8266|32[a-z0-9-]*)$/);
        chip.stubStart(description, security);
        if (chip.family !== 'esp8266') assert.match(await chip.readMac(registers), /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
        assert.deepEqual(registers.writes, []);
      }),
      { numRuns: 500 },
    );
  });

  test('addresses are words, values are 32 bits without sign', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...chips), fc.integer(), async (chip, seed) => {
        const registers = arbitraryRegisters(seed);
        await chip.describe(registers);
        await chip.readSecurity(registers, null);
        for (const usb of ['none', 'usb-serial-jtag', 'usb-otg'] as const) {
          await chip.prepareForStub(registers, usb, instantClock());
          await chip.prepareForReset(registers, usb);
        }
        await chip.watchdogReset?.(registers);
        const addresses = [...registers.reads, ...registers.writes.map(([address]) => address)];
        for (const address of addresses) assert.equal(address % 4, 0, `${chip.family} 0x${address.toString(16)}`);
        for (const [, value] of registers.writes) assert.ok(value >= 0 && value <= 0xffffffff);
        // Never the eFuse controller: what is written there can be burnt.
        for (const [address] of registers.writes) {
          assert.equal(isInsideEfuseController(chip, address), false, `0x${address.toString(16)}`);
        }
      }),
      { numRuns: 300 },
    );
  });

  /** 512 bytes from 0x2c below the first block on (BLOCK0 is at 0x2c; the ESP32's controller starts with it). */
  function isInsideEfuseController(chip: Chip, address: number): boolean {
    const start = chip.efuseBlocks[0]!.address - 0x2c;
    return address >= start && address < start + 0x200;
  }

  test('a read that fails is reported', async () => {
    const broken = { read: () => Promise.reject(new Error('lost')), write: () => Promise.reject(new Error('lost')) };
    for (const chip of chips) {
      await assert.rejects(chip.readMac(broken), /lost/);
      await assert.rejects(chip.describe(broken), /lost/);
    }
  });
});

describe('crystal', () => {
  for (const [family, register, divisor, baudRate, expected] of [
    // esptool issue 397 reads 0x1c4 with a crystal of 26 MHz.
    ['esp8266', 0x60000014, 0x1c4, 115200, 26],
    ['esp8266', 0x60000014, 694, 115200, 40],
    ['esp8266', 0x60000014, 0xf00001c4, 115200, 26],
    // The ESP32 of the traces: 0x15a.
    ['esp32', 0x3ff40014, 0x15a, 115200, 40],
    ['esp32', 0x3ff40014, 226, 115200, 26],
    ['esp32', 0x3ff40014, 28, 921600, 26],
    ['esp32', 0x3ff40014, 43, 921600, 40],
    // A stub that runs the UART off 80 MHz tells nothing of the crystal.
    ['esp32', 0x3ff40014, 694, 115200, 40],
    ['esp32c2', 0x60000014, 226, 115200, 26],
    ['esp32c2', 0x60000014, 347, 115200, 40],
    ['esp32c5', 0x60000014, 417, 115200, 48],
    ['esp32c5', 0x60000014, 347, 115200, 40],
  ] as const) {
    test(`${family}: divider ${divisor} at ${baudRate} baud is ${expected} MHz`, async () => {
      const registers = new FakeRegisters([[register, divisor]]);
      assert.equal(await chipByFamily(family).readCrystalMHz(registers, baudRate), expected);
    });
  }

  test('the others have one crystal only', async () => {
    const fixed = {
      ...{ esp32s2: 40, esp32s3: 40, esp32c3: 40, esp32c6: 40, esp32c61: 40, esp32p4: 40, esp32s31: 40 },
      ...{ esp32h2: 32, esp32h4: 32 },
    };
    for (const [family, expected] of Object.entries(fixed)) {
      const registers = new FakeRegisters();
      assert.equal(await chipByFamily(family as Family).readCrystalMHz(registers, 115200), expected);
      assert.deepEqual(registers.reads, []);
    }
  });
});

describe('baud rate of a ROM that reckons with another crystal', () => {
  test('ESP32-C2: with 26 MHz a rate 40/26 as high', async () => {
    const chip = chipByFamily('esp32c2');
    assert.equal(await chip.romBaudRate(new FakeRegisters([[0x60000014, 226]]), 460800, 115200), 708923);
    assert.equal(await chip.romBaudRate(new FakeRegisters([[0x60000014, 347]]), 460800, 115200), 460800);
  });

  test('ESP32-C5: where the ROM expects the other crystal', async () => {
    const chip = chipByFamily('esp32c5');
    const registers = (expectedMHz: number, divider: number) =>
      new FakeRegisters([
        [0x60096110, (expectedMHz << 24) >>> 0],
        [0x60000014, divider],
      ]);
    assert.equal(await chip.romBaudRate(registers(40, 417), 960000, 115200), 800000);
    assert.equal(await chip.romBaudRate(registers(48, 347), 800000, 115200), 960000);
    assert.equal(await chip.romBaudRate(registers(48, 417), 921600, 115200), 921600);
    assert.equal(await chip.romBaudRate(registers(0, 417), 921600, 115200), 921600);
  });

  test('ESP32: by what the ROM measured, or unchanged where it measured nothing', async () => {
    const chip = chipByFamily('esp32');
    // 40.5 MHz measured instead of 40: cycles * 15625 * oscillator / 40.
    const registers = new FakeRegisters([
      [0x3ff5f06c, (12960 << 7) >>> 0],
      [0x3ff5a010, 8],
    ]);
    assert.equal(await chip.romBaudRate(registers, 400000, 115200), 405000);
    assert.equal(await chip.romBaudRate(new FakeRegisters(), 400000, 115200), 400000);
  });
});

describe('security from eFuses', () => {
  /** [crypt count address, lowest bit], [secure boot], [secure download]: esp-idf's eFuse tables. */
  const places: Partial<Record<Family, [number, number][]>> = {
    esp32s2: [
      [0x3f41a034, 18],
      [0x3f41a038, 20],
      [0x3f41a03c, 5],
    ],
    esp32s3: [
      [0x60007034, 18],
      [0x60007038, 20],
      [0x6000703c, 5],
    ],
    esp32c2: [
      [0x60008830, 7],
      [0x60008830, 21],
      [0x60008830, 16],
    ],
    esp32c3: [
      [0x60008834, 18],
      [0x60008838, 20],
      [0x6000883c, 5],
    ],
    esp32c5: [
      [0x600b4834, 16],
      [0x600b4838, 25],
      [0x600b483c, 5],
    ],
    esp32c6: [
      [0x600b0834, 18],
      [0x600b0838, 20],
      [0x600b083c, 5],
    ],
    esp32c61: [
      [0x600b4830, 23],
      [0x600b4834, 26],
      [0x600b4838, 4],
    ],
    esp32h2: [
      [0x600b0834, 18],
      [0x600b0838, 20],
      [0x600b083c, 5],
    ],
    esp32h4: [
      [0x600b1830, 23],
      [0x600b1838, 5],
      [0x600b183c, 3],
    ],
    esp32p4: [
      [0x5012d034, 18],
      [0x5012d038, 20],
      [0x5012d03c, 5],
    ],
    esp32s31: [
      [0x20715034, 21],
      [0x2071503c, 2],
      [0x2071503c, 21],
    ],
  };

  for (const [family, [crypt, boot, download]] of Object.entries(places) as [Family, [number, number][]][]) {
    test(family, async () => {
      const chip = chipByFamily(family);
      const state = (place: [number, number] | undefined, value: number) =>
        chip.readSecurity(new FakeRegisters([[place![0], (value << place![1]) >>> 0]]), null);
      assert.deepEqual(await chip.readSecurity(new FakeRegisters(), null), OPEN);
      // Odd counts of bits are on: 1, 7; even ones off again: 3.
      for (const [count, on] of [
        [1, true],
        [2, true],
        [3, false],
        [7, true],
      ] as const) {
        assert.deepEqual(await state(crypt, count), { ...OPEN, flashEncryption: on }, `count ${count}`);
      }
      assert.deepEqual(await state(boot, 1), { ...OPEN, secureBoot: true });
      assert.deepEqual(await state(download, 1), { ...OPEN, secureDownload: true });
    });
  }

  test('esp32: seven bits of count, secure boot v1, and v2 from v3.0 on', async () => {
    const chip = chipByFamily('esp32');
    const state = (words: [number, number][]) => chip.readSecurity(new FakeRegisters(words), null);
    assert.deepEqual(await state([[0x3ff5a000, 0x7f << 20]]), { ...OPEN, flashEncryption: true });
    assert.deepEqual(await state([[0x3ff5a000, 0x3f << 20]]), OPEN);
    // Bit 27 (UART_DOWNLOAD_DIS) is not part of the count.
    assert.deepEqual(await state([[0x3ff5a000, 1 << 27]]), OPEN);
    assert.deepEqual(await state([[0x3ff5a018, 1 << 4]]), { ...OPEN, secureBoot: true });
    assert.deepEqual(await state([[0x3ff5a018, 1 << 5]]), OPEN);
    const v3: [number, number][] = [
      [0x3ff5a00c, 1 << 15],
      [0x3ff5a014, 1 << 20],
      [0x3ff6607c, 0x80000000],
    ];
    assert.deepEqual(await state([...v3, [0x3ff5a018, 1 << 5]]), { ...OPEN, secureBoot: true });
  });

  test('parity of a word is the parity of its bits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (word) => {
        assert.equal(isOddParity(word), word.toString(2).replaceAll('0', '').length % 2 === 1);
      }),
    );
  });
});

describe('USB connection', () => {
  for (const [family, words, expected] of [
    ['esp32s2', [[0x3ffffd14, 2]], 'usb-otg'],
    ['esp32s2', [[0x3ffffd14, 0]], 'none'],
    ['esp32s3', [[0x3fcef14c, 3]], 'usb-otg'],
    ['esp32s3', [[0x3fcef14c, 0xabcdef04]], 'usb-serial-jtag'],
    ['esp32s3', [[0x3fcef14c, 0]], 'none'],
    ['esp32c3', [[0x3fcdf07c, 3]], 'usb-serial-jtag'],
    [
      'esp32c3',
      [
        [0x3fcdf07c, 0],
        [0x3fcdf078, 3],
      ],
      'none',
    ],
    // v1.1 (bit 24 of word 5, bit 18 of word 3) has another ROM.
    [
      'esp32c3',
      [
        [0x60008858, 1 << 24],
        [0x60008850, 1 << 18],
        [0x3fcdf078, 3],
      ],
      'usb-serial-jtag',
    ],
    [
      'esp32c3',
      [
        [0x60008858, 1 << 24],
        [0x60008850, 1 << 18],
        [0x3fcdf07c, 3],
      ],
      'none',
    ],
    ['esp32c5', [[0x4085f514, 3]], 'usb-serial-jtag'],
    ['esp32c6', [[0x4087f580, 3]], 'usb-serial-jtag'],
    ['esp32c6', [[0x4087f580, 0]], 'none'],
    ['esp32c61', [[0x4084f5ec, 3]], 'usb-serial-jtag'],
    [
      'esp32c61',
      [
        [0x600b484c, 0x10],
        [0x4084f5e4, 4],
      ],
      'usb-serial-jtag',
    ],
    [
      'esp32c61',
      [
        [0x600b484c, 0x10],
        [0x4084f5e4, 3],
      ],
      'none',
    ],
    ['esp32h2', [[0x4084fefc, 3]], 'usb-serial-jtag'],
    [
      'esp32p4',
      [
        [0x5012d04c, 0x13],
        [0x4ff3fec8, 5],
      ],
      'usb-otg',
    ],
    [
      'esp32p4',
      [
        [0x5012d04c, 0x30],
        [0x4ffbfec8, 6],
      ],
      'usb-serial-jtag',
    ],
    [
      'esp32p4',
      [
        [0x5012d04c, 0x30],
        [0x4ff3fec8, 6],
      ],
      'none',
    ],
    ['esp32', [], 'none'],
    ['esp8266', [], 'none'],
    ['esp32c2', [], 'none'],
    ['esp32h4', [], 'none'],
    ['esp32s31', [], 'none'],
  ] as [Family, [number, number][], UsbConnection][]) {
    test(`${family}: ${words.map(([a, v]) => `0x${a.toString(16)}=${v.toString(16)}`).join(' ')} → ${expected}`, async () => {
      assert.equal(await chipByFamily(family).readUsbConnection(new FakeRegisters(words)), expected);
    });
  }
});

describe('USB by the ids that the host sees, where the ROM cannot be asked', () => {
  const host = (vendorId: string, productId: string) => {
    return { vendorId, productId, serialNumber: null, manufacturer: null, product: null, location: null };
  };
  for (const [family, usb, expected] of [
    ['esp32h4', host('303a', '1001'), 'usb-serial-jtag'],
    ['esp32h4', host('303a', '001c'), 'none'],
    ['esp32h4', host('10c4', 'ea60'), 'none'],
    ['esp32h4', null, 'none'],
    ['esp32s31', host('303a', '1001'), 'usb-serial-jtag'],
    ['esp32s31', host('303a', '0020'), 'usb-otg'],
    ['esp32s31', host('303a', '4001'), 'none'],
    ['esp32s31', host('1a86', '1001'), 'none'],
    // Where it can be asked, what the chip says counts.
    ['esp32c6', host('303a', '1001'), 'none'],
  ] as const) {
    test(`${family} at ${usb === null ? 'a network port' : `${usb.vendorId}:${usb.productId}`} → ${expected}`, async () => {
      assert.equal(await chipByFamily(family).readUsbConnection(new FakeRegisters(), usb), expected);
    });
  }
});

describe('before a stub', () => {
  const KEY = 0x50d83aa1;
  const OLD_SWD_KEY = 0x8f1d312a;
  /** Base, offsets of RWDT config and write protection, SWD config and write protection, SWD key and feed bit. */
  const watchdogs: Partial<Record<Family, [number, number, number, number, number, number, number]>> = {
    esp32s3: [0x60008000, 0x98, 0xb0, 0xb4, 0xb8, OLD_SWD_KEY, 0x80000000],
    esp32c3: [0x60008000, 0x90, 0xa8, 0xac, 0xb0, OLD_SWD_KEY, 0x80000000],
    esp32c5: [0x600b1c00, 0, 0x18, 0x1c, 0x20, KEY, 1 << 18],
    esp32c6: [0x600b1c00, 0, 0x18, 0x1c, 0x20, KEY, 1 << 18],
    esp32c61: [0x600b1c00, 0, 0x18, 0x1c, 0x20, KEY, 1 << 18],
    esp32h2: [0x600b1c00, 0, 0x1c, 0x20, 0x24, KEY, 1 << 18],
    esp32h4: [0x600b5400, 0, 0x1c, 0x20, 0x24, KEY, 1 << 18],
    esp32p4: [0x50116000, 0, 0x18, 0x1c, 0x20, KEY, 1 << 18],
    esp32s31: [0x20801000, 0, 0x18, 0x1c, 0x20, KEY, 1 << 18],
  };

  for (const [family, place] of Object.entries(watchdogs) as [Family, number[]][]) {
    test(`${family}: over USB-Serial/JTAG both watchdogs are quieted, and locked again`, async () => {
      const [base = 0, config, protect, swd, swdProtect, swdKey = 0, feed = 0] = place;
      const at = (offset: number | undefined) => base + offset!;
      const registers = new FakeRegisters([[at(swd), 0x00004b00]]);
      await chipByFamily(family).prepareForStub(registers, 'usb-serial-jtag', instantClock());
      assert.deepEqual(registers.writes, [
        [at(protect), KEY],
        [at(config), 0],
        [at(protect), 0],
        [at(swdProtect), swdKey],
        [at(swd), (0x00004b00 | feed) >>> 0],
        [at(swdProtect), 0],
      ]);
    });
  }

  test('nothing is written over a bridge or over USB-OTG', async () => {
    for (const chip of chips) {
      for (const usb of ['none', 'usb-otg'] as const) {
        const registers = new FakeRegisters();
        await chip.prepareForStub(registers, usb, instantClock());
        assert.deepEqual(registers.writes, [], `${chip.family} ${usb}`);
      }
    }
  });
});

describe('ESP32-P4 flash power', () => {
  const version = 0x5012d04c;
  const repeatData1 = 0x5012d034;
  const date = 0x501153fc;

  test('no other revision is touched', async () => {
    for (const revision of [0x00, 0x01, 0x13, 0x30, 0x33, (1 << 23) | 0x01]) {
      const registers = new FakeRegisters([[version, revision]]);
      const clock = instantClock();
      await chipByFamily('esp32p4').prepareForStub(registers, 'none', clock);
      assert.deepEqual(registers.writes, []);
      assert.deepEqual(clock.waitsMs, []);
    }
  });

  for (const [revision, romPowers] of [
    [0x31, 0],
    [0x31, 1 << 16],
    [0x32, 0],
  ] as const) {
    test(`v3.${revision & 0xf} (ROM powers flash: ${romPowers !== 0}): the sequence of esptool, with its waits`, async () => {
      const ana = 0x501151bc;
      const ldo = 0x501151b8;
      const registers = new FakeRegisters([
        [version, revision],
        [repeatData1, romPowers],
        [ldo, 0xff000001],
        [ana, 0x00000002],
        [date, 0x00230100],
      ]);
      const clock = instantClock();
      await chipByFamily('esp32p4').prepareForStub(registers, 'none', clock);
      assert.deepEqual(registers.writes, [
        [0x5011010c, 1],
        [ana, 0x08000002],
        [ldo, 0xff000081],
        [date, 0x00230103],
        [ana, 0x00000002],
        [ldo, 0x80000081],
        [ldo, 0x80000081],
        [ldo, 0x80000001],
      ]);
      assert.deepEqual(clock.waitsMs, [10, 1, 2]);
    });
  }

  test("v3.2 whose ROM powers the flash: only the ROM's force is taken back", async () => {
    const words: [number, number][] = [
      [version, 0x32],
      [repeatData1, 1 << 16],
    ];
    const forced = new FakeRegisters([...words, [date, 0x103]]);
    await chipByFamily('esp32p4').prepareForStub(forced, 'none', instantClock());
    assert.deepEqual(forced.writes, [[date, 0x100]]);
    const free = new FakeRegisters([...words, [date, 0x101]]);
    await chipByFamily('esp32p4').prepareForStub(free, 'none', instantClock());
    assert.deepEqual(free.writes, []);
  });
});

describe('leaving', () => {
  const KEY = 0x50d83aa1;
  const places: Partial<Record<Family, [config0: number, config1: number, protect: number]>> = {
    esp32s2: [0x3f408094, 0x3f408098, 0x3f4080ac],
    esp32s3: [0x60008098, 0x6000809c, 0x600080b0],
    esp32c3: [0x60008090, 0x60008094, 0x600080a8],
    esp32c5: [0x600b1c00, 0x600b1c04, 0x600b1c18],
    esp32p4: [0x50116000, 0x50116004, 0x50116018],
    esp32s31: [0x20801000, 0x20801004, 0x20801018],
  };

  test('only these chips reset through their watchdog', () => {
    const able = chips.filter((chip) => chip.watchdogReset !== null).map(({ family }) => family);
    assert.deepEqual(able, Object.keys(places));
  });

  for (const [family, [config0, config1, protect]] of Object.entries(places) as [Family, [number, number, number]][]) {
    test(`${family}: unlock, set, lock`, async () => {
      const registers = new FakeRegisters();
      await chipByFamily(family).watchdogReset!(registers);
      assert.deepEqual(registers.writes, [
        [protect, KEY],
        [config1, 2000],
        [config0, 0xd0000102],
        [protect, 0],
      ]);
    });
  }

  const force: Partial<Record<Family, [address: number, mask: number, strapping: number]>> = {
    esp32s2: [0x3f408128, 1, 0x3f404038],
    esp32s3: [0x6000812c, 1, 0x60004038],
    esp32p4: [0x50110008, 4, 0x500e0038],
  };
  for (const [family, [address, mask, strapping]] of Object.entries(force) as [Family, [number, number, number]][]) {
    test(`${family}: the bit that forces download mode is cleared, and nothing else`, async () => {
      for (const usb of ['none', 'usb-otg', 'usb-serial-jtag'] as const) {
        const registers = new FakeRegisters([
          [address, (0xa5a5a5a0 | mask) >>> 0],
          [strapping, 8],
        ]);
        await chipByFamily(family).prepareForReset(registers, usb);
        assert.deepEqual(registers.writes, [[address, (0xa5a5a5a0 & ~mask) >>> 0]]);
        const clear = new FakeRegisters([[strapping, 8]]);
        await chipByFamily(family).prepareForReset(clear, usb);
        assert.deepEqual(clear.writes, []);
      }
      const resets = new FakeRegisters([[address, mask]]);
      await chipByFamily(family).watchdogReset!(resets);
      assert.deepEqual(resets.writes[0], [address, 0]);
    });
  }

  test('the way out', async () => {
    const way = (family: Family, usb: UsbConnection, words: [number, number][] = []) =>
      chipByFamily(family).prepareForReset(new FakeRegisters(words), usb);
    assert.equal(await way('esp32s2', 'usb-otg', [[0x3f404038, 8]]), 'watchdog');
    assert.equal(await way('esp32s2', 'none'), 'reset-line');
    assert.equal(await way('esp32s31', 'usb-otg'), 'watchdog');
    for (const usb of ['none', 'usb-serial-jtag'] as const) assert.equal(await way('esp32s31', usb), 'reset-line');
    assert.equal(await way('esp32h4', 'usb-serial-jtag'), 'reset-line');
    // The boot button held while it was plugged in: over native USB only the watchdog looks at the pin again.
    assert.equal(await way('esp32s3', 'usb-serial-jtag'), 'watchdog');
    assert.equal(await way('esp32s3', 'usb-serial-jtag', [[0x60004038, 8]]), 'reset-line');
    assert.equal(await way('esp32s3', 'none'), 'reset-line');
    assert.equal(await way('esp32p4', 'usb-otg'), 'watchdog');
    assert.equal(await way('esp32p4', 'usb-serial-jtag'), 'reset-line');
    for (const chip of chips) {
      if (chip.watchdogReset === null)
        assert.equal(await way(chip.family, 'usb-serial-jtag'), 'reset-line', chip.family);
    }
  });
});

describe('stub', () => {
  const description = (major: number, minor: number) => ({ name: '', revision: { major, minor }, features: [] });

  test('every chip names an image that the package has', () => {
    const folder = join(dirname(createRequire(import.meta.url).resolve('esptool-js')), 'targets', 'stub_flasher');
    for (const chip of chips) {
      for (const revision of [description(0, 0), description(1, 3), description(3, 0), description(4, 2)]) {
        const name = chip.stubImage(revision);
        assert.ok(existsSync(join(folder, `${name}.json`)), name);
      }
    }
  });

  test('the ESP32-P4 changes at v3.0', () => {
    const p4 = chipByFamily('esp32p4');
    assert.equal(p4.stubImage(description(0, 1)), 'esp32p4-rev1');
    assert.equal(p4.stubImage(description(1, 3)), 'esp32p4-rev1');
    assert.equal(p4.stubImage(description(2, 15)), 'esp32p4-rev1');
    assert.equal(p4.stubImage(description(3, 0)), 'esp32p4');
    assert.equal(p4.stubImage(description(4, 0)), 'esp32p4');
  });

  test('who starts none, and who starts it by a detour', () => {
    const secure = { ...OPEN, secureBoot: true };
    const kinds = (security: SecurityState, revision = description(1, 0)) =>
      Object.fromEntries(chips.map((chip) => [chip.family, chip.stubStart(revision, security).kind]));
    const entry = Object.fromEntries(chips.map(({ family }) => [family, 'entry']));
    assert.deepEqual(kinds(OPEN), entry);
    assert.deepEqual(kinds(secure), { ...entry, esp32c3: 'none', esp32s3: 'read-pointer' });
    assert.deepEqual(kinds(OPEN, description(0, 0)), { ...entry, esp32c2: 'none' });
    assert.deepEqual(chipByFamily('esp32s3').stubStart(description(0, 2), secure), {
      kind: 'read-pointer',
      pointerAddress: 0x3fcef688,
    });
  });
});

describe('registry and constants', () => {
  test('lookups by what a chip says of itself', () => {
    assert.equal(chipByMagicWord(0xfff0c101)?.family, 'esp8266');
    assert.equal(chipByMagicWord(0x00f01d83)?.family, 'esp32');
    assert.equal(chipByMagicWord(0x000007c6)?.family, 'esp32s2');
    assert.equal(chipByMagicWord(0), undefined);
    assert.equal(chipByMagicWord(0xffffffff), undefined);
    const ids = { 0: 'esp32', 2: 'esp32s2', 5: 'esp32c3', 9: 'esp32s3', 12: 'esp32c2', 13: 'esp32c6', 16: 'esp32h2' };
    for (const [id, family] of Object.entries(ids)) assert.equal(chipByImageId(Number(id))?.family, family);
    assert.equal(chipByImageId(18)?.family, 'esp32p4');
    assert.equal(chipByImageId(20)?.family, 'esp32c61');
    assert.equal(chipByImageId(23)?.family, 'esp32c5');
    assert.equal(chipByImageId(28)?.family, 'esp32h4');
    assert.equal(chipByImageId(32)?.family, 'esp32s31');
    assert.equal(chipByImageId(255), undefined);
  });

  test('the flash controller of each family', () => {
    const bases = Object.fromEntries(chips.map(({ family, spi }) => [family, spi.base]));
    assert.deepEqual(bases, {
      esp8266: 0x60000200,
      esp32: 0x3ff42000,
      esp32s2: 0x3f402000,
      esp32s3: 0x60002000,
      esp32c2: 0x60002000,
      esp32c3: 0x60002000,
      esp32c5: 0x60003000,
      esp32c6: 0x60003000,
      esp32c61: 0x60003000,
      esp32h2: 0x60003000,
      esp32h4: 0x60099000,
      esp32p4: 0x5008d000,
      esp32s31: 0x20501000,
    });
    for (const { spi } of chips) assert.equal(spi.startBit, 0x40000);
  });

  test('no key block is read', () => {
    // Blocks 1 and 2 of the ESP32, block 3 of the ESP32-C2, 4 to 8 of the ESP32-S31, blocks 4 to 9 elsewhere: [first address, behind the last].
    const keys = (chip: Chip): [number, number] => {
      if (chip.family === 'esp32') return [0x3ff5a038, 0x3ff5a078];
      if (chip.family === 'esp32c2') return [0x60008860, 0x60008880];
      if (chip.family === 'esp32s31') return [0x207150a8, 0x20715148];
      const base = chip.efuseBlocks[0]!.address - 0x2c;
      return [base + 0x9c, base + 0x15c];
    };
    for (const chip of chips.filter(({ family }) => family !== 'esp8266')) {
      const [from, to] = keys(chip);
      for (const { address, words } of chip.efuseBlocks) {
        assert.ok(address + words * 4 <= from || address >= to, `${chip.family} 0x${address.toString(16)}`);
      }
    }
  });

  test('the ESP8266 is the odd one', () => {
    const { rom, romStatusBytes, bootLogBaudRate, spi } = chipByFamily('esp8266');
    assert.deepEqual(Object.values(rom), [false, false, false, false, false]);
    assert.equal(romStatusBytes, 2);
    assert.equal(bootLogBaudRate, 74880);
    assert.equal(spi.misoLength, null);
    for (const chip of chips.filter(({ family }) => family !== 'esp8266')) {
      assert.equal(chip.romStatusBytes, 4);
      assert.equal(chip.bootLogBaudRate, 115200);
      assert.equal(chip.rom.beginHasEncryptWord, chip.family !== 'esp32');
    }
  });
});
