/** The blocks of a littlefs partition: which block of a pair is the valid one, and who owns which block. */

import { checkLog, replayLog, type Log, type MetadataBlock, type Pair } from './littlefs-block.ts';
import type { BlockSource } from './littlefs-ctz.ts';

/** What a pair says, or why it says nothing. */
export type PairReading =
  | {
      readonly problem: null;
      /** The block that is valid. */
      readonly at: number;
      readonly metadata: MetadataBlock;
      /** Whether something newer was there once: see `Log.isBroken`. */
      readonly isBroken: boolean;
    }
  | { readonly problem: string };

export class LittleFsBlocks implements BlockSource {
  readonly blockSizeBytes: number;
  /** Whole blocks in the partition. */
  readonly count: number;
  readonly #partition: Buffer;
  readonly #claimed = new Set<number>();
  readonly #logs = new Map<number, Log>();
  readonly #replayed = new Map<number, MetadataBlock>();
  readonly #reported = new Set<string>();

  constructor(partition: Buffer, blockSizeBytes: number) {
    this.#partition = partition;
    this.blockSizeBytes = blockSizeBytes;
    this.count = Math.floor(partition.length / blockSizeBytes);
  }

  block(index: number): Buffer | undefined {
    if (!(index >= 0 && index < this.count)) return undefined;
    return this.#partition.subarray(index * this.blockSizeBytes, (index + 1) * this.blockSizeBytes);
  }

  claim(index: number): boolean {
    if (this.#claimed.has(index)) return false;
    this.#claimed.add(index);
    return true;
  }

  /** Takes both blocks of a pair for one folder; false if one of them has an owner. */
  claimPair(pair: Pair): boolean {
    if (this.#claimed.has(pair[0]) || this.#claimed.has(pair[1])) return false;
    this.#claimed.add(pair[0]);
    this.#claimed.add(pair[1]);
    return true;
  }

  /** Remembers that the problem has been told, in whatever words. */
  report(problem: string): void {
    this.#reported.add(problem);
  }

  hasReported(problem: string): boolean {
    return this.#reported.has(problem);
  }

  /**
   * The newer block of a pair that has a sound commit. Each block is worked through once, however many pairs name it.
   * "Sequence comparison must be used to avoid issues with integer overflow."
   */
  readPair(pair: Pair): PairReading {
    const [one, other] = pair.map((index) => this.#log(index));
    const shown = `{${pair.join(', ')}}`;
    if (one === undefined || other === undefined) {
      return { problem: `metadata pair ${shown} is outside of the ${this.count} blocks` };
    }
    const otherIsNewer = ((other.revision - one.revision) | 0) > 0;
    const [newer, older] = otherIsNewer ? [other, one] : [one, other];
    const [newerAt, olderAt] = otherIsNewer ? [pair[1], pair[0]] : pair;
    if (newer.endOffset > 0) return this.#give(newerAt, newer, newer.isBroken);
    if (older.endOffset > 0) return this.#give(olderAt, older, newer.isBroken || older.isBroken);
    return { problem: `both blocks of metadata pair ${shown} are damaged` };
  }

  #give(at: number, { endOffset }: Log, isBroken: boolean): PairReading {
    let metadata = this.#replayed.get(at);
    if (metadata === undefined) {
      metadata = replayLog(this.block(at) ?? Buffer.alloc(0), endOffset);
      this.#replayed.set(at, metadata);
    }
    return { problem: null, at, metadata, isBroken };
  }

  #log(index: number): Log | undefined {
    const block = this.block(index);
    if (block === undefined) return undefined;
    let log = this.#logs.get(index);
    if (log === undefined) {
      log = checkLog(block);
      this.#logs.set(index, log);
    }
    return log;
  }
}
