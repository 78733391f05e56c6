/** All boards of the archive at a glance. */

import type { Mac } from '../mac.ts';
import { AT_ONCE, type BoardIndexParts, glanceAtAll } from './index/board-index.ts';
import { glanceAt } from './index/glance.ts';
import type { RestoreStore } from './restore-store.ts';
import { diskTurns } from './turns.ts';
import type { Archive, BoardOverview, OverviewOptions } from './types.ts';

/** Many calls wait in Node's pool at a time, so that its threads need no waking for each. */
const ALL_THREADS = diskTurns(AT_ONCE + 1);

type Overview = Awaited<ReturnType<Archive['overview']>>;

/**
 * In the order of the listing. Rejects with the signal's reason, and for nothing in the archive.
 * @param listing of the archive's root
 */
export async function overviewOf(
  parts: BoardIndexParts & { readonly restores: RestoreStore },
  listing: Awaited<ReturnType<Archive['boards']>>,
  options: OverviewOptions,
): Promise<Overview> {
  const { only } = options;
  if (only === undefined) {
    const { macs, problems, foreign } = listing;
    return { boards: await glances(parts, macs, options), problems, foreign };
  }
  const macs = listing.macs.filter((mac) => only.has(mac));
  const problems = listing.problems.filter(({ mac }) => mac !== null && only.has(mac));
  return { boards: await glances(parts, macs, options), problems, foreign: [] };
}

async function glances(
  parts: BoardIndexParts & { readonly restores: RestoreStore },
  macs: readonly Mac[],
  options: OverviewOptions,
): Promise<BoardOverview[]> {
  const { mayBeElsewhere, half } = await parts.restores.halves();
  const disk = options.allThreads === true ? parts.disk.withTurns(ALL_THREADS) : parts.disk;
  const look = (mac: Mac) => glanceAt({ ...parts, disk, halfRestored: half }, mac);
  return glanceAtAll({ ...parts, disk }, macs, look, mayBeElsewhere, options);
}
