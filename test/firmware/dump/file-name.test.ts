import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { datesInName, macsInName, offsetInName } from '../../../src/firmware/dump/file-name.ts';

const MAC = '50:02:91:c3:37:a5';

describe('the MAC in the name of a file', () => {
  for (const name of [
    '50-02-91-c3-37-a5.bin',
    '50_02_91_C3_37_A5.bin',
    '50:02:91:c3:37:a5',
    '50.02.91.c3.37.a5.bin',
    '50 02 91 c3 37 a5.bin',
    '500291c337a5.bin.gz',
    '500291C337A5_2024-01-02.bin',
    '2024-01-02_500291C337A5.bin',
    '20240102-153000_50-02-91-c3-37-a5.bin',
    'esp32_50_02_91_c3_37_a5.bin',
    'flash_dump(500291c337a5).bin',
    'kitchen-500291c337a5 (1).bin',
    '500291fffec337a5.bin',
    '50-02-91-ff-fe-c3-37-a5.bin',
    '50-02-91-c3-37-a5_500291C337A5.bin',
    'küche_500291c337a5.bin',
    'a5_50-02-91-c3-37-a5.bin',
  ]) {
    test(name, () => {
      assert.deepEqual(macsInName(name), [MAC]);
    });
  }

  for (const name of [
    'fw-backup-4M.bin',
    'flash.bin',
    'nvs_0x9000.bin',
    'manual_flash_region_0x0_0x400000.bin',
    '500291c337a5b.bin', // a digit too many
    'x500291c337a5.bin', // no word of its own
    '500291c337.bin',
    '50-02-91-c3-37.bin',
    '50-02-91-c3_37-a5.bin',
    '50-02-91-c3-37-a5-01.bin', // which six of seven?
    '50_02_91_c3_37_a5_24_01_02.bin',
    '500291aabbc337a5.bin', // no EUI-64 of a MAC
    '202401021530.bin', // a time
    '24-01-02-15-30-00.bin', // a time
    '000000000000.bin',
    'ff-ff-ff-ff-ff-ff.bin',
    '010203040506.bin', // of a group
    'deadbeef.bin',
    '',
  ]) {
    test(`none in ${name || 'an empty name'}`, () => {
      assert.deepEqual(macsInName(name), []);
    });
  }

  test('two are two', () => {
    assert.deepEqual(macsInName('500291c337a5-24-0a-c4-12-45-56.bin'), [MAC, '24:0a:c4:12:45:56']);
  });

  test('law: whatever the name, it is found as a word of its own, and nothing throws', () => {
    const word = fc.stringMatching(/^[g-z]{1,8}$/);
    fc.assert(
      fc.property(word, word, fc.constantFrom('', '-', '_', ':'), (before, after, separator) => {
        const mac = MAC.replaceAll(':', separator);
        assert.deepEqual(macsInName(`${before} ${mac} ${after}.bin`), [MAC]);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (name) => {
        assert.ok(Array.isArray(macsInName(name)) && Array.isArray(datesInName(name)));
        assert.ok(Number.isSafeInteger(offsetInName(name) ?? 0));
      }),
    );
  });
});

describe('the date in the name of a file', () => {
  const local = (text: string) => new Date(text).toISOString();
  for (const [name, ...dates] of [
    ['500291C337A5_2024-01-02.bin', '2024-01-02T00:00:00.000Z'],
    ['2024.01.02.bin', '2024-01-02T00:00:00.000Z'],
    ['flash_20240102.bin', '2024-01-02T00:00:00.000Z'],
    ['2026-11-23T10-00-00Z.bin', '2026-11-23T10:00:00.000Z'],
    ['20261123T100000Z.bin', '2026-11-23T10:00:00.000Z'],
    // As ESPConnect stamps images of file systems: local time.
    ['littlefs_2026-03-04_05-06-07.bin', local('2026-03-04T05:06:07')],
    ['20240102-1530.bin', local('2024-01-02T15:30:00')],
    ['2024-01-02_2024-01-02.bin', '2024-01-02T00:00:00.000Z'],
    ['2024-01-02 2024-02-03.bin', '2024-01-02T00:00:00.000Z', '2024-02-03T00:00:00.000Z'],
    ['2024-02-30.bin'],
    ['2013-01-02.bin'],
    ['2024-13-01.bin'],
    ['2024-01_02.bin'],
    ['120240102.bin'],
    ['202401021.bin'],
    ['20-24-01-02-aa-bb.bin'],
    ['202401021fae.bin'], // a MAC
    ['fw-backup-4M.bin'],
  ] as const) {
    test(name, () => {
      assert.deepEqual(
        datesInName(name).map((date) => date.toISOString()),
        dates,
      );
    });
  }
});

test('the offset in the name of a file', () => {
  assert.equal(offsetInName('nvs_0x9000.bin'), 0x9000);
  assert.equal(offsetInName('manual_flash_region_0x0_0x400000.bin'), 0);
  assert.equal(offsetInName('app-0x10000.bin'), 0x10000);
  assert.equal(offsetInName('my_app.elf-0x00000.bin'), 0);
  for (const name of ['flash.bin', 'x0x10.bin', '0x.bin', '0x123456789.bin', '10000.bin']) {
    assert.equal(offsetInName(name), undefined, name);
  }
});
