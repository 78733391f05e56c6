/** The file system of an Arduino app on ESP8266: where the linker scripts put it, and by what it is known. */

import { SECTOR_BYTES } from '../flash.ts';
import type { BoundedFlash } from './bytes.ts';
import { dataArea, type Area } from './esp8266.ts';

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

/** The one file system at a place of the scripts for `linkedSizeBytes`; none where several could be meant. */
export async function arduinoFileSystem(flash: BoundedFlash, linkedSizeBytes: number): Promise<Area[]> {
  const { starts, end } = PLACES.get(linkedSizeBytes) ?? { starts: [], end: 0 };
  const found: Area[] = [];
  for (const start of starts) {
    const blockBytes = end - start >= LARGE_FS_BYTES ? LARGE_BLOCK_BYTES : SECTOR_BYTES;
    const room = end - start;
    const littleFs = await littleFsBytes(flash, start, blockBytes);
    if (littleFs !== null && littleFs <= room) {
      found.push(dataArea('fs', start, littleFs, 'littlefs'));
    } else if (await isSpiffs(flash, start, blockBytes)) {
      found.push(dataArea('fs', start, room - (room % blockBytes), 'spiffs'));
    }
  }
  return found.length === 1 ? found : [];
}

/**
 * The size that littlefs wrote in its superblock, which lies in the first two blocks; null where there is none.
 * https://github.com/littlefs-project/littlefs/blob/v2.9.3/SPEC.md ("0x0ff LFS_TYPE_SUPERBLOCK")
 */
async function littleFsBytes(flash: BoundedFlash, start: number, blockBytes: number): Promise<number | null> {
  for (const at of [start, start + blockBytes]) {
    const head = await flash.read(at, 32);
    if (head.length < 32 || head.toString('latin1', 8, 16) !== 'littlefs') continue;
    if (head.readUInt32LE(24) !== blockBytes) continue;
    return blockBytes * head.readUInt32LE(28);
  }
  return null;
}

const SPIFFS_PAGE_BYTES = 256;
/** SPIFFS_MAGIC of spiffs_nucleus.h for pages of 256 bytes, without the length: the lower half of 0x20140529 ^ 256. */
const SPIFFS_MAGIC = 0x0429;
/** Of the magic, from the start of every block: the last but one entry of its lookup page (SPIFFS_MAGIC_PADDR). */
const SPIFFS_MAGIC_OFFSET = SPIFFS_PAGE_BYTES - 4;
/** 16 bits a block prove little, those of four blocks enough. */
const SPIFFS_BLOCKS = 4;

async function isSpiffs(flash: BoundedFlash, start: number, blockBytes: number): Promise<boolean> {
  for (let block = 0; block < SPIFFS_BLOCKS; block++) {
    const magic = await flash.read(start + block * blockBytes + SPIFFS_MAGIC_OFFSET, 2);
    if (magic.length < 2 || magic.readUInt16LE(0) !== SPIFFS_MAGIC) return false;
  }
  return true;
}
