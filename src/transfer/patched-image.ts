/** An image of the archive with some of its sectors as they were read of a flash: what that flash may hold. */

import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import type { Candidate } from '../archive/types.ts';
import type { Mac } from '../mac.ts';
import { inOrder } from './digest-plan.ts';
import { imageDigest } from './flash-compare.ts';
import type { Readable } from './pieces.ts';

export class PatchedImage implements Candidate {
  readonly kind: Candidate['kind'];
  readonly mac: Mac;
  readonly id: string | null;
  readonly sizeBytes: number;
  readonly #image: Pick<Candidate, 'blockMd5' | 'read'>;
  /** By offset. */
  readonly #sectors = new Map<number, Buffer>();

  /** @param read what the image's own is for, where that takes more */
  constructor(image: Candidate, read: Candidate['read'] = (offset, length) => image.read(offset, length)) {
    this.#image = { read, blockMd5: (index, count) => image.blockMd5(index, count) };
    this.kind = image.kind;
    this.mac = image.mac;
    this.id = image.id;
    this.sizeBytes = image.sizeBytes;
  }

  /** What is not the image's own, whole sectors in order, neighbours merged. */
  get patches(): Region[] {
    return inOrder([...this.#sectors.keys()].map((offset) => ({ offset, sizeBytes: SECTOR_BYTES })));
  }

  /** @param offset of bytes that may begin and end within a sector, as they come over the wire */
  async write(offset: number, bytes: Buffer): Promise<void> {
    for (let at = offset; at < offset + bytes.length;) {
      const start = at - (at % SECTOR_BYTES);
      const end = Math.min(start + SECTOR_BYTES, offset + bytes.length);
      const sector = this.#sectors.get(start) ?? (await this.#sectorOfImage(start));
      this.#sectors.set(start, sector);
      sector.set(bytes.subarray(at - offset, end - offset), at - start);
      at = end;
    }
  }

  blockMd5(index: number, count = 1): string | undefined {
    for (let offset = index * BLOCK_BYTES; offset < (index + count) * BLOCK_BYTES; offset += SECTOR_BYTES)
      if (this.#sectors.has(offset)) return undefined;
    return this.#image.blockMd5(index, count);
  }

  /** @param offset and `length`: of whole sectors */
  async read(offset: number, length: number): Promise<Buffer | undefined> {
    const ofImage = await this.#image.read(offset, length);
    if (ofImage === undefined) return undefined;
    const bytes = Buffer.from(ofImage);
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) bytes.set(this.#sectors.get(offset + at) ?? [], at);
    return bytes;
  }

  /** The same with no bytes where it cannot be read: a digest of the chip is then of something else. */
  get readable(): Readable {
    return { read: async (offset, length) => (await this.read(offset, length)) ?? Buffer.alloc(0) };
  }

  /** Lower-case hex. */
  md5(region: Region): Promise<string> {
    return imageDigest(this.readable, region);
  }

  /** What is read of the flash takes the place of all of it. */
  async #sectorOfImage(offset: number): Promise<Buffer> {
    const sector = Buffer.alloc(SECTOR_BYTES);
    sector.set((await this.#image.read(offset, SECTOR_BYTES)) ?? []);
    return sector;
  }
}
