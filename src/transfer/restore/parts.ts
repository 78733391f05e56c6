/** Which part of the flash a restore is about: all of it, some partitions, or a range. */

import { type Region, SECTOR_BYTES } from '../../flash.ts';
import type { ImageReader } from '../../archive/types.ts';
import { EspdError } from '../../errors.ts';
import type { Board } from '../../esp/board.ts';
import { hexAddress } from '../../esp/flash-read.ts';
import {
  type FirmwareSummary,
  type PartitionSummary,
  beginsWithEboot,
  parsePartitionTable,
} from '../../firmware/index.ts';
import { imageDigest } from '../flash-compare.ts';

/** What the person asked for. */
export type RestorePart =
  { readonly partitions: readonly string[] } | { readonly offset: number; readonly sizeBytes: number };

export interface NamedRegion extends Region {
  /** Of the partition; null for a range. */
  readonly name: string | null;
}

/**
 * The regions that `part` means, in order, whole sectors: partitions by the table of the image.
 * @throws EspdError `usage` for a name that the image does not have, or a range that is not on whole sectors inside it
 */
export function regionsOf(part: RestorePart, { partitions }: FirmwareSummary, imageBytes: number): NamedRegion[] {
  if ('offset' in part) {
    const { offset, sizeBytes } = part;
    if (offset % SECTOR_BYTES !== 0 || sizeBytes % SECTOR_BYTES !== 0 || sizeBytes === 0) {
      throw new EspdError('usage', 'Flash is written in whole sectors: --offset and --size are multiples of 0x1000');
    }
    if (offset + sizeBytes > imageBytes) {
      throw new EspdError('usage', `The range ends at ${hexAddress(offset + sizeBytes)}, beyond the image`);
    }
    return [{ name: null, offset, sizeBytes }];
  }
  const regions = [...new Set(part.partitions)].map((name) => partitionRegion(name, partitions, imageBytes));
  regions.sort((a, b) => a.offset - b.offset);
  for (const [index, region] of regions.entries()) {
    const next = regions[index + 1];
    if (next !== undefined && region.offset + region.sizeBytes > next.offset) {
      throw new EspdError('usage', `The partitions ${region.name} and ${next.name} share sectors: name one at a time`);
    }
  }
  return regions;
}

function partitionRegion(name: string, partitions: readonly PartitionSummary[], imageBytes: number): NamedRegion {
  const [found, second] = partitions.filter((partition) => partition.name === name);
  if (found === undefined) {
    const names = partitions.map((partition) => partition.name).join(', ');
    throw new EspdError('usage', `The image has no partition ${name}`, {
      hint: names === '' ? 'It has no partitions at all; use --offset and --size' : `It has: ${names}`,
    });
  }
  if (second !== undefined) {
    throw new EspdError('usage', `The image has two partitions ${name}`, { hint: 'Use --offset and --size' });
  }
  // The images of an ESP8266 end where they end; the rest of their last sector goes with them.
  const end = wholeSectors(found.offset + found.sizeBytes);
  if (found.offset % SECTOR_BYTES !== 0 || end > imageBytes || end === found.offset) {
    throw new EspdError('usage', `The partition ${name} does not lie on whole sectors of the image`, {
      hint: 'Use --offset and --size',
    });
  }
  return { name, offset: found.offset, sizeBytes: end - found.offset };
}

function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** Of the first image, by which the ESP8266's SDK finds its own sectors. */
const HEADER_SIZE_BYTE = 3;

/**
 * Makes sure that the board has the partitions where the image has them: what runs there goes by the board's own table.
 * Asks for one digest, and reads a sector only where that differs.
 *
 * @throws EspdError `other-layout`
 */
export async function guardLayout(
  board: Board,
  image: ImageReader,
  summary: FirmwareSummary,
  regions: readonly NamedRegion[],
  ask: (region: Region) => Promise<string>,
): Promise<void> {
  const sector = { offset: summary.tableOffset ?? 0, sizeBytes: SECTOR_BYTES };
  if ((await ask(sector)) === (await imageDigest(image, sector))) return;
  const theirs = await readSector(board, sector.offset);
  const refuse = (message: string) =>
    new EspdError('other-layout', message, {
      hint: 'Restore the whole image, or write it there anyway with --ignore-layout',
    });
  if (summary.tableOffset === null) {
    const ours = await image.read(0, SECTOR_BYTES);
    // The upper half of this byte is the size of the SDK's flash map. Arduino lays the end of the flash out in its own way.
    const isSameMap = (ours.readUInt8(HEADER_SIZE_BYTE) ^ theirs.readUInt8(HEADER_SIZE_BYTE)) >> 4 === 0;
    if (isSameMap && beginsWithEboot(ours) === beginsWithEboot(theirs)) return;
    throw refuse('The firmware on the board uses another flash map than the image');
  }
  const table = parsePartitionTable(theirs, sector.offset, { sizeBytes: image.sizeBytes, family: '' });
  if (table === null) throw refuse(`The board has no partition table at ${hexAddress(sector.offset)}`);
  for (const region of regions) {
    const found = table.partitions.filter(({ name }) => name === region.name);
    const isThere = found[0]?.offset === region.offset && wholeSectors(found[0].sizeBytes) === region.sizeBytes;
    if (found.length === 1 && isThere) continue;
    const place = found[0] === undefined ? 'has none of that name' : `has it at ${hexAddress(found[0].offset)}`;
    throw refuse(`The image has ${region.name ?? ''} at ${hexAddress(region.offset)}, the board ${place}`);
  }
}

async function readSector(board: Board, offset: number): Promise<Buffer> {
  const bytes = Buffer.alloc(SECTOR_BYTES, 0xff);
  await board.read(offset, SECTOR_BYTES, (at, piece) => void piece.copy(bytes, at - offset));
  return bytes;
}
