/** The image of a backup, for who wants to rely on the bytes that are read without hashing all of it first. */

import { BLOCK_BYTES } from '../flash.ts';
import { EspdError } from '../errors.ts';
import { sha256Of } from './digest.ts';
import { checkRange } from './image.ts';
import type { Backup, ImageReader } from './types.ts';

/** Blocks that are kept: images are looked into here and there, a few bytes at a time. */
const KEPT_BLOCKS = 16;

/**
 * An image whose every block of 64 KiB is compared with the digest in the manifest when it is read. Opened by the first
 * read, so that an image nobody looks into costs nothing.
 *
 * `read` throws EspdError `archive-damaged` where a block is not what the manifest says, and what `open` throws.
 */
export function checkedImage(backup: Backup, open: (backup: Backup) => Promise<ImageReader>): ImageReader {
  return new CheckedImage(backup, open);
}

class CheckedImage implements ImageReader {
  readonly sizeBytes: number;
  readonly #backup: Backup;
  readonly #open: (backup: Backup) => Promise<ImageReader>;
  #image: Promise<ImageReader> | undefined;
  /** The one read last at the end. */
  readonly #blocks = new Map<number, Promise<Buffer>>();

  constructor(backup: Backup, open: (backup: Backup) => Promise<ImageReader>) {
    this.#backup = backup;
    this.#open = open;
    this.sizeBytes = backup.manifest.image.sizeBytes;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.sizeBytes);
    const bytes = Buffer.alloc(length);
    for (let at = offset; at < offset + length;) {
      const start = at % BLOCK_BYTES;
      const block = await this.#block((at - start) / BLOCK_BYTES);
      at += block.copy(bytes, at - offset, start);
    }
    return bytes;
  }

  async close(): Promise<void> {
    this.#blocks.clear();
    // One that could not be opened has told so already.
    const image = await this.#image?.catch(() => undefined);
    await image?.close();
  }

  #block(index: number): Promise<Buffer> {
    const block = this.#blocks.get(index) ?? this.#readBlock(index);
    this.#blocks.delete(index);
    this.#blocks.set(index, block);
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size <= KEPT_BLOCKS) break;
      this.#blocks.delete(oldest);
    }
    return block;
  }

  async #readBlock(index: number): Promise<Buffer> {
    this.#image ??= this.#open(this.#backup);
    const offset = index * BLOCK_BYTES;
    const block = await (await this.#image).read(offset, Math.min(BLOCK_BYTES, this.sizeBytes - offset));
    const { mac, id, manifest } = this.#backup;
    if (sha256Of(block) === manifest.blocks.sha256[index]) return block;
    const where = `0x${offset.toString(16)}`;
    throw new EspdError('archive-damaged', `Backup ${id} of ${mac} is damaged: ${manifest.image.file} at ${where}`, {
      hint: `The SHA-256 of that block differs from the manifest's. "espd verify --mac ${mac}" tells what else is damaged`,
    });
  }
}
