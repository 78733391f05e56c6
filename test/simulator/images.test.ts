import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';

import { chipModels, demoImage } from '../../src/simulator/index.ts';

const MIB = 1024 * 1024;

test('deterministic, and another seed is another board with the same app', () => {
  const one = demoImage({ family: 'esp32c3', seed: 1 });
  assert.ok(one.equals(demoImage({ family: 'esp32c3', seed: 1 })));
  const two = demoImage({ family: 'esp32c3', seed: 2 });
  assert.ok(!one.equals(two));
  assert.ok(one.subarray(0x10000).equals(two.subarray(0x10000)));
  assert.ok(!one.equals(demoImage({ family: 'esp32c3', version: '1.0.1' })));
});

test('every family and size boots from an image header', () => {
  for (const { family, bootOffset, chipId } of chipModels) {
    for (const sizeBytes of family === 'esp32s3' ? [4 * MIB, 32 * MIB] : [MIB / 2, 2 * MIB]) {
      const image = demoImage({ family, sizeBytes });
      assert.equal(image.length, sizeBytes);
      assert.equal(image[bootOffset], 0xe9);
      if (chipId !== null) assert.equal(image.readUInt16LE(bootOffset + 12), chipId);
    }
  }
});

test('partition table with its MD5 entry; no partition overlaps or leaves the flash', () => {
  for (const sizeBytes of [MIB / 2, MIB, 2 * MIB, 4 * MIB, 8 * MIB]) {
    const table = demoImage({ family: 'esp32', sizeBytes }).subarray(0x8000, 0x8c00);
    let entries = 0;
    let end = 0x9000;
    for (; table.readUInt16LE(entries * 32) === 0x50aa; entries++) {
      const offset = table.readUInt32LE(entries * 32 + 4);
      assert.ok(offset >= end);
      end = offset + table.readUInt32LE(entries * 32 + 8);
    }
    assert.ok(entries >= 3 && end <= sizeBytes);
    assert.equal(table.readUInt16LE(entries * 32), 0xebeb);
    const digest = createHash('md5')
      .update(table.subarray(0, entries * 32))
      .digest();
    assert.deepEqual(table.subarray(entries * 32 + 16, entries * 32 + 32), digest);
    assert.ok(table.subarray(entries * 32 + 32).every((byte) => byte === 0xff));
  }
});

/** Walks an image: segments, checksum, appended SHA-256. */
function checkImage(image: Buffer, extended: boolean): void {
  assert.equal(image[0], 0xe9);
  let at = extended ? 24 : 8;
  let checksum = 0xef;
  for (let segment = 0; segment < image[1]!; segment++) {
    const length = image.readUInt32LE(at + 4);
    for (const byte of image.subarray(at + 8, at + 8 + length)) checksum ^= byte;
    at += 8 + length;
  }
  const end = (Math.floor(at / 16) + 1) * 16;
  assert.equal(image[end - 1], checksum);
  if (!extended) return;
  assert.equal(image[23], 1);
  assert.deepEqual(image.subarray(end, end + 32), createHash('sha256').update(image.subarray(0, end)).digest());
}

test('bootloader, app and ESP8266 app are whole images', () => {
  const image = demoImage({ family: 'esp32s3' });
  checkImage(image, true);
  checkImage(image.subarray(0x10000), true);
  checkImage(demoImage({ family: 'esp8266' }), false);
});

test('the app names itself', () => {
  const app = demoImage({ family: 'esp32', projectName: 'thermostat', version: '2.3.4' }).subarray(0x10000);
  const description = app.subarray(32);
  assert.equal(description.readUInt32LE(0), 0xabcd5432);
  assert.equal(description.subarray(16, 48).toString('latin1').replace(/\0.*$/s, ''), '2.3.4');
  assert.equal(description.subarray(48, 80).toString('latin1').replace(/\0.*$/s, ''), 'thermostat');
});

test('NVS entries and OTA data carry right CRCs', () => {
  const image = demoImage({ family: 'esp32' });
  const header = image.subarray(0x9000, 0x9020);
  assert.equal(header.readUInt32LE(28), crcOf(header.subarray(4, 28)));
  let entries = 0;
  for (let at = 0x9040; image[at] !== 0xff; at += 32, entries++) {
    const entry = image.subarray(at, at + 32);
    const covered = Buffer.concat([entry.subarray(0, 4), entry.subarray(8, 32)]);
    assert.equal(entry.readUInt32LE(4), crcOf(covered));
  }
  assert.ok(entries >= 6);
  assert.equal(image.readUInt32LE(0xe000 + 28), 0x4743989a, 'the value that every ESP-IDF board with app 0 has');
  const ota = image.subarray(0xe000, 0xe020);
  assert.equal(ota.readUInt32LE(28), crcOf(ota.subarray(0, 4)));
});

/** CRC-32 little-endian started from all ones, as esp_rom_crc32_le(UINT32_MAX, ...) gives it. */
function crcOf(bytes: Buffer): number {
  // zlib's crc32 inverts before and after; so does the ROM's: starting it with 0xffffffff makes that start 0.
  return crc32(bytes, 0xffffffff);
}

test('most of it is blank and the rest compresses as programs do', () => {
  const image = demoImage({ family: 'esp32c3' });
  const blank = Buffer.alloc(4096, 0xff);
  let blankSectors = 0;
  for (let at = 0; at < image.length; at += 4096) if (image.subarray(at, at + 4096).equals(blank)) blankSectors++;
  assert.ok(blankSectors > image.length / 4096 / 2);
  const app = image.subarray(0x10000, 0x10000 + 600 * 1024);
  const ratio = deflateSync(app).length / app.length;
  assert.ok(ratio > 0.4 && ratio < 0.9, `ratio ${ratio}`);
});
