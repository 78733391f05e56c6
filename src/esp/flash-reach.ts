/**
 * How much flash a loader reaches. The flash commands of every ROM carry 24 address bits: above 16 MiB they read, hash,
 * erase and program what lies 16 MiB below, and report success. A proof by the ROM then agrees with itself, so no ROM
 * command may touch such a flash at all.
 */

import { EspdError } from '../errors.ts';
import { FLASH_COMMANDS } from './protocol.ts';

const MIB = 1024 * 1024;
/** 24 address bits (esp-idf components/spi_flash/esp32/spi_flash_rom_patch.c: `addr & 0xffffff`). */
export const ROM_REACH_BYTES = 16 * MIB;

/**
 * The last line of defence, at the one place that every command to a ROM passes.
 * @param flashSizeBytes as far as it is known
 * @throws EspdError `no-stub-read` for a command that touches a flash above 16 MiB, or an address there
 */
export function refuseBeyondRom(opcode: number, payload: Uint8Array, flashSizeBytes: number | undefined): void {
  const command = FLASH_COMMANDS[opcode];
  if (command === undefined) return;
  const end = command === null ? 0 : wordAt(payload, command.address) + wordAt(payload, command.length);
  if (end > ROM_REACH_BYTES || (flashSizeBytes ?? 0) > ROM_REACH_BYTES) throw beyondRom(flashSizeBytes ?? end);
}

/** @param reason why no stub runs */
export function beyondRom(flashSizeBytes: number, reason?: EspdError): EspdError {
  const megabytes = Math.ceil(flashSizeBytes / MIB);
  const message = `No flasher stub runs, and without it only 16 MB of this ${megabytes} MB flash can be reached`;
  const why = reason === undefined ? '' : `${reason.message}. `;
  return new EspdError('no-stub-read', message, {
    cause: reason,
    hint: `${why}Try another cable or USB port. The ROM is not used: above 16 MB it reads and writes the wrong place`,
  });
}

function wordAt(payload: Uint8Array, index: number): number {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).readUInt32LE(4 * index);
}
