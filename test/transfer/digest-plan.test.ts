import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { blankDigest, digestLevels, planByDigests } from '../../src/transfer/digest-plan.ts';
import type { DigestPlan } from '../../src/transfer/digest-plan.ts';

const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest('hex');

/** Plans `flash` against `known`, as the engine does, with `sector` as the finest level. */
function plan(flash: Buffer, known: Buffer | undefined, levels: readonly number[]): Promise<DigestPlan> {
  return planByDigests(flash.length, levels, {
    ask: (offset, size) => Promise.resolve(md5(flash.subarray(offset, offset + size))),
    explain: ({ offset, sizeBytes }, digest) => {
      if (known !== undefined && digest === md5(known.subarray(offset, offset + sizeBytes))) return 'same';
      return digest === blankDigest(sizeBytes) ? 'blank' : null;
    },
  });
}

/** A small flash in units of 16 bytes, where each unit is blank, as before, or new. */
const LEVELS = [256, 64, 16];
const flashes = fc.array(fc.constantFrom('blank', 'old', 'new'), { minLength: 32, maxLength: 32 }).map((units) => {
  const known = Buffer.alloc(units.length * 16, 'old ');
  const flash = Buffer.concat(
    units.map((unit, index) => {
      if (unit === 'blank') return Buffer.alloc(16, 0xff);
      return unit === 'old' ? known.subarray(index * 16, index * 16 + 16) : Buffer.alloc(16, `new${index}`);
    }),
  );
  return { units, flash, known };
});

describe('planning by digests', () => {
  it('covers every byte exactly once, in order', async () => {
    await fc.assert(
      fc.asyncProperty(flashes, async ({ flash, known }) => {
        const { explained, unexplained } = await plan(flash, known, LEVELS);
        const regions = [...explained, ...unexplained].sort((a, b) => a.offset - b.offset);
        let end = 0;
        for (const region of regions) {
          assert.equal(region.offset, end);
          end += region.sizeBytes;
        }
        assert.equal(end, flash.length);
      }),
    );
  });

  it('leaves unexplained exactly what is new', async () => {
    await fc.assert(
      fc.asyncProperty(flashes, async ({ units, flash, known }) => {
        const { unexplained } = await plan(flash, known, LEVELS);
        const isNew = (index: number) =>
          unexplained.some((r) => r.offset <= index * 16 && index * 16 < r.offset + r.sizeBytes);
        units.forEach((unit, index) => assert.equal(isNew(index), unit === 'new', `unit ${index}`));
      }),
    );
  });

  it('fills explained regions with what they are', async () => {
    await fc.assert(
      fc.asyncProperty(flashes, async ({ flash, known }) => {
        const { explained } = await plan(flash, known, LEVELS);
        for (const { offset, sizeBytes, by } of explained) {
          const expected = by === 'blank' ? Buffer.alloc(sizeBytes, 0xff) : known.subarray(offset, offset + sizeBytes);
          assert.deepEqual(flash.subarray(offset, offset + sizeBytes), expected);
        }
      }),
    );
  });

  it('does not ask for the last part when it must be the one that differs', async () => {
    const known = Buffer.alloc(512, 'old ');
    const flash = Buffer.from(known);
    flash[511] = 0;
    // Two regions of 256; the second differs: its first three of 64, then four of 16.
    assert.equal((await plan(flash, known, LEVELS)).digestsAsked, 2 + 3 + 4);
  });

  it('asks one digest a top region for a blank flash', async () => {
    const result = await plan(Buffer.alloc(1024, 0xff), undefined, LEVELS);
    assert.equal(result.digestsAsked, 4);
    assert.deepEqual(result.unexplained, []);
    assert.deepEqual(result.explained, [{ offset: 0, sizeBytes: 1024, by: 'blank' }]);
    assert.equal(result.aliasedAtBytes, null);
  });

  it('notices a flash that repeats itself', async () => {
    const quarter = Buffer.alloc(256, 'content ');
    assert.equal(
      (await plan(Buffer.concat([quarter, quarter, quarter, quarter]), undefined, LEVELS)).aliasedAtBytes,
      256,
    );
    const half = Buffer.concat([quarter, Buffer.alloc(256, 0xff)]);
    assert.equal((await plan(Buffer.concat([half, half]), undefined, LEVELS)).aliasedAtBytes, 512);
    assert.equal((await plan(Buffer.concat([half, quarter, quarter]), undefined, LEVELS)).aliasedAtBytes, null);
  });

  it('chooses levels that divide each flash from 256 KB to 128 MB', () => {
    for (let size = 256 * 1024; size <= 128 * 1024 * 1024; size *= 2) {
      for (const finest of [4096, 65536]) {
        const levels = digestLevels(size, finest);
        assert.equal(size % (levels[0] ?? 0), 0);
        levels.forEach((level, index) => assert.equal((levels[index - 1] ?? size) % level, 0));
        assert.equal(levels.at(-1), finest);
      }
    }
    assert.deepEqual(digestLevels(4096, 4096), [4096]);
  });
});
