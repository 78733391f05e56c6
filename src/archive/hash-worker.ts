/** The thread in which images are hashed. `hash-thread.ts` starts it and is the only one to speak with it. */

import { readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { parentPort } from 'node:worker_threads';
import type { Packing } from './compression.ts';
import { hashStored, toFailure } from './hash-stored.ts';
import type { Failure, StoredDigests } from './hash-stored.ts';

export interface HashJob {
  readonly id: number;
  /** Of the same process, so open here too; it stays open until the answer is there. */
  readonly fd: number;
  readonly maxBytes: number | null;
  readonly packing: Packing;
  /** One Int32: not 0 means that nobody wants the result any more. */
  readonly cancelled: SharedArrayBuffer;
}

export type HashAnswer =
  { readonly id: number; readonly digests: StoredDigests } | { readonly id: number; readonly failure: Failure };

const CHUNK_BYTES = 64 * 1024;

parentPort?.on('message', (job: HashJob) => void answer(job));

async function answer({ id, fd, maxBytes, packing, cancelled }: HashJob): Promise<void> {
  let reply: HashAnswer;
  try {
    const flag = new Int32Array(cancelled);
    reply = { id, digests: await hashStored(() => readDescriptor(fd, flag, maxBytes !== null), maxBytes, packing) };
  } catch (error) {
    reply = { id, failure: toFailure(error) };
  }
  parentPort?.postMessage(reply);
}

/** Between two chunks other images have their turn. A chunk is good until the next one, unless each has its own memory. */
async function* readDescriptor(fd: number, flag: Int32Array, ownMemory: boolean): AsyncGenerator<Buffer> {
  let buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  for (let position = 0; ;) {
    await setImmediate();
    if (Atomics.load(flag, 0) !== 0) throw Object.assign(new Error('was cancelled'), { code: 'ECANCELED' });
    const length = readSync(fd, buffer, 0, CHUNK_BYTES, position);
    if (length === 0) return;
    yield buffer.subarray(0, length);
    position += length;
    if (ownMemory) buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  }
}
