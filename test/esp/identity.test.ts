import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EspdError, hasCode } from '../../src/errors.ts';
import type { BoardIdentity } from '../../src/esp/identity.ts';
import type { BoardOptions as SimulatorOptions, Family } from '../../src/simulator/index.ts';
import {
  type Bench,
  type BenchOptions,
  KIB,
  NO_LINES,
  USB_SERIAL_JTAG,
  bench as benchWithFlash,
  enterDownloadByHand,
} from '../support/bench.ts';

/** Flash is of no matter here. */
const bench = (options: BenchOptions) =>
  benchWithFlash({ flashSizeBytes: 256 * KIB, content: Buffer.alloc(0), ...options });

async function identityOf(options: Partial<SimulatorOptions>): Promise<BoardIdentity> {
  const on = bench(options);
  const board = await on.connect();
  await board.leave();
  assert.equal(on.board.mode, 'app');
  return board.identity;
}

interface Expected {
  readonly board: Partial<SimulatorOptions> & { readonly family: Family };
  readonly name: string;
  readonly revision: string;
  readonly crystalMHz: number;
  readonly features: readonly string[];
}

const MAC = '68:b6:b3:fe:dc:ba';

// Names and features: as Espressif's own tool prints them for such eFuses.
const boards: readonly Expected[] = [
  {
    board: { family: 'esp8266', mac: '50:02:91:c3:37:a5' },
    name: 'ESP8266EX',
    revision: 'v0.0',
    crystalMHz: 26,
    features: ['WiFi'],
  },
  {
    board: { family: 'esp8266', crystalMHz: 40, packageVersion: 1 },
    name: 'ESP8285N08',
    revision: 'v0.0',
    crystalMHz: 40,
    features: ['WiFi', 'Embedded Flash 1MB'],
  },
  {
    board: { family: 'esp32', revision: { major: 3, minor: 1 }, packageVersion: 1 },
    name: 'ESP32-D0WD-V3',
    revision: 'v3.1',
    crystalMHz: 40,
    features: ['Wi-Fi', 'BT', 'Dual Core + LP Core', 'Coding Scheme None'],
  },
  {
    board: { family: 'esp32', revision: { major: 1, minor: 0 }, packageVersion: 0, crystalMHz: 26 },
    name: 'ESP32-D0WDQ6',
    revision: 'v1.0',
    crystalMHz: 26,
    features: ['Wi-Fi', 'BT', 'Dual Core + LP Core', 'Coding Scheme None'],
  },
  {
    board: { family: 'esp32', revision: { major: 2, minor: 3 }, packageVersion: 5 },
    name: 'ESP32-PICO-D4',
    revision: 'v2.3',
    crystalMHz: 40,
    features: ['Wi-Fi', 'BT', 'Dual Core + LP Core', 'Embedded Flash', 'Coding Scheme None'],
  },
  {
    board: { family: 'esp32s2', embedded: { flashCapacity: 2, psramCapacity: 1 }, revision: { major: 1, minor: 0 } },
    name: 'ESP32-S2FNR2',
    revision: 'v1.0',
    crystalMHz: 40,
    features: ['Wi-Fi', 'Single Core + LP Core', '240MHz', 'Embedded Flash 4MB', 'Embedded PSRAM 2MB'],
  },
  {
    board: {
      family: 'esp32s3',
      revision: { major: 0, minor: 2 },
      embedded: { flashCapacity: 1, flashVendor: 2, psramCapacity: 1, psramVendor: 1 },
    },
    name: 'ESP32-S3 (QFN56)',
    revision: 'v0.2',
    crystalMHz: 40,
    features: ['Wi-Fi', 'BT 5 (LE)', 'Dual Core + LP Core', 'Embedded Flash 8MB (GD)', 'Embedded PSRAM 8MB (AP_3v3)'],
  },
  {
    board: { family: 'esp32c2', revision: { major: 1, minor: 1 } },
    name: 'ESP32-C2',
    revision: 'v1.1',
    crystalMHz: 26,
    features: ['Wi-Fi', 'BT 5 (LE)', 'Single Core', '120MHz'],
  },
  {
    board: { family: 'esp32c2', revision: { major: 2, minor: 0 }, crystalMHz: 40 },
    name: 'ESP32-C2',
    revision: 'v2.0',
    crystalMHz: 40,
    features: [],
  },
  {
    board: {
      family: 'esp32c3',
      revision: { major: 1, minor: 1 },
      embedded: { flashCapacity: 1, flashVendor: 1 },
      packageVersion: 1,
    },
    name: 'ESP8685 (QFN28)',
    revision: 'v1.1',
    crystalMHz: 40,
    features: ['Wi-Fi', 'BT 5 (LE)', 'Single Core', '160MHz', 'Embedded Flash 4MB (XMC)'],
  },
  {
    board: { family: 'esp32c3', revision: { major: 0, minor: 12 } },
    name: 'ESP32-C3 (QFN32)',
    revision: 'v0.12',
    crystalMHz: 40,
    features: [],
  },
  { board: { family: 'esp32c5', crystalMHz: 48 }, name: 'ESP32-C5', revision: 'v1.0', crystalMHz: 48, features: [] },
  { board: { family: 'esp32c5', crystalMHz: 40 }, name: 'ESP32-C5', revision: 'v1.0', crystalMHz: 40, features: [] },
  {
    board: { family: 'esp32c6', packageVersion: 1, revision: { major: 0, minor: 2 } },
    name: 'ESP32-C6FH4 (QFN32)',
    revision: 'v0.2',
    crystalMHz: 40,
    features: ['Wi-Fi 6', 'BT 5 (LE)', 'IEEE802.15.4'],
  },
  { board: { family: 'esp32c61' }, name: 'ESP32-C61', revision: 'v1.0', crystalMHz: 40, features: ['Wi-Fi 6'] },
  {
    board: { family: 'esp32h2', revision: { major: 1, minor: 2 } },
    name: 'ESP32-H2',
    revision: 'v1.2',
    crystalMHz: 32,
    features: ['BT 5 (LE)', 'IEEE802.15.4'],
  },
  {
    board: { family: 'esp32h4', revision: { major: 1, minor: 2 } },
    name: 'ESP32-H4 (QFN40)',
    revision: 'v1.2',
    crystalMHz: 32,
    features: ['BT 5 (LE)', 'IEEE802.15.4', 'Dual Core'],
  },
  {
    board: { family: 'esp32s31', revision: { major: 0, minor: 1 } },
    name: 'ESP32-S31',
    revision: 'v0.1',
    crystalMHz: 40,
    features: ['Wi-Fi 6', 'BT 5.4 (LE)', 'IEEE802.15.4', '300MHz'],
  },
  {
    board: { family: 'esp32p4', revision: { major: 3, minor: 0 } },
    name: 'ESP32-P4',
    revision: 'v3.0',
    crystalMHz: 40,
    features: ['Dual Core + LP Core', '400MHz'],
  },
];

