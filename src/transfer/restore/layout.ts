/**
 * Where the board itself has its partitions: what runs there goes by its own table, or on an ESP8266 by how its firmware
 * was linked. A part of an image fits only where both agree.
 */

import { SECTOR_BYTES } from '../../flash.ts';
import type { ImageReader } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import type { Board } from '../../esp/board.ts';
import { hexAddress } from '../../esp/flash-read.ts';
import {
  type FirmwareSummary,
  type PartitionSummary,
  type ReadFlash,
  beginsWithEboot,
  describeFirmware,
  parsePartitionTable,
} from '../../firmware/index.ts';
import { type AskDigest, imageDigest } from '../flash-compare.ts';
import { type NamedRegion, wholeSectors } from './parts.ts';

export interface LayoutFacts {
  readonly board: Board;
  /** Of the board, in bytes. */
  readonly flashBytes: number;
  readonly image: Pick<ImageReader, 'read' | 'sizeBytes'>;
  /** Of the image. */
  readonly contents: FirmwareSummary;
  readonly ask: AskDigest;
}

/** `same`: as the image has them. Else those of the board; none, with the reason, where it has no table or firmware. */
export type BoardLayout =
  'same' | { readonly partitions: readonly PartitionSummary[]; readonly problem: string | null };

/** `write`: the partitions are put back. `keep`: they stay as they are on the board. */
export type LayoutPurpose = 'write' | 'keep';

/** Areas of an ESP8266 whose place the SDK takes from the image's header: see `sdkAreas` and `arduinoAreas`. */
const PLACED_BY_HEADER = ['rf_cal', 'phy', 'system_param'];
/** Of the first image: the upper half of this byte is the size of the SDK's flash map. */
const HEADER_SIZE_BYTE = 3;

/**
 * Makes sure that the board has the partitions where the image has them. Asks for one digest, and reads from the board
 * only where that differs.
 *
 * @throws EspdError `other-layout`
 */
export async function guardLayout(
  facts: LayoutFacts,
  regions: readonly NamedRegion[],
  purpose: LayoutPurpose,
): Promise<void> {
  const { partitions, tableOffset } = facts.contents;
  const partitionOf = (region: NamedRegion) => partitions.find(({ name }) => name === region.name);
  // An image of an ESP8266 ends where it ends: the one that is put back need not be as long as what is there.
  const isPlaced = (region: NamedRegion) =>
    tableOffset !== null || purpose === 'keep' || partitionOf(region)?.type === 'data';
  const placed = regions.filter(isPlaced);
  const layout = await boardLayout(
    facts,
    placed.map((region) => partitionOf(region)?.subtype ?? ''),
  );
  if (layout === 'same') return;
  if (layout.problem !== null) throw otherLayout(layout.problem, purpose);
  for (const region of placed) {
    const [found, second] = layout.partitions.filter(({ name }) => name === region.name);
    if (found !== undefined && second === undefined && isAt(found, region)) continue;
    throw otherLayout(
      `The image has ${region.name ?? ''} at ${hexAddress(region.offset)}, the board ${whereText(found, region)}`,
      purpose,
    );
  }
}

function whereText(found: PartitionSummary | undefined, { offset, sizeBytes }: NamedRegion): string {
  if (found === undefined) return 'has none of that name';
  if (found.offset !== offset) return `has it at ${hexAddress(found.offset)}`;
  return `has it there with 0x${found.sizeBytes.toString(16)} bytes, not 0x${sizeBytes.toString(16)}`;
}

export function otherLayout(message: string, purpose: LayoutPurpose): EspdError {
  return new EspdError('other-layout', message, {
    hint:
      purpose === 'write'
        ? 'Restore the whole image, or write it there anyway with --ignore-layout'
        : 'Nothing was written. Restore without keeping it, or keep that place as the image has it with --ignore-layout',
  });
}

/** The partition lies where the region is, whole sectors. */
export function isAt(partition: PartitionSummary, { offset, sizeBytes }: NamedRegion): boolean {
  return partition.offset === offset && wholeSectors(offset + partition.sizeBytes) === offset + sizeBytes;
}

/** @param subtypes of the partitions that matter */
export async function boardLayout(facts: LayoutFacts, subtypes: readonly string[]): Promise<BoardLayout> {
  const { board, contents, ask, image } = facts;
  if (contents.tableOffset === null) return esp8266Layout(facts, subtypes);
  const sector = { offset: contents.tableOffset, sizeBytes: SECTOR_BYTES };
  if ((await ask(sector)) === (await imageDigest(image, sector))) return 'same';
  const theirs = await readSectors(board)(sector.offset, SECTOR_BYTES);
  const table = parsePartitionTable(theirs, sector.offset, { sizeBytes: image.sizeBytes, family: '' });
  if (table !== null) return { partitions: table.partitions, problem: null };
  return { partitions: [], problem: `The board has no partition table at ${hexAddress(sector.offset)}` };
}

/** Without a table: what lies by the header is the same under the same header, the rest under the same app. */
async function esp8266Layout(facts: LayoutFacts, subtypes: readonly string[]): Promise<BoardLayout> {
  const { board, contents, ask, image, flashBytes } = facts;
  const isByHeader = subtypes.every((subtype) => PLACED_BY_HEADER.includes(subtype));
  const apps = contents.partitions.filter(({ type }) => type === 'app');
  const end = Math.max(SECTOR_BYTES, ...apps.map((app) => wholeSectors(app.offset + app.sizeBytes)));
  const code = { offset: 0, sizeBytes: isByHeader ? SECTOR_BYTES : Math.min(end, image.sizeBytes) };
  if ((await ask(code)) === (await imageDigest(image, code))) return 'same';
  const read = readSectors(board);
  const [ours, theirs] = [await image.read(0, SECTOR_BYTES), await read(0, SECTOR_BYTES)];
  const isSameMap = (ours.readUInt8(HEADER_SIZE_BYTE) ^ theirs.readUInt8(HEADER_SIZE_BYTE)) >> 4 === 0;
  // Arduino lays the end of the flash out in its own way.
  const isSameKind = isSameMap && beginsWithEboot(ours) === beginsWithEboot(theirs);
  if (isByHeader && isSameKind) return 'same';
  const { partitions } = await describeFirmware(read, flashBytes, board.identity.family);
  const problem = isSameKind ? null : 'The firmware on the board uses another flash map than the image';
  return { partitions, problem };
}

/** Reads the board by whole sectors, each once. */
function readSectors(board: Board): ReadFlash {
  const sectors = new Map<number, Buffer>();
  return async (offset, length) => {
    const [from, to] = [Math.floor(offset / SECTOR_BYTES), Math.ceil((offset + length) / SECTOR_BYTES)];
    for (let first = from; first < to;) {
      if (sectors.has(first)) {
        first++;
        continue;
      }
      let end = first + 1;
      while (end < to && !sectors.has(end)) end++;
      const bytes = Buffer.alloc((end - first) * SECTOR_BYTES, 0xff);
      const start = first * SECTOR_BYTES;
      await board.read(start, bytes.length, (at, piece) => void piece.copy(bytes, at - start));
      for (; first < end; first++)
        sectors.set(first, bytes.subarray(first * SECTOR_BYTES - start).subarray(0, SECTOR_BYTES));
    }
    const found = Array.from({ length: to - from }, (_, index) => sectors.get(from + index) ?? Buffer.alloc(0));
    const skipped = offset - from * SECTOR_BYTES;
    return Buffer.concat(found).subarray(skipped, skipped + length);
  };
}
