/** All boards of the archive at a glance. */

import type { Mac } from '../mac.ts';
import { type BoardIndexParts, type ListingOptions, glanceAtAll } from './index/board-index.ts';
import { glanceAt } from './index/glance.ts';
import type { RestoreStore } from './restore-store.ts';
import type { BoardOverview } from './types.ts';

/** In the order of `macs`. Rejects with the signal's reason, and for nothing in the archive. */
export async function overviewOf(
  parts: BoardIndexParts & { readonly restores: RestoreStore },
  macs: readonly Mac[],
  options: ListingOptions,
): Promise<BoardOverview[]> {
  const { mayBeElsewhere, half } = await parts.restores.halves();
  const look = (mac: Mac) => glanceAt({ ...parts, halfRestored: half }, mac);
  return glanceAtAll(parts, macs, look, mayBeElsewhere, options);
}
