import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FileSystem } from '../../src/archive/disk.ts';
import { keptFree } from '../../src/archive/free-space.ts';
import { systemClock } from '../../src/clock.ts';
import { EspdError } from '../../src/errors.ts';
import type { Mac } from '../../src/mac.ts';
import { archiveAt, temporaryFolder, watchedFileSystem } from './support.ts';

const MIB = 1024 ** 2;
const IMAGE_BYTES = 4 * MIB;
/** What {@link file://../../src/archive/free-space.ts} wants beside the image. */
const MARGIN_BYTES = 4 * MIB;
const macOf = (index: number) => `50:02:91:c3:37:${(16 + index).toString(16)}` as Mac;

function diskWith(freeBytes: number, blocks = 1_000_000): FileSystem {
  const real = watchedFileSystem(() => undefined);
  const statfs = () => Promise.resolve({ bavail: freeBytes / 4096, bsize: 4096, blocks, files: 0, ffree: 0 });
  return { ...real, statfs: statfs as unknown as FileSystem['statfs'] };
}

test('a backup begins only where image, margin, minFreeBytes and all that is promised to others fit', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  let mac = 0;
  let refused = 0;
  // Two drafts under way, with nothing written: their images are promised.
  const others = [
    await archiveAt(root).begin(macOf(100), IMAGE_BYTES),
    await archiveAt(root).begin(macOf(101), IMAGE_BYTES),
  ];
  const promisedBytes = others.length * IMAGE_BYTES;
  const pages = fc.integer({ min: 0, max: 40 * 256 });
  await fc.assert(
    fc.asyncProperty(pages, fc.integer({ min: 0, max: 24 * MIB }), async (freePages, minFreeBytes) => {
      const freeBytes = freePages * 4096;
      const clock = { ...systemClock, schedule: soon };
      const archive = archiveAt(root, { fs: diskWith(freeBytes), minFreeBytes, clock });
      const fits = freeBytes - promisedBytes >= IMAGE_BYTES + MARGIN_BYTES + minFreeBytes;
      try {
        await (await archive.begin(macOf(mac++ % 64), IMAGE_BYTES)).discard();
        assert.ok(fits, `${freeBytes} free, ${minFreeBytes} to stay free`);
      } catch (error) {
        if (!(error instanceof EspdError)) throw error;
        assert.equal(error.code, 'disk-full');
        assert.ok(!fits, `${freeBytes} free, ${minFreeBytes} to stay free: ${error.message}`);
        refused++;
      }
    }),
    { numRuns: 60 },
  );
  assert.ok(refused > 0);
  for (const draft of others) await draft.discard();
  assert.deepEqual(await readdir(root), []);
});

function soon(_delayMs: number, callback: () => void) {
  const timer = setImmediate(callback);
  return () => clearImmediate(timer);
}

test('the error says what is free, what is wanted, and which key stopped it', async (t) => {
  const root = join(await temporaryFolder(t), 'archive');
  const begin = (freeBytes: number, minFreeBytes: number | null, blocks?: number) =>
    archiveAt(root, { fs: diskWith(freeBytes, blocks), minFreeBytes }).begin(macOf(0), IMAGE_BYTES);
  await assert.rejects(begin(100 * MIB, 512 * MIB), {
    code: 'disk-full',
    message: /has 100\.0 MiB left and needs 8\.0 MiB, and 512\.0 MiB must stay free \(archive\.minFreeBytes\)$/,
    hint: 'Free some space on the disk of the archive, or lower archive.minFreeBytes in the config',
  });
  // Lowering the key would not help here.
  await assert.rejects(begin(7 * MIB, 512 * MIB), { hint: 'Free some space on the disk of the archive' });
  await assert.rejects(begin(7 * MIB, 0), { message: /7\.0 MiB left and needs 8\.0 MiB$/ });
  // 1,000,000 blocks of 4 KiB: 2 % of them are 78 MiB.
  await assert.rejects(begin(80 * MIB, null), { message: /78\.1 MiB must stay free/ });
  await (await begin(87 * MIB, null)).discard();
  // A file system that tells nothing (statfs: no blocks) is not judged.
  await (await begin(0, 512 * MIB, 0)).discard();
  assert.deepEqual(await readdir(root), []);
});

test('by default 2 % of the disk stay free, and never more than 256 MiB', () => {
  assert.equal(keptFree(null, 64 * MIB), Math.floor(1.28 * MIB));
  assert.equal(keptFree(null, 12_800 * MIB), 256 * MIB);
  assert.equal(keptFree(null, 4e12), 256 * MIB);
  assert.equal(keptFree(0, 4e12), 0);
  assert.equal(keptFree(5, 0), 5);
});
