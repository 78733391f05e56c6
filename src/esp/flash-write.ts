/**
 * Writing flash: erases the sectors of a region and programs them. Nothing here verifies: an error of the stub shows
 * only on a later command, so the caller compares digests afterwards.
 */

import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import { SECTOR_BYTES } from '../flash.ts';
import type { Chip } from './chips/chip.ts';
import type { Loader } from './loader.ts';
import { OPCODE, dataChecksum, words } from './protocol.ts';

const deflateAsync = promisify(deflate);

/** Block sizes of the write commands (protocol page: FLASH_WRITE_SIZE). */
export const STUB_BLOCK_BYTES = 0x4000;
const ROM_BLOCK_BYTES = 0x400;
/** What may stand in a zlib stream behind the last byte of content: end of block, an empty block, checksum. */
const ZLIB_TAIL_BYTES = 16;
/**
 * Erasing and programming: NOR flashes take up to 400 ms a sector in their data sheets' worst case (W25Q32JV, tSE),
 * that is 100 s a MiB.
 */
const WRITE_MS_PER_MIB = 100_000;
const MIB = 1024 * 1024;

/** What is to be written in one go, ready to be sent. */
export interface FlashPiece {
  readonly offset: number;
  readonly bytes: Buffer;
  /** `bytes` as one zlib stream. */
  readonly compressed: Buffer;
}

/**
 * Compresses a piece, off the event loop: best while the chip still programs the one before.
 *
 * @param offset a multiple of 4096
 * @param bytes a multiple of 4096 long, at most some MiB: all of it is in memory
 */
export async function preparePiece(offset: number, bytes: Buffer): Promise<FlashPiece> {
  if (offset % SECTOR_BYTES !== 0 || bytes.length % SECTOR_BYTES !== 0) {
    throw new RangeError(`flash is written in whole sectors, not ${bytes.length} bytes at ${offset}`);
  }
  return { offset, bytes, compressed: await deflateAsync(bytes, { level: 9 }) };
}

/**
 * Erases and programs the sectors of `piece` and none outside. The stub erases 64 KiB at a time where such a block is
 * aligned and whole within the piece, in a fifth of the time of its 16 sectors (esp-flasher-stub, s_flash_defl_data).
 *
 * @param maxBlockBytes of one FLASH_DEFL_DATA through the stub, at most {@link STUB_BLOCK_BYTES}
 * @throws EspdError `chip-error`, `chip-timeout`; then nobody knows what the region holds
 */
export async function writePiece(
  loader: Loader,
  chip: Chip,
  piece: FlashPiece,
  maxBlockBytes = STUB_BLOCK_BYTES,
): Promise<void> {
  if (piece.bytes.length === 0) return;
  if (loader.kind === 'stub') await writeCompressed(loader, piece, maxBlockBytes);
  else await writeThroughRom(loader, chip, piece);
}

async function writeCompressed(stub: Loader, piece: FlashPiece, maxBlockBytes: number): Promise<void> {
  const { offset, bytes, compressed } = piece;
  const blockBytes = blockSizeFor(compressed.length, maxBlockBytes);
  const blocks = Math.ceil(compressed.length / blockBytes);
  const timeoutMs = writeTimeoutMs(bytes.length);
  // The fifth word, "encrypt", exists on every stub that espd loads.
  await stub.command(OPCODE.FLASH_DEFL_BEGIN, words(bytes.length, blocks, blockBytes, offset, 0), { timeoutMs });
  await sendBlocks(stub, OPCODE.FLASH_DEFL_DATA, compressed, blockBytes, timeoutMs);
  // 1 = stay in the loader.
  await stub.command(OPCODE.FLASH_DEFL_END, words(1), { timeoutMs });
}

/**
 * Bytes of one block: the stub refuses a block that comes when all content is already written (esp-flasher-stub,
 * src/command_handler.c, s_flash_defl_data), so none may consist of the end of the zlib stream alone.
 */
export function blockSizeFor(compressedBytes: number, maxBlockBytes: number): number {
  let blockBytes = maxBlockBytes;
  while (compressedBytes > blockBytes && isTail(compressedBytes % blockBytes)) blockBytes -= ZLIB_TAIL_BYTES;
  return blockBytes;
}

function isTail(lastBlockBytes: number): boolean {
  return lastBlockBytes > 0 && lastBlockBytes <= ZLIB_TAIL_BYTES;
}

async function writeThroughRom(rom: Loader, chip: Chip, { offset, bytes }: FlashPiece): Promise<void> {
  const blocks = bytes.length / ROM_BLOCK_BYTES;
  const timeoutMs = writeTimeoutMs(bytes.length);
  const begin = [bytes.length, blocks, ROM_BLOCK_BYTES, offset];
  if (chip.rom.beginHasEncryptWord) begin.push(0);
  await rom.command(OPCODE.FLASH_BEGIN, words(...begin), { timeoutMs });
  await sendBlocks(rom, OPCODE.FLASH_DATA, bytes, ROM_BLOCK_BYTES, timeoutMs);
}

async function sendBlocks(
  loader: Loader,
  opcode: number,
  bytes: Buffer,
  blockBytes: number,
  timeoutMs: number,
): Promise<void> {
  for (let sequence = 0; sequence * blockBytes < bytes.length; sequence++) {
    const block = bytes.subarray(sequence * blockBytes, (sequence + 1) * blockBytes);
    await loader.command(opcode, Buffer.concat([words(block.length, sequence, 0, 0), block]), {
      checksum: dataChecksum(block),
      timeoutMs,
    });
  }
}

function writeTimeoutMs(sizeBytes: number): number {
  return 3000 + Math.ceil((sizeBytes / MIB) * WRITE_MS_PER_MIB);
}
