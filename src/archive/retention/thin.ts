/** Makes an archive fit into its budget by taking away what is missed least. Pure. */

import type { Mac } from '../../mac.ts';

/** A backup that stays so far. */
export interface Link {
  readonly id: string;
  readonly timeMs: number;
  readonly sizeOnDiskBytes: number;
  /** Neither protected nor kept by a rule. */
  readonly isRemovable: boolean;
}

/** One board's backups that look sound, sorted by id. The first and the last are never removable. */
export interface Chain {
  readonly mac: Mac;
  readonly links: readonly Link[];
}

interface Candidate {
  readonly chain: number;
  readonly index: number;
  readonly mac: Mac;
  readonly id: string;
  /** Between its neighbours, as they were when it was put into the heap. */
  readonly gapMs: number;
}

/**
 * The rule: as long as the archive is too large, the backup goes that leaves the shortest gap in the history of its board,
 * that is the time from the backup before it to the one behind it, of those that are still there. So backups of a busy
 * hour go before those of a quiet year, and boards that were backed up equally often are thinned out in turn. Of equal gaps the older backup goes first; of equal times the one of the lower MAC.
 *
 * The order of removals does not depend on the budget: a larger budget takes away the first few of the same.
 *
 * @returns what goes: ids by MAC
 */
export function thinOut(chains: readonly Chain[], totalBytes: number, maxBytes: number): Map<Mac, Set<string>> {
  const gone = new Map<Mac, Set<string>>();
  const before = chains.map(({ links }) => links.map((_, index) => index - 1));
  const behind = chains.map(({ links }) => links.map((_, index) => index + 1));
  const gapOf = (chain: number, index: number) => {
    const links = chains[chain]?.links ?? [];
    const earlier = links[before[chain]?.[index] ?? -1];
    const later = links[behind[chain]?.[index] ?? -1];
    if (earlier === undefined || later === undefined) return Number.POSITIVE_INFINITY;
    // A clock that went back must not make a gap look negative.
    return Math.abs(later.timeMs - earlier.timeMs);
  };
  const heap = new Heap();
  const put = (chain: number, index: number) => {
    const { mac, links } = chains[chain] ?? { links: [] };
    const link = links[index];
    // What takes no room is not worth its loss.
    if (mac === undefined || link?.isRemovable !== true || link.sizeOnDiskBytes <= 0) return;
    heap.put({ chain, index, mac, id: link.id, gapMs: gapOf(chain, index) });
  };
  chains.forEach(({ links }, chain) => links.forEach((_, index) => put(chain, index)));

  let bytes = totalBytes;
  while (bytes > maxBytes) {
    const next = heap.take();
    if (next === undefined) break;
    const { chain, index, mac, id, gapMs } = next;
    const ids = gone.get(mac) ?? new Set();
    // It was put in anew when a neighbour went.
    if (ids.has(id) || gapMs !== gapOf(chain, index)) continue;
    gone.set(mac, ids.add(id));
    bytes -= chains[chain]?.links[index]?.sizeOnDiskBytes ?? 0;
    const earlier = before[chain]?.[index] ?? -1;
    const later = behind[chain]?.[index] ?? -1;
    const [ahead, after] = [behind[chain] ?? [], before[chain] ?? []];
    ahead[earlier] = later;
    after[later] = earlier;
    put(chain, earlier);
    put(chain, later);
  }
  return gone;
}

function isLess(a: Candidate, b: Candidate): boolean {
  if (a.gapMs !== b.gapMs) return a.gapMs < b.gapMs;
  if (a.id !== b.id) return a.id < b.id;
  return a.mac < b.mac;
}

/** A binary heap: the least one comes first. */
class Heap {
  readonly #items: Candidate[] = [];

  put(item: Candidate): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent];
      if (above === undefined || !isLess(item, above)) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  take(): Candidate | undefined {
    const items = this.#items;
    const [least] = items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return least;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const [left, right] = [items[child], items[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && isLess(right, left)) child += 1;
      const smaller = items[child] ?? left;
      if (!isLess(smaller, last)) break;
      items[at] = smaller;
      at = child;
    }
    items[at] = last;
    return least;
  }
}
