/** Which boards `espd list` shows, and in which order. Pure. */

import { labelKey } from '../archive/marks/label-key.ts';
import { type FirmwareRange, nameMatches, orderInList, rangeMatches } from '../firmware/versions.ts';

/** All that is given must hold. */
export interface ListFilter {
  /** Family or name of the chip, whether or not with its dashes and capitals. */
  readonly chip?: string;
  readonly firmware?: FirmwareRange;
  readonly group?: string;
  /** A label, in which * stands for any characters and ? for one. */
  readonly label?: string;
  /** Milliseconds. A board that was never seen counts. */
  readonly notSeenFor?: number;
  readonly damaged?: boolean;
  readonly halfRestored?: boolean;
}

export const SORT_KEYS = ['mac', 'label', 'chip', 'firmware', 'seen', 'size', 'backups'] as const;
export type SortKey = (typeof SORT_KEYS)[number];

/** What filters and order look at. */
export interface ListedBoard {
  readonly mac: string;
  readonly label: string | null;
  readonly group: string | null;
  readonly chip: { readonly family: string | null; readonly name: string | null } | null;
  readonly sizeBytes: number | null;
  readonly backups: number;
  /** ISO 8601 UTC. */
  readonly lastSeen: string | null;
  readonly firmware: { readonly name: string; readonly version: string | null } | null;
  /** Something of it is damaged or cannot be read. */
  readonly isDamaged: boolean;
  readonly isHalfRestored: boolean;
}

/** @param nowMs since 1970 */
export function fits(board: ListedBoard, filter: ListFilter, nowMs: number): boolean {
  const { chip, firmware, group, label, notSeenFor, damaged, halfRestored } = filter;
  return (
    (chip === undefined || isChip(board.chip, chip)) &&
    (firmware === undefined || (board.firmware !== null && rangeMatches(firmware, board.firmware))) &&
    (group === undefined || (board.group !== null && labelKey(board.group) === labelKey(group))) &&
    (label === undefined || (board.label !== null && globMatches(labelKey(label), labelKey(board.label)))) &&
    (notSeenFor === undefined || !(lastSeenMs(board) > nowMs - notSeenFor)) &&
    (damaged !== true || board.isDamaged) &&
    (halfRestored !== true || board.isHalfRestored)
  );
}

/** Whether it is left out only because nobody knows the version of its firmware. */
export function hidesUnknownVersion({ firmware }: ListedBoard, { firmware: range }: ListFilter): boolean {
  if (range === undefined || range.conditions.length === 0 || firmware === null) return false;
  return firmware.version === null && nameMatches(range, firmware.name);
}

function isChip(chip: ListedBoard['chip'], wanted: string): boolean {
  const plain = (text: string | null) => text?.toLowerCase().replace(/[^a-z0-9]/g, '');
  return chip !== null && [chip.family, chip.name].some((name) => plain(name) === plain(wanted));
}

function lastSeenMs({ lastSeen }: ListedBoard): number {
  return lastSeen === null ? -Infinity : Date.parse(lastSeen);
}

/** Time that grows with the product of both lengths at most, whatever the pattern. */
export function globMatches(pattern: string, text: string): boolean {
  let [inPattern, inText] = [0, 0];
  /** The last star, and up to where it has been taken to reach. */
  let star = -1;
  let reach = 0;
  while (inText < text.length) {
    if (pattern[inPattern] === '*') {
      star = inPattern;
      reach = inText;
      inPattern += 1;
    } else if (pattern[inPattern] === '?' || pattern[inPattern] === text[inText]) {
      inPattern += 1;
      inText += 1;
    } else if (star >= 0) {
      reach += 1;
      inText = reach;
      inPattern = star + 1;
    } else {
      return false;
    }
  }
  return /^\**$/.test(pattern.slice(inPattern));
}

/**
 * The boards by `key`, those that have none of it behind the others, and by MAC where it is the same.
 * @param reverse the other way round; those without still come last
 */
export function sorted<T extends ListedBoard>(boards: readonly T[], key: SortKey, reverse: boolean): T[] {
  return boards.toSorted((a, b) => {
    const [first, second] = [keyOf(a, key), keyOf(b, key)];
    if (first === null || second === null)
      return Number(first === null) - Number(second === null) || byText(a.mac, b.mac);
    return (reverse ? compare(second, first, key) : compare(first, second, key)) || byText(a.mac, b.mac);
  });
}

function keyOf(board: ListedBoard, key: SortKey): readonly (string | number)[] | null {
  const one = (value: string | number | null) => (value === null ? null : [value]);
  switch (key) {
    case 'mac':
      return [board.mac];
    case 'label':
      return one(board.label === null ? null : labelKey(board.label));
    case 'chip':
      return one(board.chip?.name ?? null);
    case 'firmware':
      return board.firmware === null ? null : [board.firmware.name.toLowerCase(), board.firmware.version ?? ''];
    case 'seen':
      return one(board.lastSeen);
    case 'size':
      return one(board.sizeBytes);
    case 'backups':
      return [board.backups];
  }
}

function compare(a: readonly (string | number)[], b: readonly (string | number)[], key: SortKey): number {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? '';
    const isVersion = key === 'firmware' && index === 1;
    const order =
      typeof value === 'number' && typeof other === 'number'
        ? value - other
        : (isVersion ? orderInList : byText)(String(value), String(other));
    if (order !== 0) return order;
  }
  return 0;
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
