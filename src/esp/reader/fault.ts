/** What is told where the reader on the chip did not do what it should: it is not used again in this job. */

import { EspdError, hasCode } from '../../errors.ts';
import { isLineFault } from '../loader.ts';

/** `read-failed` of a command to the reader, of a frame of its, or of what it sent. */
export class ReaderFault extends EspdError {
  constructor(message: string, cause?: unknown) {
    super('read-failed', message, { cause });
  }
}

/** What went wrong while the reader was at work, as its fault; what is nobody's fault on this line (an abort) stays. */
export function asReaderFault(error: unknown): unknown {
  if (error instanceof ReaderFault || !(isLineFault(error) || hasCode(error, 'read-failed', 'digest-mismatch'))) {
    return error;
  }
  return new ReaderFault(`The reader on the chip failed: ${error.message}`, error);
}
