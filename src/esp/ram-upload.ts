/** Programs into the chip's RAM, by MEM_BEGIN and MEM_DATA: the flasher stub's, and the reader's beside it. */

import type { Loader } from './loader.ts';
import { OPCODE, dataChecksum, words } from './protocol.ts';

/** A piece of memory to fill. */
export interface RamSegment {
  readonly address: number;
  readonly bytes: Buffer;
}

/**
 * Fills the segments; nothing is started.
 * @param blockBytes of one MEM_DATA
 * @throws EspdError of the loader: a refusal, no answer, a fault of the link
 */
export async function uploadToRam(loader: Loader, segments: readonly RamSegment[], blockBytes: number): Promise<void> {
  for (const { address, bytes } of segments) {
    const blocks = Math.ceil(bytes.length / blockBytes);
    await loader.command(OPCODE.MEM_BEGIN, words(bytes.length, blocks, blockBytes, address));
    for (let sequence = 0; sequence < blocks; sequence++) {
      const block = bytes.subarray(sequence * blockBytes, (sequence + 1) * blockBytes);
      await loader.command(OPCODE.MEM_DATA, Buffer.concat([words(block.length, sequence, 0, 0), block]), {
        checksum: dataChecksum(block),
      });
    }
  }
}
