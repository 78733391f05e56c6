/**
 * Files and folders of a littlefs partition, version 2.0 and 2.1.
 *
 * What littlefs would show after a mount is what comes out: torn commits and moves that power loss cut in half are
 * resolved as littlefs resolves them, and are no damage. https://github.com/littlefs-project/littlefs/blob/v2.9.3/SPEC.md
 * and DESIGN.md beside it are the source of what is said here.
 */

import { printable } from '../../printable.ts';
import type { FileContent, FileSystemReading } from './filesystem.ts';
import { readPair, type MetadataBlock, type Pair, type Slot } from './littlefs-block.ts';
import { findBlocks, readBlocks } from './littlefs-ctz.ts';
import { LittleFsBlocks } from './littlefs-pairs.ts';
import { findSuperblock, isSuperblock } from './littlefs-superblock.ts';
import { ReadingBuilder, decodeName, unreadable } from './reading.ts';

/** Kinds of names ("LFS_TYPE_REG", "LFS_TYPE_DIR") and of structures ("0x2xx LFS_TYPE_STRUCT"). */
const FILE_NAME = 0x01;
const FOLDER_NAME = 0x02;
const FOLDER_STRUCT = 0x00;
const INLINE_STRUCT = 0x01;
const CTZ_STRUCT = 0x02;
/** Bits of the tag in the global state ("0x7ff LFS_TYPE_MOVESTATE"). */
const MOVE_TYPE_MASK = 0x70000000;
/** As many as are listed at most, by far more than boards have: a hostile partition must not cost the time of millions. */
const MAX_FILES = 65_536;

/** Reads a partition as littlefs; undefined if no superblock says that it is one. */
export function readLittleFs(partition: Uint8Array): FileSystemReading | undefined {
  const bytes = Buffer.from(partition.buffer, partition.byteOffset, partition.byteLength);
  const builder = new ReadingBuilder('littlefs');
  const superblock = findSuperblock(bytes);
  if (superblock === undefined) return undefined;
  if (superblock.problem !== null) {
    builder.problem(superblock.problem);
    return builder.build();
  }

  const blocks = new LittleFsBlocks(bytes, superblock.blockSizeBytes);
  if (superblock.blockCount > blocks.count) {
    builder.problem(
      `littlefs has ${superblock.blockCount} blocks of ${superblock.blockSizeBytes} bytes, but only ${blocks.count} are here`,
    );
  }
  const { root, move, problem } = followTails(blocks);
  if (root === null) builder.problem(problem ?? 'no root folder was found');
  else {
    const files = readFolders(blocks, root, move, builder);
    for (const file of files) {
      addFile(blocks, file, builder);
      if (builder.isFull) break;
    }
    if (files.length >= MAX_FILES) builder.problem(`there are more than ${MAX_FILES} files; the others are not listed`);
    // A pair that belongs to a folder has been named already, with the folder's path.
    if (problem !== null && !blocks.hasReported(problem)) builder.problem(problem);
  }
  return builder.build();
}

interface Tails {
  readonly root: Pair | null;
  /** The file that a move has left but that is still listed: which id of which pair. */
  readonly move: { readonly id: number; readonly pair: Pair } | null;
  readonly problem: string | null;
}

/** Walks the list of all pairs, for the root folder (the last pair with a superblock) and the sum of the global state. */
function followTails(blocks: LittleFsBlocks): Tails {
  let root: Pair | null = null;
  let tag = 0;
  let one = 0;
  let other = 0;
  let next: Pair | null = [0, 1];
  const seen = new Set<number>();
  while (next !== null) {
    const read = blocks.readPair(next);
    if (read.problem !== null) return { root, move: null, problem: read.problem };
    if (seen.has(read.at)) {
      return { root, move: null, problem: `the list of metadata pairs runs in a circle at {${next.join(', ')}}` };
    }
    seen.add(read.at);
    const { metadata } = read;
    if (isSuperblock(metadata)) root = next;
    const state = metadata.moveState;
    if (state !== null) {
      tag ^= state.tag;
      one ^= state.pair[0];
      other ^= state.pair[1];
    }
    next = metadata.tail;
  }
  const hasMove = (tag & MOVE_TYPE_MASK) !== 0;
  return {
    root,
    move: hasMove ? { id: (tag >>> 10) & 0x3ff, pair: [one >>> 0, other >>> 0] } : null,
    problem: null,
  };
}

interface FoundFile {
  readonly path: string;
  readonly metadata: MetadataBlock;
  readonly struct: NonNullable<Slot['struct']>;
}

