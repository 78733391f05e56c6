/** The flash of a backup as a map: a cell for each block of 64 KiB, by the digests of its manifest. Pure. */

import type { FlashCell } from '../documents/contents-document.ts';
import { flashCells } from '../documents/flash-cells.ts';
import { BLOCK_BYTES } from '../flash.ts';
import { replaceUnprintable } from '../printable.ts';
import { type Span, cyan, dim, plural, yellow } from './text.ts';

/** Cells in a row: 4 MiB. */
const ROW_CELLS = 64;

const SIGNS: Readonly<Record<FlashCell, string>> = { blank: '.', data: '#', changed: '*', erased: '_' };

export interface MappedImage {
  readonly sizeBytes: number;
  /** SHA-256 of each block in order, lower-case hex; the last block may be shorter. */
  readonly digests: readonly string[];
  /** Of the backup before this one; null where there is none. */
  readonly before: { readonly id: string; readonly digests: readonly string[] } | null;
  readonly partitions: readonly { readonly name: string; readonly offset: number; readonly sizeBytes: number }[];
}

/**
 * The map in lines of at most 79 characters, with its legend: no image is read for it. Rows that are like the one above
 * them, and in which no partition begins or ends, are counted.
 */
export function mapLines(image: MappedImage): Span[][] {
  const { sizeBytes, before } = image;
  const cells = flashCells(image);
  const borders = bordersOf(image);
  const digits = sizeBytes.toString(16).length;
  const lines: Span[][] = [];
  let [above, equalRows] = ['', 0];
  const endFold = () => {
    if (equalRows > 0)
      lines.push([dim(`    ${'...'.padStart(digits + 2)}  ${plural(equalRows, 'row')} more like this`)]);
    equalRows = 0;
  };
  for (let first = 0; first < cells.length; first += ROW_CELLS) {
    const row = cells.slice(first, first + ROW_CELLS);
    const ruler = rulerOf(borders, first, row.length);
    const signs = row.map((cell) => SIGNS[cell]).join('');
    if (ruler === '' && signs === above) {
      equalRows++;
      continue;
    }
    endFold();
    above = signs;
    const offset = `0x${(first * BLOCK_BYTES).toString(16).padStart(digits, '0')}`;
    lines.push([dim(`    ${offset}  `), ...runsOf(row).map(painted)]);
    if (ruler !== '') lines.push([dim(`    ${' '.repeat(offset.length)}  ${ruler}`)]);
  }
  endFold();
  return [...lines, legendOf(cells, before)];
}

/** Names by the cell in which a partition begins; an empty one where one ends and none follows. */
function bordersOf({ partitions, sizeBytes }: MappedImage): Map<number, string> {
  const borders = new Map<number, string>();
  const inside = partitions.filter(({ offset }) => offset < sizeBytes).toSorted((a, b) => a.offset - b.offset);
  const endOf = ({ offset, sizeBytes: length }: (typeof inside)[number]) => Math.ceil((offset + length) / BLOCK_BYTES);
  for (const partition of inside) {
    const end = endOf(partition);
    const isCovered = inside.some((other) => other.offset < end * BLOCK_BYTES && endOf(other) > end);
    if (!isCovered && end * BLOCK_BYTES < sizeBytes) borders.set(end, '');
  }
  // Of several that begin in one block the last one reaches on.
  for (const { name, offset } of inside) borders.set(Math.floor(offset / BLOCK_BYTES), name);
  return borders;
}

/** `|` where a partition begins or ends, and as much of its name as there is room for; empty where none does. */
function rulerOf(borders: ReadonlyMap<number, string>, first: number, count: number): string {
  let ruler = '';
  for (let at = 0; at < count;) {
    const name = borders.get(first + at);
    if (name === undefined) {
      at++;
      continue;
    }
    let room = 1;
    while (at + room < count && !borders.has(first + at + room)) room++;
    // Of the room, one is kept free, so that the next border stands apart; at the end of the row none follows.
    const shown = room > 3 ? replaceUnprintable(name, '?').slice(0, room - 2) : '';
    ruler = `${ruler.padEnd(at)}|${shown}`;
    at += room;
  }
  return ruler;
}

interface Run {
  readonly cell: FlashCell;
  length: number;
}

function runsOf(row: readonly FlashCell[]): Run[] {
  const runs: Run[] = [];
  for (const cell of row) {
    const last = runs.at(-1);
    if (last?.cell === cell) last.length++;
    else runs.push({ cell, length: 1 });
  }
  return runs;
}

function painted({ cell, length }: Run): Span {
  const text = SIGNS[cell].repeat(length);
  if (cell === 'blank') return dim(text);
  return cell === 'data' ? cyan(text) : yellow(text);
}

/** What the signs mean that stand in the map. */
function legendOf(cells: readonly FlashCell[], before: MappedImage['before']): Span[] {
  const present = (['data', 'blank', 'changed', 'erased'] as const).filter((cell) => cells.includes(cell));
  const signs = present.flatMap((cell, index): Span[] => [
    index === 0 ? '    64 KB:  ' : '  ',
    painted({ cell, length: 1 }),
    ` ${cell}`,
  ]);
  const hasChanges = present.some((cell) => cell === 'changed' || cell === 'erased');
  return hasChanges && before !== null ? [...signs, `  since ${before.id}`] : signs;
}
