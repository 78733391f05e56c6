/** Whether the board that answers is the one that was meant. */

import { EspdError } from '../errors.ts';
import type { BoardIdentity } from '../esp/identity.ts';
import type { Mac } from '../mac.ts';

/** @throws EspdError `other-mac` */
export function guardMac(identity: BoardIdentity, wanted: Mac, hint = ''): void {
  if (identity.mac === wanted) return;
  throw new EspdError('other-mac', `The board that answers is ${identity.mac}, not ${wanted}`, { hint });
}
