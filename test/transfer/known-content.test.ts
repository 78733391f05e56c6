import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../../src/flash.ts';
import type { Candidate } from '../../src/archive/types.ts';
import type { Mac } from '../../src/mac.ts';
import { md5Of } from '../../src/transfer/digests.ts';
import { KnownContent } from '../../src/transfer/known-content.ts';

const BLOCKS = 8;
const SIZE_BYTES = BLOCKS * BLOCK_BYTES;

interface FakeCandidate extends Candidate {
  readonly reads: Region[];
}

/** An image that can be damaged after its manifest was written, cut short, or unreadable. */
function candidate(
  kind: Candidate['kind'],
  image: Buffer,
  options: { stored?: Buffer; unreadable?: boolean } = {},
): FakeCandidate {
  const stored = options.stored ?? image;
  const reads: Region[] = [];
  return {
    kind,
    mac: '24:0a:c4:00:00:01' as Mac,
    id: kind === 'leftover' ? null : '2026-11-23T10-00-00Z',
    sizeBytes: image.length,
    reads,
    blockMd5: (index, count = 1) => {
      const blocks = Array.from({ length: count }, (_, number) => index + number).map((each) =>
        image.subarray(each * BLOCK_BYTES, (each + 1) * BLOCK_BYTES),
      );
      if (kind === 'leftover' || blocks.some(({ length }) => length === 0)) return undefined;
      return blocks.map(md5Of).join('');
    },
    read: (offset, sizeBytes) => {
      reads.push({ offset, sizeBytes });
      const bytes = stored.subarray(offset, offset + sizeBytes);
      return Promise.resolve(options.unreadable === true ? undefined : Buffer.from(bytes));
    },
  };
}

/** Another content in every sector. */
function image(seed: number, sizeBytes = SIZE_BYTES): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes; at += SECTOR_BYTES) bytes.fill(`${seed}/${at} `, at, at + SECTOR_BYTES);
  return bytes;
}

const block = (index: number, count = 1): Region => ({ offset: index * BLOCK_BYTES, sizeBytes: count * BLOCK_BYTES });
const cut = (bytes: Buffer, { offset, sizeBytes }: Region) => bytes.subarray(offset, offset + sizeBytes);

/** Asks `known` for a region of `flash`, and tells by what it is known and what came of it. */
async function explain(known: KnownContent, flash: Buffer, region: Region) {
  const copy = Buffer.alloc(flash.length, 0x55);
  const by = await known.explain(region, md5Of(cut(flash, region)), async (offset, bytes) => {
    assert.ok(offset >= region.offset && offset + bytes.length <= region.offset + region.sizeBytes);
    bytes.copy(copy, offset);
    return Promise.resolve();
  });
  if (by !== null) assert.ok(cut(copy, region).equals(cut(flash, region)), 'the bytes are those of the flash');
  return by;
}

async function knowing(...candidates: Candidate[]): Promise<KnownContent> {
  const known = new KnownContent(candidates);
  await known.prepare(SIZE_BYTES);
  return known;
}

