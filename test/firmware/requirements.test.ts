import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { formatRevision, parseRevision, revisionRequirements } from '../../src/firmware/requirements.ts';
import { demoImage } from '../../src/simulator/index.ts';

const SIZE = 512 * 1024;
const of = (flash: Buffer, family: string) =>
  revisionRequirements(
    (offset, length) => Promise.resolve(flash.subarray(offset, offset + length)),
    flash.length,
    family,
  );

describe('revisionRequirements', () => {
  it('reads the app that boots, and the bootloader', async () => {
    const flash = demoImage({ family: 'esp32c3', sizeBytes: SIZE, appBytes: 40 * 1024, minRevision: 4 });
    assert.deepEqual(await of(flash, 'esp32c3'), [{ by: 'the app in "app0"', minRevision: 4, maxRevision: null }]);
    flash.writeUInt16LE(3, 15);
    flash.writeUInt16LE(199, 17);
    const [bootloader] = await of(flash, 'esp32c3');
    assert.deepEqual(bootloader, { by: 'the bootloader', minRevision: 3, maxRevision: 199 });
    // Built for another family: not what would boot here.
    assert.deepEqual(await of(flash, 'esp32s3'), []);
  });

  it('takes the one byte of old builds for a major version, or on ESP32-C3 a minor one', async () => {
    for (const [family, at, minRevision] of [
      ['esp32', 0x1000, 300],
      ['esp32c3', 0, 3],
    ] as const) {
      const flash = demoImage({ family, sizeBytes: SIZE, appBytes: 40 * 1024 });
      flash.writeUInt8(3, at + 14);
      assert.deepEqual(await of(flash, family), [{ by: 'the bootloader', minRevision, maxRevision: null }]);
    }
  });

  it('finds none in a blank flash, on an ESP8266, or in noise', async () => {
    assert.deepEqual(await of(Buffer.alloc(SIZE, 0xff), 'esp32'), []);
    assert.deepEqual(await of(demoImage({ family: 'esp8266', sizeBytes: SIZE }), 'esp8266'), []);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), async (bytes) => {
        const flash = Buffer.alloc(0x20000, 0xe9);
        Buffer.from(bytes).copy(flash, 0x1000);
        await of(flash, 'esp32');
      }),
      { numRuns: 50 },
    );
  });

  it('words revisions as the chip does', () => {
    assert.equal(parseRevision('v3.1'), 301);
    assert.equal(parseRevision('v0.4'), 4);
    for (const text of ['', '3.1', 'v3', 'v3.1-rc']) assert.equal(parseRevision(text), undefined);
    assert.equal(formatRevision(301), 'v3.1');
    assert.equal(formatRevision(4), 'v0.4');
  });
});
