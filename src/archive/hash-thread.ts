/**
 * One thread of this process that hashes images, so that the event loop has its hands free for the packets of other
 * boards. It starts with the first image, and keeps no process alive.
 */

import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Packing } from './compression.ts';
import { fromFailure } from './hash-stored.ts';
import type { StoredDigests } from './hash-stored.ts';
import type { HashAnswer, HashJob } from './hash-worker.ts';
import type { ReadFile } from './turns.ts';

/** A thread that ended so often is not started again: something here kills it. */
const MAX_DEATHS = 3;

/** Compiled or not, the other file is named as this one is. */
const ENTRY = new URL(`./hash-worker${extname(new URL(import.meta.url).pathname)}`, import.meta.url);

interface Pending {
  readonly resolve: (digests: StoredDigests | undefined) => void;
  readonly reject: (error: Error) => void;
}

export class HashThread {
  readonly #entry: URL;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #lastId = 0;
  #deaths = 0;
  #trouble: string | undefined;

  constructor(entry = ENTRY) {
    this.#entry = entry;
  }

  /** Why the thread ended the last time. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /**
   * Digests of the open file; undefined where there is no thread, or it ended amidst. Only when this promise is settled
   * may the file be closed; that is soon after an abort.
   *
   * @param maxBytes and packing as in `hashStored`
   */
  async hash(
    handle: ReadFile,
    maxBytes: number | null,
    signal?: AbortSignal,
    packing: Packing = 'gzip',
  ): Promise<StoredDigests | undefined> {
    signal?.throwIfAborted();
    const worker = this.#start();
    if (worker === undefined) return undefined;
    const cancelled = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    const cancel = () => Atomics.store(new Int32Array(cancelled), 0, 1);
    signal?.addEventListener('abort', cancel, { once: true });
    const id = ++this.#lastId;
    try {
      return await new Promise<StoredDigests | undefined>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        worker.ref();
        worker.postMessage({ id, fd: handle.fd, maxBytes, packing, cancelled } satisfies HashJob);
      });
    } finally {
      signal?.removeEventListener('abort', cancel);
      this.#pending.delete(id);
      if (this.#pending.size === 0) this.#worker?.unref();
      signal?.throwIfAborted();
    }
  }

  #start(): Worker | undefined {
    if (this.#worker !== undefined || this.#deaths >= MAX_DEATHS) return this.#worker;
    try {
      // Its heap holds little more than the digests; the chunks are outside of it.
      const resourceLimits = { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 };
      const worker = new Worker(this.#entry, { name: 'espd-hash', resourceLimits });
      worker.on('message', (answer: HashAnswer) => {
        const pending = this.#pending.get(answer.id);
        if ('failure' in answer) pending?.reject(fromFailure(answer.failure));
        else pending?.resolve(answer.digests);
      });
      worker.on('error', (error) => (this.#trouble = String(error)));
      worker.on('exit', (status) => this.#onExit(status));
      worker.unref();
      this.#worker = worker;
    } catch (error) {
      this.#deaths = MAX_DEATHS;
      this.#trouble = String(error);
    }
    return this.#worker;
  }

  #onExit(status: number): void {
    this.#worker = undefined;
    this.#deaths++;
    this.#trouble ??= `ended with status ${status}`;
    for (const { resolve } of this.#pending.values()) resolve(undefined);
  }
}

/** The one of this process: a thread is a resource of the process, and hashing in two would not be faster for long. */
export const sharedHashThread = new HashThread();
