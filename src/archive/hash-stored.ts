/** The digests of a stored image, whoever reads its bytes: the thread for it, or the event loop in its place. */

import { createHash } from 'node:crypto';
import { inflate } from './compression.ts';
import type { Packing } from './compression.ts';
import { ImageDigester } from './digest.ts';
import type { ImageDigests } from './digest.ts';

export interface StoredDigests {
  /** SHA-256 of the file as stored. */
  readonly stored: string;
  /** Digests of the flash image, or why it cannot be inflated: a code of `inflate`. */
  readonly image: ImageDigests | { readonly failure: Failure };
}

/** An error on its way between threads. */
export interface Failure {
  readonly code: string | undefined;
  readonly message: string;
}

/**
 * @param chunks reads the file from its beginning; called twice for a compressed one
 * @param maxBytes of the image in a compressed file; null: the file is the image
 */
export async function hashStored(
  chunks: () => AsyncIterable<Uint8Array>,
  maxBytes: number | null,
  packing: Packing = 'gzip',
): Promise<StoredDigests> {
  const digester = new ImageDigester();
  if (maxBytes === null) {
    for await (const chunk of chunks()) digester.update(chunk);
    const image = digester.finish();
    return { stored: image.sha256, image };
  }
  const sha256 = createHash('sha256');
  for await (const chunk of chunks()) sha256.update(chunk);
  const stored = sha256.digest('hex');
  try {
    await inflate(packing, chunks(), maxBytes, (chunk) => digester.update(chunk));
    return { stored, image: digester.finish() };
  } catch (error) {
    return { stored, image: { failure: toFailure(error) } };
  }
}

export function toFailure(error: unknown): Failure {
  if (!(error instanceof Error)) return { code: undefined, message: String(error) };
  const { code } = error as NodeJS.ErrnoException;
  return { code: typeof code === 'string' ? code : undefined, message: error.message };
}

/** The error that a failure was. */
export function fromFailure({ code, message }: Failure): Error {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}
