import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { RBOOT_CONFIG_BYTES, rbootSelected } from '../../src/firmware/esp8266-rboot.ts';

const SLOTS = [0x2000, 0x102000];

/** rBoot's own layout; `extra` bytes stand before the addresses where Mongoose OS built it. */
function config(
  options: { selected?: number; mode?: number; count?: number; slots?: number[]; extra?: number } = {},
): Buffer {
  const { selected = 0, mode = 0, count = 2, slots = SLOTS, extra = 0 } = options;
  const bytes = Buffer.alloc(RBOOT_CONFIG_BYTES);
  bytes.set([0xe1, 1, mode, selected, 0, count]);
  slots.forEach((slot, index) => bytes.writeUInt32LE(slot, 8 + extra + 4 * index));
  return bytes;
}

describe('rbootSelected', () => {
  test('the slot that boots, in both layouts', () => {
    assert.equal(rbootSelected(config(), SLOTS), 0x2000);
    assert.equal(rbootSelected(config({ selected: 1 }), SLOTS), 0x102000);
    const mongoose = [0x8000, 0x108000];
    assert.equal(rbootSelected(config({ slots: mongoose, extra: 4 }), mongoose), 0x8000);
    assert.equal(rbootSelected(config({ slots: mongoose, extra: 4, selected: 1 }), mongoose), 0x108000);
    // As a Shelly has it after years.
    const shelly = Buffer.from('e1010000000200000000000000800000008010000000000000000000', 'hex');
    assert.equal(rbootSelected(shelly, [0x8000]), 0x8000);
  });

  test('nothing where it is blank, damaged, decided by a pin, or leads to no image', () => {
    const cases = [
      Buffer.alloc(0),
      Buffer.alloc(RBOOT_CONFIG_BYTES, 0xff),
      Buffer.alloc(RBOOT_CONFIG_BYTES),
      config({ mode: 1 }),
      config({ selected: 2 }),
      config({ count: 0 }),
      config({ count: 200, selected: 100 }),
      config({ slots: [0x3000, 0x4000] }),
      config({ slots: [] }),
      config({ extra: 4, slots: [0x3000] }),
    ];
    for (const [index, bytes] of cases.entries()) assert.equal(rbootSelected(bytes, SLOTS), null, String(index));
    for (let length = 0; length < RBOOT_CONFIG_BYTES; length += 1) {
      assert.equal(rbootSelected(config().subarray(0, length), SLOTS), null);
    }
  });
});
