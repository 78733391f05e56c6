/** Whether a bootloader is one of a board with secure boot: by what such boards have beside it. Pure. */

import { crc32 } from 'node:zlib';
import { SECTOR_BYTES } from '../flash.ts';
import type { ReadFlash } from './bytes.ts';
import { bootloaderOffset } from './describe.ts';

/**
 * A signature block of secure boot v2, at the start of the sector behind the bootloader: magic, version (2 for RSA, 3 for
 * ECDSA), and behind the key and the signature the CRC-32 of all before it. `ets_secure_boot_sig_block_t` in
 * https://github.com/espressif/esp-idf/blob/v5.5/components/esp_rom/esp32s3/include/esp32s3/rom/secure_boot.h
 */
const BLOCK_MAGIC = 0xe7;
const BLOCK_VERSIONS = [2, 3];
const CRC_OFFSET = 1196;
/** Version 1, ESP32 only: initialisation vector and digest at 0, where the flash is blank otherwise (ESP-IDF, "Secure Boot V1"). */
const V1_BYTES = 192;
/** A bootloader is at most as long as the place up to the table allows; no more sectors than these are looked at. */
const MAX_SECTORS = 64;

/**
 * Rejects only if `read` does.
 * @param endOffset where the bootloader ends at the latest: the partition table, or the end of the flash
 */
export async function hasSignedBootloader(read: ReadFlash, endOffset: number, family: string): Promise<boolean> {
  if (family === 'esp8266') return false;
  const start = bootloaderOffset(family);
  if (family === 'esp32' && endOffset >= V1_BYTES && (await read(0, V1_BYTES)).some((byte) => byte !== 0xff)) {
    return true;
  }
  for (let index = 1; index <= MAX_SECTORS; index++) {
    const offset = start + index * SECTOR_BYTES;
    if (offset + SECTOR_BYTES > endOffset) return false;
    if (isSignatureBlock(await read(offset, CRC_OFFSET + 4))) return true;
  }
  return false;
}

function isSignatureBlock(bytes: Buffer): boolean {
  if (bytes.length < CRC_OFFSET + 4 || bytes.readUInt8(0) !== BLOCK_MAGIC) return false;
  if (!BLOCK_VERSIONS.includes(bytes.readUInt8(1))) return false;
  return crc32(bytes.subarray(0, CRC_OFFSET)) === bytes.readUInt32LE(CRC_OFFSET);
}
