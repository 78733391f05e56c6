import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { flashManufacturer, flashSizeBytes } from '../../src/esp/flash-ids.ts';

const MIB = 1024 * 1024;
const size = (id: string) => flashSizeBytes({ manufacturer: id.slice(0, 2), device: id.slice(3) });

for (const [id, expected] of [
  // The how-to's board.
  ['5e 4016', 4 * MIB],
  // Winbond, GigaDevice, XMC, Puya, Boya as found on boards.
  ['ef 4016', 4 * MIB],
  ['c8 4016', 4 * MIB],
  ['c8 4014', 1 * MIB],
  ['20 4016', 4 * MIB],
  ['85 6015', 2 * MIB],
  ['68 4018', 16 * MIB],
  // The ends of each range.
  ['ef 4012', MIB / 4],
  ['ef 4013', MIB / 2],
  ['ef 4019', 32 * MIB],
  ['ef 401c', 256 * MIB],
  ['ef 4011', undefined],
  ['ef 401d', undefined],
  // Micron counts on in decimal; Macronix of 1.8 V begins at 0x32.
  ['20 ba19', 32 * MIB],
  ['20 ba20', 64 * MIB],
  ['20 ba21', 128 * MIB],
  ['20 ba22', 256 * MIB],
  ['20 ba23', undefined],
  ['c2 2531', undefined],
  ['c2 2532', MIB / 4],
  ['c2 2538', 16 * MIB],
  ['c2 253a', 64 * MIB],
  ['c2 253b', undefined],
  // Adesto: AT25SF041, AT25SF321, AT25SL128A, AT25SL641; elsewhere the capacity byte means nothing.
  ['1f 8401', MIB / 2],
  ['1f 8701', 4 * MIB],
  ['1f 4218', 16 * MIB],
  ['1f 4317', 8 * MIB],
  ['1f 4116', undefined],
  ['1f 8901', 16 * MIB],
  ['1f 8a01', undefined],
  // SST: SST25VF032B, SST26VF064B; and one that is not in the table.
  ['bf 254a', 4 * MIB],
  ['bf 2643', 8 * MIB],
  ['bf 2616', undefined],
  // Nothing there.
  ['00 0000', undefined],
  ['ff ffff', undefined],
] as const) {
  test(`${id} is ${expected === undefined ? 'not known' : `${expected} bytes`}`, () => {
    assert.equal(size(id), expected);
  });
}

test('every size is a power of two from 256 KiB to 256 MiB, whatever the id', () => {
  fc.assert(
    fc.property(fc.nat(0xff), fc.nat(0xffff), (maker, device) => {
      const id = { manufacturer: maker.toString(16).padStart(2, '0'), device: device.toString(16).padStart(4, '0') };
      const bytes = flashSizeBytes(id);
      if (bytes === undefined) return;
      assert.ok(bytes >= MIB / 4 && bytes <= 256 * MIB && Number.isInteger(Math.log2(bytes)), String(bytes));
    }),
    { numRuns: 2000 },
  );
});

test('what is no id is not known', () => {
  for (const id of [
    { manufacturer: '', device: '' },
    { manufacturer: 'ef', device: '40' },
    { manufacturer: 'EF', device: '4016' },
    { manufacturer: 'ef', device: '40160' },
    { manufacturer: 'zz', device: '4016' },
    { manufacturer: 'constructor', device: '4016' },
  ]) {
    assert.equal(flashSizeBytes(id), undefined);
  }
});

test('manufacturers', () => {
  const name = (manufacturer: string, device = '4016') => flashManufacturer({ manufacturer, device });
  assert.equal(name('5e'), 'Zbit');
  assert.equal(name('ef'), 'Winbond');
  assert.equal(name('20'), 'XMC');
  assert.equal(name('20', 'ba18'), 'Micron (Numonyx, ST)');
  assert.equal(name('77'), undefined);
  assert.equal(name('constructor'), undefined);
  assert.equal(name(''), undefined);
});
