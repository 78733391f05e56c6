/** `espd list --sizes`: what the boards that are listed take on the disk. */

import type { ArchiveSizes, BoardSize } from '../archive/size-types.ts';
import type { Mac } from '../mac.ts';
import type { CommandContext } from './context.ts';
import { csvText } from './csv.ts';
import { formatSize, plural, printable } from './text.ts';

/** So many boards between two looks at the line of progress. */
const PROGRESS_STEP = 64;
const MOST_OF_LABEL = 16;

export interface SizedBoard {
  readonly mac: Mac;
  readonly label: string | null;
  readonly backups: number;
}

export function measureBoards({ archive, out, signal }: CommandContext, macs: readonly Mac[]): Promise<ArchiveSizes> {
  const onProgress = (done: number, of: number) => {
    if (done % PROGRESS_STEP === 0) out.status(`Measuring: ${done} of ${plural(of, 'board')}`);
  };
  return archive.sizes.of(macs, { signal, onProgress }).finally(() => out.status(''));
}

/** The keys that a board has more in JSON. */
export function sizeJson({ boards }: ArchiveSizes, mac: Mac) {
  const { imageBytes, diskBytes, otherBytes } = sizeOf(boards, mac);
  return { imageBytes, diskBytes, otherBytes };
}

/** The keys that the document has more. Parts that a file system shares between files are counted in each. */
export function totalsJson({ total, sharedBytes, isPartial, disk }: ArchiveSizes) {
  return {
    totals: { ...total, sharedBytes, isPartial },
    disk: disk ?? { freeBytes: null, keptFreeBytes: null, canShareBlocks: null },
  };
}

export function sizesCsv(rows: readonly SizedBoard[], { boards }: ArchiveSizes): string {
  return csvText([
    ['mac', 'label', 'backups', 'image_bytes', 'disk_bytes', 'other_bytes'],
    ...rows.map(({ mac, label, backups }) => {
      const { imageBytes, diskBytes, otherBytes } = sizeOf(boards, mac);
      return [mac, label === null ? null : printable(label), backups, imageBytes, diskBytes, otherBytes];
    }),
  ]);
}

/** The heading first, the total last. */
export function sizesTable(rows: readonly SizedBoard[], { boards, total, isPartial }: ArchiveSizes): string[][] {
  const told = (bytes: number | null) => (bytes === null ? '?' : formatSize(bytes));
  const least = (bytes: number) => (isPartial ? `>${formatSize(bytes)}` : formatSize(bytes));
  const cut = (text: string) => (text.length > MOST_OF_LABEL ? `${text.slice(0, MOST_OF_LABEL - 1)}…` : text);
  return [
    ['MAC', 'LABEL', 'BACKUPS', 'IMAGES', 'ON DISK', 'OTHER'],
    ...rows.map(({ mac, label, backups }) => {
      const { imageBytes, diskBytes, otherBytes } = sizeOf(boards, mac);
      const named = label === null ? '-' : cut(printable(label));
      return [mac, named, String(backups), told(imageBytes), told(diskBytes), told(otherBytes)];
    }),
    [
      ...['total', '', String(rows.reduce((sum, { backups }) => sum + backups, 0))],
      ...[least(total.imageBytes), least(total.diskBytes), least(total.otherBytes)],
    ],
  ];
}

export function freeText({ disk }: ArchiveSizes): string {
  if (disk === null) return 'The file system does not tell how much is free';
  return `Free on the disk: ${formatSize(disk.freeBytes)}; ${formatSize(disk.keptFreeBytes)} must stay free (archive.minFreeBytes)`;
}

/** What shared blocks save; null where nothing is known to be saved. */
export function savedText({ sharedBytes }: ArchiveSizes): string | null {
  if (sharedBytes === null || sharedBytes === 0) return null;
  return `Saved by shared blocks: ${formatSize(sharedBytes)}, which ON DISK counts in each image`;
}

/** Why the disk may hold more than the table makes believe; null where it does not, or where it is known how much. */
export function sharedText({ disk, sharedBytes }: ArchiveSizes): string | null {
  if (disk?.canShareBlocks !== true || sharedBytes !== null) return null;
  return 'note: blocks that images share (archive.reflink) count in each of them: less is in use than ON DISK says';
}

function sizeOf(boards: readonly BoardSize[], mac: Mac): Pick<BoardSize, 'imageBytes' | 'diskBytes' | 'otherBytes'> {
  return boards.find((board) => board.mac === mac) ?? { imageBytes: null, diskBytes: null, otherBytes: null };
}
