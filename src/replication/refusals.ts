/**
 * Whether a fault is the matter of one of many objects, so that the next one has its turn, or of the whole store. One object
 * may be refused for ever while all others are served: a policy denies its folder, its key at a key service is gone, the disk
 * under it is bad. Nobody can tell that from a store that fails, but by asking for others.
 */

import { type EspdError, hasCode } from '../errors.ts';

/** So many one after the other, with nothing served between them, are no matter of single objects any more. */
const MOST_IN_A_ROW = 3;

/** Of one run over many. */
export class Refusals {
  #inARow = 0;

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
