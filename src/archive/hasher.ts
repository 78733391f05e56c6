/** Whole images are hashed here: in the thread for it, or else on the event loop, in pieces that nobody notices. */

import type { Logger } from '../log.ts';
import type { Packing } from './compression.ts';
import { readChunks } from './disk.ts';
import { hashStored } from './hash-stored.ts';
import type { StoredDigests } from './hash-stored.ts';
import { sharedHashThread } from './hash-thread.ts';
import type { HashThread } from './hash-thread.ts';
import type { ReadFile } from './turns.ts';

/** What is not longer is hashed sooner than the thread could start, with a few short turns of the event loop. */
const ON_LOOP_BYTES = 512 * 1024;
/**
 * Four digests of so much take 5 ms at 50 MB/s: a packet that waits is still acknowledged in time. The event loop turns
 * while the next piece is read.
 */
const PIECE_BYTES = 64 * 1024;

export interface HashOptions {
  /** Of the image, as far as known: what is small stays on the event loop. */
  readonly sizeBytes: number;
  /** The file is compressed, with at most so many bytes in it; null: the file is the image. */
  readonly maxBytes: number | null;
  /** Of a compressed file; gzip where it is absent. */
  readonly packing?: Packing | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class ImageHasher {
  readonly #log: Logger;
  readonly #thread: HashThread;
  #warned = false;

  constructor(log: Logger, thread = sharedHashThread) {
    this.#log = log;
    this.#thread = thread;
  }

  /**
   * All digests of the open file. It may be closed when this promise is settled, not sooner. Rejects with the system's
   * error, or the signal's reason.
   */
  async hash(handle: ReadFile, { sizeBytes, maxBytes, packing, signal }: HashOptions): Promise<StoredDigests> {
    signal?.throwIfAborted();
    if (sizeBytes > ON_LOOP_BYTES) {
      const digests = await this.#thread.hash(handle, maxBytes, signal, packing);
      if (digests !== undefined) return digests;
      if (!this.#warned) this.#log.debug('images are hashed without a thread', { reason: this.#thread.trouble });
      this.#warned = true;
    }
    const digests = await hashStored(() => readChunks(handle, signal, PIECE_BYTES), maxBytes, packing);
    signal?.throwIfAborted(); // an abort while inflating ends up in the digests
    return digests;
  }
}
