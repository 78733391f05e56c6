/** The table of `espd list`: which columns it has, and which of them give way where a terminal is narrow. Pure. */

import { formatSize } from './text.ts';

export interface TableBoard {
  readonly mac: string;
  readonly label: string | null;
  readonly group: string | null;
  readonly chip: string | null;
  readonly sizeBytes: number | null;
  readonly backups: number;
  readonly lastSeen: string | null;
  /** The station that has seen it last, as people call it; null where that is this one, or there is but one. */
  readonly seenBy: string | null;
  /** How many backups lie where; null where there is no store. */
  readonly places: { readonly here: number; readonly store: number } | null;
  /** Firmware, or why there is nothing to tell. */
  readonly about: string;
}

interface Column {
  readonly heading: string;
  readonly cell: (board: TableBoard) => string;
  /** Only where a board has it. */
  readonly isOptional?: boolean;
  /** Gives way where the line is too long, the lowest first; those without never do. */
  readonly givesWay?: number;
  /** Longer cells are cut to this at a terminal that is too narrow. */
  readonly most?: number;
}

const GAP = 2;
/** What is left for the last column at least, unless it needs less. */
const LAST_COLUMN = 18;

const COLUMNS: readonly Column[] = [
  { heading: 'MAC', cell: ({ mac }) => mac },
  { heading: 'LABEL', cell: ({ label }) => label ?? '-', isOptional: true, most: 14 },
  { heading: 'GROUP', cell: ({ group }) => group ?? '-', isOptional: true, most: 10, givesWay: 1 },
  { heading: 'CHIP', cell: ({ chip }) => chip ?? '?' },
  {
    heading: 'SIZE',
    cell: ({ sizeBytes }) => (sizeBytes === null ? '?' : formatSize(sizeBytes)),
    givesWay: 2,
  },
  // How well a board is kept is what the archive is for; its group and size are known to who set them up.
  { heading: 'BACKUPS', cell: ({ backups }) => String(backups) },
  {
    heading: 'HERE',
    cell: ({ places }) => (places === null ? '-' : String(places.here)),
    isOptional: true,
    givesWay: 1,
  },
  {
    heading: 'STORE',
    cell: ({ places }) => (places === null ? '-' : String(places.store)),
    isOptional: true,
    givesWay: 2.5,
  },
  // The day (UTC) is short enough for a table, and what --at takes.
  { heading: 'LAST SEEN', cell: ({ lastSeen }) => lastSeen?.slice(0, '2026-11-23'.length) ?? '-', givesWay: 3 },
  { heading: 'SEEN BY', cell: ({ seenBy }) => seenBy ?? '-', isOptional: true, most: 12, givesWay: 2.7 },
  { heading: 'FIRMWARE', cell: ({ about }) => about },
];

export interface ListTable {
  /** The heading first. */
  readonly rows: readonly (readonly string[])[];
  /** Headings of columns that there is no room for. */
  readonly leftOut: readonly string[];
}

/** @param columns characters that a line may have; Infinity where nothing wraps */
export function listTable(boards: readonly TableBoard[], columns: number): ListTable {
  const wanted = COLUMNS.filter(
    ({ cell, isOptional }) => isOptional !== true || boards.some((board) => cell(board) !== '-'),
  );
  const full = rowsOf(boards, wanted, false);
  // Without labels and groups the table is what it always was: a long name of firmware is cut at its end.
  if (neededBy(full) <= columns || !wanted.some(({ isOptional }) => isOptional === true)) {
    return { rows: full, leftOut: [] };
  }
  let shown = wanted.filter(({ givesWay }) => givesWay === undefined);
  const others = wanted.filter(({ givesWay }) => givesWay !== undefined);
  for (const column of others.sort((a, b) => (b.givesWay ?? 0) - (a.givesWay ?? 0))) {
    const more = wanted.filter((each) => each === column || shown.includes(each));
    if (neededBy(rowsOf(boards, more, true)) <= columns) shown = more;
  }
  return {
    rows: rowsOf(boards, shown, true),
    leftOut: wanted.filter((column) => !shown.includes(column)).map(({ heading }) => heading),
  };
}

/** The width with the last column as short as it may be. */
function neededBy(rows: readonly (readonly string[])[]): number {
  const widths = (rows[0] ?? []).map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  const last = Math.min(widths.at(-1) ?? 0, LAST_COLUMN);
  return widths.slice(0, -1).reduce((sum, width) => sum + width + GAP, last);
}

function rowsOf(boards: readonly TableBoard[], columns: readonly Column[], isNarrow: boolean): string[][] {
  const cut = (text: string, most = Infinity) =>
    isNarrow && text.length > most ? `${text.slice(0, most - 1)}…` : text;
  return [
    columns.map(({ heading }) => heading),
    ...boards.map((board) => columns.map(({ cell, most }) => cut(cell(board), most))),
  ];
}
