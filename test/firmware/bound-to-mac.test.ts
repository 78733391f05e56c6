import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { boundToMac } from '../../src/firmware/bound-to-mac.ts';
import type { FlashPart } from '../../src/firmware/flash-map.ts';

const MAC = '50:02:91:c3:37:a5';
const part = (name: string, type: string, subtype: string, offset: number, sizeBytes: number): FlashPart => {
  return { name, kind: 'partition', type, subtype, offset, sizeBytes };
};

async function search(flash: Buffer, parts: readonly FlashPart[]) {
  const reads: [number, number][] = [];
  const found = await boundToMac(
    (offset, length) => {
      reads.push([offset, length]);
      return Promise.resolve(flash.subarray(offset, offset + length));
    },
    parts,
    MAC,
  );
  return { found, reads };
}

describe('boundToMac', () => {
  it('names what belongs to a board by its kind, and every place where its MAC stands in data', async () => {
    const flash = Buffer.alloc(0x100000, 0xff);
    Buffer.from('500291c337a5', 'hex').copy(flash, 0x9100);
    flash.write('id=50:02:91:C3:37:A5;500291C337A5;ESP_C337A5', 0x80000 + 256 * 1024 - 5, 'latin1');
    flash.write('50:02:91:c3:37:a5', 0x10000, 'latin1'); // in an app, where a board keeps nothing of its own
    const parts = [
      part('nvs', 'data', 'nvs', 0x9000, 0x5000),
      part('app', 'app', 'factory', 0x10000, 0x10000),
      part('storage', 'data', 'spiffs', 0x80000, 0x80000),
      part('phy', 'data', 'phy', 0xe000, 0x1000),
    ];
    const { found } = await search(flash, parts);
    const at = 0x80000 + 256 * 1024 - 5;
    assert.deepEqual(
      found.map(({ part: name, offset, what }) => [name, offset, what.replace(/ of that board.*|, if.*/, '')]),
      [
        ['nvs', null, 'holds the settings'],
        ['phy', null, 'holds radio calibration'],
        ['nvs', 0x9100, 'holds its MAC as bytes'],
        ['storage', at + 3, 'holds its MAC as text'],
        ['storage', at + 21, 'holds its MAC as text'],
        ['storage', at + 37, 'holds a name made of its MAC'],
      ],
    );
  });

  it('looks at what is outside every partition, and names the settings of Arduino and Tasmota', async () => {
    const flash = Buffer.alloc(0x20000, 0xff);
    flash.write('wled-c337a5', 0x4100, 'latin1');
    const gap: FlashPart = { ...part('outside any partition', '', '', 0x4000, 0x4000), kind: 'gap' };
    const table: FlashPart = { ...part('partition table', '', '', 0x8000, 0x1000), kind: 'partition-table' };
    flash.write('wled-c337a5', 0x8100, 'latin1');
    const parts = [
      gap,
      table,
      part('settings', 'data', 'tasmota', 0xa000, 0x1000),
      part('eeprom', 'data', 'eeprom', 0xb000, 0x1000),
    ];
    const { found } = await search(flash, parts);
    assert.deepEqual(
      found.map(({ part: name, offset, what }) => [name, offset, what]),
      [
        ['settings', null, 'holds the settings of that board'],
        ['eeprom', null, 'holds the settings of that board'],
        ['outside any partition', 0x4104, 'holds a name made of its MAC'],
      ],
    );
  });

  it('is bounded for an image that is full of it', async () => {
    const flash = Buffer.alloc(0x100000, Buffer.from('500291c337a5', 'hex'));
    const { found } = await search(flash, [part('x', '0x40', '__proto__', 0, 0x100000)]);
    assert.equal(found.length, 20);
    assert.deepEqual((await search(flash, [])).found, []);
  });
});
