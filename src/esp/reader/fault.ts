/** What is told where the reader on the chip did not do what it should: it is not used again in this job. */

import { EspdError, hasCode } from '../../errors.ts';
import { isLineFault } from '../loader.ts';

/**
 * Which way bytes went that the line may have damaged: then the fault may be its own. `none`: what came was whole, and it
 * was wrong.
 */
export type Damage = 'none' | 'to-chip' | 'to-host';

/** `read-failed` of a command to the reader, of a frame of its, or of what it sent. */
export class ReaderFault extends EspdError {
  readonly damage: Damage;

  constructor(message: string, { cause, damage = 'none' }: { cause?: unknown; damage?: Damage } = {}) {
    super('read-failed', message, { cause });
    this.damage = damage;
  }
}

/**
 * What went wrong while the reader was at work, as its fault; what is nobody's fault on this line (an abort) stays.
 * @param damage where bytes may have been lost by which it went wrong
 */
export function asReaderFault(error: unknown, damage: Damage): unknown {
  if (error instanceof ReaderFault || !(isLineFault(error) || hasCode(error, 'read-failed', 'digest-mismatch'))) {
    return error;
  }
  return new ReaderFault(`The reader on the chip failed: ${error.message}`, { cause: error, damage });
}
