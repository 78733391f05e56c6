/** Register words against values worked out by hand or read from real chips. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chipModelOf, chipModels } from '../../src/simulator/index.ts';
import type { ChipIdentity, Family } from '../../src/simulator/index.ts';

function words(family: Family, more: Partial<ChipIdentity> = {}): ReadonlyMap<number, number> {
  const model = chipModelOf(family);
  return model.registers({
    mac: '50:02:91:c3:37:a5',
    ...model.defaults,
    flashCapacity: 0,
    flashVendor: 0,
    psramCapacity: 0,
    psramVendor: 0,
    flashEncryption: false,
    secureBoot: false,
    secureDownload: false,
    downloadDisabled: false,
    ...more,
  });
}

const at = (map: ReadonlyMap<number, number>, address: number) => (map.get(address) ?? 0) >>> 0;

test('thirteen families, each with its chip id', () => {
  assert.deepEqual(
    chipModels.map(({ family, chipId }) => [family, chipId]),
    [
      ['esp8266', null],
      ['esp32', 0],
      ['esp32s2', 2],
      ['esp32s3', 9],
      ['esp32c2', 12],
      ['esp32c3', 5],
      ['esp32c5', 23],
      ['esp32c6', 13],
      ['esp32c61', 20],
      ['esp32h2', 16],
      ['esp32p4', 18],
      ['esp32h4', 28],
      ['esp32s31', 32],
    ],
  );
});

test('ESP8266: the MAC of the how-to', () => {
  const map = words('esp8266');
  assert.equal(at(map, 0x3ff00050) >>> 24, 0xa5);
  assert.equal(at(map, 0x3ff00054) & 0xffff, 0xc337);
  assert.equal(at(map, 0x3ff0005c), 0x500291);
  assert.equal(at(map, 0x3ff00050) & 0x10, 0);
  const esp8285 = words('esp8266', { packageVersion: 1 });
  assert.equal(at(esp8285, 0x3ff00050) & 0x10, 0x10);
  assert.equal(at(esp8285, 0x3ff00058) & 0x10000, 0x10000);
});

test('ESP32: MAC with the CRC that two recorded chips have', () => {
  const first = words('esp32', { mac: '24:0a:c4:de:ad:01' });
  assert.equal(at(first, 0x3ff5a004), 0xc4dead01);
  assert.equal(at(first, 0x3ff5a008), 0x0034240a);
  assert.equal(at(words('esp32', { mac: '24:0a:c4:00:01:10' }), 0x3ff5a008), 0x00b9240a);
});

test('ESP32: revisions 0 to 3, package, security', () => {
  const bits = (major: number) => {
    const map = words('esp32', { revision: { major, minor: 0 } });
    return [(at(map, 0x3ff5a00c) >>> 15) & 1, (at(map, 0x3ff5a014) >>> 20) & 1, at(map, 0x3ff6607c) >>> 31];
  };
  assert.deepEqual(
    [bits(0), bits(1), bits(2), bits(3)],
    [
      [0, 0, 0],
      [1, 0, 0],
      [1, 1, 0],
      [1, 1, 1],
    ],
  );
  assert.equal((at(words('esp32', { revision: { major: 3, minor: 1 } }), 0x3ff5a014) >>> 24) & 3, 1);
  const pico = words('esp32', { packageVersion: 5 });
  assert.equal((at(pico, 0x3ff5a00c) >>> 9) & 7, 5);
  const secure = words('esp32', { flashEncryption: true, secureBoot: true, downloadDisabled: true });
  assert.equal(at(secure, 0x3ff5a000), (1 << 20) | (1 << 27));
  assert.equal(at(secure, 0x3ff5a018), 0x20);
});

test('ESP32-C3: words of the recorded chip', () => {
  const map = words('esp32c3', { mac: '7c:df:a1:be:ef:02', revision: { major: 0, minor: 3 } });
  assert.equal(at(map, 0x60008844), 0xa1beef02);
  assert.equal(at(map, 0x60008848), 0x00007cdf);
  assert.equal(at(map, 0x60008850), 0x000c0000);
  assert.equal(at(map, 0x60008858), 0);
  // v1.11: the fourth bit of the minor version stands two words further on.
  const later = words('esp32c3', { revision: { major: 1, minor: 11 } });
  assert.equal((at(later, 0x60008850) >>> 18) & 7, 3);
  assert.equal(at(later, 0x60008858), (1 << 23) | (1 << 24));
});

test('where each family keeps MAC, revision, encryption and secure boot', () => {
  // [MAC word, [address, major bit, minor bit] for v1.1, encryption address and bit, secure boot address and bit]
  const places: Record<string, [number, [number, number, number][], [number, number], [number, number]]> = {
    esp32s2: [
      0x3f41a044,
      [
        [0x3f41a050, 18, -1],
        [0x3f41a054, -1, 4],
      ],
      [0x3f41a034, 18],
      [0x3f41a038, 20],
    ],
    esp32s3: [
      0x60007044,
      [
        [0x60007058, 24, -1],
        [0x60007050, -1, 18],
      ],
      [0x60007034, 18],
      [0x60007038, 20],
    ],
    esp32c2: [0x60008840, [[0x60008844, 20, 16]], [0x60008830, 7], [0x60008830, 21]],
    esp32c3: [
      0x60008844,
      [
        [0x60008858, 24, -1],
        [0x60008850, -1, 18],
      ],
      [0x60008834, 18],
      [0x60008838, 20],
    ],
    esp32c5: [0x600b4844, [[0x600b484c, 4, 0]], [0x600b4834, 16], [0x600b4838, 25]],
    esp32c6: [0x600b0844, [[0x600b0850, 22, 18]], [0x600b0834, 18], [0x600b0838, 20]],
    esp32c61: [0x600b4844, [[0x600b484c, 4, 0]], [0x600b4830, 23], [0x600b4834, 26]],
    esp32h2: [0x600b0844, [[0x600b0850, 21, 18]], [0x600b0834, 18], [0x600b0838, 20]],
    esp32p4: [0x5012d044, [[0x5012d04c, 4, 0]], [0x5012d034, 18], [0x5012d038, 20]],
    esp32h4: [0x600b1844, [[0x600b1850, 22, 18]], [0x600b1830, 23], [0x600b1838, 5]],
    esp32s31: [0x20715050, [[0x2071505c, 22, 18]], [0x20715034, 21], [0x2071503c, 2]],
  };
  assert.equal(Object.keys(places).length, chipModels.length - 2);
  for (const [family, [mac, versions, crypt, secureBoot]] of Object.entries(places)) {
    const map = words(family as Family, {
      revision: { major: 1, minor: 1 },
      packageVersion: 0,
      flashEncryption: true,
      secureBoot: true,
    });
    assert.equal(at(map, mac), 0x91c337a5, family);
    assert.equal(at(map, mac + 4) & 0xffff, 0x5002, family);
    for (const [address, major, minor] of versions) {
      if (major >= 0) assert.equal((at(map, address) >>> major) & 3, 1, family);
      if (minor >= 0) assert.equal((at(map, address) >>> minor) & 7, 1, family);
    }
    assert.equal((at(map, crypt[0]) >>> crypt[1]) & 7, 1, family);
    assert.equal((at(map, secureBoot[0]) >>> secureBoot[1]) & 1, 1, family);
  }
});

test('chips with 802.15.4 have something above the MAC that is no part of it', () => {
  for (const family of ['esp32c5', 'esp32c6', 'esp32h2', 'esp32h4', 'esp32s31'] as const) {
    const map = words(family);
    const high = [...map.entries()].find(([, word]) => (word & 0xffff) === 0x5002);
    assert.equal(high![1] >>> 16, 0xfffe, family);
  }
});

test('the console variable moves with the revision', () => {
  const address = (family: Family, major: number, minor: number) =>
    chipModelOf(family).console!.address({ major, minor });
  assert.notEqual(address('esp32c3', 1, 0), address('esp32c3', 1, 1));
  assert.notEqual(address('esp32p4', 1, 3), address('esp32p4', 3, 0));
  assert.notEqual(address('esp32c61', 0, 2), address('esp32c61', 1, 0));
});
