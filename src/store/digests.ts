/** Digests of what goes to a store. The event loop is left in between: packets of boards come first. */

import { createHash, type Hash } from 'node:crypto';

/** Some 0.5 ms of MD5 on a small machine. */
const SLICE_BYTES = 256 * 1024;

/** Lower-case hex. */
export async function md5Of(bytes: Uint8Array): Promise<string> {
  return (await hashOf('md5', bytes)).digest('hex');
}

export async function sha256Of(bytes: Uint8Array): Promise<Buffer> {
  return (await hashOf('sha256', bytes)).digest();
}

/** Adds `bytes` to a digest. */
export async function addTo(hash: Hash, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    if (at > 0) await new Promise(setImmediate);
    hash.update(bytes.subarray(at, at + SLICE_BYTES));
  }
}

async function hashOf(algorithm: string, bytes: Uint8Array): Promise<Hash> {
  const hash = createHash(algorithm);
  await addTo(hash, bytes);
  return hash;
}
