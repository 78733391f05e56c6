/**
 * Whether two looks at one MAC saw one chip. MACs are not proof: chips are cloned, and a MAC of one's own can be burnt
 * twice. Pure; what it needs is in every manifest.
 */

import { printable } from '../printable.ts';
import type { Manifest } from './manifest.ts';

/** What a manifest, or the board itself, tells of the chip and its flash. */
export interface ChipFacts {
  readonly chip: Pick<Manifest['chip'], 'family' | 'revision'>;
  readonly flash: Pick<Manifest['flash'], 'manufacturer' | 'device'>;
  /** Words of 8 hex digits by block name; null for a word that was not read. */
  readonly efuses: Readonly<Record<string, readonly (string | null)[]>>;
}

/** `chip`: another chip, so another board. `flash`: another flash chip on what may be the same chip, as after a repair. */
export interface ChipChange {
  readonly kind: 'chip' | 'flash';
  /** What differs, each a fragment for people: `flash id ef 4016 -> c8 4016`. */
  readonly details: readonly string[];
}

/** A change between a backup and the one before it, or the board and its newest backup. */
export interface ChipChangeSince extends ChipChange {
  /** Id of the backup that is of the other chip. */
  readonly since: string;
}

/**
 * What says that `now` is another chip than `before` was; null where nothing does. Facts that are known on one side only
 * say nothing. An eFuse goes from 0 to 1 and never back: a bit that was set and is not is of another chip.
 */
export function chipChange(before: ChipFacts, now: ChipFacts): ChipChange | null {
  const details: string[] = [];
  const differ = (what: string, then: string | null, today: string | null) => {
    if (then !== null && today !== null && then !== today) details.push(printable(`${what} ${then} -> ${today}`));
  };
  differ('chip', before.chip.family, now.chip.family);
  if (details.length === 0) {
    differ('revision', before.chip.revision, now.chip.revision);
    details.push(...lostBits(before, now));
  }
  const isOtherChip = details.length > 0;
  differ('flash id', flashId(before), flashId(now));
  if (details.length === 0) return null;
  return { kind: isOtherChip ? 'chip' : 'flash', details };
}

/** One sentence for people, without a full stop. */
export function chipChangeText({ kind, details, since }: ChipChangeSince): string {
  const what = kind === 'chip' ? 'Another chip has this MAC now' : 'The flash chip was changed';
  return `${what}, compared with backup ${since}: ${details.join('; ')}`;
}

/**
 * The changes within the history of one MAC, by the id of the first backup after each.
 * @param backups of one board, oldest first
 */
export function chipChanges(
  backups: readonly { readonly id: string; readonly manifest: ChipFacts }[],
): ReadonlyMap<string, ChipChangeSince> {
  const changes = new Map<string, ChipChangeSince>();
  let before: (typeof backups)[number] | undefined;
  for (const backup of backups) {
    const change = before === undefined ? null : chipChange(before.manifest, backup.manifest);
    if (before !== undefined && change !== null) changes.set(backup.id, { ...change, since: before.id });
    if (before === undefined || tellsOfChip(backup.manifest)) before = backup;
  }
  return changes;
}

/**
 * Whether more than the family is known. Of an image out of a file it is not: compared with that, a change would go
 * unseen, so it is compared with the backup before.
 */
export function tellsOfChip(facts: ChipFacts): boolean {
  return flashId(facts) !== null;
}

function flashId({ flash }: ChipFacts): string | null {
  return flash.manufacturer === null || flash.device === null ? null : `${flash.manufacturer} ${flash.device}`;
}

function lostBits(before: ChipFacts, now: ChipFacts): string[] {
  const lost: string[] = [];
  for (const [block, words] of Object.entries(before.efuses)) {
    // A manifest is from anywhere: a block may be named like a property of every object.
    if (!Object.hasOwn(now.efuses, block)) continue;
    for (const [index, word] of words.entries()) {
      const today = now.efuses[block]?.[index] ?? null;
      if (word === null || today === null || isReadProtected(now, block, index)) continue;
      const missing = (Number.parseInt(word, 16) & ~Number.parseInt(today, 16)) >>> 0;
      if (missing !== 0) lost.push(printable(`eFuse ${block} word ${index} ${word} -> ${today}`));
    }
  }
  return lost;
}

/** RD_DIS of an ESP32: bits 16 to 19 of EFUSE_BLK0_RDATA0 (ESP32 Technical Reference Manual, eFuse Controller). */
const ESP32_BLOCK3_UNREADABLE = 1 << 18;
const ESP32_BLOCK0_END_UNREADABLE = 1 << 19;

/**
 * Whether a word reads as zero because reading it was switched off in the meantime. The blocks that espd reads of later
 * chips cannot be switched off: their RD_DIS is for the keys (BLOCK4 and up).
 */
function isReadProtected({ chip, efuses }: ChipFacts, block: string, index: number): boolean {
  if (chip.family !== 'esp32') return false;
  const mask = { BLOCK3: ESP32_BLOCK3_UNREADABLE, BLOCK0: index >= 5 ? ESP32_BLOCK0_END_UNREADABLE : 0 }[block] ?? 0;
  if (mask === 0) return false;
  const first = efuses['BLOCK0']?.[0] ?? null;
  return first === null || (Number.parseInt(first, 16) & mask) !== 0;
}
