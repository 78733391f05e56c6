/**
 * The memory that merges work in, kept from one to the next: what each of them allocated would wait for the collector, which
 * comes late for memory outside of the heap.
 */

export class MergeMemory {
  readonly #parts = new Map<string, Buffer>();

  /** So many bytes, with whatever is in them; until the next call with this name. */
  bytes(name: string, length: number): Buffer {
    const known = this.#parts.get(name);
    if (known !== undefined && known.length >= length) return known.subarray(0, length);
    // Not of the pool that small buffers share: numbers of four bytes lie here, too.
    const larger = Buffer.from(new ArrayBuffer(Math.max(length, (known?.length ?? 0) * 2)));
    this.#parts.set(name, larger);
    return larger.subarray(0, length);
  }

  numbers(name: string, length: number): Uint32Array {
    const { buffer, byteOffset } = this.bytes(name, length * Uint32Array.BYTES_PER_ELEMENT);
    return new Uint32Array(buffer, byteOffset, length);
  }
}
