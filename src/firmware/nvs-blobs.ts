/**
 * Blobs of NVS version 2: chunks on one or several pages, and an index that says how many there are.
 *
 * A blob that is written anew is first written beside the old one, with the other of two ranges of chunk numbers; the old
 * one is erased after that. So a power cut can leave both, or chunks without an index. A board may then take the old chunks for
 * duplicates and lose the blob at its next start (`Page::mLoadEntryTable`); here the old one is given as long as it is there.
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/nvs_flash/src/nvs_types.hpp (`VerOffset`)
 */

import { printable } from '../printable.ts';

import type { NvsItem } from './nvs-page.ts';
import type { Problems } from './problems.ts';

/** Chunk numbers of a blob begin at one of these. */
const RANGES = [0x00, 0x80] as const;
/** CHUNK_ANY is no chunk, so the upper range has one less. */
const CHUNKS_IN_RANGE = 127;

export interface WholeBlob {
  readonly namespaceIndex: number;
  readonly key: string;
  /** The index's: of two values of a key, the one with the higher order counts. */
  readonly order: number;
  readonly value: Buffer;
}

interface Blob {
  readonly namespaceIndex: number;
  readonly key: string;
  /** By chunk number; of two the later one. */
  readonly chunks: Map<number, Buffer>;
  /** By the start of its range; of two the later one. */
  readonly indexes: Map<number, { readonly order: number; readonly sizeBytes: number; readonly count: number }>;
}

export class BlobChunks {
  readonly #blobs = new Map<string, Blob>();

  /** Items must come in the order in which they were written. */
  addChunk(item: NvsItem): void {
    this.#blobOf(item).chunks.set(item.chunkIndex, item.value);
  }

  addIndex(item: NvsItem, order: number): void {
    const { value } = item;
    const index = { order, sizeBytes: value.readUInt32LE(0), count: value.readUInt8(4) };
    this.#blobOf(item).indexes.set(value.readUInt8(5), index);
  }

  /** Of each blob the newest that is whole. What is not whole becomes a problem. */
  whole(problems: Problems): WholeBlob[] {
    const found: WholeBlob[] = [];
    for (const blob of this.#blobs.values()) {
      const { namespaceIndex, key, chunks, indexes } = blob;
      const title = `the blob "${printable(key)}" of namespace number ${namespaceIndex}`;
      const newestFirst = [...indexes].sort(([, a], [, b]) => b.order - a.order);
      for (const [start, { order, sizeBytes, count }] of newestFirst) {
        const value = join(chunks, start, count, sizeBytes);
        if (value !== null) {
          found.push({ namespaceIndex, key, order, value });
          break;
        }
        problems.add(`${title} lacks a part of its ${sizeBytes} bytes`);
      }
      if ([...chunks.keys()].some((number) => !indexes.has(number & 0x80))) {
        problems.add(`${title} has a write that was cut off`);
      }
    }
    return found;
  }

  #blobOf({ namespaceIndex, key }: NvsItem): Blob {
    const id = `${namespaceIndex} ${key}`;
    let blob = this.#blobs.get(id);
    if (blob === undefined) {
      blob = { namespaceIndex, key, chunks: new Map(), indexes: new Map() };
      this.#blobs.set(id, blob);
    }
    return blob;
  }
}

function join(chunks: ReadonlyMap<number, Buffer>, start: number, count: number, sizeBytes: number): Buffer | null {
  if (!RANGES.some((range) => range === start) || count > CHUNKS_IN_RANGE) return null;
  const parts: Buffer[] = [];
  for (let number = start; number < start + count; number += 1) {
    const part = chunks.get(number);
    if (part === undefined) return null;
    parts.push(part);
  }
  return parts.reduce((sum, part) => sum + part.length, 0) === sizeBytes ? Buffer.concat(parts) : null;
}
