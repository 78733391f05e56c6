/**
 * ESP-IDF's wear levelling layer under FAT: which sector of the partition holds which sector of the volume.
 *
 * Of the partition's sectors one is a dummy; after some erases its neighbour is copied into it and becomes the dummy. Two
 * copies of a state sector, and a config sector behind them, stand at the end. A record behind the state stands for each
 * move; when the dummy has gone around, the state is written anew with a higher move count.
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/wear_levelling/WL_Flash.cpp
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/wear_levelling/private_include/WL_State.h
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/wear_levelling/private_include/WL_Config.h
 */

import { crc32 } from 'node:zlib';
import { SECTOR_BYTES } from '../../flash.ts';

const ALL_ONES = 0xffffffff;
/** wl_state_t is 64 bytes with its CRC at the end; the records follow. */
const STATE_BYTES = 64;
const STATE_CRC_OFFSET = 60;
const RECORD_BYTES = 16;
const CONFIG_CRC_OFFSET = 32;
/** WL_CURRENT_VERSION; version 1 (ESP-IDF before 3.1) had its CRC at another place. */
const VERSION_2 = 2;
const VERSION_1 = 1;
const V1_CRC_OFFSET = 28;

/** `problem` where there is such a layer, and the volume on it cannot be had. */
export type Unlevelled =
  { readonly volume: Buffer; readonly problem: null } | { readonly volume: null; readonly problem: string };

/**
 * The volume on the layer as a copy of its own, in the order of its sectors; undefined where `partition` has no such layer.
 *
 * @param partition whole: the layer is found from its end
 */
export function withoutWearLevelling(partition: Buffer): Unlevelled | undefined {
  const sectors = partition.length / SECTOR_BYTES;
  if (!Number.isInteger(sectors)) return undefined;
  const stateBytes = Math.ceil((STATE_BYTES + sectors * RECORD_BYTES) / SECTOR_BYTES) * SECTOR_BYTES;
  const configAt = partition.length - SECTOR_BYTES;
  const statesAt = configAt - 2 * stateBytes;
  /** Sectors of the volume and the dummy. */
  const moving = statesAt / SECTOR_BYTES;
  if (moving < 2) return undefined;

  // After a power cut one copy may be missing. The first is written first, so where both are sound it is the newer one.
  const copies = [statesAt, statesAt + stateBytes].map((at) => partition.subarray(at, at + stateBytes));
  const state = copies.find((copy) => isSound(copy, STATE_CRC_OFFSET));
  if (state === undefined) return lostState(partition.subarray(configAt), copies, partition.length);

  const version = state.readUInt32LE(24);
  if (version !== VERSION_2) return unreadable(`is of version ${version}, which espd does not know`);
  if (state.readUInt32LE(4) !== moving || state.readUInt32LE(20) !== SECTOR_BYTES) {
    return unreadable('was set up for a partition of another size');
  }
  const dummy = Math.min(countRecords(state, moving), moving - 1);
  const moves = state.readUInt32LE(8) % (moving - 1);
  return { volume: inOrder(partition, moving - 1, dummy, moves), problem: null };
}

function unreadable(what: string): Unlevelled {
  return { volume: null, problem: `the wear levelling layer ${what}` };
}

function isSound(record: Buffer, crcOffset: number): boolean {
  return crc32(record.subarray(0, crcOffset), ALL_ONES) === record.readUInt32LE(crcOffset);
}

function lostState(config: Buffer, copies: readonly Buffer[], partitionBytes: number): Unlevelled | undefined {
  if (copies.some((copy) => copy.readUInt32LE(24) === VERSION_1 && isSound(copy, V1_CRC_OFFSET))) {
    return unreadable('is of version 1 (ESP-IDF before 3.1), which espd does not know');
  }
  const isConfig = isSound(config, CONFIG_CRC_OFFSET) && config.readUInt32LE(4) === partitionBytes;
  return isConfig ? unreadable('has lost both copies of its state') : undefined;
}

/** How many moves stand behind the state: each record is four CRCs of numbers that count on from the device id. */
function countRecords(state: Buffer, most: number): number {
  const deviceId = state.readUInt32LE(28);
  const number = Buffer.alloc(4);
  for (let record = 0; record < most; record += 1) {
    for (let word = 0; word < 4; word += 1) {
      number.writeUInt32LE((deviceId + record * 4 + word) >>> 0);
      const at = STATE_BYTES + record * RECORD_BYTES + word * 4;
      if (state.readUInt32LE(at) !== crc32(number, ALL_ONES)) return record;
    }
  }
  return most;
}

function inOrder(partition: Buffer, sectors: number, dummy: number, moves: number): Buffer {
  const volume = Buffer.alloc(sectors * SECTOR_BYTES);
  for (let sector = 0; sector < sectors; sector += 1) {
    const place = (sectors - moves + sector) % sectors;
    const from = (place < dummy ? place : place + 1) * SECTOR_BYTES;
    partition.copy(volume, sector * SECTOR_BYTES, from, from + SECTOR_BYTES);
  }
  return volume;
}

/** WL_Ext_Safe_State and the sector that it is about: the last two sectors under a volume in "safety" mode. */
const SAFE_SECTORS = 2;
const SAFE_PENDING = 0x12345678;

/**
 * In "safety" mode (FAT sectors of 512 bytes) a flash sector is copied aside before it is erased. Where power was cut in
 * between, this puts the copy back into `volume`, as the board will at its next start, and says so. The FAT sectors that were
 * to be written are not in the copy: the board leaves them erased, here they stay as they are.
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/wear_levelling/WL_Ext_Safe.cpp
 *
 * @param usedBytes how much of `volume` the file system says is its own
 */
export function finishSafeWrite(volume: Buffer, fatSectorBytes: number, usedBytes: number): boolean {
  const stateAt = volume.length - SAFE_SECTORS * SECTOR_BYTES;
  if (fatSectorBytes >= SECTOR_BYTES || usedBytes > stateAt || stateAt < 0) return false;
  if (volume.readUInt32LE(stateAt) !== SAFE_PENDING) return false;
  const target = volume.readUInt32LE(stateAt + 4) * SECTOR_BYTES;
  if (target + SECTOR_BYTES > stateAt) return false;
  const missingFrom = volume.readUInt32LE(stateAt + 8) * fatSectorBytes;
  const missingTo = missingFrom + volume.readUInt32LE(stateAt + 12) * fatSectorBytes;
  for (let at = 0; at < SECTOR_BYTES; at += fatSectorBytes) {
    const from = stateAt + SECTOR_BYTES + at;
    if (at < missingFrom || at >= missingTo) volume.copy(volume, target + at, from, from + fatSectorBytes);
  }
  return true;
}
