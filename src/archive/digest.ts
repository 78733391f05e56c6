/** All digests of an image in one pass. */

import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';

/** Unit of the block digests in a manifest: 64 KiB, the flash's own erase block. */
export const BLOCK_BYTES = 65536;

export interface ImageDigests {
  readonly sizeBytes: number;
  readonly md5: string;
  readonly sha256: string;
  /** SHA-256 of each block of 64 KiB in order; the last one may be of a shorter block. */
  readonly blocks: readonly string[];
}

/** Takes an image in pieces of any length. */
export class ImageDigester {
  readonly #md5 = createHash('md5');
  readonly #sha256 = createHash('sha256');
  readonly #blocks: string[] = [];
  #block: Hash | undefined;
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  update(bytes: Uint8Array): void {
    this.#md5.update(bytes);
    this.#sha256.update(bytes);
    for (let offset = 0; offset < bytes.length;) {
      const room = BLOCK_BYTES - (this.#sizeBytes % BLOCK_BYTES);
      const piece = bytes.subarray(offset, offset + room);
      this.#block ??= createHash('sha256');
      this.#block.update(piece);
      offset += piece.length;
      this.#sizeBytes += piece.length;
      if (this.#sizeBytes % BLOCK_BYTES === 0) this.#endBlock();
    }
  }

  finish(): ImageDigests {
    this.#endBlock();
    return {
      sizeBytes: this.#sizeBytes,
      md5: this.#md5.digest('hex'),
      sha256: this.#sha256.digest('hex'),
      blocks: this.#blocks,
    };
  }

  #endBlock(): void {
    if (this.#block === undefined) return;
    this.#blocks.push(this.#block.digest('hex'));
    this.#block = undefined;
  }
}

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
