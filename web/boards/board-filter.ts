/** Search, filters and order of the boards: those of `espd list`, and the search over all texts of a board. Pure. */

import { type ListFilter, type ListedBoard, SORT_KEYS, type SortKey, fits, sorted } from '../../src/cli/list-filter.ts';
import { parseFirmwareRange } from '../../src/firmware/versions.ts';
import type { StationView } from '../../src/daemon/station.ts';
import type { BoardRow } from '../documents.ts';
import { type Need, needsOf, urgencyOf } from './attention.ts';

export interface ShownBoard extends ListedBoard {
  readonly row: BoardRow;
  readonly needs: readonly Need[];
}

/** As it stands in the address; empty = not given. */
export interface Wish {
  readonly search: string;
  readonly chip: string;
  readonly group: string;
  readonly firmware: string;
  /** Days. */
  readonly unseen: string;
  /** `damaged`, `half` or `needs`. */
  readonly only: string;
  /** `needs`, or a key of `list --sort`. */
  readonly sort: string;
}

export interface Chosen {
  readonly boards: readonly ShownBoard[];
  /** What is wrong with the range of the firmware; null = nothing. */
  readonly problem: string | null;
}

const DAY_MS = 86_400_000;

export function chosenBoards(
  rows: readonly BoardRow[],
  wish: Wish,
  { attention, nowMs }: { readonly attention: StationView['attention']; readonly nowMs: number },
): Chosen {
  const range = wish.firmware.trim() === '' ? null : parseFirmwareRange(wish.firmware);
  const filter: ListFilter = {
    ...(wish.chip !== '' && { chip: wish.chip }),
    ...(wish.group !== '' && { group: wish.group }),
    ...(range?.range && { firmware: range.range }),
    ...(Number(wish.unseen) > 0 && { notSeenFor: Number(wish.unseen) * DAY_MS }),
    ...(wish.only === 'damaged' && { damaged: true }),
    ...(wish.only === 'half' && { halfRestored: true }),
  };
  const words = wish.search.toLowerCase().split(/\s+/).filter(Boolean);
  const boards = rows
    .map((row) => listed(row, needsOf(row, attention)))
    .filter((board) => fits(board, filter, nowMs))
    .filter((board) => wish.only !== 'needs' || board.needs.length > 0)
    .filter(({ row }) => words.length === 0 || words.every((word) => textOf(row).includes(word)));
  return { boards: inOrder(boards, wish.sort), problem: range?.problem ?? null };
}

function inOrder(boards: readonly ShownBoard[], sort: string): readonly ShownBoard[] {
  // Seen and size are looked for from their large end.
  if (isSortKey(sort)) return sorted(boards, sort, ['seen', 'size', 'backups'].includes(sort));
  const byLabel = sorted(boards, 'label', false);
  return byLabel.toSorted((a, b) => urgencyOf(b.needs) - urgencyOf(a.needs));
}

/** The address may say anything. */
function isSortKey(text: string): text is SortKey {
  return (SORT_KEYS as readonly string[]).includes(text);
}

function listed(row: BoardRow, needs: readonly Need[]): ShownBoard {
  return {
    ...{ row, needs, mac: row.mac, label: row.label, group: row.group, sizeBytes: row.sizeBytes },
    ...{ backups: row.backups, lastSeen: row.lastSeen },
    chip: row.chip === null ? null : { family: null, name: row.chip },
    firmware: firmwareIn(row.firmware),
    isDamaged: row.isDamaged === true,
    isHalfRestored: row.halfRestored !== null,
  };
}

/** The API has name and version in one text: `ESP-AT 1.7.4.0`. A version has a digit and no space. */
function firmwareIn(text: string | null): ListedBoard['firmware'] {
  if (text === null) return null;
  const [, name, version] = /^(.+) (\S*\d\S*)$/.exec(text) ?? [];
  return name === undefined || version === undefined ? { name: text, version: null } : { name, version };
}

/** A MAC is found with colons, with dashes and without either. */
function textOf({ mac, label, note, group, chip, firmware }: BoardRow): string {
  const macs = [mac, mac.replaceAll(':', '-'), mac.replaceAll(':', '')];
  return [...macs, label, note, group, chip, firmware].join('\n').toLowerCase();
}
