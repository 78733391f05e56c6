/** The file system of an Arduino app on ESP8266: where the linker scripts put it, and by what it is known. */

import { SECTOR_BYTES } from '../flash.ts';
import type { BoundedFlash } from './bytes.ts';
import { dataArea, type Area } from './esp8266.ts';
import { findSuperblock } from './filesystems/littlefs-superblock.ts';
import { findSpiffsGeometry } from './filesystems/spiffs-geometry.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * `_FS_start` and `_FS_end` of the scripts, by the size of flash that they are for:
 * https://github.com/esp8266/Arduino/tree/f946290ea993db029a90010927cdc1d645c91940/tools/sdk/ld
 */
const PLACES: ReadonlyMap<number, { readonly starts: readonly number[]; readonly end: number }> = new Map([
  [512 * KIB, { starts: [0x73000, 0x6b000, 0x5b000], end: 0x7b000 }],
  [MIB, { starts: [0xeb000, 0xdb000, 0xd7000, 0xd3000, 0xcb000, 0xbb000, 0x7b000], end: 0xfb000 }],
  [2 * MIB, { starts: [0x1f0000, 0x1e0000, 0x1c0000, 0x180000, 0x100000], end: 0x1fb000 }],
  [4 * MIB, { starts: [0x300000, 0x200000, 0x100000], end: 0x3fb000 }],
  [8 * MIB, { starts: [0x200000, 0x100000], end: 0x7fb000 }],
  [16 * MIB, { starts: [0x200000, 0x100000], end: 0xffb000 }],
]);
/** From this size on a file system has blocks of two sectors, and ends where the last whole one does. */
const LARGE_FS_BYTES = 400 * KIB;
const LARGE_BLOCK_BYTES = 2 * SECTOR_BYTES;

/** 16 bits of magic a block prove little, those of four blocks enough. */
const SPIFFS_BLOCKS = 4;

/** The one file system at a place of the scripts for `linkedSizeBytes`; none where several could be meant. */
export async function arduinoFileSystem(flash: BoundedFlash, linkedSizeBytes: number): Promise<Area[]> {
  const { starts, end } = PLACES.get(linkedSizeBytes) ?? { starts: [], end: 0 };
  const found: Area[] = [];
  for (const start of starts) {
    const blockBytes = end - start >= LARGE_FS_BYTES ? LARGE_BLOCK_BYTES : SECTOR_BYTES;
    const room = end - start;
    const wholeBlocks = room - (room % blockBytes);
    // By the same marks as the readers of what is in it; of a place only the first blocks are read here.
    const superblock = findSuperblock(await flash.read(start, 2 * blockBytes));
    if (superblock !== undefined) {
      const littleFs = superblock.problem === null ? littleFsBytes(superblock, blockBytes) : wholeBlocks;
      if (littleFs !== null && littleFs <= room) found.push(dataArea('fs', start, littleFs, 'littlefs'));
    } else if (await isSpiffs(flash, start, blockBytes)) {
      found.push(dataArea('fs', start, wholeBlocks, 'spiffs'));
    }
  }
  return found.length === 1 ? found : [];
}

/** Null for blocks of a size that no script for this place has. */
function littleFsBytes(superblock: { blockSizeBytes: number; blockCount: number }, blockBytes: number): number | null {
  return superblock.blockSizeBytes === blockBytes ? blockBytes * superblock.blockCount : null;
}

async function isSpiffs(flash: BoundedFlash, start: number, blockBytes: number): Promise<boolean> {
  const geometry = findSpiffsGeometry(await flash.read(start, SPIFFS_BLOCKS * blockBytes));
  return geometry?.blockBytes === blockBytes && geometry.blockCount === SPIFFS_BLOCKS;
}
