import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { UsbFacts } from '../../src/serial/link.ts';
import type { PortInfo, PortMatcher } from '../../src/serial/ports.ts';
import { decide, macFromUsb, matches, matchesGlob, touchExisting } from '../../src/serial/rules.ts';

const NO_RULES = { allow: [], deny: [] };

function usbPort(ids: string, texts: Partial<UsbFacts> = {}, port: Partial<PortInfo> = {}): PortInfo {
  const [vendorId = '', productId = ''] = ids.split(':');
  const usb = { vendorId, productId, serialNumber: null, manufacturer: null, product: null, location: null, ...texts };
  return { address: '/dev/ttyUSB0', key: 'k', usb, fromFolder: false, ...port };
}

describe('defaults', () => {
  // As these bridges and chips announce themselves on the usual boards.
  const boards: [ids: string, manufacturer: string | null, product: string | null][] = [
    ['10c4:ea60', 'Silicon Labs', 'CP2102 USB to UART Bridge Controller'],
    ['10c4:ea60', 'Silicon Labs', 'CP2102N USB to UART Bridge Controller'],
    ['10c4:ea71', 'Silicon Labs', 'CP2108 Quad USB to UART Bridge Controller'],
    ['1a86:7523', null, 'USB2.0-Serial'],
    ['1a86:7523', '1a86', 'USB Serial'],
    ['1a86:7522', null, 'USB2.0-Ser!'],
    ['1a86:55d4', '1a86', 'USB Single Serial'],
    ['1a86:55d3', '1a86', 'USB Single Serial'],
    ['1a86:55d2', '1a86', 'USB Dual_Serial'],
    ['0403:6001', 'FTDI', 'FT232R USB UART'],
    ['0403:6010', 'FTDI', 'Dual RS232-HS'],
    ['0403:6011', 'FTDI', 'Quad RS232-HS'],
    ['0403:6014', 'FTDI', 'Single RS232-HS'],
    ['0403:6015', 'FTDI', 'FT231X USB UART'],
    ['0403:6001', 'M5STACK Inc.', 'M5StickC'],
    ['067b:2303', 'Prolific Technology Inc.', 'USB-Serial Controller'],
    ['067b:23a3', 'Prolific Technology Inc.', 'USB-Serial Controller'],
    ['303a:1002', 'Espressif', 'ESP USB Bridge'],
    ['303a:4001', 'Espressif Systems', 'Espressif Device'],
    ['303a:8143', 'DPTechnics', 'Walter'],
    ['303a:80bf', 'WEMOS.CC', 'LOLIN-S2-MINI'],
  ];
  for (const [ids, manufacturer, product] of boards) {
    test(`${ids} ${product ?? ''} may be an ESP board`, () => {
      const decision = decide(usbPort(ids, { manufacturer, product }), NO_RULES);
      assert.deepEqual([decision.touch, decision.known], [true, 'bridge']);
      assert.equal(touchExisting(decision, 'known'), false);
    });
  }

  for (const [ids, product] of [
    ['303a:1001', 'USB JTAG/serial debug unit'],
    ['303a:0002', 'ESP32-S2'],
    ['303a:0009', 'ESP32-S3'],
    ['303a:0012', 'ESP32-P4'],
    ['303a:0020', 'ESP32-S31'],
  ] as const) {
    test(`${ids} is an ESP chip`, () => {
      const decision = decide(usbPort(ids, { manufacturer: 'Espressif', product }), NO_RULES);
      assert.deepEqual([decision.touch, decision.known], [true, 'esp']);
      assert.equal(touchExisting(decision, 'known'), true);
    });
  }

  const gadgets: [ids: string, manufacturer: string | null, product: string | null][] = [
    ['10c4:ea60', 'Silicon Labs', 'Sonoff Zigbee 3.0 USB Dongle Plus'],
    ['10c4:ea60', 'ITead', 'Sonoff Zigbee 3.0 USB Dongle Plus'],
    ['10c4:ea60', 'SONOFF', 'SONOFF Dongle Max MG24'],
    ['1a86:55d4', 'ITEAD', 'SONOFF Zigbee 3.0 USB Dongle Plus V2'],
    ['10c4:ea60', 'Nabu Casa', 'SkyConnect v1.0'],
    ['10c4:ea60', 'Nabu Casa', 'Home Assistant Connect ZBT-1'],
    ['303a:4001', 'Nabu Casa', 'ZBT-2'],
    ['303a:831a', 'Nabu Casa', 'ZBT-2'],
    ['303a:4001', 'Nabu Casa', 'ZWA-2'],
    ['10c4:ea60', 'SMLIGHT', 'SMLIGHT SLZB-06p10'],
    ['10c4:ea60', 'SMLIGHT', 'SMLIGHT SLZB-07'],
    ['10c4:ea60', 'Silicon Labs', "slae.sh cc2652rb stick - slaesh's iot stuff"],
    ['0403:6015', 'dresden elektronik', 'ConBee III'],
    // In transceivers, with the texts of its maker.
    ['10c4:ea70', 'Silicon Labs', 'CP2105 Dual USB to UART Bridge Controller'],
    ['1cf1:0030', 'dresden elektronik ingenieurtechnik GmbH', 'ConBee II'],
    ['0403:6015', 'FTDI', 'ZiGate'],
    ['067b:2303', 'zigate_PL2303', null],
    ['1a86:7523', null, 'TubesZB'],
    ['10c4:8a2a', 'Silicon Labs', 'HubZ Smart Home Controller'],
    ['0658:0200', null, null],
    ['0403:6001', 'FTDI', 'IR-Schreib-Lesekopf'],
    ['0403:6001', 'FTDI', 'P1 Converter Cable'],
    ['0403:6015', 'VictronEnergy BV', 'VE Direct cable'],
    ['2341:0043', 'Arduino (www.arduino.cc)', null],
    ['2a03:0043', null, null],
    ['2c99:000c', 'Prusa Research (prusa3d.com)', 'Original Prusa MINI'],
    ['1546:01a7', 'u-blox AG - www.u-blox.com', 'u-blox 7 - GPS/GNSS Receiver'],
    ['067b:2303', 'Prolific', 'GPS Receiver'],
    ['12d1:1506', 'HUAWEI', 'HUAWEI Mobile'],
    ['2c7c:0125', 'Quectel', 'EC25'],
    ['1199:9071', 'Sierra Wireless, Incorporated', 'MC7455'],
    ['0483:5740', 'Flipper Devices Inc.', 'Flipper Anna'],
    ['0483:374b', 'STMicroelectronics', 'STM32 STLink'],
    ['1366:0105', 'SEGGER', 'J-Link'],
    ['0403:6010', 'Digilent', 'Digilent USB Device'],
  ];
  for (const [ids, manufacturer, product] of gadgets) {
    test(`${ids} ${manufacturer ?? ''} ${product ?? ''} is left alone`, () => {
      const port = usbPort(ids, { manufacturer, product });
      const decision = decide(port, NO_RULES);
      assert.equal(decision.touch, false);
      assert.match(decision.reason, /not an ESP board$/);
      assert.equal(touchExisting(decision, 'all'), false);
      const allowed = decide(port, { allow: [{ path: '/dev/ttyUSB0' }], deny: [] });
      assert.equal(allowed.touch, true);
      const linked = decide({ ...port, fromFolder: true }, NO_RULES);
      assert.deepEqual([linked.touch, linked.known], [true, 'folder']);
    });
  }

  test('unknown devices, and ports that are no USB devices, are left alone', () => {
    assert.deepEqual(decide(usbPort('dead:beef'), NO_RULES), {
      touch: false,
      known: 'no',
      reason: 'not one of the USB ids found on ESP boards',
    });
    const pty = { address: '/dev/ttyS0', key: 'k', usb: null, fromFolder: false };
    assert.deepEqual(decide(pty, NO_RULES), { touch: false, known: 'no', reason: 'not a USB device' });
    assert.equal(decide(pty, { allow: [{ path: '/dev/ttyS*' }], deny: [] }).touch, true);
  });
});

