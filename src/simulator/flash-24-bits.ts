/**
 * A flash as a ROM reaches it: its commands carry 24 address bits, so that whoever asks for 0x1001000 gets 0x1000, in
 * reads, digests, erasing and programming alike. The bytes agree with themselves, and nothing tells.
 *
 * Source: esp-idf components/spi_flash/esp32/spi_flash_rom_patch.c (the ROM's functions in C), which puts
 * `addr & 0xffffff` into the address register; W25Q256JV data sheet, "3-Byte / 4-Byte Address Modes": bits 24 and up then
 * come from a register that is zero after power-up.
 */

import { createHash } from 'node:crypto';
import type { FlashArray } from './flash.ts';

const REACH_BYTES = 2 ** 24;

/** @param flash of any size; one of at most 16 MiB is reached as it is */
export function in24Bits(flash: FlashArray): FlashArray {
  return {
    read: (address, length) => Buffer.concat(pieces(address, length).map((each) => flash.read(each.at, each.length))),
    md5: (address, length) => {
      const hash = createHash('md5');
      for (const each of pieces(address, length)) hash.update(flash.read(each.at, each.length));
      return hash.digest();
    },
    program: (address, data) => {
      for (const { at, from, length } of pieces(address, data.length))
        flash.program(at, data.subarray(from, from + length));
    },
    erase: (address, length) => {
      for (const each of pieces(address, length)) flash.erase(each.at, each.length);
    },
    unlock: () => flash.unlock(),
  };
}

interface Piece {
  /** Where in the flash. */
  readonly at: number;
  /** Where in what was asked for. */
  readonly from: number;
  readonly length: number;
}

/** None longer than 64 KiB, none over the end of what 24 bits address. */
function pieces(address: number, length: number): Piece[] {
  const found: Piece[] = [];
  for (let from = 0; from < length;) {
    const at = (address + from) % REACH_BYTES;
    const piece = { at, from, length: Math.min(length - from, REACH_BYTES - at, 65536) };
    found.push(piece);
    from += piece.length;
  }
  return found;
}
