/** On which parts of two images the differing sectors fall, and which parts only one of them has. Pure. */

import { SECTOR_BYTES } from '../../flash.ts';
import type { PartitionSummary } from '../describe.ts';
import type { FlashPart, FlashRegion } from '../flash-map.ts';
import type { Pair, TableComparison } from './types.ts';

/** A part by its name, as each of the images has it. */
export interface MatchedPart {
  readonly parts: Pair<FlashPart | null>;
  /** Differing sectors in place. */
  sectors: number;
  from: number | null;
  to: number | null;
}

/**
 * All parts of both maps that are more than gaps, and the gaps in which something differs. A sector counts for the part
 * that the second image has there; where that is none, for the one that the first image had: so each counts once.
 * In the order of the second map, and then what only the first one has.
 *
 * @param regions differing sectors, in order
 */
export function matchParts(maps: Pair<readonly FlashPart[]>, regions: readonly FlashRegion[]): MatchedPart[] {
  const before = keyed(maps.before);
  const after = keyed(maps.after);
  const matched = new Map<string, MatchedPart>();
  const add = (key: string, parts: Pair<FlashPart | null>): MatchedPart => {
    const part = matched.get(key) ?? { parts, sectors: 0, from: null, to: null };
    matched.set(key, part);
    return part;
  };
  const beforeByKey = new Map(before.map(([key, part]) => [key, part]));
  for (const [key, part] of after) {
    // A gap is known by its place alone.
    if (part.kind === 'gap') add(`after ${key}`, { before: part, after: part });
    else add(key, { before: beforeByKey.get(key) ?? null, after: part });
  }
  for (const [key, part] of before) {
    if (part.kind !== 'gap' && !matched.has(key)) add(key, { before: part, after: null });
  }

  const [ours, theirs] = [new Walk(after), new Walk(before)];
  for (const { offset, sizeBytes } of regions) {
    for (let at = offset; at < offset + sizeBytes; at += SECTOR_BYTES) {
      const now = ours.at(at);
      const then = theirs.at(at);
      const isGap = now === undefined || now[1].kind === 'gap';
      const key =
        isGap && then !== undefined && then[1].kind !== 'gap' ? then[0] : isGap ? `after ${now?.[0]}` : now[0];
      const part = matched.get(key);
      if (part === undefined) continue;
      part.sectors++;
      part.from ??= at;
      part.to = Math.min(at + SECTOR_BYTES, offset + sizeBytes);
    }
  }
  return [...matched.values()].filter(({ parts, sectors }) => sectors > 0 || parts.after?.kind !== 'gap');
}

type Keyed = readonly [key: string, part: FlashPart];

/** Names may repeat in a table: the second `data` of one image is matched with the second one of the other. */
function keyed(parts: readonly FlashPart[]): Keyed[] {
  const seen = new Map<string, number>();
  return parts.map((part) => {
    const name = part.kind === 'gap' ? `gap ${part.offset}` : `${part.kind} ${part.name}`;
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    return [`${name} ${count}`, part];
  });
}

/** Finds the part at an offset, for offsets that only grow. */
class Walk {
  readonly #parts: readonly Keyed[];
  #index = 0;

  constructor(parts: readonly Keyed[]) {
    this.#parts = parts;
  }

  at(offset: number): Keyed | undefined {
    for (;;) {
      const keyed = this.#parts[this.#index];
      if (keyed === undefined || offset < keyed[1].offset + keyed[1].sizeBytes) return keyed;
      this.#index++;
    }
  }
}

/** @returns null where neither image has a table */
export function compareTables(
  offset: Pair<number | null>,
  partitions: Pair<readonly PartitionSummary[]>,
): TableComparison | null {
  if (offset.before === null && offset.after === null) return null;
  // What an ESP8266 without a table has is no row of one.
  const before = named(offset.before === null ? [] : partitions.before);
  const after = named(offset.after === null ? [] : partitions.after);
  const came = [...after].flatMap(([key, row]) => (before.has(key) ? [] : [row]));
  const went = [...before].flatMap(([key, row]) => (after.has(key) ? [] : [row]));
  const altered = [...after].flatMap(([key, row]) => {
    const old = before.get(key);
    return old === undefined || isSameRow(old, row) ? [] : [{ before: old, after: row }];
  });
  const same = offset.before === offset.after && came.length + went.length + altered.length === 0;
  return { offset, same, came, went, altered };
}

function named(rows: readonly PartitionSummary[]): Map<string, PartitionSummary> {
  const found = new Map<string, PartitionSummary>();
  const seen = new Map<string, number>();
  for (const row of rows) {
    const count = seen.get(row.name) ?? 0;
    seen.set(row.name, count + 1);
    found.set(`${row.name} ${count}`, row);
  }
  return found;
}

function isSameRow(one: PartitionSummary, other: PartitionSummary): boolean {
  const keys = ['type', 'subtype', 'offset', 'sizeBytes', 'encrypted'] as const;
  return keys.every((key) => one[key] === other[key]);
}
