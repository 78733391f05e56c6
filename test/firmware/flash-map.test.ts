import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { mapFlash, partAt, sharesOf } from '../../src/firmware/flash-map.ts';

const nvs = { name: 'nvs', type: 'data', subtype: 'nvs', offset: 0x9000, sizeBytes: 0x5000 };
const app = { name: 'factory', type: 'app', subtype: 'factory', offset: 0x10000, sizeBytes: 0x20000 };

describe('mapFlash', () => {
  it('names bootloader, table, partitions and what lies between', () => {
    const parts = mapFlash([app, nvs], 0x8000, { sizeBytes: 0x40000, family: 'esp32' });
    assert.deepEqual(
      parts.map(({ name, kind, offset, sizeBytes }) => [name, kind, offset, sizeBytes]),
      [
        ['outside any partition', 'gap', 0, 0x1000],
        ['bootloader', 'bootloader', 0x1000, 0x7000],
        ['partition table', 'partition-table', 0x8000, 0x1000],
        ['nvs', 'partition', 0x9000, 0x5000],
        ['outside any partition', 'gap', 0xe000, 0x2000],
        ['factory', 'partition', 0x10000, 0x20000],
        ['outside any partition', 'gap', 0x30000, 0x10000],
      ],
    );
    assert.equal(partAt(parts, 0x9fff)?.name, 'nvs');
    assert.equal(partAt(parts, 0x40000), undefined);
  });

  it('covers every byte once, whatever the table says', () => {
    const number = fc.oneof(fc.nat(0x50000), fc.constantFrom(0, 0xffffffff, 0x9000));
    const partition = fc.record({ offset: number, sizeBytes: number });
    fc.assert(
      fc.property(fc.array(partition, { maxLength: 20 }), fc.option(number), (partitions, tableOffset) => {
        const named = partitions.map((place, index) => ({ name: `p${index}`, type: 'data', subtype: 'x', ...place }));
        const parts = mapFlash(named, tableOffset, { sizeBytes: 0x40000, family: 'esp32' });
        let at = 0;
        for (const part of parts) {
          assert.equal(part.offset, at);
          assert.ok(part.sizeBytes > 0);
          at += part.sizeBytes;
        }
        assert.equal(at, 0x40000);
        const shares = sharesOf(parts, [{ offset: 0, sizeBytes: 0x40000 }]);
        assert.equal(
          shares.reduce((sum, { sectors }) => sum + sectors, 0),
          0x40,
        );
      }),
    );
  });
});

describe('sharesOf', () => {
  it('counts each sector where its first byte lies', () => {
    const parts = mapFlash([{ ...nvs, sizeBytes: 0x4800 }, app], null, { sizeBytes: 0x40000, family: 'esp32c3' });
    const shares = sharesOf(parts, [
      { offset: 0x8000, sizeBytes: 0x6000 },
      { offset: 0x12000, sizeBytes: 0x1000 },
    ]);
    assert.deepEqual(
      shares.map(({ name, sectors, bytes, from, to }) => [name, sectors, bytes, from, to]),
      [
        ['outside any partition', 1, 4096, 0x8000, 0x9000],
        ['nvs', 5, 5 * 4096, 0x9000, 0xe000],
        ['factory', 1, 4096, 0x12000, 0x13000],
      ],
    );
    const scattered = sharesOf(parts, [
      { offset: 0x11000, sizeBytes: 0x1000 },
      { offset: 0x18000, sizeBytes: 0x2000 },
    ]);
    assert.deepEqual(
      scattered.map(({ name, offset, sectors, from, to }) => [name, offset, sectors, from, to]),
      [['factory', app.offset, 3, 0x11000, 0x1a000]],
    );
    assert.deepEqual(sharesOf(parts, []), []);
  });
});
