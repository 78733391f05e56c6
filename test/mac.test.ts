/** MACs as people and tools write them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { macFromFolder, macToFolder, parseMac } from '../src/mac.ts';

const MAC = '50:02:91:c3:37:a5';

describe('parseMac', () => {
  test('takes colons, dashes or nothing between the digits, in either case', () => {
    for (const text of [MAC, MAC.toUpperCase(), '50-02-91-C3-37-A5', '500291c337a5']) assert.equal(parseMac(text), MAC);
  });

  test('takes the EUI-64 that esptool prints for chips with 802.15.4', () => {
    for (const text of ['50:02:91:ff:fe:c3:37:a5', '50-02-91-FF-FE-C3-37-A5', '500291fffec337a5']) {
      assert.equal(parseMac(text), MAC);
    }
  });

  test('takes nothing else', () => {
    for (const text of [
      '',
      '50:02:91:c3:37',
      '50:02:91:c3:37:a5:00',
      '50:02-91:c3:37:a5',
      '50:02:91:ff:fe-c3:37:a5',
      '50:02:91:fe:ff:c3:37:a5',
      '50:02:91:00:00:c3:37:a5',
      '50:02:91:ff:fe:c3:37:a5:00',
      ` ${MAC}`,
      'ESP_C337A5',
      'g0:02:91:c3:37:a5',
    ]) {
      assert.equal(parseMac(text), undefined, text);
    }
  });

  test('every MAC is that of its EUI-64, and of its folder', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
        const hex = Buffer.from(bytes).toString('hex');
        const mac = parseMac(hex)!;
        assert.equal(parseMac(`${hex.slice(0, 6)}fffe${hex.slice(6)}`), mac);
        assert.equal(macFromFolder(macToFolder(mac)), mac);
      }),
    );
    assert.equal(macFromFolder('50-02-91-ff-fe-c3-37-a5'), undefined);
  });
});
