/**
 * Long documents go out as gzip to whoever takes it (RFC 9110, 8.4): the list of 2,000 boards is 600 KB, or 22 KB in 7 ms.
 * Browsers ask for it; commands at the socket and the relay of `espd web`, which never leave this machine, do not.
 */

import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';

/** Below this the time on the line is no longer than that of the processor. */
const LEAST_BYTES = 32 * 1024;
/** At once, in threads that hash images, too. Whoever comes then gets the document as it is. */
const MOST_AT_ONCE = 2;
/** Three times as fast as the usual one, and hardly longer. */
const LEVEL = constants.Z_BEST_SPEED;

const pack = promisify<string, { level: number }, Buffer>(gzip);
let packing = 0;

export interface Content {
  readonly bytes: string | Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * @param accepted header Accept-Encoding of the request
 * @param headers of the answer; a strong ETag is of its bytes as they are, so a packed answer has a weak one
 */
export async function contentFor(
  accepted: string | undefined,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Content> {
  if (Buffer.byteLength(text) < LEAST_BYTES) return { bytes: text, headers };
  const varied = { ...headers, Vary: 'Accept-Encoding' };
  if (!takesGzip(accepted) || packing >= MOST_AT_ONCE) return { bytes: text, headers: varied };
  packing++;
  try {
    const bytes = await pack(text, { level: LEVEL });
    const { ETag: tag } = headers;
    const weak = tag === undefined || tag.startsWith('W/') ? {} : { ETag: `W/${tag}` };
    return { bytes, headers: { ...varied, ...weak, 'Content-Encoding': 'gzip' } };
  } finally {
    packing--;
  }
}

/** RFC 9110, 12.5.3: a weight of 0 refuses; gzip itself counts before `*`. */
export function takesGzip(accepted = ''): boolean {
  const weights = new Map(
    accepted.split(',').map((one) => {
      const [coding = '', ...parameters] = one.split(';').map((part) => part.trim().toLowerCase());
      const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? '1';
      return [coding, Number(weight)];
    }),
  );
  return (weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0) > 0;
}
