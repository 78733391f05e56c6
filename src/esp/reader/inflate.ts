/** Raw DEFLATE as it came from a chip, back to flash. Bounded: the chip says what it likes, the host knows how much it asked for. */

import { constants, inflateRawSync } from 'node:zlib';
import { ReaderFault } from './fault.ts';

/**
 * The `sizeBytes` bytes that a whole stream stands for.
 * @throws ReaderFault for a stream that is broken, or of another length
 */
export function inflateWhole(stream: Buffer, sizeBytes: number): Buffer {
  let bytes: Buffer;
  try {
    bytes = inflateRawSync(stream, { maxOutputLength: Math.max(1, sizeBytes) });
  } catch (error) {
    throw new ReaderFault('What the reader sent does not inflate', { cause: error });
  }
  if (bytes.length !== sizeBytes) {
    throw new ReaderFault(`What the reader sent is ${bytes.length} bytes long, not ${sizeBytes}`);
  }
  return bytes;
}

/** The first bytes of a stream that was cut, as far as they are whole: at most `maxBytes`; none where it is broken. */
export function inflateBegun(stream: Buffer, maxBytes: number): Buffer {
  if (stream.length === 0 || maxBytes === 0) return Buffer.alloc(0);
  try {
    return inflateRawSync(stream, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: maxBytes });
  } catch {
    return Buffer.alloc(0);
  }
}
