/**
 * One metadata block of littlefs version 2: a revision and a log of commits, each closed by a checksum.
 *
 * https://github.com/littlefs-project/littlefs/blob/v2.9.3/SPEC.md is the source of every number here.
 */

import { crc32 } from 'node:zlib';

/** Type1 of a tag, its upper three bits ("Metadata types"). */
const TYPE1 = { name: 0, struct: 2, splice: 4, crc: 5, tail: 6, globals: 7 } as const;
const CREATE = 0x401;
const DELETE = 0x4ff;
const MOVE_STATE = 0x7ff;
/** A tag about no file in particular; ids of files are below. */
const NO_ID = 0x3ff;
/** A length that says: deleted, and no data follows. */
const NO_DATA = 0x3ff;
const REVISION_BYTES = 4;
const TAG_BYTES = 4;

/** What an id of a metadata block has by the end of the log. Offsets count from the start of the block. */
export interface Slot {
  name: { readonly kind: number; readonly offset: number; readonly sizeBytes: number } | null;
  struct: { readonly kind: number; readonly offset: number; readonly sizeBytes: number } | null;
}

/** Two block numbers that hold one piece of metadata by turns. */
export type Pair = readonly [number, number];

/** Global state as one block adds to it, by XOR: a tag of the move under way, and the pair that it leaves. */
export interface MoveState {
  readonly tag: number;
  readonly pair: Pair;
}

export interface MetadataBlock {
  readonly bytes: Buffer;
  readonly slots: readonly Slot[];
  /** The next pair of the list of all pairs; null at its end. */
  readonly tail: Pair | null;
  /** Whether {@link tail} goes on with the same folder. */
  readonly folderGoesOn: boolean;
  readonly moveState: MoveState | null;
  /** What is wrong although the checksums are right; null if nothing. */
  readonly contradiction: string | null;
}

/** How far the log of a block can be trusted. */
export interface Log {
  readonly revision: number;
  /** Where the last sound commit from the start ends; 0 if there is none. */
  readonly endOffset: number;
  /**
   * Whether a sound commit follows an unsound one. A torn write cannot leave that, since littlefs never appends behind
   * one: it is damage.
   */
  readonly isBroken: boolean;
}

interface Tag {
  readonly type1: number;
  readonly type3: number;
  readonly id: number;
  /** Of the data behind the tag, from the start of the block. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Checks the commits of a block, from its start to its end. */
export function checkLog(block: Buffer): Log {
  if (block.length < REVISION_BYTES + TAG_BYTES) return { revision: 0, endOffset: 0, isBroken: false };
  let endOffset = 0;
  let isBroken = false;
  let isSound = true;
  let start = 0;
  for (const tag of tagsOf(block, block.length)) {
    if (!isCommitEnd(tag) || tag.sizeBytes < 4) continue;
    // The sum covers the tag itself and ends before the sum; the rest of the data is padding.
    const matches = littleFsCrc(block.subarray(start, tag.offset)) === block.readUInt32LE(tag.offset);
    start = tag.offset + tag.sizeBytes;
    if (!matches) isSound = false;
    else if (isSound) endOffset = start;
    else isBroken = true;
  }
  return { revision: block.readUInt32LE(0), endOffset, isBroken };
}

/** Replays the log of a block up to `endOffset`, which {@link checkLog} gave. */
export function replayLog(block: Buffer, endOffset: number): MetadataBlock {
  const slots: Slot[] = [];
  let tail: Pair | null = null;
  let folderGoesOn = false;
  let moveState: MoveState | null = null;
  let contradiction: string | null = null;
  const contradict = (what: string) => {
    contradiction ??= what;
  };

  for (const tag of tagsOf(block, endOffset)) {
    const part = { kind: tag.type3 & 0xff, offset: tag.offset, sizeBytes: tag.sizeBytes };
    switch (tag.type1) {
      case TYPE1.splice:
        if (tag.type3 === CREATE && tag.id <= slots.length && slots.length < NO_ID) {
          slots.splice(tag.id, 0, { name: null, struct: null });
        } else if (tag.type3 === DELETE && tag.id < slots.length) {
          slots.splice(tag.id, 1);
        } else {
          contradict(`tag ${tag.type3.toString(16)} for file ${tag.id} of ${slots.length}`);
        }
        break;
      case TYPE1.name:
      case TYPE1.struct: {
        if (tag.id === NO_ID) {
          contradict('a name or a structure of no file');
          break;
        }
        // A compacted log has no CREATE: names follow each other, in the order of their ids.
        while (slots.length <= tag.id) slots.push({ name: null, struct: null });
        const slot = slots[tag.id];
        if (slot === undefined) break;
        if (tag.type1 === TYPE1.name) slot.name = part;
        else slot.struct = part;
        break;
      }
      case TYPE1.tail:
        tail = tag.sizeBytes < 8 ? null : readPair(block, tag.offset);
        folderGoesOn = (tag.type3 & 1) === 1 && tail !== null;
        break;
      case TYPE1.globals:
        if (tag.type3 === MOVE_STATE && tag.sizeBytes >= 12) {
          moveState = { tag: block.readUInt32LE(tag.offset), pair: readPair(block, tag.offset + 4) ?? [0, 0] };
        }
        break;
      default:
        // User attributes and checksums.
        break;
    }
  }
  return { bytes: block, slots, tail, folderGoesOn, moveState, contradiction };
}

/** Reads a pair of block numbers; null if it is the null pair. */
export function readPair(block: Buffer, offset: number): Pair | null {
  const one = block.readUInt32LE(offset);
  const other = block.readUInt32LE(offset + 4);
  return one === NULL_BLOCK || other === NULL_BLOCK ? null : [one, other];
}

/** "with the special value 0xffffffff representing a null block address" */
const NULL_BLOCK = 0xffffffff;

/** The tags of a log from its start, up to `end`, to the first one that was never written, or to one that does not fit. */
function* tagsOf(block: Buffer, end: number): Generator<Tag> {
  let previous = 0xffffffff;
  let offset = REVISION_BYTES;
  while (offset + TAG_BYTES <= end) {
    // Tags are the only thing here with the high byte first, and each is stored as its difference to the one before.
    const tag = (block.readUInt32BE(offset) ^ previous) >>> 0;
    if (tag >= 0x80000000) return;
    const length = tag & 0x3ff;
    const found: Tag = {
      type1: tag >>> 28,
      type3: tag >>> 20,
      id: (tag >>> 10) & 0x3ff,
      offset: offset + TAG_BYTES,
      sizeBytes: length === NO_DATA ? 0 : length,
    };
    offset = found.offset + found.sizeBytes;
    if (offset > end) return;
    yield found;
    // A commit says what the first bit of the next tag will be, so that what was never written cannot pass for a tag.
    previous = isCommitEnd(found) && (found.type3 & 1) === 1 ? (tag ^ 0x80000000) >>> 0 : tag;
  }
}

/** CRC tags are 0x500 and 0x501; 0x5ff, a checksum over what is still erased, is data of a commit. */
function isCommitEnd(tag: Tag): boolean {
  return tag.type1 === TYPE1.crc && (tag.type3 & 0x80) === 0;
}

/** "a polynomial of 0x04c11db7 initialized with 0xffffffff": zlib's sum without the inversion at its end. */
function littleFsCrc(bytes: Buffer): number {
  return ~crc32(bytes) >>> 0;
}