/** Adds all folders; gives the files, which come last so that they cannot claim blocks of folders. */
function readFolders(blocks: LittleFsBlocks, root: Pair, move: Tails['move'], builder: ReadingBuilder): FoundFile[] {
  const files: FoundFile[] = [];
  const open: { path: string; pair: Pair }[] = [{ path: '', pair: root }];
  for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
    const shown = printable(folder.path === '' ? '/' : folder.path);
    let next: Pair | null = folder.pair;
    while (next !== null && files.length < MAX_FILES) {
      const pair: Pair = next;
      if (!blocks.claimPair(pair)) {
        builder.problem(
          `folder ${shown} leads to metadata pair {${pair.join(', ')}}, which belongs to something else too`,
        );
        break;
      }
      const read = blocks.readPair(pair);
      if (read.problem !== null) {
        blocks.report(read.problem);
        builder.problem(`${read.problem}: entries of folder ${shown} are missing`);
        break;
      }
      const { metadata } = read;
      if (metadata.contradiction !== null) {
        builder.problem(`metadata block ${read.at} contradicts itself (${metadata.contradiction}), folder ${shown}`);
      }
      if (read.isBroken) {
        builder.problem(`metadata block ${read.at} is damaged: folder ${shown} may be an older one than it was`);
      }
      for (const [id, slot] of metadata.slots.entries()) {
        // What a move has left is deleted as soon as the board writes again.
        if (move !== null && move.id === id && isSamePair(move.pair, pair)) continue;
        if (slot.name?.kind === SUPERBLOCK_NAME) continue;
        const path = nameOf(metadata, slot, folder.path, (what) => builder.problem(`${what} in folder ${shown}`));
        if (path === undefined || slot.name === null) continue;
        if (slot.struct === null) builder.problem(`${printable(path)} has no content`);
        else if (slot.name.kind === FILE_NAME) files.push({ path, metadata, struct: slot.struct });
        else if (slot.name.kind === FOLDER_NAME) {
          const child = slot.struct.kind === FOLDER_STRUCT && slot.struct.sizeBytes >= 8;
          const target = child ? readPair(metadata.bytes, slot.struct.offset) : null;
          if (target === null) builder.problem(`folder ${printable(path)} has no metadata`);
          else if (builder.folder(path)) open.push({ path, pair: target });
        } else builder.problem(`${printable(path)} is of kind ${slot.name.kind}, which espd does not know`);
      }
      next = metadata.folderGoesOn ? metadata.tail : null;
    }
  }
  return files;
}

const SUPERBLOCK_NAME = 0xff;

/** The path of an entry, or undefined after saying why it cannot have one. */
function nameOf(
  metadata: MetadataBlock,
  slot: Slot,
  folder: string,
  complain: (what: string) => void,
): string | undefined {
  if (slot.name === null) {
    complain('an entry without a name');
    return undefined;
  }
  const name = decodeName(metadata.bytes.subarray(slot.name.offset, slot.name.offset + slot.name.sizeBytes));
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
    complain(`an entry with the impossible name "${printable(name)}"`);
    return undefined;
  }
  return `${folder}/${name}`;
}

function addFile(blocks: LittleFsBlocks, file: FoundFile, builder: ReadingBuilder): void {
  const { path, metadata, struct } = file;
  if (struct.kind === INLINE_STRUCT) {
    const { offset, sizeBytes } = struct;
    builder.file(path, sizeBytes, () => content(metadata.bytes.subarray(offset, offset + sizeBytes)));
    return;
  }
  if (struct.kind !== CTZ_STRUCT || struct.sizeBytes < 8) {
    builder.problem(`${printable(path)} has a content of kind ${struct.kind}, which espd does not know`);
    return;
  }
  const head = metadata.bytes.readUInt32LE(struct.offset);
  const sizeBytes = metadata.bytes.readUInt32LE(struct.offset + 4);
  const found = findBlocks(blocks, head, sizeBytes, blocks.count);
  if (found.problem === null) {
    builder.file(path, sizeBytes, () => content(readBlocks(blocks, found.blocks, sizeBytes)));
  } else {
    builder.problem(`${printable(path)} cannot be read: ${found.problem}`);
    builder.file(path, sizeBytes, () => unreadable(found.problem));
  }
}

/** A copy: what a caller does to it must not change the partition. */
function content(bytes: Uint8Array): FileContent {
  return { bytes: Uint8Array.from(bytes), problem: null };
}

/** As littlefs compares pairs: one block in common is enough, for the other may have been replaced. */
function isSamePair(one: Pair, other: Pair): boolean {
  return one.includes(other[0]) || one.includes(other[1]);
}
