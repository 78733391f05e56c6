import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Costs } from '../../src/esp/costs.ts';
import { type Region, SECTOR_BYTES } from '../../src/flash.ts';
import { md5Of } from '../../src/transfer/digests.ts';
import { differingRegions } from '../../src/transfer/flash-compare.ts';

const readMs = (sizeBytes: number) => 4 + sizeBytes / 92;
const COSTS: Costs = { digestMs: (sizeBytes) => 2 + sizeBytes / 8192, readMs, leastReadMs: readMs };

/** What differs by digests of `flash` within `within`, and how many of them were asked for. */
async function compare(flash: Buffer, image: Buffer, within: Region): Promise<{ differing: Region[]; asked: number }> {
  let asked = 0;
  const differing = await differingRegions(
    within,
    { read: (offset, length) => Promise.resolve(image.subarray(offset, offset + length)) },
    ({ offset, sizeBytes }) => {
      asked++;
      assert.ok(offset >= within.offset && offset + sizeBytes <= within.offset + within.sizeBytes);
      return Promise.resolve(md5Of(flash.subarray(offset, offset + sizeBytes)));
    },
    COSTS,
  );
  return { differing, asked };
}

describe('where a flash differs from an image', () => {
  it('is found to the sector, within any region', async () => {
    const kinds = fc.array(fc.constantFrom('same', 'blank', 'both blank', 'other', 'only the image is blank'), {
      minLength: 1,
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(kinds, fc.nat(20), fc.nat(20), async (sectors, skip, drop) => {
        const image = Buffer.alloc(sectors.length * SECTOR_BYTES, 'image');
        const flash = Buffer.from(image);
        sectors.forEach((kind, index) => {
          const [start, end] = [index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES];
          if (kind === 'blank' || kind === 'both blank') flash.fill(0xff, start, end);
          if (kind === 'only the image is blank' || kind === 'both blank') image.fill(0xff, start, end);
          if (kind === 'other') flash.fill(`other ${index}`, start, end);
        });
        const first = Math.min(skip, sectors.length - 1);
        const count = Math.max(1, sectors.length - first - drop);
        const within = { offset: first * SECTOR_BYTES, sizeBytes: count * SECTOR_BYTES };
        const { differing } = await compare(flash, image, within);
        const isFound = (at: number) => differing.some((r) => r.offset <= at && at < r.offset + r.sizeBytes);
        sectors.forEach((kind, index) => {
          const isWithin = index >= first && index < first + count;
          const expected = isWithin && kind !== 'same' && kind !== 'both blank';
          assert.equal(isFound(index * SECTOR_BYTES), expected, `sector ${index}: ${kind}`);
        });
        for (const [index, region] of differing.entries()) {
          const next = differing[index + 1];
          assert.ok(next === undefined || region.offset + region.sizeBytes < next.offset, 'in order, and merged');
        }
      }),
    );
  });

  it('of a flash that was wiped takes few digests', async () => {
    const image = Buffer.alloc(4 * 1024 * 1024, 0xff);
    image.fill('image', 0x1000, 0x120000);
    const { differing, asked } = await compare(Buffer.alloc(image.length, 0xff), image, {
      offset: 0,
      sizeBytes: image.length,
    });
    assert.deepEqual(differing, [{ offset: 0x1000, sizeBytes: 0x11f000 }]);
    assert.ok(asked < 30, String(asked));
  });
});
