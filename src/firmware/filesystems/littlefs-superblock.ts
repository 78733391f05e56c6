/** By what a littlefs partition is known, and how large its blocks are. */

import type { MetadataBlock } from './littlefs-block.ts';
import { LittleFsBlocks } from './littlefs-pairs.ts';

/** "the magic string "littlefs" will always reside at offset=8 in a valid littlefs superblock" */
const MAGIC = Buffer.from('littlefs', 'latin1');
const MAGIC_OFFSET = 8;
/** Magic, tag of the structure, version, then the block size: from the start of the magic. */
const BLOCK_SIZE_OFFSET = 16;
const SUPERBLOCK_NAME = 0xff;
const INLINE_STRUCT = 0x01;
/** "This results in a minimum block size of 104 bytes." */
const MIN_BLOCK_BYTES = 104;
/** Tried where no superblock tells: those of the ESP cores first, then the others that programs offer. */
const USUAL_BLOCK_BYTES = [4096, 8192, 512, 1024, 2048, 256, 128, 16_384, 32_768, 65_536, 131_072];
/** Both superblocks are among these, for nothing but the first block's log lies before the second one. */
const MAX_MAGICS = 16;
const MAJOR_VERSION = 2;
const NEWEST_MINOR_VERSION = 1;
/**
 * In version 1 the superblock's entry has its name last: 16 bytes of folder and 4 of entry, then root, block size, block
 * count and version of 20 bytes. https://github.com/littlefs-project/littlefs/blob/v1.7.2/SPEC.md ("Superblock")
 */
const V1_MAGIC_OFFSET = 40;
const V1_VERSION_OFFSET = 36;

/** What the superblock says, or one sentence fragment that says why the rest cannot be read. */
export type Superblock =
  | { readonly problem: null; readonly blockSizeBytes: number; readonly blockCount: number }
  | { readonly problem: string };

/** Finds the superblock in the first pair; undefined if nothing says that this is littlefs. */
export function findSuperblock(partition: Buffer): Superblock | undefined {
  const stated = statedBlockSizes(partition);
  if (stated === undefined) {
    return isVersion1(partition)
      ? { problem: 'littlefs version 1 is not supported; espd reads 2.0 and 2.1' }
      : undefined;
  }
  for (const blockSizeBytes of new Set([...stated, ...USUAL_BLOCK_BYTES])) {
    if (blockSizeBytes < MIN_BLOCK_BYTES || 2 * blockSizeBytes > partition.length) continue;
    const read = new LittleFsBlocks(partition, blockSizeBytes).readPair([0, 1]);
    if (read.problem !== null || !isSuperblock(read.metadata)) continue;
    const fields = superblockFields(read.metadata);
    if (fields === null) return { problem: 'the superblock of littlefs states no version and no block size' };
    const [major, minor] = [fields.version >>> 16, fields.version & 0xffff];
    if (major !== MAJOR_VERSION || minor > NEWEST_MINOR_VERSION) {
      return { problem: `littlefs version ${major}.${minor} is not supported; espd reads 2.0 and 2.1` };
    }
    if (fields.blockSizeBytes !== blockSizeBytes) continue;
    return { problem: null, blockSizeBytes, blockCount: fields.blockCount };
  }
  return { problem: 'both superblocks of littlefs (blocks 0 and 1) are damaged' };
}

/** Whether a metadata block begins with a superblock: only those of the root and of its forerunners do. */
export function isSuperblock(metadata: MetadataBlock): boolean {
  const name = metadata.slots[0]?.name;
  return (
    name?.kind === SUPERBLOCK_NAME && metadata.bytes.subarray(name.offset, name.offset + name.sizeBytes).equals(MAGIC)
  );
}

function superblockFields(
  metadata: MetadataBlock,
): { version: number; blockSizeBytes: number; blockCount: number } | null {
  const struct = metadata.slots[0]?.struct;
  if (struct?.kind !== INLINE_STRUCT || struct.sizeBytes < 12) return null;
  const read = (at: number) => metadata.bytes.readUInt32LE(struct.offset + at);
  return { version: read(0), blockSizeBytes: read(4), blockCount: read(8) };
}

/** Block sizes that the superblocks in block 0 and 1 state, unchecked; undefined if there is no superblock at all. */
function statedBlockSizes(partition: Buffer): number[] | undefined {
  const sizes: number[] = [];
  let at = partition.indexOf(MAGIC);
  for (let found = 0; at >= 0 && found < MAX_MAGICS; found++) {
    const start = at - MAGIC_OFFSET;
    const isComplete = at + BLOCK_SIZE_OFFSET + 4 <= partition.length;
    const stated = isComplete ? partition.readUInt32LE(at + BLOCK_SIZE_OFFSET) : 0;
    // A text that says "littlefs" is no superblock: the second one begins where the first block ends.
    if (start === 0 || (start > 0 && stated === start)) sizes.push(stated);
    at = partition.indexOf(MAGIC, at + 1);
  }
  return sizes.length > 0 ? sizes : undefined;
}

function isVersion1(partition: Buffer): boolean {
  return [0, ...USUAL_BLOCK_BYTES].some(
    (start) =>
      start + V1_MAGIC_OFFSET + MAGIC.length <= partition.length &&
      partition.subarray(start + V1_MAGIC_OFFSET, start + V1_MAGIC_OFFSET + MAGIC.length).equals(MAGIC) &&
      partition.readUInt16LE(start + V1_VERSION_OFFSET + 2) === 1,
  );
}
