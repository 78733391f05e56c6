/** All boards of the archive at a glance. */

import type { Mac } from '../mac.ts';
import { AT_ONCE, type BoardIndexParts, type ListingOptions, glanceAtAll } from './index/board-index.ts';
import { glanceAt } from './index/glance.ts';
import type { RestoreStore } from './restore-store.ts';
import { diskTurns } from './turns.ts';
import type { BoardOverview } from './types.ts';

/**
 * Many calls wait in Node's pool at a time, so that its threads need no waking for each: only a command asks for this, and
 * it has no port open that a full pool could keep waiting (see `turns.ts`).
 */
const TURNS = diskTurns(AT_ONCE + 1);

/** In the order of `macs`. Rejects with the signal's reason, and for nothing in the archive. */
export async function overviewOf(
  parts: BoardIndexParts & { readonly restores: RestoreStore },
  macs: readonly Mac[],
  options: ListingOptions,
): Promise<BoardOverview[]> {
  const { mayBeElsewhere, half } = await parts.restores.halves();
  const disk = parts.disk.withTurns(TURNS);
  const look = (mac: Mac) => glanceAt({ ...parts, disk, halfRestored: half }, mac);
  return glanceAtAll({ ...parts, disk }, macs, look, mayBeElsewhere, options);
}