describe('the identity', () => {
  for (const { board, name, revision, crystalMHz, features } of boards) {
    it(`of an ${name} ${revision} with ${crystalMHz} MHz`, async () => {
      const mac = board.mac ?? MAC;
      const identity = await identityOf({ ...board, mac });
      assert.equal(identity.family, board.family);
      assert.equal(identity.mac, mac);
      assert.equal(identity.chipName, name);
      assert.equal(identity.revision, revision);
      assert.equal(identity.crystalMHz, crystalMHz);
      for (const feature of features) assert.ok(identity.features.includes(feature), identity.features.join());
      assert.deepEqual(identity.security, { flashEncryption: false, secureBoot: false, secureDownload: false });
      assert.equal(identity.usbConnection, 'none');
    });
  }

  it('has any MAC that a board can have', async () => {
    for (const family of ['esp8266', 'esp32', 'esp32s2', 'esp32s3', 'esp32c3', 'esp32c6'] as const) {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ minLength: 6, maxLength: 6 }), async (bytes) => {
          // An ESP8266 whose maker reads zero names it otherwise.
          const mac = Buffer.from(bytes.map((byte, at) => (at === 0 ? byte | 2 : byte))).toString('hex');
          const text = mac.replaceAll(/(..)(?=.)/g, '$1:');
          if (text === 'ff:ff:ff:ff:ff:ff') return;
          const on = bench({ family, mac: text });
          assert.equal((await on.connect()).identity.mac, text);
        }),
        { numRuns: 8 },
      );
    }
  });

  it('tells flash encryption and secure boot', async () => {
    for (const family of [
      'esp32',
      'esp32s2',
      'esp32s3',
      'esp32c2',
      'esp32c3',
      'esp32c6',
      'esp32h2',
      'esp32h4',
      'esp32p4',
      'esp32s31',
    ] as const) {
      for (const flashEncryption of [false, true]) {
        for (const secureBoot of [false, true]) {
          const { security } = await identityOf({ family, security: { flashEncryption, secureBoot } });
          assert.deepEqual(security, { flashEncryption, secureBoot, secureDownload: false }, family);
        }
      }
    }
  });

  it('tells the USB that it came over', async () => {
    for (const [family, usb] of [
      ['esp32s2', 'usb-otg'],
      ['esp32s3', 'usb-otg'],
      ['esp32s3', 'usb-serial-jtag'],
      ['esp32c3', 'usb-serial-jtag'],
      ['esp32c5', 'usb-serial-jtag'],
      ['esp32c6', 'usb-serial-jtag'],
      ['esp32c61', 'usb-serial-jtag'],
      ['esp32h2', 'usb-serial-jtag'],
      ['esp32p4', 'usb-serial-jtag'],
      ['esp32p4', 'usb-otg'],
    ] as const) {
      const identity = await identityOf({ family, usb });
      assert.equal(identity.usbConnection, usb, family);
    }
    for (const family of ['esp32h4', 'esp32s31'] as const) {
      const { identity } = await bench({ family, usb: 'usb-serial-jtag' }).connect({ usb: USB_SERIAL_JTAG });
      assert.equal(identity.usbConnection, 'usb-serial-jtag', family);
    }
  });

  it('is the same through a stub that was left running', async () => {
    for (const { board } of boards) {
      const on = bench({ ...board, mac: MAC, capabilities: NO_LINES });
      await enterDownloadByHand(on);
      const first = await on.connect();
      await first.prepareToMove();
      assert.equal(on.board.mode, 'stub');
      const second = await on.connect();
      assert.equal(second.loaderKind, 'stub');
      assert.equal(second.identity.mac, MAC);
      assert.deepEqual(second.identity, first.identity);
    }
  });

  it('leaves nothing written but what keeps watchdogs quiet', async () => {
    const on = bench({ usb: 'usb-serial-jtag' });
    await on.connect({ usb: USB_SERIAL_JTAG });
    assert.deepEqual(
      on.board.commands.filter(({ opcode }) => opcode === 0x09),
      [],
    );
  });
});

