/** Which blocks of an image that lies elsewhere this archive has already, in whatever image and place. */

import type { Manifest } from '../archive/manifest.ts';
import type { Candidate } from '../archive/types.ts';
import { UNIFORM_BYTES, uniformDigest } from '../archive/uniform.ts';
import { BLOCK_BYTES } from '../flash.ts';

/** Whole blocks of the image with the same content. */
export interface SameBlocks {
  /** Where they are in the image, in order; at least one. */
  readonly indexes: readonly number[];
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface HereBlocks extends SameBlocks {
  /** Undefined where it cannot be read after all. Nothing is hashed yet. */
  read(): Promise<Buffer | undefined>;
}

export interface BlockPlan {
  /** What one image holds is together. */
  readonly here: readonly HereBlocks[];
  /** In the order of the image. */
  readonly missing: readonly SameBlocks[];
}

/** By the MD5s of the manifests: nothing is read for it. Blank blocks need no image. */
export function planBlocks(
  { image, blocks }: Pick<Manifest, 'image' | 'blocks'>,
  list: readonly Candidate[],
): BlockPlan {
  const lengthOf = (index: number) => Math.min(BLOCK_BYTES, image.sizeBytes - index * BLOCK_BYTES);
  const wanted = new Map<string, SameBlocks & { readonly indexes: number[] }>();
  for (const [index, md5] of blocks.md5.entries()) {
    const same = wanted.get(md5);
    if (same === undefined) {
      wanted.set(md5, { indexes: [index], sizeBytes: lengthOf(index), sha256: blocks.sha256[index] ?? '' });
    } else same.indexes.push(index);
  }
  const here: HereBlocks[] = [];
  for (const [md5, same] of wanted) {
    const byte = UNIFORM_BYTES.find((each) => md5 === uniformDigest(each, same.sizeBytes));
    if (byte === undefined) continue;
    here.push({ ...same, read: () => Promise.resolve(Buffer.alloc(same.sizeBytes, byte)) });
    wanted.delete(md5);
  }
  for (const candidate of list) {
    if (wanted.size === 0) break;
    for (let index = 0, md5 = candidate.blockMd5(0); md5 !== undefined; md5 = candidate.blockMd5(++index)) {
      const same = wanted.get(md5);
      if (same === undefined) continue;
      const offset = index * BLOCK_BYTES;
      here.push({ ...same, read: () => candidate.read(offset, same.sizeBytes) });
      wanted.delete(md5);
    }
  }
  return { here, missing: [...wanted.values()] };
}

/** So many bytes are fetched for them: each content once. */
export function bytesOf(blocks: readonly SameBlocks[]): number {
  return blocks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** What is fetched at once: blocks that follow one another. */
export interface Run {
  readonly offset: number;
  readonly length: number;
  readonly blocks: readonly SameBlocks[];
}

/** The first of each of `missing`, in as few pieces as may be. */
export function runsOf(missing: readonly SameBlocks[], maxBytes: number): Run[] {
  const runs: { offset: number; length: number; blocks: SameBlocks[] }[] = [];
  const sorted = missing.toSorted((a, b) => firstOf(a) - firstOf(b));
  for (const same of sorted) {
    const offset = firstOf(same) * BLOCK_BYTES;
    const last = runs.at(-1);
    if (last !== undefined && last.offset + last.length === offset && last.length + same.sizeBytes <= maxBytes) {
      last.length += same.sizeBytes;
      last.blocks.push(same);
    } else runs.push({ offset, length: same.sizeBytes, blocks: [same] });
  }
  return runs;
}

function firstOf({ indexes }: SameBlocks): number {
  return indexes[0] ?? 0;
}
