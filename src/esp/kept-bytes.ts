/**
 * What a read that failed has brought all the same. Its bytes are no proof of anything; but the chip can hash the place
 * they came from, and what it confirms need not be read again.
 */

import { createHash } from 'node:crypto';
import type { ByteSink } from './flash-read.ts';

/** The smallest part that is confirmed by itself: about a packet. */
const SMALLEST_BYTES = 4096;
/** With so many bad parts, looking for more costs more than it saves. */
const MOST_BAD_PARTS = 8;

export interface ProofCosts {
  digestMs(sizeBytes: number): number;
  readMs(sizeBytes: number): number;
}

/** MD5 of a place in the flash, lower-case hex, as the chip gives it. */
export type AskDigest = (offset: number, sizeBytes: number) => Promise<string>;

interface Region {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Of one read of a region, from its first piece to its last. */
export class KeptBytes {
  /** What came in order since the read of this piece began; unproven. */
  #chunks: Buffer[] = [];
  #offset = 0;
  #wantedBytes = 0;
  /** Confirmed and in the sink, but not yet passed. */
  #proven: Region[] = [];

  /** Begins to read a piece: its bytes go to `sink`, and are held until {@link release} or {@link prove}. */
  hold(sink: ByteSink, sizeBytes: number): ByteSink {
    this.release();
    this.#wantedBytes = sizeBytes;
    return (offset, bytes) => {
      if (this.#chunks.length === 0) this.#offset = offset;
      this.#chunks.push(bytes);
      return sink(offset, bytes);
    };
  }

  get heldBytes(): number {
    return this.#chunks.reduce((sum, { length }) => sum + length, 0);
  }

  /** What came first of the piece; empty where nothing has. */
  get firstBytes(): Buffer {
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  /** All of the piece came, right or wrong. */
  get isWhole(): boolean {
    return this.heldBytes > 0 && this.heldBytes === this.#wantedBytes;
  }

  /** What is held has been proven otherwise, or is of no use. */
  release(): void {
    this.#chunks = [];
  }

  /**
   * Has the chip confirm what is held, as far as that costs less than to read it again.
   * @returns bytes that were confirmed; they count as read from here on
   * @throws what `ask` throws; what was held is then forgotten
   */
  async prove(ask: AskDigest, costs: ProofCosts): Promise<number> {
    const bytes = Buffer.concat(this.#chunks);
    this.release();
    const found: Region[] = [];
    let badParts = 0;
    const search = async (from: number, to: number, isBad: boolean): Promise<boolean> => {
      const sizeBytes = to - from;
      if (badParts >= MOST_BAD_PARTS || costs.digestMs(sizeBytes) >= costs.readMs(sizeBytes)) return false;
      if (!isBad && (await ask(this.#offset + from, sizeBytes)) === md5(bytes.subarray(from, to))) {
        found.push({ offset: this.#offset + from, sizeBytes });
        return true;
      }
      if (sizeBytes <= SMALLEST_BYTES) {
        badParts++;
        return false;
      }
      const middle = from + SMALLEST_BYTES * Math.ceil(sizeBytes / SMALLEST_BYTES / 2);
      const isFirstGood = await search(from, middle, false);
      // Where the first half is right, the fault must lie in the second.
      await search(middle, to, isFirstGood);
      return false;
    };
    if (bytes.length > 0) await search(0, bytes.length, false);
    this.#proven.push(...found);
    return found.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  /** How many bytes from the offset on are confirmed. */
  provenFrom(offset: number): number {
    let end = offset;
    for (;;) {
      const next = this.#proven.find((region) => region.offset <= end && end < region.offset + region.sizeBytes);
      if (next === undefined) return end - offset;
      end = next.offset + next.sizeBytes;
    }
  }

  /** How many bytes from the offset on are not, at most `limitBytes`. */
  gapFrom(offset: number, limitBytes: number): number {
    const ahead = this.#proven.map((region) => region.offset - offset).filter((distance) => distance > 0);
    return Math.min(limitBytes, ...ahead);
  }
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