describe('matchers', () => {
  const port = usbPort(
    '0403:6001',
    { serialNumber: 'A50285BI', product: 'FT232R USB UART', location: '1-1.4:1.0' },
    { aliases: ['/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0'] },
  );

  const cases: [matcher: PortMatcher, expected: boolean][] = [
    [{}, false],
    [{ vendorId: undefined }, false],
    [{ vendorId: '0403' }, true],
    [{ vendorId: '403' }, true],
    [{ vendorId: '0x0403', productId: '6001' }, true],
    [{ vendorId: '0403', productId: '6015' }, false],
    [{ productId: '60*' }, true],
    [{ serialNumber: 'a50285bi' }, true],
    [{ serialNumber: 'A50285' }, false],
    [{ serialNumber: '' }, false],
    [{ manufacturer: '*' }, false],
    [{ product: '*usb*' }, true],
    [{ path: '/dev/ttyUSB*' }, true],
    [{ path: '/dev/serial/by-id/*FT232R*' }, true],
    [{ path: '*', location: '1-1.4:*' }, true],
    [{ path: '*', location: '2-*' }, false],
  ];
  for (const [matcher, expected] of cases) {
    test(`${JSON.stringify(matcher)}: ${expected}`, () => assert.equal(matches(port, matcher), expected));
  }

  test('globs agree with regular expressions and never explode', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '.', '(') });
    const patterns = fc.string({ unit: fc.constantFrom('a', 'b', '.', '(', '*') });
    fc.assert(
      fc.property(letters, patterns, (text, pattern) => {
        const source = pattern.replace(/[.(]/g, '\\$&').replace(/\*+/g, '.*');
        assert.equal(matchesGlob(text, pattern), new RegExp(`^${source}$`, 's').test(text));
      }),
      { numRuns: 2000 },
    );
    assert.equal(matchesGlob('a'.repeat(50_000), `${'*a'.repeat(200)}*b`), false);
  });
});

