import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { hasSignedBootloader } from '../../src/firmware/secure-boot.ts';
import { type Family, demoImage } from '../../src/simulator/index.ts';

const TABLE = 0x8000;
const image = (family: Family) => demoImage({ family, sizeBytes: 512 * 1024, appBytes: 40 * 1024 });
const ask = (flash: Buffer, family: string, end = TABLE) =>
  hasSignedBootloader((offset, length) => Promise.resolve(flash.subarray(offset, offset + length)), end, family);

function block(version = 2): Buffer {
  const bytes = Buffer.alloc(1216, 0x5a);
  bytes.set([0xe7, version]);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 1196)), 1196);
  return bytes;
}

test('a plain bootloader has no signature, on any family', async () => {
  for (const family of ['esp8266', 'esp32', 'esp32s3', 'esp32c3', 'esp32c5'] as const) {
    assert.equal(await ask(image(family), family), false, family);
    assert.equal(await ask(Buffer.alloc(TABLE, 0xff), family), false, `${family}, blank`);
  }
});

test('a block of version 2 or 3 with its CRC at the start of a sector behind the bootloader is one', async () => {
  for (const [family, first] of [
    ['esp32', 0x2000],
    ['esp32c3', 0x1000],
    ['esp32c5', 0x3000],
  ] as const) {
    for (let at = first; at < TABLE; at += 0x1000) {
      for (const version of [2, 3]) {
        const flash = image(family);
        block(version).copy(flash, at);
        assert.equal(await ask(flash, family), true, `${family} at ${at}`);
      }
    }
    const flash = image(family);
    block().copy(flash, TABLE);
    assert.equal(await ask(flash, family), false, 'behind the table');
    assert.equal(await ask(flash, family, TABLE + 0x1000), true);
    const off = image(family);
    block().copy(off, 0x6010);
    assert.equal(await ask(off, family), false, 'not at the start of a sector');
    for (const wrong of [block(1), block(4), block().fill(0, 1196), block().fill(1, 40, 41)]) {
      const other = image(family);
      wrong.copy(other, 0x6000);
      assert.equal(await ask(other, family), false);
    }
  }
});

test('an ESP32 with the digest of version 1 at its start has it; others have a bootloader there', async () => {
  const flash = image('esp32');
  flash[100] = 0;
  assert.equal(await ask(flash, 'esp32'), true);
  assert.equal(await ask(image('esp32c3'), 'esp32c3'), false);
});

test('any bytes are answered, by a bounded number of reads', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), fc.nat(2 ** 32), async (bytes, end) => {
      let reads = 0;
      const read = (offset: number, length: number) => {
        reads++;
        return Promise.resolve(Buffer.from(bytes.subarray(offset, offset + length)));
      };
      for (const family of ['esp32', 'esp32c3', 'esp8266', '']) {
        assert.equal(typeof (await hasSignedBootloader(read, end, family)), 'boolean');
      }
      assert.ok(reads < 300);
    }),
  );
});