describe('content that is known', () => {
  it('knows blank and zeroed flash of any size without any image', async () => {
    const known = await knowing();
    for (const sizeBytes of [SECTOR_BYTES, BLOCK_BYTES, 3 * BLOCK_BYTES + SECTOR_BYTES]) {
      const region = { offset: 0, sizeBytes };
      assert.equal(await explain(known, Buffer.alloc(SIZE_BYTES, 0xff), region), 'blank');
      assert.equal(await explain(known, Buffer.alloc(SIZE_BYTES, 0x00), region), 'zero');
      assert.equal(await explain(known, image(1), region), null);
    }
  });

  it('names the kind of image, and prefers the first', async () => {
    const flash = image(1);
    for (const [kind, by] of [
      ['newest', 'sameAsBackup'],
      ['older', 'olderBackup'],
      ['fleet', 'fleet'],
      ['leftover', 'leftover'],
    ] as const) {
      const known = await knowing(candidate(kind, flash), candidate('fleet', flash));
      assert.equal(await explain(known, flash, block(3)), by);
      assert.equal(await explain(known, flash, block(0, BLOCKS)), by);
      assert.equal(await explain(known, flash, { offset: BLOCK_BYTES + SECTOR_BYTES, sizeBytes: SECTOR_BYTES }), by);
    }
  });

  it('finds a block in one of a thousand images without reading the others', async () => {
    const flash = image(1);
    const others = Array.from({ length: 1000 }, (_, index) => candidate('fleet', image(index + 2, BLOCK_BYTES)));
    const holder = candidate('fleet', flash);
    const known = await knowing(...others, holder);
    assert.equal(await explain(known, flash, block(0)), 'fleet');
    assert.deepEqual(
      others.flatMap(({ reads }) => reads),
      [],
    );
  });

  it('hashes what it takes: an image that is damaged or lies is passed over for the next', async () => {
    const flash = image(1);
    const damaged = Buffer.from(flash);
    damaged[2 * BLOCK_BYTES + 5] = 0;
    const rotten = candidate('newest', flash, { stored: damaged });
    const gone = candidate('older', flash, { unreadable: true });
    const region = block(2);
    assert.equal(await explain(await knowing(rotten), flash, region), null);
    assert.equal(await explain(await knowing(gone), flash, region), null);
    assert.equal(await explain(await knowing(rotten, gone, candidate('fleet', flash)), flash, region), 'fleet');
    assert.equal(await explain(await knowing(rotten), flash, block(3)), 'sameAsBackup');
  });

  it('hashes images that are alike at a place only once', async () => {
    const flash = image(1);
    const same = Array.from({ length: 20 }, () => candidate('fleet', image(2)));
    const known = await knowing(...same);
    assert.equal(await explain(known, flash, block(0, 4)), null);
    assert.equal(same.filter(({ reads }) => reads.length > 0).length, 1);
  });

  it('takes of an interrupted read only blocks that it has reached', async () => {
    const flash = image(1);
    const left = Buffer.alloc(SIZE_BYTES);
    flash.copy(left, 0, 0, 3 * BLOCK_BYTES + SECTOR_BYTES);
    const known = await knowing(candidate('leftover', left));
    assert.deepEqual(
      Array.from({ length: BLOCKS }, (_, index) => known.evidence(index)),
      ['own', 'own', 'own', 'own', 'none', 'none', 'none', 'none'],
    );
    assert.equal(await explain(known, flash, block(0, 3)), 'leftover');
    assert.equal(await explain(known, flash, block(3)), null);
    assert.equal(await explain(known, flash, { offset: 3 * BLOCK_BYTES, sizeBytes: SECTOR_BYTES }), 'leftover');
    assert.equal(await explain(known, flash, block(4)), null);
  });

  it('goes by the size of each image', async () => {
    const flash = image(1);
    const small = candidate('fleet', image(1, 2 * BLOCK_BYTES));
    const known = await knowing(small);
    assert.deepEqual(
      [0, 1, 2].map((index) => known.evidence(index)),
      ['fleet', 'fleet', 'none'],
    );
    assert.equal(await explain(known, flash, block(1)), 'fleet');
    assert.equal(await explain(known, flash, block(1, 2)), null);
    const odd = candidate('fleet', image(1, BLOCK_BYTES + SECTOR_BYTES));
    assert.equal(await explain(await knowing(odd), flash, block(1)), null);
    assert.equal(await explain(await knowing(odd), flash, { offset: BLOCK_BYTES, sizeBytes: SECTOR_BYTES }), 'fleet');
  });

  it('says what speaks for a block', async () => {
    const own = candidate('older', image(1, BLOCK_BYTES));
    const known = await knowing(candidate('fleet', image(2, 2 * BLOCK_BYTES)), own);
    assert.deepEqual(
      [0, 1, 2].map((index) => known.evidence(index)),
      ['own', 'fleet', 'none'],
    );
  });
});
