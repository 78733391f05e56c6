/** Whole images are hashed here: in the thread for it, or else on the event loop, in pieces that nobody notices. */

import type { FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import { readChunks } from './disk.ts';
import { hashStored } from './hash-stored.ts';
import type { StoredDigests } from './hash-stored.ts';
import { sharedHashThread } from './hash-thread.ts';
import type { HashThread } from './hash-thread.ts';

/** What is not longer is hashed sooner than the thread could start, with a few short turns of the event loop. */
const ON_LOOP_BYTES = 512 * 1024;
/** Four digests of so much take 5 ms at 50 MB/s: a packet that waits is still acknowledged in time. */
const PIECE_BYTES = 64 * 1024;

export interface HashOptions {
  /** Of the image, as far as known: what is small stays on the event loop. */
  readonly sizeBytes: number;
  /** The file is gzip, with at most so many bytes in it; null: the file is the image. */
  readonly maxBytes: number | null;
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
  async hash(handle: FileHandle, { sizeBytes, maxBytes, signal }: HashOptions): Promise<StoredDigests> {
    signal?.throwIfAborted();
    if (sizeBytes > ON_LOOP_BYTES) {
      const digests = await this.#thread.hash(handle, maxBytes, signal);
      if (digests !== undefined) return digests;
      if (!this.#warned) this.#log.debug('images are hashed without a thread', { reason: this.#thread.trouble });
      this.#warned = true;
    }
    const digests = await hashStored(() => readPieces(handle, signal), maxBytes);
    signal?.throwIfAborted(); // an abort while inflating ends up in the digests
    return digests;
  }
}

async function* readPieces(handle: FileHandle, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  for await (const chunk of readChunks(handle, signal)) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      if (at > 0) await setImmediate();
      yield chunk.subarray(at, at + PIECE_BYTES);
    }
  }
}
