/** All digests of an image in one pass. */

import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { BLOCK_BYTES } from '../flash.ts';

export interface ImageDigests {
  readonly sizeBytes: number;
  readonly md5: string;
  readonly sha256: string;
  /** Of each block of 64 KiB in order; the last one may be shorter. */
  readonly blocks: { readonly sha256: readonly string[]; readonly md5: readonly string[] };
}

/** Takes an image in pieces of any length. */
export class ImageDigester {
  readonly #md5 = createHash('md5');
  readonly #sha256 = createHash('sha256');
  readonly #blocks = { sha256: [] as string[], md5: [] as string[] };
  #block: { readonly sha256: Hash; readonly md5: Hash } | undefined;
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
      this.#block ??= { sha256: createHash('sha256'), md5: createHash('md5') };
      this.#block.sha256.update(piece);
      this.#block.md5.update(piece);
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
    this.#blocks.sha256.push(this.#block.sha256.digest('hex'));
    this.#blocks.md5.push(this.#block.md5.digest('hex'));
    this.#block = undefined;
  }
}

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