/** What comes out of a disturbed connect: an identity, or an error that is no crash. */
async function disturbed(on: Bench): Promise<BoardIdentity | EspdError> {
  try {
    return (await on.connect()).identity;
  } catch (error) {
    assert.ok(error instanceof EspdError, String(error));
    assert.ok(!hasCode(error, 'internal'));
    return error;
  }
}

describe('a disturbed line', () => {
  for (const family of ['esp8266', 'esp32', 'esp32s2', 'esp32s3', 'esp32c3'] as const) {
    it(`never makes another board of an ${family}: one byte changed, lost or doubled`, async () => {
      const clean = bench({ family, mac: MAC });
      const { identity } = await clean.connect();
      const bytes = { 'to-host': clean.board.wireBytes.toHost, 'to-board': clean.board.wireBytes.toBoard };
      let failures = 0;
      let runs = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('flip', 'flip', 'drop', 'duplicate' as const),
          fc.constantFrom('to-host', 'to-host', 'to-board' as const),
          fc.nat(),
          async (kind, direction, at) => {
            const on = bench({ family, mac: MAC });
            on.board.addFault({ kind, direction, byte: at % bytes[direction] });
            const outcome = await disturbed(on);
            runs++;
            if (outcome instanceof EspdError) failures++;
            else assert.deepEqual(outcome, identity);
          },
        ),
        { numRuns: 120 },
      );
      assert.equal(failures, 0, `${failures} of ${runs} failed: one byte is to be survived`);
    });
  }

  it('never lets another MAC out: every byte of the answers, one by one', async () => {
    // A board in download mode on a bare link: 30 ms of nothing but answers, and no boot log in them.
    const clean = bench({ family: 'esp32c3', mac: MAC, capabilities: NO_LINES });
    await enterDownloadByHand(clean);
    await clean.connect();
    const total = clean.board.wireBytes.toHost;
    for (let byte = 0; byte < total; byte += 2) {
      const on = bench({ family: 'esp32c3', mac: MAC, capabilities: NO_LINES, appOutput: '' });
      await enterDownloadByHand(on);
      on.board.addFault({ kind: 'flip', direction: 'to-host', byte });
      const outcome = await disturbed(on);
      if (!(outcome instanceof EspdError)) assert.equal(outcome.mac, MAC, `byte ${byte}`);
    }
  });

  it('never lets another MAC out: bursts, and damage that comes again and again', async () => {
    let identified = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('flip', 'drop', 'duplicate' as const),
        fc.nat(4000),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 97, max: 3000 }),
        fc.constantFrom('esp8266', 'esp32', 'esp32c3' as const),
        async (kind, byte, count, every, family) => {
          const on = bench({ family, mac: MAC });
          on.board.addFault({ kind, direction: 'to-host', byte, count, every });
          const outcome = await disturbed(on);
          if (outcome instanceof EspdError) return;
          identified++;
          assert.equal(outcome.mac, MAC);
        },
      ),
      { numRuns: 120 },
    );
    assert.ok(identified > 20, `only ${identified} identified`);
  });
});

describe('a board without an identity', () => {
  it('has no MAC: no-mac, and runs its app again', async () => {
    for (const [family, mac] of [
      ['esp32', '00:00:00:00:00:00'],
      ['esp32c3', 'ff:ff:ff:ff:ff:ff'],
      ['esp8266', '18:fe:34:00:00:00'],
    ] as const) {
      const on = bench({ family, mac });
      await assert.rejects(on.connect(), (error) => hasCode(error, 'no-mac') && error.hint !== '');
      await on.pass(100);
      assert.equal(on.board.mode, 'app');
    }
  });

  it('over USB-OTG is let go by its watchdog', async () => {
    const on = bench({ family: 'esp32s2', usb: 'usb-otg', mac: '00:00:00:00:00:00' });
    await assert.rejects(on.connect(), (error) => hasCode(error, 'no-mac'));
    await on.pass(100);
    assert.equal(on.board.mode, 'app');
  });
});