describe('laws', () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('10c4', 'ea60', '303a', '1001', 'Sonoff Zigbee', '*', 'a*'));
  const orNull = fc.option(text, { nil: null });
  const facts = fc.record({
    vendorId: text,
    productId: text,
    serialNumber: orNull,
    manufacturer: orNull,
    product: orNull,
    location: orNull,
  });
  const ports = fc.record({
    address: fc.string({ minLength: 1 }),
    key: fc.string(),
    usb: fc.option(facts, { nil: null }),
    fromFolder: fc.boolean(),
  });
  const matcher = fc.record(
    { vendorId: text, productId: text, serialNumber: text, manufacturer: text, product: text, path: text },
    { requiredKeys: [] },
  );
  const rules = fc.record({ allow: fc.array(matcher), deny: fc.array(matcher) });

  test('every port gets a decision with a reason, and deny wins', () => {
    fc.assert(
      fc.property(ports, rules, (port, someRules) => {
        const decision = decide(port, someRules);
        assert.ok(['esp', 'bridge', 'folder', 'no'].includes(decision.known));
        assert.ok(decision.reason.length > 0);
        if (someRules.deny.some((entry) => matches(port, entry))) assert.equal(decision.touch, false);
        else if (someRules.allow.some((entry) => matches(port, entry))) assert.equal(decision.touch, true);
        const denied = decide(port, { ...someRules, deny: [...someRules.deny, { path: '*' }] });
        assert.equal(denied.touch, false);
        for (const policy of ['known', 'all', 'none'] as const) {
          assert.equal(touchExisting(denied, policy), false);
          if (touchExisting(decision, policy)) assert.ok(decision.touch && policy !== 'none');
        }
      }),
    );
  });

  test('a rule more never touches what a denial less would not', () => {
    fc.assert(
      fc.property(ports, rules, matcher, (port, someRules, extra) => {
        const before = decide(port, someRules);
        const after = decide(port, { ...someRules, deny: [...someRules.deny, extra] });
        assert.ok(!after.touch || before.touch);
      }),
    );
  });
});

describe('MAC from USB', () => {
  const cases: [ids: string, serialNumber: string | null, mac: string | undefined][] = [
    ['303a:1001', '7C:DF:A1:B2:C3:D4', '7c:df:a1:b2:c3:d4'],
    ['303a:1001', '7CDFA1B2C3D4', '7c:df:a1:b2:c3:d4'],
    ['303a:1001', '123456', undefined],
    ['303a:1001', '7C:DF:A1:B2:C3:D4:00', undefined],
    ['303a:1001', null, undefined],
    ['303a:0002', '7C:DF:A1:B2:C3:D4', undefined],
    ['10c4:ea60', '7C:DF:A1:B2:C3:D4', undefined],
  ];
  for (const [ids, serialNumber, mac] of cases) {
    test(`${ids} ${serialNumber ?? 'none'}`, () => assert.equal(macFromUsb(usbPort(ids, { serialNumber })), mac));
  }
  test('no USB device', () => {
    assert.equal(macFromUsb({ address: '/dev/pts/1', key: '', usb: null, fromFolder: true }), undefined);
  });
});
