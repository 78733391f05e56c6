import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { composeFlash, isFlashSize } from '../../../src/firmware/dump/compose.ts';
import { esptoolWriteCommand } from '../../../src/firmware/dump/esptool-command.ts';
import { filler, KIB, MIB } from '../builder.ts';

const part = (name: string, offset: number, lengthBytes: number) => ({ name, offset, bytes: filler(lengthBytes, 7) });

describe('a flash out of parts', () => {
  test('what no part covers is erased flash, and counted', () => {
    const boot = part('boot.bin', 0x1000, 1000);
    const app = part('app.bin', 0x10000, 5000);
    const { image, blankBytes } = composeFlash([app, boot], 256 * KIB) as { image: Buffer; blankBytes: number };
    assert.equal(image.length, 256 * KIB);
    assert.equal(blankBytes, 256 * KIB - 6000);
    assert.ok(image.subarray(0x1000, 0x1000 + 1000).equals(boot.bytes));
    assert.ok(image.subarray(0x10000, 0x10000 + 5000).equals(app.bytes));
    assert.ok(image.subarray(0, 0x1000).every((byte) => byte === 0xff));
    assert.ok(image.subarray(0x10000 + 5000).every((byte) => byte === 0xff));
  });

  test('parts that touch do not overlap; by one byte they do', () => {
    const first = part('a.bin', 0, 0x1000);
    assert.equal(composeFlash([first, part('b.bin', 0x1000, 1)], 256 * KIB).problem, null);
    assert.equal(
      composeFlash([part('b.bin', 0xfff, 1), first], 256 * KIB).problem,
      'b.bin at 0xfff overlaps a.bin at 0x0',
    );
  });

  test('what reaches beyond the flash is refused; what ends there is not', () => {
    assert.equal(composeFlash([part('a.bin', 256 * KIB - 10, 10)], 256 * KIB).problem, null);
    assert.equal(
      composeFlash([part('a.bin', 256 * KIB - 10, 11)], 256 * KIB).problem,
      'a.bin reaches to 0x40001, beyond the flash of 0x40000 bytes',
    );
  });

  test('law: every part is in the image at its place', () => {
    const parts = fc.array(fc.tuple(fc.nat(3000), fc.uint8Array({ minLength: 1, maxLength: 3000 })), { maxLength: 8 });
    fc.assert(
      fc.property(parts, (gaps) => {
        let at = 0;
        const placed = gaps.map(([gap, data], index) => {
          const offset = at + gap;
          at = offset + data.length;
          return { name: `${index}`, offset, bytes: Buffer.from(data) };
        });
        const { image, problem } = composeFlash(placed.toReversed(), 256 * KIB);
        assert.equal(problem, null);
        const expected = Buffer.alloc(256 * KIB, 0xff);
        for (const { offset, bytes } of placed) bytes.copy(expected, offset);
        assert.ok(image.equals(expected));
      }),
      { numRuns: 30 },
    );
  });

  test('sizes of flash', () => {
    for (const size of [256 * KIB, 512 * KIB, 4 * MIB, 128 * MIB]) assert.ok(isFlashSize(size), `${size}`);
    for (const size of [0, 1, 128 * KIB, 3 * MIB, 4 * MIB - 1, 256 * MIB, NaN])
      assert.ok(!isFlashSize(size), `${size}`);
  });
});

test("esptool's command keeps the header as it is, in both spellings", () => {
  const { v5, v4 } = esptoolWriteCommand({ family: 'esp32c3', offset: 0x9000, file: 'nvs.bin' });
  assert.equal(
    v5.join(' '),
    'esptool --chip esp32c3 write-flash --flash-mode keep --flash-freq keep --flash-size keep 0x9000 nvs.bin',
  );
  assert.equal(
    v4.join(' '),
    'esptool.py --chip esp32c3 write_flash --flash_mode keep --flash_freq keep --flash_size keep 0x9000 nvs.bin',
  );
  assert.equal(esptoolWriteCommand({ family: 'esp32', offset: 0, file: '-x.bin' }).v5.at(-1), './-x.bin');
});
