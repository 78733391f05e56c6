/**
 * Whether a fault is the matter of one of many objects, so that the next one has its turn, or of the whole store. One object
 * may be refused for ever while all others are served: a policy denies its folder, its key at a key service is gone, the disk
 * under it is bad. Nobody can tell that from a store that fails, but by asking for others.
 */

import { type EspdError, hasCode, toEspdError } from '../errors.ts';

/** So many one after the other, with nothing served between them, are no matter of single objects any more. */
const MOST_IN_A_ROW = 3;

/** Of one run over many. */
export class Refusals {
  #inARow = 0;

  /**
   * Does one of many. @returns the fault that concerns it alone; undefined: it went well
   * @throws what ends the run: the signal's reason, or a fault that those behind it would meet too
   */
  async attempt(work: () => Promise<unknown>, signal: AbortSignal): Promise<EspdError | undefined> {
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      const fault = toEspdError(error);
      if (!this.isOfOne(fault)) throw fault;
      return fault;
    }
    this.served();
    return undefined;
  }

  /** The store has served one. */
  served(): void {
    this.#inARow = 0;
  }

  /** Asked once for each fault. False: what follows would fail too, and the run ends. */
  isOfOne(fault: EspdError): boolean {
    if (isOfOneBackup(fault)) return true;
    return isRefusal(fault) && ++this.#inARow < MOST_IN_A_ROW;
  }
}

/** A store may answer so for one object alone. */
export function isRefusal(error: unknown): boolean {
  return hasCode(error, 'store-denied', 'store-busy', 'store-failed');
}

function isOfOneBackup({ code }: EspdError): boolean {
  return (
    (code.startsWith('archive-') && code !== 'archive-unwritable') ||
    ['store-damaged', 'store-archived', 'store-removing', 'internal'].includes(code)
  );
}
