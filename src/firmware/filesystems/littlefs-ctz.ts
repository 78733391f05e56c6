/**
 * Where the content of a large littlefs file lies: a list of blocks, linked from the last to the first, with skips.
 *
 * https://github.com/littlefs-project/littlefs/blob/v2.9.3/SPEC.md ("0x202 LFS_TYPE_CTZSTRUCT"): block n, counted from 0,
 * begins with a pointer to block n - 2^x for each x for which 2^x divides n; the content follows the pointers.
 */

const POINTER_BYTES = 4;

/** What is needed of the partition: its blocks, and which of them belong to somebody already. */
export interface BlockSource {
  readonly blockSizeBytes: number;
  /** The block with this number; undefined outside. */
  block(index: number): Buffer | undefined;
  /** Takes a block for one owner; false if it has one. */
  claim(index: number): boolean;
}

/** The blocks of a file in the order of its content, or one sentence fragment. */
export type BlockList =
  { readonly blocks: readonly number[]; readonly problem: null } | { readonly blocks: null; readonly problem: string };

/**
 * Follows a file of `sizeBytes` from its last block `head`, and checks every skip on the way. The blocks are claimed, so
 * that all files together cannot have more of them than there are.
 *
 * @param maxBlocks of the partition
 */
export function findBlocks(source: BlockSource, head: number, sizeBytes: number, maxBlocks: number): BlockList {
  const count = countBlocks(sizeBytes, source.blockSizeBytes);
  if (count > maxBlocks) return broken(`it claims ${sizeBytes} bytes, more than the file system has`);
  const blocks = new Array<number>(count);
  let next = head;
  for (let index = count - 1; index >= 0; index--) {
    const block = source.block(next);
    if (block === undefined) return broken(`its block ${index} is said to be block ${next}, which is outside`);
    if (!source.claim(next)) return broken(`its block ${index} is block ${next}, which belongs to something else too`);
    blocks[index] = next;
    next = index > 0 ? block.readUInt32LE(0) : 0;
  }
  for (const [index, at] of blocks.entries()) {
    for (let pointer = 1; pointer < countPointers(index); pointer++) {
      const skip = source.block(at)?.readUInt32LE(pointer * POINTER_BYTES);
      if (skip !== blocks[index - 2 ** pointer]) {
        return broken(`its block ${index} (block ${at}) contradicts the other blocks about the order of them`);
      }
    }
  }
  return { blocks, problem: null };
}

/** The content of a file whose blocks {@link findBlocks} found; they must be inside. */
export function readBlocks(source: BlockSource, blocks: readonly number[], sizeBytes: number): Uint8Array {
  const content = new Uint8Array(sizeBytes);
  let written = 0;
  for (const [index, at] of blocks.entries()) {
    const data = source.block(at)?.subarray(countPointers(index) * POINTER_BYTES) ?? new Uint8Array();
    content.set(data.subarray(0, sizeBytes - written), written);
    written += Math.min(data.length, sizeBytes - written);
  }
  return content;
}

/** Of the block with this index in a file; none in the first. */
function countPointers(index: number): number {
  return index === 0 ? 0 : 32 - Math.clz32(index & -index);
}

/** The least number of blocks that hold `sizeBytes`, by halving: a hostile size must not cost a loop over its blocks. */
function countBlocks(sizeBytes: number, blockSizeBytes: number): number {
  let low = 0;
  let high = Math.ceil(sizeBytes / (blockSizeBytes - 2 * POINTER_BYTES)) + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (capacity(middle, blockSizeBytes) >= sizeBytes) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * What the first `count` blocks hold, in bytes. The exponent of 2 in n, summed over n = 1 to m, is m less the ones of m in
 * binary; each block but the first has one pointer more than that.
 */
function capacity(count: number, blockSizeBytes: number): number {
  if (count === 0) return 0;
  const last = count - 1;
  return count * blockSizeBytes - POINTER_BYTES * (2 * last - countOnes(last));
}

function countOnes(value: number): number {
  let ones = 0;
  for (let rest = value; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2;
  return ones;
}

function broken(problem: string): BlockList {
  return { blocks: null, problem };
}
